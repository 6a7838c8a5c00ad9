"""Compare images, fits, responses and target sizes with a file that ngmix made of the same stamps.

Run from the root of the repository: python tests/bench/bench_reference.py FILE.  The small files that can be compared
are tests/data/metacal_ngmix.h5 and metacal_reference.h5; docs/accuracy.md has the result of the whole file.
"""

import argparse
import sys
from pathlib import Path

import h5py
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from measure.reference import (
    STEP,
    TARGETS,
    compare_fits,
    compare_images,
    difference_of_period,
    has_fits,
    make_fits,
    make_images,
    stamps_of,
)

from shapempi.measure.metacal import find_targets

#: Differences of images, relative to the peak, above which an image is listed.
LISTED = 1e-3


def row(name, values):
    """Return a row of the table."""
    values = np.abs(np.asarray(values))
    if values.size == 0:
        return f"| {name} | 0 | | | |"
    numbers = " | ".join(f"{value:.1e}" for value in (np.median(values), np.percentile(values, 90), values.max()))
    return f"| {name} | {values.size} | {numbers} |"


def explained(file, image):
    """Return a row that says why an image differs: where deconvolution ends, and what a longer period changes."""
    group = file[image.name]
    stamps, sigma = stamps_of(group), group[image.target]["target_sigma"][:]
    rows = slice(image.epoch, image.epoch + 1)
    _, max_k = find_targets(stamps.psf[rows], stamps.jacobian[rows], sigma[rows], STEP)
    peak = group[image.target][image.kind][image.epoch].max()
    longer = difference_of_period(stamps, sigma, 512, image.kind, image.epoch) / peak
    end = np.exp(-0.5 * (sigma[image.epoch] * max_k[0]) ** 2)
    noise = np.sqrt(2.0) * group.attrs["sigma_noise"] / peak
    return (
        f"| {image.name} {image.target} {image.epoch} {image.kind} | {image.difference:.1e} | {longer:.1e} | "
        f"{group.attrs['snr']:.0f} | {noise:.2f} | {end:.1e} | {sigma[image.epoch]:.3f} |"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, metavar="FILE")
    options = parser.parse_args()
    images, fits, responses, sizes = [], [], [], {target: [] for target in TARGETS}
    with h5py.File(options.file) as file:
        for group in file.values():
            stamps = stamps_of(group)
            for target in TARGETS:
                made = make_images(group, target)
                images += compare_images(group, target, made)
                sigma, _ = find_targets(stamps.psf, stamps.jacobian, target, STEP)
                sizes[target] += (sigma / group[target]["target_sigma"][:] - 1.0).tolist()
                if has_fits(group, target):
                    of_types, of_response = compare_fits(group, target, make_fits(group, target, made))
                    fits += of_types
                    responses.append(of_response)
        print("| difference from ngmix 2.4.2 | number | median | 90 % | worst |\n|---|---|---|---|---|")
        print(row("images, noshear (of the peak)", [i.difference for i in images if i.kind == "noshear"]))
        print(row("images, sheared (of the peak)", [i.difference for i in images if i.kind != "noshear"]))
        print(row("fits (of the parameter's error)", [fit.difference for fit in fits]))
        print(row("errors (relative)", [fit.errors for fit in fits]))
        print(row("s2n (relative)", [fit.s2n for fit in fits]))
        print(row("R of a galaxy, all four elements", np.array(responses).ravel()))
        for target in TARGETS:
            print(row(f"target sigma, {target} (relative)", sizes[target]))
        if responses:
            print(f"\nR, rms of the differences: {np.sqrt(np.mean(np.square(responses))):.1e}")
            print(f"R11 + R22, mean of the differences: {np.mean([np.trace(r) for r in responses]) / 2:.1e}")
        listed = sorted((i for i in images if i.difference > LISTED), key=lambda i: -i.difference)
        if listed:
            print(f"\nimages above {LISTED:g} of the peak:\n")
            print("| image | difference | with a period of 512 | S/N | noise/peak | G(max k) | sigma |")
            print("|---|---|---|---|---|---|---|")
            for image in listed:
                print(explained(file, image))


if __name__ == "__main__":
    main()
