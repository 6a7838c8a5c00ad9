"""Do the two detection engines agree on the same pixels?  See docs/accuracy.md.

    python tests/bench/detection_agreement.py [--emmi galaxies.fits]

A simulated exposure's CCDs, its tile, and a real image (256 x 256 pixels of it are in tests/data; the whole is
`tests/galaxies.fits` of github.com/astromatic/sextractor). Differences are native minus source-extractor, as median
and, in brackets, 68th percentile of the absolute value; FWHM, moments and errors as ratios minus 1.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import fitsio
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from engines.agreement import Agreement, difference, distance, ratio, s2n_above
from measure.sky import wcs

from shapempi.io.exposure import ExposurePaths, is_active, read_ccd, read_headers
from shapempi.io.tile import read_tile
from shapempi.measure.background import BackgroundParams, estimate_background
from shapempi.measure.pixel_source import ArraySource, Frame
from shapempi.sim.params import SimulationParams
from shapempi.sim.simulate import simulate_survey

EMMI = Path(__file__).parents[1] / "data" / "emmi" / "image.fits"
HEAD = (
    *("MAG_AUTO", "objects", "matched", "FLAGS equal", "MAG_AUTO [mmag]", "FWHM_IMAGE [%]", "X_IMAGE [mpx]"),
    *("XWIN_IMAGE [mpx]", "95 %", "X2WIN + Y2WIN [%]", "ERRX2WIN [%]", "SNR_WIN [%]", "FLUX_RADIUS [%]"),
)


def simulation(tile_size):
    """Return a survey whose CCDs are a quarter of MegaCam's, with what makes detection hard."""
    camera = {"ccd_width": 1024, "ccd_height": 1400, "overscan_x": 16, "overscan_y": 10, "gap_x": 30.0, "gap_y": 30.0}
    return SimulationParams.model_validate(
        {
            "seed": 20,
            "noise_seed": 21,
            "tile_size": tile_size,
            "camera": camera | {"gap_y_outer": 60.0, "distortion": -0.05},
            "pointing": {"n_exposure": 3, "dither_radius": 30.0},
            "psf": {"field_radius": 0.2},
        }
    )


def of_ccds(files, number):
    """Compare on all CCDs of an exposure."""
    paths = ExposurePaths(*files.exposure(number))
    active = [ccd for ccd, (_, header) in enumerate(read_headers(paths.image)) if is_active(header)]
    total = None
    for ccd in active:
        image = read_ccd(paths, ccd)
        found = of_image(image.data, image.weight, image.flag, image)
        total = found if total is None else total + found
    return total


def of_image(data, weight, flag, image):
    """Compare on an image that has a background."""
    mesh = estimate_background(data, ~(weight > 0), BackgroundParams())
    source = ArraySource(data - mesh.evaluate(0, data.shape[0], 0, data.shape[1]), weight, flag)
    return Agreement.of(source, Frame(image.wcs, image.gain, image.saturate, image.mag_zp), background=mesh)


def of_emmi(path):
    """Compare on the real image, which has neither weights nor a WCS."""
    data = fitsio.read(path).astype(np.float32)
    mesh = estimate_background(data, np.zeros(data.shape, bool), BackgroundParams())
    source = ArraySource(
        data - mesh.evaluate(0, data.shape[0], 0, data.shape[1]),
        np.full(data.shape, mesh.rms**-2, np.float32),
        np.zeros(data.shape, np.int32),
    )
    return Agreement.of(source, Frame(wcs(data.shape), 2.1, 50000.0, 30.0), background=mesh)


def cell(values, unit=1.0, digits=1):
    """Write median and 68th percentile."""
    if not len(values):
        return "-"
    return f"{np.median(values) * unit:+.{digits}f} ({np.percentile(np.abs(values), 68) * unit:.{digits}f})"


def table(agreement, step=1.0):
    """Return the lines of the table of one image by magnitude."""
    yield "| " + " | ".join(HEAD) + " |"
    yield "|" + "---|" * len(HEAD)
    magnitude = agreement.program["MAG_AUTO"]
    edges = np.arange(np.floor(np.nanmin(magnitude)), np.nanmax(magnitude) + step, step)
    for low in edges:
        inside = (magnitude >= low) & (magnitude < low + step)
        if inside.sum() < 10:
            continue
        n_matched = np.isin(np.flatnonzero(inside), agreement.rows[:, 1]).sum()
        ours, theirs = agreement.pairs(
            lambda table, low=low: (table["MAG_AUTO"] >= low) & (table["MAG_AUTO"] < low + step)
        )
        if not len(ours):
            continue
        size = [found["X2WIN_IMAGE"] + found["Y2WIN_IMAGE"] for found in (ours, theirs)]
        cells = (
            f"{low:g} to {low + step:g}",
            str(inside.sum()),
            f"{n_matched / inside.sum():.1%}",
            f"{np.mean(ours['FLAGS'] == theirs['FLAGS']):.1%}",
            cell(difference(ours, theirs, "MAG_AUTO"), 1e3),
            cell(ratio(ours, theirs, "FWHM_IMAGE"), 100, 2),
            f"{np.percentile(distance(ours, theirs, ''), 68) * 1e3:.1f}",
            f"{np.percentile(distance(ours, theirs, 'WIN'), 68) * 1e3:.1f}",
            f"{np.percentile(distance(ours, theirs, 'WIN'), 95) * 1e3:.1f}",
            cell(size[0] / size[1] - 1, 100, 2),
            cell(ratio(ours, theirs, "ERRX2WIN_IMAGE"), 100, 2),
            cell(ratio(ours, theirs, "SNR_WIN"), 100, 2),
            cell(ratio(ours, theirs, "FLUX_RADIUS"), 100, 2),
        )
        yield "| " + " | ".join(cells) + " |"


def summary(agreement):
    """Return what the requirements are about."""
    program, native = agreement.matched(10)
    yield (
        f"S/N > 10: {program:.2%} of source-extractor's objects matched, {native:.2%} of the native engine's; "
        f"{len(agreement.program)} and {len(agreement.native)} objects in all, "
        f"{np.mean(~agreement.whole):.1%} with an unusable pixel in or beside them."
    )
    for blended in (False, True):
        ours, theirs = agreement.pairs(s2n_above(50), blended=blended)
        who = "all" if blended else "not blended"
        for kind in ("", "WIN"):
            off = distance(ours, theirs, kind)
            percentiles = ", ".join(f"{value:.4f}" for value in np.percentile(off, [50, 68, 95]))
            yield (
                f"S/N > 50, {who} ({len(off)}): X{kind}_IMAGE within 0.03 pixel {np.mean(off < 0.03):.1%}; "
                f"median, 68 %, 95 %: {percentiles} pixel"
            )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--emmi", type=Path, default=EMMI, help="the real image, or a part of it")
    parser.add_argument("--tile-size", type=int, default=2600, help="side of the simulated tile [pixel]")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        params = simulation(options.tile_size)
        files = simulate_survey(params, Path(folder))
        tile, _ = read_tile(*files.tile(params.tile_ids[0]))
        source = ArraySource(tile.data, tile.weight, tile.flag)
        frame = Frame(tile.wcs, tile.gain, tile.saturate, tile.mag_zp)
        cases = {
            "Simulated CCDs of one exposure": of_ccds(files, params.pointing.first_exposure),
            "Simulated tile": Agreement.of(source, frame, deblend_contrast=0.0005),
            f"Real image, {options.emmi.name}": of_emmi(options.emmi),
        }
    for name, agreement in cases.items():
        print(f"\n### {name}\n")
        print("\n".join(summary(agreement)), end="\n\n")
        print("\n".join(table(agreement)))


if __name__ == "__main__":
    main()
