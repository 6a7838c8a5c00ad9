"""Epochs against a brute-force inverse of every WCS at every object."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_survey
from astropy.io import fits

from shapempi.ids import CcdId
from shapempi.measure.epochs import EPOCH_DTYPE, count_epochs, find_epochs, select_objects
from shapempi.wcs import Wcs

RA, DEC = tiny_survey.RA, tiny_survey.DEC
BOX = (0, 140, 10, 110)


def distorted(crpix, *, angle=0.0, flip=1.0):
    """Make a TPV WCS, with terms that bend a CCD's sides by some pixels."""
    c, s = np.cos(angle), np.sin(angle)
    step = tiny_survey.SCALE / 3600
    cards = {"CTYPE1": "RA---TPV", "CTYPE2": "DEC--TPV", "CRVAL1": RA, "CRVAL2": DEC}
    cards |= {"CRPIX1": crpix[0], "CRPIX2": crpix[1]}
    cards |= {"CD1_1": -flip * c * step, "CD1_2": s * step, "CD2_1": flip * s * step, "CD2_2": c * step}
    cards |= {
        "PV1_0": 0.0,
        "PV1_1": 1.0,
        "PV1_4": 4.0,
        "PV1_7": 300.0,
        "PV2_0": 0.0,
        "PV2_1": 1.0,
        "PV2_4": -3.0,
        "PV2_7": 200.0,
    }
    return Wcs(fits.Header(cards).tostring())


@pytest.fixture(scope="module")
def ccds():
    """Three dithered exposures of 2 x 2 CCDs that overlap a little inside each exposure."""
    found = []
    for k, exposure in enumerate((1000003, 1000001, 1000002)):
        for ccd, (cx, cy) in enumerate([(0, 0), (96, 0), (0, 136), (96, 136)]):
            wcs = distorted((106 - cx + 17 * k, 139 - cy - 11 * k), angle=0.03 * k, flip=(-1.0) ** ccd)
            found.append((CcdId(exposure, ccd), wcs, BOX))
    return found


@pytest.fixture(scope="module")
def sky():
    rng = np.random.default_rng(4)
    half = 0.009
    return RA + rng.uniform(-half, half, 3000) / np.cos(np.radians(DEC)), DEC + rng.uniform(-half, half, 3000)


def brute_force(ra, dec, ccds):
    """Invert every WCS at every object, one by one."""
    best = {}
    for ccd, wcs, (y0, y1, x0, x1) in ccds:
        for i in range(len(ra)):
            x, y = (float(v[0]) for v in wcs.sky_to_pixel(ra[i : i + 1], dec[i : i + 1]))
            # 1-based inclusive limits
            if x0 + 1 <= x + 1 <= x1 and y0 + 1 <= y + 1 <= y1:
                edge = min(x - x0, x1 - 1 - x, y - y0, y1 - 1 - y)
                held = best.get((i, ccd.exposure))
                if held is None or edge > held[0]:
                    best[i, ccd.exposure] = (edge, ccd.ccd, x, y)
    return [(i, exposure, ccd, x, y) for (i, exposure), (_, ccd, x, y) in sorted(best.items())]


def test_epochs_are_those_of_brute_force_bit_for_bit(ccds, sky):
    ra, dec = sky[0][:600], sky[1][:600]
    epochs = find_epochs(ra, dec, ccds)
    assert epochs.dtype == EPOCH_DTYPE
    assert epochs.tolist() == brute_force(ra, dec, ccds)
    n_epoch = count_epochs(epochs, len(ra))
    assert set(n_epoch) == {0, 1, 2, 3}


def test_order_and_batch_do_not_matter(ccds, sky):
    whole = find_epochs(*sky, ccds)
    np.testing.assert_array_equal(find_epochs(*sky, ccds[::-1]), whole)
    part = np.arange(1000, 1700)
    np.testing.assert_array_equal(find_epochs(sky[0][part], sky[1][part], ccds), select_objects(whole, part))


def test_overlapping_ccds_count_once_by_edge_distance(ccds, sky):
    epochs = find_epochs(*sky, ccds)
    pairs = epochs[["object", "exposure"]]
    assert len(np.unique(pairs)) == len(pairs)
    one_by_one = [find_epochs(*sky, [ccd]) for ccd in ccds]
    assert sum(map(len, one_by_one)) > len(epochs)  # some are seen twice in an exposure


def test_limits_are_inclusive():
    wcs = tiny_survey.tan_wcs(RA, DEC, (50.5, 70.5))
    x = np.array([10.0, 9.99, 109.0, 109.01, 50.0, 50.0, 50.0, 50.0])
    y = np.array([50.0, 50.0, 50.0, 50.0, 0.0, -0.01, 139.0, 139.01])
    inward = 1e-7 * np.sign(np.array([50.0, 70.0]) - np.stack([x, y], axis=-1))
    ra, dec = wcs.pixel_to_sky(x + inward[:, 0], y + inward[:, 1])
    epochs = find_epochs(ra, dec, [(CcdId(1, 1), wcs, BOX)])
    assert epochs["object"].tolist() == [0, 2, 4, 6]


@pytest.mark.parametrize(("ra0", "dec0"), [(0.001, 89.99), (359.999, -89.9), (0.0, 0.0), (180.0, 0.0)])
def test_everywhere_on_the_sky(ra0, dec0):
    wcs = tiny_survey.tan_wcs(ra0, dec0, (60.5, 70.5), (-0.8, 0.6, 0.6, 0.8))
    rng = np.random.default_rng(1)
    x, y = rng.uniform(10, 109, 200), rng.uniform(0, 139, 200)
    ra, dec = wcs.pixel_to_sky(x, y)
    epochs = find_epochs(np.append(ra, ra + 180), np.append(dec, -dec), [(CcdId(1, 1), wcs, BOX)])
    assert epochs["object"].tolist() == list(range(200))
    np.testing.assert_allclose(epochs["x"], x, atol=1e-6)
    np.testing.assert_allclose(epochs["y"], y, atol=1e-6)


def test_no_objects_no_ccds_no_positions(ccds):
    assert len(find_epochs(np.zeros(0), np.zeros(0), ccds)) == 0
    assert len(find_epochs(np.array([RA]), np.array([DEC]), [])) == 0
    assert len(find_epochs(np.array([np.nan]), np.array([DEC]), ccds)) == 0
    assert count_epochs(np.zeros(0, EPOCH_DTYPE), 3).tolist() == [0, 0, 0]
    assert len(select_objects(np.zeros(0, EPOCH_DTYPE), np.array([5, 6]))) == 0


def test_selected_objects_are_renumbered():
    epochs = np.array([(0, 1, 2, 0.5, 0), (2, 1, 2, 2.5, 0), (2, 2, 0, 2.75, 0), (3, 1, 1, 3.5, 0)], dtype=EPOCH_DTYPE)
    chosen = select_objects(epochs, np.array([3, 2]))
    assert chosen["object"].tolist() == [0, 1, 1]
    assert chosen["x"].tolist() == [3.5, 2.5, 2.75]
    assert epochs["object"].tolist() == [0, 2, 2, 3]
