"""What neighbours do to the mean shear, by what is done about them.  See docs/accuracy.md.

    python tests/bench/neighbours.py random --fields 20
    python tests/bench/neighbours.py pairs --fields 20

A field is a tile of cells: three exposures at the depth of CFIS and their coadd.  All galaxies of a cell are sheared,
places and shapes, around the one in its middle by +0.02 and by -0.02 in both components, with the same noise.
`random`: as many others around it as there are on the sky; `pairs`: one companion at a fixed separation.  The galaxies
in the middle are measured on the same pixels with every option, with the segments of what is detected on the coadd and
with true ones (a pixel is that of the galaxy with the most light in it), and alone, on the same noise.

m is along the shear; "change" is m minus that of the same galaxies alone, "from mask" minus that of plain masking;
errors are a jackknife over pairs of cells that differ by 90 degrees.  Galaxies that are found and measured under both
shears count, "on their own" those of each sign.  The noise is sigma_e over the root of the measured fraction.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

sys.path.insert(0, str(Path(__file__).parents[1]))

from measure import crowd

from shapempi.catalog import SHEAR_TYPES
from shapempi.flags import NO_RESULT
from shapempi.measure.epochs import select_objects
from shapempi.measure.neighbours import NEIGHBOURS
from shapempi.measure.response import ResponseSum, jackknife_error
from shapempi.measure.shape_params import ShapeParams
from shapempi.measure.shapes import measure_shapes
from shapempi.measure.vignets import VignetParams, cut_stacks

SHEAR = 0.02
SIGNS = (1, -1)
SEPARATIONS, RATIOS = (1.5, 2.0, 3.0, 4.0), (0.3, 1.0, 3.0)

#: Magnitudes of the galaxies in the middle, and the faintest with true segments.
MAG = {"random": (20.0, 24.0), "pairs": (20.5, 22.5)}
FAINTEST = 24.5

#: Random ones fainter than this are part of the sky but are not counted: S/N below about 15.
COUNTED = 23.5

#: How far from the true place a detection may be [arcsec].
MATCH_RADIUS = 1.0

#: Groups of cells of a field that the jackknife leaves out together.
GROUPS = 8

MEASURED = [f"{name}_{kind}" for kind in SHEAR_TYPES for name in ("g1", "g2")]
ROW_DTYPE = np.dtype([(name, "f8") for name in MEASURED] + [("good", "?")])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=("random", "pairs"))
    parser.add_argument("--fields", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    fields = []
    for seed in range(options.seed, options.seed + options.fields):
        fields.append(field(options.kind, seed))
        print(f"field {seed}: {len(fields[-1][0])} galaxies", file=sys.stderr, flush=True)
    middles = np.concatenate([middle for middle, _ in fields])
    groups = np.concatenate([1000 * i + (middle["cell"] // 2) % GROUPS for i, (middle, _) in enumerate(fields)])
    rows = {key: np.concatenate([measured[key] for _, measured in fields]) for key in fields[0][1]}
    if options.kind == "random":
        report("random", middles["mag"] < COUNTED, groups, rows)
    else:
        for separation in SEPARATIONS:
            report(f"{separation}", middles["separation"] == separation, groups, rows)


def field(kind, seed):
    """The galaxies in the middle of a field's cells, and their rows by (segments, option, sign)."""
    params = crowd.survey(seed)
    if kind == "random":
        cells = crowd.random_cells(params, MAG[kind])
    else:
        cells = crowd.pair_cells(params, SEPARATIONS, RATIOS, MAG[kind])
    middle = np.flatnonzero(cells["main"])
    measured = {}
    for sign in SIGNS:
        scene = crowd.sheared_scene(params, cells, (sign * SHEAR, sign * SHEAR))
        sky, alone = crowd.observe(params, scene), crowd.observe(params, scene[middle])
        place = sky.wcs.sky_to_pixel(scene["ra"][middle], scene["dec"][middle])
        cases = [("alone", alone, alone.alone(), ("none",))]
        cases += [("found", sky, sky.detected(), NEIGHBOURS), ("true", sky, sky.true(FAINTEST), NEIGHBOURS)]
        for segments, image, objects, options in cases:
            for option in options:
                measured[segments, option, sign] = measure(image, objects, place, option, seed)
    return cells[middle], measured


def measure(sky, objects, place, option, seed):
    """Measure the objects at some places of the tile."""
    number, segmentation, epochs = objects[:3]
    tree = cKDTree(np.stack([segmentation.x, segmentation.y], axis=-1))
    distance, near = tree.query(np.stack(place, axis=-1))
    seen = np.flatnonzero(distance < MATCH_RADIUS / sky.params.tile_pixel_scale)
    chosen = near[seen]
    mine = replace(segmentation, x=segmentation.x[chosen], y=segmentation.y[chosen])
    stacks = cut_stacks(
        number[chosen],
        select_objects(epochs, chosen),
        sky.sections,
        VignetParams(neighbours=option),
        place=seen,  # the noise that metacalibration adds is the same with all options
        segmentation=mine,
    ).stacks
    table = measure_shapes(stacks, ShapeParams(), seed=(seed, 0, 0))
    rows = np.zeros(len(distance), ROW_DTYPE)
    for name in MEASURED:
        rows[name][seen] = table[name]
    rows["good"][seen] = (table["flags"] & int(NO_RESULT)) == 0
    return rows


def report(title, counted, groups, rows):
    """Print the table of some galaxies."""
    print(f"\n{title}: {counted.sum()} galaxies\n")
    columns = ("segments", "option", "m [1e-3]", "change [1e-3]", "from mask [1e-3]", "on their own [1e-3]")
    columns += ("c1 [1e-4]", "c2 [1e-4]", "measured", "sigma_e", "noise")
    print("| " + " | ".join(columns) + " |\n|" + "---|" * len(columns))
    biases = {}
    for segments, option in dict.fromkeys(key[:2] for key in rows):
        pair = [rows[segments, option, sign] for sign in SIGNS]
        both = counted & pair[0]["good"] & pair[1]["good"]
        found = bias([(each, both) for each in pair], groups)
        found["own"] = bias([(each, counted & each["good"]) for each in pair], groups)["m"]
        found["measured"] = both.sum() / counted.sum()
        biases[segments, option] = found
    for (segments, option), found in biases.items():
        cells = [segments, option, text(*found["m"], 1e3)]
        for other in (("alone", "none"), (segments, "mask")):
            known = other in biases and other != (segments, option)
            cells.append(text(*difference(found["m"], biases[other]["m"]), 1e3) if known else "")
        cells += [text(*found["own"], 1e3), text(*found["c1"], 1e4), text(*found["c2"], 1e4)]
        noise = found["sigma"] / np.sqrt(found["measured"])
        cells += [f"{found['measured']:.3f}", f"{found['sigma']:.4f}", f"{noise:.4f}"]
        print("| " + " | ".join(cells) + " |")


def difference(one, other):
    """The difference of two numbers, each with the values without each group."""
    return one[0] - other[0], one[1] - other[1]


def bias(samples, groups):
    """m and c, each with the values without each group, and sigma_e of the galaxies (rows, which) of both signs."""
    sums = []
    for rows, used in samples:
        total = ResponseSum()
        for group in np.unique(groups):
            total.add(rows[used & (groups == group)], patch=f"{group:08d}")
        sums.append(total)
    found = {}
    plus, minus = (np.concatenate([total.shear().g[None], total.leave_one_out()]) for total in sums)
    along, mean = (plus - minus).mean(axis=1) / (2 * SHEAR) - 1, (plus + minus) / 2
    for name, values in (("m", along), ("c1", mean[:, 0]), ("c2", mean[:, 1])):
        found[name] = values[0], values[1:]
    scatter = [np.std([rows[f"g{i}_noshear"][used] for i in (1, 2)]) for rows, used in samples]
    found["sigma"] = np.mean(scatter) / np.mean([np.trace(total.R()) / 2 for total in sums])
    return found


def text(value, left_out, unit):
    """A number with its jackknife error."""
    return f"{value * unit:+.1f} +- {jackknife_error(left_out) * unit:.1f}"


if __name__ == "__main__":
    main()
