"""Whether a FITS file is whole: its length, the number of its HDUs, and pixels at both ends that can be decoded."""

from __future__ import annotations

from pathlib import Path

from shapempi.errors import DataError
from shapempi.io.fits import card_value, read_section, scan_hdus

__all__ = ["check_fits"]


def check_fits(path: Path, size: int | None = None) -> None:
    """Check that a file is a whole FITS file with images.

    Parameters
    ----------
    path : Path
        The file.
    size : int, optional
        The length that it must have [byte].

    Raises
    ------
    MissingInputError
        If it is not there.
    DataError
        If it has another length, ends too early, has fewer extensions than its NEXTEND says, or no image, or the
        first row of its first or last image cannot be decoded.
    """
    hdus = list(scan_hdus(path))
    found = path.stat().st_size
    if size is not None and found != size:
        raise DataError(f"{path}: {found} bytes instead of {size}")
    for hdu in hdus:
        if not hdu.complete:
            raise DataError(f"{hdu}: truncated: the file has {found} bytes and the data end at {hdu.data_end}")
    announced = card_value(hdus[0].cards, "NEXTEND")
    if announced is not None and announced.isdigit() and int(announced) > len(hdus) - 1:
        raise DataError(f"{path}: {len(hdus) - 1} extensions instead of the {announced} that its header announces")
    images = [hdu for hdu in hdus if hdu.shape is not None and min(hdu.shape) > 0]
    if not images:
        raise DataError(f"{path}: there is no image in the file")
    for hdu in (images[0], images[-1]):
        assert hdu.shape is not None
        read_section(hdu, (0, 1, 0, hdu.shape[1]))
