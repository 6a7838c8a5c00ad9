"""The kernel of moments once more in plain NumPy: what it means, one stamp at a time."""

import numpy as np

#: Adaptive weights are cut at a tenth of the threshold of 1e-6.
LIMIT = 1e-7


def adaptive_step(stamp, state):
    """One plain iteration of Hirata & Seljak (2003) without limits: the next x, y, xx, xy, yy, and the sum of w d."""
    x0, y0, xx, xy, yy = state
    y, x = np.mgrid[: stamp.shape[0], : stamp.shape[1]].astype(float)
    x, y = x - x0, y - y0
    det = xx * yy - xy**2
    weight = np.exp(-0.5 * (yy * x**2 - 2 * xy * x * y + xx * y**2) / det)
    values = np.where(weight >= LIMIT, weight * stamp, 0.0)
    total = values.sum()
    mean = [np.sum(values * f) / total for f in (x, y, x * x, x * y, y * y)]
    step = [2 * mean[0], 2 * mean[1], 4 * mean[2] - 2 * xx, 4 * mean[3] - 2 * xy, 4 * mean[4] - 2 * yy]
    return np.array(state) + step, total


def adaptive(stamp, start):
    """The fixed point nearest to (g1, g2, sigma, x, y, ...) by plain iterations, as numbers of the same kind."""
    g1, g2, sigma, x, y = start[:5]
    g = g1**2 + g2**2
    scale = sigma**2 / (1 - g)
    centre = (np.array(stamp.shape)[::-1] - 1) / 2
    state = np.array([x + centre[0], y + centre[1], scale * (1 + g + 2 * g1), 2 * scale * g2, scale * (1 + g - 2 * g1)])
    for _ in range(300):
        previous, (state, total) = state, adaptive_step(stamp, state)
        if np.abs(state - previous).max() < 1e-13 * state[2:].max():
            break
    x, y, xx, xy, yy = state
    root = np.sqrt(xx * yy - xy**2)
    trace = xx + yy + 2 * root
    return np.array([(xx - yy) / trace, 2 * xy / trace, np.sqrt(root), *(state[:2] - centre), 2 * total])


def fixed(stamp, weight, jacobian, offset, fwhm):
    """Sums of w d F and their covariance, F = (v, u, u^2 - v^2, 2uv, u^2 + v^2, 1)."""
    dudx, dudy, dvdx, dvdy = jacobian
    ny, nx = stamp.shape
    x = np.arange(nx)[None, :] - (nx - 1) / 2 - offset[0]
    y = np.arange(ny)[:, None] - (ny - 1) / 2 - offset[1]
    u, v = dudx * x + dudy * y, dvdx * x + dvdy * y
    sigma = fwhm / np.sqrt(8 * np.log(2))
    window = np.exp(-0.5 * (u**2 + v**2) / sigma**2)
    functions = np.array([v, u, u**2 - v**2, 2 * u * v, u**2 + v**2, np.ones_like(u)])
    good = (weight > 0) & np.isfinite(weight)
    values = np.where(good, stamp, 0.0) * window
    variance = np.where(good, 1 / np.where(good, weight, 1.0), 0.0) * window**2
    return (functions * values).sum(axis=(1, 2)), np.einsum("ayx,byx,yx->ab", functions, functions, variance)
