"""Detection on a real image against the catalogue that SExtractor made of it."""

from pathlib import Path

import fitsio
import numpy as np
import pytest
from measure.sky import wcs

from shapempi.measure.background import BackgroundParams, estimate_background
from shapempi.measure.detect import DetectionParams, detect
from shapempi.measure.pixel_source import ArraySource, Frame

FOLDER = Path(__file__).parents[1] / "data" / "emmi"
#: Column of the catalogue, 0-based.
COLUMN = {"X_IMAGE": 1, "Y_IMAGE": 2, "XWIN_IMAGE": 3, "YWIN_IMAGE": 4, "X2_IMAGE": 5, "Y2_IMAGE": 6, "XY_IMAGE": 7}
COLUMN |= {"ERRX2_IMAGE": 8, "ERRY2_IMAGE": 9, "FLUX_APER": 12, "FLUXERR_APER": 13, "KRON_RADIUS": 14}
COLUMN |= {"FLUX_AUTO": 15, "FLUXERR_AUTO": 16, "FLUX_RADIUS": 18, "FLAGS": 20}


@pytest.fixture(scope="module")
def both():
    """Return our table and SExtractor's columns, row by row of the same objects."""
    data = fitsio.read(FOLDER / "image.fits").astype(np.float32)
    mesh = estimate_background(data, np.zeros(data.shape, bool), BackgroundParams(object_clip=0.0))
    data -= mesh.evaluate(0, 256, 0, 256)
    weight = np.full(data.shape, mesh.rms**-2, np.float32)
    # The settings of the catalogue: no weight map, no deblending, no lower limit of the Kron ellipse.
    params = DetectionParams(deblend_contrast=1.0, kron_min=1e-6, aperture_diameter=10.0, rescale_weights=False)
    source = ArraySource(data, weight, np.zeros(data.shape, np.int32))
    frame = Frame(wcs(data.shape), gain=0.0, saturate=50000.0, mag_zp=0.0)
    ours = detect(source, frame, params, background=mesh).table
    theirs = np.loadtxt(FOLDER / "image.cat")
    assert len(ours) == len(theirs) == 65
    distance = np.hypot(ours["X_IMAGE"][:, None] - theirs[:, 1], ours["Y_IMAGE"][:, None] - theirs[:, 2])
    assert np.all(distance.min(axis=1) < 1e-3)
    theirs = theirs[distance.argmin(axis=1)]
    assert len(np.unique(theirs[:, 0])) == 65
    return ours, {name: theirs[:, column] for name, column in COLUMN.items()}


def test_isophotal_measurements_are_the_same(both):
    ours, theirs = both
    for name in ("X_IMAGE", "Y_IMAGE", "XY_IMAGE"):
        assert np.abs(ours[name] - theirs[name]).max() < 1e-4, name
    for name in ("X2_IMAGE", "Y2_IMAGE", "ERRX2_IMAGE", "ERRY2_IMAGE"):
        assert np.allclose(ours[name], theirs[name], rtol=5e-4), name


def test_flags_are_the_same(both):
    ours, theirs = both
    assert np.count_nonzero(ours["FLAGS"] != theirs["FLAGS"]) <= 1


def test_windowed_positions_agree_where_no_neighbour_is(both):
    """The catalogue was made without the correction for neighbours, so a few objects differ."""
    ours, theirs = both
    shift = np.hypot(ours["XWIN_IMAGE"] - theirs["XWIN_IMAGE"], ours["YWIN_IMAGE"] - theirs["YWIN_IMAGE"])
    assert np.median(shift) < 2e-4
    assert np.count_nonzero(shift < 1e-3) > 0.75 * len(shift)


def test_fluxes_and_radii_agree_where_no_neighbour_is(both):
    ours, theirs = both
    same_error = np.isclose(ours["FLUXERR_APER"], theirs["FLUXERR_APER"], rtol=1e-5)
    assert np.count_nonzero(same_error) > 0.85 * len(ours)
    difference = np.abs(ours["FLUX_APER"] - theirs["FLUX_APER"]) / theirs["FLUXERR_APER"]
    assert np.median(difference) < 1e-3 and np.count_nonzero(difference < 0.01) > 0.85 * len(ours)
    good = theirs["KRON_RADIUS"] > 0
    for name, limit in (("KRON_RADIUS", 3e-3), ("FLUX_AUTO", 1e-3), ("FLUXERR_AUTO", 1e-3), ("FLUX_RADIUS", 1e-3)):
        ratio = np.abs(ours[name][good] / theirs[name][good] - 1)
        assert np.median(ratio) < limit, name
        assert np.count_nonzero(ratio < 3 * limit) > 0.75 * np.count_nonzero(good), name
