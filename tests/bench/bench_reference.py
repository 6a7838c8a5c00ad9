"""Compare images, fits, responses and target sizes with a file that ngmix made of the same stamps.

Run from the root of the repository: python tests/bench/bench_reference.py FILE.  The small files that can be compared
are tests/data/metacal_ngmix.h5 and metacal_reference.h5; docs/accuracy.md has the result of the whole file.  Where
ngmix is installed, --fresh N instead of FILE makes such a file, in memory, of N galaxies on three epochs each.
"""

import argparse
import sys
from dataclasses import replace
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

from shapempi.bench.stamps import simulate_stacks
from shapempi.catalog import SHEAR_TYPES
from shapempi.measure.metacal import find_targets
from shapempi.measure.ngmix_engine import NgmixEngine, load_ngmix
from shapempi.measure.observation import prepare
from shapempi.measure.shape_params import ShapeParams

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


def make_fresh(n_object):
    """Return a file in memory with simulated stamps and what the installed ngmix makes of them."""
    ngmix, engine = load_ngmix(), NgmixEngine()
    file = h5py.File("fresh.h5", "w", driver="core", backing_store=False)
    stacks = simulate_stacks(n_object, 3, np.random.default_rng(1))
    observations = prepare(stacks, ShapeParams(), (1, 2, 3))
    # The fits of the reference begin at the stamp's centre.
    observations = replace(observations, offset=np.zeros_like(observations.offset))
    for i in range(n_object):
        rows = range(int(observations.first[i]), int(observations.first[i + 1]))
        group = file.create_group(f"object_{i:03d}")
        for name in ("image", "noise", "psf", "jacobian"):
            group[name] = getattr(observations, name)[rows.start : rows.stop]
        # One weight for all epochs, as in the reference.
        group.attrs["sigma_noise"] = np.median(observations.weight[rows.start : rows.stop]) ** -0.5
        weight = np.full_like(observations.weight, group.attrs["sigma_noise"] ** -2)
        group.attrs["snr"] = np.sqrt(
            np.sum(observations.image[rows.start : rows.stop] ** 2 * weight[rows.start : rows.stop])
        )
        for target in TARGETS:
            params = ShapeParams(target_psf=target, tolerance=1e-12)
            epochs = ngmix.ObsList()
            for row in rows:
                epochs.append(engine._observation(replace(observations, weight=weight), row))
            options = {"psf": target, "step": STEP, "types": list(SHEAR_TYPES), "use_noise_image": True}
            images = ngmix.metacal.get_all_metacal(epochs, rng=np.random.default_rng(i), **options)
            results, sigma = engine.bootstrap(
                replace(observations, weight=weight), rows, 0.3, params, np.random.default_rng(i)
            )
            made = group.create_group(target)
            made["target_sigma"] = sigma
            for kind in SHEAR_TYPES:
                made[kind] = np.stack([epoch.image for epoch in images[kind]])
                made[f"fit_{kind}"] = results[kind]["pars"]
                made[f"fit_{kind}"].attrs["pars_err"] = results[kind]["pars_err"]
                made[f"fit_{kind}"].attrs["s2n"] = results[kind]["s2n"]
            profiles = [epoch.psf.galsim_obj for epoch in images["noshear"]]
            made["target_sigma"][:] = [(1.0 + 2.0 * STEP) * profile.original.sigma for profile in profiles]
    return file


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, metavar="FILE", nargs="?")
    parser.add_argument("--fresh", type=int, metavar="N")
    options = parser.parse_args()
    if (options.file is None) == (options.fresh is None):
        parser.error("give either FILE or --fresh N")
    images, fits, responses, sizes = [], [], [], {target: [] for target in TARGETS}
    with make_fresh(options.fresh) if options.fresh else h5py.File(options.file) as file:
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
        print("| difference from ngmix | number | median | 90 % | worst |\n|---|---|---|---|---|")
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
