"""The survey in miniature of the chain's tests, and what they look at in its runs."""

from __future__ import annotations

import shutil

import fitsio

from shapempi.io.journal import read_journal
from shapempi.io.parts import scan
from shapempi.selftest.miniature import CONFIG, configure, place, tables

__all__ = ["CCDS", "CONFIG", "EXPOSURES", "TILE", "block_size", "committed", "configure", "own_run", "place", "tables"]

#: The exposures, and their CCDs with pixels: the others are far from the tile.
EXPOSURES = (2243881, 2243882)
CCDS = ("ccd:2243881-21", "ccd:2243881-22", "ccd:2243882-13", "ccd:2243882-14")
TILE = "tile:241.293"


def copy_of(link):
    """Turn a link to a file of the survey into a file of its own."""
    target = link.resolve()
    link.unlink()
    shutil.copyfile(target, link)
    return link


def own_run(reference, folder):
    """Copy a run to a folder, so that it may be written to; the survey's files are where they were."""
    shutil.copytree(reference / "run", folder / "run")
    (folder / "survey").symlink_to(reference / "survey")
    return folder


def block_size(n_object):
    """Return the change of the configuration that makes blocks of a size."""
    return "block_size = 25", f"block_size = {n_object}"


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
