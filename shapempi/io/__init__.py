"""Readers and writers, one format each."""
