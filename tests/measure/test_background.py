"""Backgrounds: truth by construction, agreement with the estimator's full image, sections bit for bit, failures."""

from dataclasses import replace

import numpy as np
import pytest
import sep
from measure.sky import image

from shapempi.errors import MeasurementError
from shapempi.measure.background import (
    BackgroundMesh,
    BackgroundParams,
    _box_side,
    background_of,
    estimate_background,
)

PARAMS = BackgroundParams()


def sky(shape, seed=1):
    y, x = np.mgrid[: shape[0], : shape[1]]
    truth = 1000 + 20 * np.sin(x / 300) + 15 * np.cos(y / 250) + 0.01 * x
    noise = np.random.default_rng(seed).normal(0, 10, shape)
    return truth, (truth + noise).astype(np.float32)


@pytest.fixture(scope="module")
def scene():
    truth, data = sky((700, 650))
    bad = np.zeros(data.shape, bool)
    bad[300:420, 100:260] = True
    bad[:, :32] = True
    data[bad] = 6e4
    data[600, 600] = np.nan
    return truth, data, bad, estimate_background(data, bad, PARAMS)


def test_recovers_the_sky_and_its_noise(scene):
    truth, data, bad, mesh = scene
    found = mesh.evaluate(0, *data.shape[:1], 0, data.shape[1])
    error = (found - truth)[~bad]
    assert found.dtype == np.float32
    assert abs(error.mean()) < 0.02 * 10 and error.std() < 0.1 * 10
    assert mesh.rms == pytest.approx(10, rel=0.03)


def test_the_mesh_is_the_estimate_to_far_below_the_noise(scene):
    _, data, bad, _ = scene
    mesh = estimate_background(data, bad, BackgroundParams(object_clip=0.0))
    full = sep.Background(
        data, mask=bad | ~np.isfinite(data), bw=_box_side(650, 64), bh=_box_side(700, 64), fw=3, fh=3
    ).back()
    found = mesh.evaluate(0, data.shape[0], 0, data.shape[1])
    assert np.abs(found - full).max() < 0.005 * mesh.rms
    assert (found - full).std() < 0.001 * mesh.rms
    assert mesh.values.size < 0.006 * data.size


def test_objects_do_not_raise_the_background():
    """Stars and small galaxies as dense as in a deep survey, down to the noise; the sky is 0."""
    rng = np.random.default_rng(5)
    shape, n = (832, 640), 400
    light = np.zeros(shape)
    fluxes = 10 ** rng.uniform(2.5, 5.5, n)
    yy, xx = np.mgrid[-30:31, -30:31]
    for x, y, flux in zip(rng.uniform(30, 609, n), rng.uniform(30, 801, n), fluxes, strict=True):
        column, row = int(x), int(y)
        profile = (1 + ((xx + column - x) ** 2 + (yy + row - y) ** 2) / 16) ** -3.5
        light[row - 30 : row + 31, column - 30 : column + 31] += flux * profile / profile.sum()
    data = (light + rng.normal(0, 25, shape)).astype(np.float32)
    bad = np.zeros(shape, bool)
    inner = np.s_[40:-40, 40:-40]

    def error(**params):
        mesh = estimate_background(data, bad, BackgroundParams(**params))
        return mesh.evaluate(0, shape[0], 0, shape[1])[inner]

    assert error(object_clip=0.0).mean() > 0.04 * 25
    assert abs(error().mean()) < 0.015 * 25
    assert error().std() < error(object_clip=0.0).std()


def test_without_objects_nothing_is_lost():
    """Peaks of the noise are left out, too: the error that this makes is small."""
    data = np.random.default_rng(6).normal(0, 10, (900, 900)).astype(np.float32)
    mesh = estimate_background(data, np.zeros(data.shape, bool), PARAMS)
    assert abs(mesh.values.mean()) < 0.01 * 10


def test_an_image_full_of_objects_has_a_background():
    _, data = sky((300, 300))
    data += 1000 * (np.indices(data.shape).sum(axis=0) % 14 == 0)
    mesh = estimate_background(data, np.zeros(data.shape, bool), PARAMS)
    assert np.isfinite(mesh.values).all()


@pytest.mark.parametrize("box", [(0, 1, 0, 1), (13, 211, 77, 650), (699, 700, 0, 650), (250, 260, 649, 650)])
def test_every_section_is_bit_identical(scene, box):
    _, data, _, mesh = scene
    full = mesh.evaluate(0, data.shape[0], 0, data.shape[1])
    y0, y1, x0, x1 = box
    assert np.array_equal(mesh.evaluate(*box), full[y0:y1, x0:x1])


def test_outside_the_image_the_side_continues(scene):
    _, data, _, mesh = scene
    nx = data.shape[1]
    section = mesh.evaluate(-3, 2, nx - 2, nx + 3)
    inside = mesh.evaluate(0, 2, nx - 2, nx)
    assert np.array_equal(section[3:, :2], inside)
    assert np.array_equal(section[0], section[3]) and np.all(section[3, 2:] == inside[0, 1])
    assert mesh.evaluate(5, 5, 0, 3).shape == (0, 3)


def test_values_at_positions_are_those_of_the_pixels(scene):
    _, data, _, mesh = scene
    full = mesh.evaluate(0, data.shape[0], 0, data.shape[1])
    x, y = np.array([0.0, 100.0, 649.0]), np.array([699.0, 50.0, 3.0])
    assert np.allclose(mesh.at(x, y), full[y.astype(int), x.astype(int)], rtol=1e-6)


def test_survives_a_product(scene):
    mesh = scene[3]
    again = BackgroundMesh.from_product(mesh.to_product())
    assert np.array_equal(again.evaluate(10, 50, 20, 90), mesh.evaluate(10, 50, 20, 90)) and again.rms == mesh.rms


@pytest.mark.parametrize("shape", [(2, 2), (2, 40), (17, 33), (64, 64), (65, 129)])
def test_small_images(shape):
    _, data = sky(shape)
    mesh = estimate_background(data, np.zeros(shape, bool), PARAMS)
    found = mesh.evaluate(0, shape[0], 0, shape[1])
    assert np.isfinite(found).all() and np.all(np.abs(found - data.mean()) < 20)


@pytest.mark.parametrize("n", [64, 65, 127, 129, 200, 2112, 4161, 4644, 10000])
def test_no_box_is_a_sliver(n):
    side = _box_side(n, 64)
    assert abs(side - 64) <= 10 or n < 129
    assert n % side == 0 or n % side >= side / 2
    assert _box_side(2112, 64) == _box_side(4644, 64) == 64, "a MegaCam CCD keeps the usual boxes"


def test_big_endian_and_sliced_input():
    _, data = sky((200, 150))
    bad = np.zeros(data.shape, bool)
    native = estimate_background(data, bad, PARAMS)
    swapped = estimate_background(data.astype(">f4"), bad, PARAMS)
    assert np.array_equal(native.values, swapped.values)
    assert np.array_equal(estimate_background(np.repeat(data, 2, axis=1)[:, ::2], bad, PARAMS).values, native.values)


def test_a_constant_background_is_constant():
    mesh = BackgroundMesh.constant(7.5, 2.0, (100, 1))
    assert np.all(mesh.evaluate(0, 100, 0, 1) == 7.5) and mesh.rms == 2.0


def test_images_without_a_background_say_why():
    _, data = sky((300, 300))
    with pytest.raises(MeasurementError, match=r"0\.00% of the boxes"):
        estimate_background(data, np.ones(data.shape, bool), PARAMS)
    stripes = np.ones(data.shape, bool)
    stripes[::5] = False  # a fifth of the pixels is good, but no box has half of its pixels
    with pytest.raises(MeasurementError, match="boxes"):
        estimate_background(data, stripes, PARAMS)
    with pytest.raises(MeasurementError, match="boxes"):
        estimate_background(np.full((300, 300), np.nan, np.float32), np.zeros(data.shape, bool), PARAMS)
    with pytest.raises(MeasurementError, match="no noise"):
        estimate_background(np.full((300, 300), 5, np.float32), np.zeros(data.shape, bool), PARAMS)
    with pytest.raises(MeasurementError, match="too small"):
        estimate_background(data[:1], np.zeros((1, 300), bool), PARAMS)


def test_the_level_of_the_header_counts_if_there_is_one():
    _, data = sky((300, 280))
    weight = np.ones(data.shape, np.float32)
    weight[:, :100], data[:, :100] = 0, 1e5
    ccd = image(data.shape, data=data, weight=weight)
    estimated = background_of(ccd, PARAMS)
    assert np.array_equal(estimated.values, estimate_background(data, weight == 0, PARAMS).values)
    given = background_of(replace(ccd, background=990.5), PARAMS)
    assert np.all(given.evaluate(0, 300, 0, 280) == 990.5) and given.rms == estimated.rms
