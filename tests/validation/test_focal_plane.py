import numpy as np
import pytest
from validation.star_table import make_stars

from shapempi.validation.focal_plane import LayoutParams, layout_of


def layout(stars, **keys):
    return layout_of(np.unique(stars["CCD_NB"]), stars["X"], stars["Y"], LayoutParams(**keys))


def test_the_focal_plane_is_north_up_east_left():
    stars, places = make_stars(np.random.default_rng(1), 1, range(40), 20)
    camera = layout(stars)
    assert (camera.name, camera.n_row, camera.n_column, len(camera.panels)) == ("MegaCam", 4, 11, 40)
    assert camera.section == (33, 2080, 1, 4612) and camera.known
    west, north = camera.to_focal_plane(stars["CCD_NB"], stars["X"], stars["Y"])
    np.testing.assert_allclose(np.stack([west, north], axis=1), places, atol=1e-6)
    # against the sky itself: RA grows to the East, DEC to the North
    assert np.corrcoef(west, stars["RA"])[0, 1] < -0.999 and np.corrcoef(north, stars["DEC"])[0, 1] > 0.999


def test_panels_are_where_the_specification_says():
    stars, _ = make_stars(np.random.default_rng(1), 1, [0], 20)
    places = {panel.ccd: (panel.row, panel.column) for panel in layout(stars).panels}
    assert places[0] == (0, 1) and places[8] == (0, 9) and places[36] == (1, 0) and places[37] == (1, 10)
    assert places[9] == (1, 1) and places[38] == (2, 0) and places[39] == (2, 10) and places[35] == (3, 9)
    assert {panel.ccd for panel in layout(stars).panels if panel.upside_down} == {*range(18), 36, 37}


def test_small_ccds_in_the_same_arrangement():
    rng = np.random.default_rng(1)
    x, y = rng.uniform(17, 656, 4000), rng.uniform(1, 832, 4000)
    camera = layout_of(range(40), x, y, LayoutParams())
    assert camera.section == (17, 656, 1, 832) and camera.shape == (832, 640)
    by_ccd = {panel.ccd: panel for panel in camera.panels}
    step = by_ccd[1].x - by_ccd[0].x
    assert 640 < step < 640 * 1.06
    assert layout_of(range(40), x, y, LayoutParams(section=(1, 700, 1, 900))).shape == (900, 700)


def test_other_cameras_are_a_grid_by_number():
    stars, _ = make_stars(np.random.default_rng(1), 1, range(7), 20)
    for camera in (layout(stars, camera="grid"), layout_of(range(1, 63), stars["X"], stars["Y"], LayoutParams())):
        assert camera.name == "grid" and not camera.known and camera.n_row * camera.n_column >= len(camera.panels)
        assert not any(panel.upside_down for panel in camera.panels)
    first, second = layout(stars, camera="grid").panels[:2]
    assert second.x - first.x > 2048 and second.y == first.y
    np.testing.assert_array_equal(layout(stars, camera="grid").index_of(np.array([0, 6, 7, -1])), [0, 6, -1, -1])


@pytest.mark.parametrize("n", [0, 1])
def test_few_stars(n):
    stars, _ = make_stars(np.random.default_rng(1), 1, [5], n)
    camera = layout(stars)
    assert min(camera.shape) > 0
    assert len(camera.to_focal_plane(stars["CCD_NB"], stars["X"], stars["Y"])[0]) == n
    assert layout_of([], stars["X"][:0], stars["Y"][:0], LayoutParams(camera="grid")).panels == ()
