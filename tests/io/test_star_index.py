"""The index of bright stars: nothing near is lost, the same for everybody, and what is damaged says so."""

import h5py
import hpgeom
import numpy as np
import pytest

from shapempi.errors import DataError, MissingInputError
from shapempi.io import star_index
from shapempi.io.star_index import StarIndex, index_files, star_digest, write_index
from shapempi.io.starcat import STAR_DTYPE
from shapempi.wcs import angular_distance


def sky(n, seed=1):
    """Return stars all over the sky, dense at the poles and at right ascension 0."""
    rng = np.random.default_rng(seed)
    stars = np.zeros(n, STAR_DTYPE)
    stars["ra"] = rng.uniform(0, 360, n)
    stars["dec"] = np.degrees(np.arcsin(rng.uniform(-1, 1, n)))
    stars["ra"][: n // 4] = rng.normal(0, 1, n // 4) % 360
    stars["dec"][n // 4 : n // 2] = 90 - np.abs(rng.normal(0, 1, n // 2 - n // 4))
    stars["mag"] = rng.uniform(5, 18, n)
    return stars[np.lexsort((stars["mag"], stars["ra"], stars["dec"]))]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path, stars = tmp_path_factory.mktemp("stars") / "stars.h5", sky(20000)
    write_index(path, stars, files="abc")
    return path, stars


@pytest.mark.parametrize(
    ("ra", "dec", "radius"), [(0.1, 3.0, 1.5), (200.0, 89.7, 0.4), (123.0, -89.9, 2.0), (77.0, 20.0, 5.0)]
)
def test_every_star_in_a_circle_is_found(made, ra, dec, radius):
    path, stars = made
    found = StarIndex.open(path).near(ra, dec, radius)
    inside = stars[angular_distance(stars["ra"], stars["dec"], ra, dec) <= radius]
    assert len(inside) and np.isin(inside, found).all()
    assert len(np.unique(found)) == len(found) < len(stars) / 2
    distance = angular_distance(found["ra"], found["dec"], ra, dec)
    assert distance.max() < radius + 2 * 0.75  # no more than the pixels that the circle touches


def test_what_is_found_does_not_depend_on_what_was_asked_before(made, monkeypatch):
    path, stars = made
    places = [(0.1, 3.0, 1.5), (0.5, 3.5, 1.0), (77.0, 20.0, 5.0), (0.1, 3.0, 1.5), (200.0, 89.7, 0.4)]
    fresh = [StarIndex.open(path).near(*place) for place in places]
    for kept in (1_000_000, 50, 0):  # all is kept, little, one pixel
        monkeypatch.setattr(star_index, "_KEPT", kept)
        index = StarIndex.open(path)
        for place, expected in zip(places, fresh, strict=True):
            assert np.array_equal(index.near(*place), expected)
    assert np.array_equal(np.sort(StarIndex.open(path).near(0.0, 0.0, 180.0)), np.sort(stars))


def test_an_area_is_read_once(made, monkeypatch):
    index = StarIndex.open(made[0])
    first = index.near(0.1, 3.0, 1.5)
    monkeypatch.setattr(star_index.h5py, "File", lambda *_, **__: pytest.fail("read again"))
    assert np.array_equal(index.near(0.1, 3.0, 1.5), first)


def test_it_knows_its_content(made, tmp_path):
    path, stars = made
    index = StarIndex.open(path)
    assert (index.n_star, index.brightest) == (len(stars), stars["mag"].min())
    assert index.digest == star_digest(stars) != star_digest(stars[1:])
    assert index_files(path) == "abc" and index_files(tmp_path / "none") is None
    with h5py.File(path) as file:  # sorted by pixel, whatever the order that came
        pixel = hpgeom.angle_to_pixel(file.attrs["nside"], file["stars"]["ra"], file["stars"]["dec"])
        assert (np.diff(pixel) >= 0).all()


def test_an_empty_index(tmp_path):
    write_index(tmp_path / "none.h5", np.zeros(0, STAR_DTYPE))
    index = StarIndex.open(tmp_path / "none.h5")
    assert index.n_star == 0 and index.brightest == np.inf and len(index.near(1.0, 2.0, 3.0)) == 0


def test_a_file_that_is_no_index(made, tmp_path):
    with pytest.raises(MissingInputError, match=r"x\.h5: the star catalogue does not exist"):
        StarIndex.open(tmp_path / "x.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = np.zeros(3)
    with pytest.raises(DataError, match=r"other\.h5: not a star index; make it anew with `shapempi starcat`"):
        StarIndex.open(tmp_path / "other.h5")
    content = made[0].read_bytes()
    (tmp_path / "cut.h5").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"cut\.h5: the star index is damaged"):
        StarIndex.open(tmp_path / "cut.h5")
    (tmp_path / "less.h5").write_bytes(content)
    with h5py.File(tmp_path / "less.h5", "a") as file:
        first = file["first"][...]
        del file["first"]
        file["first"] = first[:-1]
    with pytest.raises(DataError, match=r"less\.h5: the star index contradicts itself"):
        StarIndex.open(tmp_path / "less.h5")
