"""File names of tiles and exposures, to their IDs and back: the observatory's and the pipeline's."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property

from shapempi.errors import ConfigError
from shapempi.field.cfis import BAND, PIPELINE_EXPOSURE, PIPELINE_TILE, TILE_CATALOGUE
from shapempi.ids import TileId
from shapempi.io.id_list import ImageId
from shapempi.survey.inputs import InputParams

__all__ = ["ImageNames", "NamePattern", "id_in_name", "pipeline_name"]

_PLACES = {"{tile}": r"(?P<tile>\d{3}[.-]\d{3})", "{exposure}": r"(?P<exposure>\d{6,8})"}
_TILE_IN_NAME = re.compile(r"(?<!\d)(\d{3}[.-]\d{3})(?!\d)")


@dataclass(frozen=True)
class NamePattern:
    """The file names of one kind of image.

    Attributes
    ----------
    template : str
        A file name with `{tile}` or `{exposure}` in the place of the ID.
    compressed : bool
        Only names that end in `.fz`; by default names with and without it are meant.
    """

    template: str
    compressed: bool = False

    @property
    def of_tiles(self) -> bool:
        """Whether these are images of tiles, not of exposures."""
        return "{tile}" in self.template

    @cached_property
    def _form(self) -> re.Pattern[str]:
        """The names as a regular expression."""
        text = re.escape(self.template.removesuffix(".fz"))
        for place, digits in _PLACES.items():
            text = text.replace(re.escape(place), digits)
        return re.compile(text + (r"\.?fz" if self.compressed else r"(\.?fz)?"))  # the pipeline writes fitsfz

    def parse(self, name: str) -> ImageId | None:
        """Return the tile or the exposure of a file name without folder, None if it is of another kind."""
        match = self._form.fullmatch(name)
        if match is None:
            return None
        return TileId.parse(match["tile"]) if self.of_tiles else int(match["exposure"])

    def names(self, image: ImageId) -> tuple[str, ...]:
        """Return the names that an image may have, the usual one first."""
        if isinstance(image, TileId):
            name = self.template.replace("{tile}", str(image))
        else:
            name = self.template.replace("{exposure}", f"{image:07d}")
        plain = name.removesuffix(".fz")
        if self.compressed:
            return (plain + ".fz",)
        return (name, plain if name.endswith(".fz") else plain + ".fz")


@dataclass(frozen=True)
class ImageNames:
    """The file names of a survey's images.

    Attributes
    ----------
    tile, tile_weight, tile_catalogue : str
        Of a tile, with `{tile}`.
    image, weight, flag : str
        Of an exposure, with `{exposure}`.
    flag_required : bool
        Whether an exposure without flags is refused by a run.
    """

    tile: str
    tile_weight: str
    tile_catalogue: str
    image: str
    weight: str
    flag: str
    flag_required: bool

    @classmethod
    def of(cls, params: InputParams | None = None) -> ImageNames:
        """Return the names of a configuration, or those that a configuration has by default."""
        fields = InputParams.model_fields

        def value(name: str) -> str:
            return str(fields[name].default if params is None else getattr(params, name))

        return cls(
            tile=value("tile_name"),
            tile_weight=value("tile_weight_name"),
            tile_catalogue=TILE_CATALOGUE,
            image=value("image_name"),
            weight=value("weight_name"),
            flag=value("flag_name"),
            flag_required=True if params is None else params.flag_required,
        )

    def in_band(self, band: str) -> ImageNames:
        """Return the names of another band.

        Raises
        ------
        ConfigError
            If the names of tiles have no band.
        """
        if band == BAND:
            return self
        if f".{BAND}." not in self.tile:
            raise ConfigError(f"--band {band}: the name {self.tile} has no band {BAND}; give the names by --config")
        own = ("tile", "tile_weight", "tile_catalogue")
        return replace(self, **{name: getattr(self, name).replace(f".{BAND}.", f".{band}.") for name in own})

    @property
    def patterns(self) -> dict[str, NamePattern]:
        """The kinds of images by the names that people type; those in `.fz` are compressed."""
        templates = {
            "tile": self.tile,
            "weight": self.tile_weight,
            "exposure": self.image,
            "exposure_weight": self.weight,
            "exposure_flag": self.flag,
            "cat": self.tile_catalogue,
        }
        kinds = {kind: NamePattern(template) for kind, template in templates.items()}
        packed = ("weight", "exposure", "exposure_weight", "exposure_flag")
        return kinds | {f"{kind}.fz": NamePattern(templates[kind], compressed=True) for kind in packed}

    @property
    def tiles(self) -> tuple[NamePattern, NamePattern]:
        """The names that tiles may have in a folder: the observatory's, the pipeline's."""
        return NamePattern(self.tile), NamePattern(f"{PIPELINE_TILE[0]}-{{tile}}.fits")

    @property
    def exposures(self) -> tuple[NamePattern, NamePattern]:
        """The names that images of exposures may have in a folder: the observatory's, the pipeline's."""
        return NamePattern(self.image), NamePattern(f"{PIPELINE_EXPOSURE[0]}-{{exposure}}.fits")

    def roles(self, image: ImageId) -> dict[str, NamePattern]:
        """Return the files of a tile or an exposure by role: image, weight and, of exposures, flag."""
        if isinstance(image, TileId):
            return {"image": NamePattern(self.tile), "weight": NamePattern(self.tile_weight)}
        return {
            "image": NamePattern(self.image),
            "weight": NamePattern(self.weight),
            "flag": NamePattern(self.flag),
        }


def pipeline_name(role: str, image: ImageId, file_name: str, base: str = "") -> str:
    """Return the pipeline's name of an image (specification, 1.1): `image-2228303.fitsfz`, `CFIS_image-277-282.fits`.

    Parameters
    ----------
    role : str
        image, weight or flag.
    image : TileId or int
        Tile or exposure.
    file_name : str
        The observatory's name, whose ending decides that of the new one.
    base : str, optional
        Beginning of the name; the usual one by default.
    """
    bases = PIPELINE_TILE if isinstance(image, TileId) else PIPELINE_EXPOSURE
    usual = dict(zip(("image", "weight", "flag"), bases, strict=False))
    number = str(image).replace(".", "-") if isinstance(image, TileId) else f"{image:07d}"
    return f"{base or usual[role]}-{number}" + (".fitsfz" if file_name.endswith(("fits.fz", "fitsfz")) else ".fits")


def id_in_name(name: str) -> TileId | None:
    """Return the tile in a file name of any form, such as CFIS.241.293.r.fits or CFIS_image-241-293.fits."""
    found = _TILE_IN_NAME.findall(name)
    return TileId.parse(found[0]) if len(found) == 1 else None
