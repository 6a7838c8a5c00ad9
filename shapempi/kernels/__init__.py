"""Compiled kernels: arrays in, arrays out; every one has a plain NumPy twin in the tests."""
