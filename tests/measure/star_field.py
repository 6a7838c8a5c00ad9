"""Stars of a CCD with a known PSF: what the tests of the PSF fit are about."""

from dataclasses import replace

import galsim
import numpy as np

from shapempi.measure.psf.sample import StarSample

NX, NY = 2048, 4612
SKY, GAIN = 10.0, 3.0


class TruePsf:
    """A Moffat or Kolmogorov profile whose size and shape are quadratic in the position on the CCD."""

    def __init__(self, seed, fwhm=3.7, moffat=True, variation=1.0, beta=3.5):
        rng = np.random.default_rng([seed, 1])
        self.fwhm, self.moffat, self.beta = fwhm, moffat, beta
        self.size = np.r_[1.0, variation * rng.normal(0, 0.015, 5)]
        self.g1 = np.r_[rng.normal(0, 0.02), variation * rng.normal(0, 0.01, 5)]
        self.g2 = np.r_[rng.normal(0, 0.02), variation * rng.normal(0, 0.01, 5)]

    def at(self, x, y):
        u, v = x / (NX / 2) - 1, y / (NY / 2) - 1
        terms = np.array([1, u, u * u, v, u * v, v * v])
        fwhm = self.fwhm * (self.size @ terms)
        profile = galsim.Moffat(self.beta, fwhm=fwhm) if self.moffat else galsim.Kolmogorov(fwhm=fwhm)
        return profile.shear(g1=self.g1 @ terms, g2=self.g2 @ terms)

    def draw(self, x, y, dx, dy, size=51):
        pixel = galsim.Pixel(1.0)
        return np.array(
            [
                galsim.Convolve(self.at(a, b), pixel)
                .drawImage(nx=size, ny=size, scale=1.0, offset=(c, d), method="no_pixel", dtype=float)
                .array
                for a, b, c, d in zip(x, y, dx, dy, strict=True)
            ]
        )


def make_stars(psf, seed, n, *, snr=(50, 1000), noise=True, dirt=True, centre_error=0.02, size=51):
    """Draw stars; `dirt` adds neighbours, blends, cosmic rays and a bad column."""
    rng = np.random.default_rng([seed, 2])
    x, y = rng.uniform(20, NX - 20, n), rng.uniform(20, NY - 20, n)
    offset = np.stack([x - np.rint(x), y - np.rint(y)], axis=-1)
    images = psf.draw(x, y, *offset.T, size)
    s2n = np.exp(rng.uniform(*np.log(snr), n))
    half = 0.5 * s2n**2 / GAIN
    flux = half + np.sqrt(half**2 + s2n**2 * SKY**2 / (images**2).sum(axis=(1, 2)))
    vignets = images * flux[:, None, None]
    weights = np.full(vignets.shape, SKY**-2.0)
    if dirt:
        for i in range(n):
            for _ in range(rng.poisson(0.3)):
                radius, angle = rng.uniform(8, 28), rng.uniform(0, 2 * np.pi)
                place = offset[i] + radius * np.array([np.cos(angle), np.sin(angle)])
                vignets[i] += (
                    10 ** rng.uniform(2.3, 4.3) * psf.draw(x[i : i + 1], y[i : i + 1], *place[:, None], size)[0]
                )
        blend = 7 % n
        place = (offset[blend] + (2.5, -1.0))[:, None]
        vignets[blend] += 0.3 * flux[blend] * psf.draw(x[blend : blend + 1], y[blend : blend + 1], *place, size)[0]
        for i in rng.integers(0, n, max(n // 20, 1)):
            row, column = rng.integers(size // 2 - 6, size // 2 + 7, 2)
            vignets[i, row, column : column + 2] += rng.uniform(300, 3000)
        weights[3 % n, :, size // 2 + 5] = 0
        vignets[3 % n, :, size // 2 + 5] = -1e30
    if noise:
        variance = SKY**2 + np.clip(vignets, 0, None) / GAIN
        vignets = vignets + np.where(vignets > -1e29, rng.normal(size=vignets.shape) * np.sqrt(variance), 0.0)
    error = rng.normal(0, centre_error, (n, 2)) if centre_error else np.zeros((n, 2))
    return StarSample(
        vignets.astype(np.float32),
        weights.astype(np.float32),
        x + error[:, 0],
        y + error[:, 1],
        offset + error,
        flux,
        flux / s2n,
        (NY, NX),
        GAIN,
    )


def add_galaxies(psf, stars, seed, n):
    """Replace the last n stars by exponential discs that are hardly wider than the PSF; return which."""
    rng = np.random.default_rng([seed, 7])
    galaxies = np.arange(len(stars)) >= len(stars) - n
    vignets = stars.vignets.astype(float)
    ny, nx = vignets.shape[1:]
    for i in np.flatnonzero(galaxies):
        profile = psf.at(stars.x[i], stars.y[i])
        disc = galsim.Exponential(half_light_radius=rng.uniform(0.25, 0.6) * psf.fwhm, flux=stars.flux[i])
        disc = disc.shear(g1=rng.normal(0, 0.2), g2=rng.normal(0, 0.2))
        light = galsim.Convolve(disc, profile, galsim.Pixel(1.0)).drawImage(
            nx=nx, ny=ny, scale=1.0, offset=tuple(stars.offset[i]), method="no_pixel", dtype=float
        )
        noise = rng.normal(size=(ny, nx)) * np.sqrt(SKY**2 + light.array / GAIN)
        vignets[i] = np.where(vignets[i] > -1e29, light.array + noise, vignets[i])
    return replace(stars, vignets=vignets.astype(np.float32)), galaxies


def draw_by_thirds(psf, model, x, y, size=31):
    """Return the true PSF and the model in steps of a third of a pixel, for PSFs too narrow for moments in pixels."""
    pixel = galsim.Pixel(1.0)
    true = np.array(
        [
            galsim.Convolve(psf.at(a, b), pixel)
            .drawImage(nx=3 * size, ny=3 * size, scale=1 / 3, method="no_pixel", dtype=float)
            .array
            for a, b in zip(x, y, strict=True)
        ]
    )
    drawn = np.empty_like(true)
    for i in range(3):
        for j in range(3):
            dx, dy = (np.full(len(x), (1 - k) / 3) for k in (i, j))
            # Stamps have unit sum, and a coarse one's true sum depends on the offset.
            stamps = model.draw(x, y, size, dx=dx, dy=dy)
            drawn[:, j::3, i::3] = stamps * true[:, j::3, i::3].sum(axis=(1, 2), keepdims=True)
    return true, drawn
