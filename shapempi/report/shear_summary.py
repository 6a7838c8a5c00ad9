"""A shear analysis in words and numbers: the lines that are printed, the page, and the file with all numbers."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shapempi import __version__
from shapempi.lensing.bins import QUANTITIES
from shapempi.lensing.correlation import Correlation, PsfCorrelation
from shapempi.lensing.null_test import NullTest
from shapempi.lensing.params import ShearParams
from shapempi.lensing.tangential import Tangential
from shapempi.lensing.truth import TruthBias
from shapempi.report.document import Block, Document, Listing, Paragraph, Picture, Section, Table

__all__ = ["ShearFindings", "as_document", "as_json", "lines"]

_CONVENTIONS = (
    "g1, g2: reduced shear in the frame u West, v North, which is TreeCorr's for ra and dec; "
    "shear = (R_shear + R_selection)^-1 <g>"
)


@dataclass(frozen=True)
class ShearFindings:
    """Everything that a shear analysis found.

    Attributes
    ----------
    title : str
        Which survey.
    n_row : int
        Rows of the catalogue.
    counts : mapping of str to int
        Rows after each cut and all before it.
    step : float
        Shear of the metacalibration types.
    n_patch : int
        Patches of the sky.
    whole : record of BIN_DTYPE
        Response and mean shear of all galaxies.
    bins : mapping of str to ndarray of BIN_DTYPE
        The same in bins of each of `QUANTITIES`.
    leakage : ndarray of LEAKAGE_DTYPE
        Slopes against the PSF.
    truth : TruthBias or None
        Comparison with the truth.
    correlation, psf : Correlation, PsfCorrelation
        Correlation functions.
    tangential : tuple of Tangential
        Shear around bright stars, then around positions of the user's.
    notes : tuple of str
        What was lacking.
    """

    title: str
    n_row: int
    counts: Mapping[str, int]
    step: float
    n_patch: int
    whole: np.void
    bins: Mapping[str, np.ndarray]
    leakage: np.ndarray
    truth: TruthBias | None
    correlation: Correlation
    psf: PsfCorrelation
    tangential: Sequence[Tangential]
    notes: Sequence[str]

    @property
    def tests(self) -> tuple[NullTest, ...]:
        """All null tests; tangential shear around positions of the user's is none."""
        # Stars come first: no galaxy is sheared by them in any way.
        around = [test for k, each in enumerate(self.tangential) for test in each.tests[(0 if k == 0 else 1) :]]
        return (*self.correlation.tests, *around)


def lines(found: ShearFindings) -> list[str]:
    """Return the summary as lines of text."""
    row = found.whole
    errors = f"a jackknife over {found.n_patch} patches" if np.isfinite(row["R11_err"]) else "the scatter of the shapes"
    text = [f"{found.n_row:>10d} rows"]
    text += [f"{count:>10d} {name}" for name, count in found.counts.items()]
    text += [
        "",
        f"shear of {row['n']} galaxies; errors are those of {errors}",
        *(f"  g{i} = {row[f'g{i}']:+.5f} +- {row[f'g{i}_err']:.5f}" for i in (1, 2)),
        f"  R          {_matrix(row, 'R')}, errors of the diagonal {_number(row['R11_err'], '.4f')}, "
        f"{_number(row['R22_err'], '.4f')}",
        f"  of it R_selection {_matrix(row, 'Rsel')}",
    ]
    text += _truth_lines(found.truth)
    text += ["", "PSF leakage: slope of shear against the PSF"]
    for each in found.leakage:
        against = each["against"].decode()
        name = f"dT/T of {against}" if against == "psf_T" else against
        text.append(f"  g{each['component']} against {name:13s} {_pair(each['slope'], each['slope_err'], '.4f')}")
    text += ["", "null tests: chi2 of what should be zero"]
    width = max((len(test.name) for test in found.tests), default=0)
    text += [
        f"  {test.name:{width}s} {test.chi2:8.2f} for {test.dof:3d}, p = {test.p:.3f}; errors: {test.errors}"
        for test in found.tests
        if test.dof
    ]
    if not any(test.dof for test in found.tests):
        text.append("  none: too few pairs")
    low, high = found.correlation.mode_range
    if len(found.correlation.modes):
        text.append(f"  B_n are COSEBIs of {low:.2f} to {high:.2f} arcmin")
    return text + [f"note: {note}" for note in found.notes]


def _truth_lines(truth: TruthBias | None) -> list[str]:
    """Return the comparison with the truth."""
    if truth is None:
        return []
    text = ["", f"against the truth of {truth.n} galaxies"]
    joint = "m and c cannot be told apart, for all have one true shear: m if c = 0, c if m = 0"
    for i in range(2):
        text.append(
            f"  g{i + 1} = {truth.g[i]:+.5f} +- {truth.g_err[i]:.5f}, true {truth.true_g[i]:+.5f}; "
            f"m{i + 1} {_pair(truth.m[i], truth.m_err[i], '.4f')}, c{i + 1} {_pair(truth.c[i], truth.c_err[i], '.5f')}"
        )
    return [*text, f"  {joint}"] if truth.one_shear else text


def as_document(found: ShearFindings, pictures: Mapping[str, Path]) -> Document:
    """Return the page; `pictures` are the files by the name of the section that they are in."""
    captions = {
        "Response and mean shear in bins": "Response and its part of the selection, against S/N, size and magnitude.",
        "Response by signal-to-noise ratio and size": "Mean of R11 and R22, and number of galaxies.",
        "Mean shear": "Mean shear against properties of galaxies and of the PSF; lines: slopes against the PSF.",
        "Correlation functions": "xi+, xi- and the cross component; grey: what the PSF adds to xi+.",
        "E- and B-modes": "COSEBIs with errors.",
        "PSF": "Correlation of shear and PSF, and leakage by separation.",
        "Shear around positions": "Tangential and cross shear.",
    }
    tables: dict[str, list[Table]] = {
        "Response and mean shear in bins": [_bin_table(name, table) for name, table in found.bins.items()],
        "Correlation functions": [_xi_table(found.correlation.table)],
        "E- and B-modes": [_mode_table(found.correlation.modes)] if len(found.correlation.modes) else [],
        "Shear around positions": [_tangential_table(each) for each in found.tangential],
    }
    sections = [
        Section(
            "Summary",
            (Listing(tuple(lines(found))), Paragraph(_CONVENTIONS + ". Tables are in FITS files beside this page.")),
        )
    ]
    for title, caption in captions.items():
        picture = [Picture(pictures[title], caption)] if title in pictures else []
        blocks: tuple[Block, ...] = (*picture, *tables.get(title, []))
        if blocks:
            sections.append(Section(title, blocks))
    return Document(f"Shear of {found.title}", tuple(sections))


def _bin_table(name: str, table: np.ndarray) -> Table:
    """Return the bins of a quantity."""
    quantity = QUANTITIES[name]
    label = quantity.label + (f" [{quantity.unit}]" if quantity.unit else "")
    rows = [
        (
            f"{_number(row['low'], '.4g')} to {_number(row['high'], '.4g')}",
            _number(row["mean"], ".4g"),
            row["n"],
            _pair(row["R11"], row["R11_err"], ".3f"),
            _pair(row["R22"], row["R22_err"], ".3f"),
            _number(row["Rsel11"], "+.3f"),
            _number(row["Rsel22"], "+.3f"),
            _pair(row["g1"], row["g1_err"], ".4f"),
            _pair(row["g2"], row["g2_err"], ".4f"),
        )
        for row in table
    ]
    return Table.of(f"<{label}|mean|n|R11|R22|R_sel 11|R_sel 22|g1|g2", rows)


def _xi_table(table: np.ndarray) -> Table:
    rows = (
        (*_separation(row), *(_pair(row[name], row[f"{name}_err"], ".2e") for name in ("xip", "xim", "xix")))
        for row in table[table["n_pair"] > 0]
    )
    return Table.of("<theta [arcmin]|pairs|xi+|xi-|xi_x", rows)


def _mode_table(table: np.ndarray) -> Table:
    rows = ((row["n"], *(_pair(row[name], row[f"{name}_err"], ".2e") for name in "EB")) for row in table)
    return Table.of("n|E_n [rad^2]|B_n [rad^2]", rows)


def _tangential_table(each: Tangential) -> Table:
    rows = (
        (*_separation(row), *(_pair(row[name], row[f"{name}_err"], ".5f") for name in ("gamma_t", "gamma_x")))
        for row in each.table[each.table["n_pair"] > 0]
    )
    return Table.of(f"<theta from {each.n} {each.name} [arcmin]|pairs|gamma_t|gamma_x", rows)


def _separation(row: np.void) -> tuple[str, str]:
    """Return limits and pairs of a bin of separation."""
    return f"{row['theta_min']:.2f} to {row['theta_max']:.2f}", f"{row['n_pair']:.0f}"


def as_json(found: ShearFindings, params: ShearParams) -> str:
    """Return all numbers, what they were made with, and the versions; numbers that are not known are null."""
    content: dict[str, Any] = {
        "title": found.title,
        "versions": {"shapempi": __version__, "python": platform.python_version(), "numpy": np.__version__},
        "settings": params.model_dump(mode="json"),
        "conventions": _CONVENTIONS,
        "notes": list(found.notes),
        "n_row": found.n_row,
        "counts": dict(found.counts),
        "step": found.step,
        "n_patch": found.n_patch,
        "shear": {
            name: found.whole[name] for name in found.whole.dtype.names or () if name not in ("low", "high", "mean")
        },
        "truth": None if found.truth is None else asdict(found.truth),
        "leakage": _records(found.leakage),
        "bins": {name: _records(table) for name, table in found.bins.items()},
        "correlation": _records(found.correlation.table),
        "mode_range": list(found.correlation.mode_range),
        "modes": _records(found.correlation.modes),
        "psf_correlation": _records(found.psf.table),
        "null_tests": [asdict(test) for test in found.tests],
        "around": [
            {
                "name": each.name,
                "n": each.n,
                "n_random": each.n_random,
                "jackknife": each.jackknife,
                "shear": _records(each.table),
                "tests": [asdict(test) for test in each.tests],
            }
            for each in found.tangential
        ],
    }
    return json.dumps(_plain(content), indent=1, allow_nan=False) + "\n"


def _records(table: np.ndarray) -> list[dict[str, Any]]:
    return [{name: row[name] for name in table.dtype.names or ()} for row in table]


def _plain(value: Any) -> Any:
    """Return a value for JSON, which has neither NumPy's types nor NaN."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, bytes):
        return value.decode()
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _matrix(row: np.void, name: str) -> str:
    return " ".join(f"[{row[f'{name}{i}1']:+.4f} {row[f'{name}{i}2']:+.4f}]" for i in (1, 2))


def _pair(value: float, error: float, form: str) -> str:
    """Write a value and its error."""
    if not np.isfinite(value):
        return "-"
    return f"{value:+{form}} +- {error:{form}}" if np.isfinite(error) else f"{value:+{form}}"


def _number(value: float, form: str) -> str:
    return f"{value:{form}}" if np.isfinite(value) else "-"
