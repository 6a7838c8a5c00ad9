"""FITS_LDAC catalogues: the form in which SExtractor, PSFEx and SCAMP exchange tables (behaviour specification, 6).

Each image of a catalogue has two binary tables: LDAC_IMHEAD holds the image's FITS header, one card of 80 characters
after the other, in its only cell; LDAC_OBJECTS holds the objects, with their vignets if there are any.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import fitsio
import numpy as np

from shapempi.errors import ConfigError, DataError
from shapempi.io.atomic import refuse_existing, replacing
from shapempi.io.fits import Hdu, card_value, scan_hdus

__all__ = ["read_ldac", "read_ldac_units", "write_ldac", "write_ldac_parts", "write_table"]

_CARD = 80
_CARDS_COLUMN = "Field Header Card"
_HEADER, _OBJECTS = "LDAC_IMHEAD", "LDAC_OBJECTS"

#: A header that says nothing; readers take a shorter one for a damaged file.
_NO_IMAGE = [
    f"{card:<80}"
    for card in (
        "SIMPLE  =                    T",
        "BITPIX  =                    8",
        "NAXIS   =                    0",
    )
]

#: TFORM and TDIM of a column, and bytes of each type.
_FORM = re.compile(r"(\d{0,9})([LXBIJKAEDCMPQ])[^\s]*", re.ASCII)
_SHAPE = re.compile(r"\(\d{1,9}(,\d{1,9})*\)", re.ASCII)
_WIDTHS = dict(L=1, X=1, B=1, I=2, J=4, K=8, A=1, E=4, D=8, C=8, M=16, P=8, Q=16)

#: Most columns of a FITS table.
_MOST_COLUMNS = 999

#: What a FITS binary table can hold: kinds and sizes of NumPy's types.
_STORABLE = {"b": (1,), "i": (1, 2, 4, 8), "u": (1, 2, 4), "f": (4, 8), "c": (8, 16)}


def read_ldac(path: Path, *, image: int | None = None) -> tuple[str, np.ndarray]:
    """Read a catalogue.

    Parameters
    ----------
    path : Path
        A FITS_LDAC file, or a FITS file with one binary table.
    image : int, optional
        Which image's objects, from 0; needed when the file holds the catalogues of several images.

    Returns
    -------
    header_text : str
        The image's header: cards of 80 characters without END; empty if the file has none.
    table : structured ndarray [n]
        The objects, in native byte order; vignets are [n, y, x] with the file's own mark of bad pixels.

    Raises
    ------
    MissingInputError
        If there is no such file.
    DataError
        If it is truncated, is not FITS, or has no table of objects or several.
    """
    header_hdu, objects_hdu = _find(path, image)
    try:
        with fitsio.FITS(str(path)) as file:
            header = "" if header_hdu is None else _header_text(file[header_hdu.index].read(), path)
            table = _read_rows(file[objects_hdu.index], objects_hdu.cards)
    except DataError:
        raise
    except Exception as error:  # fitsio raises many classes; each means that the file is damaged
        raise DataError(
            f"{objects_hdu}: the table cannot be read: {_first_line(error)}; fetch the file again"
        ) from error
    return header, table


def read_ldac_units(path: Path, *, image: int | None = None) -> dict[str, str]:
    """Return the units of a catalogue's columns, those that have one; see `read_ldac`."""
    cards = _find(path, image)[1].cards
    units = {}
    for number in range(1, _integer(cards, "TFIELDS") + 1):
        name, unit = card_value(cards, f"TTYPE{number}"), card_value(cards, f"TUNIT{number}")
        if name and unit:
            units[name] = unit
    return units


def write_ldac(
    path: Path,
    table: np.ndarray,
    header_text: str,
    *,
    overwrite: bool,
    units: Mapping[str, str] | None = None,
    more: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Write a catalogue that SExtractor's family of programs can read.

    Parameters
    ----------
    path : Path
        The file; its folder must be there.
    table : structured ndarray [n]
        The objects; columns may have any shape (vignets [n, y, x]).  A table without rows is a file without objects.
    header_text : str
        The image's header: cards of 80 characters one after the other, or one a line; with or without END.  An empty
        one becomes the cards that every FITS header has.
    overwrite : bool
        Whether a file that is there may be replaced.
    units : mapping of str to str, optional
        Units of columns.
    more : mapping of str to structured ndarray, optional
        Further tables by the names of their HDUs, in order, behind the objects: those of the epochs, say (section 5.3).

    Raises
    ------
    ConfigError
        If the file is there and must not be replaced, or cannot be written.
    DataError
        If FITS cannot hold the header or a column; the message names it.
    """
    _refuse_unstorable(table, path)
    write_ldac_parts(path, table.dtype, [table], header_text, overwrite=overwrite, units=units, more=more)


def write_ldac_parts(
    path: Path,
    dtype: np.dtype,
    parts: Iterable[np.ndarray],
    header_text: str,
    *,
    overwrite: bool,
    units: Mapping[str, str] | None = None,
    more: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Write a catalogue whose rows come part by part: vignets of many objects need not be in memory at once.

    Parameters
    ----------
    path, header_text, overwrite, units, more
        As in `write_ldac`.
    dtype : dtype
        The columns.
    parts : iterable of structured ndarray [n]
        Rows of that type.

    Raises
    ------
    ConfigError, DataError
        As `write_ldac`.
    """
    cards = np.array([_cards(header_text, path)], dtype="S80")
    header = np.zeros(1, dtype=[(_CARDS_COLUMN, "S80", (cards.shape[1],))])
    header[_CARDS_COLUMN] = cards
    tables = [(_HEADER, header.dtype, [header], {}), (_OBJECTS, dtype, parts, dict(units or {}))]
    tables += [(name, rows.dtype, [rows], {}) for name, rows in (more or {}).items()]
    _write(path, tables, overwrite=overwrite)


def write_table(
    path: Path, table: np.ndarray, *, overwrite: bool, name: str = "OBJECTS", units: Mapping[str, str] | None = None
) -> None:
    """Write a plain FITS binary table, HDU 1 of the file; parameters and errors are those of `write_ldac`."""
    _refuse_unstorable(table, path)
    _write(path, [(name, table.dtype, [table], dict(units or {}))], overwrite=overwrite)


def _find(path: Path, image: int | None) -> tuple[Hdu | None, Hdu]:
    """Find the HDUs of one image: header, if there is one, and objects."""
    tables = [hdu for hdu in scan_hdus(path) if card_value(hdu.cards, "XTENSION") == "BINTABLE" and hdu.shape is None]
    objects = [hdu for hdu in tables if hdu.name == _OBJECTS]
    headers = [hdu for hdu in tables if hdu.name == _HEADER]
    if not objects:
        objects = [hdu for hdu in tables if hdu.name != _HEADER]
        headers = []
    if not objects:
        raise DataError(f"{path}: there is no table {_OBJECTS}, nor any other binary table of objects")
    if image is None and len(objects) > 1:
        names = ", ".join(f"{hdu.index} ({hdu.name or 'without name'})" for hdu in objects)
        raise DataError(f"{path}: there are {len(objects)} tables of objects, HDUs {names}; one is needed")
    number = image or 0
    if not 0 <= number < len(objects):
        raise DataError(f"{path}: there is no image {number}; the file has {len(objects)}, from 0")
    chosen = objects[number]
    header = next((hdu for hdu in reversed(headers) if hdu.index < chosen.index), None)
    for hdu in (header, chosen):
        if hdu is not None and not hdu.complete:
            raise DataError(f"{hdu}: the file is truncated; fetch it again")
    for hdu in (header, chosen):
        if hdu is not None and not _is_consistent(hdu.cards):
            raise DataError(f"{hdu}: the header contradicts itself about the columns; fetch the file again")
    return header, chosen


def _integer(cards: str, keyword: str) -> int:
    """Return a keyword of a table's header as an integer; -1 if it is none."""
    value = card_value(cards, keyword) or ""
    return int(value) if value.isascii() and value.isdigit() else -1


def _is_consistent(cards: str) -> bool:
    """Say whether the columns fill the rows; a library that believes a damaged header reads what is not there."""
    width = 0
    n_field = _integer(cards, "TFIELDS")
    if not 0 <= n_field <= _MOST_COLUMNS or not (card_value(cards, "PCOUNT") or "0").isdigit():
        return False
    for number in range(1, n_field + 1):
        form = _FORM.fullmatch(card_value(cards, f"TFORM{number}") or "")
        if form is None:
            return False
        count = int(form.group(1) or 1)
        shape = card_value(cards, f"TDIM{number}")
        if shape is not None and form.group(2) not in "PQ":  # whose elements are elsewhere
            axes = _SHAPE.fullmatch(shape.replace(" ", ""))
            if axes is None or math.prod(int(length) for length in shape.strip(" ()").split(",")) > count:
                return False
        width += -(-count // 8) if form.group(2) == "X" else count * _WIDTHS[form.group(2)]
    return width == _integer(cards, "NAXIS1") and _integer(cards, "NAXIS2") >= 0


def _read_rows(hdu: fitsio.hdu.TableHDU, cards: str) -> np.ndarray:
    """Read a whole table in native byte order."""
    forms = {name: card_value(cards, f"TFORM{number}") or "" for number, name in enumerate(hdu.get_colnames(), start=1)}
    names = [name for name, form in forms.items() if not form.startswith("0")]
    if not hdu.get_nrows():
        table = np.zeros(0, dtype=hdu.get_rec_dtype()[0])
    elif len(names) < len(forms):
        # fitsio reads whole rows wrongly beside a column without width, such as PSFEx's of a constant model.
        table = hdu.read(columns=names)
    else:
        table = hdu.read()
    return table.astype(table.dtype.newbyteorder("="), copy=False)


def _header_text(cell: np.ndarray, path: Path) -> str:
    """Return the cards in the cell of LDAC_IMHEAD, up to END."""
    if len(cell) != 1 or not cell.dtype.names:
        raise DataError(f"{path}: {_HEADER} has {len(cell)} rows instead of one with the cards of a header")
    cards = np.atleast_1d(cell[cell.dtype.names[0]][0])
    if cards.dtype.kind not in "US":
        raise DataError(f"{path}: {_HEADER} does not hold the cards of a header, but numbers")
    # Without TDIM all cards come as one text.
    texts = [card.decode("ascii", "replace") if isinstance(card, bytes) else str(card) for card in cards.tolist()]
    text = "".join(text.ljust(_CARD) for text in texts) if len(texts) > 1 else texts[0]
    kept = []
    for first in range(0, len(text), _CARD):
        card = text[first : first + _CARD].ljust(_CARD)
        if card.rstrip() == "END":
            break
        kept.append(card)
    return "".join(kept)


def _cards(text: str, path: Path) -> list[str]:
    """Split a header text into cards of 80 characters with END as the last one."""
    if "\n" in text:
        cards = text.splitlines()
    else:
        cards = [text[first : first + _CARD] for first in range(0, len(text), _CARD)]
    kept = []
    for card in cards:
        if card.rstrip() == "END":
            break
        if len(card) > _CARD or not card.isascii() or not card.isprintable():
            raise DataError(f"{path}: not a card of a FITS header: {card!r}")
        kept.append(card.ljust(_CARD))
    return [*(kept or _NO_IMAGE), "END".ljust(_CARD)]


def _write(
    path: Path, tables: list[tuple[str, np.dtype, Iterable[np.ndarray], dict[str, str]]], *, overwrite: bool
) -> None:
    """Write tables as one file, in one step."""
    refuse_existing(path, overwrite=overwrite)
    for _, dtype, _, _ in tables:
        _refuse_unstorable(np.empty(0, dtype), path)
    try:
        with replacing(path) as temporary, fitsio.FITS(str(temporary), "rw", clobber=True) as file:
            for name, dtype, parts, units in tables:
                columns = [units.get(column, "") for column in dtype.names or ()]
                # A table without rows has its columns all the same, which writing it in one call would refuse.
                file.create_table_hdu(dtype=dtype, extname=name, units=columns)
                n_row = 0
                for part in parts:
                    rows = np.ascontiguousarray(part, dtype=dtype)
                    if len(rows):
                        file[-1].write(rows, firstrow=n_row)
                        n_row += len(rows)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be written: {_first_line(error)}") from error


def _refuse_unstorable(table: np.ndarray, path: Path) -> None:
    """Raise DataError if the array is no table, or FITS has no type for one of its columns."""
    if table.ndim != 1 or not table.dtype.names:
        raise DataError(f"{path}: not a table of columns, but an array of shape {table.shape} and type {table.dtype}")
    for name in table.dtype.names:
        dtype = table.dtype[name].base
        if dtype.kind not in "SU" and dtype.itemsize not in _STORABLE.get(dtype.kind, ()):
            raise DataError(f"{path}: a FITS table cannot hold the type {dtype} of column {name}")


def _first_line(error: Exception) -> str:
    """Return the first line of an error's text, or its type if there is none."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
