"""Preparing a field: which images there are, where they lie, links and copies of them, and the table of their WCS."""
