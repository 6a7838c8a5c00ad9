"""Rho statistics: how the errors of a PSF model are correlated on the sky.

With e the shear of a star, de = e - e_model and dT = (T_star - T_model)/T_star (Rowe 2010, MNRAS 404, 350; Jarvis et
al. 2016, MNRAS 460, 2245; behaviour specification, section 12.4):

    rho1 = <de* de>   rho2 = <e* de>   rho3 = <(e dT)* (e dT)>   rho4 = <de* (e dT)>   rho5 = <e* (e dT)>

e is the reduced shear g of the sky frame (u West, v North), not the distortion: with distortions every rho would be
four times as large.  No mean is subtracted.  Pairs are those of all stars that are given; in a survey of overlapping
exposures two stars of different exposures are a pair as well, so that errors that repeat show up at full size and those
of single exposures at small size.  The same star in two exposures is no pair, being at distance zero.
"""

from __future__ import annotations

import numpy as np

from shapempi.params import Params, key

__all__ = ["RHO_DTYPE", "RHO_UNITS", "RhoParams", "rho_statistics"]

#: One bin of separation: geometric centre and limits, mean separation [arcmin], pairs (of rho1), and the real part of
#: xi+ and of xi- of each statistic with jackknife errors.  NaN in a bin without pairs.
RHO_DTYPE = np.dtype(
    [
        *(("theta", "f8"), ("theta_min", "f8"), ("theta_max", "f8"), ("theta_mean", "f8"), ("n_pair", "f8")),
        *((f"rho{k}_xi{sign}{what}", "f8") for k in range(1, 6) for sign in "pm" for what in ("", "_err")),
    ]
)

RHO_UNITS = dict.fromkeys(("theta", "theta_min", "theta_max", "theta_mean"), "arcmin")

#: The two fields of each statistic.
_FIELDS = (("de", "de"), ("e", "de"), ("edT", "edT"), ("de", "edT"), ("e", "edT"))


class RhoParams(Params):
    """Bins, errors and cost of the rho statistics."""

    n_bin: int = key(32, "Logarithmic bins of separation.", ge=1)
    min_separation: float = key(0.5, "Smallest separation.", unit="arcmin", gt=0)
    max_separation: float = key(300.0, "Largest separation.", unit="arcmin", gt=0)
    n_patch: int = key(40, "Patches of the sky that the jackknife leaves out in turn.", ge=2)
    patch_stars: int = key(20, "Mean number of stars of a patch; with fewer stars there are fewer patches.", ge=1)
    max_stars: int = key(2_000_000, "With more stars this many, drawn at random, are taken.", ge=2)
    bin_slop: float = key(
        0.1, "How far a pair may be off its bin, in bins; TreeCorr takes stars together within it.", ge=0, le=1
    )
    seed: int = key(1, "Seed of the patches and of the draw.", ge=0)


def rho_statistics(rows: np.ndarray, params: RhoParams, *, n_threads: int = 1) -> np.ndarray:
    """Compute the five rho statistics by TreeCorr.

    Parameters
    ----------
    rows : ndarray of RESIDUAL_DTYPE [n]
        The stars.
    params : RhoParams
        Bins of separation and jackknife.
    n_threads : int, optional
        Threads of TreeCorr; with one, results have the same bits every time.

    Returns
    -------
    ndarray of RHO_DTYPE [n_bin]
        Errors are a jackknife over patches of the sky (k-means of the stars' positions); NaN with stars for fewer than
        two patches.
    """
    # Takes a fifth of a second, and every rank of a run imports this module with the command line.
    import treecorr

    table = _empty(params)
    rng = np.random.default_rng(params.seed)
    if len(rows) > params.max_stars:
        rows = rows[np.sort(rng.choice(len(rows), params.max_stars, replace=False))]
    if len(rows) < 2:
        return table
    positions = {"ra": rows["ra"], "dec": rows["dec"], "ra_units": "deg", "dec_units": "deg"}
    n_place = len(np.unique(np.stack([rows["ra"], rows["dec"]]), axis=1).T)
    n_patch = min(params.n_patch, len(rows) // params.patch_stars, n_place)
    patch = None
    if n_patch > 1:
        # A plain catalogue for the patches: that of shears would be divided in the same way, but each anew.
        patch = treecorr.Catalog(**positions, npatch=n_patch, rng=rng, verbose=0).patch
        patch = np.unique(patch, return_inverse=True)[1]
    fields = {
        name: treecorr.Catalog(**positions, g1=g[0], g2=g[1], patch=patch, verbose=0)
        for name, g in _shears(rows).items()
    }
    has_errors = patch is not None and patch.max() > 0
    for k, (first, second) in enumerate(_FIELDS, start=1):
        correlation = treecorr.GGCorrelation(
            nbins=params.n_bin,
            min_sep=params.min_separation,
            max_sep=params.max_separation,
            sep_units="arcmin",
            bin_slop=params.bin_slop,
            var_method="jackknife" if has_errors else "shot",
            cross_patch_weight="match" if has_errors else "simple",
            num_threads=n_threads,
            verbose=0,
        )
        pair = (fields[first],) if first == second else (fields[first], fields[second])
        # Variances of the fields are given: TreeCorr takes the root of its own, which rounds to less than zero when all
        # stars are alike.
        correlation.process(*pair, num_threads=n_threads, finalize=False)
        correlation.finalize(*(float(np.var([field.g1, field.g2], axis=1).mean()) for field in (pair[0], pair[-1])))
        _record(table, correlation, k, has_errors=has_errors)
    return table


def _empty(params: RhoParams) -> np.ndarray:
    """Return the table with bins and no values."""
    table = np.zeros(params.n_bin, RHO_DTYPE)
    for name in RHO_DTYPE.names or ():
        table[name] = np.nan
    table["n_pair"] = 0
    edges = np.geomspace(params.min_separation, params.max_separation, params.n_bin + 1)
    table["theta_min"], table["theta_max"] = edges[:-1], edges[1:]
    table["theta"] = np.sqrt(edges[:-1] * edges[1:])
    return table


def _shears(rows: np.ndarray) -> dict[str, np.ndarray]:
    """Return the fields that are correlated, each float64 [2, n]."""
    residual = np.stack([rows["dg1"], rows["dg2"]]).astype(float)
    star = np.stack([rows["g1"], rows["g2"]]).astype(float) + residual
    return {"e": star, "de": residual, "edT": star * rows["dT"]}


def _record(table: np.ndarray, correlation: object, k: int, *, has_errors: bool) -> None:
    """Write one statistic into the table."""
    values = {name: np.asarray(getattr(correlation, name)) for name in ("npairs", "meanr", "xip", "xim")}
    paired = values["npairs"] > 0
    if k == 1:
        table["n_pair"] = values["npairs"]
        table["theta_mean"] = np.where(paired, values["meanr"], np.nan)
    for sign in "pm":
        table[f"rho{k}_xi{sign}"] = np.where(paired, values[f"xi{sign}"], np.nan)
        if has_errors:
            variance = np.asarray(getattr(correlation, f"varxi{sign}"))
            table[f"rho{k}_xi{sign}_err"] = np.where(paired & (variance > 0), np.sqrt(np.abs(variance)), np.nan)
