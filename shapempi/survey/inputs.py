"""What is there: tiles, the exposures that their headers name, and the files of both, missing ones by name."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from shapempi.errors import ConfigError, DataError, MissingInputError
from shapempi.ids import CcdId, TileId
from shapempi.image import Image
from shapempi.io.exposure import ExposurePaths, ccd_index, find_hdu, read_image
from shapempi.io.fits import Hdu, image_hdus
from shapempi.io.node_cache import NodeCache
from shapempi.io.tile import TilePlanes, open_planes, read_tile, tile_exposures, tile_image_hdu
from shapempi.survey.footprint_store import FootprintStore
from shapempi.survey.footprints import CcdFootprint, read_footprints, read_single_footprints
from shapempi.survey.input_params import InputParams
from shapempi.survey.placed_exposure import Looks, PlacedExposure

__all__ = ["InputParams", "Problem", "SurveyInputs", "find_inputs", "store_of"]

#: Looks of a file that was not there; no file has them.
_NO_LOOKS = (-1, -1)


@dataclass(frozen=True)
class Problem:
    """An input that is missing or cannot be used.

    Attributes
    ----------
    path : str
        The file.
    reason : str
        What is wrong with it.
    needed_by : str
        What needs it.
    cure : str
        What can be done.
    missing : bool
        True if it does not exist, False if it cannot be used.
    """

    path: str
    reason: str
    needed_by: str
    cure: str
    missing: bool = True

    def __str__(self) -> str:
        """Return the problem as one line."""
        reason = self.reason if self.path in self.reason else f"{self.path}: {self.reason}"
        return f"{reason} (needed by {self.needed_by}); {self.cure}"


@dataclass(frozen=True)
class SurveyInputs:
    """The input files of a survey.

    Attributes
    ----------
    params : InputParams
        Names and places.
    tiles : tuple of TileId
        The tiles to measure, sorted, whether their files are there or not.
    exposures_of : mapping of TileId to tuple of int
        The exposures that each tile's header names, in its order; empty for a tile without a readable header.
    absent : frozenset of int
        Exposures without an image file.
    problems : tuple of Problem
        What is missing or unusable.
    store : FootprintStore or None
        What an earlier start of the run has learned of the exposures; None without a run.
    cache : NodeCache or None
        Where this process reads the pixels of exposures; None: from where they are.
    """

    params: InputParams
    tiles: tuple[TileId, ...] = ()
    exposures_of: Mapping[TileId, tuple[int, ...]] = field(default_factory=dict)
    absent: frozenset[int] = frozenset()
    problems: tuple[Problem, ...] = ()
    store: FootprintStore | None = field(default=None, compare=False)
    cache: NodeCache | None = field(default=None, compare=False)

    @property
    def exposures(self) -> tuple[int, ...]:
        """The exposures that some tile names and whose image file is there, sorted."""
        named = {exposure for exposures in self.exposures_of.values() for exposure in exposures}
        return tuple(sorted(named - self.absent))

    def exposure_paths(self, exposure: int) -> ExposurePaths:
        """Return the files of an exposure, whether they exist or not; no flag file if it is absent and optional.

        Where every CCD has its own files, `*` is in the place of the CCD's name.
        """
        return self._paths(exposure, "*")

    def ccd_paths(self, ccd: CcdId) -> ExposurePaths:
        """Return the files that a CCD is in, whether they exist or not, as `exposure_paths`."""
        return self._paths(ccd.exposure, self.params.camera.name_of(ccd.ccd))

    def exposure_files(self, exposure: int) -> list[ExposurePaths]:
        """Return all files of an exposure: one triple, or one for each CCD whose image is there."""
        if not self.params.single_ccds:
            return [self.exposure_paths(exposure)]
        files = (self.ccd_paths(CcdId(exposure, number)) for number in self.params.ccds)
        return [paths for paths in files if paths.image.is_file()]

    def _paths(self, exposure: int, ccd: str) -> ExposurePaths:
        params = self.params
        image, weight, flag = (
            _present(params.exposure_folder / params.exposure_file(name, exposure, ccd))
            for name in (params.image_name, params.weight_name, params.flag_name)
        )
        return ExposurePaths(image, weight, flag if params.flag_required or flag.is_file() else None)

    def ccd_hdus(self, exposure: int) -> dict[int, Hdu]:
        """Return the images of an exposure by number of their CCD.

        Raises
        ------
        MissingInputError, DataError
            As `shapempi.io.fits.image_hdus`.
        """
        params = self.params
        if not params.single_ccds:
            return ccd_index(image_hdus(self.exposure_paths(exposure).image), params.camera)
        paths = {number: self.ccd_paths(CcdId(exposure, number)).image for number in params.ccds}
        return {number: image_hdus(path)[0] for number, path in paths.items() if path.is_file()}

    def ccd_hdu(self, path: Path, role: str, ccd: CcdId) -> Hdu:
        """Find a CCD in one of the files of `ccd_paths`, the `role` of which is for messages.

        Raises
        ------
        MissingInputError, DataError
            If the file or the CCD is not there.
        """
        return find_hdu(path, role, ccd=self._number(ccd), camera=self.params.camera)

    def _number(self, ccd: CcdId) -> int | None:
        """Return the number by which a CCD is found in a file; None where it is the first image of its own file."""
        return None if self.params.single_ccds else ccd.ccd

    def tile_paths(self, tile: TileId) -> tuple[Path, Path]:
        """Return the image and the weight file of a tile, whether they exist or not."""
        params = self.params
        image, weight = (_tile_file(params, name, tile) for name in (params.tile_name, params.tile_weight_name))
        return image, weight

    def detection_paths(self, tile: TileId) -> tuple[Path, Path] | None:
        """Return the image in which a tile's objects are found and its weight; None where that is the tile."""
        params = self.params
        if not params.tile_detection_name:
            return None
        names = params.tile_detection_name, params.tile_detection_weight_name or params.tile_weight_name
        image, weight = (_tile_file(params, name, tile) for name in names)
        return image, weight

    def open_tile(self, tile: TileId) -> TilePlanes:
        """Find the pixels of a tile; see `shapempi.io.tile.open_planes`."""
        return open_planes(*self.tile_paths(tile))

    def open_detection(self, tile: TileId) -> TilePlanes | None:
        """Find the pixels of the image in which a tile's objects are found; None where that is the tile.

        Raises
        ------
        MissingInputError, DataError
            If its files cannot be used, or have another shape than the tile.
        """
        paths = self.detection_paths(tile)
        if paths is None:
            return None
        found, measured = open_planes(*paths, "detection image"), tile_image_hdu(self.tile_paths(tile)[0])
        if found.shape != measured.shape:
            raise DataError(
                f"{found.image}: its shape {found.shape} differs from {measured.shape} of {measured}, in which its "
                "objects are to be measured; check [input] tile_detection_name"
            )
        return found

    def read_ccd(self, ccd: CcdId, box: tuple[int, int, int, int] | None = None) -> Image:
        """Read one CCD or a section of it; see `shapempi.io.exposure.read_ccd`."""
        paths = self.ccd_paths(ccd)
        copies = paths if self.cache is None else paths.by(self.cache.path)
        if copies != paths:
            try:
                image = self._read_ccd(copies, ccd, box)
                return replace(image, path=image.path.replace(str(copies.image), str(paths.image)))
            except (DataError, MissingInputError):
                pass  # removed since, or the file is as bad as its copy: the message is about the file
        return self._read_ccd(paths, ccd, box)

    def _read_ccd(self, paths: ExposurePaths, ccd: CcdId, box: tuple[int, int, int, int] | None) -> Image:
        """Read one CCD or a section of it from some files."""
        params = self.params
        return read_image(
            paths,
            box=box,
            ccd=self._number(ccd),
            keywords=params.keywords,
            survey_zero_point=params.mag_zp,
            camera=params.camera,
            flags=params.flags,
        )

    def read_tile(self, tile: TileId, box: tuple[int, int, int, int] | None = None) -> tuple[Image, list[int]]:
        """Read a tile or a section of it; see `shapempi.io.tile.read_tile`."""
        params = self.params
        return read_tile(
            *self.tile_paths(tile),
            box,
            keywords=params.keywords,
            survey_zero_point=params.mag_zp,
            number=params.exposure_number,
        )

    def footprints(self, exposure: int) -> list[CcdFootprint]:
        """Place the CCDs of an exposure on the sky: by the store if it knows the file as it is, else by its headers.

        See `shapempi.survey.footprints.read_footprints`.
        """
        if self.store is not None and (looks := self._looks(exposure)) is not None:
            placed = self.store.read(exposure, looks)
            if placed is not None:
                return placed.footprints()
        return self._read_footprints(exposure)

    def place(self, exposure: int, known: Looks | None = None) -> PlacedExposure | None:
        """Place the CCDs of an exposure on the sky by its headers; whatever is wrong with the file is in the answer.

        Parameters
        ----------
        exposure : int
            Exposure number.
        known : tuple of int, optional
            Size and date of a file of which all is known already.

        Returns
        -------
        PlacedExposure or None
            None if the file is the known one.
        """
        looks = self._looks(exposure)
        if looks is not None and looks == known:
            return None
        try:
            footprints = self._read_footprints(exposure)
        except (DataError, MissingInputError) as error:
            return PlacedExposure.of(exposure, looks or _NO_LOOKS, (), str(error))
        return PlacedExposure.of(exposure, looks or _NO_LOOKS, footprints)

    def known(self) -> dict[int, PlacedExposure]:
        """Return what the store knows, by exposure, whether the files still are what they were or not."""
        return {} if self.store is None else self.store.load()

    def _read_footprints(self, exposure: int) -> list[CcdFootprint]:
        """Place the CCDs of an exposure on the sky by its headers."""
        params = self.params
        if params.single_ccds:
            paths = {ccd: self.ccd_paths(ccd).image for ccd in (CcdId(exposure, number) for number in params.ccds)}
            there = {ccd: path for ccd, path in paths.items() if path.is_file()}
            return read_single_footprints(there, keywords=params.keywords, camera=params.camera)
        path = self.exposure_paths(exposure).image
        return read_footprints(exposure, path, n_ccd=params.n_ccd, keywords=params.keywords, camera=params.camera)

    def _looks(self, exposure: int) -> Looks | None:
        """Return size and date of an exposure's image; of images of single CCDs their size, and a checksum of all."""
        images = [paths.image for paths in self.exposure_files(exposure)]
        found = {path.name: looks for path in images if (looks := _looks(path)) is not None}
        if not self.params.single_ccds:
            return next(iter(found.values()), None)
        return (sum(size for size, _ in found.values()), zlib.crc32(repr(found).encode())) if found else None

    def footprint(self, ccd: CcdId) -> CcdFootprint:
        """Place one CCD on the sky.

        Raises
        ------
        MissingInputError, DataError
            If its file or header cannot be used.
        """
        for footprint in self.footprints(ccd.exposure):
            if footprint.ccd == ccd:
                if footprint.problem:
                    raise DataError(footprint.problem)
                return footprint
        raise DataError(f"{self.exposure_paths(ccd.exposure).image}: there is no CCD {ccd.ccd}")


def _looks(path: Path) -> Looks | None:
    """Return size and date of a file, None if it is not there."""
    try:
        looks = path.stat()
    except OSError:
        return None
    return looks.st_size, looks.st_mtime_ns


def store_of(params: InputParams, run_folder: Path) -> FootprintStore:
    """Return the store of a run's footprints.

    Parameters
    ----------
    params : InputParams
        Names and places, which decide what is in it.
    run_folder : Path
        The run.
    """
    keywords = params.keywords
    return FootprintStore.of(
        run_folder,
        exposures=str(params.exposure_folder.absolute()),
        image_name=params.exposure_file(params.image_name, 0),
        ccds=json.dumps([params.n_ccd, params.camera.first_ccd, params.camera.ccd_pattern, *params.camera.ccd_names]),
        active=keywords.active,
        valid_section=keywords.valid_section,
    )


def _present(path: Path) -> Path:
    """Return the path, or the same with or without `.fz` if only that exists."""
    if path.is_file():
        return path
    other = path.with_suffix("") if path.suffix == ".fz" else path.with_name(path.name + ".fz")
    return other if other.is_file() else path


def _tile_file(params: InputParams, name: str, tile: TileId) -> Path:
    """Return a file of a tile: with XXX.YYY in its name, or with XXX-YYY, the pipeline's form, if only that exists."""
    own = params.tile_grid.write(tile)
    paths = [_present(params.tile_folder / params.tile_file(name, form)) for form in (own, own.replace(".", "-"))]
    return next((path for path in paths if path.is_file()), paths[0])


def _wanted_tiles(params: InputParams) -> list[TileId]:
    """Return the tiles that the configuration asks for."""
    if params.tiles or params.tile_list is not None:
        source = "[input] tiles"
        names = list(params.tiles)
        if not names and params.tile_list is not None:
            source = str(params.tile_list)
            try:
                lines = params.tile_list.read_text(encoding="utf-8").splitlines()
            except OSError as error:
                raise MissingInputError(f"{source}: the tile list cannot be read: {error.strerror}") from error
            names = [text for line in lines if (text := line.split("#")[0].strip())]
        try:
            tiles = {params.tile_grid.parse(name) for name in names}
        except DataError as error:
            raise ConfigError(f"{source}: {error}") from error
        if not tiles:
            raise ConfigError(f"{source}: no tile is named; write one {params.tile_grid.name} a line")
        return sorted(tiles)
    before, _, after = params.tile_file(params.tile_name.removesuffix(".fz"), "{tile}").partition("{tile}")
    form = re.compile(re.escape(before) + params.tile_grid.pattern + re.escape(after) + r"(\.fz)?")
    try:
        matches = [form.fullmatch(path.name) for path in params.tile_folder.iterdir()]
    except OSError as error:
        raise MissingInputError(f"{params.tile_folder}: the folder cannot be read: {error.strerror}") from error
    tiles = {TileId(int(match["x"]), int(match["y"])) for match in matches if match}
    if not tiles:
        example = params.tile_file(params.tile_name, params.tile_grid.name)
        raise MissingInputError(
            f"{params.tile_folder}: no tile named {example} in this folder; correct [input] tile_folder or tile_name"
        )
    return sorted(tiles)


def find_inputs(params: InputParams, run_folder: Path | None = None) -> SurveyInputs:
    """Look for everything that the survey needs: one header per tile, no pixels.

    Parameters
    ----------
    params : InputParams
        Names and places.
    run_folder : Path, optional
        The run, where an earlier start may have kept what it has learned of the exposures.

    Returns
    -------
    SurveyInputs
        Tiles, exposures, and the list of what is missing, each with what needs it and the cure.

    Raises
    ------
    ConfigError
        If a tile name has the wrong form.
    MissingInputError
        If a folder, the tile list, or any tile at all is missing: there is nothing to measure.
    """
    for name in ("exposure_folder", "tile_folder"):
        folder: Path = getattr(params, name)
        if not folder.is_dir():
            raise MissingInputError(f"{folder}: this folder does not exist; correct [input] {name}")
    if params.tile_detection_weight_name and not params.tile_detection_name:
        raise ConfigError("[input] tile_detection_weight_name is of no use without tile_detection_name; give that, too")
    inputs = SurveyInputs(params)
    problems: list[Problem] = []
    if params.star_catalogue is not None and not params.star_catalogue.exists():
        cure = "correct [input] star_catalogue, or leave it out to mask no stars"
        problems.append(Problem(str(params.star_catalogue), "the star catalogue does not exist", "all masks", cure))
    for name in ("messier_catalogue", "ngc_catalogue"):
        path: Path | None = getattr(params, name)
        if path is not None and not path.is_file():
            cure = f"correct [input] {name}, or leave it out"
            problems.append(Problem(str(path), "the catalogue of extended objects does not exist", "all masks", cure))
    tiles = _wanted_tiles(params)
    exposures_of: dict[TileId, tuple[int, ...]] = {}
    for tile in tiles:
        image, weight = inputs.tile_paths(tile)
        exposures_of[tile] = ()
        if not weight.is_file():
            problems.append(_absent(weight, "tile weight", f"tile {tile}"))
        roles = ("detection image", "detection weight")
        for path, role in zip(inputs.detection_paths(tile) or (), roles, strict=False):
            if path != weight and not path.is_file():
                problems.append(_absent(path, role, f"tile {tile}"))
        try:
            hdu = tile_image_hdu(image)
            exposures_of[tile] = tuple(tile_exposures(hdu.header, str(hdu), params.exposure_number))
        except MissingInputError:
            problems.append(_absent(image, "tile", f"tile {tile}"))
        except DataError as error:
            problems.append(Problem(str(image), str(error), f"tile {tile}", "replace the file", missing=False))
    absent: set[int] = set()
    for exposure, users in _users(exposures_of).items():
        needed_by = f"exposure {exposure:07d}, {_names(users)}"
        files = [paths for paths in inputs.exposure_files(exposure) if paths.image.is_file()]
        if not files:
            absent.add(exposure)
            named_by = f"exposure {exposure:07d}, which the HISTORY of {_names(users)} names"
            problems.append(_absent(inputs.exposure_paths(exposure).image, "image", named_by))
        for paths in files:
            if paths.weight is not None and not paths.weight.is_file():
                problems.append(_absent(paths.weight, "weight", needed_by))
            if paths.flag is not None and not paths.flag.is_file():
                problem = _absent(paths.flag, "flag", needed_by)
                cure = f"{problem.cure}, or set flag_required = false to do without flags"
                problems.append(Problem(problem.path, problem.reason, problem.needed_by, cure))
    store = None if run_folder is None else store_of(params, run_folder)
    return SurveyInputs(params, tuple(tiles), exposures_of, frozenset(absent), tuple(problems), store)


def _absent(path: Path, role: str, needed_by: str) -> Problem:
    """Describe a file that does not exist."""
    return Problem(str(path), f"the {role} file does not exist", needed_by, "put it there or correct [input]")


def _names(tiles: list[TileId]) -> str:
    """Name a few tiles."""
    shown = ", ".join(str(tile) for tile in tiles[:5])
    more = f" and {len(tiles) - 5} more" if len(tiles) > 5 else ""
    return f"tile{'s' if len(tiles) > 1 else ''} {shown}{more}"


def _users(exposures_of: Mapping[TileId, tuple[int, ...]]) -> dict[int, list[TileId]]:
    """Return the tiles that name each exposure, exposures sorted."""
    users: dict[int, list[TileId]] = {}
    for tile, exposures in exposures_of.items():
        for exposure in exposures:
            users.setdefault(exposure, []).append(tile)
    return dict(sorted(users.items()))
