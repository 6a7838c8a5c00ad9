"""The keys of a survey's files: where they are, how they are named, how they are to be read."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

from pydantic import ValidationInfo, field_validator, model_validator

from shapempi.camera import Camera
from shapempi.errors import ConfigError
from shapempi.exposure_number import CFIS_NUMBER, ExposureNumber
from shapempi.ids import TileId
from shapempi.io.exposure import CFIS_CCDS, CFIS_KEYWORDS, KeywordParams
from shapempi.io.flag_codes import CFIS_FLAGS, FlagCodes
from shapempi.params import REQUIRED, Params, key
from shapempi.tile_grid import CFIS_GRID, TileGrid

__all__ = ["InputParams"]

#: Names of files: what they must have a place for, and what they may have one for.
_PLACES = {
    **dict.fromkeys(("image_name", "weight_name", "flag_name"), ("exposure", ("ccd", "band"))),
    **dict.fromkeys(
        ("tile_name", "tile_weight_name", "tile_detection_name", "tile_detection_weight_name"), ("tile", ("band",))
    ),
}
_OPTIONAL = ("tile_detection_name", "tile_detection_weight_name")
_EXAMPLES = {"exposure": "{exposure}p.fits.fz", "tile": "CFIS.{tile}.r.fits"}


class InputParams(Params):
    """Where the survey's images and catalogues are, and how they are named."""

    exposure_folder: Path = key(REQUIRED, "Folder of the exposures' images, weights and flags.")
    tile_folder: Path = key(REQUIRED, "Folder of the tiles and their weights.")
    star_catalogue: Path | None = key(
        None,
        "Catalogue of bright stars (FITS, CSV, HDF5, or a folder of star_cat*.cat texts); without it none is masked.",
    )
    messier_catalogue: Path | None = key(
        None, "Catalogue of Messier objects (FITS, CSV, or OpenNGC's SQLite); without it none is masked as such."
    )
    ngc_catalogue: Path | None = key(
        None, "Catalogue of NGC and IC objects (FITS, CSV, or OpenNGC's SQLite); without it none is masked."
    )
    tiles: tuple[str, ...] = key((), "Tiles to measure, as XXX.YYY; empty for those of tile_list or the folder.")
    tile_list: Path | None = key(None, "Text file with one tile XXX.YYY a line; used where tiles is empty.")
    image_name: str = key(
        "{exposure}p.fits.fz", "File name of an exposure; with {ccd}, the name of a CCD, every CCD has its own file."
    )
    weight_name: str = key("{exposure}p.weight.fits.fz", "File name of an exposure's weight.")
    flag_name: str = key("{exposure}p.flag.fits.fz", "File name of an exposure's flags.")
    flag_required: bool = key(True, "Whether an exposure without its flag file is refused, or counts as unflagged.")
    tile_name: str = key("CFIS.{tile}.r.fits", "File name of a tile.")
    tile_weight_name: str = key("CFIS.{tile}.r.weight.fits.fz", "File name of a tile's weight.")
    tile_detection_name: str = key(
        "",
        "File name of the image in which a tile's objects are found, on the same pixels; empty for the tile itself.",
    )
    tile_detection_weight_name: str = key("", "File name of its weight; empty for the tile's weight.")
    band: str = key("r", "Name of the band, which {band} in file names becomes.", min_length=1)
    n_ccd: int = key(40, "CCDs of the camera.", ge=1, le=2000)
    mag_zp: float = key(30.0, "Common magnitude zero point of the survey, that of the tiles.", unit="mag")
    keywords: KeywordParams = KeywordParams()
    exposure_number: ExposureNumber = CFIS_NUMBER
    tile_grid: TileGrid = CFIS_GRID
    camera: Camera = CFIS_CCDS
    flags: FlagCodes = CFIS_FLAGS

    @field_validator(*_PLACES)
    @classmethod
    def _names_have_their_places(cls, name: str, info: ValidationInfo) -> str:
        """Refuse a name that is the same for all exposures or tiles, or has places for what is not known."""
        needed, allowed = _PLACES[info.field_name or ""]
        if not name and info.field_name in _OPTIONAL:
            return name
        found = re.findall(r"\{([^{}]*)\}", name)
        for place in found:
            if place not in (needed, *allowed):
                near = difflib.get_close_matches(place, (needed, *allowed), n=1)
                known = " or ".join(f"{{{each}}}" for each in (needed, *allowed))
                cure = f"did you mean {{{near[0]}}}?" if near else f"it may have {known}"
                raise ValueError(f"{{{place}}} has no meaning in this name; {cure}")
        if found.count(needed) != 1:
            raise ValueError(f"the name must have {{{needed}}} in one place, such as {_EXAMPLES[needed]}")
        return name

    @model_validator(mode="after")
    def _files_agree(self) -> InputParams:
        """Refuse files of single CCDs beside mosaics, and CCDs that the camera does not have."""
        names = {name: "{ccd}" in getattr(self, name) for name in ("image_name", "weight_name", "flag_name")}
        if len(set(names.values())) > 1:
            single, mosaic = (next(name for name, is_so in names.items() if is_so is want) for want in (True, False))
            raise ValueError(f"{single} has {{ccd}} and {mosaic} has not: every CCD has its own files, or none has")
        known = len(self.camera.ccd_names)
        if known and known != self.n_ccd:
            raise ValueError(f"n_ccd is {self.n_ccd}, and camera.ccd_names has {known} names")
        return self

    def check_simulation(self) -> None:
        """Raise ConfigError if the exposures of a simulated survey could not be read as these keys say."""
        own = ("gain", "saturate", "zero_point", "flux_scale", "valid_section", "active", "epoch")
        other = [name for name in own if getattr(self.keywords, name) != getattr(CFIS_KEYWORDS, name)]
        wrong = [f"[input.keywords] {name}" for name in other]
        wrong += ["[input.flags] codes"] if self.flags.codes else []
        wrong += ["{ccd} in [input] image_name"] if self.single_ccds else []
        if wrong:
            raise ConfigError(
                "a simulated survey has mosaics with the keywords and flag bits of CFIS, and the survey description "
                f"says otherwise: {', '.join(wrong)}; name another description for the simulation"
            )

    @property
    def single_ccds(self) -> bool:
        """Whether every CCD has its own file."""
        return "{ccd}" in self.image_name

    @property
    def ccds(self) -> range:
        """The numbers of the CCDs."""
        return range(self.camera.first_ccd, self.camera.first_ccd + self.n_ccd)

    def exposure_names(self, exposure: int) -> tuple[str, str, str]:
        """Return the names of an exposure's image, weight and flags; `*` is in the place of a CCD's name."""
        image, weight, flag = (
            self.exposure_file(name, exposure) for name in (self.image_name, self.weight_name, self.flag_name)
        )
        return image, weight, flag

    def tile_names(self, tile: TileId) -> tuple[str, str]:
        """Return the names of a tile's image and weight."""
        own = self.tile_grid.write(tile)
        return self.tile_file(self.tile_name, own), self.tile_file(self.tile_weight_name, own)

    def exposure_file(self, name: str, exposure: int, ccd: str = "*") -> str:
        """Return the name of a file of an exposure, and of one of its CCDs."""
        name = name.replace("{exposure}", self.exposure_number.write(exposure))
        return name.replace("{ccd}", ccd).replace("{band}", self.band)

    def tile_file(self, name: str, tile: str) -> str:
        """Return the name of a file of a tile; `tile` as `tile_grid` writes it."""
        return name.replace("{tile}", tile).replace("{band}", self.band)
