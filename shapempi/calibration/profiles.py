"""Fourier transforms of round profiles of unit flux: the Moffat PSF and the Spergel galaxy.

Spergel's profiles (Spergel 2010, ApJS 191, 58) are a family like Sersic's with a transform that is a power: index 0.5
is the exponential profile exactly, -0.6 is close to de Vaucouleurs'.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq
from scipy.special import gamma, kv

__all__ = ["moffat_scale", "moffat_transform", "spergel_scale", "spergel_transform"]


def moffat_scale(fwhm: float, beta: float) -> float:
    """Return the scale r_d [arcsec] of a Moffat profile, I(r) ~ (1 + (r/r_d)^2)^-beta."""
    return fwhm / (2.0 * np.sqrt(2.0 ** (1.0 / beta) - 1.0))


def moffat_transform(x: np.ndarray, beta: float) -> np.ndarray:
    """Return the transform of a Moffat profile at x = k r_d, any shape: 2 (x/2)^(beta - 1) K_(beta - 1)(x)/Gamma."""
    x = np.maximum(x, 1e-8)  # the limit at zero is 1, and no digit is lost here
    return 2.0 / gamma(beta - 1.0) * (0.5 * x) ** (beta - 1.0) * kv(beta - 1.0, x)


def spergel_transform(x_squared: np.ndarray, nu: float) -> np.ndarray:
    """Return the transform of a Spergel profile at (k r_0)^2, any shape: (1 + (k r_0)^2)^-(1 + nu)."""
    base = 1.0 + x_squared
    if nu == 0.5:  # a root and a product instead of a power
        return 1.0 / (base * np.sqrt(base))
    return base ** -(1.0 + nu)


def spergel_scale(nu: float) -> float:
    """Return the half-light radius of a Spergel profile over its scale r_0.

    The light outside u = r/r_0 is 2 (1 + nu) f_(nu + 1)(u) with f_nu(u) = (u/2)^nu K_nu(u)/Gamma(nu + 1) (Spergel
    2010, equation 4).
    """

    def excess(u: float) -> float:
        outside = 2.0 * (1.0 + nu) * (0.5 * u) ** (nu + 1.0) * kv(nu + 1.0, u) / gamma(nu + 2.0)
        return float(outside) - 0.5

    return float(brentq(excess, 1e-6, 20.0, xtol=1e-14, rtol=1e-14))
