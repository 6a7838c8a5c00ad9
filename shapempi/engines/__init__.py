"""Engines that make PSF models: in process, or by a program or package that the user has."""
