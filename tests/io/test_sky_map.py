"""Maps of the sky: healsparse and HEALPix, against healsparse's own look-up, everywhere on the sky."""

import fitsio
import healsparse
import hpgeom
import numpy as np
import pytest
from astropy import units
from astropy.coordinates import SkyCoord

from shapempi.errors import ConfigError, DataError, MissingInputError
from shapempi.io.sky_map import open_sky_map

NSIDE = 64
RNG = np.random.default_rng(5)
RA = np.append(RNG.uniform(0, 360, 3000), [0.0, 359.99999, 0.0, 120.0, -1.0])
DEC = np.append(np.degrees(np.arcsin(RNG.uniform(-1, 1, 3000))), [0.0, 0.0, 90.0, -90.0, 5.0])


def write_healpix(path, values, *, nest=True, system="C", pixels=None, **cards):
    """Write a HEALPix map as the common programs do."""
    table = np.zeros(len(values), dtype=([("PIXEL", "i8")] if pixels is not None else []) + [("VALUE", values.dtype)])
    table["VALUE"] = values
    if pixels is not None:
        table["PIXEL"] = pixels
    header = {"PIXTYPE": "HEALPIX", "ORDERING": "NESTED" if nest else "RING", "NSIDE": NSIDE, "COORDSYS": system}
    header |= {"INDXSCHM": "IMPLICIT" if pixels is None else "EXPLICIT"} | cards
    fitsio.write(str(path), table, header=header, clobber=True)


@pytest.mark.parametrize("nest", [True, False])
@pytest.mark.parametrize("system", ["C", "G"])
def test_full_maps(tmp_path, nest, system):
    values = RNG.uniform(0, 1, 12 * NSIDE**2).astype("f4")
    values[:500] = -1.6375e30
    write_healpix(tmp_path / "map.fits", values, nest=nest, system=system)
    lon, lat = RA % 360, DEC
    if system == "G":
        galactic = SkyCoord(RA * units.deg, DEC * units.deg).galactic
        lon, lat = galactic.l.deg, galactic.b.deg
    expected = values[hpgeom.angle_to_pixel(NSIDE, lon, lat, nest=nest)]
    found = open_sky_map(tmp_path / "map.fits").at(RA, DEC)
    assert found.dtype == np.float32
    assert np.array_equal(found, np.where(expected > -1, expected, np.nan), equal_nan=True)


def test_partial_maps_of_integers(tmp_path):
    pixels = RNG.permutation(12 * NSIDE**2)[:20000]
    values = RNG.integers(0, 100, 20000).astype("i2")
    write_healpix(tmp_path / "map.fits", values, pixels=pixels)
    place = hpgeom.angle_to_pixel(NSIDE, RA % 360, DEC)
    known = dict(zip(pixels.tolist(), values.tolist(), strict=True))
    for outside, there in ((None, -1), (-99.0, -99)):
        found = open_sky_map(tmp_path / "map.fits", outside).at(RA, DEC)
        assert found.dtype == np.int32 and found.tolist() == [known.get(p, there) for p in place.tolist()]
    write_healpix(tmp_path / "none.fits", values[:0], pixels=pixels[:0])
    assert (open_sky_map(tmp_path / "none.fits").at(RA, DEC) == -1).all()


@pytest.mark.parametrize(
    ("kind", "dtype", "outside"), [("i2", "i4", -1), ("i8", "i8", -1), ("f8", "f8", np.nan), (bool, "i4", 0)]
)
def test_healsparse_maps(tmp_path, kind, dtype, outside):
    sentinel = False if kind is bool else np.iinfo(kind).min if kind[0] == "i" else None
    made = healsparse.HealSparseMap.make_empty(32, 512, np.dtype(kind), sentinel=sentinel)
    pixels = hpgeom.query_circle(512, 30.0, 10.0, 40.0)
    made[pixels] = np.ones(len(pixels), dtype=kind) if kind is bool else (pixels % 1000).astype(kind)
    made.write(str(tmp_path / "map.hs"))
    found = open_sky_map(tmp_path / "map.hs").at(RA, DEC)
    covered = made.get_values_pos(RA % 360, DEC, valid_mask=True)
    assert 200 < covered.sum() < 1000
    expected = np.where(covered, made.get_values_pos(RA % 360, DEC), outside)
    assert found.dtype == np.dtype(dtype) and np.array_equal(found, expected, equal_nan=True)


def test_bits_of_wide_masks(tmp_path):
    made = healsparse.HealSparseMap.make_empty(32, 512, healsparse.WIDE_MASK, wide_mask_maxbits=20)
    made.set_bits_pix(hpgeom.query_circle(512, 30.0, 10.0, 40.0), [0, 17])
    made.write(str(tmp_path / "map.hs"))
    found = open_sky_map(tmp_path / "map.hs").at(np.array([30.0, 200.0]), np.array([10.0, 10.0]))
    assert found.tolist() == [1 + (1 << 17), 0]


def test_positions_that_are_none(tmp_path):
    write_healpix(tmp_path / "map.fits", np.arange(12 * NSIDE**2, dtype="f8"))
    found = open_sky_map(tmp_path / "map.fits", -5.0).at(np.array([np.nan, 3.0]), np.array([1.0, np.nan]))
    assert found.tolist() == [-5.0, -5.0]


def test_what_is_no_map_says_so(tmp_path):
    with pytest.raises(MissingInputError, match=r"none\.fits: the sky map does not exist; correct \[sky_masks\]"):
        open_sky_map(tmp_path / "none.fits")
    (tmp_path / "text.fits").write_text("a map")
    with pytest.raises(DataError, match=r"text\.fits: the sky map cannot be read"):
        open_sky_map(tmp_path / "text.fits")
    fitsio.write(str(tmp_path / "table.fits"), np.zeros(3, dtype=[("x", "f4")]))
    with pytest.raises(DataError, match="neither a healsparse nor a HEALPix map"):
        open_sky_map(tmp_path / "table.fits")
    write_healpix(tmp_path / "short.fits", np.zeros(100))
    with pytest.raises(DataError, match=r"100 pixels instead of 49152 for NSIDE = 64"):
        open_sky_map(tmp_path / "short.fits")
    values = np.zeros(12 * NSIDE**2, "i4")
    for cards, words in (
        ({"ORDERING": "SPIRAL"}, "RING or NESTED is needed"),
        ({"COORDSYS": "E"}, r"C \(equatorial\) and G \(galactic\) are"),
        ({"NSIDE": -3}, "no HEALPix resolution"),
    ):
        write_healpix(tmp_path / "odd.fits", values, **cards)
        with pytest.raises(DataError, match=words):
            open_sky_map(tmp_path / "odd.fits")
    write_healpix(tmp_path / "int.fits", values)
    with pytest.raises(ConfigError, match="give a whole number as `outside`"):
        open_sky_map(tmp_path / "int.fits", 0.5)
