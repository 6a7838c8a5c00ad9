"""PSF models in the form of PSFEx: `.psf` files (behaviour specification, section 7.2)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import fitsio
import numpy as np

from shapempi.errors import ConfigError, DataError
from shapempi.io.atomic import refuse_existing, replacing
from shapempi.io.fits import Hdu, card_value, scan_hdus
from shapempi.psf import INTERPOLANTS, PsfModel, n_terms

__all__ = ["read_psf", "read_used_stars", "write_psf"]

_NAME, _COLUMN = "PSF_DATA", "PSF_MASK"

#: SExtractor's names of positions on the image, in any order: X_IMAGE, YWIN_IMAGE, XPSF_IMAGE, Y_IMAGE_DBL ...
_POSITION = re.compile(r"^([XY])(WIN|PSF|MODEL|PEAK)?_IMAGE(_DBL)?$")

#: How PSFEx interpolates its own models, and the keyword of our own files that says that a model needs another way.
_INTERPOLANT, _INTERPOLANT_KEY = "lanczos4", "INTERPOL"

#: Columns of PSFEx's output catalogue.
_STAR_COLUMNS = (("SOURCE_NUMBER", "i8"), ("FLAGS_PSF", "i8"), ("CHI2_PSF", "f8"), ("NORM_PSF", "f8"))

#: No sane model has more; a damaged header might.
_MAX_DEGREE = 20


@dataclass(frozen=True)
class _Axis:
    """One variable of the polynomial."""

    letter: str  # x or y
    group: int
    zero: float
    scale: float


def read_psf(path: Path, *, image: int | None = None) -> PsfModel:
    """Read a PSF model that PSFEx, or a program that writes its files, has made.

    Any sampling and size, any polynomial of the position on the image: constant, of one coordinate, of both in one
    group (total degree) or in two (a degree for each), in either order and under any of SExtractor's names.

    Parameters
    ----------
    path : Path
        The file.
    image : int, optional
        Which model, from 0; needed when the file holds the models of several images.

    Returns
    -------
    PsfModel
        The model.  A polynomial with a degree for each coordinate is embedded in the one of their sum; a grid of
        even size, which PSFEx centres on pixel n/2, gets a row or column of zeros, so that it is centred there.
        Its `fwhm` is the file's PSF_FWHM: what PSFEx was told if it did not select the stars itself.

    Raises
    ------
    MissingInputError
        If there is no such file.
    DataError
        If it is truncated or not FITS, holds no model or several, or a model that depends on more than the position.
    """
    hdu = _find(path, image)
    header = _Header(hdu)
    axes = list(_axes(header))
    degrees = {axis.group: header.integer(f"POLDEG{axis.group}", 0) for axis in axes}
    if any(not 0 <= degree <= _MAX_DEGREE for degree in degrees.values()):
        raise DataError(f"{hdu}: polynomial degrees {sorted(degrees.values())}; 0 to {_MAX_DEGREE} can be used")
    powers = _powers(axes, degrees)
    basis = _centred(_basis(hdu, header, len(powers)))
    degree = max(sum(power) for power in powers)
    coefficients = np.zeros((n_terms(degree), *basis.shape[1:]))
    for image_of_term, (p, q) in zip(basis, powers, strict=True):
        coefficients[_place(p, q, degree)] = image_of_term
    normal = {axis.letter: axis for axis in axes}
    x, y = (normal.get(letter, _Axis(letter, 0, 0.0, 1.0)) for letter in "xy")
    interpolant = card_value(hdu.cards, _INTERPOLANT_KEY)
    sampling = header.number("PSF_SAMP")
    if not sampling > 0 or not np.isfinite(sampling):
        raise DataError(f"{hdu}: PSF_SAMP is {sampling:g}; the step of the model's grid must be positive")
    return PsfModel(
        coefficients=coefficients,
        degree=degree,
        zero=(x.zero, y.zero),
        scale=(x.scale, y.scale),
        sampling=sampling,
        n_star=header.integer("ACCEPTED", 0),
        chi2=header.number("CHI2", float("nan")),
        fwhm=header.number("PSF_FWHM", float("nan")),
        interpolant=interpolant if interpolant in INTERPOLANTS else _INTERPOLANT,
    )


def read_used_stars(path: Path) -> np.ndarray:
    """Read what PSFEx says about the stars of a fit in its output catalogue.

    Parameters
    ----------
    path : Path
        The catalogue, in the form FITS_LDAC.

    Returns
    -------
    structured ndarray [n]
        SOURCE_NUMBER: row of the star in the catalogue that PSFEx read, 1-based; CHI2_PSF: chi^2 per pixel; NORM_PSF:
        flux; FLAGS_PSF: 0 if the star was used (releases before 3.20 list the used ones only, without flags).

    Raises
    ------
    MissingInputError
        If there is no such file.
    DataError
        If it is truncated, not FITS, or has no such columns.
    """
    objects = [hdu for hdu in scan_hdus(path) if hdu.name == "LDAC_OBJECTS"]
    if len(objects) != 1:
        raise DataError(f"{path}: {len(objects)} tables of stars instead of one: not a catalogue of PSFEx; fit again")
    hdu = objects[0]
    if not hdu.complete:
        raise DataError(f"{hdu}: the file is truncated; fit again")
    try:
        with fitsio.FITS(hdu.path) as file:
            names = [name for name, _ in _STAR_COLUMNS if name in file[hdu.index].get_colnames()]
            # By name: fitsio reads rows with a column of no width wrongly, and a constant model has one.
            rows = file[hdu.index].read(columns=names)
    except (OSError, ValueError) as error:
        raise DataError(f"{hdu}: the table cannot be read: {_first_line(error)}; fit again") from error
    missing = {name for name, _ in _STAR_COLUMNS} - {"FLAGS_PSF"} - set(names)
    if missing or rows is None:
        what = f"the columns {', '.join(sorted(missing))} are missing" if missing else "there are no stars"
        raise DataError(f"{hdu}: {what}; fit again with OUTCAT_TYPE FITS_LDAC")
    stars = np.zeros(len(rows), dtype=list(_STAR_COLUMNS))
    for name in names:
        stars[name] = rows[name]
    return stars


def write_psf(path: Path, model: PsfModel, *, overwrite: bool) -> None:
    """Write a PSF model as PSFEx would.

    SExtractor, GalSim and others can read it.  They interpolate between the grid's points in their own ways, which
    is not the way of every engine's model: at a sampling of one pixel that changes sizes by some 1e-3.  The keyword
    INTERPOL says which way is the model's; `read_psf` heeds it.

    Parameters
    ----------
    path : Path
        The file; its folder must be there.
    model : PsfModel
        The model; its coefficients are rounded to single precision.
    overwrite : bool
        Whether a file that is there may be replaced.

    Raises
    ------
    ConfigError
        If the file is there and must not be replaced, or cannot be written.
    """
    refuse_existing(path, overwrite=overwrite)
    basis = np.asarray(model.coefficients, dtype=np.float32)
    row = np.zeros(1, dtype=[(_COLUMN, np.float32, basis.shape)])
    row[_COLUMN][0] = basis
    try:
        with replacing(path) as temporary, fitsio.FITS(str(temporary), "rw", clobber=True) as file:
            file.write_table(row, extname=_NAME)
            for keyword, value, comment in _cards(model):
                file[-1].write_key(keyword, value, comment=comment)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {_first_line(error)}") from error


def _cards(model: PsfModel) -> Iterator[tuple[str, Any, str]]:
    """Yield keyword, value and comment of a model's header."""
    yield "LOADED", model.n_star, "Number of loaded sources"
    yield "ACCEPTED", model.n_star, "Number of accepted sources"
    yield "CHI2", model.chi2 if np.isfinite(model.chi2) else 0.0, "Final reduced chi2"
    yield "POLNAXIS", 2, "Number of context parameters"
    for i, (name, zero, scale) in enumerate(zip(("X_IMAGE", "Y_IMAGE"), model.zero, model.scale, strict=True), 1):
        yield f"POLGRP{i}", 1, "Polynom group for this context parameter"
        yield f"POLNAME{i}", name, "Name of this context parameter"
        yield f"POLZERO{i}", zero, "Offset value for this context parameter"
        yield f"POLSCAL{i}", scale, "Scale value for this context parameter"
    yield "POLNGRP", 1, "Number of context groups"
    yield "POLDEG1", model.degree, "Polynom degree for this context group"
    yield "PSF_FWHM", model.fwhm if np.isfinite(model.fwhm) else 0.0, "PSF FWHM in image pixels"
    yield "PSF_SAMP", model.sampling, "Sampling step of the PSF data in pixels"
    yield _INTERPOLANT_KEY, model.interpolant, "Interpolation that belongs to the model"
    yield "PSFNAXIS", 3, "Dimensionality of the PSF data"
    for i, length in enumerate(reversed(model.coefficients.shape), 1):
        yield f"PSFAXIS{i}", length, "Number of elements along this axis"


class _Header:
    """The cards of a model, read as numbers."""

    def __init__(self, hdu: Hdu) -> None:
        self._hdu = hdu

    def text(self, keyword: str) -> str:
        """Return a text that must be there."""
        value = card_value(self._hdu.cards, keyword)
        if value is None:
            raise DataError(f"{self._hdu}: the keyword {keyword} is missing: not a model of PSFEx; make it again")
        return value

    def number(self, keyword: str, default: float | None = None) -> float:
        """Return a number; with a default it may be absent."""
        if default is not None and card_value(self._hdu.cards, keyword) is None:
            return default
        value = self.text(keyword)
        try:
            return float(value.upper().replace("D", "E"))
        except ValueError as error:
            raise DataError(f"{self._hdu}: {keyword} is {value!r}, not a number; make the model again") from error

    def integer(self, keyword: str, default: int | None = None) -> int:
        """Return a whole number; with a default it may be absent."""
        value = self.number(keyword, default)
        if value != np.rint(value):
            raise DataError(f"{self._hdu}: {keyword} is {value:g}, not a whole number; make the model again")
        return int(value)


def _find(path: Path, image: int | None) -> Hdu:
    """Find the table of one image's model."""
    tables = [hdu for hdu in scan_hdus(path) if card_value(hdu.cards, "XTENSION") == "BINTABLE"]
    models = [hdu for hdu in tables if card_value(hdu.cards, "TTYPE1") == _COLUMN or hdu.name == _NAME]
    if not models:
        raise DataError(f"{path}: there is no table {_NAME} with a column {_COLUMN}: not a PSF model of PSFEx")
    if image is None and len(models) > 1:
        raise DataError(f"{path}: there are models of {len(models)} images; one must be asked for by its number")
    number = image or 0
    if not 0 <= number < len(models):
        raise DataError(f"{path}: there is no model {number}; the file has {len(models)}, from 0")
    if not models[number].complete:
        raise DataError(f"{models[number]}: the file is truncated; fetch it again")
    return models[number]


def _axes(header: _Header) -> Iterator[_Axis]:
    """Yield the variables of the polynomial in the order of the file."""
    seen: set[str] = set()
    for i in range(1, header.integer("POLNAXIS") + 1):
        name = header.text(f"POLNAME{i}")
        match = _POSITION.match(name)
        if not match:
            raise DataError(
                f"{header._hdu}: the model depends on {name}, which is no position on the image and cannot be used as "
                "one; make it again with PSFVAR_KEYS XWIN_IMAGE,YWIN_IMAGE"
            )
        letter = match.group(1).lower()
        if letter in seen:
            raise DataError(f"{header._hdu}: the model depends on {letter} twice; PSFVAR_KEYS must name x and y")
        seen.add(letter)
        scale = header.number(f"POLSCAL{i}")
        if scale == 0:
            raise DataError(f"{header._hdu}: POLSCAL{i} is 0: all stars were at one place; make the model again")
        yield _Axis(letter, header.integer(f"POLGRP{i}", 1), header.number(f"POLZERO{i}"), scale)


def _powers(axes: list[_Axis], degrees: dict[int, int]) -> list[tuple[int, int]]:
    """Return the powers (of x, of y) of each term: the first variable runs fastest, each group to its degree."""
    powers = []
    ranges = [range(degrees[axis.group] + 1) for axis in reversed(axes)]
    for reverse in product(*ranges):
        of_axis = reverse[::-1]
        of_group = {group: 0 for group in degrees}
        for axis, power in zip(axes, of_axis, strict=True):
            of_group[axis.group] += power
        if all(of_group[group] <= degree for group, degree in degrees.items()):
            of_letter = {axis.letter: power for axis, power in zip(axes, of_axis, strict=True)}
            powers.append((of_letter.get("x", 0), of_letter.get("y", 0)))
    return powers


def _place(p: int, q: int, degree: int) -> int:
    """Return the place of x^p y^q in a polynomial of a total degree, in the order of `PsfModel`."""
    return q * (degree + 1) - q * (q - 1) // 2 + p


def _basis(hdu: Hdu, header: _Header, n_term: int) -> np.ndarray:
    """Read the basis images, float64 [n_term, y, x]."""
    try:
        with fitsio.FITS(hdu.path) as file:
            rows = file[hdu.index].read(columns=[_COLUMN])
    except (OSError, ValueError) as error:
        raise DataError(f"{hdu}: the column {_COLUMN} cannot be read: {_first_line(error)}; fetch it again") from error
    n_row = 0 if rows is None else len(rows)
    if n_row != 1:
        raise DataError(f"{hdu}: {n_row} rows instead of one with the model; make it again")
    with np.errstate(invalid="ignore"):  # bad numbers are found below
        basis = np.asarray(rows[_COLUMN][0], dtype=float)
    if basis.ndim == 2:
        basis = basis[None]
    lengths = [header.integer(f"PSFAXIS{i}", n) for i, n in enumerate(reversed(basis.shape), 1)]
    if basis.ndim != 3 or list(basis.shape[::-1]) != lengths or 0 in basis.shape:
        raise DataError(f"{hdu}: {_COLUMN} has the shape {basis.shape}, the header says {lengths[::-1]}; make it again")
    if len(basis) != n_term:
        raise DataError(f"{hdu}: {len(basis)} basis images; the polynomial of the header has {n_term} terms")
    if not np.isfinite(basis).all():
        raise DataError(f"{hdu}: the model has pixels that are not finite; make it again")
    return basis


def _centred(basis: np.ndarray) -> np.ndarray:
    """Return basis images whose centre is PSFEx's centre, pixel n/2 along each axis."""
    ny, nx = basis.shape[1:]
    return np.pad(basis, ((0, 0), (0, 1 - ny % 2), (0, 1 - nx % 2)))


def _first_line(error: Exception) -> str:
    """Return the first line of an error's text, or its type if there is none."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
