"""Detection on a full tile beside source-extractor: processor time, memory, objects.

Run from the root of the repository: python tests/bench/bench_detection.py [--size 10000].  A tile is drawn and written;
the unit of the tile (masks, detection, blocks, commit) and the program with equivalent settings then take turns, each
in a process of its own, whose processor time and largest memory the system tells.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import fitsio
import numpy as np
from tile_field import draw_tile

from shapempi.engines.detection_native import NativeDetection
from shapempi.ids import TileId
from shapempi.io.parts import PartWriter
from shapempi.io.starcat import STAR_DTYPE
from shapempi.measure.bright_stars import StarTable
from shapempi.measure.mask import MaskRecipe
from shapempi.mpi.attempt import Stopwatch
from shapempi.stages.tile import TileParams, TileStage
from shapempi.survey.inputs import InputParams, SurveyInputs

TILE = TileId(241, 293)
SCALE = 0.187
#: Stars per square degree with a mask.
STARS = 800
PROGRAM = "source-extractor"
WITH_COMPRESSED, WITH_PLAIN = "CFIS.{tile}.r.weight.fits.fz", "CFIS.{tile}.r.weight.fits"
#: The settings of the tiles, as the program names them.
SETTINGS = {
    "CATALOG_TYPE": "FITS_LDAC",
    "DETECT_THRESH": "1.5",
    "ANALYSIS_THRESH": "1.5",
    "DETECT_MINAREA": "5",
    "DEBLEND_NTHRESH": "32",
    "DEBLEND_MINCONT": "0.0005",
    "CLEAN": "Y",
    "CLEAN_PARAM": "1.0",
    "MASK_TYPE": "CORRECT",
    "WEIGHT_TYPE": "MAP_WEIGHT",
    "RESCALE_WEIGHTS": "Y",
    "PHOT_APERTURES": "5",
    "PHOT_AUTOPARAMS": "2.5,3.5",
    "PHOT_FLUXFRAC": "0.5",
    "BACK_TYPE": "MANUAL",
    "BACK_VALUE": "0.0",
    "MAG_ZEROPOINT": "30",
    "MEMORY_OBJSTACK": "30000",
    "MEMORY_PIXSTACK": "3000000",
    "MEMORY_BUFSIZE": "1024",
    "CHECKIMAGE_TYPE": "SEGMENTATION",
    "NTHREADS": "1",
    "VERBOSE_TYPE": "QUIET",
}
COLUMNS = (
    "NUMBER FLUX_AUTO FLUXERR_AUTO MAG_AUTO MAGERR_AUTO FLUX_WIN FLUXERR_WIN MAG_WIN MAGERR_WIN FLUX_APER(1) "
    "FLUXERR_APER(1) FLUX_RADIUS SNR_WIN BACKGROUND THRESHOLD X_IMAGE Y_IMAGE X_WORLD Y_WORLD X2_IMAGE Y2_IMAGE "
    "XY_IMAGE ERRX2_IMAGE ERRY2_IMAGE ERRXY_IMAGE XWIN_IMAGE YWIN_IMAGE XWIN_WORLD YWIN_WORLD X2WIN_IMAGE Y2WIN_IMAGE "
    "XYWIN_IMAGE ERRX2WIN_IMAGE ERRY2WIN_IMAGE ERRXYWIN_IMAGE MU_THRESHOLD MU_MAX FLAGS FLAGS_WIN IMAFLAGS_ISO "
    "FWHM_IMAGE FWHM_WORLD ELONGATION ELLIPTICITY KRON_RADIUS"
)


def write_tile(folder, size, seed):
    """Write the tile, its weight plain and compressed, the program's flag image and settings."""
    data, weight = draw_tile((size, size), seed)
    cards = {"GAIN": 0.0, "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 231.3, "CRVAL2": 41.7}
    cards |= {"CRPIX1": size / 2, "CRPIX2": size / 2, "CD1_1": -SCALE / 3600, "CD2_2": SCALE / 3600}
    header = [{"name": name, "value": value, "comment": ""} for name, value in cards.items()]
    with fitsio.FITS(str(folder / f"CFIS.{TILE}.r.fits"), "rw", clobber=True) as file:
        file.write(data, header=header)
        file[0].write_history(" input image 2243881p.fits 4 extension(s)")
    fitsio.write(str(folder / WITH_PLAIN.replace("{tile}", str(TILE))), weight, clobber=True)
    with fitsio.FITS(str(folder / WITH_COMPRESSED.replace("{tile}", str(TILE))), "rw", clobber=True) as file:
        file.write(None)
        # Weights of a coadd are not one number: noise on them makes them as hard to compress.
        file.write(weight, compress="rice", qlevel=16)
    fitsio.write(str(folder / "flag.fits"), np.zeros((size, size), np.int16), clobber=True)
    (folder / "columns.param").write_text(COLUMNS.replace(" ", "\n") + "\n")
    (folder / "filter.conv").write_text("CONV NORM\n1 2 1\n2 4 2\n1 2 1\n")


def bright_stars(size, seed):
    """Return stars over the tile, for the masks."""
    rng = np.random.default_rng([seed, 1])
    side = size * SCALE / 3600
    stars = np.zeros(rng.poisson(STARS * side * side), STAR_DTYPE)
    stars["ra"] = 231.3 + rng.uniform(-0.5, 0.5, len(stars)) * side / np.cos(np.radians(41.7))
    stars["dec"] = 41.7 + rng.uniform(-0.5, 0.5, len(stars)) * side
    stars["mag"] = rng.uniform(10, 18, len(stars))
    return stars


def measure_tile(folder, weight_name, size, seed):
    """Do the unit of the tile as a rank of a run does it; what the benchmark starts as a process of its own."""
    params = InputParams(exposure_folder=folder, tile_folder=folder, tile_weight_name=weight_name)
    tile, run = TileParams(), Path(tempfile.mkdtemp(dir=folder))
    detector = NativeDetection(tile.detection)
    stars, recipe = StarTable(bright_stars(size, seed)), MaskRecipe(tile.mask)
    stage = TileStage(SurveyInputs(params), stars, recipe, tile, detector, 1000)
    watch = Stopwatch()
    product, n_row = stage.process({"tile": str(TILE), "ccds": []}, {}, watch)
    with watch("commit"):
        PartWriter(run, "0001", 0).commit("tile", product, n_row)
    masked = {name: value for name, value in product.attrs.items() if name.startswith("masked")}
    print(json.dumps({"n_object": n_row, "seconds": watch.seconds, **masked}))


def usage(command, folder):
    """Run a command; returns processor time [s], largest memory [GiB] and what it printed."""
    environment = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    ) as run:
        text = run.stdout.read().decode()
        _, status, used = os.wait4(run.pid, 0)
        run.returncode = os.waitstatus_to_exitcode(status)
    if run.returncode != 0:
        raise SystemExit(f"{command[0]} failed with the code {run.returncode}: {text[-2000:]}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 2**20, text


def program_command():
    """Return the command of the program with the settings of the tiles, in dual-image form as pipelines call it."""
    image, weight = f"CFIS.{TILE}.r.fits", WITH_PLAIN.replace("{tile}", str(TILE))
    names = {
        "CATALOG_NAME": "program.fits",
        "PARAMETERS_NAME": "columns.param",
        "FILTER_NAME": "filter.conv",
        "WEIGHT_IMAGE": weight,
        "FLAG_IMAGE": "flag.fits",
        "CHECKIMAGE_NAME": "segmentation.fits",
    }
    options = [text for name, value in (SETTINGS | names).items() for text in (f"-{name}", value)]
    return [PROGRAM, image, *options]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=10_000, help="side of the tile [pixel]")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=3, help="turns of each")
    parser.add_argument("--folder", type=Path, help="keep the files here, and use those that are there")
    parser.add_argument("--draw", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--measure", metavar="WEIGHT_NAME", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure_tile(options.folder, options.measure, options.size, options.seed)
        return
    if options.draw:
        write_tile(options.folder, options.size, options.seed)
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        ours = [sys.executable, str(Path(__file__).resolve()), "--folder", str(folder), "--size", str(options.size)]
        ours += ["--seed", str(options.seed)]
        if not (folder / "filter.conv").exists():
            # Elsewhere: what a process has had in memory counts for those that it starts.
            subprocess.run([*ours, "--draw"], check=True)
        commands = {
            "the unit of the tile, weight compressed": [*ours, "--measure", WITH_COMPRESSED],
            "the unit of the tile, weight plain": [*ours, "--measure", WITH_PLAIN],
            PROGRAM: program_command(),
        }
        turns = [{name: usage(command, folder) for name, command in commands.items()} for _ in range(options.repeat)]
        counts = {name: json.loads(text)["n_object"] for name, (_, _, text) in turns[0].items() if text}
        counts[PROGRAM] = len(fitsio.read(str(folder / "program.fits"), ext=2))
        print("| one tile | objects | processor time [s] | of the program's | largest memory [GiB] |")
        print("|---|---|---|---|---|")
        for name in commands:
            times = [turn[name][0] for turn in turns]
            ratio = np.median([turn[name][0] / turn[PROGRAM][0] for turn in turns])
            spread = f"{np.median(times):.1f} ({min(times):.1f} to {max(times):.1f})"
            memory = max(turn[name][1] for turn in turns)
            print(f"| {name} | {counts[name]} | {spread} | {ratio:.2f} | {memory:.2f} |")
        print(turns[0]["the unit of the tile, weight compressed"][2])


if __name__ == "__main__":
    main()
