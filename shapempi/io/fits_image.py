"""Images as plain FITS files, written row by row: no image need be in memory whole."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from shapempi.errors import ConfigError
from shapempi.io.atomic import refuse_existing, replacing
from shapempi.io.fits import own_cards

__all__ = ["write_image"]

_BLOCK = 2880
_CARD = 80

#: BITPIX of the types that are written.
_BITPIX = {"uint8": 8, "int16": 16, "int32": 32, "float32": -32, "float64": -64}


def write_image(
    path: Path,
    rows: Iterable[np.ndarray],
    shape: tuple[int, int],
    dtype: np.dtype | str,
    header: str = "",
    *,
    overwrite: bool = False,
) -> None:
    """Write an image to the primary HDU of a file, in one step.

    Parameters
    ----------
    path : Path
        The file; its folder must be there.
    rows : iterable of ndarray [n, nx]
        The rows of the image from the first to the last, some at a time; converted to `dtype`.
    shape : tuple of int
        (ny, nx) of the image.
    dtype : dtype or str
        Type of the pixels in the file: uint8, int16, int32, float32 or float64.
    header : str, optional
        Cards of 80 characters; those that say how pixels are stored are left out.
    overwrite : bool, optional
        Whether a file that is there may be replaced.

    Raises
    ------
    ConfigError
        If the file is there and must not be replaced, or cannot be written.
    """
    refuse_existing(path, overwrite=overwrite)
    kind = np.dtype(dtype)
    cards = [("SIMPLE", "T"), ("BITPIX", _BITPIX[kind.name]), ("NAXIS", 2), ("NAXIS1", shape[1]), ("NAXIS2", shape[0])]
    text = "".join(f"{keyword:<8}= {value:>20}".ljust(_CARD) for keyword, value in cards)
    text += own_cards(header) + "END".ljust(_CARD)
    try:
        with replacing(path) as temporary, temporary.open("wb") as file:
            file.write(text.ljust(-(-len(text) // _BLOCK) * _BLOCK).encode("ascii", "replace"))
            n_byte = 0
            for part in rows:
                n_byte += file.write(np.ascontiguousarray(part, dtype=kind.newbyteorder(">")).tobytes())
            if n_byte != shape[0] * shape[1] * kind.itemsize:
                raise ValueError(f"{path}: {n_byte} bytes are not the pixels of an image of shape {shape}")
            file.write(b"\0" * (-n_byte % _BLOCK))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error
