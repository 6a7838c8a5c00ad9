"""Both engines on the same pixels: simulated CCDs, a simulated tile, a real image; see docs/accuracy.md."""

from pathlib import Path

import fitsio
import numpy as np
import pytest
from engines.agreement import Agreement, difference, distance, ratio, s2n_above
from measure.sky import wcs

from shapempi.io.exposure import ExposurePaths, is_active, read_ccd, read_headers
from shapempi.io.tile import read_tile
from shapempi.measure.background import BackgroundParams, estimate_background
from shapempi.measure.pixel_source import ArraySource, Frame
from shapempi.sim.params import SimulationParams
from shapempi.sim.simulate import simulate_survey

EMMI = Path(__file__).parents[1] / "data" / "emmi" / "image.fits"
CAMERA = {
    **{"ccd_width": 520, "ccd_height": 640, "overscan_x": 8, "overscan_y": 6, "gap_x": 24.0, "gap_y": 24.0},
    **{"gap_y_outer": 60.0, "distortion": -0.2},
}


def without_background(data, weight, flag):
    mesh = estimate_background(data, ~(weight > 0), BackgroundParams())
    ny, nx = data.shape
    return ArraySource(data - mesh.evaluate(0, ny, 0, nx), weight, flag), mesh


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    params = SimulationParams.model_validate(
        {
            "seed": 8,
            "noise_seed": 9,
            "tile_size": 1000,
            "camera": CAMERA,
            "pointing": {"n_exposure": 2, "dither_radius": 20.0},
            "psf": {"field_radius": 0.1},
            "galaxies": {"mag_faint": 25.0},
            "stars": {"mag_bright": 15.0},
        }
    )
    return params, simulate_survey(params, tmp_path_factory.mktemp("agreement"))


@pytest.fixture(scope="module")
def ccds(survey):
    params, files = survey
    paths = ExposurePaths(*files.exposure(params.pointing.first_exposure))
    found = []
    for ccd, (_, header) in enumerate(read_headers(paths.image)):
        if is_active(header):
            image = read_ccd(paths, ccd)
            source, mesh = without_background(image.data, image.weight, image.flag)
            frame = Frame(image.wcs, image.gain, image.saturate, image.mag_zp)
            found.append(Agreement.of(source, frame, background=mesh))
    return sum(found[1:], found[0])


@pytest.fixture(scope="module")
def tile(survey):
    params, files = survey
    image, _ = read_tile(*files.tile(params.tile_ids[0]))
    source = ArraySource(image.data, image.weight, image.flag)
    frame = Frame(image.wcs, image.gain, image.saturate, image.mag_zp)
    return Agreement.of(source, frame, deblend_contrast=0.0005)


@pytest.fixture(scope="module")
def emmi():
    data = fitsio.read(EMMI).astype(np.float32)
    mesh = estimate_background(data, np.zeros(data.shape, bool), BackgroundParams())
    weight = np.full(data.shape, mesh.rms**-2, np.float32)
    source, mesh = without_background(data, weight, np.zeros(data.shape, np.int32))
    return Agreement.of(source, Frame(wcs(data.shape), 2.1, 50000.0, 30.0), background=mesh)


@pytest.fixture(scope="module", params=["ccds", "tile", "emmi"])
def agreement(request):
    return request.getfixturevalue(request.param)


def test_both_find_the_same_objects(agreement):
    assert len(agreement.program) > 60
    assert min(agreement.matched(10)) >= 0.98


def test_magnitudes_and_widths(agreement):
    ours, theirs = agreement.pairs(whole=False)
    assert abs(np.median(difference(ours, theirs, "MAG_AUTO"))) < 0.001
    assert abs(np.median(ratio(ours, theirs, "FWHM_IMAGE"))) < 0.001
    assert np.percentile(np.abs(difference(ours, theirs, "MAG_AUTO")), 75) < 0.02
    assert np.percentile(np.abs(ratio(ours, theirs, "FWHM_IMAGE")), 75) < 0.03


def test_positions_of_bright_objects(agreement):
    ours, theirs = agreement.pairs(s2n_above(50), whole=False)
    for kind in ("", "WIN"):
        assert np.median(distance(ours, theirs, kind)) < 0.01
    ours, theirs = agreement.pairs(s2n_above(50))
    for kind in ("", "WIN"):
        assert np.mean(distance(ours, theirs, kind) < 0.03) > 0.95


def test_flags(agreement):
    ours, theirs = agreement.pairs(whole=False)
    assert np.mean(ours["FLAGS"] == theirs["FLAGS"]) > 0.94
    assert np.mean(ours["FLAGS_WIN"] == theirs["FLAGS_WIN"]) > 0.98
    assert np.mean(ours["IMAFLAGS_ISO"] == theirs["IMAFLAGS_ISO"]) > 0.98


def test_windowed_moments_and_errors(agreement):
    ours, theirs = agreement.pairs(s2n_above(10))
    for name, limit in (("X2WIN_IMAGE", 1e-3), ("Y2WIN_IMAGE", 1e-3), ("FLUX_RADIUS", 1e-3), ("KRON_RADIUS", 1e-3)):
        assert abs(np.median(ratio(ours, theirs, name))) < limit, name
    # On a coadd of varying depth the factors of both on the weights differ by a percent.
    for name in ("ERRX2WIN_IMAGE", "ERRY2WIN_IMAGE", "FLUXERR_AUTO", "FLUXERR_APER", "SNR_WIN", "MAGERR_AUTO"):
        assert abs(np.median(ratio(ours, theirs, name))) < 0.03, name
    ours, theirs = agreement.pairs(s2n_above(10), blended=False)
    assert np.percentile(np.abs(ratio(ours, theirs, "X2WIN_IMAGE")), 68) < 0.01


def test_surface_brightness(agreement):
    ours, theirs = agreement.pairs(blended=False)
    assert np.percentile(np.abs(difference(ours, theirs, "MU_MAX")), 90) < 1e-4
    assert abs(np.median(difference(ours, theirs, "MU_THRESHOLD"))) < 0.03


def test_the_same_noise_gives_the_same_errors(survey):
    """With weights as they are the errors agree to a part in a thousand."""
    params, files = survey
    image, _ = read_tile(*files.tile(params.tile_ids[0]))
    source = ArraySource(image.data, image.weight, image.flag)
    frame = Frame(image.wcs, image.gain, image.saturate, image.mag_zp)
    agreement = Agreement.of(source, frame, deblend_contrast=0.0005, rescale_weights=False)
    ours, theirs = agreement.pairs(blended=False)
    for name in ("ERRX2WIN_IMAGE", "ERRY2WIN_IMAGE", "FLUXERR_AUTO", "FLUXERR_APER", "FLUXERR_WIN", "SNR_WIN"):
        assert abs(np.median(ratio(ours, theirs, name))) < 1e-3, name


def test_both_measure_in_one_image_what_they_find_in_another():
    data = fitsio.read(EMMI).astype(np.float32)
    flag = np.zeros(data.shape, np.int32)
    found, mesh = without_background(data, np.ones(data.shape, np.float32), flag)
    found = ArraySource(found.data, found.weight / np.float32(mesh.rms**2), flag)
    shallow = 0.6 * found.data + np.random.default_rng(3).normal(0, 40, data.shape).astype(np.float32)
    weight = np.full(data.shape, 1 / (40**2 + (0.6 * mesh.rms) ** 2), np.float32)
    frame = Frame(wcs(data.shape), 2.1, 30000.0, 30.0)
    agreement = Agreement.of(ArraySource(shallow, weight, flag), frame, detection=found)
    assert len(agreement.rows) >= 0.97 * max(len(agreement.native), len(agreement.program)) > 60
    ours, theirs = agreement.pairs(blended=False)
    for name in ("X2_IMAGE", "KRON_RADIUS", "ISOAREAF_IMAGE", "ISOAREA_IMAGE", "FLUX_AUTO", "FLUX_APER", "FLUX_RADIUS"):
        assert np.percentile(np.abs(ratio(ours, theirs, name)), 75) < 1e-3, name
    for name in ("FLUXERR_AUTO", "FLUXERR_APER", "ERRX2WIN_IMAGE", "SNR_WIN", "THRESHOLD", "FWHM_IMAGE"):
        assert abs(np.median(ratio(ours, theirs, name))) < 0.02, name
    for name in ("MU_MAX", "MU_THRESHOLD"):
        assert abs(np.median(difference(ours, theirs, name))) < 0.02, name
    assert np.median(distance(ours, theirs, "WIN")) < 1e-3
    assert np.mean(ours["FLAGS"] == theirs["FLAGS"]) > 0.94
