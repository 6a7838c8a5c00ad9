"""A simulated tile as deep surveys have them: some hundred thousand galaxies and stars on Gaussian noise, from a seed.

Profiles are evaluated at the pixels' centres: what counts here is that objects have the sizes, shapes, counts and
blends of a real coadd, not the last percent of their light.
"""

from __future__ import annotations

import numpy as np

__all__ = ["draw_tile"]

#: Seeing [pixel, FWHM] and shape parameter of the stars' Moffat profile.
SEEING, BETA = 4.0, 3.0
#: Objects per pixel whose flux is above `FAINTEST`, some of which are detected.
DENSITY = 38_700 / 1e8
#: Flux of the faintest objects, and the slope of the counts log10 N(> flux).
FAINTEST, BRIGHTEST, SLOPE = 60.0, 3e6, -0.85
#: Part of the objects that are stars.
STARS = 0.12
#: A bad column every so many, and part of the tile without data.
BAD_COLUMN = 2500


def _fluxes(rng: np.random.Generator, n: int) -> np.ndarray:
    """Draw fluxes [ADU] from a power law of counts."""
    low, high = FAINTEST**SLOPE, BRIGHTEST**SLOPE
    return (low + rng.random(n) * (high - low)) ** (1.0 / SLOPE)


def _add(data: np.ndarray, x: float, y: float, flux: float, axes: tuple[float, float, float, float]) -> None:
    """Add an elliptical Moffat profile; axes: half width along x' and y', angle [rad], shape parameter."""
    a, b, theta, beta = axes
    # As far as the profile is above a tenth of the noise.
    peak = flux * (beta - 1.0) / (np.pi * a * b)
    half = int(np.ceil(a * np.sqrt(max((peak / 0.1) ** (1.0 / beta) - 1.0, 1.0)))) + 1
    half = min(half, 600)
    x0, y0 = round(x), round(y)
    rows = slice(max(y0 - half, 0), min(y0 + half + 1, data.shape[0]))
    columns = slice(max(x0 - half, 0), min(x0 + half + 1, data.shape[1]))
    dx = np.arange(columns.start, columns.stop, dtype=np.float32)[None, :] - np.float32(x)
    dy = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None] - np.float32(y)
    cos, sin = np.float32(np.cos(theta)), np.float32(np.sin(theta))
    r2 = ((cos * dx + sin * dy) / np.float32(a)) ** 2 + ((cos * dy - sin * dx) / np.float32(b)) ** 2
    data[rows, columns] += np.float32(peak) * (1.0 + r2) ** np.float32(-beta)


def draw_tile(shape: tuple[int, int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw a tile of noise 1 with its weight.

    Parameters
    ----------
    shape : tuple of int
        (ny, nx).
    seed : int
        Of the random numbers.

    Returns
    -------
    data, weight : ndarray of float32 [y, x]
        Image without background [ADU] and its inverse variance; 0 in bad columns and in a corner without data.
    """
    rng = np.random.default_rng(seed)
    ny, nx = shape
    data = np.empty(shape, np.float32)
    for start in range(0, ny, 512):
        data[start : start + 512] = rng.standard_normal((min(512, ny - start), nx), dtype=np.float32)
    n = rng.poisson(DENSITY * ny * nx)
    x, y = rng.uniform(0, nx, n), rng.uniform(0, ny, n)
    # A third has a companion nearby: galaxies cluster.
    near = rng.random(n) < 0.33
    source = rng.integers(0, n, n)
    x = np.where(near, x[source] + rng.normal(0, 12.0, n), x) % (nx - 1)
    y = np.where(near, y[source] + rng.normal(0, 12.0, n), y) % (ny - 1)
    flux = _fluxes(rng, n)
    star = rng.random(n) < STARS
    # Half-light radii of galaxies grow with their flux, with a scatter.
    radius = 1.6 * (flux / 300.0) ** 0.18 * 10 ** rng.normal(0, 0.15, n)
    q = rng.uniform(0.3, 1.0, n)
    theta = rng.uniform(0, np.pi, n)
    seeing = SEEING / (2.0 * np.sqrt(2.0 ** (1.0 / BETA) - 1.0))
    for i in range(n):
        if star[i]:
            axes = (seeing, seeing, 0.0, BETA)
        else:
            # An exponential of this radius seen through the atmosphere is close to a Moffat of beta 4.
            axes = (np.hypot(seeing, 2.0 * radius[i]), np.hypot(seeing, 2.0 * q[i] * radius[i]), theta[i], 4.0)
        _add(data, x[i], y[i], flux[i], axes)
    weight = np.ones(shape, np.float32)
    weight[:, BAD_COLUMN - 1 :: BAD_COLUMN] = 0.0
    weight[: ny // 20, : nx // 20] = 0.0
    data[: ny // 20, : nx // 20] = 0.0
    return data, weight
