"""The WCS of all CCDs of some exposures as one table (specification, 3.2)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from shapempi.camera import Camera
from shapempi.catalog import Column
from shapempi.errors import DataError, MissingInputError
from shapempi.field.sip import MAX_ORDER, SipWcs, fit_sip
from shapempi.ids import CcdId
from shapempi.io.exposure import CFIS_CCDS, KeywordParams, photometry, read_epoch
from shapempi.io.fits import Hdu
from shapempi.survey.footprints import CcdFootprint, place_ccd, scan_ccds
from shapempi.wcs import Wcs

__all__ = ["WcsTable", "make_wcs_table"]

#: Terms of a TPV distortion.
_N_PV = 40
_SIP = re.compile(r"(AP?|BP?)_(\d)_(\d)")
_PV = re.compile(r"(PV[12])_(\d+)")
_SQUARE = f"({MAX_ORDER + 1},{MAX_ORDER + 1})f8"

_COLUMNS = (
    Column("EXPOSURE", "i8", "", "Exposure number."),
    Column("CCD", "i2", "", "CCD number, from 0."),
    Column("FILE", "S", "", "Image file."),
    Column("HDU", "i2", "", "HDU in the file, 0 is the primary."),
    Column("ACTIVE", "u1", "", "1 if the CCD has sky pixels."),
    Column("NAXIS1", "i4", "pix", "Width of the whole CCD."),
    Column("NAXIS2", "i4", "pix", "Height of the whole CCD."),
    Column("SECTION", "(4,)i4", "pix", "Part with sky: x0, x1, y0, y1, from 0, half open."),
    Column("CTYPE1", "S", "", "Projection of axis 1."),
    Column("CTYPE2", "S", "", "Projection of axis 2."),
    Column("CRPIX", "(2,)f8", "pix", "Reference pixel, from 1 as in FITS."),
    Column("CRVAL", "(2,)f8", "deg", "RA, Dec of the reference pixel."),
    Column("CD", "(2,2)f8", "deg/pix", "Linear matrix, CD[i,j] is CDi_j."),
    Column("LONPOLE", "f8", "deg", "Native longitude of the pole."),
    Column("EQUINOX", "f8", "yr", "Equinox."),
    Column("RADESYS", "S", "", "Reference frame."),
    Column("PV1", f"({_N_PV},)f8", "", "TPV terms of axis 1; NaN is not in the header."),
    Column("PV2", f"({_N_PV},)f8", "", "TPV terms of axis 2; NaN is not in the header."),
    *(Column(name, _SQUARE, "", f"SIP terms {name}_i_j.") for name in ("A", "B", "AP", "BP")),
    Column("RA", "f8", "deg", "RA of the middle of the part with sky."),
    Column("DEC", "f8", "deg", "Dec of the middle of the part with sky."),
    Column("CORNER_RA", "(4,)f8", "deg", "RA of the corners of the part with sky."),
    Column("CORNER_DEC", "(4,)f8", "deg", "Dec of the corners of the part with sky."),
    Column("PIXEL_SCALE", "f8", "arcsec", "Side of a pixel in the middle of the part with sky."),
    Column("GAIN", "f8", "adu-1", "Gain in electrons per ADU; NaN is unknown."),
    Column("SATURATE", "f8", "adu", "Saturation level; infinite is unknown."),
    Column("MAG_ZP", "f8", "mag", "Zero point of the CCD; NaN is unknown."),
    Column("FLUX_SCALE", "f8", "", "Factor to the survey's zero point; NaN is unknown."),
    Column("EPOCH", "f8", "yr", "When the image was taken; NaN is unknown."),
    Column("HEADER", "S", "", "Cards of the original WCS."),
)

_SIP_COLUMNS = (
    Column("SIP_ORDER", "i2", "", "Order of the SIP polynomials; 0 has none."),
    Column("SIP_CRPIX", "(2,)f8", "pix", "Reference pixel of the SIP form, from 1."),
    Column("SIP_CRVAL", "(2,)f8", "deg", "RA, Dec of that pixel."),
    Column("SIP_CD", "(2,2)f8", "deg/pix", "Linear matrix of the SIP form."),
    *(Column(f"SIP_{name}", _SQUARE, "", f"Terms {name}_i_j of the SIP form.") for name in ("A", "B", "AP", "BP")),
    Column("SIP_RESIDUAL", "f8", "pix", "Largest distance from the original on the CCD."),
    Column("SIP_INVERSE_RESIDUAL", "f8", "pix", "The same of AP and BP without iterations."),
    Column("SIP_HEADER", "S", "", "Cards of the SIP form."),
)

#: Columns that a table has only if a row has any of their values.
_OPTIONAL = frozenset(("PV1", "PV2", "A", "B", "AP", "BP"))

_Row = dict[str, Any]


class WcsTable:
    """A table with a row per CCD.

    Attributes
    ----------
    columns : tuple of Column
        Its columns; texts have the length of the longest.
    rows : structured ndarray [n]
        Sorted by exposure and CCD.
    problems : tuple of str
        CCDs and files that are not in it, each with its reason.
    """

    def __init__(self, rows: list[_Row], columns: tuple[Column, ...], problems: list[str]) -> None:
        used = [each for each in columns if each.name not in _OPTIONAL or any(each.name in row for row in rows)]
        order = {name: _top_order(rows, name) + 1 for name in (each.name for each in used if each.dtype == _SQUARE)}
        sized = []
        for column in used:
            dtype = column.dtype
            if dtype == "S":
                dtype = f"S{max((len(row.get(column.name, '')) for row in rows), default=0) or 1}"
            elif dtype == _SQUARE:
                dtype = f"({order[column.name]},{order[column.name]})f8"
            sized.append(replace(column, dtype=dtype))
        self.columns = tuple(sized)
        self.problems = tuple(problems)
        self.rows = np.zeros(len(rows), dtype=[(each.name, each.dtype) for each in self.columns])
        for column in self.columns:
            target = self.rows[column.name]
            if column.name in _OPTIONAL and column.name.startswith("PV"):
                target[...] = np.nan
            for i, row in enumerate(rows):
                if column.name in row:
                    value = row[column.name]
                    n = order.get(column.name)
                    target[i] = value if n is None else value[:n, :n]


def _top_order(rows: list[_Row], name: str) -> int:
    """Return the highest power in the SIP terms of a column."""
    used = np.zeros((MAX_ORDER + 1, MAX_ORDER + 1), dtype=bool)
    for row in rows:
        if name in row:
            used |= row[name] != 0
    i, j = np.nonzero(used)
    return int(max((i + j).max(initial=0), 0))


def make_wcs_table(
    files: Mapping[int, Path],
    keywords: KeywordParams,
    *,
    n_ccd: int,
    mag_zp: float,
    tolerance: float | None,
    progress: Callable[[int, int, str], None],
    camera: Camera = CFIS_CCDS,
) -> WcsTable:
    """Read the headers of exposures, one pass over each file, no pixels.

    Parameters
    ----------
    files : mapping of int to Path
        Image mosaics by exposure.
    keywords : KeywordParams
        Names of the keywords.
    n_ccd : int
        CCDs of the camera: what a broken file has lost is reported.
    mag_zp : float
        Common zero point of the survey [mag].
    tolerance : float or None
        With a number every WCS is also converted to SIP, and must agree as well as this [pixel].
    progress : callable
        Called with (exposures done, exposures in all, exposure).
    camera : Camera, optional
        Names and numbers of the CCDs.

    Returns
    -------
    WcsTable
        The rows, and what is missing.

    Raises
    ------
    DataError
        If a conversion to SIP misses the tolerance; every such CCD is named.
    """
    rows: list[_Row] = []
    problems: list[str] = []
    missed: list[str] = []
    # The table takes what is known; a zero point is not needed for positions.
    lenient = keywords.model_copy(update={"default_zero_point": math.nan})
    for n_done, (exposure, path) in enumerate(sorted(files.items()), start=1):
        try:
            hdus, broken = scan_ccds(path, camera)
        except (DataError, MissingInputError) as error:
            problems.append(str(error))
            hdus, broken = {}, ""
        if broken:
            problems.append(f"{broken} (the table has {len(hdus)} of its {n_ccd} CCDs)")
        for number, hdu in sorted(hdus.items()):
            footprint = place_ccd(CcdId(exposure, number), hdu, keywords)
            try:
                rows.append(_row(footprint, hdu, lenient, mag_zp))
                if tolerance is not None:
                    _add_sip(rows[-1], footprint, tolerance, missed)
            except DataError as error:
                problems.append(f"CCD {footprint.ccd}: {error}")
        progress(n_done, len(files), f"{exposure:07d}")
    if missed:
        more = [f"and {len(missed) - 10} more"] if len(missed) > 10 else []
        raise DataError("\n".join([*missed[:10], *more, "no table was written"]))
    return WcsTable(rows, _COLUMNS if tolerance is None else _COLUMNS + _SIP_COLUMNS, problems)


def _row(footprint: CcdFootprint, hdu: Hdu, keywords: KeywordParams, mag_zp: float) -> _Row:
    """Return the columns of one CCD.

    Raises
    ------
    DataError
        If it has sky and no usable WCS, or a keyword is no number.
    """
    if footprint.problem:
        raise DataError(footprint.problem)
    gain, saturate, zero_point, flux_scale = photometry((hdu.header,), keywords, mag_zp, str(hdu))
    y0, y1, x0, x1 = footprint.valid_box
    row: _Row = {
        "EXPOSURE": footprint.ccd.exposure,
        "CCD": footprint.ccd.ccd,
        "FILE": hdu.path,
        "HDU": hdu.index,
        "ACTIVE": footprint.active,
        "NAXIS1": footprint.shape[1],
        "NAXIS2": footprint.shape[0],
        "SECTION": (x0, x1, y0, y1),
        "GAIN": gain or math.nan,
        "SATURATE": saturate,
        "MAG_ZP": zero_point,
        "FLUX_SCALE": flux_scale,
        "EPOCH": read_epoch((hdu.header,), keywords),
        "HEADER": footprint.header,
    }
    middle = (x0 + x1 - 1) / 2, (y0 + y1 - 1) / 2
    corners = footprint.outline[::2]
    place, scale = (math.nan, math.nan), math.nan
    try:
        wcs = footprint.wcs
    except DataError:
        if footprint.active:
            raise
        return row | {"RA": math.nan, "DEC": math.nan, "CORNER_RA": math.nan, "CORNER_DEC": math.nan}
    ra, dec = wcs.pixel_to_sky(*(np.array([value]) for value in middle))
    place, scale = (float(ra[0]), float(dec[0])), wcs.pixel_scale(*middle)
    row |= {"RA": place[0], "DEC": place[1], "PIXEL_SCALE": scale}
    row |= {"CORNER_RA": corners[:, 0], "CORNER_DEC": corners[:, 1]}
    return row | _keywords(wcs)


def _keywords(wcs: Wcs, prefix: str = "") -> _Row:
    """Return the keywords of a WCS as columns."""
    cards = fits.Header.fromstring(wcs.header)

    def number(name: str, default: float) -> float:
        value = cards.get(name, default)
        return float(value) if isinstance(value, int | float) else default

    row: _Row = {
        f"{prefix}CRPIX": (number("CRPIX1", 0.0), number("CRPIX2", 0.0)),
        f"{prefix}CRVAL": (number("CRVAL1", 0.0), number("CRVAL2", 0.0)),
        f"{prefix}CD": wcs.matrix,
    }
    if not prefix:
        row |= {"CTYPE1": str(cards["CTYPE1"]), "CTYPE2": str(cards["CTYPE2"])}
        row |= {"LONPOLE": number("LONPOLE", 180.0), "EQUINOX": number("EQUINOX", math.nan)}
        row["RADESYS"] = str(cards.get("RADESYS", cards.get("RADECSYS", "")))
    for keyword in cards:
        if (match := _SIP.fullmatch(keyword)) is not None:
            terms = row.setdefault(prefix + match[1], np.zeros((MAX_ORDER + 1, MAX_ORDER + 1)))
            terms[int(match[2]), int(match[3])] = float(cards[keyword])
        elif not prefix and (match := _PV.fullmatch(keyword)) is not None and int(match[2]) < _N_PV:
            row.setdefault(match[1], np.full(_N_PV, math.nan))[int(match[2])] = float(cards[keyword])
    return row


def _add_sip(row: _Row, footprint: CcdFootprint, tolerance: float, missed: list[str]) -> None:
    """Add the SIP form of a CCD's WCS, or the reason why there is none to `missed`."""
    if "CRPIX" not in row:  # no sky, no WCS
        row |= {"SIP_RESIDUAL": math.nan, "SIP_INVERSE_RESIDUAL": math.nan}
        return
    try:
        made: SipWcs = fit_sip(footprint.wcs, footprint.shape, tolerance)
    except DataError as error:
        missed.append(f"CCD {footprint.ccd}: {error}")
        return
    row |= _keywords(Wcs(made.header, str(footprint.ccd)), "SIP_")
    row |= {"SIP_ORDER": made.order, "SIP_HEADER": made.header}
    row |= {"SIP_RESIDUAL": made.residual, "SIP_INVERSE_RESIDUAL": made.inverse_residual}
