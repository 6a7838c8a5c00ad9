"""Fluxes of stars by their models."""

from __future__ import annotations

import numpy as np

__all__ = ["fit_fluxes"]


def fit_fluxes(data: np.ndarray, weight: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """Return the least-squares fluxes of stars.

    Parameters
    ----------
    data, weight : ndarray of float64 [n, y, x]
        The stars and their inverse variance.
    unit : ndarray of float64 [n, y, x]
        Their models; the fluxes are in units of these.

    Returns
    -------
    ndarray of float64 [n]
        The fluxes; 0 for a star without information.
    """
    information = np.sum(weight * unit**2, axis=(1, 2))
    return np.sum(weight * unit * data, axis=(1, 2)) / np.where(information > 0, information, np.inf)
