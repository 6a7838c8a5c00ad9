"""The map of a search: its squares are as large as the images, across RA 0 and around a pole, too."""

import numpy as np
import pytest

from shapempi.errors import ConfigError
from shapempi.report.field_map import _squares, draw_field_map
from shapempi.wcs import angular_distance, tangent_offset


@pytest.mark.parametrize(("ra", "dec"), [(213.6, 55.0), (0.0, 0.0), (359.9, -60.0), (10.0, 90.0), (180.0, 89.5)])
def test_squares(ra, dec):
    line = _squares(np.array([ra]), np.array([dec]), 0.5)[0]
    u, v = tangent_offset(line[:, 0], line[:, 1], ra, dec)
    half = np.degrees(np.tan(np.radians(0.25))) * 3600  # the plane is a little larger than the sphere
    assert np.maximum(np.abs(u), np.abs(v)) == pytest.approx(900.0, rel=1e-6) and half == pytest.approx(900.0, rel=1e-4)
    assert angular_distance(line[0, 0], line[0, 1], line[-1, 0], line[-1, 1]) < 1e-9


@pytest.mark.parametrize("ending", [".png", ".pdf"])
def test_a_map_is_drawn(tmp_path, ending):
    path = tmp_path / f"map{ending}"
    ra, dec = np.array([359.7, 0.2, 0.7]), np.array([89.0, 89.0, 88.5])
    outline = np.array([[359.0, 88.0], [361.0, 88.0], [361.0, 89.5], [359.0, 88.0]])
    draw_field_map(path, ["a", "b", "c"], ra, dec, 0.5, title="three", point=(0.0, 90.0), outline=outline)
    assert path.read_bytes()[:4] in (b"\x89PNG", b"%PDF")


def test_another_ending(tmp_path):
    with pytest.raises(ConfigError, match=r"\.png or \.pdf"):
        draw_field_map(tmp_path / "map.jpg", ["a"], np.zeros(1), np.zeros(1), 0.5, title="one")
