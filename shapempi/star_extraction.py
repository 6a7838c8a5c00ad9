"""Stars for some fields, taken out of a larger catalogue."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import fitsio
import hpgeom
import numpy as np
from scipy.spatial import cKDTree

from shapempi.errors import ConfigError, DataError, EngineError
from shapempi.io.atomic import refuse_existing, replacing
from shapempi.io.fits import image_hdus
from shapempi.io.star_index import write_index
from shapempi.io.star_query import query_gaia
from shapempi.io.starcat import STAR_DTYPE, read_star_catalogue
from shapempi.io.tile import tile_image_hdu
from shapempi.survey.inputs import SurveyInputs
from shapempi.wcs import Wcs, unit_vectors

__all__ = [
    "Circle",
    "area_of",
    "check_output",
    "circle_of_image",
    "circles_of_survey",
    "extract",
    "write_stars",
]

#: Pixels of 3.4 arcmin, by which the area of overlapping circles is measured.
_AREA_NSIDE = 1024


@dataclass(frozen=True)
class Circle:
    """A circle on the sky.

    Attributes
    ----------
    ra, dec, radius : float
        Centre and radius [deg].
    """

    ra: float
    dec: float
    radius: float

    def __post_init__(self) -> None:
        """Refuse what is no circle on the sky."""
        if not (-360.0 <= self.ra <= 360.0 and -90.0 <= self.dec <= 90.0 and 0.0 < self.radius <= 180.0):
            raise ConfigError(
                f"not a circle on the sky: RA {self.ra}, Dec {self.dec}, radius {self.radius}; all are in degrees"
            )


def circle_of_image(path: Path) -> list[Circle]:
    """Return the circles around all images of a FITS file that have a WCS.

    Raises
    ------
    MissingInputError, DataError
        If the file cannot be read or has no image with a WCS.
    """
    found = []
    for hdu in image_hdus(path):
        if hdu.shape is not None:
            try:
                found.append(Circle(*Wcs(hdu.header, str(hdu)).circle(hdu.shape)))
            except DataError:
                continue  # a CCD without WCS has no place; that no image has one is an error below
    if not found:
        raise DataError(f"{path}: no image in this file has a WCS, so it has no place on the sky")
    return found


def circles_of_survey(inputs: SurveyInputs) -> list[Circle]:
    """Return the circles around all tiles and around all CCDs of all exposures of a survey."""
    found = []
    for tile in inputs.tiles:
        hdu = tile_image_hdu(inputs.tile_paths(tile)[0])
        if hdu.shape is not None:
            found.append(Circle(*Wcs(hdu.header, str(hdu)).circle(hdu.shape)))
    for exposure in inputs.exposures:
        for footprint in inputs.footprints(exposure):
            if footprint.active and not footprint.problem:
                found.append(Circle(*footprint.wcs.circle(footprint.shape)))
    return found


def area_of(circles: Sequence[Circle]) -> float:
    """Return the area that circles cover together [deg^2], to some arcminutes along their edges."""
    parts = [hpgeom.query_circle(_AREA_NSIDE, c.ra % 360.0, c.dec, c.radius) for c in circles]
    covered = np.unique(np.concatenate([np.zeros(0, np.int64), *parts]))
    return len(covered) * float(hpgeom.nside_to_pixel_area(_AREA_NSIDE))


def extract(
    source: Path | None, circles: Sequence[Circle], *, mag_limit: float = 18.0, margin: float = 0.0
) -> np.ndarray:
    """Take the stars of some fields out of a catalogue.

    Parameters
    ----------
    source : Path or None
        The catalogue; None: the archive of Gaia is asked.
    circles : sequence of Circle
        The fields; the whole catalogue without any.
    mag_limit : float, optional
        Stars brighter than this are taken [mag].
    margin : float, optional
        How far around the circles stars are taken, too [deg].

    Returns
    -------
    ndarray of STAR_DTYPE [n]
        The stars, each once, sorted by declination.

    Raises
    ------
    MissingInputError, DataError, EngineError
        If the catalogue cannot be used.
    """
    if source is None:
        parts = [query_gaia(c.ra, c.dec, c.radius + margin, mag_limit) for c in circles]
        stars = np.unique(np.concatenate([np.zeros(0, STAR_DTYPE), *parts]))
        return stars[np.lexsort((stars["mag"], stars["ra"], stars["dec"]))]
    stars = read_star_catalogue(source)
    stars = stars[stars["mag"] < mag_limit]
    if not circles or not len(stars):
        return stars
    tree = cKDTree(unit_vectors(stars["ra"], stars["dec"]))
    keep = np.zeros(len(stars), dtype=bool)
    for circle in circles:
        # The chord of the angle; a rounding more, for the tree leaves out what is beyond by one.
        chord = 2.0 * np.sin(np.radians(min(circle.radius + margin, 180.0)) / 2.0) * (1.0 + 1e-12)
        keep[tree.query_ball_point(unit_vectors(np.array(circle.ra), np.array(circle.dec)), chord)] = True
    return stars[keep]


def _write_fits(path: Path, stars: np.ndarray) -> None:
    """Write a FITS table."""
    with fitsio.FITS(str(path), "rw", clobber=True) as file:
        file.create_table_hdu(dtype=stars.dtype, extname="STARS", units=["deg", "deg", "mag", "mas/yr", "mas/yr", "yr"])
        if len(stars):
            file[-1].write(stars)


def _write_csv(path: Path, stars: np.ndarray) -> None:
    """Write a CSV file."""
    with path.open("w", encoding="ascii") as file:
        file.write(",".join(stars.dtype.names or ()) + "\n")
        file.writelines(",".join(repr(value) for value in row) + "\n" for row in stars.tolist())


def _write_parquet(path: Path, stars: np.ndarray) -> None:
    """Write a Parquet file."""
    try:
        import pyarrow
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise EngineError(
            f"{path}: writing Parquet needs the package pyarrow; `pip install 'shapempi[parquet]'`"
        ) from error
    names = stars.dtype.names or ()
    parquet.write_table(pyarrow.table({name: np.ascontiguousarray(stars[name]) for name in names}), path)


_WRITERS: Mapping[str, Callable[[Path, np.ndarray], None]] = {
    "h5": write_index,
    "hdf5": write_index,
    "fits": _write_fits,
    "csv": _write_csv,
    "parquet": _write_parquet,
}


def check_output(path: Path, *, overwrite: bool) -> None:
    """Refuse a file that cannot be written, before anything is read.

    Raises
    ------
    ConfigError
        If it is there and must not be replaced, its folder is not there, or its ending is not known.
    """
    if path.suffix.lstrip(".").lower() not in _WRITERS:
        known = ", ".join(f".{suffix}" for suffix in _WRITERS)
        raise ConfigError(f"{path}: not a known form of catalogue; endings are {known} (.h5 is an index, read fastest)")
    refuse_existing(path, overwrite=overwrite)


def write_stars(path: Path, stars: np.ndarray, *, overwrite: bool) -> None:
    """Write stars in the form that the file's ending says.

    Parameters
    ----------
    path : Path
        `.h5` (an index), `.fits`, `.csv` or `.parquet`.
    stars : ndarray of STAR_DTYPE [n]
        The stars.
    overwrite : bool
        Whether a file that is there may be replaced.

    Raises
    ------
    ConfigError
        As `check_output`, or if it cannot be written.
    EngineError
        If the package that writes the form is not installed.
    """
    check_output(path, overwrite=overwrite)
    try:
        with replacing(path) as temporary:
            _WRITERS[path.suffix.lstrip(".").lower()](temporary, stars)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror or error}") from error
