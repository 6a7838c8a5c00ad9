"""The true sky: galaxies and stars with their positions, magnitudes, sizes and shapes.

At random places the sky is made cell by cell, each from its own generator, so that the sky of a cell is the same
whatever tiles are asked for.  On a grid, places are pixels of the tiles.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from scipy.special import gamma

from shapempi.sim.params import GalaxyParams, SimulationParams, StarFieldParams
from shapempi.sim.plan import SurveyPlan, TilePlan, ccd_shape
from shapempi.sim.randoms import Stream, generator
from shapempi.wcs import Wcs, angular_distance

__all__ = ["SCENE_DTYPE", "ObjectType", "add_shears", "make_scene", "near_ccd", "sersic_b"]

#: Height of a cell of the sky [deg].
_CELL = 2.0 / 60.0

#: How far around the CCDs the sky is made [pixel]: bright stars outside an image reach into it.
_MARGIN = 128

#: Largest intrinsic shear of a galaxy.
_G_MAX = 0.7


class ObjectType(IntEnum):
    """What an object of the scene is."""

    GALAXY = 0
    STAR = 1


#: One row per true object.  `g1_int`, `g2_int` is the shape without lensing, `g1`, `g2` the applied shear, both in the
#: frame (u West, v North) with g = (a - b) / (a + b); `hlr` half-light radius [arcsec] and `T` the sum of the second
#: moments of the round profile [arcsec^2]; `sersic` the index of the profile (0 for a star); `pair` names the two
#: members of a rotated pair (-1: none); `n_epoch` counts the exposures that have the centre on a CCD.
SCENE_DTYPE = np.dtype(
    [
        ("id", "i8"),
        ("type", "i2"),
        ("ra", "f8"),
        ("dec", "f8"),
        ("mag", "f8"),
        ("g1_int", "f8"),
        ("g2_int", "f8"),
        ("g1", "f8"),
        ("g2", "f8"),
        ("hlr", "f8"),
        ("T", "f8"),
        ("sersic", "i2"),
        ("pair", "i8"),
        ("n_epoch", "i2"),
    ]
)


def sersic_b(n: np.ndarray | float) -> np.ndarray | float:
    """Return b of Sersic's profile exp(-b ((r/hlr)^(1/n) - 1)) (Ciotti & Bertin 1999, eq. 18)."""
    return 2 * n - 1 / 3 + 4 / (405 * n) + 46 / (25515 * n * n)


def _magnitudes(rng: np.random.Generator, n: int, bright: float, faint: float, slope: float) -> np.ndarray:
    """Draw magnitudes whose counts grow as 10^(slope mag)."""
    q = rng.random(n)
    if slope == 0:
        return bright + q * (faint - bright)
    ratio = 10 ** (slope * (faint - bright))
    return bright + np.log10(1 + q * (ratio - 1)) / slope


def _draw_galaxies(rng: np.random.Generator, n: int, params: GalaxyParams) -> np.ndarray:
    """Draw galaxies without positions; the members of a rotated pair are neighbours in the table."""
    n_drawn = (n + 1) // 2 if params.rotated_pairs else n
    rows = np.zeros(n_drawn, SCENE_DTYPE)
    rows["type"] = ObjectType.GALAXY
    rows["mag"] = _magnitudes(rng, n_drawn, params.mag_bright, params.mag_faint, params.count_slope)
    scatter = params.size_scatter * rng.standard_normal(n_drawn)
    rows["hlr"] = np.maximum(params.size * 10 ** (scatter - params.size_slope * (rows["mag"] - 22.0)), params.size_min)
    rows["sersic"] = np.where(rng.random(n_drawn) < params.devaucouleurs_fraction, 4, 1)
    index = rows["sersic"].astype(float)
    rows["T"] = rows["hlr"] ** 2 * sersic_b(index) ** (-2 * index) * gamma(4 * index) / gamma(2 * index)
    # The modulus is Rayleigh distributed, cut at _G_MAX by inverting the cumulative distribution.
    q, angle = rng.random(n_drawn), 2 * np.pi * rng.random(n_drawn)
    if params.shape_noise > 0:
        top = -np.expm1(-0.5 * (_G_MAX / params.shape_noise) ** 2)
        g = params.shape_noise * np.sqrt(-2 * np.log1p(-q * top))
        rows["g1_int"], rows["g2_int"] = g * np.cos(angle), g * np.sin(angle)
    rows["pair"] = -1
    if not params.rotated_pairs:
        return rows
    rows["pair"] = np.arange(n_drawn)
    pairs = np.repeat(rows, 2)
    for name in ("g1_int", "g2_int"):
        pairs[name][1::2] *= -1
    return pairs[:n]


def _draw_stars(rng: np.random.Generator, n: int, params: StarFieldParams) -> np.ndarray:
    """Draw stars without positions."""
    rows = np.zeros(n, SCENE_DTYPE)
    rows["type"] = ObjectType.STAR
    rows["mag"] = _magnitudes(rng, n, params.mag_bright, params.mag_faint, params.count_slope)
    rows["pair"] = -1
    return rows


def _outline(plan: SurveyPlan, params: SimulationParams, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Return sky positions [deg] that cover all CCDs with pixels and their margins, at most `step` [deg] apart."""
    ny, nx = ccd_shape(params.camera)
    spacing = step * 3600.0 / params.camera.pixel_scale
    x, y = (
        np.linspace(-_MARGIN, n + _MARGIN, int(np.ceil((n + 2 * _MARGIN) / spacing)) + 1).tolist() for n in (nx, ny)
    )
    grid_x, grid_y = (g.ravel() for g in np.meshgrid(x, y))
    parts = [ccd.wcs.pixel_to_sky(grid_x, grid_y) for e in plan.exposures for ccd in e.active_ccds if ccd.wcs]
    if not parts:
        return np.empty(0), np.empty(0)
    return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])


def _cells(plan: SurveyPlan, params: SimulationParams) -> list[tuple[int, int, int]]:
    """Return the cells of the sky that the CCDs touch, as (row, column, columns in the row), in order."""
    ra, dec = _outline(plan, params, _CELL / 2)
    row = np.floor((dec + 90.0) / _CELL).astype(int)
    n_column = np.maximum(1, np.floor(360.0 / _CELL * np.cos(np.radians((row + 0.5) * _CELL - 90.0)))).astype(int)
    column = np.minimum(np.floor(ra / 360.0 * n_column).astype(int), n_column - 1)
    return sorted(set(zip(row.tolist(), column.tolist(), n_column.tolist(), strict=True)))


def _random_field(plan: SurveyPlan, params: SimulationParams) -> list[np.ndarray]:
    """Draw the objects of every cell of the sky."""
    parts = []
    for row, column, n_column in _cells(plan, params):
        low, high = (np.sin(np.radians(d * _CELL - 90.0)) for d in (row, row + 1))
        area = 360.0 / n_column * np.degrees(high - low) * 3600.0
        for stream, density in ((Stream.GALAXIES, params.galaxies.density), (Stream.STARS, params.stars.density)):
            rng = generator(params.seed, stream, row, column)
            n = int(rng.poisson(density * area))
            if stream is Stream.GALAXIES:
                rows = _draw_galaxies(rng, n, params.galaxies)
            else:
                rows = _draw_stars(rng, n, params.stars)
            rows["ra"] = (column + rng.random(n)) * 360.0 / n_column
            rows["dec"] = np.degrees(np.arcsin(low + rng.random(n) * (high - low)))
            parts.append(rows)
    return parts


def _grid_places(
    tile: TilePlan, plan: SurveyPlan, params: SimulationParams, sky: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, ...]:
    """Return tile pixels x, y of the grid's places that are nearest to this tile, and whether they are inside it."""
    spacing = params.galaxies.grid_spacing
    nearest = np.argmin([angular_distance(sky[0], sky[1], *other.centre) for other in plan.tiles], axis=0)
    own_sky = nearest == plan.tiles.index(tile)
    x, y = tile.wcs.sky_to_pixel(sky[0][own_sky], sky[1][own_sky])
    # The grid is centred on the tile, with half a spacing between the border and the first place.
    n_inside = int(tile.size // spacing)
    if len(x) == 0 or n_inside == 0:
        return np.empty(0), np.empty(0), np.empty(0, bool)
    start = (tile.size - 1) / 2 - spacing * (n_inside - 1) / 2
    (first_x, last_x), (first_y, last_y) = (
        (int(np.floor((v.min() - start) / spacing)), int(np.ceil((v.max() - start) / spacing))) for v in (x, y)
    )
    column, row = (g.ravel() for g in np.meshgrid(np.arange(first_x, last_x + 1), np.arange(first_y, last_y + 1)))
    inside = (column >= 0) & (column < n_inside) & (row >= 0) & (row < n_inside)
    place_x, place_y = start + spacing * column, start + spacing * row
    # Another tile's places begin where that tile is nearer; half a spacing is left free on both sides.
    keep = np.ones(len(place_x), bool)
    own = np.hypot(place_x - (tile.size - 1) / 2, place_y - (tile.size - 1) / 2)
    for other in plan.tiles:
        if other.id != tile.id:
            there = tile.wcs.sky_to_pixel(*(np.array([c]) for c in other.centre))
            keep &= np.hypot(place_x - there[0], place_y - there[1]) - own >= spacing
    return place_x[keep], place_y[keep], inside[keep]


def _grid_field(plan: SurveyPlan, params: SimulationParams) -> list[np.ndarray]:
    """Put isolated galaxies, with stars between them, on a grid inside each tile, and stars on the grid around it."""
    sky = _outline(plan, params, _CELL / 2)
    parts = []
    for tile in plan.tiles:
        x, y, inside = _grid_places(tile, plan, params, sky)
        n = len(x)
        rng = generator(params.seed, Stream.GRID, tile.id.x, tile.id.y)
        # Golden-ratio steps spread the stars evenly among the galaxies, better than independent draws would.
        turn = np.zeros(n)
        turn[inside] = np.modf(np.arange(np.count_nonzero(inside)) * 0.6180339887498949 + rng.random())[0]
        is_star = ~inside | (turn < params.galaxies.grid_star_fraction)
        rows = np.zeros(n, SCENE_DTYPE)
        rows[~is_star] = _draw_galaxies(rng, int(np.count_nonzero(~is_star)), params.galaxies)
        rows[is_star] = _draw_stars(rng, int(np.count_nonzero(is_star)), params.stars)
        jitter = rng.uniform(-0.5, 0.5, (2, n))
        rows["ra"], rows["dec"] = tile.wcs.pixel_to_sky(x + jitter[0], y + jitter[1])
        parts.append(rows)
    return parts


def _count_epochs(rows: np.ndarray, plan: SurveyPlan, params: SimulationParams) -> None:
    """Fill in on how many exposures each object's centre lies on a CCD."""
    camera = params.camera
    for exposure in plan.exposures:
        seen = np.zeros(len(rows), bool)
        for ccd in exposure.active_ccds:
            assert ccd.wcs is not None
            near = np.flatnonzero(near_ccd(rows, ccd.wcs, params, 0.0))
            x, y = ccd.wcs.sky_to_pixel(rows["ra"][near], rows["dec"][near])
            inside = (x > camera.overscan_x - 0.5) & (x < camera.overscan_x + camera.ccd_width - 0.5)
            inside &= (y > -0.5) & (y < camera.ccd_height - 0.5)
            seen[near[inside]] = True
        rows["n_epoch"] += seen


def near_ccd(rows: np.ndarray, wcs: Wcs, params: SimulationParams, margin: float) -> np.ndarray:
    """Tell which objects may lie on a CCD or within a margin [pixel] of it: cheap, and never wrongly False."""
    ny, nx = ccd_shape(params.camera)
    ra0, dec0 = (float(v[0]) for v in wcs.pixel_to_sky(np.array([(nx - 1) / 2]), np.array([(ny - 1) / 2])))
    radius = 1.1 * (np.hypot(nx, ny) / 2 + margin) * params.camera.pixel_scale / 3600.0
    return angular_distance(rows["ra"], rows["dec"], ra0, dec0) < radius


def make_scene(plan: SurveyPlan, params: SimulationParams) -> np.ndarray:
    """Draw all objects that the survey's CCDs may see.

    Parameters
    ----------
    plan : SurveyPlan
        Tiles and exposures.
    params : SimulationParams
        The survey.

    Returns
    -------
    ndarray of SCENE_DTYPE [n]
        The true objects; `id` is the row.
    """
    parts = _grid_field(plan, params) if params.galaxies.grid_spacing > 0 else _random_field(plan, params)
    n_pair = 0
    for part in parts:  # pairs are numbered within their cell or tile: make the numbers unique
        paired = part["pair"] >= 0
        part["pair"][paired] += n_pair
        n_pair += int(np.count_nonzero(paired) + 1) // 2
    rows = np.concatenate([np.empty(0, SCENE_DTYPE), *parts])
    rows["id"] = np.arange(len(rows))
    galaxy = rows["type"] == ObjectType.GALAXY
    rows["g1"][galaxy], rows["g2"][galaxy] = params.g1, params.g2
    _count_epochs(rows, plan, params)
    return rows


def add_shears(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the lensed shapes g1, g2 of objects: (e + g) / (1 + conj(g) e), with e intrinsic and g the shear."""
    e = rows["g1_int"] + 1j * rows["g2_int"]
    g = rows["g1"] + 1j * rows["g2"]
    total = (e + g) / (1 + np.conj(g) * e)
    return total.real, total.imag
