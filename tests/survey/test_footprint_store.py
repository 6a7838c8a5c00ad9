"""What planning has learned is kept, believed of files that are as they were, and of no others."""

import os

import h5py
import numpy as np
import pytest
import tiny_survey

from shapempi.survey.footprint_store import FootprintStore
from shapempi.survey.graph import make_plan
from shapempi.survey.inputs import InputParams, SurveyInputs, find_inputs, store_of

FIRST, SECOND = tiny_survey.EXPOSURES


@pytest.fixture
def survey(tmp_path):
    """Return the inputs of a survey of two exposures, with an empty store."""
    exposures, tiles = tiny_survey.write_survey(tmp_path)
    (tmp_path / "run").mkdir()
    return find_inputs(InputParams(exposure_folder=exposures, tile_folder=tiles, n_ccd=4), tmp_path / "run")


def keep(survey):
    """Fill the store."""
    survey.store.write([survey.place(exposure) for exposure in survey.exposures])


def spoil(path):
    """Make a file unreadable that looks as it did."""
    looks = path.stat()
    path.write_bytes(b"x" * looks.st_size)
    os.utime(path, ns=(looks.st_atime_ns, looks.st_mtime_ns))


def image_of(survey, exposure):
    return survey.exposure_paths(exposure).image


def assert_same(found, expected):
    assert found == expected  # all but the outlines
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.outline, other.outline)


def test_footprints_come_back_to_the_bit(survey):
    planes = {ccd: tiny_survey.ccd_planes(FIRST, ccd)[0] for ccd in range(4)}
    tiny_survey.write_mosaic(image_of(survey, FIRST), planes, shift=0.123456789)
    direct = [survey.footprints(exposure) for exposure in survey.exposures]
    plan = make_plan(survey)
    keep(survey)
    for exposure in survey.exposures:
        spoil(image_of(survey, exposure))
    for exposure, expected in zip(survey.exposures, direct, strict=True):
        assert_same(survey.footprints(exposure), expected)
        assert survey.footprints(exposure)[2].wcs.pixel_scale(3, 4) == expected[2].wcs.pixel_scale(3, 4)
    assert make_plan(survey).to_json() == plan.to_json()


def test_only_what_is_new_is_read(survey):
    keep(survey)
    spoil(image_of(survey, FIRST))
    path = image_of(survey, SECOND)
    planes = {ccd: tiny_survey.ccd_planes(SECOND, ccd)[0] for ccd in range(4)}
    tiny_survey.write_mosaic(path, planes, shift=500.0)
    os.utime(path, (1e9, 1e9))
    assert {ccd.exposure for ccd in make_plan(survey).tiles[0].ccds} == {FIRST}
    assert survey.place(FIRST, survey.known()[FIRST].looks) is None
    assert survey.place(SECOND, survey.known()[SECOND].looks).looks == (path.stat().st_size, 10**18)


def test_nothing_is_kept_of_a_file_in_which_anything_is_wrong(survey):
    tiny_survey.truncate(image_of(survey, FIRST), 0.45)
    image_of(survey, SECOND).write_bytes(b"no mosaic")
    keep(survey)
    assert survey.known() == {}
    assert [len(survey.place(exposure).rows) for exposure in survey.exposures] == [4, 0]
    problems = [str(problem) for problem in make_plan(survey).problems]
    assert any("CCD 3 is lost" in text for text in problems) and any("not a FITS file" in text for text in problems)


def test_an_inactive_ccd(survey, monkeypatch):
    cards = tiny_survey.ccd_header

    def header(ccd, **more):
        return [
            {**card, "value": card["value"] if card["name"] != "ACTIVE" or ccd != 1 else False}
            for card in cards(ccd, **more)
        ]

    monkeypatch.setattr(tiny_survey, "ccd_header", header)
    tiny_survey.write_exposure(image_of(survey, FIRST).parent, FIRST)
    direct = survey.footprints(FIRST)
    assert [footprint.active for footprint in direct] == [True, False, True, True]
    keep(survey)
    assert_same(survey.store.read(FIRST, survey.place(FIRST).looks).footprints(), direct)


def test_other_keywords_other_store(survey, tmp_path):
    keep(survey)
    params = survey.params.model_copy(update={"keywords": survey.params.keywords.model_copy(update={"active": "X"})})
    assert store_of(params, tmp_path / "run").load() == {}
    assert set(store_of(survey.params, tmp_path / "run").load()) == set(survey.exposures)


def test_a_damaged_store_is_no_store(survey):
    expected = make_plan(survey).to_json()
    direct = survey.footprints(FIRST)
    keep(survey)
    whole = survey.store.path.read_bytes()
    rng = np.random.default_rng(1)
    n_used = 0
    for trial in range(60):
        damaged = bytearray(whole)
        if trial % 3 == 0:
            damaged = damaged[: rng.integers(len(whole))]
        else:
            first = int(rng.integers(len(whole)))
            damaged[first : first + 64] = bytes(255 - byte for byte in damaged[first : first + 64])
        survey.store.path.write_bytes(damaged)
        assert make_plan(survey).to_json() == expected
        assert_same(survey.footprints(FIRST), direct)
        n_used += survey.known() != {}
    assert n_used < 55
    keep(survey)  # is replaced
    assert set(survey.known()) == set(survey.exposures)


def test_a_store_that_says_the_same_is_left_alone(survey):
    keep(survey)
    before = survey.store.path.stat()
    keep(survey)
    assert survey.store.path.stat().st_ino == before.st_ino
    os.utime(image_of(survey, FIRST), (1e9, 1e9))
    keep(survey)
    assert survey.store.path.stat().st_ino != before.st_ino
    with h5py.File(survey.store.path) as file:
        assert len(file["exposures"]) == 2 and len(file["ccds"]) == 8


def test_a_survey_without_a_run_has_no_store(survey):
    plain = SurveyInputs(survey.params, survey.tiles, survey.exposures_of)
    assert plain.known() == {}
    assert make_plan(plain).to_json() == make_plan(survey).to_json()
    empty = FootprintStore.of(survey.store.path.parent)
    empty.write([])
    assert empty.load() == {}
