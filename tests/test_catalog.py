"""Columns have room for the names of a survey, and are those of CFIS where that is enough."""

import numpy as np

from shapempi.catalog import COLUMNS, EPOCH_COLUMNS, STAR_COLUMNS, dtype_of, fitted
from shapempi.grammar import columns_of, translator


def test_columns_of_cfis_are_as_declared():
    for columns in (COLUMNS, EPOCH_COLUMNS, STAR_COLUMNS, tuple(columns_of("legacy"))):
        assert fitted(columns) == fitted(columns, tile_width=7, exposure=2**31 - 1) == columns


def test_long_names_and_numbers_widen_their_columns_alone():
    wide = dtype_of(fitted(EPOCH_COLUMNS, tile_width=11, exposure=171113061941))
    assert (wide["tile"], wide["exposure"]) == (np.dtype("S11"), np.dtype("i8"))
    plain = dtype_of(EPOCH_COLUMNS)
    assert all(wide[name] == plain[name] for name in plain.names if name not in ("tile", "exposure"))


def test_an_older_grammar_has_the_whole_name():
    rows = np.zeros(2, dtype_of(fitted(COLUMNS, tile_width=9)))
    rows["tile"] = b"5000.6700"
    assert translator("legacy")(rows)["TILE_ID"].tolist() == [b"5000.6700"] * 2
