"""Measurement in memory: arrays and nouns in, arrays and nouns out; no file, no process, no configuration file."""
