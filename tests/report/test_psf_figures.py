import numpy as np
import pytest
from matplotlib.colors import Normalize
from validation.star_table import make_stars, set_shapes

from shapempi.catalog import PSF_STATUS_COLUMNS, empty_table
from shapempi.report.psf_canvas import limits, symmetric_limit
from shapempi.report.psf_maps import draw_ccd_stack, draw_focal_plane
from shapempi.report.psf_rho import draw_rho
from shapempi.report.psf_status import draw_status
from shapempi.report.psf_trends import draw_residuals, draw_trends
from shapempi.report.psf_whiskers import draw_whiskers, round_down, whiskers
from shapempi.validation.ccd_status import summarise_status
from shapempi.validation.focal_plane import LayoutParams, layout_of
from shapempi.validation.maps import ccd_map, focal_map
from shapempi.validation.requirements import RequirementParams
from shapempi.validation.residuals import residuals
from shapempi.validation.rho import RhoParams, rho_statistics
from shapempi.validation.trends import TrendParams, trend

PNG = b"\x89PNG\r\n\x1a\n"


def draw_all(rows, status, folder, camera="survey"):
    layout = layout_of(np.unique(rows["ccd"]), rows["x"], rows["y"], LayoutParams(camera=camera))
    draw_focal_plane(focal_map(rows, layout, 3, 4), layout, "T", folder / "T.png", title="test")
    draw_ccd_stack(ccd_map(rows, layout, 5, 10), layout, folder / "stack.png", title="test")
    draw_whiskers(focal_map(rows, layout, 1, 2), layout, folder / "whiskers.png", title="test")
    trends = [trend(rows, abscissa, TrendParams()) for abscissa in ("mag", "T", "snr")]
    draw_trends(trends, trends, folder / "trends.png", title="test")
    draw_residuals({"all": rows, "none": rows[:0]}, folder / "residuals.png", title="test")
    draw_rho(rho_statistics(rows, RhoParams(n_bin=8)), RequirementParams(), folder / "rho.png", title="test")
    draw_status(summarise_status(status), folder / "status.png", title="test")


@pytest.mark.parametrize(("n", "camera"), [(0, "survey"), (1, "grid"), (200, "survey")])
def test_any_number_of_stars_makes_pictures_without_a_warning(tmp_path, n, camera):
    stars, _ = make_stars(np.random.default_rng(1), 2, range(0, 40, 4), 10, noise=1e-3)
    status = empty_table(PSF_STATUS_COLUMNS, n)
    status["status"] = b"accepted"
    draw_all(residuals(stars)[0][:n], status, tmp_path, camera)
    names = ["T.png", "residuals.png", "rho.png", "stack.png", "status.png", "trends.png", "whiskers.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert all(path.read_bytes()[:8] == PNG for path in tmp_path.iterdir())


def test_whiskers_point_along_the_major_axis():
    """g1 > 0 lies along West, g2 > 0 along North-West, and half a turn of the shape is a quarter of the whisker's."""
    u, v = whiskers(np.array([0.1, -0.1, 0.0, 0.0]), np.array([0.0, 0.0, 0.1, -0.1]))
    root = 0.1 / np.sqrt(2)
    np.testing.assert_allclose(u, [0.1, 0.0, root, root], atol=1e-15)
    np.testing.assert_allclose(v, [0.0, 0.1, root, -root], atol=1e-15)


def test_whiskers_are_those_of_an_ellipse():
    turn = np.array([[np.cos(2.1), -np.sin(2.1)], [np.sin(2.1), np.cos(2.1)]])
    moments = turn @ np.diag([0.04, 0.02]) @ turn.T
    west, north = whiskers(moments[:1, 0] - moments[1:, 1], 2 * moments[:1, 1])
    np.testing.assert_allclose(abs(turn[:, 0] @ [west[0], north[0]]), np.hypot(west[0], north[0]))


@pytest.mark.parametrize(("value", "expected"), [(0.03, 0.02), (0.05, 0.05), (0.002, 0.002), (9.9, 5.0), (1e-5, 1e-5)])
def test_scales_are_round(value, expected):
    assert round_down(value) == pytest.approx(expected)


def test_limits_are_of_the_many_not_of_the_outermost():
    values = np.concatenate([np.linspace(-1, 1, 1000), [100.0, np.nan]])
    assert symmetric_limit(values) < 1.01 and limits(values)[1] < 1.01
    for nothing in (np.array([]), np.array([np.nan]), np.zeros(3)):
        assert symmetric_limit(nothing) > 0 and np.diff(limits(nothing))[0] > 0
    Normalize(*limits(np.full(5, 0.2)))


def test_a_pattern_is_drawn_where_it_is(tmp_path):
    """The North-West quarter of the focal plane has residuals: the upper right quarter of the picture is red."""
    stars, places = make_stars(np.random.default_rng(3), 1, range(40), 100)
    set_shapes(stars, 0.0, 0.0, 0.2, 1e-3 * ((places > 0).all(axis=1)), 0.0, 0.0)
    rows, _ = residuals(stars)
    layout = layout_of(range(40), rows["x"], rows["y"], LayoutParams())
    draw_focal_plane(focal_map(rows, layout, 2, 2), layout, "e1", tmp_path / "e1.png", title="test")
    from matplotlib.image import imread

    picture = imread(tmp_path / "e1.png")[..., :3]
    residual = picture[picture.shape[0] // 2 :, : int(0.43 * picture.shape[1])]
    red = (residual[..., 0] > 0.3) & (residual[..., 2] < 0.25) & (residual[..., 1] < 0.1)
    y, x = np.nonzero(red)
    assert len(x) > 5000
    assert x.min() > 0.45 * residual.shape[1] and y.max() < 0.6 * residual.shape[0]
