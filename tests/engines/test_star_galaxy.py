"""The spread model against source-extractor's own with PSFEx's model, on the same stars and galaxies."""

from itertools import pairwise

import fitsio
import galsim
import numpy as np
import pytest
from engines.program_classes import area_under, source_extractor
from scipy.spatial import cKDTree

from shapempi.measure.spread import SpreadParams, spread_model

#: Side of an object's place [pixel], of the stamps that are measured, and number of places along an axis.
CELL, STAMP, N = 40, 35, 40
#: FWHM of the PSF [pixel], half-light radius of the galaxies [pixel], noise of a pixel.
FWHM, RADIUS, NOISE = 3.8, 1.4, 1.0
#: Signal-to-noise ratios of the objects within an aperture of the PSF's size.
BRIGHT, LIMITS = 300.0, (60.0, 35.0, 20.0, 13.0)


@pytest.fixture(scope="module")
def sky(tmp_path_factory):
    """An image of stars and galaxies, half and half, its truth and the program's table."""
    folder, rng = tmp_path_factory.mktemp("classes"), np.random.default_rng(31)
    psf = galsim.Moffat(beta=3.0, fwhm=FWHM).shear(g1=0.02, g2=-0.01)
    galaxy = galsim.Convolve(galsim.Exponential(half_light_radius=RADIUS), psf)
    image = rng.normal(0, NOISE, (N * CELL, N * CELL)).astype(np.float32)
    truth = np.zeros(N * N, [("x", "f8"), ("y", "f8"), ("s2n", "f8"), ("star", "?")])
    for i, row in enumerate(truth):
        y0, x0 = CELL * (i // N), CELL * (i % N)
        dx, dy = rng.uniform(-0.5, 0.5, 2)
        bright = i % 8 == 0  # what PSFEx makes its model of
        s2n = BRIGHT if bright else np.exp(rng.uniform(np.log(LIMITS[-1]), np.log(LIMITS[0])))
        star = bright or rng.random() < 0.5
        flux = s2n * NOISE * np.sqrt(4 * np.pi) * FWHM / 2.355
        profile = (psf if star else galaxy).withFlux(flux).shift(dx, dy)
        light = profile.drawImage(nx=CELL - 1, ny=CELL - 1, scale=1.0, dtype=float).array
        image[y0 : y0 + CELL - 1, x0 : x0 + CELL - 1] += light
        row["x"], row["y"], row["s2n"], row["star"] = x0 + CELL // 2 - 1 + dx, y0 + CELL // 2 - 1 + dy, s2n, star
    for name, plane in (("image", image), ("weight", np.full_like(image, NOISE**-2))):
        fitsio.write(folder / f"{name}.fits", plane)
    table = source_extractor(folder / "image.fits", folder / "weight.fits", degree=0, SEEING_FWHM=FWHM)
    return image, truth, table


def test_stars_and_galaxies_are_told_apart_as_well_as_by_the_program(sky):
    image, truth, table = sky
    tree = cKDTree(np.stack([table["X_IMAGE"] - 1, table["Y_IMAGE"] - 1], axis=1))
    distance, near = tree.query(np.stack([truth["x"], truth["y"]], axis=1))
    faint = truth["s2n"] < BRIGHT
    assert (distance[faint & (truth["s2n"] > LIMITS[2])] < 1.5).mean() > 0.9
    chosen = faint & (distance < 1.5)
    truth, table = truth[chosen], table[near[chosen]]
    # At the program's own positions, with the size of the PSF's core by adaptive moments, as the chain has it.
    x, y = table["X_IMAGE"] - 1, table["Y_IMAGE"] - 1
    column, row, half = np.rint(x).astype(int), np.rint(y).astype(int), STAMP // 2
    stamps = np.stack(
        [
            image[r - half : r + half + 1, c - half : c + half + 1]  # one stamp
            for r, c in zip(row, column, strict=True)
        ]
    )
    core = galsim.Moffat(beta=3.0, fwhm=FWHM).drawImage(nx=51, ny=51, scale=1.0).FindAdaptiveMom().moments_sigma
    offset = np.stack([x - column, y - row], axis=1)
    weights = np.full(stamps.shape, NOISE**-2, np.float32)
    ours = spread_model(stamps, weights, np.full(len(x), core), offset, SpreadParams())
    rng = np.random.default_rng(5)
    for high, low in pairwise(LIMITS):
        here = (truth["s2n"] < high) & (truth["s2n"] >= low)
        star, galaxy = np.flatnonzero(here & truth["star"]), np.flatnonzero(here & ~truth["star"])
        assert min(len(star), len(galaxy)) > 80
        values = ours["SPREAD_MODEL"].astype(float), table["SPREAD_MODEL"].astype(float)
        ahead = []
        for _ in range(200):
            a, b = rng.choice(star, len(star)), rng.choice(galaxy, len(galaxy))
            ahead.append(area_under(values[0][a], values[0][b]) - area_under(values[1][a], values[1][b]))
        mine, theirs = (area_under(value[star], value[galaxy]) for value in values)
        assert mine > 0.8
        assert mine - theirs > -2 * np.std(ahead) - 0.002, (low, mine, theirs)
