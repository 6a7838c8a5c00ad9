"""Stars and galaxies told apart: our classifiers beside source-extractor's, on the same simulated sky.

    shapempi simulate configs/classification.toml
    mpirun -n 3 shapempi run configs/classification.toml && shapempi gather classification/run
    python tests/bench/star_galaxy.py configs/classification.toml [FIGURE.png]

source-extractor and psfex work on the tile: psfex on the vignets of the tile's stars, source-extractor with its model.
"""

import sys
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
import numpy as np
from scipy.spatial import cKDTree

sys.path.insert(0, str(Path(__file__).parents[1]))

from engines.program_classes import area_under, source_extractor

from shapempi.config import load
from shapempi.io.catalog import read_table
from shapempi.io.truth import read_truth
from shapempi.sim.write import SurveyFiles
from shapempi.survey.inputs import find_inputs

BINS = (19.0, 20.0, 21.0, 22.0, 22.5, 23.0, 23.5, 24.0)
#: Contaminations by galaxies at which the part of stars is read.
CONTAMINATION = (0.01, 0.05)


def matched(truth, ra, dec, radius=0.6):
    """Return for each true object the row of the detection within a radius [arcsec], or -1."""
    scale = np.cos(np.radians(truth["dec"].mean()))
    tree = cKDTree(np.stack([ra * scale, dec], axis=1))
    distance, row = tree.query(np.stack([truth["ra"] * scale, truth["dec"]], axis=1))
    return np.where(distance * 3600 < radius, row, -1)


def found_at(star, galaxy, contamination):
    """Return the part of the stars below the value that so many of the galaxies are below."""
    return float(np.mean(star < np.quantile(galaxy, contamination)))


def judged(values, star, rng):
    """Return AUC and its bootstrap error, and the parts of stars at the contaminations."""
    a, b = values[star], values[~star]
    again = [area_under(rng.choice(a, len(a)), rng.choice(b, len(b))) for _ in range(100)]
    return area_under(a, b), float(np.std(again)), *(found_at(a, b, part) for part in CONTAMINATION)


def draw(path, curves):
    """Draw the ROC curves by magnitude."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, 3, figsize=(10, 6.4), sharex=True, sharey=True, constrained_layout=True)
    for axis, (limits, by_name, star) in zip(axes.flat, curves[-6:], strict=False):
        for (name, values), style in zip(by_name.items(), ("-", "-", "--", ":"), strict=False):
            edges = np.quantile(values[~star], np.linspace(0, 1, 401))
            axis.plot(np.linspace(0, 1, 401), [np.mean(values[star] < e) for e in edges], style, label=name, lw=1.5)
        axis.set(title=f"{limits[0]:g} to {limits[1]:g} mag", xscale="symlog", xlim=(0, 1), ylim=(0, 1.01))
        axis.set_xscale("log")
        axis.set_xlim(3e-3, 1)
    axes[0, 0].legend(fontsize=8, loc="lower right")
    for axis in axes[-1]:
        axis.set_xlabel("galaxies taken for stars")
    for axis in axes[:, 0]:
        axis.set_ylabel("stars found")
    figure.savefig(path, dpi=90)


def main():
    settings = load(Path(sys.argv[1]))
    inputs = find_inputs(settings.input)
    rows = read_table(settings.run.folder / "catalogue.h5")
    truth = read_truth(SurveyFiles(settings.input.exposure_folder.parent).truth)
    theirs = source_extractor(*inputs.tile_paths(inputs.tiles[0]))
    near, other = (
        matched(truth, *position)
        for position in (
            (rows["ra"], rows["dec"]),
            (theirs["XWIN_WORLD"], theirs["YWIN_WORLD"]),
        )
    )
    both = (near >= 0) & (other >= 0)
    truth, rows, theirs = truth[both], rows[near[both]], theirs[other[both]]
    clean = (rows["FLAGS"] == 0) & (rows["IMAFLAGS_ISO"] == 0) & (theirs["FLAGS"] == 0) & (rows["size_ratio_err"] > 0)
    clean &= (rows["SPREADERR_MODEL"] < 1) & (rows["n_epoch_used"] > 0)
    truth, rows, theirs = truth[clean], rows[clean], theirs[clean]
    kinds = {
        "size_ratio": rows["size_ratio"],
        "SPREAD_MODEL": rows["SPREAD_MODEL"],
        "source-extractor SPREAD_MODEL": theirs["SPREAD_MODEL"],
        "source-extractor CLASS_STAR": 1.0 - theirs["CLASS_STAR"],
    }
    rng, star, curves = np.random.default_rng(1), truth["is_star"], []
    print("| mag | stars, galaxies | classifier | AUC | stars at 1 % of the galaxies | at 5 % |")
    print("|---|---|---|---|---|---|")
    for low, high in pairwise(BINS):
        here = (truth["mag"] >= low) & (truth["mag"] < high)
        curves.append(((low, high), {name: values[here] for name, values in kinds.items()}, star[here]))
        for name, values in kinds.items():
            area, error, *parts = judged(values[here].astype(float), star[here], rng)
            numbers = f"{star[here].sum()}, {(~star[here]).sum()}"
            cells = (f"{low:g}-{high:g}", numbers, name, f"{area:.4f} +- {error:.4f}", *(f"{p:.3f}" for p in parts))
            print(f"| {' | '.join(cells)} |")
    for name, column in (("SPREAD_CLASS", "SPREAD_CLASS"), ("size_class", "size_class")):
        for low, high in ((19.0, 21.0), (21.0, 22.0), (22.0, 23.0), (23.0, 24.0)):
            here = (truth["mag"] >= low) & (truth["mag"] < high)
            shares = [
                " / ".join(f"{np.mean(rows[column][here & kind] == value):.3f}" for value in (0, 1, 2))
                for kind in (star, ~star)
            ]
            print(f"{name} {low:g}-{high:g}: stars as star/galaxy/other {shares[0]}; galaxies {shares[1]}")
    pull = (rows["T_noshear"] / rows["T_err_noshear"])[star & (truth["mag"] > 20) & (truth["mag"] < 23.5)]
    middle = np.percentile(pull, (15.87, 50, 84.13))
    print(f"T / its error of stars: median {middle[1]:+.2f}, half width {(middle[2] - middle[0]) / 2:.2f}")
    if len(sys.argv) > 2:
        draw(Path(sys.argv[2]), curves)


if __name__ == "__main__":
    main()
