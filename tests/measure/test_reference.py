"""Images, fits, response and target sizes against those that ngmix 2.4.2 made of the same stamps.

Five galaxies, those with the widest PSF and with the image that differs most among them;
`tests/bench/bench_reference.py` does the same with a file of any size.
"""

from pathlib import Path

import h5py
import numpy as np
import pytest
from measure.reference import (
    STEP,
    TARGETS,
    compare_fits,
    compare_images,
    difference_of_period,
    drawn_by_galsim,
    has_fits,
    make_fits,
    make_images,
    stamps_of,
)

from shapempi.catalog import SHEAR_TYPES
from shapempi.kernels import _isa
from shapempi.measure.metacal import find_targets, metacal_images

DATA = Path(__file__).parents[1] / "data"
FILES = ("metacal_ngmix.h5", "metacal_reference.h5")


def galaxies():
    for name in FILES:
        with h5py.File(DATA / name) as file:
            yield from file.values()


@pytest.fixture(scope="module")
def differences():
    images, fits, responses = [], [], []
    for group in galaxies():
        for target in TARGETS:
            made = make_images(group, target)
            images += compare_images(group, target, made)
            if has_fits(group, target):
                of_types, of_response = compare_fits(group, target, make_fits(group, target, made))
                fits += of_types
                responses.append(of_response)
    return images, fits, np.array(responses)


def test_images_without_shear_are_equal(differences):
    found = [image.difference for image in differences[0] if image.kind == "noshear"]
    assert len(found) == 7
    assert np.median(found) < 1e-6
    assert max(found) < 2e-6


def test_sheared_images_are_equal_but_for_ringing_noise(differences):
    found = [image.difference for image in differences[0] if image.kind != "noshear"]
    assert len(found) == 19
    assert np.median(found) < 2e-4
    assert max(found) < 2e-3


def test_fits_are_equal(differences):
    assert len(differences[1]) == 2 * 4 * len(SHEAR_TYPES)
    assert np.median([fit.difference for fit in differences[1]]) < 1e-3
    assert max(fit.difference for fit in differences[1]) < 5e-3
    assert max(fit.errors for fit in differences[1]) < 2e-3
    assert max(fit.s2n for fit in differences[1]) < 1e-5


def test_responses_are_equal(differences):
    assert np.sqrt(np.mean(differences[2] ** 2)) < 1e-3


@pytest.mark.parametrize("target", TARGETS)
def test_target_sizes_are_equal(target):
    for group in galaxies():
        stamps = stamps_of(group)
        sigma, max_k = find_targets(stamps.psf, stamps.jacobian, target, STEP)
        np.testing.assert_allclose(sigma, group[target]["target_sigma"][:], rtol=5e-3)
        assert (max_k > 0).all()


def worst():
    """Return stamps, target and reference of the image that differs most."""
    with h5py.File(DATA / FILES[1]) as file:
        group = file["object_023"]
        return stamps_of(group), group["gauss/target_sigma"][:], group["gauss/1p"][0].astype(float)


def test_the_worst_image_differs_by_what_comes_around_the_edges_of_the_fourier_plane():
    """The deconvolved noise ends abruptly, at S/N 15 and a wide PSF; it rings, and a period of 128 pixels is short."""
    stamps, sigma, expected = worst()
    found = {period: difference_of_period(stamps, sigma, period) / expected.max() for period in (128, 512)}
    assert 1e-3 < found[128] < 2e-3
    assert found[512] < 2e-4
    made = drawn_by_galsim(stamps, sigma[0], 128)
    np.testing.assert_allclose(made, expected, rtol=0, atol=1e-6 * expected.max())


@pytest.mark.parametrize("isa", _isa.available())
def test_every_instruction_set_and_precision_makes_these_images(isa):
    stamps, sigma, _ = worst()

    def made(**options):
        return metacal_images(
            stamps.image, stamps.psf, stamps.jacobian, noise=stamps.noise, target=sigma, **options
        ).images

    exact = made()
    for kind in SHEAR_TYPES:
        peak = exact[kind].max()
        np.testing.assert_allclose(made(isa=isa)[kind], exact[kind], rtol=0, atol=1e-11 * peak)
        np.testing.assert_allclose(made(isa=isa, dtype=np.float32)[kind], exact[kind], rtol=0, atol=3e-5 * peak)
