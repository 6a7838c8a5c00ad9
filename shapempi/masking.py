"""Masks of images: the settings with the files that they name, and the mask of a single image."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from shapempi.camera import Camera
from shapempi.errors import ConfigError
from shapempi.exposure_number import CFIS_NUMBER
from shapempi.flags import PixelFlag
from shapempi.io.deep_sky import read_deep_sky
from shapempi.io.exposure import CFIS_CCDS, ExposurePaths, KeywordParams, read_image
from shapempi.io.flag_codes import CFIS_FLAGS, FlagCodes
from shapempi.io.mask_config import read_mask_configuration
from shapempi.measure.bright_stars import stars_of_image
from shapempi.measure.mask import BrightStars, MaskPlane, MaskRecipe, make_mask
from shapempi.measure.mask_params import MaskParams
from shapempi.measure.mask_template import CAMERAS, packaged_template, parse_template
from shapempi.measure.sky_object import DeepSkyTable
from shapempi.report.mask_files import mask_paths, write_mask
from shapempi.star_catalogue import open_stars

__all__ = ["MaskSource", "MaskedImage", "RecipeFiles", "mask_image", "read_recipe"]

_LOG = logging.getLogger(__name__)
_NUMBERS = re.compile(r"(?:-\d+)+$")
_TILE = re.compile(r"(?<!\d)(\d{3})[.-](\d{3})(?!\d)")


@dataclass(frozen=True)
class RecipeFiles:
    """What is masked, and the files that say so.

    Attributes
    ----------
    recipe : MaskRecipe
        What is masked.
    contents : tuple of str
        Contents of the files that decide it like the keys of the configuration.
    """

    recipe: MaskRecipe
    contents: tuple[str, ...]


def read_recipe(
    params: MaskParams, *, messier: Path | None = None, ngc: Path | None = None, table: str = "mask"
) -> RecipeFiles:
    """Read what the settings of a mask name: a .mask file, templates, catalogues of extended objects.

    Parameters
    ----------
    params : MaskParams
        The settings.
    messier, ngc : Path, optional
        Catalogues, unless the .mask file names others.
    table : str, optional
        Name of the settings' table, for messages.

    Returns
    -------
    RecipeFiles
        What is masked.

    Raises
    ------
    ConfigError
        If the .mask file or a template cannot be read or is wrong.
    MissingInputError, DataError
        If a catalogue is not there or cannot be used.
    """
    contents = []
    if params.configuration:
        found = read_mask_configuration(Path(params.configuration))
        contents.append(f"{table}.configuration\n{found.text}")
        messier, ngc = found.messier_catalogue or messier, found.ngc_catalogue or ngc
        params = _merged(params, dict(found.values), found.path)
        if found.ignored:
            _LOG.warning("%s: %s: not used here: %s", table, found.path, ", ".join(found.ignored))
    templates = {}
    for kind in ("halo", "spike"):
        path = getattr(params, f"{kind}_template")
        if path in CAMERAS:
            templates[kind] = packaged_template(path, kind)
        elif path and getattr(params, f"{kind}_make"):
            text = _read_template(Path(path), f"{table}.{kind}_template")
            templates[kind] = parse_template(text, path)
            contents.append(f"{table}.{kind}_template\n{text}")
    catalogues = ((PixelFlag.MESSIER, params.messier_make, messier), (PixelFlag.NGC, params.ngc_make, ngc))
    deep_sky = tuple(_read_table(path, kind) for kind, make, path in catalogues if make and path is not None)
    return RecipeFiles(MaskRecipe(params, deep_sky=deep_sky, **templates), tuple(contents))


def _merged(params: MaskParams, values: dict[str, Any], path: Path) -> MaskParams:
    """Return the settings with the values of a .mask file in their place."""
    try:
        return type(params).model_validate(params.model_dump() | values)
    except ValidationError as error:
        wrong = (
            f"{path}: {'.'.join(map(str, each['loc']))} = {each['input']!r}: {each['msg']}" for each in error.errors()
        )
        raise ConfigError("\n".join(wrong)) from error


def _read_template(path: Path, key: str) -> str:
    """Return the text of a template."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: the template of {key} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: the template of {key} is no text: byte {error.start} is no UTF-8") from error


def _read_table(path: Path, kind: PixelFlag) -> DeepSkyTable:
    """Read a catalogue of extended objects."""
    rows = read_deep_sky(path, messier=kind is PixelFlag.MESSIER)
    return DeepSkyTable(rows["ra"], rows["dec"], rows["major"], rows["minor"], rows["angle"], kind)


@dataclass(frozen=True)
class MaskSource:
    """The files from which the mask of one image is made; those that are None are done without.

    Attributes
    ----------
    image : Path
        The image.
    weight, flag : Path or None
        Its inverse variance and its flag bits.
    stars : Path or None
        Catalogue of bright stars.
    hdu, ccd : int or None
        Which image of the files: by HDU, by number of the CCD, or the first one.
    exposure : int or None
        Number of the exposure, where the survey finds it in the image's name.
    """

    image: Path
    weight: Path | None = None
    flag: Path | None = None
    stars: Path | None = None
    hdu: int | None = None
    ccd: int | None = None
    exposure: int | None = None

    @property
    def number(self) -> str:
        """End of the names of the mask's files: `-2243881-12`, `-241-293`, or `-` and the image's name."""
        stem = re.sub(r"\.(fits|fit)(\.(gz|fz))?$", "", self.image.name, flags=re.IGNORECASE)
        numbers, tile = _NUMBERS.search(stem), _TILE.search(stem)
        part = "" if self.ccd is None else f"-{self.ccd}"
        if self.ccd is None and self.hdu is not None:
            part = f"-hdu{self.hdu}"
        if numbers:
            return numbers.group() + part
        if self.exposure is None and tile:
            return f"-{tile.group(1)}-{tile.group(2)}{part}"
        exposure = CFIS_NUMBER.find(self.image.name) if self.exposure is None else self.exposure
        return (f"-{stem}" if exposure is None else f"-{exposure:07d}") + part


@dataclass(frozen=True)
class MaskedImage:
    """The mask of one image and where it is.

    Attributes
    ----------
    mask : MaskPlane
        The mask.
    files : tuple of Path
        The files written.
    """

    mask: MaskPlane
    files: tuple[Path, ...]

    def lines(self) -> list[str]:
        """Return what is to be said of it: files, shapes, and the fraction of pixels of each kind."""
        mask = self.mask
        shapes = ", ".join(f"{number} {name.lower()}" for name, number in mask.counts.items())
        parts = ", ".join(f"{name.lower()} {part:.2%}" for name, part in mask.fractions.items())
        missing = " (marked: MFLAG)" if mask.missing else ""
        return [
            *(str(path) for path in self.files),
            f"{mask.n_star} bright stars; shapes: {shapes}",
            f"masked: {parts}",
            f"missing: {mask.missing_ratio:.2%} of the pixels are zero{missing}"
            + ("; the image is left out" if mask.remove else ""),
        ]


def mask_image(
    source: MaskSource,
    recipe: MaskRecipe,
    output: Path,
    *,
    regions: bool = False,
    overwrite: bool = False,
    keywords: KeywordParams | None = None,
    camera: Camera = CFIS_CCDS,
    flags: FlagCodes = CFIS_FLAGS,
) -> MaskedImage:
    """Make the mask of one image, without a run.

    Parameters
    ----------
    source : MaskSource
        The files.
    recipe : MaskRecipe
        What is masked.
    output : Path
        A file that ends in .fits, or a folder for `pipeline_flag<numbers>.fits`; a folder is made if it is not there.
    regions : bool, optional
        Whether a region file for DS9 is written beside it.
    overwrite : bool, optional
        Whether files that are there may be replaced.
    keywords : KeywordParams, optional
        Names of FITS keywords.
    camera : Camera, optional
        Names and numbers of the CCDs.
    flags : FlagCodes, optional
        What the values of the flag image mean.

    Returns
    -------
    MaskedImage
        The mask and the files written.

    Raises
    ------
    MissingInputError
        If a file does not exist.
    DataError
        If a file cannot be used.
    ConfigError
        If a file is there and must not be replaced, or cannot be written.
    """
    names = keywords or KeywordParams()
    if names.default_zero_point is None:  # a mask has no use for it
        names = names.model_copy(update={"default_zero_point": 30.0})
    files = ExposurePaths(source.image, source.weight, source.flag)
    image = read_image(files, source.hdu, ccd=source.ccd, keywords=names, camera=camera, flags=flags)
    stars = BrightStars.none()
    if source.stars is not None:
        stars = stars_of_image(open_stars(source.stars), image, recipe)
    mask = make_mask(image, stars, recipe)
    kinds = ("flag", "regions") if regions else ("flag",)
    paths = mask_paths(output, source.number, kinds)
    if output.suffix == ".fits":
        named = {"flag": output, "regions": output.with_suffix(".reg"), "removed": output.with_suffix(".removed.txt")}
        paths = {kind: named[kind] for kind in paths}
    return MaskedImage(mask, tuple(write_mask(mask, image, stars, recipe, paths, overwrite=overwrite)))
