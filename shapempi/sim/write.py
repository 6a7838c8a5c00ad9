"""Files of a simulated survey, written under a temporary name and renamed when they are complete."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

import fitsio
import h5py
import numpy as np

from shapempi.errors import DataError
from shapempi.exposure_number import CFIS_NUMBER
from shapempi.ids import TileId
from shapempi.io.atomic import replacing
from shapempi.tile_grid import CFIS_GRID

__all__ = ["FileNames", "SurveyFiles", "append_image", "new_fits", "write_star_catalogue", "write_tile", "write_truth"]

#: Quantisation step of compressed float images: the noise divided by this.
_QUANTIZE_LEVEL = 16.0

Cards = Sequence[tuple[str, str | float | int | bool, str]]


class FileNames(Protocol):
    """How a survey's files are named."""

    def exposure_names(self, exposure: int) -> tuple[str, str, str]:
        """Return the names of an exposure's image, weight and flags."""

    def tile_names(self, tile: TileId) -> tuple[str, str]:
        """Return the names of a tile's image and weight."""


class CfisNames:
    """The names of CFIS."""

    def exposure_names(self, exposure: int) -> tuple[str, str, str]:
        """Return `2243881p.fits.fz` and those of weight and flags."""
        name = f"{CFIS_NUMBER.write(exposure)}p"
        return f"{name}.fits.fz", f"{name}.weight.fits.fz", f"{name}.flag.fits.fz"

    def tile_names(self, tile: TileId) -> tuple[str, str]:
        """Return `CFIS.241.293.r.fits` and that of the weight."""
        name = f"CFIS.{CFIS_GRID.write(tile)}.r"
        return f"{name}.fits", f"{name}.weight.fits.fz"


class SurveyFiles:
    """Where the files of a survey are.

    Parameters
    ----------
    folder : Path
        The survey's folder.
    names : FileNames, optional
        How they are named; as those of CFIS by default.
    """

    def __init__(self, folder: Path, names: FileNames | None = None) -> None:
        self.folder = Path(folder)
        self._names = names or CfisNames()

    @property
    def exposures(self) -> Path:
        """The folder of the exposures."""
        return self.folder / "exposures"

    @property
    def tiles(self) -> Path:
        """The folder of the tiles."""
        return self.folder / "tiles"

    @property
    def star_catalogue(self) -> Path:
        """The bright-star catalogue."""
        return self.folder / "star_catalogue.fits"

    @property
    def truth(self) -> Path:
        """The truth."""
        return self.folder / "truth.h5"

    def exposure(self, number: int) -> tuple[Path, Path, Path]:
        """Return the image, weight and flag mosaics of an exposure."""
        image, weight, flag = (self.exposures / name for name in self._names.exposure_names(number))
        return image, weight, flag

    def tile(self, tile: TileId) -> tuple[Path, Path]:
        """Return the image and the weight of a tile."""
        image, weight = (self.tiles / name for name in self._names.tile_names(tile))
        return image, weight


@contextmanager
def _complete(path: Path) -> Iterator[Path]:
    """Give a temporary path as `replacing` does; say what to check if the file cannot be written."""
    try:
        with replacing(path) as temporary:
            yield temporary
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error}; check the folder and the free space") from error


def _records(cards: Cards) -> list[dict]:
    """Return cards as fitsio takes them."""
    return [{"name": name, "value": value, "comment": comment} for name, value, comment in cards]


@contextmanager
def new_fits(paths: Sequence[Path], primary: Cards) -> Iterator[list[fitsio.FITS]]:
    """Open new FITS files that start with an empty primary HDU; they appear when the block ends without an error."""
    with ExitStack() as stack:
        parts = [stack.enter_context(_complete(path)) for path in paths]
        files = [stack.enter_context(fitsio.FITS(str(part), "rw", clobber=True)) for part in parts]
        for file in files:
            file.write(None, header=_records(primary))
        yield files


def append_image(file: fitsio.FITS, data: np.ndarray, cards: Cards, name: str | None = None) -> None:
    """Append a Rice-compressed image HDU; zeros stay exactly zero."""
    file.write_image(
        data,
        extname=name,
        compress="RICE",
        qlevel=_QUANTIZE_LEVEL,
        qmethod="SUBTRACTIVE_DITHER_2",
        dither_seed=1,
        header=_records(cards),
    )


def write_tile(
    paths: tuple[Path, Path], image: np.ndarray, weight: np.ndarray, cards: Cards, wcs_cards: Cards, history: list[str]
) -> None:
    """Write a coadd: the image plain with its history, the weight compressed behind an empty primary HDU.

    Parameters
    ----------
    paths : tuple of Path
        Image and weight.
    image, weight : ndarray of float32 [y, x]
        Pixels.
    cards, wcs_cards : list of (keyword, value, comment)
        Cards of the image alone, and cards of both.
    history : list of str
        Texts of the HISTORY cards of the image.
    """
    with _complete(paths[0]) as part, fitsio.FITS(str(part), "rw", clobber=True) as file:
        file.write_image(image, header=_records([*wcs_cards, *cards]))
        for line in history:
            file[0].write_history(line)
    with new_fits([paths[1]], []) as (file,):
        append_image(file, weight, wcs_cards)


def write_star_catalogue(path: Path, ra: np.ndarray, dec: np.ndarray, mag: np.ndarray) -> None:
    """Write the bright stars as a table RA, DEC [deg], MAG [mag], CLASS (0: star)."""
    table = np.zeros(len(ra), [("RA", "f8"), ("DEC", "f8"), ("MAG", "f4"), ("CLASS", "i2")])
    table["RA"], table["DEC"], table["MAG"] = ra, dec, mag
    with _complete(path) as part, fitsio.FITS(str(part), "rw", clobber=True) as file:
        file.write_table(table, extname="STARS", units=["deg", "deg", "mag", ""])


def write_truth(path: Path, tables: dict[str, np.ndarray], attrs: dict[str, str | float | int]) -> None:
    """Write the truth: tables as compound datasets, parameters as attributes of the file."""
    with _complete(path) as part, h5py.File(part, "w") as file:
        for name, table in tables.items():
            file.create_dataset(name, data=table, compression="gzip", shuffle=True)
        for name, value in attrs.items():
            file.attrs[name] = value
