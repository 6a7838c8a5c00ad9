"""The survey simulator: images that behave like CFIS, with their truth."""
