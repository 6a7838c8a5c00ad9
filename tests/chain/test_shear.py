"""The shear of isolated galaxies through the whole program, for two surveys of opposite shear.

Both have the same sky and the same noise, galaxies in pairs that differ by a rotation by 90 degrees, and stars for the
PSF between them.  The larger survey of configs/shear_plus.toml is the same thing for people.
"""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from chain.program import shapempi, verb

from shapempi.config import load
from shapempi.io.catalog import read_table
from shapempi.io.tile import tile_image_hdu
from shapempi.io.truth import read_truth
from shapempi.report.truth import compare, compare_opposite
from shapempi.wcs import Wcs

CONFIGS = Path(__file__).parents[2] / "configs"
SHEAR = np.array([0.02, -0.01])
SIGNS = {"plus": 1, "minus": -1}

#: One CCD of each of two exposures holds the whole tile.
CONFIG = """
[survey]
name = "grid"

[input]
exposure_folder = "{name}/survey/exposures"
tile_folder = "{name}/survey/tiles"
star_catalogue = "{name}/survey/star_catalogue.fits"

[run]
folder = "{name}/run"

[exposure.mask]
border_width = 10

[shear.cuts]
s2n_max = 5000.0
size_ratio_min = 0.1
size_ratio_max = 20.0
weight_scatter = 100.0

[simulation]
seed = 3
noise_seed = 4
tile_size = 756
g1 = {g1}
g2 = {g2}
camera = {{ ccd_width = 900, ccd_height = 900, overscan_x = 8, overscan_y = 6, gap_x = 24.0, gap_y = 24.0 }}
pointing = {{ n_exposure = 2, dithers = [[4.0, 86.0], [-5.0, -87.0]] }}
psf = {{ field_radius = 0.05, g_scatter = 0.03 }}
galaxies = {{ grid_spacing = 54.0, grid_star_fraction = 0.3, rotated_pairs = true, shape_noise = 0.2, \
mag_bright = 19.5, mag_faint = 20.7, count_slope = 0.0 }}
stars = {{ mag_bright = 18.6, mag_faint = 21.5, halo_fraction = 0.0, bleed = false }}
defects = {{ cosmic_density = 50.0, bad_columns = 1.0 }}
"""


def measure(folder, name):
    """Simulate and measure one survey; return its catalogue, its truth and its tile."""
    g1, g2 = (SIGNS[name] * SHEAR).tolist()
    config, run = f"{name}.toml", f"{name}/run"
    (folder / config).write_text(CONFIG.format(name=name, g1=g1, g2=g2))
    for command in (("simulate", config), ("run", config), ("gather", run)):
        result = shapempi(folder, *command)
        assert result.code == 0, result
    survey = folder / name / "survey"
    hdu = tile_image_hdu(survey / "tiles" / "CFIS.241.293.r.fits")
    tile = (Wcs(hdu.header, str(hdu)), hdu.shape)
    return read_table(folder / run / "catalogue.h5"), read_truth(survey / "truth.h5"), tile


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("shear")


@pytest.fixture(scope="module")
def surveys(folder):
    """Return catalogue, truth and tile of both surveys, measured side by side."""
    with ThreadPoolExecutor(2) as pool:
        work = {name: pool.submit(measure, folder, name) for name in SIGNS}
        return {name: future.result() for name, future in work.items()}


@pytest.mark.parametrize("name", SIGNS)
def test_the_shear_of_either_sign_comes_back(surveys, name):
    catalogue, truth, tile = surveys[name]
    found = compare(catalogue, truth, [tile])
    shear = found.shear
    np.testing.assert_allclose(shear.true_g, SIGNS[name] * SHEAR)
    assert found.completeness == 1.0
    assert found.measured > 0.97
    assert shear.n_galaxy > 110
    assert (shear.error < 0.002).all()
    assert (np.abs(shear.pull) < 3).all(), shear.lines()


def test_the_difference_of_the_signs_bounds_the_bias(surveys):
    (first, truth, tile), (second, opposite, _) = surveys["plus"], surveys["minus"]
    bias = compare_opposite((first, truth), (second, opposite), [tile])
    assert bias.n_galaxy > 110
    # The noise of the two is the same and falls out.
    assert (bias.m_error < 0.015).all()
    assert (np.abs(bias.m) < 3 * bias.m_error + 0.003).all(), bias.lines()
    assert (np.abs(bias.c) < 3 * bias.c_error).all(), bias.lines()


def test_the_report_prints_the_bias(surveys, folder):
    result = verb(folder, "report", "plus/run", "--opposite", "minus/run")
    assert result.code == 0, result
    assert re.search(r"m1 = [+-]0\.\d+ \+- 0\.\d+, c1 = [+-]0\.\d+ \+- 0\.\d+", result.out)


def test_the_shear_verb_finds_the_same(surveys, folder):
    """Of galaxies with a constant shear: the mean with the errors of rotated pairs, and xi+, within 4 errors."""
    for name, sign in SIGNS.items():
        options = ("--truth", f"{name}/survey/truth.h5", "--no-figures", "--overwrite")
        result = verb(folder, "shear", f"{name}/run", *options)
        assert result.code == 0, result
        found = json.loads((folder / name / "run" / "shear" / "summary.json").read_text())
        bias = {key: np.array(value) for key, value in found["truth"].items()}
        assert bias["n"] > 90
        assert (bias["g_err"] < 0.004).all(), bias
        assert (np.abs(bias["g"] - sign * SHEAR) < 4 * bias["g_err"]).all(), bias
        pairs = [row for row in found["correlation"] if row["n_pair"] > 500]
        assert pairs
        for row in pairs:
            assert abs(row["xip"] - SHEAR @ SHEAR) < 4 * row["xip_noise"]
            assert abs(row["xix"]) < 4 * row["xix_noise"]


def test_the_configurations_differ_in_the_sign_only():
    plus, minus = (load(CONFIGS / f"shear_{name}.toml").simulation for name in SIGNS)
    assert (plus.g1, plus.g2) == (-minus.g1, -minus.g2)
    assert plus.model_dump(exclude={"g1", "g2"}) == minus.model_dump(exclude={"g1", "g2"})
