"""Constant-shear simulations of single objects, and the biases of the shapes measured on them."""
