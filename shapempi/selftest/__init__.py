"""Trials that an installation can be put to: a survey in miniature, run for real, with faults made on purpose."""
