"""The files of a mask: the plane of bits with its legend, the shapes for DS9, and why an image was left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from shapempi import __version__
from shapempi.errors import ConfigError
from shapempi.flags import PixelFlag
from shapempi.image import Image
from shapempi.io.atomic import replacing
from shapempi.io.flag_image import write_flag_image
from shapempi.io.regions import box_region, ellipse_region, polygon_region, write_regions
from shapempi.measure.mask import BrightStars, MaskPlane, MaskRecipe
from shapempi.report.look_palette import bit_colour

__all__ = ["mask_paths", "write_mask"]

_ENDINGS = {"flag": "fits", "regions": "reg"}


def mask_paths(folder: Path, number: str, kinds: Sequence[str]) -> dict[str, Path]:
    """Return the files of a mask, by what is in them.

    Parameters
    ----------
    folder : Path
        Their folder.
    number : str
        End of their names before the ending: `-2243881-12`.
    kinds : sequence of str
        Any of `flag` and `regions`.

    Returns
    -------
    dict of str to Path
        The files of these kinds, and `removed`: what is written in their place for an image that is left out.
    """
    paths = {kind: folder / f"pipeline_flag{number}.{_ENDINGS[kind]}" for kind in kinds}
    return paths | {"removed": folder / f"removed{number}.txt"}


def write_mask(
    mask: MaskPlane, image: Image, stars: BrightStars, recipe: MaskRecipe, paths: dict[str, Path], *, overwrite: bool
) -> list[Path]:
    """Write the files of a mask, or that the image is left out.

    Parameters
    ----------
    mask : MaskPlane
        The mask.
    image : Image
        Its image.
    stars : BrightStars
        The stars that it was made with.
    recipe : MaskRecipe
        What was masked.
    paths : dict of str to Path
        The files, as `mask_paths` names them.
    overwrite : bool
        Whether files that are there may be replaced; if not and one is there, nothing is written.

    Returns
    -------
    list of Path
        The files written.  Others of this mask that an earlier start wrote are removed with `overwrite`.

    Raises
    ------
    ConfigError
        If a file is there and must not be replaced, or cannot be written.
    """
    wanted = {"removed"} if mask.remove else set(paths) - {"removed"}
    existing = [path for path in paths.values() if path.exists()]
    if existing and not overwrite:
        raise ConfigError(f"{existing[0]} is already there; give --overwrite to replace it")
    for kind, path in paths.items():
        try:
            if kind not in wanted:
                path.unlink(missing_ok=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            if kind == "flag":
                write_flag_image(path, mask.plane, image.header, _cards(mask, image))
            elif kind == "regions":
                write_regions(path, _regions(image, stars, recipe))
            else:
                with replacing(path) as temporary:
                    temporary.write_text(f"{image.path}: {_removal(mask, recipe)}\n", encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{path}: cannot be written: {error.strerror or error}") from error
    return [paths[kind] for kind in paths if kind in wanted]


def _removal(mask: MaskPlane, recipe: MaskRecipe) -> str:
    limit = recipe.params.missing_remove_ratio
    return f"left out, {mask.missing_ratio:.1%} of the pixels are missing (limit {limit:.0%}, missing_remove_ratio)"


def _cards(mask: MaskPlane, image: Image) -> Iterator[tuple[str, str | int | float | bool, str]]:
    """Return the cards that say what the plane is and what is in it."""
    yield "CREATOR", f"shapempi {__version__}", "program that made this mask"
    yield "IMAGE", Path(image.path.partition(",")[0]).name[:68], ""
    yield "MRATIO", round(mask.missing_ratio, 8), "fraction of pixels that are exactly zero"
    yield "MFLAG", mask.missing, "whether too many are"
    yield "NSTAR", mask.n_star, "bright stars on the image and near it"
    for name, number in mask.counts.items():
        yield f"N{name}", number, f"{name} shapes that reach into the image"
    for number, (name, bits) in enumerate(mask.bits.items(), 1):
        yield f"FLAG{number}", name, PixelFlag[name].__doc__ or ""
        yield f"FBIT{number}", bits, f"bits of {name}"
        yield f"FRAC{number}", round(mask.fractions[name], 8), f"fraction of pixels with {name}"
    yield "FRACEXT", round(mask.fractions["EXTERNAL"], 8), "fraction of pixels with an external flag"
    yield "FRACANY", round(mask.fractions["ANY"], 8), "fraction of pixels with any bit"


def _regions(image: Image, stars: BrightStars, recipe: MaskRecipe) -> Iterator[str]:
    """Return the lines of the region file: everything but single pixels."""
    oy, ox = image.origin
    for some in recipe.polygons(stars, image.wcs, image.full_shape, image.origin, image.data.shape):
        name = str(some.kind.name)
        for first, last in zip(some.first[:-1], some.first[1:], strict=True):
            yield polygon_region(some.vertices[first:last], bit_colour(PixelFlag[name]), name.lower())
    for _, objects in recipe.ellipses(image.wcs, image.full_shape):
        name = str(objects.kind.name)
        rows = np.stack([objects.x - ox, objects.y - oy, objects.a, objects.b, objects.theta], axis=1)
        for x, y, a, b, theta in rows.tolist():
            yield ellipse_region(x, y, a, b, theta, bit_colour(PixelFlag[name]), name.lower())
    y0, y1, x0, x1 = image.valid_box
    width = recipe.params.border_width
    inner = (y0 - oy + width, y1 - oy - width, x0 - ox + width, x1 - ox - width)
    if inner[0] < inner[1] and inner[2] < inner[3]:
        yield box_region(inner, bit_colour(PixelFlag.BORDER), "border: inside this box")
