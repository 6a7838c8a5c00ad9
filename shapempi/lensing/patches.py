"""Patches of the sky that the jackknife leaves out in turn: the same ones for means and for correlations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from shapempi.params import Params, key
from shapempi.wcs import unit_vectors

__all__ = ["MIN_PATCHES", "PatchParams", "Patches", "make_patches"]

#: With fewer patches an error from their scatter is worth less than one from the scatter of the shapes.
MIN_PATCHES = 10


class PatchParams(Params):
    """Patches of the sky for errors."""

    n_patch: int = key(40, "Patches of the sky that the jackknife leaves out in turn.", ge=1)
    patch_galaxies: int = key(
        20,
        "Mean number of galaxies of a patch; with fewer galaxies there are fewer patches, and with fewer than 10 "
        "patches errors come from the scatter of the shapes.",
        ge=1,
    )


@dataclass(frozen=True)
class Patches:
    """Patches by their centres: a position belongs to the nearest one.

    Attributes
    ----------
    centres : ndarray of float64 [n_patch, 3]
        Unit vectors.
    """

    centres: np.ndarray

    def __len__(self) -> int:
        """Return the number of patches."""
        return len(self.centres)

    @property
    def jackknife(self) -> bool:
        """Whether there are enough patches for a jackknife."""
        return len(self) >= MIN_PATCHES

    def of(self, ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
        """Return the patch of each position [deg], int64 [n]."""
        return np.asarray(cKDTree(self.centres).query(unit_vectors(ra, dec))[1], dtype=np.int64)


def make_patches(
    ra: np.ndarray, dec: np.ndarray, n_galaxy: int, params: PatchParams, rng: np.random.Generator
) -> Patches:
    """Divide the sky by the k-means of galaxies.

    Parameters
    ----------
    ra, dec : ndarray of float64 [n]
        Positions of galaxies, or of some of them [deg].
    n_galaxy : int
        Number of all galaxies.
    params : PatchParams
        Number of patches.
    rng : numpy Generator
        Chooses where the search for centres begins.

    Returns
    -------
    Patches
        At least one.
    """
    import treecorr

    places = np.unique(np.stack([ra, dec]), axis=1)
    n_patch = min(params.n_patch, n_galaxy // params.patch_galaxies, places.shape[1])
    if n_patch < 2:
        return Patches(unit_vectors(ra[:1], dec[:1]))
    catalogue = treecorr.Catalog(ra=ra, dec=dec, ra_units="deg", dec_units="deg", npatch=n_patch, rng=rng, verbose=0)
    return Patches(np.asarray(catalogue.patch_centers))
