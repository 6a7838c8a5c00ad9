"""Mean tangential and cross shear around positions, by TreeCorr.

Tangential shear is positive around a mass; cross shear, at 45 degrees to it, must be zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import model_validator

from shapempi.lensing.correlation import (
    SEPARATION_DTYPE,
    galaxy_catalogue,
    noise_variance,
    separations,
)
from shapempi.lensing.null_test import NullTest, null_test
from shapempi.lensing.patches import MIN_PATCHES, Patches
from shapempi.measure.response import jackknife_error
from shapempi.params import Params, key

__all__ = ["TANGENTIAL_DTYPE", "Tangential", "TangentialParams", "tangential_shear"]

#: Shear around positions by separation: with errors, and around random positions where they are given; the former is
#: less the latter then.
TANGENTIAL_DTYPE = np.dtype(
    [
        *SEPARATION_DTYPE.descr,
        *((name, "f8") for name in ("gamma_t", "gamma_x", "gamma_t_err", "gamma_x_err", "noise")),
        *((name, "f8") for name in ("gamma_t_random", "gamma_x_random")),
    ]
)


class TangentialParams(Params):
    """Bins of the shear around positions."""

    n_bin: int = key(15, "Logarithmic bins of separation.", ge=1)
    min_separation: float = key(0.3, "Smallest separation.", unit="arcmin", gt=0)
    max_separation: float = key(100.0, "Largest separation.", unit="arcmin", gt=0)
    bin_slop: float = key(0.1, "How far a pair may be off its bin, in bins.", ge=0, le=1)
    star_mag_max: float = key(20.0, "Stars brighter than this are positions for a null test.", unit="mag")

    @model_validator(mode="after")
    def _ordered(self) -> TangentialParams:
        if self.min_separation >= self.max_separation:
            raise ValueError("min_separation is not less than max_separation")
        return self


@dataclass(frozen=True)
class Tangential:
    """Shear around positions.

    Attributes
    ----------
    name : str
        What is at the positions.
    n : int
        Number of positions.
    n_random : int
        Number of random positions; 0 without.
    jackknife : bool
        Whether errors are a jackknife over patches; otherwise they are those of the noise of shapes.
    table : ndarray of TANGENTIAL_DTYPE [n_bin]
        By separation.
    tests : tuple of NullTest
        Tangential and cross shear against none.
    """

    name: str
    n: int
    n_random: int
    jackknife: bool
    table: np.ndarray
    tests: tuple[NullTest, ...]


def tangential_shear(
    name: str,
    positions: np.ndarray,
    galaxies: np.ndarray,
    shear: np.ndarray,
    params: TangentialParams,
    patches: Patches,
    *,
    randoms: np.ndarray | None = None,
    min_pairs: int = 100,
    n_threads: int = 1,
) -> Tangential:
    """Average the shear of galaxies around positions.

    Parameters
    ----------
    name : str
        What is at the positions.
    positions : ndarray of float64 [n, 2]
        ra, dec [deg].
    galaxies : ndarray of GALAXY_DTYPE [n_galaxy]
        Positions, weights, patches.
    shear : ndarray of float64 [2, n_galaxy]
        Calibrated shapes.
    params : TangentialParams
        Bins.
    patches : Patches
        Those of the galaxies; the jackknife leaves positions and galaxies of one out together.  If positions are in
        fewer than ten, errors are those of the noise of shapes.
    randoms : ndarray of float64 [n_random, 2], optional
        Random positions; the shear around them is subtracted.
    min_pairs : int, optional
        Bins with fewer pairs take no part in the null tests.
    n_threads : int, optional
        Threads of TreeCorr.
    """
    import treecorr

    edges = np.geomspace(params.min_separation, params.max_separation, params.n_bin + 1)
    n_random = 0 if randoms is None else len(randoms)
    none = np.zeros(params.n_bin)
    if not len(positions) or len(galaxies) < 2:
        table = separations(edges, TANGENTIAL_DTYPE, none, none)
        return Tangential(name, len(positions), n_random, jackknife=False, table=table, tests=())
    jackknife = patches.jackknife and len(np.unique(patches.of(*positions.T))) >= MIN_PATCHES
    centres = patches.centres if jackknife else None
    source = galaxy_catalogue(galaxies, shear, centres)

    def around(points: np.ndarray) -> treecorr.NGCorrelation:
        ra, dec = points.T
        lens = treecorr.Catalog(ra=ra, dec=dec, ra_units="deg", dec_units="deg", patch_centers=centres, verbose=0)
        found = treecorr.NGCorrelation(
            nbins=params.n_bin,
            min_sep=params.min_separation,
            max_sep=params.max_separation,
            sep_units="arcmin",
            bin_slop=params.bin_slop,
            cross_patch_weight="match" if jackknife else "simple",
            num_threads=n_threads,
            verbose=0,
        )
        found.process(lens, source, num_threads=n_threads, finalize=False)
        # As in `shear_correlation`: TreeCorr's own variance would warn where all shapes are alike.
        found.finalize(noise_variance(shear, galaxies["weight"]))
        return found

    found = around(positions)
    table = separations(edges, TANGENTIAL_DTYPE, np.asarray(found.npairs), np.asarray(found.meanr))
    members = [found]
    variance = np.asarray(found.varxi)
    if randoms is not None and len(randoms):
        members.append(around(randoms))
        table["gamma_t_random"], table["gamma_x_random"] = members[1].xi, members[1].xi_im
        variance = variance + np.asarray(members[1].varxi)
    table["gamma_t"], table["gamma_x"] = _difference(members).reshape(2, -1)
    table["noise"] = table["gamma_t_err"] = table["gamma_x_err"] = np.sqrt(variance)
    rest = None
    if jackknife:
        rest, _ = treecorr.build_multi_cov_design_matrix(members, "jackknife", func=_difference)
        table["gamma_t_err"], table["gamma_x_err"] = jackknife_error(rest).reshape(2, -1)
    for column in ("gamma_t", "gamma_x", "gamma_t_err", "gamma_x_err", "noise"):
        table[column][table["n_pair"] == 0] = np.nan
    good = np.flatnonzero((table["n_pair"] >= min_pairs) & (table["noise"] > 0))
    cover = np.diag(table["noise"][good] ** 2)
    tests = tuple(
        null_test(
            f"{column} around {name}", table[column][good], cover, None if rest is None else rest[:, first + good]
        )
        for column, first in (("gamma_t", 0), ("gamma_x", params.n_bin))
    )
    return Tangential(name, len(positions), n_random, jackknife=jackknife, table=table, tests=tests)


def _difference(members: list) -> np.ndarray:
    """Return tangential, then cross shear around positions, less that around random ones."""
    parts = [np.concatenate([each.xi, each.xi_im]) for each in members]
    return parts[0] if len(parts) == 1 else parts[0] - parts[1]
