"""Why do stars of a simulated survey differ in size from the PSF model?  See docs/accuracy.md.

    shapempi simulate configs/demo.toml && python tests/bench/star_sizes.py configs/demo.toml

Every star that the chain selects is taken apart with the simulator's truth.  Each column is the mean of
(T - T_true)/T_true in 1e-3, T by adaptive moments: the PSF model; the star's own light under its mask; the same with
noise; with the light of neighbours; and with the error of the background, which is what the chain measures.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import galsim
import numpy as np

from shapempi.config import load
from shapempi.engines.psf import make_engine
from shapempi.ids import CcdId
from shapempi.io.starcat import read_star_catalogue
from shapempi.kernels import _vignet
from shapempi.measure.background import estimate_background
from shapempi.measure.detect import detect
from shapempi.measure.mask import MaskRecipe, bright_stars, make_mask
from shapempi.measure.moments import adaptive_moments
from shapempi.measure.pixel_source import ArraySource, Frame
from shapempi.measure.psf.validate import validate
from shapempi.measure.stars import select_stars
from shapempi.sim.draw import draw_ccd
from shapempi.sim.plan import plan_survey
from shapempi.sim.scene import make_scene
from shapempi.stages.star_sample import cut_stars
from shapempi.survey.inputs import find_inputs

BINS = (18.0, 19.0, 20.0, 20.5, 21.0, 21.5, 22.0)
COLUMNS = ("model", "own light", "+ noise", "+ neighbours", "+ background")


def take_apart(settings, inputs, exposure, ccd, scene, sky):
    """Return mag and (T - T_true)/T_true of each column for the stars of one CCD."""
    image = inputs.read_ccd(CcdId(exposure.number, ccd.id.ccd))
    params, ny, nx = settings.exposure, *image.data.shape
    recipe = MaskRecipe(params.mask)
    bright = bright_stars(sky["ra"], sky["dec"], sky["mag"], image.wcs, image.full_shape, recipe)
    mask = make_mask(image, bright, recipe)
    mesh = estimate_background(image.data, ~(image.weight > 0), params.background)
    background = mesh.evaluate(0, ny, 0, nx)
    data = image.data - background
    frame = Frame(image.wcs, image.gain, image.saturate, image.mag_zp)
    found = detect(ArraySource(data, image.weight, mask.plane), frame, params.detection, background=mesh)
    rng = np.random.default_rng([settings.survey.seed, exposure.number, ccd.id.ccd])
    selection = select_stars(found.table, image.wcs.pixel_scale(nx / 2, ny / 2), settings.stars, rng)
    chosen = replace(found, table=found.table[selection.selected])
    sample = cut_stars(data, image, mask.plane, chosen, settings.psf.size)
    model = make_engine(settings.psf).fit(sample[selection.train[selection.selected]]).model
    light = draw_ccd(scene, exposure, ccd, settings.simulation)
    size = settings.psf.size
    (lights, wrong), *_ = _vignet.cut([light, background.astype(float)], sample.x, sample.y, size, fill=(0, 0))
    jacobian = image.wcs.jacobian(sample.x, sample.y)
    own, near = draw_stars(exposure, scene, image.wcs, sample, jacobian, size, settings.simulation.stars.halo_fraction)
    seen = sample.weights > 0
    noise = sample.vignets + wrong - lights  # and what the sky subtraction left, of which the mean is 0
    stamps = (own, own * seen, (own + noise) * seen, (lights + noise) * seen, sample.vignets * seen)
    T = [adaptive_moments(stamp)["sigma"] ** 2 for stamp in stamps]
    compared = validate(model, sample, jacobian)
    rest = np.stack([compared["SIGMA_PSF_HSM"] ** 2, *T[1:]], axis=-1) / T[0][:, None] - 1
    return found.table["MAG_AUTO"][selection.selected][near >= 0], rest[near >= 0]


def draw_stars(exposure, scene, wcs, sample, jacobian, size, halo):
    """Return the true light of each star alone, and its row in the scene (-1 for none)."""
    stars = np.flatnonzero(scene["type"] == 1)
    x, y = wcs.sky_to_pixel(scene["ra"][stars], scene["dec"][stars])
    own, near = np.zeros((len(sample.x), size, size)), np.full(len(sample.x), -1)
    for i in range(len(own)):
        distance = np.hypot(x - sample.x[i], y - sample.y[i])
        k = int(np.argmin(distance))
        if distance[k] > 1.5:
            continue
        row = scene[stars[k]]
        fwhm, g1, g2 = (float(v[0]) for v in exposure.psf.evaluate(row["ra"][None], row["dec"][None]))
        profile = galsim.Moffat(exposure.psf.beta, fwhm=fwhm).shear(g1=g1, g2=g2)
        profile = profile.withFlux((1 - halo) * 10 ** (-0.4 * (row["mag"] - exposure.mag_zp)))
        offset = (x[k] - np.rint(sample.x[i]), y[k] - np.rint(sample.y[i]))
        image = galsim.ImageD(size, size)
        own[i] = profile.drawImage(image=image, wcs=galsim.JacobianWCS(*jacobian[i]), offset=offset).array
        near[i] = stars[k]
    return own, near


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path, help="configuration of a survey that was simulated")
    parser.add_argument("--plain-background", action="store_true", help="do not leave out objects")
    options = parser.parse_args()
    settings = load(options.config)
    if options.plain_background:
        plain = settings.exposure.background.model_copy(update={"object_clip": 0.0})
        exposure = settings.exposure.model_copy(update={"background": plain})
        settings = settings.model_copy(update={"exposure": exposure})
    inputs, plan = find_inputs(settings.input), plan_survey(settings.simulation)
    scene, sky = make_scene(plan, settings.simulation), read_star_catalogue(settings.input.star_catalogue)
    parts = [
        take_apart(settings, inputs, exposure, ccd, scene, sky)
        for exposure in plan.exposures
        for ccd in exposure.active_ccds
    ]
    mag, rest = (np.concatenate(values) for values in zip(*parts, strict=True))
    good = np.isfinite(rest).all(axis=1) & (np.abs(rest) < 1).all(axis=1)
    print("    mag        n" + "".join(f"{name:>16s}" for name in COLUMNS))
    for low, high in zip((*BINS[:-1], BINS[0]), (*BINS[1:], BINS[-1]), strict=True):
        here = good & (mag > low) & (mag < high)
        if here.sum() > 2:
            mean, error = rest[here].mean(axis=0) * 1e3, rest[here].std(axis=0) / np.sqrt(here.sum()) * 1e3
            cells = "".join(f"{m:+9.1f} +- {e:3.1f}" for m, e in zip(mean, error, strict=True))
            print(f"{low:5.1f}-{high:4.1f} {here.sum():5d}{cells}")


if __name__ == "__main__":
    main()
