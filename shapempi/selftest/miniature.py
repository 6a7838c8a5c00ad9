"""A survey as small as a whole chain can have: one tile, two exposures of two CCDs, eighty objects."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

__all__ = ["CONFIG", "TABLES", "configure", "place", "tables"]

CONFIG = """
[survey]
name = "tiny"
seed = 5

[input]
exposure_folder = "survey/exposures"
tile_folder = "survey/tiles"
star_catalogue = "survey/star_catalogue.fits"

[run]
folder = "run"
block_size = 25

[exposure.mask]
border_width = 10
spike_mag_limit = 15.5

[psf.acceptance]
min_stars = 8

[simulation]
seed = 20
noise_seed = 21
tile_size = 400
g1 = 0.02
g2 = -0.01
camera = { ccd_width = 480, ccd_height = 600, overscan_x = 8, overscan_y = 6, gap_x = 24.0, gap_y = 24.0, \
gap_y_outer = 120.0, distortion = -0.5 }
pointing = { n_exposure = 2, dithers = [[30.0, 84.0], [-35.0, -45.0]] }
psf = { field_radius = 0.05 }
galaxies = { density = 20.0, mag_bright = 19.0, mag_faint = 24.0 }
stars = { density = 30.0, mag_bright = 15.0, mag_faint = 22.0, count_slope = 0.2 }
defects = { cosmic_density = 100.0, bad_columns = 1.0 }
"""

#: Tables of a catalogue.
TABLES = ("catalogue", "epochs", "stars", "training_stars", "psf_status", "star_statistics")


def configure(folder: Path, *changes: tuple[str, str], name: str = "chain.toml") -> Path:
    """Write a configuration.

    Parameters
    ----------
    folder : Path
        Where.
    *changes : tuple of (str, str)
        Text in `CONFIG`, what stands there instead.
    name : str, optional
        Name of the file.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ValueError
        If a text is not in `CONFIG`.
    """
    text = CONFIG
    for old, new in changes:
        if old not in text:
            raise ValueError(f"the configuration has no {old!r}")
        text = text.replace(old, new)
    path = Path(folder) / name
    path.write_text(text, encoding="utf-8")
    return path


def place(survey: Path, folder: Path, *changes: tuple[str, str]) -> Path:
    """Make the folder of a user who has a survey and a configuration; its files can be replaced, not changed.

    Parameters
    ----------
    survey : Path
        The survey; its files are linked.
    folder : Path
        The folder.
    *changes : tuple of (str, str)
        As for `configure`.
    """
    for file in survey.rglob("*"):
        if file.is_file():
            link = Path(folder) / "survey" / file.relative_to(survey)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(file)
    configure(folder, *changes)
    return Path(folder)


def tables(path: Path) -> dict[str, tuple[np.dtype, tuple[int, ...], bytes]]:
    """Return dtype, shape and bytes of every column of a catalogue's tables."""
    with h5py.File(path, "r", locking=False) as file:
        return {
            f"{table}/{name}": (column.dtype, column.shape, column[()].tobytes())
            for table in TABLES
            for name, column in file[table].items()
        }
