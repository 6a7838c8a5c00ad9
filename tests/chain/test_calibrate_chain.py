"""`shapempi calibrate --chain`: both signs of a survey's shear through the whole program by one command."""

import json

from chain.program import verb
from chain.test_shear import CONFIG

from shapempi.config import load


def test_both_signs_by_one_command(tmp_path):
    (tmp_path / "c.toml").write_text(CONFIG.format(name="grid", g1=0.02, g2=-0.01))
    result = verb(tmp_path, "calibrate", "c.toml", "--chain")
    assert result.code == 0, result
    folder = tmp_path / "calibration"
    (chain,) = json.loads((folder / "calibration.json").read_text())["results"]
    assert chain["n_used"] > 55
    for name, allowed in (("m1", 0.003), ("m2", 0.003), ("c1", 0.0), ("c2", 0.0)):
        assert abs(chain[name]["value"]) < 3 * chain[name]["error"] + allowed, name
        assert 0 < chain[name]["error"] < 0.02
    assert "mean response" not in (folder / "calibration.txt").read_text()
    # The two surveys stay, each with its configuration, for a closer look by `report`.
    plus, minus = (load(folder / "chain" / sign / "config.toml").simulation for sign in ("plus", "minus"))
    assert (plus.g1, plus.g2) == (0.02, -0.01) == (-minus.g1, -minus.g2)
    again = verb(tmp_path, "calibrate", "c.toml", "--chain")
    assert again.code == 2
    assert "give --overwrite" in again.err


def test_a_survey_without_shear_is_refused(tmp_path):
    (tmp_path / "c.toml").write_text(CONFIG.format(name="grid", g1=0.0, g2=0.0))
    result = verb(tmp_path, "calibrate", "c.toml", "--chain")
    assert result.code == 2
    assert "the galaxies have no shear" in result.err
