"""Units of work: each reads through `io`, calls `measure`, and returns a product."""
