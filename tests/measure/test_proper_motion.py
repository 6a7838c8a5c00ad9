"""Proper motions: astropy's for every place on the sky, and none where nothing is known."""

import numpy as np
from astropy import units
from astropy.coordinates import SkyCoord
from astropy.time import Time

from shapempi.measure.proper_motion import move_stars


def test_positions_are_those_of_astropy_to_a_milliarcsecond():
    rng = np.random.default_rng(3)
    ra = np.append(rng.uniform(0, 360, 40), [0.0001, 359.9999, 17.0, 200.0, 5.0])
    dec = np.append(np.degrees(np.arcsin(rng.uniform(-1, 1, 40))), [10.0, -40.0, 89.9999, -89.9999, 0.0])
    pmra, pmdec = rng.uniform(-3000, 3000, (2, 45))
    for years in (-20.0, 3.5, 20.0):
        then = SkyCoord(
            ra * units.deg,
            dec * units.deg,
            pm_ra_cosdec=pmra * units.mas / units.yr,
            pm_dec=pmdec * units.mas / units.yr,
            obstime=Time(2016.0, format="jyear", scale="tdb"),
            distance=10 * units.pc,  # one must be given; it says nothing here
        )
        truth = then.apply_space_motion(Time(2016.0 + years, format="jyear", scale="tdb"))
        found = SkyCoord(*move_stars(ra, dec, pmra, pmdec, np.full(45, years)), unit="deg")
        assert found.separation(truth.icrs).mas.max() < 1.0


def test_what_is_not_known_does_not_move():
    ra, dec = np.array([10.0, 20.0, 359.0]), np.array([1.0, -2.0, 3.0])
    moved = move_stars(ra, dec, [0.0, 5.0, 5.0], [0.0, 5.0, 5.0], [30.0, np.nan, 0.0])
    assert np.array_equal(moved, [ra, dec])
    moved = move_stars(ra, dec, [0.0, 0.0, 1000.0], [0.0, 0.0, 0.0], np.array([1.0, 1.0, 10.0]))
    assert np.array_equal(moved[0][:2], ra[:2])  # untouched beside one that moves, bit for bit
    assert np.isclose((moved[0][2] - 359.0) * 3600 * np.cos(np.radians(3.0)), 10.0, rtol=1e-6)
