"""A survey as small as a whole chain can have: one tile, two exposures of two CCDs, eighty objects."""

from __future__ import annotations

import shutil
from pathlib import Path

import fitsio
import h5py

from shapempi.io.journal import read_journal
from shapempi.io.parts import scan

#: The exposures, and their CCDs with pixels: the others are far from the tile.
EXPOSURES = (2243881, 2243882)
CCDS = ("ccd:2243881-21", "ccd:2243881-22", "ccd:2243882-13", "ccd:2243882-14")
TILE = "tile:241.293"

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


def configure(folder, *changes):
    """Write a configuration; each change is (text in CONFIG, what stands there instead)."""
    text = CONFIG
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    path = Path(folder) / "chain.toml"
    path.write_text(text)
    return path


def place(survey, folder, *changes):
    """Make the folder of a user who has a survey and a configuration; its files can be replaced, not changed."""
    for file in survey.rglob("*"):
        if file.is_file():
            link = Path(folder) / "survey" / file.relative_to(survey)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(file)
    configure(folder, *changes)
    return Path(folder)


def copy_of(link):
    """Turn a link to a file of the survey into a file of its own."""
    target = link.resolve()
    link.unlink()
    shutil.copyfile(target, link)
    return link


def block_size(n_object):
    """Return the change of the configuration that makes blocks of a size."""
    return "block_size = 25", f"block_size = {n_object}"


def tables(path):
    """Return dtype and bytes of every column of a catalogue's tables."""
    with h5py.File(path, "r", locking=False) as file:
        return {
            f"{table}/{name}": (column.dtype, column.shape, column[()].tobytes())
            for table in ("catalogue", "epochs", "stars", "training_stars", "psf_status", "star_statistics")
            for name, column in file[table].items()
        }


def differences(folder, reference):
    """Return the columns in which the catalogues of two folders differ in any bit."""
    ours, theirs = tables(folder / "run" / "catalogue.h5"), tables(reference / "run" / "catalogue.h5")
    return sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))


def committed(folder):
    """Return the names of all commits of a run."""
    return set(scan(folder / "run").locations)


def last_job(folder):
    """Return the outcome of every unit in the latest start of a run, by uid."""
    events, n_torn = read_journal(folder / "run")
    assert n_torn == 0 or n_torn < len([event for event in events if event["event"] == "start"])
    job = events[-1]["job"]
    return {event["uid"]: event for event in events if event["event"] == "unit" and event["job"] == job}


def failed(folder):
    """Return class and reason of every unit that failed in the latest start."""
    return {
        uid: (outcome["error"], outcome["reason"])
        for uid, outcome in last_job(folder).items()
        if outcome["state"] != "done"
    }


def unpacked(compressed, change):
    """Put an uncompressed mosaic in the place of a compressed one, its HDUs changed by change(name, header, pixels)."""
    plain = compressed.with_suffix("")
    with fitsio.FITS(str(compressed)) as source, fitsio.FITS(str(plain), "rw") as target:
        for index, hdu in enumerate(source):
            header, pixels = hdu.read_header(), hdu.read() if index else None
            name = header.get("EXTNAME")
            header.clean()
            change(name, header, pixels)
            target.write(pixels, header=header, extname=name)
    compressed.unlink()
    return plain
