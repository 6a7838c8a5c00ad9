"""What a PSF model must reach, and whether it does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shapempi.params import Params, key

__all__ = ["RequirementParams", "Verdict", "expected_xi", "judge_residuals", "judge_rho", "rho_limits"]

#: Separation [arcmin] and xi+ of cosmic shear of galaxies at a median redshift of 0.64, n(z) ~ z^2 exp(-(z/0.46)^1.5),
#: computed by CAMB 2.0.5 with HMcode-2020 for h = 0.674, Omega_b h^2 = 0.0224, Omega_c h^2 = 0.120, A_s = 2.1e-9,
#: n_s = 0.965, a neutrino mass of 0.06 eV, multipoles up to 30000.
_XI_PLUS = (
    *((0.5, 1.318e-4), (1.0, 9.73e-5), (2.0, 6.15e-5), (5.0, 2.888e-5), (10.0, 1.592e-5), (20.0, 8.98e-6)),
    *((50.0, 3.829e-6), (100.0, 1.626e-6), (200.0, 5.17e-7), (300.0, 2.20e-7)),
)


class RequirementParams(Params):
    """What the residuals and the rho statistics must stay below."""

    mean_dt: float = key(1e-3, "Largest |mean (T_star - T_model)/T_star|.", gt=0)
    mean_de: float = key(3e-4, "Largest |mean residual| of each shear component.", gt=0)
    xi_fraction: float = key(
        0.1, "Part of the expected xi+ that PSF errors may add to it (Zuntz et al. 2018, MNRAS 481, 1149).", gt=0
    )
    xi_scale: float = key(1.0, "Expected xi+ in units of that of galaxies at a median redshift of 0.64.", gt=0)
    size_ratio: float = key(1.0, "Mean T of the PSF over T of the galaxies.", gt=0)
    min_pairs: int = key(1000, "Fewest pairs of a bin of separation by which rho statistics are judged.", ge=1)
    leakage: float = key(0.03, "Part of the PSF's shape that leaks into the galaxies' shapes.", gt=0)


@dataclass(frozen=True)
class Verdict:
    """One requirement and whether it is met.

    Attributes
    ----------
    name : str
        What is required to be small.
    value, error : float
        Its value and error; NaN where it was not measured.
    limit : float
        Largest absolute value.
    met : bool
        Whether |value| <= limit; never without a value.
    significant : bool
        Whether it is met, or missed, by at least two errors.
    """

    name: str
    value: float
    error: float
    limit: float
    met: bool
    significant: bool

    @classmethod
    def of(cls, name: str, value: float, error: float, limit: float) -> Verdict:
        """Compare a value with its limit."""
        met = bool(abs(value) <= limit)
        return cls(name, value, error, limit, met, bool(abs(abs(value) - limit) >= 2 * error))


def judge_residuals(statistics: np.void, params: RequirementParams) -> list[Verdict]:
    """Compare the mean residuals of a sample with their limits.

    Parameters
    ----------
    statistics : record of STATISTICS_DTYPE
        The sample.
    params : RequirementParams
        The limits.
    """
    limits = (("dg1", params.mean_de), ("dg2", params.mean_de), ("dT", params.mean_dt))
    return [
        Verdict.of(f"mean {name}", float(statistics[f"{name}_mean"]), float(statistics[f"{name}_mean_err"]), limit)
        for name, limit in limits
    ]


def expected_xi(theta: np.ndarray, scale: float = 1.0) -> np.ndarray:
    """Return the xi+ of cosmic shear that is expected at separations [arcmin].

    Interpolated in logarithms in a table of ten separations from 0.5 to 300 arcmin, constant beyond; see `_XI_PLUS`.
    """
    separation, xi = np.array(_XI_PLUS).T
    return scale * np.exp(np.interp(np.log(theta), np.log(separation), np.log(xi)))


def rho_limits(theta: np.ndarray, params: RequirementParams) -> tuple[np.ndarray, np.ndarray]:
    """Return how large the rho statistics may be.

    PSF errors change xi+ by 2 <T_p/T_g dT_p/T_p> xi+ + <T_p/T_g>^2 rho_{1,3,4} - alpha <T_p/T_g> rho_{2,5}, with T_p of
    the PSF, T_g of the galaxies and the leakage alpha (Jarvis et al. 2016, MNRAS 460, 2245; Mandelbaum et
    al. 2018, PASJ 70, S25, use the same).  Each term alone may be as large as d = xi_fraction xi+.

    Parameters
    ----------
    theta : ndarray of float [n]
        Separations [arcmin].
    params : RequirementParams
        d, T_p/T_g and alpha.

    Returns
    -------
    limit_134, limit_25 : ndarray of float [n]
        d (T_p/T_g)^-2 for rho 1, 3 and 4; d (T_p/T_g)^-1 / alpha for rho 2 and 5.
    """
    allowed = params.xi_fraction * expected_xi(theta, params.xi_scale)
    return allowed / params.size_ratio**2, allowed / (params.size_ratio * params.leakage)


def judge_rho(table: np.ndarray, params: RequirementParams) -> list[Verdict]:
    """Compare the rho statistics with their limits, each by the separation at which it uses most of its limit.

    Parameters
    ----------
    table : ndarray of RHO_DTYPE [n_bin]
        The statistics.
    params : RequirementParams
        The limits.

    Returns
    -------
    list of Verdict
        One per statistic: xi+ part over its limit, whose own limit is 1.  Of the bins with enough pairs the one counts
        whose ratio is largest after two errors are taken off, so that a noisy bin does not decide.
    """
    verdicts = []
    limit_134, limit_25 = rho_limits(table["theta"], params)
    for k in range(1, 6):
        limit = limit_25 if k in (2, 5) else limit_134
        ratio, error = table[f"rho{k}_xip"] / limit, table[f"rho{k}_xip_err"] / limit
        known = np.flatnonzero(np.isfinite(ratio) & (table["n_pair"] >= params.min_pairs))
        if not len(known):
            verdicts.append(Verdict.of(f"rho{k} / limit", np.nan, np.nan, 1.0))
            continue
        floor = np.abs(ratio[known]) - 2 * np.nan_to_num(error[known])
        worst = known[np.argmax(floor)]
        name = f"rho{k} / limit at {table['theta'][worst]:.3g} arcmin"
        verdicts.append(Verdict.of(name, float(ratio[worst]), float(error[worst]), 1.0))
    return verdicts
