"""The engine: a master that gives units to ranks as they ask, and workers that run them.  It never sees a pixel."""
