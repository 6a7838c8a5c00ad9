"""How right are fitted PSF models where galaxies take them?  See docs/accuracy.md.

    python tests/bench/psf_truth.py --stars 100 --fits 16 --fwhm 3.2 4.5 --beta 3

Stars with a known Moffat PSF, quadratic over a CCD, at all sub-pixel phases; models drawn on the centres of pixels.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from measure.star_field import NX, NY, TruePsf, make_stars

from shapempi.measure.moments import adaptive_moments
from shapempi.measure.psf_fit import fit_psf
from shapempi.measure.psf_outcome import PsfAcceptance
from shapempi.measure.psf_params import NativePsfParams, PsfModelParams


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stars", type=int, default=100, help="stars of a CCD")
    parser.add_argument("--fits", type=int, default=8, help="CCDs")
    parser.add_argument("--fwhm", type=float, nargs="+", default=[3.2, 3.8, 4.5], help="[pixel]")
    parser.add_argument("--beta", type=float, default=3.5, help="Moffat's exponent")
    parser.add_argument("--s2n", type=float, nargs=2, default=(50, 1000), help="signal-to-noise ratios of the stars")
    parser.add_argument("--centre-error", type=float, default=0.02, help="of the given centres [pixel]")
    parser.add_argument("--sampling", type=float, default=1.0, help="step of the model's grid [pixel]")
    parser.add_argument("--noiseless", action="store_true")
    parser.add_argument("--dirt", action="store_true", help="add neighbours, blends, cosmic rays and a bad column")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    form = PsfModelParams(sampling=options.sampling, acceptance=PsfAcceptance(min_stars=min(20, options.stars - 6)))
    for fwhm in options.fwhm:
        measure(options, form, fwhm)


def measure(options, form, fwhm):
    """Print mean errors over CCDs of the mean over each CCD, their scatter over a CCD, and the time of a fit."""
    x, y = (c.ravel() for c in np.meshgrid(np.linspace(150, NX - 150, 4), np.linspace(300, NY - 300, 4)))
    mean, scatter, n_used, seconds = [], [], 0, 0.0
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
        start = time.perf_counter()
        fit = fit_psf(stars, form, NativePsfParams())
        seconds += time.perf_counter() - start
        true, drawn = adaptive_moments(psf.draw(x, y, 0 * x, 0 * x)), adaptive_moments(fit.model.draw(x, y, 51))
        dT = (drawn["sigma"] / true["sigma"]) ** 2 - 1
        de = [2 * (drawn[name] - true[name]) for name in ("g1", "g2")]
        mean.append([dT.mean(), de[0].mean(), de[1].mean()])
        scatter.append([dT.std(), np.std(de)])
        n_used += int(fit.used.sum())
    n = len(mean)
    values, errors = np.mean(mean, axis=0) * 1e3, np.std(mean, axis=0) / np.sqrt(max(n - 1, 1)) * 1e3
    print(
        f"FWHM {fwhm}: 1e3 x dT/T {values[0]:+.2f} +- {errors[0]:.2f}, de1 {values[1]:+.2f} +- {errors[1]:.2f}, "
        f"de2 {values[2]:+.2f} +- {errors[2]:.2f}; over a CCD rms dT/T {1e3 * np.mean(scatter, axis=0)[0]:.1f}, "
        f"de {1e3 * np.mean(scatter, axis=0)[1]:.1f}; {n_used / n:.1f} stars used, {seconds / n:.2f} s",
        flush=True,
    )


if __name__ == "__main__":
    main()
