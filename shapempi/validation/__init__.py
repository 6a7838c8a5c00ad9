"""Validation of PSF models by stars that they were not fitted to, computed in memory."""
