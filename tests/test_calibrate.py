"""The verb: ranks, batches and interruptions change no bit; what cannot be done is said."""

import json
from pathlib import Path

import pytest
from chain.program import shapempi, verb

from shapempi.calibrate import choose_cases
from shapempi.calibration.params import CalibrationParams, CaseParams
from shapempi.chain import with_sign
from shapempi.config import load, to_toml
from shapempi.errors import ConfigError

CONFIGS = Path(__file__).parents[1] / "configs"

CONFIG = """
[input]
exposure_folder = "e"
tile_folder = "t"
[run]
folder = "r"
[vignet]
size = 31
[calibration]
patches = 10
batch = {batch}
[[calibration.cases]]
name = "round"
pairs = 20
[[calibration.cases]]
name = "tilted"
pairs = 20
views = [{{ psf_g1 = 0.05, rotation = 30.0 }}, {{ flip = true }}]
masked_fraction = 0.1
[[calibration.cases]]
name = "masked"
pairs = 20
masked_fraction = 0.05
reference = "round"
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "c.toml").write_text(CONFIG.format(batch=64))
    return tmp_path


def results(folder):
    return json.loads((folder / "calibration" / "calibration.json").read_text())["results"]


def test_ranks_and_batches_change_no_bit(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    (other / "c.toml").write_text(CONFIG.format(batch=1))
    alone = verb(folder, "calibrate", "c.toml")
    assert alone.code == 0, alone
    assert "multiplicative and additive bias" in alone.out
    assert "masked  - round" in alone.out
    three = shapempi(other, "calibrate", "c.toml", n_rank=3)
    assert three.code == 0, three
    assert results(folder) == results(other)
    assert [result["n_used"] for result in results(folder)] == [20, 20, 20]
    assert (folder / "calibration" / "calibration.png").exists()

    # A finished calibration is kept.
    again = verb(folder, "calibrate", "c.toml")
    assert again.code == 2
    assert "give --overwrite" in again.err
    # One whose end was lost goes on with what is committed.
    (folder / "calibration" / "calibration.json").unlink()
    expected = results(other)
    resumed = verb(folder, "calibrate", "c.toml")
    assert resumed.code == 0
    assert "30 units are committed already" in resumed.err
    assert results(folder) == expected
    # Something else in the same folder is refused, or replaces it.
    few = ("calibrate", "c.toml", "--case", "round")
    (folder / "calibration" / "calibration.json").unlink()
    assert "made with another configuration" in verb(folder, *few).err
    assert verb(folder, *few, "--overwrite").code == 0
    assert results(folder) == expected[:1]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--case", "squared"), "there is no case 'squared' in calibration.cases; there are round, tilted, masked"),
        (("--pairs", "5"), "5 pairs are too few for 10 patches"),
        (("--chain",), "there is no table [simulation]"),
        (("--chain", "--pairs", "50"), "of no use"),
    ],
)
def test_what_cannot_be_done_is_said(folder, options, complaint):
    result = verb(folder, "calibrate", "c.toml", *options)
    assert result.code == 2
    assert complaint in result.err
    assert not (folder / "calibration").exists()


def test_a_foreign_folder_is_left_alone(folder):
    (folder / "calibration").mkdir()
    (folder / "calibration" / "thesis.tex").write_text("years")
    result = verb(folder, "calibrate", "c.toml", "--overwrite")
    assert result.code == 2
    assert "something else than a calibration" in result.err
    assert (folder / "calibration" / "thesis.tex").read_text() == "years"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ('reference = "squared"', "is no case"),
        ('shapes = { engine = "by hand" }', "engine"),
        ("s2n_max = 3.0", "s2n_min is larger than s2n_max"),
        ("views = []", "views"),
    ],
)
def test_a_wrong_case_is_named(folder, change, complaint):
    text = (folder / "c.toml").read_text().replace('reference = "round"', change)
    (folder / "c.toml").write_text(text)
    result = verb(folder, "calibrate", "c.toml")
    assert result.code == 2
    assert complaint in result.err


def test_a_case_comes_with_its_reference():
    params = CalibrationParams()
    chosen = choose_cases(params, ["masked"], 200)
    assert [(case.name, case.pairs) for case in chosen.cases] == [("faint", 200), ("masked", 200)]
    assert choose_cases(params, None, None) == params
    with pytest.raises(ConfigError, match="no case"):
        choose_cases(params, ["faint", "x"], None)
    with pytest.raises(ValueError, match="same name"):
        CalibrationParams(cases=(CaseParams(name="a"), CaseParams(name="a")))


def test_the_delivered_configuration_is_the_default():
    assert load(CONFIGS / "calibrate.toml").calibration == CalibrationParams()


def test_the_surveys_of_the_chain_differ_in_the_sign(tmp_path):
    settings = load(CONFIGS / "shear_plus.toml")
    plus, minus = (with_sign(settings, sign, tmp_path / str(sign)) for sign in (1, -1))
    assert (plus.simulation.g1, plus.simulation.g2) == (0.02, -0.01) == (-minus.simulation.g1, -minus.simulation.g2)
    assert plus.run.folder == tmp_path / "1" / "run"
    assert plus.input.exposure_folder == tmp_path / "1" / "survey" / "exposures"
    path = tmp_path / "c.toml"
    path.write_text(to_toml(minus))
    assert load(path) == minus
