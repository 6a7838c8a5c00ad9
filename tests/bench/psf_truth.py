"""How right are fitted PSF models where galaxies take them?  See docs/accuracy.md.

    python tests/bench/psf_truth.py --stars 100 --fits 40 --fwhm 1.5 3 6 --dirt --galaxies 0.1

Stars with a known Moffat PSF, quadratic over a CCD, at all sub-pixel phases; models drawn on the centres of pixels and
at random offsets from them.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from measure.star_field import NX, NY, TruePsf, add_galaxies, draw_by_thirds, make_stars

from shapempi.measure.moments import adaptive_moments
from shapempi.measure.psf.fit import fit_psf
from shapempi.measure.psf.outcome import PsfAcceptance
from shapempi.measure.psf.params import NativePsfParams, PsfModelParams

#: Below this FWHM [pixel] the moments are taken on a finer grid.
FINE_BELOW = 2.5


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stars", type=int, default=100, help="stars of a CCD")
    parser.add_argument("--fits", type=int, default=8, help="CCDs")
    parser.add_argument("--fwhm", type=float, nargs="+", default=[3.2, 3.8, 4.5], help="[pixel]")
    parser.add_argument("--beta", type=float, default=3.5, help="Moffat's exponent")
    parser.add_argument("--s2n", type=float, nargs=2, default=(50, 1000), help="signal-to-noise ratios of the stars")
    parser.add_argument("--centre-error", type=float, default=0.02, help="of the given centres [pixel]")
    parser.add_argument("--sampling", type=float, default=0.0, help="step of the model's grid [pixel], 0: chosen")
    parser.add_argument("--degree", type=int, default=2, help="of the polynomial")
    parser.add_argument("--choose-degree", action="store_true", help="cross-validate the degrees up to it")
    parser.add_argument("--galaxies", type=float, default=0.0, help="part of the stars that are none")
    parser.add_argument("--noiseless", action="store_true")
    parser.add_argument("--dirt", action="store_true", help="add neighbours, blends, cosmic rays and a bad column")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    acceptance = PsfAcceptance(min_stars=min(20, options.stars - 6))
    form = PsfModelParams(sampling=options.sampling, degree=options.degree, acceptance=acceptance)
    for fwhm in options.fwhm:
        measure(options, form, fwhm)


def measure(options, form, fwhm):
    """Print mean errors over CCDs of the mean over each CCD, their scatter over a CCD, and the time of a fit."""
    x, y = (c.ravel() for c in np.meshgrid(np.linspace(150, NX - 150, 4), np.linspace(300, NY - 300, 4)))
    native = NativePsfParams(choose_degree=options.choose_degree)
    mean, scatter, n_used, n_bad, seconds, refused, degrees = [], [], 0, 0, 0.0, 0, []
    for seed in range(options.seed, options.seed + options.fits):
        psf = TruePsf(seed, fwhm, beta=options.beta)
        stars = make_stars(
            psf,
            seed,
            options.stars,
            snr=options.s2n,
            noise=not options.noiseless,
            dirt=options.dirt,
            centre_error=0.0 if options.noiseless else options.centre_error,
        )
        stars, galaxies = add_galaxies(psf, stars, seed, round(options.galaxies * options.stars))
        start = time.process_time()
        fit = fit_psf(stars, form, native)
        seconds += time.process_time() - start
        if fit.model is None:
            refused += 1
            continue
        row, spread = [], []
        for true, drawn in draw_both(psf, fit.model, x, y, seed, fwhm < FINE_BELOW):
            dT = (drawn["sigma"] / true["sigma"]) ** 2 - 1
            de = [2 * (drawn[name] - true[name]) for name in ("g1", "g2")]
            row += [dT.mean(), de[0].mean(), de[1].mean()]
            spread += [dT.std(), np.std(de)]
        mean.append(row)
        scatter.append(spread)
        n_used += int(fit.used[~galaxies].sum())
        n_bad += int(fit.used[galaxies].sum())
        degrees.append(fit.model.degree)
    n = len(mean)
    values, errors = np.mean(mean, axis=0) * 1e3, np.std(mean, axis=0) / np.sqrt(max(n - 1, 1)) * 1e3
    over = 1e3 * np.mean(scatter, axis=0)
    titles = ["centres of pixels", "random offsets"] if fwhm >= FINE_BELOW else ["thirds of pixels"]
    for k, title in enumerate(titles):
        v, e = values[3 * k : 3 * k + 3], errors[3 * k : 3 * k + 3]
        print(
            f"FWHM {fwhm}, {title}: 1e3 x dT/T {v[0]:+.2f} +- {e[0]:.2f}, de1 {v[1]:+.2f} +- {e[1]:.2f}, "
            f"de2 {v[2]:+.2f} +- {e[2]:.2f}; over a CCD rms dT/T {over[2 * k]:.1f}, de {over[2 * k + 1]:.1f}"
        )
    print(
        f"    {n} CCDs ({refused} refused), {n_used / n:.1f} stars and {n_bad / n:.2f} galaxies used, step "
        f"{fit.model.sampling:.2f}, mean degree {np.mean(degrees):.2f}, {seconds / options.fits:.2f} s of CPU",
        flush=True,
    )


def draw_both(psf, model, x, y, seed, fine):
    """Yield moments of the true PSF and of the model, sampled alike: where galaxies take it, and between.

    A PSF narrower than two pixels has no adaptive moments in one image of pixels; nine images that are moved by
    thirds of a pixel are put together.
    """
    if fine:
        true, drawn = draw_by_thirds(psf, model, x, y)
        yield adaptive_moments(true), adaptive_moments(drawn)
        return
    yield adaptive_moments(psf.draw(x, y, 0 * x, 0 * x)), adaptive_moments(model.draw(x, y, 51))
    dx, dy = np.random.default_rng([seed, 8]).uniform(-0.5, 0.5, (2, len(x)))
    yield adaptive_moments(psf.draw(x, y, dx, dy)), adaptive_moments(model.draw(x, y, 51, dx=dx, dy=dy))


if __name__ == "__main__":
    main()
