"""TPV as SIP: the converted header maps pixels as the original does, by astropy's own reading of both."""

from pathlib import Path

import numpy as np
import pytest
import tiny_survey
from astropy.io import fits
from astropy.wcs import WCS
from numpy.polynomial.polynomial import polyval2d

from shapempi.errors import DataError
from shapempi.field.sip import fit_sip
from shapempi.wcs import Wcs

SHAPE = (4644, 2112)


@pytest.fixture(scope="module")
def scamp():
    """Return a real SCAMP solution of one CCD."""
    text = (Path(__file__).parents[1] / "data" / "scamp.head").read_text()
    return Wcs(fits.Header.fromstring(text, sep="\n").tostring(endcard=False, padding=False), "scamp.head")


def positions(shape, n=2000, seed=3):
    rng = np.random.default_rng(seed)
    return rng.uniform(-0.5, shape[1] - 0.5, n), rng.uniform(-0.5, shape[0] - 0.5, n)


def test_a_real_solution_to_a_thousandth_of_a_pixel(scamp):
    made = fit_sip(scamp, SHAPE)
    x, y = positions(SHAPE)
    ra, dec = scamp.pixel_to_sky(x, y)
    read = WCS(fits.Header.fromstring(made.header))
    back_x, back_y = read.all_world2pix(ra, dec, 0, tolerance=1e-8)
    assert np.hypot(back_x - x, back_y - y).max() < 1e-5
    assert made.residual < 1e-4 and made.inverse_residual < 1e-4
    # AP and BP alone, as programs without iterations use them
    u, v = np.array(read.wcs_world2pix(ra, dec, 0)) - read.wcs.crpix[:, np.newaxis] + 1
    short_x, short_y = u + polyval2d(u, v, read.sip.ap), v + polyval2d(u, v, read.sip.bp)
    assert np.hypot(short_x + read.wcs.crpix[0] - 1 - x, short_y + read.wcs.crpix[1] - 1 - y).max() < 1e-3
    assert made.order == int(fits.Header.fromstring(made.header)["A_ORDER"]) <= 6


def test_without_distortion_the_real_one_is_far_off(scamp):
    """The test above can fail: what SIP takes up is hundreds of pixels wide."""
    header = fits.Header.fromstring(fit_sip(scamp, SHAPE).header)
    for name in list(header):
        if name[:2] in ("A_", "B_"):
            del header[name]
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN", "DEC--TAN"
    x, y = positions(SHAPE)
    back = np.array(WCS(header).all_world2pix(*scamp.pixel_to_sky(x, y), 0))
    assert np.hypot(*(back - [x, y])).max() > 1.0


@pytest.mark.parametrize("dec", [-89.9, 0.0, 41.7, 89.99])
@pytest.mark.parametrize("ra", [0.0, 359.999])
def test_everywhere_on_the_sky(ra, dec):
    cards = {card["name"]: card["value"] for card in tiny_survey.ccd_header(2)} | {"CRVAL1": ra, "CRVAL2": dec}
    wcs = Wcs(fits.Header(cards).tostring())
    made = fit_sip(wcs, tiny_survey.CCD_SHAPE)
    x, y = positions(tiny_survey.CCD_SHAPE, 100)
    back = np.array(Wcs(made.header).sky_to_pixel(*wcs.pixel_to_sky(x, y)))
    assert np.hypot(*(back - [x, y])).max() < 1e-4


def test_radial_terms(scamp):
    cards = fits.Header.fromstring(scamp.header)
    cards["CRPIX1"], cards["CRPIX2"], cards["PV1_3"], cards["PV2_3"] = -3000.0, -2000.0, 2e-4, 2e-4
    cards["CTYPE1"], cards["CTYPE2"] = "RA---TPV", "DEC--TPV"
    made = fit_sip(Wcs(cards.tostring()), SHAPE)
    assert made.residual < 1e-3


def test_what_is_sip_or_plain_already_stays():
    plain = tiny_survey.tan_wcs(10.0, 20.0, (5.0, 6.0))
    assert fit_sip(plain, (50, 60)).header == plain.header
    sip = tiny_survey.tan_wcs(
        *(10.0, 20.0, (5.0, 6.0)), CTYPE1="RA---TAN-SIP", CTYPE2="DEC--TAN-SIP", A_ORDER=2, A_2_0=1e-6, B_ORDER=2
    )
    made = fit_sip(sip, (50, 60))
    assert (made.header, made.order, made.residual) == (sip.header, 2, 0.0)


def test_a_conversion_that_misses_is_an_error(scamp):
    with pytest.raises(DataError, match=r"scamp.head: SIP of order \d misses .* more than 1e-14"):
        fit_sip(scamp, SHAPE, tolerance=1e-14)
    cards = fits.Header.fromstring(scamp.header)
    cards["CRPIX1"], cards["CRPIX2"], cards["PV1_3"] = 1000.0, 2000.0, 0.3  # a cusp in the middle of the CCD
    with pytest.raises(DataError, match="misses"):
        fit_sip(Wcs(cards.tostring()), SHAPE)
