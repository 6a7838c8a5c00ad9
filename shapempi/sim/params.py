"""The keys of a simulated survey; they stand apart from the code so that reading a configuration loads no GalSim."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator, model_validator

from shapempi.errors import ConfigError, DataError
from shapempi.ids import TileId
from shapempi.params import Params, key
from shapempi.tile_grid import TileGrid

__all__ = [
    "CameraParams",
    "DefectParams",
    "GalaxyParams",
    "PointingParams",
    "PsfFieldParams",
    "SimulationParams",
    "StarFieldParams",
]

TileName = Annotated[str, Field(pattern=r"^\d{3,5}\.\d{3,5}$")]


class CameraParams(Params):
    """The camera: CCDs of any size in the arrangement of the survey's camera (`[input.camera]`)."""

    ccd_width: int = key(2048, "Width of a CCD's imaging area.", unit="pixel", ge=32)
    ccd_height: int = key(4612, "Height of a CCD's imaging area.", unit="pixel", ge=32)
    overscan_x: int = key(
        32, "Width of the overscan on the left and on the right of the imaging area.", unit="pixel", ge=0
    )
    overscan_y: int = key(32, "Height of the overscan above the imaging area.", unit="pixel", ge=0)
    gap_x: float = key(69.0, "Gap between the columns of CCDs.", unit="pixel", ge=0)
    gap_y: float = key(53.0, "Gap between the two middle rows of CCDs.", unit="pixel", ge=0)
    gap_y_outer: float = key(426.0, "Gap between other rows of CCDs.", unit="pixel", ge=0)
    pixel_scale: float = key(0.187, "Size of a pixel at the centre of the field.", unit="arcsec", gt=0)
    distortion: float = key(
        -0.024, "Cubic radial distortion k of r (1 + k r^2), r in degrees from the centre of the field.", unit="deg^-2"
    )
    gain: float = key(1.6, "Electrons per ADU.", unit="e/ADU", gt=0)
    read_noise: float = key(4.5, "Read noise.", unit="e", ge=0)
    saturation: float = key(62000.0, "Level above the sky at which pixels saturate.", unit="ADU", gt=0)


class PointingParams(Params):
    """The exposures of every tile: where they point and how deep they are."""

    n_exposure: int = key(3, "Exposures for each tile, centred on it but for the dithers.", ge=1)
    first_exposure: int = key(2243881, "Number of the first exposure; the others follow it.", ge=100000, lt=10**14)
    dithers: tuple[tuple[float, float], ...] = key(
        (), "Offsets (West, North) from the tile's centre, used in turn; drawn at random when empty.", unit="arcsec"
    )
    dither_radius: float = key(60.0, "Half side of the square in which random offsets lie.", unit="arcsec", ge=0)
    rotation_scatter: float = key(0.02, "Scatter (standard deviation) of the camera's rotation.", unit="deg", ge=0)
    exposure_time: float = key(200.0, "Exposure time, for the headers.", unit="s", gt=0)
    mag_zp: float = key(32.0, "Magnitude that gives one ADU in an exposure.", unit="mag")
    extinction_scatter: float = key(0.02, "Exposures lose between 0 and this many magnitudes.", unit="mag", ge=0)
    sky_level: float = key(980.0, "Level of the subtracted sky, which sets the noise.", unit="ADU", ge=0)
    sky_residual: float = key(
        1.5, "Largest constant and gradient that the sky subtraction left on a CCD.", unit="ADU", ge=0
    )


class PsfFieldParams(Params):
    """The point spread function: an elliptical Moffat whose parameters are quadratic in the field position."""

    beta: float = key(3.5, "Moffat's exponent; 2.5 and 3.5 are drawn fastest.", gt=1.1)
    fwhm: float = key(0.70, "Mean full width at half maximum.", unit="arcsec", gt=0)
    fwhm_scatter: float = key(0.06, "Scatter of the width from exposure to exposure, as a fraction.", ge=0, lt=0.3)
    g1: float = key(0.0, "Mean shear of the PSF along West, in the frame (u West, v North).", gt=-0.5, lt=0.5)
    g2: float = key(0.0, "Mean shear of the PSF at 45 degrees, in the frame (u West, v North).", gt=-0.5, lt=0.5)
    g_scatter: float = key(
        0.01, "Scatter of the PSF's mean shear from exposure to exposure, per component.", ge=0, lt=0.2
    )
    fwhm_variation: float = key(0.02, "Size of the width's polynomial coefficients, as a fraction.", ge=0, lt=0.2)
    g_variation: float = key(0.01, "Size of the shear's polynomial coefficients.", ge=0, lt=0.1)
    field_radius: float = key(
        0.5, "Distance from the field centre at which the polynomials' argument is 1.", unit="deg", gt=0
    )
    constant: bool = key(False, "Whether all exposures have exactly the mean PSF everywhere.")


class GalaxyParams(Params):
    """The galaxies: exponential discs and a few de Vaucouleurs profiles, at random places or on a grid."""

    density: float = key(45.0, "Galaxies per unit area (not used on a grid).", unit="arcmin^-2", ge=0)
    mag_bright: float = key(18.0, "Brightest magnitude.", unit="mag")
    mag_faint: float = key(25.5, "Faintest magnitude.", unit="mag")
    count_slope: float = key(0.3, "Slope of the logarithmic number counts; 0 is uniform in magnitude.", unit="dex/mag")
    size: float = key(0.45, "Median half-light radius at magnitude 22.", unit="arcsec", gt=0)
    size_slope: float = key(0.08, "How fast the half-light radius shrinks with magnitude.", unit="dex/mag")
    size_scatter: float = key(0.12, "Scatter of the half-light radius.", unit="dex", ge=0)
    size_min: float = key(0.10, "Smallest half-light radius.", unit="arcsec", gt=0)
    devaucouleurs_fraction: float = key(0.0, "Fraction of galaxies with a de Vaucouleurs profile.", ge=0, le=1)
    shape_noise: float = key(
        0.22, "Scatter of the intrinsic shear per component; 0 makes all galaxies round.", ge=0, lt=1
    )
    rotated_pairs: bool = key(False, "Whether galaxies come in pairs that differ by a rotation by 90 degrees.")
    grid_spacing: float = key(
        0.0,
        "Distance of isolated galaxies on a grid of the tile's pixels; 0 puts galaxies at random places.",
        unit="pixel",
        ge=0,
    )
    grid_star_fraction: float = key(0.3, "Fraction of the grid's places inside a tile that hold a star.", ge=0, le=1)


class StarFieldParams(Params):
    """The stars, from saturated to faint; on a grid they take the places that galaxies leave."""

    density: float = key(8.0, "Stars per unit area (not used on a grid).", unit="arcmin^-2", ge=0)
    mag_bright: float = key(12.0, "Brightest magnitude.", unit="mag")
    mag_faint: float = key(24.0, "Faintest magnitude.", unit="mag")
    count_slope: float = key(0.15, "Slope of the logarithmic number counts; 0 is uniform in magnitude.", unit="dex/mag")
    catalogue_mag: float = key(18.5, "Stars brighter than this are in the bright-star catalogue.", unit="mag")
    halo_fraction: float = key(0.01, "Fraction of a star's light in its halo; 0 for none.", ge=0, le=0.2)
    halo_radius: float = key(269.0, "Radius of the halo.", unit="pixel", gt=1)
    bleed: bool = key(True, "Whether saturated pixels bleed along their column.")


class DefectParams(Params):
    """Cosmic rays and bad columns."""

    cosmic_density: float = key(150.0, "Cosmic rays per million pixels and exposure.", ge=0)
    bad_columns: float = key(2.0, "Mean number of bad columns of a CCD.", ge=0)


class SimulationParams(Params):
    """A simulated survey: tiles, the exposures that cover them, and the sky."""

    seed: int = key(1, "Seed of the sky, the pointings, the PSF and the camera.", ge=0)
    noise_seed: int = key(1, "Seed of the noise and the cosmic rays.", ge=0)
    tiles: tuple[TileName, ...] = key(("241.293",), "Tiles to make, each as XXX.YYY.", min_length=1)
    tile_size: int = key(10000, "Side of a tile.", unit="pixel", ge=32)
    tile_pixel_scale: float = key(0.186, "Size of a tile's pixel.", unit="arcsec", gt=0)
    g1: float = key(0.0, "Shear of all galaxies along West, in the frame (u West, v North).", gt=-0.5, lt=0.5)
    g2: float = key(0.0, "Shear of all galaxies at 45 degrees, in the frame (u West, v North).", gt=-0.5, lt=0.5)
    draw_limit: float = key(
        0.02, "Objects are drawn out to where they fall below this fraction of the noise of a pixel.", gt=0, le=1
    )
    draw_min: int = key(16, "Smallest half side of a drawn object.", unit="pixel", ge=8)
    draw_max: int = key(256, "Largest half side of a drawn object, its halo aside.", unit="pixel", ge=16)
    camera: CameraParams = CameraParams()
    pointing: PointingParams = PointingParams()
    psf: PsfFieldParams = PsfFieldParams()
    galaxies: GalaxyParams = GalaxyParams()
    stars: StarFieldParams = StarFieldParams()
    defects: DefectParams = DefectParams()

    @field_validator("tiles")
    @classmethod
    def _tiles_are_tiles(cls, tiles: tuple[str, ...]) -> tuple[str, ...]:
        """Refuse a tile twice."""
        try:
            ids = [TileId.parse(tile) for tile in tiles]
        except DataError as error:
            raise ValueError(str(error)) from error
        if len(set(ids)) < len(ids):
            raise ValueError("a tile is named twice")
        return tiles

    @model_validator(mode="after")
    def _magnitudes_are_in_order(self) -> SimulationParams:
        """Refuse empty magnitude ranges and a shear that no image can have."""
        for group, name in ((self.galaxies, "galaxies"), (self.stars, "stars")):
            if group.mag_bright >= group.mag_faint:
                raise ValueError(f"{name}.mag_bright must be smaller than {name}.mag_faint")
        if self.g1**2 + self.g2**2 >= 0.25:
            raise ValueError("the shear (g1, g2) must be smaller than 0.5")
        return self

    def check_tiles(self, grid: TileGrid) -> None:
        """Raise ConfigError if a tile is not on a grid, or at a pole, where no direction is West."""
        for tile in self.tile_ids:
            if not grid.has(tile) or abs(grid.centre(tile)[1]) == 90.0:
                raise ConfigError(
                    f"simulation.tiles: tile {tile} is not on the sky: with steps of {grid.step:g} deg rows go to "
                    f"{grid.n_row - 1}, and this one has {grid.n_column(tile.y)} columns"
                )

    @property
    def tile_ids(self) -> tuple[TileId, ...]:
        """The tiles."""
        return tuple(TileId.parse(tile) for tile in self.tiles)
