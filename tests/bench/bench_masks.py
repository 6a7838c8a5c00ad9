"""How fast are masks?  Ours and WeightWatcher's, the same polygons in turns.  See docs/benchmarks.md.

    python tests/bench/bench_masks.py [--repeats N] [--json FILE]

A CCD of 2112 x 4644 pixels with halos and spikes.  Processor time of one core: of `make_mask`, all included (bad
weights, border, statistics), and of the program `weightwatcher` with the reference system's settings, its reading and
writing included, for it does nothing else.  Then 10^6 stars on the same CCD.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import fitsio
import numpy as np
from astropy.io import fits

from shapempi.bench.clock import Spread, machine, take_turns
from shapempi.image import Image
from shapempi.io.regions import polygon_region, write_regions
from shapempi.kernels import _mask
from shapempi.measure.mask import BrightStars, MaskParams, MaskRecipe, make_mask
from shapempi.wcs import Wcs

SHAPE = (4644, 2112)
SCALE = 0.187


def empty_ccd():
    """Return a CCD of sky, North up."""
    cards = fits.Header(
        {
            **{
                "CTYPE1": "RA---TAN",
                "CTYPE2": "DEC--TAN",
                "CRVAL1": 150.0,
                "CRVAL2": 2.0,
                "CRPIX1": 1056,
                "CRPIX2": 2322,
            },
            **{"CD1_1": -SCALE / 3600, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": SCALE / 3600},
        }
    ).tostring()
    data = np.random.default_rng(1).normal(0, 1, SHAPE).astype(np.float32)
    plane, box = np.zeros(SHAPE, np.int32), (0, 4612, 32, 2080)
    ones = np.ones(SHAPE, np.float32)
    return Image(data, ones, plane, Wcs(cards), (0, 0), SHAPE, box, 1.6, 65000.0, 30.0, 1.0, cards, "CCD")


def some_stars(n, faintest):
    """Return stars of 10th magnitude and fainter all over the CCD."""
    rng = np.random.default_rng(2)
    return BrightStars(rng.uniform(0, SHAPE[1], n), rng.uniform(0, SHAPE[0], n), rng.uniform(10.0, faintest, n))


def children_time():
    """Return the processor time of the programs that have been run [s]."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def prepare(folder, weight, polygons, *, shift=0.0):
    """Write what the program reads; `polygons` are those of each bit, and are moved along x by `shift`."""
    fitsio.write(folder / "weight.fits", weight, clobber=True)
    for bit, corners in polygons.items():
        lines = (polygon_region(each + np.array([shift, 0.0]), "red", str(bit)) for each in corners)
        write_regions(folder / f"{bit}.reg", lines)
    settings = {
        **{"WEIGHT_NAMES": "weight.fits", "WEIGHT_MIN": 0, "WEIGHT_MAX": 1000, "WEIGHT_OUTFLAGS": 1},
        **{"POLY_NAMES": ",".join(f"{bit}.reg" for bit in polygons), "POLY_OUTFLAGS": ",".join(map(str, polygons))},
        **{"POLY_OUTWEIGHTS": ",".join("0.0" for _ in polygons), "POLY_INTERSECT": "Y", "FLAG_NAMES": '""'},
        **{"OUTFLAG_NAME": "flag.fits", "OUTWEIGHT_NAME": '""', "WRITE_XML": "N", "NTHREADS": 1},
        "VERBOSE_TYPE": "QUIET",
    }
    (folder / "default.ww").write_text("".join(f"{key} {value}\n" for key, value in settings.items()))


def weightwatcher(folder):
    """Run the program on the files of a folder."""
    command = ["weightwatcher", "-c", "default.ww"]
    subprocess.run(command, cwd=folder, check=True, timeout=60, capture_output=True)


def polygons_of(recipe, stars, wcs, shape):
    """Return the polygons of stars, by their bit."""
    polygons = {}
    for some in recipe.polygons(stars, wcs, shape):
        corners = zip(some.first[:-1], some.first[1:], strict=True)
        polygons.setdefault(some.bit, []).extend(some.vertices[a:b] for a, b in corners)
    return polygons


def half_pixel_left(plane, polygons):
    """Paint polygons where the program paints them: half a pixel to the left."""
    for bit, corners in polygons.items():
        first = np.cumsum([0, *map(len, corners)])
        _mask.fill_polygons(plane, np.concatenate(corners) - np.array([0.5, 0.0]), first, bit)
    return plane


def compare(image, stars, folder, repeats):
    """Measure one set of stars; returns a row of the table."""
    recipe = MaskRecipe(MaskParams(border_width=0))
    polygons = polygons_of(recipe, stars, image.wcs, SHAPE)
    prepare(folder, image.weight, polygons)
    ours, theirs = [], []
    for _ in range(repeats):  # in turns, each with a clock of its own
        ours.append(take_turns({"": lambda: make_mask(image, stars, recipe)}, 1, before=False)[""].median)
        theirs.append(take_turns({"": lambda: weightwatcher(folder)}, 1, before=False, clock=children_time)[""].median)
    made = make_mask(image, stars, recipe)
    flag = fitsio.read(folder / "flag.fits").astype(np.int32)
    left = half_pixel_left(np.zeros(SHAPE, np.int32), polygons)
    return {
        "polygons": sum(map(len, polygons.values())),
        "masked": float(np.mean(flag != 0)),
        "shapempi_ms": 1e3 * Spread.of(ours).median,
        "weightwatcher_ms": 1e3 * Spread.of(theirs).median,
        "same": float(np.mean(flag == made.plane & sum(polygons))),
        "same_half_pixel_left": float(np.mean(flag == left)),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    image = empty_ccd()
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, stars in (
            ("20 stars, 10 to 13 mag", some_stars(20, 13.0)),
            ("100 stars, 10 to 13 mag", some_stars(100, 13.0)),
            ("200 stars, 10 to 13 mag", some_stars(200, 13.0)),
            ("2000 stars, 10 to 18 mag", some_stars(2000, 18.0)),
        ):
            rows[name] = row = compare(image, stars, Path(folder), options.repeats)
            ratio = row["weightwatcher_ms"] / row["shapempi_ms"]
            print(
                f"{name}: {row['polygons']} polygons, {row['masked']:.0%} masked; "
                f"make_mask {row['shapempi_ms']:.0f} ms, weightwatcher {row['weightwatcher_ms']:.0f} ms, "
                f"ratio {ratio:.1f}; same pixels {row['same']:.4%}, "
                f"half a pixel to the left {row['same_half_pixel_left']:.5%}"
            )
    crowd = some_stars(1_000_000, 18.0)
    spread = take_turns({"crowd": lambda: make_mask(image, crowd, MaskRecipe(MaskParams()))}, 1, before=False)["crowd"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    rows["10^6 stars, 10 to 18 mag"] = {"shapempi_s": spread.median, "peak_gib": peak}
    print(f"10^6 stars, 10 to 18 mag: {spread.median:.1f} s; largest memory of the process {peak:.2f} GiB")
    if options.json:
        options.json.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
