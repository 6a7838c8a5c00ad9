"""Our background against source-extractor's check image of the same pixels (`apt install source-extractor`)."""

from pathlib import Path

import fitsio
import numpy as np
import pytest
from measure.sky import add_gaussian

from shapempi.engines.program import Program
from shapempi.measure.background import BackgroundParams, estimate_background

EMMI = Path(__file__).parents[1] / "data" / "emmi" / "image.fits"

#: Without the second estimate that leaves objects out, ours is SExtractor's.
PARAMS = BackgroundParams(object_clip=0.0)


def check_image(folder, data, weight=None):
    """Return the check image BACKGROUND."""
    (folder / "columns.param").write_text("NUMBER\n")
    fitsio.write(folder / "image.fits", data)
    arguments = [
        "image.fits",
        "-c",
        "none",
        "-PARAMETERS_NAME",
        "columns.param",
        "-FILTER",
        "N",
        "-CATALOG_TYPE",
        "NONE",
    ]
    arguments += ["-CHECKIMAGE_TYPE", "BACKGROUND", "-CHECKIMAGE_NAME", "back.fits"]
    arguments += ["-BACK_SIZE", str(PARAMS.box_size), "-BACK_FILTERSIZE", str(PARAMS.filter_size)]
    if weight is not None:
        fitsio.write(folder / "weight.fits", weight)
        arguments += ["-WEIGHT_TYPE", "MAP_WEIGHT", "-WEIGHT_IMAGE", "weight.fits", "-INTERP_TYPE", "NONE"]
    program = Program.find(["source-extractor", "sex", "sextractor"], setting="the test", cure="install it")
    finished = program.run(arguments, folder=folder, timeout=60)
    assert finished.code == 0, finished
    return fitsio.read(folder / "back.fits")


def simulated():
    """A sky with gradients, objects, and bad pixels of weight 0."""
    rng = np.random.default_rng(4)
    y, x = np.mgrid[:640, :512]
    data = 500 + 10 * np.sin(x / 150) + 8 * np.cos(y / 120) + rng.normal(0, 12, (640, 512))
    for _ in range(120):
        add_gaussian(data, rng.uniform(0, 511), rng.uniform(0, 639), 10 ** rng.uniform(3, 5), 2.0)
    weight = np.full(data.shape, 1 / 144, np.float32)
    weight[100:300, 200:210], data[100:300, 200:210] = 0, 6e4
    return data.astype(np.float32), weight


@pytest.mark.parametrize("case", ["emmi", "simulated"])
def test_the_background_is_that_of_the_program(tmp_path, case):
    data, weight = (fitsio.read(EMMI).astype(np.float32), None) if case == "emmi" else simulated()
    theirs = check_image(tmp_path, data, weight)
    bad = np.zeros(data.shape, bool) if weight is None else weight == 0
    mesh = estimate_background(data, bad, PARAMS)
    ny, nx = data.shape
    difference = mesh.evaluate(0, ny, 0, nx) - theirs
    # 1 % of the noise is a tenth of the error of the estimate itself.
    assert np.abs(difference).max() < 0.01 * mesh.rms
    assert difference.std() < 0.001 * mesh.rms
