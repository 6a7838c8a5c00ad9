"""Maps of the sky, looked up at positions: healsparse files, and HEALPix maps in FITS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fitsio
import hpgeom
import numpy as np
from astropy import units
from astropy.coordinates import SkyCoord

from shapempi.errors import ConfigError, DataError, EngineError, MissingInputError

__all__ = ["SkyMap", "open_sky_map"]

#: What HEALPix maps of floats have where they say nothing.
_UNSEEN = -1.6375e30
#: Bytes of bits that fit a column.
_MOST_BYTES = 7


@dataclass(frozen=True)
class SkyMap:
    """A map of the sky.

    Attributes
    ----------
    path : Path
        The file.
    dtype : ndarray dtype
        Type of what `at` returns: float32, float64, int32 or int64.
    outside : float or int
        What it returns where the map says nothing.
    lookup : callable
        Takes ra, dec [deg, n]; returns values and whether the map says something there.
    """

    path: Path
    dtype: np.dtype
    outside: float
    lookup: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]

    def at(self, ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
        """Return the values [n] at positions [deg]; `outside` also where the position is not finite."""
        ra, dec = np.asarray(ra, float), np.asarray(dec, float)
        result = np.full(len(ra), self.outside, dtype=self.dtype)
        known = np.flatnonzero(np.isfinite(ra) & np.isfinite(dec))
        values, valid = self.lookup(ra[known] % 360.0, dec[known])
        result[known[valid]] = values[valid]
        return result


def open_sky_map(path: Path, outside: float | None = None) -> SkyMap:
    """Open a map.

    Parameters
    ----------
    path : Path
        A healsparse map (needs the package healsparse), or a HEALPix map in FITS: full or partial sky, either ordering,
        equatorial or galactic; of its first column of values.
    outside : float, optional
        Value where the map says nothing; by default NaN for maps of floats, -1 for maps of integers, 0 for maps of
        truths and of bits.

    Returns
    -------
    SkyMap
        The map.

    Raises
    ------
    MissingInputError
        If there is no such file.
    DataError
        If it is no map, or of a kind that is not known.
    ConfigError
        If the value for the outside does not fit the map's type.
    EngineError
        If healsparse is needed and not installed.
    """
    if not path.is_file():
        raise MissingInputError(f"{path}: the sky map does not exist; correct [sky_masks]")
    try:
        with fitsio.FITS(str(path)) as file:
            kinds = [(hdu.get_extname(), str(hdu.read_header().get("PIXTYPE", "")).strip()) for hdu in file]
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: the sky map cannot be read: {str(error).strip().splitlines()[0]}") from error
    for number, (_, kind) in enumerate(kinds):
        if kind.upper() == "HEALSPARSE":
            return _healsparse(path, outside)
        if kind.upper() == "HEALPIX":
            return _healpix(path, number, outside)
    raise DataError(f"{path}: neither a healsparse nor a HEALPix map: no HDU has PIXTYPE = 'HEALPIX' or 'HEALSPARSE'")


def _column(path: Path, dtype: np.dtype, default: int, outside: float | None) -> tuple[np.dtype, float]:
    """Return the type of the column and its value outside."""
    if dtype.kind == "f":
        return np.dtype("f4" if dtype.itemsize <= 4 else "f8"), np.nan if outside is None else outside
    if dtype.kind not in "iub":
        raise DataError(f"{path}: a map of {dtype} is not known; maps of numbers, truths and bits are")
    small = dtype.itemsize < 4 or dtype == np.int32
    chosen = np.dtype("i4" if small else "i8")
    value = default if outside is None else outside
    limits = np.iinfo(chosen)
    if not (value == int(value) and limits.min <= value <= limits.max):
        raise ConfigError(f"{path}: a map of integers cannot be {value} outside; give a whole number as `outside`")
    return chosen, int(value)


def _healsparse(path: Path, outside: float | None) -> SkyMap:
    """Open a healsparse map."""
    try:
        import healsparse
    except ImportError as error:
        raise EngineError(
            f"{path}: a healsparse map needs the package healsparse; `pip install 'shapempi[skymask]'`"
        ) from error
    try:
        sky = healsparse.HealSparseMap.read(str(path))
    except Exception as error:  # the package raises what its libraries raise; each means that the file is damaged
        raise DataError(f"{path}: the healsparse map cannot be read: {error}") from error
    if sky.is_rec_array:
        raise DataError(f"{path}: a healsparse map with several fields; write one of them as a map of its own")
    if sky.is_wide_mask_map:
        width = sky.wide_mask_width
        if width > _MOST_BYTES:
            raise DataError(f"{path}: a mask of {8 * width} bits; at most {8 * _MOST_BYTES} fit a column")
        dtype, value = _column(path, np.dtype("i8"), 0, outside)
        powers = 256 ** np.arange(width, dtype=np.int64)

        def bits(ra: np.ndarray, dec: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            found = sky.get_values_pos(ra, dec).astype(np.int64) @ powers
            return found, found != 0

        return SkyMap(path, dtype, value, bits)
    dtype, value = _column(path, np.dtype(sky.dtype), 0 if sky.dtype == bool else -1, outside)

    def numbers(ra: np.ndarray, dec: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = sky.get_values_pos(ra, dec)
        return found, sky.get_values_pos(ra, dec, valid_mask=True) & np.isfinite(found)

    return SkyMap(path, dtype, value, numbers)


def _healpix(path: Path, number: int, outside: float | None) -> SkyMap:
    """Open a HEALPix map."""
    with fitsio.FITS(str(path)) as file:
        header = file[number].read_header()
        names = file[number].get_colnames()
        explicit = str(header.get("INDXSCHM", "IMPLICIT")).strip().upper() == "EXPLICIT"
        if len(names) < 1 + explicit:
            raise DataError(f"{path}: the HEALPix map has no column of values")
        pixels = np.asarray(file[number].read_column(names[0])).ravel() if explicit else None
        values = np.asarray(file[number].read_column(names[1 if explicit else 0])).ravel()
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    nside, nest, frame = _geometry(header, path)
    if pixels is None and len(values) != hpgeom.nside_to_npixel(nside):
        raise DataError(f"{path}: {len(values)} pixels instead of {hpgeom.nside_to_npixel(nside)} for NSIDE = {nside}")
    dtype, value = _column(path, values.dtype, -1, outside)
    if pixels is not None:
        order = np.argsort(pixels, kind="stable")
        pixels, values = pixels[order], values[order]

    def lookup(ra: np.ndarray, dec: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        place = np.asarray(hpgeom.angle_to_pixel(nside, *frame(ra, dec), nest=nest))
        there = np.ones(len(place), dtype=bool)
        if pixels is not None:
            row = np.searchsorted(pixels, place)
            there = row < len(pixels)
            there[there] = pixels[row[there]] == place[there]
            place = row
        found = np.zeros(len(place), dtype=values.dtype)
        found[there] = values[place[there]]
        if found.dtype.kind == "f":
            there &= np.isfinite(found) & ~np.isclose(found, _UNSEEN, rtol=1e-5, atol=0.0)
        return found, there

    return SkyMap(path, dtype, value, lookup)


def _equatorial(ra: np.ndarray, dec: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return positions as they are."""
    return ra, dec


def _galactic(ra: np.ndarray, dec: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return galactic longitude and latitude [deg]."""
    place = SkyCoord(ra * units.deg, dec * units.deg).galactic
    return place.l.deg, place.b.deg


_FRAMES = {"C": _equatorial, "Q": _equatorial, "EQUATORIAL": _equatorial, "": _equatorial, "G": _galactic}
_FRAMES |= {"CELESTIAL": _equatorial, "GALACTIC": _galactic}
_ORDERINGS = {"RING": False, "NESTED": True, "NEST": True}


def _geometry(header: Any, path: Path) -> tuple[int, bool, Callable[[np.ndarray, np.ndarray], Any]]:
    """Return NSIDE, whether pixels are nested, and what brings positions into the map's frame."""
    nside = header.get("NSIDE", 0)
    if not (isinstance(nside, int) and nside > 0):
        raise DataError(f"{path}: NSIDE = {nside!r} is no HEALPix resolution")
    ordering, system = (str(header.get(name, "")).strip().upper() for name in ("ORDERING", "COORDSYS"))
    if ordering not in _ORDERINGS:
        raise DataError(f"{path}: ORDERING = {ordering!r}; RING or NESTED is needed")
    if system not in _FRAMES:
        raise DataError(f"{path}: COORDSYS = {system!r} is not known; C (equatorial) and G (galactic) are")
    return nside, _ORDERINGS[ordering], _FRAMES[system]
