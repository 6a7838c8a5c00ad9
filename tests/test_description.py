"""Survey descriptions: what is in them holds beneath a configuration, and what is wrong with them is said by file."""

import tomllib
from pathlib import Path

import pytest

from shapempi.cli import main
from shapempi.config import Config, keys, load, to_toml
from shapempi.description import KEPT_NAME, cfis_camera, description_names, merged, read_description
from shapempi.errors import ConfigError
from shapempi.io.exposure import CFIS_CCDS
from shapempi.survey.input_params import InputParams

ROOT = Path(__file__).parents[1]
NEEDED = "[input]\nexposure_folder = 'e'\ntile_folder = 't'\n[run]\nfolder = 'r'\n"


def write(folder, description, configuration=NEEDED):
    """Write a description and a configuration that names it; returns the latter's path."""
    (folder / "mine.toml").write_text(description)
    path = folder / "c.toml"
    path.write_text(f"survey.description = '{folder / 'mine.toml'}'\n{configuration}")
    return path


def complaint(folder, description, configuration=NEEDED):
    """Return the error without the description's path, or with `c.toml: ` for the configuration's."""
    path = write(folder, description, configuration)
    with pytest.raises(ConfigError) as caught:
        load(path)
    return str(caught.value).replace(f"{folder}/", "")


def test_those_that_come_with_shapempi_are_complete_and_valid():
    assert description_names() == ["cfis", "decam"]
    known = {".".join((*path, name)) for path, _, name, _ in keys()}
    for name in description_names():
        description = read_description(name)
        assert description.title and description.text == (ROOT / f"configs/surveys/{name}.toml").read_text()
        for table, group in description.values["input"].items():
            for key in group if isinstance(group, dict) else ():
                assert f"input.{table}.{key}" in known


def test_the_description_of_cfis_says_what_the_code_does_without_one(tmp_path):
    """Files of CFIS are read in the same way by functions that are given no description."""
    (tmp_path / "c.toml").write_text(NEEDED)
    described = load(tmp_path / "c.toml")
    plain = Config.model_validate({"input": {"exposure_folder": "e", "tile_folder": "t"}, "run": {"folder": "r"}})
    assert described == plain.model_copy(update={"input": plain.input.model_copy(update={"camera": cfis_camera()})})
    assert described.digest() == plain.digest()
    given = read_description("cfis").values["input"]
    for name in ("exposure_number", "tile_grid", "keywords", "flags"):
        assert getattr(described.input, name) == InputParams.model_fields[name].default, name
        left_out = set(type(getattr(described.input, name)).model_fields) - set(given[name])
        assert left_out <= {"background", "tile_background", "default_zero_point"}
    assert (cfis_camera().ccd_pattern, cfis_camera().first_ccd) == (CFIS_CCDS.ccd_pattern, CFIS_CCDS.first_ccd)


def test_the_fingerprint_is_that_of_the_values(tmp_path):
    """Who says a value does not matter; places of CCDs, which are for figures, neither."""
    grid = "[input.tile_grid]\nstep = 0.25\nname = 'XXXX.YYYY'\n"
    in_description = load(write(tmp_path, grid)).digest()
    in_configuration = load(write(tmp_path, "", NEEDED + grid)).digest()
    plain = load(write(tmp_path, "")).digest()
    assert in_description == in_configuration != plain
    assert load(write(tmp_path, "[input.camera]\nname = 'C'\nsection = '[1:9,1:9]'\nrows = [[0]]\n")).digest() == plain
    codes = load(write(tmp_path, "[input.flags.codes]\n3 = 8\n")).digest()
    ccds = load(write(tmp_path, "[input.camera]\nfirst_ccd = 1\n")).digest()
    assert len({plain, in_description, codes, ccds}) == 4


def test_the_configuration_holds_where_it_says_something(tmp_path):
    description = (
        "[input]\nn_ccd = 2\nmag_zp = 22.5\n[input.keywords]\ngain = 'G'\n[input.flags]\ncodes = {1 = 2, 3 = 4}\n"
    )
    configuration = NEEDED.replace("[run]", "mag_zp = 27.0\n[input.keywords]\nsaturate = 'S'\n[run]")
    config = load(write(tmp_path, description, configuration))
    assert (config.input.n_ccd, config.input.mag_zp) == (2, 27.0)
    assert (config.input.keywords.gain, config.input.keywords.saturate) == ("G", "S")
    assert config.input.flags.codes == {1: 2, 3: 4}
    (tmp_path / "whole.toml").write_text(to_toml(config))
    assert load(tmp_path / "whole.toml") == config
    assert merged({"a": {"b": 1, "c": 2}, "d": [1]}, {"a": {"b": 3}, "d": [2]}) == {"a": {"b": 3, "c": 2}, "d": [2]}


@pytest.mark.parametrize(
    ("description", "said"),
    [
        ("[input]\nimage_nam = 'x'\n", "mine.toml: unknown key 'input.image_nam'; did you mean 'image_name'?"),
        ("[input.keywords]\ngian = 'G'\n", "mine.toml: unknown key 'input.keywords.gian'; did you mean 'gain'?"),
        ("[imput]\nn_ccd = 3\n", "mine.toml: unknown key 'imput'; did you mean 'input'?"),
        ("[input]\nn_ccd = 'many'\n", "mine.toml: the key 'input.n_ccd' has the value 'many': "),
        (
            "[input]\nimage_name = 'p.fits.fz'\n",
            "mine.toml: the key 'input.image_name' has the value 'p.fits.fz': Value error, the name must have "
            "{exposure} in one place, such as {exposure}p.fits.fz",
        ),
        ("[input]\ntile_name = '{exposure}.fits'\n", "{exposure} has no meaning in this name; it may have {tile}"),
        (
            "[input]\nweight_name = '{expsure}w.fits'\n",
            "{expsure} has no meaning in this name; did you mean {exposure}?",
        ),
        (
            "[input]\nimage_name = '{exposure}.{ccd}.fits'\n",
            "image_name has {ccd} and weight_name has not: every CCD has its own files, or none has",
        ),
        (
            "[input]\nn_ccd = 3\n[input.camera]\nccd_names = ['N1', 'S1', 'n1']\n",
            "'n1' is the name of two CCDs, places 1 and 3 of the list (case does not count)",
        ),
        ("[input.camera]\nccd_names = ['N1', 'S1']\n", "n_ccd is 40, and camera.ccd_names has 2 names"),
        (
            "[input.camera]\nname = 'C'\nsection = '[1:9,1:9]'\nrows = [[0, 1], [2, 1]]\n",
            "the key 'input.camera.rows' has the value [[0, 1], [2, 1]]: Value error, CCD 1 is named twice: every CCD "
            "has one place",
        ),
        ("[input.camera]\nrows = [[0]]\ncolumns = [[1]]\n", "give rows or columns, not both"),
        ("[input.camera]\nname = 'C'\nrows = [[0]]\n", "section is needed"),
        ("[input.camera]\nsection = '[1:9,1:9]'\nrows = [[0]]\n", "the camera needs a name"),
        ("[input.camera]\nname = 'C'\nsection = '[9:1,1:9]'\nrows = [[0]]\n", "smaller than the last ones"),
        (
            "[input]\nn_ccd = 2\n[input.camera]\nname = 'C'\nsection = '[1:9,1:9]'\nccd_names = ['a', 'b']\n"
            "rows = [[1, 2]]\n",
            "CCD 2 has a place, and ccd_names has names for 0 to 1",
        ),
        ("[input.camera]\nupside_down = [4]\n", "CCD 4 is upside_down, and has no place in rows or columns"),
        ("[input.camera]\naxes = ['N', 'S']\n", "one of the two is N or S, the other E or W"),
        ("[input.camera]\nccd_pattern = 'ccd[0-9]+'\n", "one group in parentheses, the number of the CCD, is needed"),
        ("[input.tile_grid]\nstep = 0.25\n", "X goes to 1439, which needs 4 digits"),
        ("[input.flags.codes]\n0 = 1\n", "the code 0 is not between 1 and"),
        ("[input.flags.codes]\nbad = 1\n", "input.flags.codes.bad"),
        ("[run]\nfolder = 'x'\n", "mine.toml: a survey description has no table [run]"),
        ("[survey]\nseed = 1\n", "mine.toml: a survey description has no table [survey]"),
        ("[input\n", "mine.toml: not a TOML file: "),
    ],
)
def test_what_is_wrong_with_a_description_is_said_with_its_file(tmp_path, description, said):
    text = complaint(tmp_path, description)
    assert said in text and text.startswith(("mine.toml: ", "c.toml with mine.toml: ")) and "\n" not in text, text


def test_the_file_that_a_wrong_value_is_in_is_named(tmp_path):
    text = complaint(tmp_path, "[input]\nn_ccd = 0\nmag_zp = 'x'\n", NEEDED.replace("[run]", "n_ccd = -1\n[run]"))
    lines = sorted(text.splitlines())
    assert len(lines) == 2
    assert lines[0].startswith("c.toml: the key 'input.n_ccd' has the value -1")
    assert lines[1].startswith("mine.toml: the key 'input.mag_zp' has the value 'x'")
    assert complaint(tmp_path, "", "[run]\nfolder = 'r'\n") == "c.toml: the key 'input' is required and missing"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("'cfiss'", "there is no survey description 'cfiss'; did you mean 'cfis'? known: cfis, decam; a file of your"),
        ("'none.toml'", "none.toml: the survey description cannot be read: No such file or directory"),
        ("3", "the key 'survey.description' has the value 3"),
    ],
)
def test_a_description_that_there_is_not(tmp_path, name, said):
    (tmp_path / "c.toml").write_text(f"[survey]\ndescription = {name}\n{NEEDED}")
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "c.toml")
    assert said in str(caught.value)


def test_the_copy_of_a_run_takes_the_place_of_a_file_of_the_users(tmp_path):
    path = write(tmp_path, "[input]\nn_ccd = 2\n")
    (tmp_path / KEPT_NAME).write_text("[input]\nn_ccd = 3\n")
    assert load(path).input.n_ccd == 3
    (tmp_path / "mine.toml").unlink()
    assert load(path).input.n_ccd == 3
    path.write_text(NEEDED)  # of those that come with shapempi there are no copies
    assert load(path).input.n_ccd == 40


def test_descriptions_are_listed_and_printed(capsys):
    assert main(["config", "--surveys"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["cfis", "decam"] and "MegaCam" in lines[0]
    assert main(["config", "--survey", "decam"]) == 0
    assert tomllib.loads(capsys.readouterr().out) == read_description("decam").values
    assert main(["config", "--survey", "ddecam"]) == 2
    assert "did you mean 'decam'?" in capsys.readouterr().err


def test_the_template_can_be_used_with_any_description(tmp_path, capsys):
    """What descriptions say is in comments there, so that it does not hide what another one says."""
    assert main(["config", "--template"]) == 0
    text = capsys.readouterr().out
    for name in description_names():
        (tmp_path / "c.toml").write_text(text.replace('description = "cfis"', f'description = "{name}"'))
        found = load(tmp_path / "c.toml")
        (tmp_path / "d.toml").write_text(f"survey.description = '{name}'\n{NEEDED}")
        assert found.input.camera == load(tmp_path / "d.toml").input.camera
        assert found.exposure.mask == load(tmp_path / "d.toml").exposure.mask
