"""Catalogues of random points over the tiles of runs, outside what is masked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from shapempi.catalog import Column, fitted
from shapempi.catalogues.export import Progress, silent
from shapempi.catalogues.random_points import Accept, FreePixels, draw_points, free_pixels
from shapempi.errors import ConfigError, DataError, MissingInputError
from shapempi.ids import TileId
from shapempi.io.sky_map import SkyMap, open_sky_map
from shapempi.io.table import Layout, TableSink
from shapempi.io.table_file import create_table, format_of
from shapempi.masking import read_recipe
from shapempi.measure.bright_stars import StarSource, stars_of_image
from shapempi.measure.mask import MaskRecipe, make_mask
from shapempi.run_view import RunView
from shapempi.stages.tile_source import TileSource
from shapempi.star_catalogue import INDEX_NAME, open_stars
from shapempi.wcs import Wcs, angular_distance

__all__ = ["RANDOM_COLUMNS", "RandomParams", "RandomTile", "Randoms", "make_randoms"]

#: Columns of a catalogue of random points.
RANDOM_COLUMNS = (
    Column("RA", "f8", "deg", "Right ascension (ICRS)."),
    Column("DEC", "f8", "deg", "Declination (ICRS)."),
    Column("x", "f8", "pixel", "Position in the tile along x, 1-based."),
    Column("y", "f8", "pixel", "Position in the tile along y, 1-based."),
    Column("TILE_ID", "S7", "", "Tile XXX.YYY."),
)


@dataclass(frozen=True)
class RandomParams:
    """How many points, and where.

    Attributes
    ----------
    number : int or None
        Points in every tile.
    density : float or None
        Points per square degree that is not masked; one of the two is given.
    seed : int
        Seed of the random numbers; every tile has its own.
    whole_tile : bool
        Whether points lie on the whole tile, so that overlaps have them from every tile; by default only where the
        tile is the primary one.
    footprint : Path or None
        Map of the sky: points lie only where it is greater than 0.
    sky_mask : Path or None
        Map of the sky: points lie only where it is 0 or says nothing.
    """

    number: int | None = None
    density: float | None = None
    seed: int = 1
    whole_tile: bool = False
    footprint: Path | None = None
    sky_mask: Path | None = None

    def check(self) -> None:
        """Refuse numbers that ask for nothing.

        Raises
        ------
        ConfigError
            With the cure.
        """
        if (self.number is None) == (self.density is None):
            raise ConfigError("say how many points: --number N a tile, or --density D per square degree; one of them")
        if self.number is not None and self.number < 1:
            raise ConfigError(f"--number must be at least 1, not {self.number}")
        if self.density is not None and not (np.isfinite(self.density) and self.density > 0):
            raise ConfigError(f"--density must be greater than 0, not {self.density}")


@dataclass(frozen=True)
class RandomTile:
    """The points of a tile.

    Attributes
    ----------
    tile : TileId
        The tile.
    n_point : int
        Points in it.
    area, unmasked : float
        Area of the tile, of its primary part by default, and of what is not masked of that [deg^2].
    """

    tile: TileId
    n_point: int
    area: float
    unmasked: float


@dataclass(frozen=True)
class Randoms:
    """What was written.

    Attributes
    ----------
    tiles : tuple of RandomTile
        The tiles with points, and those without a free pixel.
    missing : tuple of str
        Tiles without points that should have some, each with its reason.
    """

    tiles: tuple[RandomTile, ...]
    missing: tuple[str, ...]

    @property
    def n_point(self) -> int:
        """All points."""
        return sum(tile.n_point for tile in self.tiles)

    @property
    def area(self) -> float:
        """Area of all tiles [deg^2]."""
        return sum(tile.area for tile in self.tiles)

    @property
    def unmasked(self) -> float:
        """Area of all tiles that is not masked [deg^2]."""
        return sum(tile.unmasked for tile in self.tiles)


def make_randoms(
    folders: Sequence[Path],
    output: Path,
    params: RandomParams,
    *,
    overwrite: bool,
    progress: Progress = silent,
    told: Callable[[RandomTile], object] = lambda tile: None,
) -> Randoms:
    """Write a catalogue of random points over the tiles of runs; memory is that of the mask of a tile.

    Parameters
    ----------
    folders : sequence of Path
        Runs; a tile that several have is taken from the first in which it is done.
    output : Path
        FITS, Parquet or HDF5 file to write.
    params : RandomParams
        How many, and where.
    overwrite : bool
        Whether a file that is there may be replaced.
    progress, told : callable, optional
        Told (tiles done, tiles in all, name), and what became of each tile.

    Returns
    -------
    Randoms
        Areas and numbers.

    Raises
    ------
    ConfigError, MissingInputError, DataError, EngineError
        If nothing can be made: the command line is wrong, a run or a map is not there, no tile can be used.
    """
    params.check()
    kind = format_of(output)
    accept = _accept(params)
    runs = [_Run.open(folder) for folder in folders]
    tiles = sorted({plan.tile for run in runs for plan in run.view.plan.tiles})
    found: list[RandomTile] = []
    missing: list[str] = []
    width = max((run.view.settings.input.tile_grid.width for run in runs), default=0)
    layout = Layout("RANDOM", fitted(RANDOM_COLUMNS, tile_width=width), None, {"SEED": params.seed})
    with create_table(output, layout, kind, overwrite=overwrite) as sink:
        for done, tile in enumerate(tiles, start=1):
            try:
                made, reason = _write_tile(sink, layout, _source(runs, tile), tile, tiles, params, accept)
            except (DataError, MissingInputError) as error:
                missing.append(f"tile {tile}: {error}")
                continue
            found.append(made)
            missing += [reason] if reason else []
            told(made)
            if done < len(tiles):
                progress(done, len(tiles), f"tile {tile}")
        if not found:
            raise DataError("\n".join([*missing, "no tile can be used, so there are no random points"]))
    return Randoms(tuple(found), tuple(missing))


@dataclass(frozen=True)
class _Run:
    """A run, with what its masks are made of."""

    view: RunView
    stars: StarSource | None
    recipe: MaskRecipe

    @classmethod
    def open(cls, folder: Path) -> _Run:
        """Open a run."""
        view = RunView(folder)
        params = view.settings.input
        stars = None
        if params.star_catalogue is not None:
            index = folder / INDEX_NAME
            stars = open_stars(index if index.is_file() else params.star_catalogue)
        found = read_recipe(
            view.settings.tile.mask, messier=params.messier_catalogue, ngc=params.ngc_catalogue, table="tile.mask"
        )
        return cls(view, stars, found.recipe)

    def mask(self, tile: TileId) -> tuple[np.ndarray, Wcs]:
        """Make the mask of a tile as its unit has made it; returns it and the tile's WCS.

        Raises
        ------
        MissingInputError, DataError
            If the tile is not done, its files cannot be used, or they give another mask than its unit had.
        """
        location = self.view.need(tile.uid)
        planes = self.view.inputs.open_tile(tile)
        image, _ = self.view.inputs.read_tile(tile, (0, 1, 0, planes.shape[1]))
        stars = stars_of_image(self.stars, image, self.recipe)
        source = TileSource(image, planes, lambda section: make_mask(section, stars, self.recipe))
        source.finish()
        had = self.view.reader.read(location, names=()).attrs
        for name, fraction in source.fractions.items():
            before = float(had.get(f"masked_{name.lower()}", np.nan))
            if not abs(before - fraction) <= 1e-9:
                raise DataError(
                    f"{planes.image}: its mask is not the one of the run: {name} has {fraction:.6f} of the pixels, "
                    f"not {before:.6f}; the files or catalogues have changed, run the tile again"
                )
        return source.plane, image.wcs


def _source(runs: Sequence[_Run], tile: TileId) -> _Run:
    """Return the run that a tile is taken from: the first in which it is done, or that plans it."""
    having = [run for run in runs if any(plan.tile == tile for plan in run.view.plan.tiles)]
    return next((run for run in having if tile.uid in run.view.done), having[0])


def _write_tile(
    sink: TableSink,
    layout: Layout,
    run: _Run,
    tile: TileId,
    tiles: Sequence[TileId],
    params: RandomParams,
    accept: Accept | None,
) -> tuple[RandomTile, str]:
    """Write the points of one tile; returns what it is, and why it has too few points."""
    mask, wcs = run.mask(tile)
    grid = run.view.settings.input.tile_grid
    near = None
    if not params.whole_tile:
        centres = np.array([grid.centre(each) for each in tiles])
        away = angular_distance(centres[:, 0], centres[:, 1], *grid.centre(tile))
        near = [each for each, distance in zip(tiles, away, strict=True) if distance < grid.reach]
    region = free_pixels(mask, wcs, tile, near, grid)
    rng = np.random.default_rng([params.seed, tile.x, tile.y])
    rows, unmasked = _points(region, params, rng, accept, layout)
    rows["TILE_ID"] = str(tile).encode()
    if len(rows):
        sink.append(rows)
    reason = ""
    if params.number is not None and len(rows) < params.number:
        reason = f"tile {tile}: {len(rows)} of {params.number} points: hardly a pixel of it is free"
    return RandomTile(tile, len(rows), region.area, unmasked), reason


def _points(
    region: FreePixels, params: RandomParams, rng: np.random.Generator, accept: Accept | None, layout: Layout
) -> tuple[np.ndarray, float]:
    """Draw the points of a tile; returns them and the area that is free.

    A density is one of the area that is free of the mask: N = density times that area.  Maps of the sky take away
    points then, and with them area.
    """
    if params.density is None:
        assert params.number is not None
        ra, dec, x, y, kept = draw_points(region, params.number, rng, accept)
    else:
        n_point = int(np.rint(params.density * region.unmasked))
        ra, dec, x, y, kept = draw_points(region, n_point, rng)
        if accept is not None:
            keep = accept(ra, dec)
            kept = float(np.mean(keep)) if len(keep) else np.nan
            ra, dec, x, y = ra[keep], dec[keep], x[keep], y[keep]
    rows = np.zeros(len(ra), dtype=layout.dtype)
    rows["RA"], rows["DEC"], rows["x"], rows["y"] = ra, dec, x + 1.0, y + 1.0
    return rows, region.unmasked if accept is None else region.unmasked * float(np.nan_to_num(kept))


def _accept(params: RandomParams) -> Accept | None:
    """Return which positions the maps of the sky let through."""
    for path in (params.footprint, params.sky_mask):
        if path is not None and not path.is_file():
            raise MissingInputError(f"{path}: the map of the sky does not exist")
    tests: list[Accept] = []
    if params.footprint is not None:
        tests.append(partial(_in_footprint, open_sky_map(params.footprint, 0.0)))
    if params.sky_mask is not None:
        tests.append(partial(_not_masked, open_sky_map(params.sky_mask, 0.0)))
    if not tests:
        return None
    return lambda ra, dec: np.logical_and.reduce([test(ra, dec) for test in tests])


def _in_footprint(sky: SkyMap, ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    return sky.at(ra, dec) > 0


def _not_masked(sky: SkyMap, ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    return sky.at(ra, dec) == 0
