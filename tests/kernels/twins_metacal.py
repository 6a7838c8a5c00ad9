"""The kernel of metacalibration images once more in plain NumPy: every exponential is written out, nothing is folded.

Wavevectors are lists q [k, 2] (x, y) [rad/pixel]; stamps are taken about their central pixel.
"""

import numpy as np

#: Target and deconvolution as GalSim has them: the target's transform is zero below, the PSF's not taken smaller.
ACCURACY = 1e-5


def shear_matrix(g1, g2):
    """Return the matrix [2, 2] of a shear in (u, v)."""
    return np.array([[1 + g1, g2], [g2, 1 - g1]]) / np.sqrt(1 - g1**2 - g2**2)


def waves(q, side):
    """Return exp(i q_x x) and exp(i q_y y) [k, side]."""
    place = np.arange(side) - side // 2
    return np.exp(1j * q[:, :1] * place), np.exp(1j * q[:, 1:] * place)


def transform(stamp, waves):
    """Return the Fourier transform of a stamp [y, x]."""
    along_x, along_y = waves
    return np.sum((along_x @ stamp.T) * along_y, axis=1).conj()


def pixel(q):
    """Return the Fourier transform of a pixel."""
    return np.prod(np.sinc(q / (2 * np.pi)), axis=1)


def operate(stamps, psf, jacobian, sigma, max_k, g, period, dilation=0.0):
    """Return stamps [y, x] sheared and reconvolved; with a dilation by the PSF itself, its pixel left as it is."""
    J, S = np.reshape(jacobian, (2, 2)), shear_matrix(*g)
    flux = psf.sum()
    (a, _), (c, _) = np.linalg.inv(J) @ np.linalg.inv(S) @ J
    steps = 2 * np.pi / period * np.arange(-(period // 2), period // 2 + 1)
    alpha, beta = (array.ravel() for array in np.meshgrid(steps, steps))
    source = np.stack([alpha - c / a * beta, beta], axis=1)
    k_source = source @ np.linalg.inv(J)  # k = J^-T q
    k = k_source @ np.linalg.inv(S)
    inside = (k_source**2).sum(axis=1) <= max_k**2
    if dilation:
        inside &= (k**2).sum(axis=1) <= (max_k / dilation) ** 2
        q = k @ J
        target = transform(psf, waves(dilation * q, len(psf))) * pixel(q) / pixel(dilation * q) / flux
    else:
        target = np.exp(-0.5 * sigma**2 * (k**2).sum(axis=1))
        inside &= target >= ACCURACY
    forward, backward = waves(source[inside], len(psf)), waves(k[inside] @ J, len(psf))
    P = transform(psf, forward)
    P[np.abs(P) < ACCURACY * flux] = ACCURACY * flux
    factor = flux * target[inside] / P / period**2
    along_x, along_y = backward
    return [(along_y.T @ ((factor * transform(stamp, forward))[:, None] * along_x)).real for stamp in stamps]


def images(stamp, psf, jacobian, sigma, max_k, shear, noise, period, dilation=0.0):
    """Return the images [n_type, y, x] of one stamp; the noise, if not None, goes through turned by 90 degrees."""
    noise = np.zeros_like(stamp) if noise is None else noise
    made = []
    for g in shear:
        image, turned = operate([stamp, np.rot90(noise)], psf, jacobian, sigma, max_k, g, period, dilation)
        made.append(image + np.rot90(turned, 3))
    return np.array(made)


def max_k(psf, jacobian):
    """Return GalSim's maxk [1/arcsec]: one step beyond the last square on which the transform is above 1e-3.

    The lattice is that of the stamp padded to at least four times its side; the search ends when five squares in a
    row are below.
    """
    padded = min(size for n in range(13) for size in (2 * 2**n, 6 * 2**n) if size >= 4 * len(psf))
    step, half = 2 * np.pi / padded, padded // 2
    steps, place = np.arange(-half, half + 1), np.arange(len(psf)) - len(psf) // 2
    phase = np.exp(-1j * step * np.outer(steps, place))
    power = np.abs(phase @ psf @ phase.T) / psf.sum()
    square = np.maximum(np.abs(steps)[:, None], np.abs(steps))
    last = 0
    for i in range(half + 1):
        if i >= last + 5:
            break
        if power[square == i].max() > 1e-3:
            last = i
    return (last + 1) * step / np.linalg.svd(np.reshape(jacobian, (2, 2)), compute_uv=False)[0]
