"""Reading a configuration: what is wrong with it is said by key, all at once, and with a cure."""

import re
import tomllib
from pathlib import Path

import pytest
from pydantic import ValidationError

from shapempi.config import Config, commented_toml, keys, load, reference
from shapempi.errors import ConfigError

#: The keys without a default.
NEEDED = """
[input]
exposure_folder = "e"
tile_folder = "t"
[run]
folder = "r"
"""


def read(tmp_path, text):
    path = tmp_path / "c.toml"
    path.write_text(text)
    return load(path)


def complaints(tmp_path, text):
    """Return the lines of the error, without the file's name, which begins each."""
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    lines = str(caught.value).splitlines()
    assert all(line.startswith(f"{tmp_path / 'c.toml'}: ") for line in lines)
    return [line.removeprefix(f"{tmp_path / 'c.toml'}: ") for line in lines]


def test_little_is_enough(tmp_path):
    config = read(tmp_path, NEEDED)
    assert config.run.folder == Path("r")
    assert config.input.star_catalogue is None
    assert config.simulation is None
    with pytest.raises(ValidationError, match="frozen"):
        config.run.folder = Path("s")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[servey]\n", "unknown key 'servey'; did you mean 'survey'?"),
        ("[survey]\nsed = 1\n", "unknown key 'survey.sed'; did you mean 'seed'?"),
        ("[psf.acceptance]\nmin_star = 1\n", "unknown key 'psf.acceptance.min_star'; did you mean 'min_stars'?"),
        ("[exposure.mask]\nborder_with = 1\n", "unknown key 'exposure.mask.border_with'; did you mean 'border_width'?"),
        ("[input.keywords]\nsaturat = 'S'\n", "unknown key 'input.keywords.saturat'; did you mean 'saturate'?"),
        ("[simulation.camera]\nccd_with = 99\n", "unknown key 'simulation.camera.ccd_with'; did you mean 'ccd_width'?"),
        (
            "[tile.detection.program]\nfiltre = 'f'\n",
            "unknown key 'tile.detection.program.filtre'; did you mean 'filter'?",
        ),
        ("[survey]\nxyz = 1\n", "unknown key 'survey.xyz'; known keys: name, seed, description"),
    ],
)
def test_an_unknown_key(tmp_path, text, complaint):
    if text.startswith("[input."):
        text = NEEDED + text
    else:
        text += NEEDED
    assert complaints(tmp_path, text) == [complaint]


@pytest.mark.parametrize(
    ("text", "start", "reason"),
    [
        ("[survey]\nseed = -1\n", "the key 'survey.seed' has the value -1: ", "greater than or equal to 0"),
        ("[survey]\nseed = 1.5\n", "the key 'survey.seed' has the value 1.5: ", "integer"),
        ("[survey]\nseed = '1'\n", "the key 'survey.seed' has the value '1': ", "integer"),
        ("[survey]\nname = 3\n", "the key 'survey.name' has the value 3: ", "string"),
        ("survey = 3\n", "the key 'survey' has the value 3: ", ""),
        ("[vignet]\nsize = 50\n", "the key 'vignet.size' has the value 50: ", "the size must be odd"),
        ("[vignet]\nneighbours = 'yes'\n", "the key 'vignet.neighbours' has the value 'yes': ", "'mask' or 'uberseg'"),
        (
            "[vignet]\nmask_neighbours = 'yes'\n",
            "the key 'vignet' has the value ",
            'give neighbours = "mask" or "none"',
        ),
        (
            "[vignet]\nmask_neighbours = true\nneighbours = 'mask'\n",
            "the key 'vignet' has the value ",
            'the key vignet.mask_neighbours is older: give neighbours = "mask" or "none" in its place',
        ),
        (
            "[tile.detection]\ndeblend_contrast = 2\n",
            "the key 'tile.detection.deblend_contrast' has the value 2: ",
            "1",
        ),
        (
            "[tile.detection]\ndeblend_contrast = nan\n",
            "the key 'tile.detection.deblend_contrast' has the value nan: ",
            "",
        ),
        ("[simulation]\ntiles = ['1.2']\n", "the key 'simulation.tiles.0' has the value '1.2': ", "pattern"),
    ],
)
def test_a_wrong_value(tmp_path, text, start, reason):
    line = complaints(tmp_path, text + NEEDED)[0]
    assert line.startswith(start)
    assert reason in line.removeprefix(start)


@pytest.mark.parametrize(("old", "new"), [("true", "mask"), ("false", "none")])
def test_an_older_key_still_says_what_it_said(tmp_path, old, new):
    config = read(tmp_path, f"[vignet]\nsize = 41\nmask_neighbours = {old}\n" + NEEDED)
    assert (config.vignet.size, config.vignet.neighbours) == (41, new)
    assert config == read(tmp_path, f"[vignet]\nsize = 41\nneighbours = '{new}'\n" + NEEDED)


def test_what_is_required(tmp_path):
    assert complaints(tmp_path, NEEDED.replace('folder = "r"', "")) == ["the key 'run.folder' is required and missing"]
    assert complaints(tmp_path, "") == [
        "the key 'input.exposure_folder' is required and missing",
        "the key 'input.tile_folder' is required and missing",
        "the key 'run' is required and missing",
    ]


def test_everything_wrong_is_said_at_once(tmp_path):
    lines = complaints(tmp_path, "[survey]\nsed = 1\nseed = -1\n[run]\nblock_size = 0\n")
    assert len(lines) == 6
    for name in ("survey.sed", "survey.seed", "run.folder", "run.block_size", "input.tile_folder"):
        assert any(f"{name!r}" in line for line in lines)


def test_no_configuration_at_all(tmp_path):
    (line,) = complaints(tmp_path, "[survey\n")
    assert line.startswith("not a TOML file: ") and "line 1" in line
    (tmp_path / "c.toml").write_bytes(b"name = '\xff'")
    with pytest.raises(ConfigError, match=r"c\.toml: not a TOML file: "):
        load(tmp_path / "c.toml")
    with pytest.raises(ConfigError, match=r"none\.toml: cannot read the configuration: No such file"):
        load(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="cannot read the configuration: Is a directory"):
        load(tmp_path)


def test_the_fingerprint_covers_what_decides_the_catalogue(tmp_path):
    """Not where the run lies nor how it shows; yes to everything else, the size of the blocks included."""
    plain = read(tmp_path, NEEDED).digest()
    assert read(tmp_path, NEEDED + "progress_interval = 5.0\n").digest() == plain
    assert read(tmp_path, NEEDED.replace('"r"', '"elsewhere"')).digest() == plain
    assert read(tmp_path, NEEDED + "[simulation]\nseed = 7\n").digest() == plain
    assert read(tmp_path, NEEDED + "[validation.sample]\nbright_snr = 50.0\n").digest() == plain
    assert read(tmp_path, NEEDED + '[stars]\noutput = ["plot"]\n').digest() == plain
    assert read(tmp_path, NEEDED + "[tile.detection]\nstrip_rows = 99\n").digest() == plain
    assert read(tmp_path, NEEDED + "[exposure.detection]\nstrip_rows = 99\n").digest() == plain
    assert read(tmp_path, NEEDED + '[psf.psfex]\nkeep = "here"\ntimeout = 9.0\n').digest() == plain
    files = 'output = ["vignets"]\nvignet_size = 31\n'
    program = 'keep = "here"\nscratch = "there"\ntimeout = 9.0\ncheck_images = ["FILTERED"]\n'
    for kind in ("exposure", "tile"):
        assert read(tmp_path, NEEDED + f"[{kind}]\n{files}[{kind}.detection.program]\n{program}").digest() == plain
    assert len({plain, *(read(tmp_path, NEEDED).digest(*texts) for texts in (["a"], ["b"], ["a", "b"], ["ab"]))}) == 5
    changes = ("block_size = 7\n", "[survey]\nseed = 2\n", "[vignet]\nsize = 41\n", "[psf.acceptance]\nmin_stars = 5\n")
    changes += ('[tile.detection]\nengine = "source-extractor"\n', '[tile.detection.program.options]\nCLEAN = "N"\n')
    assert len({plain, *(read(tmp_path, NEEDED + change).digest() for change in changes)}) == 1 + len(changes)


def test_every_key_is_explained():
    declared = list(keys())
    assert len(declared) > 100
    for path, _, name, info in declared:
        assert re.fullmatch(r"[A-Z].*\.", info.description or ""), ".".join((*path, name))
    page = reference()
    for path, _, name, _ in declared:
        assert f"## `[{'.'.join(path)}]`" in page
        assert f"\n| `{name}` |" in page


def test_a_written_configuration_is_the_defaults(tmp_path):
    values = {"input.exposure_folder": "e", "input.tile_folder": "t", "run.folder": "r"}
    text = commented_toml(values)
    assert read(tmp_path, text) == read(tmp_path, NEEDED)
    assert read(tmp_path, commented_toml({**values, "survey.seed": 9})).survey.seed == 9
    assert set(tomllib.loads(text)) == set(Config.model_fields) - {"simulation", "calibration", "sky_masks"}
