"""`shapempi shear` on what the program itself made of images."""

import json

import numpy as np
import pytest
from astropy.table import Table
from chain.program import verb

from shapempi.io.catalog import read_table


def test_a_run_is_analysed(reference, tmp_path):
    """The counts and the mean are those of the catalogue; the mean shear is the truth's within 4 errors."""
    truth = reference / "survey" / "truth.h5"
    result = verb(reference, "shear", "run", "--output", tmp_path / "out", "--truth", truth)
    assert result.code == 0, result
    found = json.loads((tmp_path / "out" / "summary.json").read_text())
    rows = read_table(reference / "run" / "catalogue.h5")
    ratio = rows["T_noshear"] / rows["psf_T"]
    used = (rows["FLAG_TILING"] == 1) & (rows["FLAGS"] & ~3 == 0) & (rows["IMAFLAGS_ISO"] == 0)
    used &= (rows["mcal_flags"] == 0) & np.isfinite(rows["g1_noshear"]) & (rows["n_epoch_used"] > 0)
    used &= (rows["s2n_noshear"] >= 10) & (rows["s2n_noshear"] < 500) & (ratio >= 0.5) & (ratio < 3)
    assert found["n_row"] == len(rows)
    assert list(found["counts"].values())[-1] == used.sum() > 5
    assert found["shear"]["n"] == used.sum()
    assert 0.3 < found["shear"]["R11"] < 1.2
    assert found["truth"]["n"] > 5
    for i, expected in enumerate((0.02, -0.01)):
        assert found["truth"]["true_g"][i] == pytest.approx(expected)
        assert abs(found["truth"]["g"][i] - expected) < 4 * found["truth"]["g_err"][i]
    assert len(Table.read(tmp_path / "out" / "xi.fits")) == 20
    assert not (reference / "run" / "shear").exists()
