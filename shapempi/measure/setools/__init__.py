"""The language of star selections (`.setools`): sections of masks, splits, statistics, plots and new catalogues.

`program.parse` turns a text into a `Program`, and `Program.select` applies it to a table.  The reference of the
language is docs/selection.md.
"""
