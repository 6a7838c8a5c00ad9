"""A PSF validation in words and numbers: the text that is printed, tables as text, and the file with all numbers."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from shapempi import __version__
from shapempi.validation.ccd_status import StatusSummary
from shapempi.validation.params import ValidationParams
from shapempi.validation.requirements import Verdict
from shapempi.validation.residuals import Sample
from shapempi.validation.summary import QUANTITIES, STATISTICS
from shapempi.validation.trends import ABSCISSAE, TREND_DTYPE, TREND_QUANTITIES, Trend

__all__ = ["Findings", "SampleStatistics", "as_json", "histogram_text", "lines", "trend_text"]

_CONVENTIONS = (
    "star minus model; reduced shear g = (a - b)/(a + b); dg in the sky frame (u West, v North), de in pixels;",
    "dT = (T_star - T_model)/T_star, T = 2 sigma^2; central scatter: 1.4826 x median absolute deviation",
)


@dataclass(frozen=True)
class SampleStatistics:
    """A sample of stars and its statistics.

    Attributes
    ----------
    name : str
        What the sample is.
    sample : Sample
        The stars.
    statistics : record of STATISTICS_DTYPE
        Of all its stars.
    unit : str
        What the jackknife of its errors leaves out: "exposures", "CCDs" or "stars".
    """

    name: str
    sample: Sample
    statistics: np.void
    unit: str


@dataclass(frozen=True)
class Findings:
    """Everything that a validation found and that fits on a page.

    Attributes
    ----------
    title : str
        Which survey.
    samples : tuple of SampleStatistics
        Held-back stars first.
    judged : str
        Name of the sample that the verdicts on mean residuals are about.
    verdicts : tuple of Verdict
        Requirements.
    trends : mapping of str to tuple of Trend
        Of "all" held-back stars, and of "bright" ones.
    exposures : ndarray of STATISTICS_DTYPE [n]
        Held-back stars by exposure.
    status : StatusSummary or None
        The CCDs; None if the catalogue does not know them.
    notes : tuple of str
        What was lacking.
    """

    title: str
    samples: tuple[SampleStatistics, ...]
    judged: str
    verdicts: tuple[Verdict, ...]
    trends: Mapping[str, tuple[Trend, ...]]
    exposures: np.ndarray
    status: StatusSummary | None
    notes: tuple[str, ...] = ()


def lines(found: Findings) -> list[str]:
    """Return the summary as lines of text."""
    text = [f"PSF validation of {found.title}", ""]
    for each in found.samples:
        left_out = "".join(f"; {count} left out: {reason}" for reason, count in each.sample.rejected.items())
        text.append(f"{each.name}: {len(each.sample.rows)} of {each.sample.n_star} used{left_out}")
    text += [*(f"note: {note}" for note in found.notes), "", *_CONVENTIONS, ""]
    text += _sample_lines(found.samples)
    text += ["", *_verdict_lines(found), "", "slopes [1e-3 per unit of the abscissa]"]
    for name, trends in found.trends.items():
        text += _slope_lines(name, trends)
    if len(found.exposures):
        text += ["", "held-back stars by exposure [1e-3]", *_exposure_lines(found.exposures)]
    if found.status is not None:
        text += ["", *_status_lines(found.status)]
    return text


def _sample_lines(samples: Sequence[SampleStatistics]) -> list[str]:
    """Return a table of means and scatters."""
    width = max(len(each.name) for each in samples)
    text = ["mean residuals [1e-3], errors by a jackknife"]
    text.append(f"{'sample':{width}s} {'stars':>9s}" + "".join(f"{name:>18s}" for name in QUANTITIES) + "  left out")
    for each in samples:
        row = each.statistics
        cells = "".join(_cell(row[f"{name}_mean"], row[f"{name}_mean_err"]) for name in QUANTITIES)
        text.append(f"{each.name:{width}s} {row['n']:9d}{cells}  {each.unit}")
    text.append("rms residuals [1e-3]")
    for each in samples:
        row = each.statistics
        cells = "".join(_cell(row[f"{name}_rms"], row[f"{name}_rms_err"], "") for name in QUANTITIES)
        text.append(f"{each.name:{width}s} {row['n']:9d}{cells}")
    text.append("median and central scatter [1e-3]")
    for each in samples:
        row = each.statistics
        cells = "".join(
            f"{_number(1e3 * row[f'{name}_median'], '+.2f') + ', ' + _number(1e3 * row[f'{name}_nmad'], '.2f'):>18s}"
            for name in QUANTITIES
        )
        text.append(f"{each.name:{width}s} {row['n']:9d}{cells}")
    return text


def _verdict_lines(found: Findings) -> list[str]:
    """Return the requirements with 1 for met and 0 for not met."""
    if not found.verdicts:
        return ["no verdict: there are no stars to judge by"]
    text = [f"requirements: 1 is met, 0 is not; ? says that it is so by less than two errors; means of {found.judged}"]
    for each in found.verdicts:
        name = each.name
        if not np.isfinite(each.value):
            text.append(f"  0  {name}: not measured")
            continue
        sure = " " if each.significant else "?"
        error = f"{each.error:.1e}" if np.isfinite(each.error) else "?"
        text.append(f"  {int(each.met)}{sure} {name} = {each.value:+.2e} +- {error}, limit {each.limit:.1e}")
    return text


def _slope_lines(sample: str, trends: Sequence[Trend]) -> list[str]:
    """Return the slopes of the trends of a sample."""
    text = []
    for each in trends:
        unit, meaning, logarithmic = ABSCISSAE[each.abscissa]
        per = "decade" if logarithmic else unit
        cells = "".join(f"  {name} {_cell(each.slope[name], each.slope_error[name])}" for name in TREND_QUANTITIES)
        text.append(f"  {sample:6s} against {meaning + ' [per ' + per + ']':38s}{cells}")
    return text


def _exposure_lines(table: np.ndarray) -> list[str]:
    """Return means of each exposure."""
    text = [f"{'exposure':>8s} {'stars':>7s}" + "".join(f"{name:>18s}" for name in ("dg1", "dg2", "dT"))]
    for row in table:
        cells = "".join(_cell(row[f"{name}_mean"], row[f"{name}_mean_err"]) for name in ("dg1", "dg2", "dT"))
        text.append(f"{row['exposure']:8d} {row['n']:7d}{cells}")
    return text


def _status_lines(status: StatusSummary) -> list[str]:
    """Return what became of the CCDs."""
    text = [f"{status.n_ccd} CCDs: " + ", ".join(f"{count} {word}" for word, count in status.counts.items())]
    text += [f"  {word}: {example}" for word, example in status.examples.items()]
    text.append("exposure  CCDs  accepted   stars used   chi2   FWHM [arcsec], means over accepted CCDs")
    for row in status.exposures:
        values = (
            f"{_number(row['n_used'], '12.1f'):>12s} {_number(row['chi2'], '6.3f'):>6s} "
            f"{_number(row['fwhm_mean_arcsec'], '8.4f'):>8s}"
        )
        text.append(f"{row['exposure']:8d} {row['n_ccd']:5d} {row['n_accepted']:9d} {values}")
    return text


def _cell(value: float, error: float, sign: str = "+") -> str:
    """Write a value and its error in units of 1e-3, 18 characters."""
    if not np.isfinite(value):
        return f"{'-':>18s}"
    bar = f"{1e3 * error:.2f}" if np.isfinite(error) else "?"
    return f"{f'{1e3 * value:{sign}.2f} +- {bar}':>18s}"


def _number(value: float, form: str) -> str:
    return f"{value:{form}}" if np.isfinite(value) else "-"


def trend_text(trends: Mapping[str, Sequence[Trend]]) -> str:
    """Return all bins as a table of text with the names of its columns in the first line, and slopes as comments."""
    names = TREND_DTYPE.names or ()
    text = [" ".join(("#", "sample", "abscissa", *names))]
    for sample, each in ((sample, each) for sample, members in trends.items() for each in members):
        unit, meaning, logarithmic = ABSCISSAE[each.abscissa]
        text.append(f"# {sample}, {each.abscissa}: {meaning}" + (f" [{unit}]" if unit else ""))
        for name in TREND_QUANTITIES:
            per = "decade" if logarithmic else f"unit of {each.abscissa}"
            text.append(f"# slope of {name}: {each.slope[name]:.6e} +- {each.slope_error[name]:.2e} per {per}")
        for row in each.table:
            text.append(" ".join((sample, each.abscissa, *(f"{row[name]:.8g}" for name in names))))
    return "\n".join(text) + "\n"


def histogram_text(status: StatusSummary) -> str:
    """Return the histograms of the CCDs' numbers as a table of text."""
    text = ["# name low high count"]
    for each in status.histograms:
        text.append(f"# {each.name}: {each.meaning}" + (f" [{each.unit}]" if each.unit else ""))
        for low, high, count in zip(each.edges[:-1], each.edges[1:], each.count, strict=True):
            text.append(f"{each.name} {low:.8g} {high:.8g} {count}")
    return "\n".join(text) + "\n"


def as_json(found: Findings, params: ValidationParams) -> str:
    """Return all numbers, what they were made with, and the versions; numbers that are not known are null."""
    content: dict[str, Any] = {
        "title": found.title,
        "versions": {"shapempi": __version__, "python": platform.python_version(), "numpy": np.__version__},
        "settings": params.model_dump(mode="json"),
        "conventions": " ".join(_CONVENTIONS),
        "notes": list(found.notes),
        "samples": [
            {
                "name": each.name,
                "n_star": each.sample.n_star,
                "n_used": len(each.sample.rows),
                "left_out": dict(each.sample.rejected),
                "jackknife_over": each.unit,
                "residuals": {
                    name: {statistic: _plain(each.statistics[f"{name}_{statistic}"]) for statistic in STATISTICS}
                    for name in QUANTITIES
                },
            }
            for each in found.samples
        ],
        "judged": found.judged,
        "verdicts": [{key: _plain(value) for key, value in asdict(each).items()} for each in found.verdicts],
        "trends": [
            {
                "sample": sample,
                "abscissa": each.abscissa,
                "slope": {name: _plain(value) for name, value in each.slope.items()},
                "slope_error": {name: _plain(value) for name, value in each.slope_error.items()},
            }
            for sample, members in found.trends.items()
            for each in members
        ],
        "exposures": _table(found.exposures),
        "ccds": None if found.status is None else _status(found.status),
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def _status(status: StatusSummary) -> Mapping[str, Any]:
    return {"n_ccd": status.n_ccd, "status": dict(status.counts), "exposures": _table(status.exposures)}


def _table(table: np.ndarray) -> list[dict[str, Any]]:
    """Return the rows of a table as mappings."""
    return [{name: _plain(row[name]) for name in table.dtype.names or ()} for row in table]


def _plain(value: Any) -> Any:
    """Return a value for JSON, which has neither NumPy's types nor NaN."""
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not np.isfinite(value) else value
