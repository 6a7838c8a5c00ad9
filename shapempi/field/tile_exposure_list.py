"""The exposures of each tile, from its header, as lists (specification, 2.5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shapempi.errors import ConfigError, DataError, MissingInputError
from shapempi.exposure_number import CFIS_NUMBER, ExposureNumber
from shapempi.field.image_name import NamePattern, id_in_name
from shapempi.field.image_source import find_files
from shapempi.ids import TileId
from shapempi.io.id_list import written_id
from shapempi.io.text import write_lines
from shapempi.io.tile import tile_exposures, tile_image_hdu
from shapempi.tile_grid import CFIS_GRID, TileGrid

__all__ = ["TileExposures", "read_tile_exposures", "tile_files", "write_exposure_list"]


@dataclass(frozen=True)
class TileExposures:
    """What the header of a tile says.

    Attributes
    ----------
    path : Path
        The tile's file.
    exposures : tuple of int
        Exposure numbers, each once, in the header's order.
    problem : str
        Why they are not known; empty if they are.
    missing : bool
        Whether the problem is that the file is not there.
    """

    path: Path
    exposures: tuple[int, ...] = ()
    problem: str = ""
    missing: bool = False

    @property
    def names(self) -> list[str]:
        """The exposures by the observatory's names, `2243881p`."""
        return [written_id(exposure) for exposure in self.exposures]


def tile_files(
    sources: Sequence[Path], patterns: Sequence[NamePattern], grid: TileGrid = CFIS_GRID
) -> dict[TileId, Path]:
    """Find the tiles among files and folders.

    Parameters
    ----------
    sources : sequence of Path
        Files of tiles, whatever their names are before and after XXX.YYY or XXX-YYY, and folders of tiles.
    patterns : sequence of NamePattern
        Names of tiles in folders; the first that a folder has is taken.
    grid : TileGrid, optional
        How tiles are written in names of files.

    Returns
    -------
    dict of TileId to Path
        Sorted by tile.

    Raises
    ------
    MissingInputError
        If a folder has no tile.
    DataError
        If the name of a file has no tile, or two files have the same.
    """
    found: dict[TileId, Path] = {}
    form = "XXX.YYY or XXX-YYY" if grid.name == CFIS_GRID.name else grid.name
    for source in sources:
        files = find_files(source, patterns) if source.is_dir() else {id_in_name(source.name, grid): source}
        for tile, file in files.items():
            if not isinstance(tile, TileId):
                raise DataError(f"{file}: the name has no tile number {form}, or several; rename the file")
            earlier = found.setdefault(tile, file)
            if earlier != file:
                raise DataError(f"tile {tile} is given twice: {earlier} and {file}; leave out one of them")
    return dict(sorted(found.items()))


def read_tile_exposures(path: Path, number: ExposureNumber = CFIS_NUMBER) -> TileExposures:
    """Read the exposures of a tile from its HISTORY cards; what is wrong with the file is in the answer."""
    try:
        hdu = tile_image_hdu(path)
        return TileExposures(path, tuple(tile_exposures(hdu.header, str(hdu), number)))
    except MissingInputError:
        return TileExposures(path, problem=f"{path}: the file does not exist; correct its name", missing=True)
    except DataError as error:
        return TileExposures(path, problem=str(error))


def write_exposure_list(folder: Path, tile: TileId, exposures: TileExposures, *, overwrite: bool) -> bool:
    """Write `exp_numbers-XXX-YYY.txt`, one exposure a line, unless it is there and says the same.

    Parameters
    ----------
    folder : Path
        Where.
    tile : TileId
        The tile.
    exposures : TileExposures
        Its exposures.
    overwrite : bool
        Whether a list that says something else may be replaced.

    Returns
    -------
    bool
        Whether the file was written.

    Raises
    ------
    ConfigError
        If another list is there and must not be replaced, or the file cannot be written.
    """
    path = folder / f"exp_numbers-{tile.x:03d}-{tile.y:03d}.txt"
    if path.is_file():
        try:
            if path.read_text(encoding="utf-8").split() == exposures.names:
                return False
        except (OSError, UnicodeDecodeError) as error:
            if not overwrite:
                raise ConfigError(f"{path}: cannot be compared: {error}; give --overwrite to replace it") from error
        if not overwrite:
            raise ConfigError(
                f"{path} is already there and has other exposures than {exposures.path}; give --overwrite to replace it"
            )
    write_lines(path, exposures.names, overwrite=overwrite)
    return True
