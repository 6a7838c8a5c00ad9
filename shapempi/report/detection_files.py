"""The files of a detection: its catalogue with or without vignets, and check images.

Names and columns are those of the behaviour specification, section 5: FITS_LDAC with the image's header and the
keywords that PSFEx and SCAMP look for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from shapempi.catalog import DETECTION_COLUMNS, dtype_of
from shapempi.errors import ConfigError
from shapempi.io.fits_image import write_image
from shapempi.io.ldac import write_ldac_parts
from shapempi.measure.background import ROWS
from shapempi.measure.detected_image import DetectedImage

__all__ = [
    "IMAGES",
    "catalogue_header",
    "catalogue_rows",
    "detection_paths",
    "write_background",
    "write_catalogue",
    "write_detections",
    "write_segmentation",
]

_SHORT = np.dtype("i2")
_UNITS = {column.name: column.unit for column in DETECTION_COLUMNS if column.unit}


def catalogue_header(image: DetectedImage) -> str:
    """Return the image's header with what is known of its noise and its zero point, in SExtractor's keywords."""
    level = 0.0 if image.background is None else float(np.median(image.background.values))
    numbers = {
        "SEXBKGND": level,
        "SEXBKDEV": image.noise(),
        "SEXGAIN": max(image.frame.gain, 0.0),
        "SEXSATLV": min(image.frame.saturate, 1e30),
        "SEXMGZPT": image.frame.mag_zp,
    }
    cards = [f"SEXVERS = {image.engine[:60]!r:<20}", f"SEXNFIN = {len(image.detections.table):>20}"]
    cards += [f"{keyword:<8}= {value:>20.12E}" for keyword, value in numbers.items()]
    header = image.frame.wcs.header
    kept = [header[first : first + 80] for first in range(0, len(header), 80)]
    kept = [card for card in kept if not card.startswith(("SEX", "END "))]
    return "".join(card.ljust(80) for card in (*kept, *cards))


def _rows(image: DetectedImage, dtype: np.dtype, size: int) -> Iterator[np.ndarray]:
    """Yield the rows of the catalogue on disk, with vignets if these have a size."""
    tables = [image.detections.table, *_further(image, size)]
    first = 0
    for vignet in image.vignets(size) if size else iter([None]):
        n = len(tables[0]) if vignet is None else len(vignet)
        rows = np.zeros(n, dtype)
        for table in tables:
            for name in table.dtype.names or ():
                rows[name] = table[name][first : first + n]
        rows["EXT_NUMBER"] = 1
        if vignet is not None:
            rows["VIGNET"] = vignet
        first += n
        yield rows


def _further(image: DetectedImage, size: int) -> list[np.ndarray]:
    """Return the table of columns that the user asked the engine for, if there is one; no VIGNET beside ours."""
    table = image.detections.further
    if table is None:
        return []
    names = [name for name in table.dtype.names or () if not (size and name == "VIGNET")]
    return [table[names]] if names else []


def _columns(image: DetectedImage, size: int) -> np.dtype:
    """Return the columns of the catalogue on disk."""
    own = dtype_of(DETECTION_COLUMNS)
    fields: dict[str, tuple[np.dtype, tuple[int, ...]]] = {"NUMBER": (own["NUMBER"], ()), "EXT_NUMBER": (_SHORT, ())}
    fields |= {name: (own[name], ()) for name in own.names or ()}
    for table in _further(image, size):
        fields |= {name: (table.dtype[name].base, table.dtype[name].shape) for name in table.dtype.names or ()}
    if size:
        fields["VIGNET"] = (np.dtype("f4"), (size, size))
    return np.dtype([(name, base, shape) for name, (base, shape) in fields.items()])


def catalogue_rows(image: DetectedImage, size: int = 0) -> np.ndarray:
    """Return the rows of the catalogue on disk as one table, VIGNET included if `size` [pixel] is not 0."""
    dtype = _columns(image, size)
    return np.concatenate([np.zeros(0, dtype), *_rows(image, dtype, size)])


def write_catalogue(path: Path, image: DetectedImage, *, size: int = 0, overwrite: bool = False) -> None:
    """Write the objects of an image as a FITS_LDAC catalogue.

    Parameters
    ----------
    path : Path
        The file; its folder must be there.
    image : DetectedImage
        The image and its objects.
    size : int, optional
        Side of the column VIGNET [pixel], odd; 0 writes none.
    overwrite : bool, optional
        Whether a file that is there may be replaced.

    Raises
    ------
    ConfigError
        If the file is there and must not be replaced, or cannot be written.
    """
    dtype = _columns(image, size)
    units = _UNITS | ({"VIGNET": "adu"} if size else {})
    write_ldac_parts(path, dtype, _rows(image, dtype, size), catalogue_header(image), overwrite=overwrite, units=units)


def write_background(path: Path, image: DetectedImage, *, overwrite: bool = False) -> None:
    """Write the background that was subtracted as an image (SExtractor's check image BACKGROUND).

    Raises
    ------
    ConfigError
        If the file is there and must not be replaced, or cannot be written.
    """
    ny, nx = image.source.shape
    mesh = image.background

    def rows() -> Iterator[np.ndarray]:
        for y0 in range(0, ny, ROWS):
            y1 = min(y0 + ROWS, ny)
            yield np.zeros((y1 - y0, nx), np.float32) if mesh is None else mesh.evaluate(y0, y1, 0, nx)

    write_image(path, rows(), (ny, nx), "float32", image.frame.wcs.header, overwrite=overwrite)


def write_segmentation(path: Path, image: DetectedImage, *, overwrite: bool = False) -> None:
    """Write the NUMBER of the object that owns each pixel as an image (SExtractor's check image SEGMENTATION).

    Raises
    ------
    ConfigError
        If the file is there and must not be replaced, or cannot be written.
    """
    plane = image.detections.segmentation
    write_image(path, [plane], image.source.shape, "int32", image.frame.wcs.header, overwrite=overwrite)


#: The images of a detection, by name.
IMAGES: dict[str, Callable[..., None]] = {"background": write_background, "segmentation": write_segmentation}

#: Beginnings of the files' names.
_NAMES = {"catalogue": "sexcat", "background": "background", "segmentation": "segmentation"}


def detection_paths(folder: Path, number: str, kinds: Sequence[str]) -> dict[str, Path]:
    """Return the files of a detection.

    Parameters
    ----------
    folder : Path
        Their folder.
    number : str
        End of their names before the ending: `-2113737-10`.
    kinds : sequence of str
        Which: catalogue, vignets (in the catalogue), background, segmentation.

    Returns
    -------
    dict of str to Path
        Kind to file; of catalogue and vignets, one.
    """
    wanted = dict.fromkeys("catalogue" if kind == "vignets" else kind for kind in kinds)
    return {kind: folder / f"{_NAMES[kind]}{number}.fits" for kind in wanted}


def write_detections(
    image: DetectedImage,
    folder: Path,
    number: str,
    kinds: Sequence[str],
    *,
    size: int,
    overwrite: bool,
) -> list[Path]:
    """Write the files of a detection.

    Parameters
    ----------
    image : DetectedImage
        The image and its objects.
    folder, number, kinds
        As in `detection_paths`; the folder is made.
    size : int
        Side of the vignets [pixel], odd.
    overwrite : bool
        Whether files that are there may be replaced.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    ConfigError
        If a file is there and must not be replaced, or cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder}: the folder cannot be made: {error.strerror}") from error
    catalogue = partial(write_catalogue, size=size if "vignets" in kinds else 0)
    paths = detection_paths(folder, number, kinds)
    for kind, path in paths.items():
        write = catalogue if kind == "catalogue" else IMAGES[kind]
        write(path, image, overwrite=overwrite)
    return list(paths.values())
