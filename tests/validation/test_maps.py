import numpy as np
import pytest
from validation.star_table import make_stars, set_shapes

from shapempi.validation.focal_plane import LayoutParams, layout_of
from shapempi.validation.maps import MAP_QUANTITIES, ccd_map, coarser, focal_map
from shapempi.validation.residuals import residuals


def rows_and_layout(stars, **keys):
    rows, _ = residuals(stars)
    return rows, layout_of(np.unique(rows["ccd"]), rows["x"], rows["y"], LayoutParams(**keys))


def bin_centres(layout, x_bins, y_bins):
    """Centres of the bins in the focal plane, West and North."""
    ny, nx = layout.shape
    west = np.array([panel.x for panel in layout.panels])[:, None, None]
    north = np.array([panel.y for panel in layout.panels])[:, None, None]
    x, y = (np.arange(x_bins) + 0.5) / x_bins - 0.5, (np.arange(y_bins) + 0.5) / y_bins - 0.5
    return west + nx * x[None, None, :], north + ny * y[None, :, None]


def test_a_pattern_in_the_focal_plane_is_found_where_it_was_put():
    """Linear in the focal plane: one CCD turned the wrong way and its bins disagree."""
    stars, places = make_stars(np.random.default_rng(3), 3, range(40), 400)
    west, north = places.T / 10000
    set_shapes(stars, 0.03 * north, -0.02 * west, 0.2 + 0.01 * west, 1e-3 * west, 1e-3 * north, 0.01 * (west - north))
    rows, layout = rows_and_layout(stars)
    found = focal_map(rows, layout, 5, 10)
    west, north = (each / 10000 for each in bin_centres(layout, 5, 10))
    expected = {
        "e1_model": 0.03 * north,
        "e2_model": -0.02 * west,
        "e1_residual": 1e-3 * west,
        "e2_residual": 1e-3 * north,
        "T_residual": 0.01 * (west - north),
        "T_model": 0.2 + 0.01 * west,
        "e1_star": 0.03 * north + 1e-3 * west,
    }
    for name, values in expected.items():
        # Stars of a bin are not at its centre: a bin is 410 x 461 pixels.
        slope = max(abs(np.diff(np.broadcast_to(values, found.n.shape), axis=axis)).max() for axis in (1, 2))
        assert np.abs(found.mean[name] - values).max() < 0.5 * slope, name
        assert np.abs(found.mean[name] - values).mean() < 0.12 * slope, name


def test_the_stack_is_in_the_frame_of_the_readout():
    stars, _ = make_stars(np.random.default_rng(3), 1, range(40), 200)
    set_shapes(stars, 0.0, 0.0, 0.2, 1e-3 * (stars["X"] > 1900), 0.0, 1e-2 * (stars["Y"] < 400))
    rows, layout = rows_and_layout(stars)
    found = ccd_map(rows, layout, 10, 20)
    assert found.n.shape == (1, 20, 10) and found.n.sum() == len(rows)
    residual = found.mean["e1_residual"][0]
    np.testing.assert_allclose(residual[:, -1], 0.87e-3, atol=0.4e-3)  # 1900 is in the last bin
    assert np.abs(residual[:, :-1]).max() < 1e-7
    assert found.mean["T_residual"][0, 0].min() > 0.009 and abs(found.mean["T_residual"][0, 3:]).max() < 1e-6


def test_means_errors_and_rms_are_numpys():
    stars, _ = make_stars(np.random.default_rng(3), 1, [20, 21], 60, noise=1e-3)
    rows, layout = rows_and_layout(stars)
    found = focal_map(rows, layout, 1, 1)
    one = rows[rows["ccd"] == 21]["de2"].astype(float)
    assert found.n[21, 0, 0] == 60 and found.n.sum() == 120
    assert found.mean["e2_residual"][21, 0, 0] == pytest.approx(one.mean(), rel=1e-9)
    assert found.error["e2_residual"][21, 0, 0] == pytest.approx(one.std(ddof=1) / np.sqrt(60), rel=1e-9)
    assert found.rms["e2_residual"][21] == pytest.approx(np.sqrt((one**2).mean()), rel=1e-9)
    assert np.isnan(found.rms["e2_residual"][0]) and np.isnan(found.mean["T_star"][0]).all()


def test_few_stars_make_fewer_bins_of_the_same_shape():
    assert coarser(5, 10, 1e4, 4.0) == (5, 10) == coarser(5, 10, 200, 4.0)
    assert coarser(5, 10, 50, 4.0) == (2, 5) and coarser(5, 10, 0.5, 4.0) == (1, 1) == coarser(5, 10, 0, 4.0)


@pytest.mark.parametrize("n", [0, 1])
@pytest.mark.parametrize("camera", ["survey", "grid"])
def test_few_stars(n, camera):
    stars, _ = make_stars(np.random.default_rng(1), 1, [5], n)
    rows, layout = rows_and_layout(stars, camera=camera)
    for found in (focal_map(rows, layout, 5, 10), ccd_map(rows, layout, 5, 10)):
        assert set(found.mean) == set(MAP_QUANTITIES) and found.n.sum() == n
        assert np.isfinite(found.mean["e1_star"]).sum() == n and not np.isfinite(found.error["e1_star"]).any()
