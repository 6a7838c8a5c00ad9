"""Which engine describes real stars that it has not seen best?  See docs/accuracy.md.

    python tests/bench/psf_decam.py STARS.fits --splits 16 --engines native psfex piff

STARS.fits is a FITS_LDAC catalogue with vignets, such as the 117 DECam stars of Piff's test data
(DECam_00241238_01_psfcat_tb_maxmag_17.0_magcut_3.0_findstars.fits, github.com/rmjarvis/Piff).  Every engine gets the
same training stars of every split, and is judged by the same other stars: all of them, and those that are single.
"""

import argparse
import resource
from pathlib import Path

import numpy as np

from shapempi.engines.psf import ENGINES
from shapempi.engines.psf_params import PsfParams
from shapempi.io.ldac import read_ldac
from shapempi.measure.moments import adaptive_moments
from shapempi.measure.psf.outcome import PsfAcceptance
from shapempi.measure.psf.sample import NO_DATA, StarSample
from shapempi.measure.psf.validate import validate

SCALE = 0.263  # arcsec per pixel
SHAPE = (4096, 2048)
GAIN = 4.0  # electrons per ADU


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stars", type=Path, help="FITS_LDAC catalogue with vignets")
    parser.add_argument("--splits", type=int, default=16, help="random choices of the training stars")
    parser.add_argument("--train", type=float, default=0.8, help="part of the stars that the models are fitted to")
    parser.add_argument("--engines", nargs="+", default=sorted(ENGINES), choices=sorted(ENGINES))
    parser.add_argument("--size", type=int, default=51, help="of the stamps and the model [pixel]")
    parser.add_argument("--sampling", type=float, default=0.0, help="step of the models' grids [pixel], 0: chosen")
    parser.add_argument("--degree", type=int, default=2)
    parser.add_argument("--extent", type=float, default=25.0, help="of Piff's grid [pixel]")
    parser.add_argument("--pedestal", type=float, default=0.0, help="added to all pixels [ADU]")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    sample = read_stars(options.stars, options.size, options.pedestal)
    single = single_stars(sample)
    print(f"{len(sample)} stars, {single.sum()} of them single, {options.splits} splits; held-back stars:")
    titles = "mean dT/T      median  rms dT/T robust | chi2: median   mean | CPU s"
    print(f"{'engine':<15}   used  chi2 | rms dg  robust dg      {titles}")
    for name in options.engines:
        report(name, sample, single, options)


def read_stars(path, size, pedestal=0.0):
    """Read the stars; the background of each vignet is the median of its rim, the noise that of all rims."""
    _, table = read_ldac(path)
    vignets = table["VIGNET"].astype(float)
    rim = np.ones(vignets.shape[1:], dtype=bool)
    rim[6:-6, 6:-6] = False
    outside = np.where(vignets[:, rim] > NO_DATA, vignets[:, rim], np.nan)
    for _ in range(3):  # neighbours are not background
        middle = np.nanmedian(outside, axis=1)
        noise = 1.4826 * np.nanmedian(np.abs(outside - middle[:, None]))
        outside = np.where(np.abs(outside - middle[:, None]) < 3 * noise, outside, np.nan)
    bad = vignets <= NO_DATA
    vignets = np.where(bad, -1e30, vignets - middle[:, None, None] + pedestal)
    x, y = table["XWIN_IMAGE"] - 1.0, table["YWIN_IMAGE"] - 1.0
    # SExtractor centres its vignets on the rounded isophotal position.
    offset = np.stack([x + 1 - np.rint(table["X_IMAGE"]), y + 1 - np.rint(table["Y_IMAGE"])], axis=-1)
    cut = (vignets.shape[1] - size) // 2
    inside = (slice(None), slice(cut, cut + size), slice(cut, cut + size))
    flux, error = table["FLUX_APER"][:, 7].astype(float), table["FLUXERR_APER"][:, 7].astype(float)
    weights = np.where(bad, 0.0, noise**-2.0)
    return StarSample(vignets[inside], weights[inside], x, y, offset, flux, error, SHAPE, GAIN)


def single_stars(sample, clip=4.0, degree=2):
    """Say which stars have sizes and shapes that vary smoothly over the CCD: no model of a PSF has a say in it."""
    moments = adaptive_moments(sample.vignets, sample.usable())
    single = moments["flag"] == 0
    x, y = 2 * sample.x / SHAPE[1] - 1, 2 * sample.y / SHAPE[0] - 1
    terms = np.stack([x**p * y**q for q in range(degree + 1) for p in range(degree + 1 - q)], axis=-1)
    for _ in range(10):
        deviant = np.zeros(len(sample), dtype=bool)
        for values in (np.log(moments["sigma"]), moments["g1"], moments["g2"]):
            fit = np.linalg.lstsq(terms[single], values[single], rcond=None)[0]
            residual = np.abs(values - terms @ fit)
            deviant |= ~(residual < clip * robust(residual[single]))
        single = ~deviant
    return single


def report(name, sample, single, options):
    """Fit and judge one engine, and print its rows."""
    params = PsfParams(
        engine=name,
        size=options.size,
        sampling=options.sampling,
        degree=options.degree,
        acceptance=PsfAcceptance(max_chi2=100.0),
        piff={"extent": options.extent},
    )
    engine = ENGINES[name](params)
    tables, alone, used, fitted, seconds = [], [], [], [], []
    for split in range(options.splits):
        train = np.zeros(len(sample), dtype=bool)
        rng = np.random.default_rng([options.seed, split])
        train[rng.permutation(len(sample))[: round(options.train * len(sample))]] = True
        start = cpu_seconds()
        fit = engine.fit(sample[train])
        seconds.append(cpu_seconds() - start)
        if fit.model is None:
            print(f"{name}, split {split}: {fit.reason}")
            continue
        used.append(fit.used.sum())
        fitted.append(fit.model.chi2)
        test = sample[~train]
        tables.append(validate(fit.model, test, np.tile([SCALE, 0.0, 0.0, SCALE], (len(test), 1))))
        alone.append(single[~train])
    table, alone = np.concatenate(tables), np.concatenate(alone)
    before = f"{np.mean(used):6.1f} {np.mean(fitted):.3f} |"
    print(f"{name + ', all':<15} {before} {residuals(table, len(sample))} | {np.mean(seconds):5.2f}")
    print(f"{name + ', single':<15} {'':12} | {residuals(table[alone], single.sum())} |", flush=True)


def residuals(table, n_star):
    """Return the columns of one row; n_star stars come back in many splits and decide the error of the mean."""
    good = table[(table["FLAG_STAR_HSM"] == 0) & (table["FLAG_PSF_HSM"] == 0)]
    dg = np.concatenate([good["g1_star"] - good["g1_psf"], good["g2_star"] - good["g2_psf"]])
    dT = good["T_star"] / good["T_psf"] - 1.0
    error = dT.std() / np.sqrt(min(len(dT), n_star))
    return (
        f"{rms(dg):.5f} {robust(dg):9.5f}  {dT.mean():+.5f} +- {error:.5f} {np.median(dT):+.5f} {rms(dT):9.5f}"
        f" {robust(dT):.5f} | {np.nanmedian(table['chi2']):12.4f} {np.nanmean(table['chi2']):7.4f}"
    )


def cpu_seconds():
    """Return the CPU time of this process and of the programs that it has run."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def rms(values):
    return float(np.sqrt(np.mean(values**2)))


def robust(values):
    return float(1.4826 * np.median(np.abs(values)))


if __name__ == "__main__":
    main()
