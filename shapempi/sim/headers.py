"""Headers of a simulated survey: MegaPrime's keywords where they exist, a coadd's keywords for the tiles."""

from __future__ import annotations

from collections.abc import Sequence

from shapempi.sim.params import SimulationParams
from shapempi.sim.plan import CcdPlan, ExposurePlan, TilePlan, datasec
from shapempi.sim.write import Cards, SurveyFiles

__all__ = ["TILE_ZERO_POINT", "ccd_cards", "exposure_cards", "tile_cards", "tile_history"]

#: Zero point of the tiles [mag].
TILE_ZERO_POINT = 30.0


def exposure_cards(exposure: ExposurePlan, params: SimulationParams) -> Cards:
    """Return the cards that all HDUs of an exposure share."""
    return [
        ("TELESCOP", "CFHT 3.6m", "Telescope that the simulation imitates"),
        ("INSTRUME", "MegaPrime", "Instrument that the simulation imitates"),
        ("DETECTOR", "MegaCam", ""),
        ("ORIGIN", "shapempi", "Simulated image"),
        ("OBJECT", "SIMULATION", ""),
        ("EXPNUM", exposure.number, "Exposure number"),
        ("FILTER", "r.MP9602", "Name of filter in position"),
        ("EXPTIME", params.pointing.exposure_time, "Integration time (seconds)"),
        ("MJD-OBS", exposure.mjd, "Modified Julian Date at start of observation"),
        ("RA_DEG", exposure.ra, "Pointing in degrees"),
        ("DEC_DEG", exposure.dec, "Pointing in degrees"),
        ("PHOTZP", exposure.mag_zp, "Magnitude of one ADU"),
        ("FSCALE", exposure.flux_scale, "Factor to the zero point 30"),
    ]


def ccd_cards(ccd: CcdPlan, shape: tuple[int, int], params: SimulationParams) -> Cards:
    """Return the cards of one CCD."""
    camera = params.camera
    y0, y1, x0, x1 = datasec(camera) if ccd.active else (0, shape[0], 0, shape[1])
    return [
        *((name, value, "") for name, value in ccd.wcs_cards),
        ("EXTVER", ccd.id.ccd + 1, "CCD number in the mosaic, from 1"),
        ("IMAGEID", ccd.id.ccd, "CCD number in the mosaic"),
        ("CCDSUM", "1 1", "Binning factors"),
        ("DATASEC", f"[{x0 + 1}:{x1},{y0 + 1}:{y1}]", "Imaging area of the CCD in raw frame"),
        ("GAIN", camera.gain, "Converting gain (e-/ADU)"),
        ("RDNOISE", camera.read_noise, "Read noise (electrons)"),
        ("SATURATE", camera.saturation, "Pixel saturation level (ADU)"),
        ("SKYLEVEL", params.pointing.sky_level, "Sky that was subtracted (ADU)"),
        ("ACTIVE", ccd.active, "CCD has simulated pixels"),
    ]


def tile_cards(exposures: Sequence[ExposurePlan], params: SimulationParams) -> Cards:
    """Return the cards of a coadd of these exposures, its WCS aside."""
    return [
        ("ORIGIN", "shapempi", "Simulated image"),
        ("OBJECT", "SIMULATION", ""),
        ("FILTER", "r.MP9602", "Name of filter in position"),
        ("EXPTIME", params.pointing.exposure_time * len(exposures), "Maximum equivalent exposure time (s)"),
        ("MJD-OBS", exposures[0].mjd, "Modified Julian date at start"),
        ("GAIN", sum(params.camera.gain / e.flux_scale for e in exposures), "Maximum equivalent gain (e-/ADU)"),
        ("SATURATE", min(params.camera.saturation * e.flux_scale for e in exposures), "Saturation level (ADU)"),
        ("COMBINET", "WEIGHTED", "How the exposures were combined"),
        ("RESAMPT1", "LANCZOS3", "How the exposures were resampled"),
        ("RESAMPT2", "LANCZOS3", "How the exposures were resampled"),
        ("PHOTZP", TILE_ZERO_POINT, "Magnitude of one ADU"),
    ]


def tile_history(tile: TilePlan, exposures: Sequence[ExposurePlan], files: SurveyFiles) -> list[str]:
    """Return the texts of a tile's HISTORY cards: which exposures it is made from, in the survey's own words."""
    lines = []
    for exposure in exposures:
        name = files.exposure(exposure.number)[0].name.removesuffix(".fz")
        n_ccd = sum(tile.id in ccd.tiles for ccd in exposure.ccds)
        lines.append(f" input image {name} {n_ccd} extension(s)")
    return lines
