"""Correlation functions of shear by TreeCorr: xi+, xi-, the cross component, E- and B-modes, and the PSF's part.

TreeCorr counts pairs in narrow bins; those of the tables are sums of them.  Shapes are in the frame u West, v North,
which is TreeCorr's for positions in right ascension and declination, so that no sign is changed.

With t and x the components along and across the line between two galaxies, xi+- = <t t> +- <x x>, and xi_x = <t x> must
be zero, for the sky knows no left and right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pydantic import model_validator

from shapempi.lensing.cosebis import CosebiFilters, cosebi_filters
from shapempi.lensing.null_test import NullTest, jackknife_covariance, null_test
from shapempi.lensing.patches import Patches
from shapempi.measure.response import jackknife_error
from shapempi.params import Params, key

if TYPE_CHECKING:
    import treecorr

__all__ = [
    "MODE_DTYPE",
    "PSF_XI_DTYPE",
    "SEPARATION_DTYPE",
    "XI_DTYPE",
    "Correlation",
    "CorrelationParams",
    "PsfCorrelation",
    "galaxy_catalogue",
    "noise_variance",
    "psf_correlation",
    "separations",
    "shear_correlation",
]

SEPARATION_DTYPE = np.dtype(
    [("theta", "f8"), ("theta_min", "f8"), ("theta_max", "f8"), ("theta_mean", "f8"), ("n_pair", "f8")]
)


def _with_errors(*names: str) -> np.dtype:
    """Return bins of separation with values, their errors, and errors from the noise of the shapes alone."""
    columns = [(f"{name}{what}", "f8") for name in names for what in ("", "_err", "_noise")]
    return np.dtype([*SEPARATION_DTYPE.descr, *columns])


#: xi+, xi-, xi_x by separation.
XI_DTYPE = _with_errors("xip", "xim", "xix")

#: xi+ of shear and PSF, of the PSF with itself, leakage alpha and xi+ that follows from it, without the means.
PSF_XI_DTYPE = np.dtype(
    [
        *SEPARATION_DTYPE.descr,
        *((name, "f8") for name in ("xi_gp", "xi_gp_err", "xi_pp", "alpha", "alpha_err", "xi_sys")),
    ]
)

#: E_n and B_n [rad^2].
MODE_DTYPE = np.dtype(
    [("n", "i2"), ("E", "f8"), ("E_err", "f8"), ("E_noise", "f8"), ("B", "f8"), ("B_err", "f8"), ("B_noise", "f8")]
)


#: E- and B-modes are of separations with this part of the pairs, per area, that there are where they are densest.
_MIN_DENSITY = 0.25


class CorrelationParams(Params):
    """Bins and cost of the correlation functions."""

    n_bin: int = key(20, "Logarithmic bins of separation of the tables.", ge=1)
    min_separation: float = key(0.5, "Smallest separation.", unit="arcmin", gt=0)
    max_separation: float = key(250.0, "Largest separation.", unit="arcmin", gt=0)
    fine_bins: int = key(
        10, "Narrow bins in each of them: E- and B-modes are integrals over them; a pair may be off by one.", ge=1
    )
    n_mode: int = key(5, "E- and B-modes (COSEBIs).", ge=1, le=12)
    min_pairs: int = key(100, "Bins with fewer pairs take no part in null tests and are not drawn.", ge=1)
    subtract_mean: bool = key(
        False, "Whether the mean shear is subtracted before galaxies are correlated with each other."
    )
    max_galaxies: int = key(
        20_000_000, "With more galaxies about this many, drawn at random, are correlated: 1.5 GB a million.", ge=2
    )

    @model_validator(mode="after")
    def _ordered(self) -> CorrelationParams:
        if self.min_separation >= self.max_separation:
            raise ValueError("min_separation is not less than max_separation")
        return self


@dataclass(frozen=True)
class Correlation:
    """Correlation functions of shear.

    Attributes
    ----------
    table : ndarray of XI_DTYPE [n_bin]
        Errors are of a jackknife over patches, or noise where there are too few.
    covariance : ndarray of float64 [2 n_bin, 2 n_bin] or None
        Of xi+, then xi-, by the jackknife; None without one.
    modes : ndarray of MODE_DTYPE [n_mode]
        E- and B-modes; none where pairs span too small a range.
    mode_range : tuple of float
        Separations that these are of [arcmin]; NaN without.
    tests : tuple of NullTest
        Of xi_x and of B_n.
    """

    table: np.ndarray
    covariance: np.ndarray | None
    modes: np.ndarray
    mode_range: tuple[float, float]
    tests: tuple[NullTest, ...]


@dataclass(frozen=True)
class PsfCorrelation:
    """Correlation of shear and PSF: `table` is an ndarray of PSF_XI_DTYPE [n_bin]."""

    table: np.ndarray


def galaxy_catalogue(galaxies: np.ndarray, shear: np.ndarray, centres: np.ndarray | None) -> treecorr.Catalog:
    """Return galaxies with shear [2, n] as TreeCorr takes them, in the patches of these centres [n_patch, 3]."""
    import treecorr

    return treecorr.Catalog(
        ra=galaxies["ra"],
        dec=galaxies["dec"],
        ra_units="deg",
        dec_units="deg",
        g1=shear[0],
        g2=shear[1],
        w=galaxies["weight"],
        patch_centers=centres,
        verbose=0,
    )


def separations(edges: np.ndarray, dtype: np.dtype, n_pair: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Return a table of bins of separation [arcmin], all else NaN."""
    table = np.zeros(len(edges) - 1, dtype)
    for name in dtype.names or ():
        table[name] = np.nan
    table["theta_min"], table["theta_max"] = edges[:-1], edges[1:]
    table["theta"] = np.sqrt(edges[:-1] * edges[1:])
    table["n_pair"], table["theta_mean"] = n_pair, np.where(n_pair > 0, mean, np.nan)
    return table


def shear_correlation(
    galaxies: np.ndarray, shear: np.ndarray, params: CorrelationParams, patches: Patches, *, n_threads: int = 1
) -> Correlation:
    """Correlate the shear of galaxies.

    Parameters
    ----------
    galaxies : ndarray of GALAXY_DTYPE [n]
        Positions, weights, patches.
    shear : ndarray of float64 [2, n]
        Calibrated shapes.
    params : CorrelationParams
        Bins.
    patches : Patches
        Those of the galaxies.  With fewer than ten, errors are those of the noise of shapes.
    n_threads : int, optional
        Threads of TreeCorr; with one, results have the same bits every time.

    Returns
    -------
    Correlation
        With errors and null tests of xi_x and of the B-modes.
    """
    edges = np.geomspace(params.min_separation, params.max_separation, params.n_bin + 1)
    if len(galaxies) < 2:
        table = separations(edges, XI_DTYPE, np.zeros(params.n_bin), np.zeros(params.n_bin))
        return Correlation(table, None, np.zeros(0, MODE_DTYPE), (np.nan, np.nan), ())
    if params.subtract_mean:
        shear = shear - np.average(shear, axis=1, weights=galaxies["weight"])[:, None]
    found = _process(galaxies, (shear,), params, patches, n_threads=n_threads)
    wide = _Wide(params.n_bin, params.fine_bins)
    table = separations(edges, XI_DTYPE, wide.sum(found.npairs), wide.mean(found.meanr, found.weight))
    noise = {"xip": found.varxip, "xim": found.varxim, "xix": found.varxim / 4}
    for name, values in wide.correlations(found).items():
        table[name] = values
        table[f"{name}_noise"] = table[f"{name}_err"] = np.sqrt(wide.variance(noise[name], found.weight))
    filters, chosen, mode_range = _filters(found, table, params)
    modes = _modes(found, filters, chosen)
    covariance, rest = None, None
    if patches.jackknife:
        rest, _ = found.build_cov_design_matrix("jackknife", func=lambda each: _vector(each, wide, filters, chosen))
        n_bin = params.n_bin
        everything = jackknife_covariance(rest)
        errors = np.sqrt(np.diag(everything))
        covariance = everything[: 2 * n_bin, : 2 * n_bin]
        for k, name in enumerate(("xip", "xim", "xix")):
            table[f"{name}_err"] = np.where(table["n_pair"] > 0, errors[k * n_bin : (k + 1) * n_bin], np.nan)
        if len(modes):
            modes["E_err"], modes["B_err"] = errors[3 * n_bin :].reshape(2, -1)
    good = np.flatnonzero((table["n_pair"] >= params.min_pairs) & (table["xix_noise"] > 0))
    noise_x = np.diag(table["xix_noise"][good] ** 2)
    tests = [null_test("xi_x", table["xix"][good], noise_x, None if rest is None else rest[:, 2 * params.n_bin + good])]
    if filters is not None:
        cover = filters.covariance(np.asarray(found.varxip)[chosen], np.asarray(found.varxim)[chosen])
        tests.append(null_test("B_n", modes["B"], cover, None if rest is None else rest[:, -len(modes) :]))
    return Correlation(table, covariance, modes, mode_range, tuple(tests))


def psf_correlation(
    galaxies: np.ndarray, shear: np.ndarray, params: CorrelationParams, patches: Patches, *, n_threads: int = 1
) -> PsfCorrelation:
    """Correlate the shear of galaxies with the shape of the PSF at their places; see `shear_correlation`.

    With xi+ of each, alpha(theta) = xi_gp / xi_pp is the part of the PSF's shape that is left in the shear, and
    xi_gp^2 / xi_pp what it adds to xi+ (Bacon et al. 2003, MNRAS 344, 673).  The means of both fields are subtracted.
    """
    edges = np.geomspace(params.min_separation, params.max_separation, params.n_bin + 1)
    none = np.zeros(params.n_bin)
    if len(galaxies) < 2:
        return PsfCorrelation(separations(edges, PSF_XI_DTYPE, none, none))
    import treecorr

    psf = np.stack([galaxies["psf_g1"], galaxies["psf_g2"]]).astype(float)
    shear, psf = (field - np.average(field, axis=1, weights=galaxies["weight"])[:, None] for field in (shear, psf))
    cross, own = (_process(galaxies, fields, params, patches, n_threads=n_threads) for fields in ((shear, psf), (psf,)))
    wide = _Wide(params.n_bin, params.fine_bins)

    def statistics(pair: list[treecorr.GGCorrelation]) -> np.ndarray:
        gp, pp = (wide.mean(each.xip, each.weight) for each in pair)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.concatenate([gp, gp / pp])

    table = separations(edges, PSF_XI_DTYPE, wide.sum(own.npairs), wide.mean(own.meanr, own.weight))
    table["xi_pp"] = wide.mean(own.xip, own.weight)
    table["xi_gp"], table["alpha"] = statistics([cross, own]).reshape(2, -1)
    with np.errstate(invalid="ignore", divide="ignore"):
        table["xi_sys"] = table["xi_gp"] ** 2 / table["xi_pp"]
    table["xi_gp_err"] = np.sqrt(wide.variance(cross.varxip, cross.weight))
    if patches.jackknife:
        rest, _ = treecorr.build_multi_cov_design_matrix([cross, own], "jackknife", func=statistics)
        errors = jackknife_error(rest)
        table["xi_gp_err"], table["alpha_err"] = errors.reshape(2, -1)
    return PsfCorrelation(table)


class _Wide:
    """Turns narrow bins into those of the tables."""

    def __init__(self, n_bin: int, fine_bins: int) -> None:
        self._shape = (n_bin, fine_bins)

    def sum(self, values: np.ndarray) -> np.ndarray:
        return np.asarray(values).reshape(self._shape).sum(axis=1)

    def mean(self, values: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Return weighted means; NaN without weight."""
        total = self.sum(weight)
        return np.where(total > 0, self.sum(values * weight) / np.where(total > 0, total, 1.0), np.nan)

    def variance(self, values: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Return variances of weighted means of what is independent."""
        total = self.sum(weight)
        return np.where(total > 0, self.sum(values * weight**2) / np.where(total > 0, total, 1.0) ** 2, np.nan)

    def correlations(self, found: treecorr.GGCorrelation) -> dict[str, np.ndarray]:
        """Return xi+, xi- and xi_x = <t x>, which is half the imaginary part of xi-."""
        values = {"xip": found.xip, "xim": found.xim, "xix": found.xim_im / 2}
        return {name: self.mean(each, found.weight) for name, each in values.items()}


def _process(
    galaxies: np.ndarray, fields: tuple[np.ndarray, ...], params: CorrelationParams, patches: Patches, *, n_threads: int
) -> treecorr.GGCorrelation:
    """Correlate one field with itself, or two with each other, in narrow bins."""
    import treecorr

    correlation = treecorr.GGCorrelation(
        nbins=params.n_bin * params.fine_bins,
        min_sep=params.min_separation,
        max_sep=params.max_separation,
        sep_units="arcmin",
        bin_slop=1.0,
        cross_patch_weight="match" if patches.jackknife else "simple",
        num_threads=n_threads,
        verbose=0,
    )
    catalogues = [galaxy_catalogue(galaxies, field, patches.centres if patches.jackknife else None) for field in fields]
    correlation.process(*catalogues, num_threads=n_threads, finalize=False)
    # TreeCorr would take the root of its own variance, which rounds to less than zero where all shapes are alike.
    variances = [noise_variance(field, galaxies["weight"]) for field in fields]
    correlation.finalize(variances[0], variances[-1])
    return correlation


def noise_variance(field: np.ndarray, weight: np.ndarray) -> float:
    """Return the variance per component that the noise of weighted pairs has."""
    weight = np.asarray(weight, float)
    mean = np.average(field, axis=1, weights=weight)
    return float(np.sum(weight**2 * (field - mean[:, None]) ** 2) / (2 * np.sum(weight)))


def _filters(
    found: treecorr.GGCorrelation, table: np.ndarray, params: CorrelationParams
) -> tuple[CosebiFilters | None, slice, tuple[float, float]]:
    """Return filters for the longest range of bins with pairs at every separation, their narrow bins, and the range."""
    there = (np.asarray(found.npairs) > 0).reshape(params.n_bin, params.fine_bins).all(axis=1)
    # Across nearly the whole field there are few pairs, and all of one direction.
    density = table["n_pair"] / (table["theta_max"] ** 2 - table["theta_min"] ** 2)
    there &= density >= _MIN_DENSITY * density[table["n_pair"] >= params.min_pairs].max(initial=0.0)
    padded = np.concatenate([[False], there, [False]]).astype(int)
    starts, stops = (np.flatnonzero(np.diff(padded) == sign) for sign in (1, -1))
    if not len(starts):
        return None, slice(0), (np.nan, np.nan)
    longest = int(np.argmax(stops - starts))
    start, stop = int(starts[longest]), int(stops[longest])
    low, high = float(table["theta_min"][start]), float(table["theta_max"][stop - 1])
    # With fewer narrow bins than this the filters of the highest mode are not resolved.
    n = (stop - start) * params.fine_bins
    if n < 10 * params.n_mode or high < 3 * low:
        return None, slice(0), (np.nan, np.nan)
    filters = cosebi_filters(np.geomspace(low, high, n + 1), params.n_mode)
    return filters, slice(start * params.fine_bins, stop * params.fine_bins), (low, high)


def _modes(found: treecorr.GGCorrelation, filters: CosebiFilters | None, chosen: slice) -> np.ndarray:
    """Return E_n and B_n with the noise of shapes."""
    if filters is None:
        return np.zeros(0, MODE_DTYPE)
    modes = np.zeros(len(filters.plus), MODE_DTYPE)
    modes["n"] = np.arange(1, len(modes) + 1)
    modes["E"], modes["B"] = filters.modes(np.asarray(found.xip)[chosen], np.asarray(found.xim)[chosen])
    cover = filters.covariance(np.asarray(found.varxip)[chosen], np.asarray(found.varxim)[chosen])
    for name in ("E_err", "E_noise", "B_err", "B_noise"):
        modes[name] = np.sqrt(np.diag(cover))
    return modes


def _vector(found: treecorr.GGCorrelation, wide: _Wide, filters: CosebiFilters | None, chosen: slice) -> np.ndarray:
    """Return everything that has an error as one vector: xi+, xi-, xi_x, E_n, B_n."""
    parts = list(wide.correlations(found).values())
    if filters is not None:
        # Without a patch there may be bins without pairs; their correlation is taken for none.
        xip, xim = (np.where(found.weight > 0, each, 0.0)[chosen] for each in (found.xip, found.xim))
        parts += filters.modes(xip, xim)
    return np.nan_to_num(np.concatenate(parts))
