"""The images among which a search looks: those of a folder, or those that a list names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shapempi.errors import DataError, MissingInputError
from shapempi.field.image_name import NamePattern
from shapempi.ids import TileId
from shapempi.io.exposure import CFIS_KEYWORDS, KeywordParams
from shapempi.io.exposure_list import has_positions, read_exposure_list
from shapempi.io.fits import card_value, scan_hdus
from shapempi.io.id_list import ImageId, id_order, parse_id, written_id
from shapempi.io.image_list import UNKNOWN_TIME, ListedImage
from shapempi.io.text_list import read_column
from shapempi.survey.footprints import read_footprints
from shapempi.tile_grid import CFIS_GRID

__all__ = ["Listing", "chosen_files", "files_of_folder", "files_of_list", "find_files", "listed_images"]


@dataclass(frozen=True)
class Listing:
    """What a folder or a list holds.

    Attributes
    ----------
    images : tuple of ListedImage
        Images of the kind that was asked for, sorted, each once.
    others : tuple of str
        Names of a list that are of another kind.
    problems : tuple of str
        What is wrong with files of a folder, each with its cure.
    """

    images: tuple[ListedImage, ...]
    others: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def files_of_folder(folder: Path, pattern: NamePattern) -> dict[ImageId, Path]:
    """Find the files of one kind in a folder, sorted; of a file with and without `.fz` the usual one is taken.

    Raises
    ------
    MissingInputError
        If the folder cannot be read.
    """
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError as error:
        raise MissingInputError(f"{folder}: the folder cannot be read: {error.strerror}; correct --input") from error
    found: dict[ImageId, Path] = {}
    for name in names:
        image = pattern.parse(name)
        if image is not None and (image not in found or name == pattern.names(image)[0]):
            found[image] = folder / name
    return dict(sorted(found.items(), key=lambda item: id_order(item[0])))


def files_of_list(path: Path, pattern: NamePattern, column: int = 0) -> tuple[dict[ImageId, Path], list[str]]:
    """Find the files of one kind in a list of file names; relative ones are taken from the current folder.

    Parameters
    ----------
    path : Path
        The list.
    pattern : NamePattern
        The kind.
    column : int, optional
        Column of the names, from 0.

    Returns
    -------
    files : dict of TileId or int to Path
        Sorted.
    others : list of str
        Names of other kinds.

    Raises
    ------
    MissingInputError, DataError
        If the list cannot be used, or names one image by two different paths.
    """
    found: dict[ImageId, tuple[int, Path]] = {}
    others = []
    for number, word in read_column(path, column):
        file = Path(word)
        image = pattern.parse(file.name)
        if image is None:
            others.append(word)
            continue
        line, earlier = found.setdefault(image, (number, file))
        if earlier != file:
            raise DataError(
                f"{path}: {written_id(image)} is named twice: {earlier} in line {line}, {file} in line {number}; "
                "remove one of them"
            )
    return {image: found[image][1] for image in sorted(found, key=id_order)}, others


def find_files(source: Path, patterns: Sequence[NamePattern], column: int = 0) -> dict[ImageId, Path]:
    """Find images in a folder or by a list of file names; of several forms of names the first that is there counts.

    Raises
    ------
    MissingInputError, DataError
        If the folder or the list cannot be used, or no name has one of the forms.
    """
    for pattern in patterns:
        if source.is_dir():
            found = files_of_folder(source, pattern)
        else:
            found = files_of_list(source, pattern, column)[0]
        if found:
            return found
    forms = " or ".join(pattern.template for pattern in patterns)
    raise MissingInputError(f"{source}: no name has the form {forms}; correct --input, --type or --band")


def chosen_files(files: Mapping[ImageId, Path], wanted: Sequence[ImageId], source: Path) -> dict[ImageId, Path]:
    """Return the files of some IDs.

    Raises
    ------
    MissingInputError
        If some have no file; all are named.
    """
    missing = [written_id(image) for image in wanted if image not in files]
    if missing:
        raise MissingInputError(f"{source}: there is no file of {', '.join(missing)}; put them there, or correct --ids")
    return {image: files[image] for image in wanted}


def listed_images(
    source: Path,
    pattern: NamePattern,
    *,
    column: int | None = None,
    id_only: bool = False,
    keywords: KeywordParams = CFIS_KEYWORDS,
) -> Listing:
    """Read a folder of images, or a list of them.

    Parameters
    ----------
    source : Path
        Folder, or text file: file names, IDs, or exposures with their positions.
    pattern : NamePattern
        The kind of images.
    column : int, optional
        Column of the names in a list, from 0; by default the first, and a list of exposures may have positions.
    id_only : bool, optional
        The list has IDs (`241.293`, `2243881p`), not file names.
    keywords : KeywordParams, optional
        Names of the keywords in headers of exposures.

    Returns
    -------
    Listing
        The images.

    Raises
    ------
    MissingInputError
        If there is no such folder or list.
    DataError
        If the list cannot be read or names an image twice, or nothing is of the kind.
    """
    if source.is_dir():
        return _of_folder(source, pattern, keywords)
    if not pattern.of_tiles and column is None and not id_only and has_positions(source):
        images = read_exposure_list(source)
        return Listing(tuple(sorted(images, key=lambda each: id_order(each.image))))
    if id_only:
        return Listing(_placed(_ids_of_list(source, pattern, column or 0).items(), pattern))
    files, others = files_of_list(source, pattern, column or 0)
    if not files:
        raise DataError(
            f"{source}: none of the {len(others)} names has the form {pattern.template}, the first is {others[0]!r}; "
            "correct --type, --band or --column, or give --input-format ID_only for a list of IDs"
        )
    return Listing(_placed(((image, file.name) for image, file in files.items()), pattern), tuple(others))


def _placed(named: Iterable[tuple[ImageId, str]], pattern: NamePattern) -> tuple[ListedImage, ...]:
    """Give tiles their centres; nobody knows those of exposures."""
    grid = pattern.grid or CFIS_GRID
    return tuple(
        ListedImage(image, name, *grid.centre(image)) if isinstance(image, TileId) else ListedImage(image, name)
        for image, name in named
    )


def _ids_of_list(source: Path, pattern: NamePattern, column: int) -> dict[ImageId, str]:
    """Read a list of IDs of one kind; the word that is listed is the name."""
    found: dict[ImageId, str] = {}
    for number, word in read_column(source, column):
        try:
            image = parse_id(word)
        except DataError as error:
            raise DataError(f"{source}, line {number}: {error}") from error
        if isinstance(image, TileId) != pattern.of_tiles:
            kind = "a tile" if pattern.of_tiles else "an exposure"
            raise DataError(f"{source}, line {number}: {word!r} is not {kind}; correct --type")
        found.setdefault(image, word)
    return {image: found[image] for image in sorted(found, key=id_order)}


def _of_folder(folder: Path, pattern: NamePattern, keywords: KeywordParams) -> Listing:
    """Find the images of a folder; those of exposures are opened, for their headers have the positions."""
    files = files_of_folder(folder, pattern)
    if not files:
        raise MissingInputError(
            f"{folder}: there is no {pattern.template} in this folder; correct --input, --type or --band"
        )
    if pattern.of_tiles:
        return Listing(_placed(((image, path.name) for image, path in files.items()), pattern))
    images, problems = [], []
    for image, path in files.items():
        assert isinstance(image, int)
        try:
            images.append(_placed_exposure(image, path, keywords))
        except DataError as error:
            problems.append(str(error))
            images.append(ListedImage(image, path.name))
    return Listing(tuple(images), problems=tuple(problems))


def _placed_exposure(exposure: int, path: Path, keywords: KeywordParams) -> ListedImage:
    """Find the centre of an exposure: the middle of its CCDs with sky, whose outlines their headers give."""
    outlines = [each.outline for each in read_footprints(exposure, path, n_ccd=1, keywords=keywords)]
    ra, dec = np.radians(np.concatenate(outlines)).T
    points = np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])
    points = points[:, np.isfinite(points).all(axis=0)]
    if points.shape[1] == 0:
        raise DataError(f"{path}: no CCD has a place on the sky; fetch the file again, or give a list with positions")
    centre = (points.min(axis=1) + points.max(axis=1)) / 2
    place = (
        np.degrees(np.arctan2(centre[1], centre[0])) % 360.0,
        np.degrees(np.arcsin(centre[2] / np.hypot.reduce(centre))),
    )
    exp_time = UNKNOWN_TIME
    for hdu in scan_hdus(path):
        text = card_value(hdu.cards, "EXPTIME")
        if text is not None:
            try:
                exp_time = float(text)
            except ValueError as error:
                raise DataError(f"{hdu}: EXPTIME is {text!r}, not a number of seconds") from error
            break
        if hdu.shape is not None:
            break
    return ListedImage(exposure, path.name, float(place[0]), float(place[1]), exp_time)
