"""What a simulated survey consists of: its tiles, its exposures, and which CCDs see a tile.

Everything here follows from the parameters alone, so every rank works it out for itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from astropy.io import fits

from shapempi.camera import Camera, CcdPlace
from shapempi.description import cfis_camera
from shapempi.errors import ConfigError
from shapempi.ids import CcdId, TileId
from shapempi.sim.params import CameraParams, SimulationParams
from shapempi.sim.psf_field import PsfField, make_psf_field
from shapempi.sim.randoms import Stream, generator
from shapempi.tile_grid import CFIS_GRID, TileGrid
from shapempi.wcs import Wcs, angular_distance

__all__ = ["DUMMY_SIZE", "CcdPlan", "ExposurePlan", "SurveyPlan", "TilePlan", "ccd_shape", "datasec", "plan_survey"]

#: Side of the image that stands for a CCD which sees no tile [pixel].
DUMMY_SIZE = 32

#: Modified Julian date of the first exposure, and the time between two [day].
_FIRST_MJD = 58000.1
_CADENCE = 0.004


def ccd_shape(camera: CameraParams) -> tuple[int, int]:
    """Return (ny, nx) of a CCD with its overscan."""
    return camera.ccd_height + camera.overscan_y, camera.ccd_width + 2 * camera.overscan_x


def datasec(camera: CameraParams) -> tuple[int, int, int, int]:
    """Return (y0, y1, x0, x1) of the imaging area, half open, 0-based."""
    return 0, camera.ccd_height, camera.overscan_x, camera.overscan_x + camera.ccd_width


@dataclass(frozen=True)
class TilePlan:
    """One tile: a square in the tangent plane, North up, East left.

    Attributes
    ----------
    id : TileId
        Its name.
    centre : tuple of float
        ra and dec of its centre [deg].
    wcs_cards : tuple of (keyword, value)
        The WCS as FITS cards.
    wcs : Wcs
        The same WCS.
    size : int
        Side [pixel].
    """

    id: TileId
    centre: tuple[float, float]
    wcs_cards: tuple[tuple[str, str | float], ...]
    wcs: Wcs
    size: int


@dataclass(frozen=True)
class CcdPlan:
    """One CCD of one exposure.

    Attributes
    ----------
    id : CcdId
        Exposure and CCD.
    wcs_cards : tuple of (keyword, value)
        The WCS as FITS cards.
    wcs : Wcs or None
        The same WCS for a CCD that sees a tile; None for the others, which get no pixels.
    tiles : tuple of TileId
        The tiles that it sees.
    """

    id: CcdId
    wcs_cards: tuple[tuple[str, str | float], ...]
    wcs: Wcs | None
    tiles: tuple[TileId, ...]

    @property
    def active(self) -> bool:
        """Whether the CCD gets pixels."""
        return self.wcs is not None


@dataclass(frozen=True)
class ExposurePlan:
    """One exposure.

    Attributes
    ----------
    number : int
        Its number.
    ra, dec : float
        Where it points [deg].
    rotation : float
        Rotation of the camera, from North to East [deg].
    mag_zp : float
        Magnitude that gives one ADU.
    mjd : float
        Modified Julian date of its start [day].
    psf : PsfField
        Its true PSF.
    ccds : tuple of CcdPlan
        All CCDs of the camera.
    """

    number: int
    ra: float
    dec: float
    rotation: float
    mag_zp: float
    mjd: float
    psf: PsfField
    ccds: tuple[CcdPlan, ...]

    @property
    def active_ccds(self) -> tuple[CcdPlan, ...]:
        """The CCDs that get pixels."""
        return tuple(ccd for ccd in self.ccds if ccd.active)

    @property
    def flux_scale(self) -> float:
        """The factor that brings the counts to zero point 30 (FSCALE)."""
        return float(10 ** (0.4 * (30.0 - self.mag_zp)))


@dataclass(frozen=True)
class SurveyPlan:
    """All tiles and exposures of a survey."""

    tiles: tuple[TilePlan, ...]
    exposures: tuple[ExposurePlan, ...]

    def exposures_of(self, tile: TileId) -> list[ExposurePlan]:
        """Return the exposures of which at least one CCD sees a tile."""
        return [e for e in self.exposures if any(tile in ccd.tiles for ccd in e.ccds)]


def _header(cards: tuple[tuple[str, str | float], ...]) -> str:
    """Write cards as header text."""
    return fits.Header(list(cards)).tostring(sep="", endcard=False, padding=False)


def _plan_tile(tile: TileId, params: SimulationParams, grid: TileGrid) -> TilePlan:
    """Place one tile."""
    ra, dec = centre = grid.centre(tile)
    middle = (params.tile_size + 1) / 2
    scale = params.tile_pixel_scale / 3600.0
    cards: tuple[tuple[str, str | float], ...] = (
        ("EQUINOX", 2000.0),
        ("RADESYS", "ICRS"),
        ("CTYPE1", "RA---TAN"),
        ("CUNIT1", "deg"),
        ("CRVAL1", ra),
        ("CRPIX1", middle),
        ("CD1_1", -scale),
        ("CD1_2", 0.0),
        ("CTYPE2", "DEC--TAN"),
        ("CUNIT2", "deg"),
        ("CRVAL2", dec),
        ("CRPIX2", middle),
        ("CD2_1", 0.0),
        ("CD2_2", scale),
    )
    return TilePlan(tile, centre, cards, Wcs(_header(cards), f"tile {tile}"), params.tile_size)


def _ccd_cards(
    place: CcdPlace, camera: CameraParams, ra: float, dec: float, rotation: float
) -> tuple[tuple[str, str | float], ...]:
    """Return the WCS cards of one CCD: TPV, with the sign of its orientation."""
    west, north = place.centre((camera.ccd_height, camera.ccd_width), (camera.gap_x, camera.gap_y, camera.gap_y_outer))
    sign = -1.0 if place.upside_down else 1.0
    middle_x = camera.overscan_x + (camera.ccd_width + 1) / 2
    middle_y = (camera.ccd_height + 1) / 2
    scale = sign * camera.pixel_scale / 3600.0
    cos, sin = np.cos(np.radians(rotation)), np.sin(np.radians(rotation))
    k = camera.distortion
    # TPV: xi = x + k x^3 + k x y^2 = x (1 + k r^2), and the same for eta with x and y exchanged.
    terms = ((1, 1.0), (7, k), (9, k))
    return (
        ("EQUINOX", 2000.0),
        ("RADESYS", "ICRS"),
        ("CTYPE1", "RA---TPV"),
        ("CTYPE2", "DEC--TPV"),
        ("CUNIT1", "deg"),
        ("CUNIT2", "deg"),
        ("CRVAL1", ra),
        ("CRVAL2", dec),
        ("CRPIX1", middle_x - sign * west),
        ("CRPIX2", middle_y - sign * north),
        ("CD1_1", float(-scale * cos)),
        ("CD1_2", float(scale * sin)),
        ("CD2_1", float(scale * sin)),
        ("CD2_2", float(scale * cos)),
        *((f"PV{axis}_{term}", value) for axis in (1, 2) for term, value in terms),
    )


def _overlap(a: np.ndarray, b: np.ndarray) -> bool:
    """Tell whether two convex polygons [n, 2] share an area (separating axes)."""
    for polygon in (a, b):
        for edge in np.roll(polygon, -1, axis=0) - polygon:
            normal = np.array([-edge[1], edge[0]])
            along_a, along_b = a @ normal, b @ normal
            if along_a.max() <= along_b.min() or along_b.max() <= along_a.min():
                return False
    return True


def _sees(wcs: Wcs, camera: CameraParams, tile: TilePlan) -> bool:
    """Tell whether the imaging area of a CCD and a tile share an area of the sky."""
    y0, y1, x0, x1 = datasec(camera)
    x = np.array([x0, x1, x1, x0]) - 0.5
    y = np.array([y0, y0, y1, y1]) - 0.5
    corners = np.stack(tile.wcs.sky_to_pixel(*wcs.pixel_to_sky(x, y)), axis=-1)
    side = tile.size - 0.5
    square = np.array([[-0.5, -0.5], [side, -0.5], [side, side], [-0.5, side]])
    return bool(np.isfinite(corners).all()) and _overlap(corners, square)


def _plan_ccds(
    number: int,
    ra: float,
    dec: float,
    rotation: float,
    params: SimulationParams,
    tiles: Sequence[TilePlan],
    mosaic: Camera,
) -> tuple[CcdPlan, ...]:
    """Place the CCDs of one exposure and find the tiles that each of them sees."""
    camera = params.camera
    ccd_radius = np.hypot(camera.ccd_width, camera.ccd_height) / 2 * camera.pixel_scale / 3600.0
    tile_radius = np.hypot(params.tile_size, params.tile_size) / 2 * params.tile_pixel_scale / 3600.0
    shape = (camera.ccd_height, camera.ccd_width)
    gaps = (camera.gap_x, camera.gap_y, camera.gap_y_outer)
    from_centre = [angular_distance(np.array(ra), np.array(dec), *tile.centre) for tile in tiles]
    ccds = []
    for place in mosaic.places:
        ccd = place.ccd
        cards = _ccd_cards(place, camera, ra, dec, rotation)
        offset = float(np.hypot(*place.centre(shape, gaps))) * camera.pixel_scale / 3600.0
        # The exact test needs a WCS object, which is slow to make: only where the circles come close (1.1: distortion).
        reach = 1.1 * (tile_radius + ccd_radius)
        near = [t for t, d in zip(tiles, from_centre, strict=True) if abs(d - offset) < reach + 0.1 * offset]
        wcs = Wcs(_header(cards), f"exposure {number}, CCD {ccd}") if near else None
        seen = tuple(tile.id for tile in near if wcs is not None and _sees(wcs, camera, tile))
        ccds.append(CcdPlan(CcdId(number, ccd), cards, wcs if seen else None, seen))
    return tuple(ccds)


def _plan_exposure(
    number: int, index: int, tile: TilePlan, params: SimulationParams, tiles: Sequence[TilePlan], mosaic: Camera
) -> ExposurePlan:
    """Draw the pointing of one exposure and place its CCDs."""
    pointing = params.pointing
    rng = generator(params.seed, Stream.POINTING, number)
    west, north = rng.uniform(-pointing.dither_radius, pointing.dither_radius, 2)
    rotation = float(pointing.rotation_scatter * rng.standard_normal())
    extinction = float(pointing.extinction_scatter * rng.random())
    if pointing.dithers:
        west, north = pointing.dithers[index % pointing.n_exposure % len(pointing.dithers)]
    ra0, dec0 = tile.centre
    dec = float(dec0 + north / 3600.0)
    ra = float((ra0 - west / 3600.0 / np.cos(np.radians(dec))) % 360.0)
    return ExposurePlan(
        number=number,
        ra=ra,
        dec=dec,
        rotation=rotation,
        mag_zp=pointing.mag_zp - extinction,
        mjd=round(_FIRST_MJD + _CADENCE * index, 6),
        psf=make_psf_field(params.psf, seed=params.seed, exposure=number, ra=ra, dec=dec),
        ccds=_plan_ccds(number, ra, dec, rotation, params, tiles, mosaic),
    )


def plan_survey(params: SimulationParams, grid: TileGrid = CFIS_GRID, mosaic: Camera | None = None) -> SurveyPlan:
    """Place all tiles and exposures of a survey.

    Parameters
    ----------
    params : SimulationParams
        The survey.
    grid : TileGrid, optional
        The grid of its tiles.
    mosaic : Camera, optional
        Numbers and arrangement of the CCDs, whose size and gaps `params.camera` gives; MegaCam's by default.

    Returns
    -------
    SurveyPlan
        Tiles in the order of the parameters; exposures by number, `n_exposure` for each tile.

    Raises
    ------
    ConfigError
        If a tile is not on the grid, or the CCDs have no arrangement.
    """
    params.check_tiles(grid)
    mosaic = mosaic or cfis_camera()
    if not mosaic.places:
        raise ConfigError("the CCDs have no places, so no exposure can be simulated: give rows in [input.camera]")
    tiles = tuple(_plan_tile(tile, params, grid) for tile in params.tile_ids)
    n = params.pointing.n_exposure
    exposures = tuple(
        _plan_exposure(params.pointing.first_exposure + index, index, tiles[index // n], params, tiles, mosaic)
        for index in range(n * len(tiles))
    )
    return SurveyPlan(tiles, exposures)
