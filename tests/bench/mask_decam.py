"""Are halo, spikes and bleed trail of a bright star covered?  See docs/masks.md.

    python tests/bench/mask_decam.py FOLDER [--figure FILE]

FOLDER is the case `testcase6` of github.com/legacysurvey/legacypipe, py/test: six DECam exposures around a star of
G = 10.52, with weights and data quality.  For each: the masked part of the pixels 5 sigma above the sky around the
star, and what the pixels left look like.
"""

import argparse
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt

from shapempi.io.exposure import ExposurePaths, KeywordParams, read_image
from shapempi.masking import read_recipe
from shapempi.measure.mask import MaskParams, bright_stars, make_mask

STAR = [np.array([value]) for value in (110.312366, 23.920000, 10.52)]
LAW = {f"{kind}_{key}": v for kind in ("halo", "spike") for key, v in (("mag_pivot", 10.5), ("scale_factor", 0.2))}
SETTINGS = {
    "none": MaskParams(border_width=0, halo_make=False, spike_make=False),
    "decam": MaskParams(border_width=0, halo_template="decam", spike_template="decam", template_scale=0.262, **LAW),
    "megacam": MaskParams(border_width=0, template_scale=0.187),
}
#: Around the star, the sky's level is taken beyond this distance [pixel].
FAR = 50.0
COLOURS = {"halo": (2, "tab:red"), "spikes": (128, "gold"), "observatory's flags": (7, "deepskyblue")}


def judge(image, plane):
    """Return the pixels' distance from the sky [sigma], and the numbers of one mask."""
    x, y = image.wcs.sky_to_pixel(*STAR[:2])
    rows, columns = np.indices(plane.shape)
    far = np.hypot(columns - x, rows - y) > FAR
    sigma = 1 / np.sqrt(np.median(image.weight[image.weight > 0]))
    good = plane == 0
    above = (image.data - np.median(image.data[far & (image.flag == 0)])) / sigma
    bright, left = above > 5, above[good]
    numbers = [f"{np.mean(~good[bright]):.2%}", str(np.count_nonzero(bright & good))]
    if len(left):
        numbers += [
            f"{np.mean(left > 3):.2%}",
            f"{np.median(left):.2f}",
            f"{np.percentile(left, 84) - np.median(left):.2f}",
        ]
    else:
        numbers += ["-"] * 3
    return above, numbers


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    mpl.use("Agg")
    recipes = {name: read_recipe(params).recipe for name, params in SETTINGS.items()}
    figure, axes = plt.subplots(2, 3, figsize=(9, 6.4), layout="constrained")
    paths = sorted(options.folder.rglob("*_ooi_*.fits"))
    print("| exposure | template | masked | bright pixels masked | left | left > 3 sigma | median | sigma |")
    print("|---|---|---|---|---|---|---|---|")
    for path, axis in zip((path for path in paths if "images" in path.parts), axes.flat, strict=True):
        files = ExposurePaths(
            *(path.with_name(path.name.replace("_ooi_", role)) for role in ("_ooi_", "_oow_", "_ood_"))
        )
        image = read_image(files, keywords=KeywordParams(default_zero_point=25.0))
        name = path.name[4:17] + ", " + path.name.split("_ooi_")[1][0]
        for template, recipe in recipes.items():
            stars = bright_stars(*STAR, image.wcs, image.full_shape, recipe)
            mask = make_mask(image, stars, recipe)
            above, numbers = judge(image, mask.plane)
            print(f"| {name} | {template} | {mask.fractions['ANY']:.1%} | " + " | ".join(numbers) + " |")
            if template == "decam":
                axis.imshow(above, origin="lower", cmap="gray", vmin=-2, vmax=20)
                for bits, colour in COLOURS.values():
                    inside = image.flag != 0 if bits == 7 else mask.plane & bits != 0
                    axis.contour(inside, [0.5], colors=colour, linewidths=1)
                axis.set(title=name, xticks=[], yticks=[])
    handles = [plt.Line2D([], [], color=colour, label=label) for label, (_, colour) in COLOURS.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    if options.figure:
        figure.savefig(options.figure, dpi=64)


if __name__ == "__main__":
    main()
