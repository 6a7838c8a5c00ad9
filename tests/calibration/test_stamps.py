"""Simulated stamps against GalSim, and what pairs, variants and cases must have in common."""

import galsim
import numpy as np
import pytest

from shapempi.calibration.params import CaseParams, ViewParams
from shapempi.calibration.population import draw_pairs
from shapempi.calibration.profiles import spergel_scale
from shapempi.calibration.stamps import StampMaker, Variant, shear_matrix, variants, view_jacobian

SIZE = 51
EXACT = galsim.GSParams(
    folding_threshold=1e-7,
    maxk_threshold=1e-10,
    kvalue_accuracy=1e-12,
    stepk_minimum_hlr=40,
    maximum_fft_size=16384,
)

ROUND = ViewParams()
TILTED = ViewParams(fwhm=0.6, beta=2.5, psf_g1=0.03, psf_g2=-0.04, wcs_g1=0.03, wcs_g2=0.04, rotation=200.0, flip=True)


def case(**changes):
    return CaseParams(**{"name": "test", "pairs": 20, **changes})


def wcs(view):
    return galsim.JacobianWCS(*view_jacobian(view))


def psf(view, sign=1):
    return galsim.Moffat(beta=view.beta, fwhm=view.fwhm, gsparams=EXACT).shear(
        g1=sign * view.psf_g1, g2=sign * view.psf_g2
    )


def draw(profile, view, offset=(0.0, 0.0)):
    return profile.drawImage(nx=SIZE, ny=SIZE, wcs=wcs(view), offset=tuple(offset), dtype=float).array


def galaxy(this, pairs, i, member, kind):
    g = pairs.g[i] * (1, -1)[member]
    if this.nu == 0.5:
        profile = galsim.Exponential(half_light_radius=pairs.hlr[i], gsparams=EXACT)
    else:
        profile = galsim.Spergel(nu=this.nu, half_light_radius=pairs.hlr[i], gsparams=EXACT)
    return profile.shear(g1=g[0], g2=g[1]).shear(g1=kind.shear * this.g1, g2=kind.shear * this.g2)


@pytest.mark.parametrize("view", [ROUND, TILTED], ids=["round", "tilted"])
@pytest.mark.parametrize("nu", [0.5, 0.1])
def test_galaxies_are_those_of_galsim(view, nu):
    this = case(views=(view,), nu=nu)
    pairs = draw_pairs(this, [3], SIZE, 1)
    images = StampMaker(this, SIZE).clean(pairs)
    for column, kind in enumerate(variants(this)):
        for member in (0, 1):
            profile = galsim.Convolve(galaxy(this, pairs, 0, member, kind), psf(view, kind.psf))
            expected = draw(profile, view, pairs.offset[0, 0])
            np.testing.assert_allclose(images[0, column, member, 0], expected, atol=1e-6 * expected.max())


@pytest.mark.parametrize("view", [ROUND, TILTED], ids=["round", "tilted"])
def test_stars_and_psf_are_those_of_galsim(view):
    this = case(stars=True, views=(view,))
    pairs = draw_pairs(this, [5], SIZE, 1)
    maker = StampMaker(this, SIZE)
    images = maker.clean(pairs)
    stacks = dict(maker.stacks(pairs))
    for column, kind in enumerate(variants(this)):
        expected = draw(psf(view, kind.psf), view, pairs.offset[0, 0])
        np.testing.assert_allclose(images[0, column, 1, 0], expected, atol=1e-7 * expected.max())
        expected = draw(psf(view, kind.psf), view)
        expected /= expected.sum()
        np.testing.assert_allclose(stacks[kind].psf[1], expected, atol=1e-6 * expected.max())


@pytest.mark.parametrize("nu", [-0.6, 0.0, 0.5, 1.3])
def test_the_half_light_radius(nu):
    assert spergel_scale(nu) == pytest.approx(galsim.Spergel(nu=nu, scale_radius=1.0).half_light_radius, rel=1e-6)


def test_the_shear_is_galsims():
    g = np.array([0.1, -0.3])
    np.testing.assert_allclose(shear_matrix(g), galsim.Shear(g1=0.1, g2=-0.3).getMatrix(), rtol=1e-14)


def test_variants_have_the_same_noise_and_places():
    this = case(views=(TILTED,), s2n_min=20.0, s2n_max=200.0)
    pairs = draw_pairs(this, range(3), SIZE, 1)
    maker = StampMaker(this, SIZE)
    stacks, clean = dict(maker.stacks(pairs)), maker.clean(pairs)
    assert set(stacks) == {Variant(p, s) for p in (1, -1) for s in (1, -1)}
    flux = pairs.s2n / np.sqrt((clean**2).sum(axis=(4, 5)).mean(axis=(1, 2, 3)))
    for column, (_, each) in enumerate(stacks.items()):
        assert each.place.tolist() == [0, 1, 2, 3, 4, 5]
        noise = each.image.reshape(3, 2, 1, SIZE, SIZE) - clean[:, column] * flux[:, None, None, None, None]
        np.testing.assert_allclose(noise, pairs.noise, atol=1e-4)
        assert (each.weight == 1).all()
        assert not each.flag.any()
    assert (stacks[Variant(1, 1)].psf != stacks[Variant(-1, 1)].psf).any()


def test_a_pair_depends_on_its_number_only():
    this = case(views=(ROUND, TILTED), s2n_min=20.0, s2n_max=200.0, masked_fraction=0.1)
    maker = StampMaker(this, SIZE)
    together = dict(maker.stacks(draw_pairs(this, [4, 2, 7], SIZE, 1)))
    alone = dict(maker.stacks(draw_pairs(this, [2], SIZE, 1)))
    for kind, stacks in alone.items():
        for name in ("image", "weight", "flag", "psf", "jacobian", "offset", "exposure"):
            np.testing.assert_array_equal(getattr(together[kind], name)[4:8], getattr(stacks, name))
        assert together[kind].place[2:4].tolist() == stacks.place.tolist() == [4, 5]


def test_a_case_has_the_galaxies_of_its_reference():
    plain = case(s2n_min=20.0, s2n_max=200.0)
    masked = case(s2n_min=20.0, s2n_max=200.0, masked_fraction=0.1)
    first, second = (draw_pairs(this, range(4), SIZE, 1) for this in (plain, masked))
    for name in ("g", "hlr", "s2n", "offset", "noise"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    assert (draw_pairs(plain, range(4), SIZE, 2).noise != first.noise).all()


def test_masked_pixels_hold_garbage_and_leave_the_core():
    this = case(views=(TILTED,), masked_fraction=0.1, mask_radius=1.2)
    pairs = draw_pairs(this, range(3), SIZE, 1)
    for _, stacks in StampMaker(this, SIZE).stacks(pairs):
        masked = stacks.flag != 0
        assert (masked == (stacks.weight == 0)).all()
        assert (masked.sum(axis=(1, 2)) == round(0.1 * SIZE**2)).all()
        assert (stacks.image[masked] == 1e4).all()
        x = np.arange(SIZE) - 25.0 - stacks.offset[:, 0, None, None]
        y = np.arange(SIZE)[:, None] - 25.0 - stacks.offset[:, 1, None, None]
        dudx, dudy, dvdx, dvdy = view_jacobian(TILTED)
        radius = np.hypot(dudx * x + dudy * y, dvdx * x + dvdy * y)
        assert radius[masked].min() >= 1.2
        assert radius[masked].min() < 1.5


def test_the_population():
    this = case(s2n_min=20.0, s2n_max=200.0, shape_noise=0.2)
    pairs = draw_pairs(this, range(2000), 1, 1)
    size = np.hypot(*pairs.g.T)
    assert size.max() < 0.6
    assert pairs.g.std() == pytest.approx(0.2, rel=0.05)
    assert np.abs(pairs.g.mean(axis=0)).max() < 0.02
    assert (pairs.s2n > 20).all()
    assert (pairs.s2n < 200).all()
    assert np.median(np.log(pairs.s2n)) == pytest.approx(np.log(np.sqrt(20 * 200)), rel=0.03)
    assert np.abs(pairs.offset).max() <= 0.5


def test_the_detector():
    jacobian = view_jacobian(ViewParams(rotation=90.0)).reshape(2, 2)
    np.testing.assert_allclose(jacobian, 0.187 * np.array([[0, -1], [1, 0]]), atol=1e-15)
    assert np.linalg.det(view_jacobian(TILTED).reshape(2, 2)) == pytest.approx(-(0.187**2))
