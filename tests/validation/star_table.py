"""Tables of stars with known residuals."""

import numpy as np

from shapempi.catalog import STAR_COLUMNS, dtype_of
from shapempi.description import cfis_camera

SCALE = 0.187 / 3600.0  # [deg/pixel]


def make_stars(rng, n_exposure=2, ccds=range(40), per_ccd=30, *, noise=0.0, shape=(4612, 2048), dec=30.0):
    """Return stars of MegaCam's CCDs, model and star alike but for the noise, and (west, north) of the centre [n].

    x of most CCDs runs West and y North, as surveys/cfis.toml says; of those upside down they run East and South.
    """
    megacam = cfis_camera()
    parts, places = [], []
    for exposure in range(n_exposure):
        for ccd in ccds:
            place = megacam.place(ccd)
            x, y = rng.uniform(33, 2081, per_ccd), rng.uniform(1, 4612, per_ccd)
            sign = -1 if place.upside_down else 1
            centre = place.centre(shape, megacam.gaps)
            west = centre[0] + sign * (x - (33 + 2080) / 2)
            north = centre[1] + sign * (y - (1 + 4612) / 2)
            rows = np.zeros(per_ccd, dtype_of(STAR_COLUMNS))
            rows["exposure"], rows["CCD_NB"] = 2243881 + exposure, ccd
            rows["X"], rows["Y"] = x, y
            rows["RA"] = 180.0 - west * SCALE / np.cos(np.radians(dec))
            rows["DEC"] = dec + north * SCALE
            rows["MAG"] = rng.uniform(18, 22, per_ccd)
            rows["SNR"] = 20 * 10 ** (0.4 * (22 - rows["MAG"]))
            rows["ACCEPTED"] = 1
            parts.append(rows)
            places.append(np.stack([west, north], axis=1))
    stars, places = np.concatenate(parts), np.concatenate(places)
    n = len(stars)
    set_shapes(stars, 0.0, 0.0, 0.2, *(noise * rng.normal(size=(3, n))))
    return stars, places


def set_shapes(stars, e1, e2, T, de1, de2, dT):
    """Set shapes of model (e, T) and star; dT is (T_star - T)/T_star.  The sky's axes are the focal plane's."""
    star_T = T / (1 - dT)
    for of, name, g1, g2, size in (("psf", "PSF", e1, e2, T), ("star", "STAR", e1 + de1, e2 + de2, star_T)):
        modulus = g1**2 + g2**2
        stars[f"g1_{of}"] = stars[f"E1_{name}_HSM"] = g1
        stars[f"g2_{of}"] = stars[f"E2_{name}_HSM"] = g2
        stars[f"T_{of}"] = size * (1 + modulus) / (1 - modulus)  # the table holds traces
        stars[f"SIGMA_{name}_HSM"] = np.sqrt(size / 2) / 0.187
