"""What is missing is found by name before anything starts."""

from __future__ import annotations

import pytest
import tiny_survey

from shapempi.errors import ConfigError, DataError, MissingInputError
from shapempi.ids import CcdId, TileId
from shapempi.survey.inputs import InputParams, find_inputs

TILE = TileId(241, 293)


@pytest.fixture
def folders(tmp_path):
    return tiny_survey.write_survey(tmp_path)


def params(folders, **keys):
    return InputParams(exposure_folder=folders[0], tile_folder=folders[1], n_ccd=4, **keys)


def test_a_complete_survey_has_no_problems(folders):
    inputs = find_inputs(params(folders))
    assert inputs.tiles == (TILE,)
    assert inputs.exposures == tiny_survey.EXPOSURES
    assert inputs.exposures_of == {TILE: tiny_survey.EXPOSURES}
    assert inputs.problems == ()
    paths = inputs.exposure_paths(2243888)
    assert all(path.is_file() for path in (paths.image, paths.weight, paths.flag))
    image, exposures = inputs.read_tile(TILE, (0, 10, 0, 10))
    assert image.data.shape == (10, 10) and exposures == list(tiny_survey.EXPOSURES)
    ccd = inputs.read_ccd(CcdId(2243888, 3), (5, 9, 6, 20))
    assert ccd.data.shape == (4, 14)
    footprint = inputs.footprint(CcdId(2243888, 3))
    assert footprint.valid_box == ccd.valid_box
    x, y = footprint.wcs.sky_to_pixel(*ccd.wcs.pixel_to_sky(11.0, 12.0))
    assert (float(x), float(y)) == pytest.approx((11.0, 12.0), abs=1e-6)


def test_missing_files_are_named_with_their_use_and_cure(folders):
    exposures, tiles = folders
    tiny_survey.write_tile(tiles, history=(" input image 2243881p.fits", " input image 9999999p.fits"))
    (exposures / "2243881p.weight.fits.fz").unlink()
    (exposures / "2243881p.flag.fits.fz").unlink()
    (tiles / "CFIS.241.293.r.weight.fits.fz").unlink()
    inputs = find_inputs(params(folders, tiles=("241.293", "100.200"), star_catalogue=tiles / "none.fits"))
    text = [str(problem) for problem in inputs.problems]
    assert all(problem.missing for problem in inputs.problems)
    assert any("none.fits: the star catalogue does not exist" in line for line in text)
    assert any("CFIS.100.200.r.fits: the tile file does not exist (needed by tile 100.200)" in line for line in text)
    assert any("CFIS.100.200.r.weight.fits.fz: the tile weight file" in line for line in text)
    assert any("CFIS.241.293.r.weight.fits.fz: the tile weight file" in line for line in text)
    assert any("2243881p.weight.fits.fz: the weight file does not exist" in line for line in text)
    assert any("2243881p.flag.fits.fz: the flag file" in line and "flag_required = false" in line for line in text)
    assert any("9999999p.fits.fz: the image file does not exist (needed by exposure 9999999" in line for line in text)
    assert any("which the HISTORY of tile 241.293" in line for line in text)
    assert len(text) == 7
    assert inputs.exposures == (2243881,)
    assert inputs.absent == {9999999}


def test_the_image_in_which_objects_are_found_is_named_where_it_is_missing(folders):
    names = {"tile_detection_name": "DEEP.{tile}.fits", "tile_detection_weight_name": "DEEP.{tile}.weight.fits"}
    text = [str(problem) for problem in find_inputs(params(folders, **names)).problems]
    assert len(text) == 2
    assert "DEEP.241.293.fits: the detection image file does not exist (needed by tile 241.293)" in text[0]
    assert "DEEP.241.293.weight.fits: the detection weight file does not exist (needed by tile 241.293)" in text[1]
    # Without a weight of its own it has the tile's, which is there.
    del names["tile_detection_weight_name"]
    assert len(find_inputs(params(folders, **names)).problems) == 1
    (folders[1] / "DEEP.241.293.fits").touch()
    assert find_inputs(params(folders, **names)).problems == ()
    with pytest.raises(ConfigError, match="of no use without tile_detection_name"):
        find_inputs(params(folders, tile_detection_weight_name="DEEP.{tile}.weight.fits"))
    with pytest.raises(ValueError, match="tile_detection_name"):
        params(folders, tile_detection_name="DEEP.fits")


def test_flags_can_be_optional(folders):
    (folders[0] / "2243881p.flag.fits.fz").unlink()
    inputs = find_inputs(params(folders, flag_required=False))
    assert inputs.problems == ()
    assert inputs.exposure_paths(2243881).flag is None
    assert inputs.exposure_paths(2243888).flag is not None
    assert not inputs.read_ccd(CcdId(2243881, 0)).flag.any()


def test_files_with_and_without_fz_are_the_same_file(folders):
    (folders[0] / "2243881p.weight.fits.fz").rename(folders[0] / "2243881p.weight.fits")
    (folders[1] / "CFIS.241.293.r.fits").rename(folders[1] / "CFIS.241.293.r.fits.fz")
    inputs = find_inputs(params(folders))
    assert inputs.problems == () and inputs.tiles == (TILE,)
    assert inputs.exposure_paths(2243881).weight.name == "2243881p.weight.fits"


def test_an_unreadable_tile_is_a_problem_not_an_end(folders):
    tiny_survey.write_tile(folders[1], "100.200")
    (folders[1] / "CFIS.241.293.r.fits").write_text("no FITS file")
    tiny_survey.write_tile(folders[1], "100.201", history=())
    inputs = find_inputs(params(folders))
    assert [str(tile) for tile in inputs.tiles] == ["100.200", "100.201", "241.293"]
    assert inputs.exposures == tiny_survey.EXPOSURES
    assert [problem.missing for problem in inputs.problems] == [False, False]
    assert "no HISTORY card" in str(inputs.problems[0]) and "not a FITS file" in str(inputs.problems[1])


def test_tile_lists(folders, tmp_path):
    listed = tmp_path / "tile_numbers.txt"
    listed.write_text("# my tiles\n241-293\n\n100.200  # another\n")
    assert [str(t) for t in find_inputs(params(folders, tile_list=listed)).tiles] == ["100.200", "241.293"]
    listed.write_text("24.293\n")
    with pytest.raises(ConfigError, match=r"tile_numbers\.txt: '24\.293' is not a tile name"):
        find_inputs(params(folders, tile_list=listed))
    listed.write_text("#\n")
    with pytest.raises(ConfigError, match="no tile is named"):
        find_inputs(params(folders, tile_list=listed))
    with pytest.raises(MissingInputError, match=r"none\.txt: the tile list cannot be read"):
        find_inputs(params(folders, tile_list=tmp_path / "none.txt"))


def test_folders_must_exist_and_hold_tiles(folders, tmp_path):
    with pytest.raises(MissingInputError, match=r"correct \[input\] exposure_folder"):
        find_inputs(params((tmp_path / "nowhere", folders[1])))
    with pytest.raises(MissingInputError, match=r"no tile named CFIS\.XXX\.YYY\.u\.fits"):
        find_inputs(params(folders, tile_name="CFIS.{tile}.u.fits"))
    with pytest.raises(ValueError, match="tile_name"):
        params(folders, tile_name="CFIS.r.fits")


def test_a_footprint_that_is_not_there(folders):
    inputs = find_inputs(params(folders))
    with pytest.raises(DataError, match="there is no CCD 7"):
        inputs.footprint(CcdId(2243881, 7))
