"""Tables and statistics as text."""

from __future__ import annotations

import numpy as np
import pytest

from shapempi.errors import ConfigError, DataError
from shapempi.io.text import write_statistics, write_text_table


def test_a_table(tmp_path):
    table = np.array([(1, 231.123456789, True), (2, np.nan, False)], [("NUMBER", "i4"), ("RA", "f8"), ("GOOD", "?")])
    write_text_table(tmp_path / "a.txt", table, overwrite=False)
    lines = (tmp_path / "a.txt").read_text().splitlines()
    assert lines == ["# HEADER", "# NUMBER\tRA\tGOOD", "1\t231.123456789\tTrue", "2\tnan\tFalse"]
    assert np.loadtxt(tmp_path / "a.txt", usecols=1)[0] == 231.123456789
    write_text_table(tmp_path / "a.txt", table[:0], overwrite=True)
    assert (tmp_path / "a.txt").read_text() == "# HEADER\n# NUMBER\tRA\tGOOD\n"
    with pytest.raises(DataError, match="VIGNET"):
        write_text_table(tmp_path / "b.txt", np.zeros(1, [("VIGNET", "f4", (2, 2))]), overwrite=False)


def test_statistics(tmp_path):
    path = tmp_path / "s.txt"
    write_statistics(path, [("Stars", 160.0), ("mean (arcsec)", 0.744), ("none", np.nan)], overwrite=False)
    assert path.read_text() == "# Statistics\nStars = 160\nmean (arcsec) = 0.744\nnone = nan\n"
    with pytest.raises(ConfigError, match="already there"):
        write_statistics(path, [], overwrite=False)
    with pytest.raises(ConfigError, match="cannot be written"):
        write_statistics(tmp_path / "no" / "s.txt", [], overwrite=False)
    assert [file.name for file in tmp_path.iterdir()] == ["s.txt"]
