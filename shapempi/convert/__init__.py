"""Configurations of ShapePipe, of both generations (behaviour specification, 0.3 and 13), as one of shapempi."""
