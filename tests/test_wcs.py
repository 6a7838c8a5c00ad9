"""The inverse of a WCS: exact, and for each position the same whatever else is asked for."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_survey

SIP = {"A_ORDER": 3, "B_ORDER": 3, "A_2_0": 2e-6, "A_1_1": -1e-6, "A_0_3": 3e-10, "B_0_2": 1.5e-6, "B_3_0": -2e-10}
TPV = {"PV1_0": 0.0, "PV1_1": 1.0, "PV1_4": 0.3, "PV1_7": 9.0, "PV2_0": 0.0, "PV2_1": 1.0, "PV2_4": -0.2, "PV2_7": 7.0}


@pytest.mark.parametrize(
    "more",
    [
        {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", **SIP},
        {"CTYPE1": "RA---TPV", "CTYPE2": "DEC--TPV", **TPV},
        TPV,  # as SCAMP writes it: TAN with PV terms
        {},
    ],
    ids=["SIP", "TPV", "TAN with PV", "TAN"],
)
def test_inverse(more):
    wcs = tiny_survey.tan_wcs(231.3, 41.7, (1024.5, 2306.5), (-0.999, 0.01, 0.01, 0.999), **more)
    rng = np.random.default_rng(1)
    x, y = rng.uniform(0, 2048, 300), rng.uniform(0, 4612, 300)
    ra, dec = wcs.pixel_to_sky(x, y)
    inverse_x, inverse_y = wcs.sky_to_pixel(ra, dec)
    np.testing.assert_allclose(inverse_x, x, atol=1e-6)
    np.testing.assert_allclose(inverse_y, y, atol=1e-6)
    for part in (slice(0, 1), slice(17, 19), slice(None, None, -3)):
        part_x, part_y = wcs.sky_to_pixel(ra[part], dec[part])
        np.testing.assert_array_equal(part_x, inverse_x[part])
        np.testing.assert_array_equal(part_y, inverse_y[part])
    plain_x, plain_y = tiny_survey.tan_wcs(231.3, 41.7, (1024.5, 2306.5), (-0.999, 0.01, 0.01, 0.999)).sky_to_pixel(
        ra, dec
    )
    moved = np.hypot(plain_x - x, plain_y - y).max()
    assert (moved > 1.0) == bool(more)
