"""MegaCam's CCDs in its survey description against the WCS of a real exposure."""

from __future__ import annotations

import numpy as np

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
