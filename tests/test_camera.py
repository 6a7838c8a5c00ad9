"""MegaCam's CCDs in its survey description against the WCS of a real exposure."""

from __future__ import annotations

import numpy as np
import pytest

from shapempi.camera import Camera
from shapempi.description import cfis_camera

MEGACAM = cfis_camera()

#: CRPIX1, CRPIX2 of some CCDs of exposure 2452990: the pixel at the centre of the field.
CRPIX = {
    3: (-1072.92, 9733.69),
    12: (-1059.88, 4650.06),
    14: (3177.59, 4644.66),
    22: (1054.18, 4630.13),
    30: (3184.83, 9709.88),
}


def centre(ccd):
    return MEGACAM.place(ccd).centre((4612, 2048), MEGACAM.gaps)


def test_every_ccd_has_one_place():
    places = [MEGACAM.place(ccd) for ccd in MEGACAM.ccds]
    assert [place.ccd for place in places] == list(range(40))
    assert len({(place.row, place.column) for place in places}) == 40
    assert {place.ccd for place in places if place.upside_down} == {*range(18), 36, 37}


def test_north_is_up_and_east_is_left():
    assert centre(0)[0] < 0 < centre(8)[0]
    assert centre(0)[1] > centre(9)[1] > 0 > centre(18)[1] > centre(27)[1]
    assert centre(36)[0] < centre(9)[0]


def test_centres_agree_with_a_real_exposure():
    """The nominal positions are good to the distortion, which is below 1 % this close to the field's centre."""
    middle = np.array([33 + 1023.5, 1 + 2305.5])
    for ccd, crpix in CRPIX.items():
        sign = -1 if MEGACAM.place(ccd).upside_down else 1
        found = (middle - np.array(crpix)) * sign
        np.testing.assert_allclose(found, centre(ccd), rtol=0.005, atol=30)


def test_small_ccds_keep_the_arrangement():
    small = {ccd: MEGACAM.place(ccd).centre((100, 50), (10.0, 8.0, 20.0)) for ccd in range(40)}
    assert abs(small[14][0] - small[13][0] - 60) < 10
    assert abs(small[13][1] - small[22][1] - 108) < 10
    assert abs(small[4][1] - small[13][1] - 120) < 10


STAGGERED = Camera(
    name="C",
    section="[1:10,1:20]",
    columns=((0, 1), (2, 3, 4)),
    gaps=(2.0, 99.0, 4.0),
    upside_down=(3,),
    axes=("E", "S"),
)


def test_staggered_columns():
    places = {place.ccd: place for place in STAGGERED.places}
    assert (STAGGERED.n_row, STAGGERED.n_column, STAGGERED.shape) == (3, 2, (20, 10))
    assert [(places[ccd].row, places[ccd].column) for ccd in range(5)] == [(0.5, 0), (1.5, 0), (0, 1), (1, 1), (2, 1)]
    centres = [places[ccd].centre(STAGGERED.shape, STAGGERED.gaps) for ccd in range(5)]
    assert centres == [(-6.0, 12.0), (-6.0, -12.0), (6.0, 24.0), (6.0, 0.0), (6.0, -24.0)]
    assert [places[ccd].upside_down for ccd in range(5)] == [False, False, False, True, False]


def test_first_pixels_count_where_they_are_given():
    first = ((1, 31), (1, 5), (14, 48), (14, 24), (14, 0))
    true = STAGGERED.model_copy(update={"first_pixels": first, "mosaic_centre": (11.5, 33.5)})
    moved = Camera.model_validate(true.model_dump())
    centres = [moved.place(ccd).centre(moved.shape, moved.gaps) for ccd in range(5)]
    assert centres == [(x + 4.5 - 11.5, y + 9.5 - 33.5) for x, y in first]


def test_an_odd_number_of_rows_has_no_middle_gap():
    rows = Camera(name="C", section="[1:10,1:20]", rows=((0,), (1,), (2,)), gaps=(2.0, 99.0, 4.0))
    assert [rows.place(ccd).centre(rows.shape, rows.gaps)[1] for ccd in range(3)] == [24.0, 0.0, -24.0]


@pytest.mark.parametrize(
    ("keys", "names"),
    [
        ({}, {"ccd00": 0, "CCD39": 39, "ccd": None, "xccd1": None, "": None}),
        ({"ccd_pattern": r"chip (\d+)"}, {"CHIP 7": 7, "chip": None, "ccd07": None}),
        ({"ccd_names": ("N1", "S1"), "first_ccd": 4}, {"n1": 4, "S1 ": 5, "4": None, "ccd04": None}),
    ],
)
def test_names_are_numbers(keys, names):
    camera = Camera(**keys)
    assert {name: camera.number_of(name) for name in names} == names
    assert [camera.name_of(ccd) for ccd in (4, 5, 6)] == (["N1", "S1", "6"] if "first_ccd" in keys else ["4", "5", "6"])
