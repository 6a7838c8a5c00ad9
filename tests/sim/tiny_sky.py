"""A very small survey for the tests: one tile, two exposures, two CCDs of each."""

from __future__ import annotations

from shapempi.sim.params import SimulationParams

CAMERA = {
    "ccd_width": 200,
    "ccd_height": 260,
    "overscan_x": 8,
    "overscan_y": 6,
    "gap_x": 12.0,
    "gap_y": 12.0,
    "gap_y_outer": 20.0,
    "distortion": -0.5,
}


def tiny_params(**changes):
    """Return the parameters of an isolated grid of galaxies and stars; groups in `changes` are merged."""
    values = {
        "seed": 5,
        "noise_seed": 6,
        "tile_size": 240,
        "g1": 0.05,
        "g2": -0.03,
        "draw_min": 22,
        "camera": CAMERA,
        # The first exposure has the tile on CCDs 21 and 22, the second on 13 and 14, which are upside down.
        "pointing": {"n_exposure": 2, "dithers": [[26.0, 25.0], [-16.0, -25.0]]},
        "psf": {"field_radius": 0.02},
        "galaxies": {"grid_spacing": 48.0, "mag_bright": 19.5, "mag_faint": 21.0, "count_slope": 0.0},
        "stars": {"mag_bright": 18.0, "mag_faint": 20.0, "catalogue_mag": 19.0},
        "defects": {"cosmic_density": 120.0, "bad_columns": 1.0},
    }
    for name, value in changes.items():
        values[name] = {**values[name], **value} if isinstance(value, dict) else value
    return SimulationParams.model_validate(values)
