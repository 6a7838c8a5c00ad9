"""File names of tiles and exposures, to their IDs and back: the observatory's and the pipeline's."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property

from shapempi.errors import ConfigError
from shapempi.exposure_number import CFIS_NUMBER, ExposureNumber
from shapempi.field.cfis import BAND, PIPELINE_EXPOSURE, PIPELINE_TILE, TILE_CATALOGUE
from shapempi.ids import TileId
from shapempi.io.id_list import ImageId
from shapempi.survey.input_params import InputParams
from shapempi.tile_grid import CFIS_GRID, TileGrid

__all__ = ["ImageNames", "NamePattern", "id_in_name", "pipeline_name"]

#: A tile and an exposure as the program writes them, which is how the pipeline's names have them.
_PLAIN = {"{tile}": r"(?P<x>\d{3,5})[.-](?P<y>\d{3,5})", "{exposure}": r"(?P<exposure>\d{6,14})"}


@dataclass(frozen=True)
class NamePattern:
    """The file names of one kind of image.

    Attributes
    ----------
    template : str
        A file name with `{tile}` or `{exposure}` in the place of the ID.
    compressed : bool
        Only names that end in `.fz`; by default names with and without it are meant.
    grid : TileGrid or None
        How tiles are written; None: as the program writes them.
    number : ExposureNumber or None
        The same of the numbers of exposures.
    """

    template: str
    compressed: bool = False
    grid: TileGrid | None = CFIS_GRID
    number: ExposureNumber | None = CFIS_NUMBER

    @property
    def of_tiles(self) -> bool:
        """Whether these are images of tiles, not of exposures."""
        return "{tile}" in self.template

    @cached_property
    def _form(self) -> re.Pattern[str]:
        """The names as a regular expression."""
        text = re.escape(self.template.removesuffix(".fz"))
        places = dict(_PLAIN)
        if self.grid is not None:
            places["{tile}"] = self.grid.pattern
        if self.number is not None:
            places["{exposure}"] = f"(?P<exposure>{self.number.written_pattern})"
        for place, digits in places.items():
            text = text.replace(re.escape(place), digits)
        return re.compile(text + (r"\.?fz" if self.compressed else r"(\.?fz)?"))  # the pipeline writes fitsfz

    def parse(self, name: str) -> ImageId | None:
        """Return the tile or the exposure of a file name without folder, None if it is of another kind."""
        match = self._form.fullmatch(name)
        if match is None:
            return None
        if self.of_tiles:
            return TileId(int(match["x"]), int(match["y"]))
        return int(re.sub(r"\D", "", match["exposure"]))

    def names(self, image: ImageId) -> tuple[str, ...]:
        """Return the names that an image may have, the usual one first."""
        if isinstance(image, TileId):
            name = self.template.replace("{tile}", str(image) if self.grid is None else self.grid.write(image))
        else:
            number = f"{image:07d}" if self.number is None else self.number.write(image)
            name = self.template.replace("{exposure}", number)
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
    grid : TileGrid
        How tiles are written.
    number : ExposureNumber
        How numbers of exposures are written.
    """

    tile: str
    tile_weight: str
    tile_catalogue: str
    image: str
    weight: str
    flag: str
    flag_required: bool
    grid: TileGrid = CFIS_GRID
    number: ExposureNumber = CFIS_NUMBER

    @classmethod
    def of(cls, params: InputParams | None = None) -> ImageNames:
        """Return the names of a configuration, or those that a configuration has by default.

        Raises
        ------
        ConfigError
            If every CCD has its own files.
        """
        fields = InputParams.model_fields
        if params is not None and params.single_ccds:
            raise ConfigError(f"[input] image_name {params.image_name}: files of single CCDs are not known here")

        def value(name: str) -> str:
            if params is None:
                return str(fields[name].default)
            return str(getattr(params, name)).replace("{band}", params.band)

        return cls(
            tile=value("tile_name"),
            tile_weight=value("tile_weight_name"),
            tile_catalogue=TILE_CATALOGUE,
            image=value("image_name"),
            weight=value("weight_name"),
            flag=value("flag_name"),
            flag_required=True if params is None else params.flag_required,
            grid=CFIS_GRID if params is None else params.tile_grid,
            number=CFIS_NUMBER if params is None else params.exposure_number,
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
        kinds = {kind: self._pattern(template) for kind, template in templates.items()}
        packed = ("weight", "exposure", "exposure_weight", "exposure_flag")
        return kinds | {f"{kind}.fz": self._pattern(templates[kind], compressed=True) for kind in packed}

    def _pattern(self, template: str, *, compressed: bool = False) -> NamePattern:
        return NamePattern(template, compressed, self.grid, self.number)

    @property
    def tiles(self) -> tuple[NamePattern, NamePattern]:
        """The names that tiles may have in a folder: the observatory's, the pipeline's."""
        return self._pattern(self.tile), NamePattern(f"{PIPELINE_TILE[0]}-{{tile}}.fits", grid=None)

    @property
    def exposures(self) -> tuple[NamePattern, NamePattern]:
        """The names that images of exposures may have in a folder: the observatory's, the pipeline's."""
        return self._pattern(self.image), NamePattern(f"{PIPELINE_EXPOSURE[0]}-{{exposure}}.fits", number=None)

    def roles(self, image: ImageId) -> dict[str, NamePattern]:
        """Return the files of a tile or an exposure by role: image, weight and, of exposures, flag."""
        if isinstance(image, TileId):
            return {"image": self._pattern(self.tile), "weight": self._pattern(self.tile_weight)}
        return {
            "image": self._pattern(self.image),
            "weight": self._pattern(self.weight),
            "flag": self._pattern(self.flag),
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


def id_in_name(name: str, grid: TileGrid = CFIS_GRID) -> TileId | None:
    """Return the tile in a file name of any form, such as CFIS.241.293.r.fits or CFIS_image-241-293.fits."""
    found = list(re.finditer(rf"(?<!\d){grid.pattern}(?!\d)", name))
    return TileId(int(found[0]["x"]), int(found[0]["y"])) if len(found) == 1 else None
