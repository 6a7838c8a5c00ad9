"""The plan of a survey: its CCD and tile units, what each tile needs, and what they will cost, as plain data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from shapempi.errors import DataError, MissingInputError
from shapempi.ids import CcdId, TileId
from shapempi.io.tile import tile_image_hdu
from shapempi.survey.footprints import CcdFootprint, touching
from shapempi.survey.inputs import Problem, SurveyInputs
from shapempi.survey.placed_exposure import PlacedExposure
from shapempi.tile_grid import CFIS_GRID, TileGrid
from shapempi.wcs import Wcs

__all__ = ["SurveyPlan", "TilePlan", "make_plan"]

#: Predicted time per pixel [s]: the order of units needs ratios only, the time left is corrected as units finish.
CCD_SECONDS = 3e-7
TILE_SECONDS = 1.5e-7


@dataclass(frozen=True)
class TilePlan:
    """One tile and what it needs.

    Attributes
    ----------
    tile : TileId
        The tile.
    exposures : tuple of int
        The exposures that its header names, in the header's order.
    ccds : tuple of CcdId
        The CCDs of those exposures that touch the tile, sorted.
    missing : tuple of int
        Exposures whose image file is missing or unreadable: the tile is measured without them.
    """

    tile: TileId
    exposures: tuple[int, ...]
    ccds: tuple[CcdId, ...]
    missing: tuple[int, ...] = ()


@dataclass(frozen=True)
class SurveyPlan:
    """All units of the first two kinds.

    Attributes
    ----------
    ccds : tuple of CcdId
        The CCDs that touch a tile, and those whose place is unknown because their header is unusable (they are
        planned so that they fail by name); sorted.
    tiles : tuple of TilePlan
        The tiles, sorted; one whose files are missing is planned, too, and fails by name.
    pixels : mapping of str to int
        Pixels of each unit, by uid.
    costs : mapping of str to float
        Predicted time of each unit [s], by uid.
    problems : tuple of Problem
        What is missing or unusable.
    grid : TileGrid
        The grid of the tiles.
    """

    ccds: tuple[CcdId, ...]
    tiles: tuple[TilePlan, ...]
    pixels: Mapping[str, int]
    costs: Mapping[str, float]
    problems: tuple[Problem, ...] = ()
    grid: TileGrid = CFIS_GRID

    def to_json(self) -> str:
        """Write the plan as text."""
        return json.dumps(
            {
                "ccds": [str(ccd) for ccd in self.ccds],
                "tiles": [
                    {
                        "tile": str(plan.tile),
                        "exposures": plan.exposures,
                        "ccds": [str(ccd) for ccd in plan.ccds],
                        "missing": plan.missing,
                    }
                    for plan in self.tiles
                ],
                "pixels": dict(self.pixels),
                "costs": dict(self.costs),
                "problems": [asdict(problem) for problem in self.problems],
                **({} if self.grid == CFIS_GRID else {"grid": self.grid.model_dump()}),
            }
        )

    @classmethod
    def from_json(cls, text: str) -> SurveyPlan:
        """Read what `to_json` wrote."""
        values = json.loads(text)
        return cls(
            ccds=tuple(CcdId.parse(name) for name in values["ccds"]),
            tiles=tuple(
                TilePlan(
                    tile=TileId.parse(plan["tile"]),
                    exposures=tuple(plan["exposures"]),
                    ccds=tuple(CcdId.parse(name) for name in plan["ccds"]),
                    missing=tuple(plan["missing"]),
                )
                for plan in values["tiles"]
            ),
            pixels=values["pixels"],
            costs=values["costs"],
            problems=tuple(Problem(**problem) for problem in values["problems"]),
            grid=TileGrid.model_validate(values.get("grid", {})),
        )


def make_plan(
    inputs: SurveyInputs, placed: Mapping[int, PlacedExposure] | None = None, *, margin: float = 50.0
) -> SurveyPlan:
    """Plan the units of a survey.

    Parameters
    ----------
    inputs : SurveyInputs
        The input files.
    placed : mapping of int to PlacedExposure, optional
        All exposures, where they have been read already; else this is one pass over the headers of those that
        `inputs.store` does not know.
    margin : float, optional
        Width [pixel] by which tiles are enlarged when CCDs are looked for.

    Returns
    -------
    SurveyPlan
        The plan; inactive CCDs and CCDs away from all tiles are left out.
    """
    if placed is None:
        known = inputs.known()
        placed = {
            exposure: inputs.place(exposure, known[exposure].looks if exposure in known else None) or known[exposure]
            for exposure in inputs.exposures
        }
    problems = list(inputs.problems)
    footprints: dict[int, list[CcdFootprint]] = {}
    for exposure in inputs.exposures:
        error = placed[exposure].error
        if error:
            path = str(inputs.exposure_paths(exposure).image)
            problems.append(Problem(path, error, f"exposure {exposure:07d}", "replace the file", missing=False))
            continue
        footprints[exposure] = placed[exposure].footprints(headers=False)
    pixels: dict[str, int] = {}
    costs: dict[str, float] = {}
    needed: dict[CcdId, CcdFootprint] = {}
    for candidates in footprints.values():
        for footprint in candidates:
            if footprint.problem:
                needed[footprint.ccd] = footprint
                path = str(inputs.ccd_paths(footprint.ccd).image)
                problems.append(
                    Problem(path, footprint.problem, f"CCD {footprint.ccd}", "replace the file", missing=False)
                )
    tiles = []
    for tile in inputs.tiles:
        named = inputs.exposures_of[tile]
        found: list[CcdFootprint] = []
        n_pixel = 0
        image = inputs.tile_paths(tile)[0]
        try:
            hdu = tile_image_hdu(image)
            shape = hdu.shape or (0, 0)
            n_pixel = shape[0] * shape[1]
            candidates = [footprint for exposure in named for footprint in footprints.get(exposure, ())]
            found = touching(candidates, Wcs(hdu.header, str(hdu)), shape, margin=margin)
        except (DataError, MissingInputError) as error:
            if all(problem.path != str(image) for problem in problems):
                problems.append(Problem(str(image), str(error), f"tile {tile}", "replace the file", missing=False))
        needed.update({footprint.ccd: footprint for footprint in found})
        ccds = tuple(sorted(footprint.ccd for footprint in found))
        tiles.append(TilePlan(tile, named, ccds, tuple(e for e in named if e not in footprints)))
        pixels[tile.uid], costs[tile.uid] = n_pixel, TILE_SECONDS * max(n_pixel, 1)
    for ccd, footprint in needed.items():
        pixels[ccd.uid], costs[ccd.uid] = footprint.n_pixel, CCD_SECONDS * max(footprint.n_pixel, 1)
    return SurveyPlan(tuple(sorted(needed)), tuple(tiles), pixels, costs, tuple(problems), inputs.params.tile_grid)
