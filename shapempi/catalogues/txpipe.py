"""The catalogue as TXPipe's metacalibration catalogue: HDF5, group `shear`.

TXPipe of 2026 reads `g1`, `g1_1p`, ..., `T`, `s2n`, `weight`, `flags`, `mag_BAND`; before April 2026 most of them had
the prefix `mcal_`.  The file has both: the older names are links to the same data and take no room.

Frames.  Our g1, g2 have u to the West and v to the North, as TreeCorr has on the sphere.  TXPipe's stages turn the
sign of g2 on the way to TreeCorr unless they are configured otherwise (`flip_g2: true` is the default of TXTwoPoint),
and leave it on the way to NaMaster, so a catalogue that fits their defaults has u to the East: g2 changes its sign.  A
mirrored image that was sheared by +g2 is one that was sheared by -g2: 2p and 2m change places with the sign, or the
response R22 would be negative and a calibrated g2 would have its old sign again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shapempi.catalog import SHEAR_TYPES, Column
from shapempi.catalogues.export import Progress, count_rows, primary_rows, silent
from shapempi.catalogues.opened import open_catalogue
from shapempi.errors import DataError
from shapempi.io.catalog import TableWriter, create_catalogue
from shapempi.io.column_list import shortened
from shapempi.io.table import Layout

__all__ = ["FRAMES", "TxpipeParams", "export_txpipe", "shear_columns", "to_txpipe"]

#: Suffixes of the columns and the native types behind them, where u is to the West and where it is to the East.
_SUFFIXES = ("", "_1p", "_1m", "_2p", "_2m")
FRAMES = {
    "east": (-1.0, dict(zip(_SUFFIXES, ("noshear", "1p", "1m", "2m", "2p"), strict=True))),
    "west": (1.0, dict(zip(_SUFFIXES, SHEAR_TYPES, strict=True))),
}
_SAID = {
    "east": "u East, v North: TXPipe's defaults (flip_g2 true for TreeCorr, false for NaMaster)",
    "west": "u West, v North: flip_g2 false for TreeCorr, true for NaMaster",
}
#: Columns that had the prefix `mcal_` in the older names; those of single bands and types begin like them.
_PREFIXED = re.compile(r"psf_(g1|g2|T_mean)|(g1|g2|T|T_err|s2n|mag_.+|flags)(_[12][pm])?")

#: Native columns that it is made of: one each, and one each for every type.
_NEEDED = (
    *("TILE_X", "TILE_Y", "NUMBER", "ra", "dec", "psf_g1", "psf_g2", "psf_T", "shape_flags"),
    *("FLAGS", "IMAFLAGS_ISO", "SPREAD_CLASS", "size_class"),
)
_NEEDED_BY_TYPE = ("g1", "g2", "g1_err", "g2_err", "T", "T_err", "s2n", "mag", "mag_err", "flags")


@dataclass(frozen=True)
class TxpipeParams:
    """What TXPipe's catalogue needs and the survey's does not say.

    Attributes
    ----------
    step : float
        Shear applied to the images in each direction; TXPipe's delta_gamma is twice that.
    band : str
        The band that was measured.
    frame : str
        `east` or `west`: where u points to.
    shape_noise : float
        Rms of the intrinsic g per component, for the weights.
    primary : bool
        Whether to take primary objects alone; TXPipe knows nothing of overlaps.
    """

    step: float
    band: str = "r"
    frame: str = "east"
    shape_noise: float = 0.3
    primary: bool = True


def shear_columns(band: str) -> tuple[Column, ...]:
    """Return the columns of the group `shear`."""
    fixed = (
        Column("id", "i8", "", "Tile XXX.YYY and NUMBER as XXXYYYNNNNNNN."),
        Column("ra", "f8", "deg", "Right ascension (ICRS)."),
        Column("dec", "f8", "deg", "Declination (ICRS)."),
        Column("psf_g1", "f8", "", "Mean g1 of the original PSF over the epochs."),
        Column("psf_g2", "f8", "", "Mean g2 of the original PSF over the epochs."),
        Column("psf_T_mean", "f8", "arcsec2", "Mean T = 2 sigma^2 of the original PSF over the epochs."),
        Column("extraction_flags", "i4", "", "FLAGS of the detection."),
        Column("mask_flags", "i4", "", "OR of the mask over the pixels of the object (IMAFLAGS_ISO)."),
        Column("spread_class", "i4", "", "0 star, 1 galaxy, 2 other (SPREAD_CLASS)."),
        Column("size_class", "i4", "", "0 star, 1 galaxy, 2 other or not measured."),
    )
    by_type = []
    for suffix, kind in FRAMES["west"][1].items():
        where = "without shear" if kind == "noshear" else f"of the image sheared by {kind}"
        by_type += [
            Column(f"g1{suffix}", "f8", "", f"g1 {where}."),
            Column(f"g2{suffix}", "f8", "", f"g2 {where}."),
            Column(f"T{suffix}", "f8", "arcsec2", f"T = 2 sigma^2 before the PSF, {where}."),
            Column(f"T_err{suffix}", "f8", "arcsec2", f"Error of T{suffix}."),
            Column(f"s2n{suffix}", "f8", "", f"Signal-to-noise ratio {where}."),
            Column(f"mag_{band}{suffix}", "f8", "mag", f"Magnitude of the model {where}."),
            Column(f"mag_err_{band}{suffix}", "f8", "mag", f"Error of mag_{band}{suffix}."),
            Column(f"weight{suffix}", "f8", "", "1 / (shape_noise^2 + (g1_err^2 + g2_err^2)/2); 0 without a shape."),
            Column(f"flags{suffix}", "i8", "", f"0 is good: bits of the shape measurement, or of the fit {where}."),
        ]
    return (*fixed, *by_type)


def to_txpipe(rows: np.ndarray, params: TxpipeParams) -> np.ndarray:
    """Turn native rows into rows of the group `shear`.

    Parameters
    ----------
    rows : ndarray, structured [n]
        Rows of the catalogue.
    params : TxpipeParams
        Frame, band, weights.

    Returns
    -------
    ndarray, structured [n]
        With the columns of `shear_columns`.
    """
    sign, types = FRAMES[params.frame]
    table = np.zeros(len(rows), dtype=Layout("", shear_columns(params.band), 0, {}).dtype)
    tile = rows["TILE_X"].astype(np.int64) * 1000 + rows["TILE_Y"]
    table["id"] = tile * 10_000_000 + rows["NUMBER"]
    for name, source in (
        *(("ra", "ra"), ("dec", "dec"), ("psf_g1", "psf_g1"), ("psf_T_mean", "psf_T")),
        *(("extraction_flags", "FLAGS"), ("mask_flags", "IMAFLAGS_ISO")),
        *(("spread_class", "SPREAD_CLASS"), ("size_class", "size_class")),
    ):
        table[name] = rows[source]
    table["psf_g2"] = sign * rows["psf_g2"]
    for suffix, kind in types.items():
        table[f"g1{suffix}"] = rows[f"g1_{kind}"]
        table[f"g2{suffix}"] = sign * rows[f"g2_{kind}"]
        for name, source in (
            *((name, name) for name in ("T", "T_err", "s2n")),
            *((f"mag_{params.band}", "mag"), (f"mag_err_{params.band}", "mag_err")),
        ):
            table[f"{name}{suffix}"] = rows[f"{source}_{kind}"]
        noise = (rows[f"g1_err_{kind}"] ** 2 + rows[f"g2_err_{kind}"] ** 2) / 2
        weight = 1.0 / (params.shape_noise**2 + noise)
        flags = np.where(rows["shape_flags"] != 0, rows["shape_flags"], rows[f"flags_{kind}"])
        table[f"flags{suffix}"] = flags
        table[f"weight{suffix}"] = np.where((flags == 0) & np.isfinite(weight), weight, 0.0)
    return table


def export_txpipe(
    source: Path,
    target: Path,
    params: TxpipeParams,
    *,
    overwrite: bool,
    progress: Progress = silent,
) -> int:
    """Write the catalogue of TXPipe.

    Parameters
    ----------
    source : Path
        The catalogue: a run, a file, or the folder of several.
    target : Path
        HDF5 file to write.
    params : TxpipeParams
        What the catalogue does not say.
    overwrite : bool
        Whether a file that is there may be replaced.
    progress : callable, optional
        Told (rows done, rows in all, `rows`) whenever there are more to come.

    Returns
    -------
    int
        Rows written.

    Raises
    ------
    ConfigError
        If the target is there and must not be replaced.
    MissingInputError, DataError
        If the catalogue is not there, or lacks columns.
    """
    needed = [*_NEEDED, *(f"{name}_{kind}" for kind in SHEAR_TYPES for name in _NEEDED_BY_TYPE)]
    with open_catalogue(source) as catalogue:
        absent = [name for name in needed if name not in catalogue.names]
        if absent:
            raise DataError(f"{source}: TXPipe's catalogue needs columns that are not there: {shortened(absent)}")
        n_row = count_rows(catalogue, params.primary)
        columns = shear_columns(params.band)
        with create_catalogue(target, {}, overwrite=overwrite) as file:
            writer = TableWriter(file, "shear", columns, n_row)
            for rows in primary_rows(catalogue, needed, params.primary, n_row, progress):
                writer.append(to_txpipe(rows, params))
            writer.finish()
            group = file["shear"]
            group.attrs["catalog_type"] = "metacal"
            group.attrs["bands"] = [params.band]
            group.attrs["delta_gamma"] = 2.0 * params.step
            group.attrs["shear_frame"] = _SAID[params.frame]
            group.attrs["shape_noise"] = params.shape_noise
            group.attrs["primary_only"] = params.primary
            for column in columns:
                if _PREFIXED.fullmatch(column.name):
                    group[f"mcal_{column.name}"] = group[column.name]
    return n_row
