"""The unit of a CCD on stars that it can use and on stars that it cannot: a status and a reason, never an exception."""

from dataclasses import replace

import galsim
import numpy as np
import pytest
from astropy.io import fits

from shapempi.engines.detection_native import NativeDetection
from shapempi.engines.psf import make_engine
from shapempi.engines.psf_params import PsfParams
from shapempi.errors import MeasurementError
from shapempi.image import Image
from shapempi.measure.mask import MaskParams, MaskRecipe
from shapempi.measure.moments import adaptive_moments
from shapempi.measure.setools.program import parse
from shapempi.measure.stars import StarParams, standard_program
from shapempi.mpi.attempt import Stopwatch
from shapempi.psf import PsfModel
from shapempi.stages.ccd import CcdStage, ExposureParams
from shapempi.wcs import Wcs

NY, NX = 700, 600
SCALE, SKY, GAIN, FWHM = 0.187, 10.0, 1.6, 3.8
PSF = galsim.Convolve(galsim.Moffat(3.5, fwhm=FWHM).shear(g1=0.03, g2=-0.02), galsim.Pixel(1.0))


def header():
    cards = {
        **{"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 231.0, "CRVAL2": 41.0},
        **{
            "CRPIX1": NX / 2,
            "CRPIX2": NY / 2,
            "CD1_1": -SCALE / 3600,
            "CD2_2": SCALE / 3600,
            "CD1_2": 0.0,
            "CD2_1": 0.0,
        },
    }
    return fits.Header(cards).tostring()


def places(n, rng):
    """Positions on a jittered grid: no blends."""
    across = 9
    step_x, step_y = (NX - 80) / across, (NY - 80) / 8
    cells = rng.permutation(across * 8)[:n]
    x = 40 + (cells % across + 0.5) * step_x + rng.uniform(-4, 4, n)
    y = 40 + (cells // across + 0.5) * step_y + rng.uniform(-4, 4, n)
    return x, y


def sky_with(x, y, flux, psf=PSF, *, seed=0, saturate=np.inf):
    """A CCD with stars of given fluxes [ADU]."""
    rng = np.random.default_rng([seed, 9])
    light = np.zeros((NY, NX))
    stamp = galsim.ImageD(light, xmin=0, ymin=0)
    for a, b, f in zip(x, y, flux, strict=True):
        centre = galsim.PositionD(a, b)
        drawn = psf.withFlux(f).drawImage(nx=63, ny=63, scale=1.0, method="no_pixel", center=centre)
        bounds = drawn.bounds & stamp.bounds
        if bounds.isDefined():
            stamp[bounds] += drawn[bounds]
    data = light + rng.normal(size=light.shape) * np.sqrt(SKY**2 + light / GAIN) + 300.0
    data = np.minimum(data, saturate)
    text = header()
    return Image(
        data=data.astype(np.float32),
        weight=np.full((NY, NX), SKY**-2, np.float32),
        flag=np.zeros((NY, NX), np.int32),
        wcs=Wcs(text, "test"),
        origin=(0, 0),
        full_shape=(NY, NX),
        valid_box=(0, NY, 0, NX),
        gain=GAIN,
        saturate=saturate,
        mag_zp=30.0,
        flux_scale=1.0,
        header=text,
        path="test.fits",
    )


class Inputs:
    """One CCD in memory in place of a survey's files."""

    def __init__(self, image):
        self.image = image

    def read_ccd(self, ccd, box=None):
        return self.image


def process(image, *, stars=None, selection=None, psf=None, mask=None):
    """Return the product of a CCD."""
    psf = PsfParams() if psf is None else psf
    exposure = ExposureParams(mask=MaskParams(border_width=5) if mask is None else mask)
    stage = CcdStage(
        inputs=Inputs(image),
        bright_stars=None,
        mask=MaskRecipe(exposure.mask),
        exposure=exposure,
        stars=StarParams() if stars is None else stars,
        selection=standard_program() if selection is None else selection,
        psf=psf,
        detector=NativeDetection(exposure.detection),
        psf_engine=make_engine(psf),
        seed=7,
    )
    product, n_row = stage.process({"exposure": 2243881, "ccd": 12}, {}, Stopwatch())
    assert n_row == len(product.arrays["stars"])
    return product


def status_of(product):
    row = product.arrays["psf_status"][0]
    assert (row["exposure"], row["ccd"]) == (2243881, 12)
    assert row["n_train"] == len(product.arrays["training_stars"])
    assert row["n_test"] == len(product.arrays["stars"])
    assert product.attrs["psf_status"] == row["status"].decode()
    return row


def refused(product):
    """Return status and reason of a CCD that must have no model."""
    row = status_of(product)
    assert "psf_coefficients" not in product.arrays
    assert row["reason"]
    assert product.attrs["psf_reason"] == row["reason"].decode()
    for name in ("stars", "training_stars"):
        assert (product.arrays[name]["ACCEPTED"] == 0).all()
    return row["status"].decode(), row["reason"].decode()


def fluxes(n, rng, low=18.3, high=20.5):
    return 10 ** (0.4 * (30.0 - rng.uniform(low, high, n)))


def good_sky(n, seed=1, **options):
    rng = np.random.default_rng(seed)
    return sky_with(*places(n, rng), fluxes(n, rng), **options)


def test_a_good_ccd_has_a_model_and_all_its_tables():
    product = process(good_sky(60))
    row = status_of(product)
    assert (row["status"], row["reason"]) == (b"accepted", b"")
    assert row["n_star"] > 55
    assert row["n_used"] > 0.9 * row["n_train"]
    assert row["n_test"] == np.ceil(0.2 * row["n_star"])
    assert 0.8 < row["chi2"] < 1.3
    assert row["fwhm"] == pytest.approx(FWHM, abs=0.3)
    assert row["fwhm_mean_arcsec"] == pytest.approx(row["fwhm_mode_pix"] * SCALE, rel=0.05)
    assert row["engine"].startswith(b"native")
    assert product.arrays["psf_coefficients"].shape[1:] == (51, 51)
    stars, training = product.arrays["stars"], product.arrays["training_stars"]
    assert not set(stars["NUMBER"]) & set(training["NUMBER"])
    assert (stars["USED"] == 0).all() and training["USED"].sum() == row["n_used"]
    for table in (stars, training):
        assert (table["ACCEPTED"] == 1).all()
        assert np.median(table["chi2"]) == pytest.approx(1.0, abs=0.2)
        assert np.mean(table["T_star"] / table["T_psf"]) == pytest.approx(1.0, abs=0.02)


def test_statistics_of_a_selection_of_the_users_own():
    text = """
    [MASK:bright]
    MAG_AUTO < 20 and FLAGS == 0
    [RAND_SPLIT:half]
    RATIO = 50
    MASK = bright
    [STAT:all]
    "faintest" = max(MAG_AUTO{bright})
    "exposure" = exposure
    """
    own = StarParams(selection="own.setools", mask="bright", split="half")
    psf = PsfParams(acceptance={"min_stars": 8})
    product = process(good_sky(60), stars=own, selection=parse(text, "own.setools"), psf=psf)
    row = status_of(product)
    assert row["status"] == b"accepted"
    assert row["n_test"] == np.ceil(row["n_star"] / 2)
    magnitudes = np.concatenate([product.arrays[name]["MAG"] for name in ("stars", "training_stars")])
    assert magnitudes.max() < 20
    statistics = product.arrays["star_statistics"]
    assert statistics["label"].tolist() == [b"faintest", b"exposure"]
    assert statistics["value"].tolist() == [magnitudes.max(), 2243881.0]


@pytest.mark.parametrize(("n", "status"), [(0, "no_stars"), (1, "few_stars"), (5, "few_stars"), (19, "few_stars")])
def test_too_few_stars(n, status):
    kind, reason = refused(process(good_sky(n)))
    assert kind == status
    if n:
        assert "fewer than psf.acceptance.min_stars = 20" in reason


def test_all_stars_saturated():
    rng = np.random.default_rng(2)
    kind, _ = refused(process(sky_with(*places(50, rng), fluxes(50, rng, 15.0, 16.0), saturate=2000.0)))
    assert kind == "no_stars"


def test_all_stars_at_one_place():
    rng = np.random.default_rng(3)
    x, y = rng.uniform(200, 230, 60), rng.uniform(300, 330, 60)
    kind, _ = refused(process(sky_with(x, y, fluxes(60, rng))))
    assert kind in ("no_stars", "few_stars")


def test_stars_in_one_corner_give_a_model_that_is_sane_everywhere_or_none():
    rng = np.random.default_rng(4)
    x, y = (v.ravel() for v in np.meshgrid(np.arange(30, 300, 34.0), np.arange(30, 240, 34.0)))
    x, y = x + rng.uniform(-2, 2, len(x)), y + rng.uniform(-2, 2, len(y))
    product = process(sky_with(x, y, fluxes(len(x), rng)))
    assert status_of(product)["status"] == b"accepted"
    corners = PsfModel.from_product(product).draw(np.array([0.0, NX, 0, NX]), np.array([0.0, 0, NY, NY]), 51)
    moments = adaptive_moments(corners)
    assert (moments["flag"] == 0).all()
    np.testing.assert_allclose(moments["sigma"], moments["sigma"][0], rtol=0.15)
    assert np.abs([moments["g1"] - 0.03, moments["g2"] + 0.02]).max() < 0.15


def test_nothing_but_sky_and_nothing_at_all():
    kind, reason = refused(process(good_sky(0)))
    assert (kind, "no" in reason) == ("no_stars", True)
    empty = replace(good_sky(0), data=np.zeros((NY, NX), np.float32))
    mask = MaskParams(missing_remove=True)
    kind, reason = refused(process(empty, mask=mask))
    assert kind == "missing_data"
    assert "100% of the pixels are missing" in reason


def test_an_image_of_nothing_but_nan_and_a_ccd_entirely_flagged():
    """As the reader hands them over: no value, no weight; and every pixel with a flag."""
    nothing = np.zeros((NY, NX), np.float32)
    with pytest.raises(MeasurementError, match=r"only 0\.00% of the boxes of .* have half of their pixels good"):
        process(replace(good_sky(20), data=nothing, weight=nothing))
    flagged = process(replace(good_sky(60), flag=np.full((NY, NX), 8, np.int32)))
    kind, reason = refused(flagged)
    assert kind == "no_stars" and "IMAFLAGS_ISO == 0 keeps 0" in reason
    assert (flagged.arrays["mask"] & 8).all() and flagged.attrs["masked_external"] == 1.0


def test_a_model_that_describes_the_stars_badly_is_refused_but_its_stars_are_kept():
    image = good_sky(60)
    product = process(image, psf=PsfParams(acceptance={"max_chi2": 0.5}))
    kind, reason = refused(product)
    assert kind == "chi2"
    assert "psf.acceptance.max_chi2 = 0.5" in reason
    assert np.isfinite(product.arrays["stars"]["T_psf"]).all()


def test_all_galaxies():
    rng = np.random.default_rng(6)
    n = 60
    x, y = places(n, rng)
    kinds = [
        galsim.Convolve(galsim.Exponential(half_light_radius=r).shear(g1=a, g2=b), PSF)
        for r, a, b in zip(rng.uniform(3.0, 9.0, n), rng.normal(0, 0.25, n), rng.normal(0, 0.25, n), strict=True)
    ]
    image = sky_with(x[:0], y[:0], [])
    data = galsim.ImageD(np.zeros((NY, NX)), xmin=0, ymin=0)
    for a, b, f, kind in zip(x, y, fluxes(n, rng), kinds, strict=True):
        drawn = kind.withFlux(f).drawImage(nx=63, ny=63, scale=1.0, method="no_pixel", center=galsim.PositionD(a, b))
        bounds = drawn.bounds & data.bounds
        data[bounds] += drawn[bounds]
    product = process(replace(image, data=(image.data + data.array).astype(np.float32)))
    refused(product)
