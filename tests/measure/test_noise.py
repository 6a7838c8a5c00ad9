import numpy as np
import pytest

from shapempi.measure.noise import mad_sigma, noise_fields, noise_level, object_generator


def test_mad_sigma_of_a_normal_distribution_is_its_sigma():
    values = np.random.default_rng(1).normal(5.0, 3.0, 200_000)
    assert mad_sigma(values) == pytest.approx(3.0, rel=0.01)
    assert np.isnan(mad_sigma(np.array([])))


def test_the_object_does_not_raise_the_level():
    rng = np.random.default_rng(2)
    y, x = np.indices((51, 51)) - 25
    profile = 30.0 * np.exp(-0.5 * (x**2 + y**2) / 7.0**2)
    image = profile + rng.normal(0.0, 2.0, profile.shape)
    weight = np.full(image.shape, 0.25)
    level = noise_level(image, weight, profile)
    assert level.measured
    assert level.agrees
    # The wings below 1.2 sigma stay in: a tenth for an object as large as this one.
    assert level.sigma == pytest.approx(2.0, rel=0.15)
    assert noise_level(image, weight).sigma > 1.3 * level.sigma


def test_unusable_pixels_may_hold_anything():
    rng = np.random.default_rng(3)
    image = rng.normal(0.0, 2.0, (51, 51))
    weight = np.full(image.shape, 0.25)
    weight[:10] = 0.0
    expected = noise_level(image, weight)
    image[:10] = np.nan
    assert noise_level(image, weight) == expected


def test_a_wrong_weight_map_is_noticed_and_the_pixels_are_believed():
    image = np.random.default_rng(4).normal(0.0, 2.0, (51, 51))
    level = noise_level(image, np.full(image.shape, 1.0))
    assert not level.agrees
    assert level.sigma == pytest.approx(2.0, rel=0.08)


@pytest.mark.parametrize("value", [0.0, -3.5])
def test_the_weight_map_stands_in_for_a_constant_stamp(value):
    level = noise_level(np.full((51, 51), value), np.full((51, 51), 0.25))
    assert not level.measured
    assert level.sigma == 2.0


def test_no_usable_pixel_gives_no_level():
    assert np.isnan(noise_level(np.zeros((51, 51)), np.zeros((51, 51))).sigma)


def test_fields_depend_on_seed_and_object_only():
    first = noise_fields(object_generator((1, 2), 3), 2, 15)
    np.testing.assert_array_equal(first, noise_fields(object_generator((1, 2), 3), 2, 15))
    np.testing.assert_array_equal(first[0], noise_fields(object_generator((1, 2), 3), 1, 15)[0])
    for other in (noise_fields(object_generator((1, 2), 4), 2, 15), noise_fields(object_generator((1, 3), 3), 2, 15)):
        assert abs(np.corrcoef(first.ravel(), other.ravel())[0, 1]) < 0.15
    assert abs(np.corrcoef(first[:, 0].ravel(), first[:, 1].ravel())[0, 1]) < 0.2
