"""How well the run's own schedule keeps thousands of ranks busy: a drawn survey, done in simulated time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from shapempi.bench.farm_simulation import FarmTimes, simulate_farm
from shapempi.bench.survey_law import LAWS, N_CCD, SurveyDraw, draw_survey
from shapempi.ids import CcdId, TileId
from shapempi.mpi.cost import CostModel
from shapempi.mpi.schedule import Schedule, follow
from shapempi.mpi.unit import Outcome, State, Unit
from shapempi.product import Product
from shapempi.report.progress import duration
from shapempi.stages.tile import BLOCK_CCD_DTYPE, BLOCK_DTYPE
from shapempi.survey.graph import CCD_SECONDS, TILE_SECONDS, SurveyPlan, TilePlan
from shapempi.units import STOCK, assumed_costs, block_units, first_units, tile_digest

__all__ = ["FarmBenchmark", "FarmRow", "SurveyQueue", "bench_farm", "plan_of"]

#: Number of the first exposure.
_FIRST_EXPOSURE = 2_000_000
#: Pixels of a CCD and of a tile.
_CCD_PIXELS, _TILE_PIXELS = 2112 * 4644, 10_000**2


def plan_of(survey: SurveyDraw) -> SurveyPlan:
    """Return the plan of a drawn survey, in the form and the order of a real one."""
    of_tile = [TileId(int(x), int(y)) for x, y in zip(survey.column, survey.row, strict=True)]
    ids: dict[int, CcdId] = {}
    tiles = []
    for index, tile in enumerate(of_tile):
        pairs = slice(survey.first[index], survey.first[index + 1])
        keys = (survey.exposure[pairs].astype(np.int64) * N_CCD + survey.ccd[pairs]).tolist()
        for key in keys:
            if key not in ids:
                ids[key] = CcdId(_FIRST_EXPOSURE + key // N_CCD, key % N_CCD)
        ccds = tuple(ids[key] for key in keys)
        tiles.append(TilePlan(tile, tuple(dict.fromkeys(ccd.exposure for ccd in ccds)), ccds))
    ccds = tuple(ids[key] for key in sorted(ids))
    pixels = dict.fromkeys((ccd.uid for ccd in ccds), _CCD_PIXELS)
    costs = dict.fromkeys(pixels, CCD_SECONDS * _CCD_PIXELS)
    for tile in of_tile:
        pixels[tile.uid], costs[tile.uid] = _TILE_PIXELS, TILE_SECONDS * _TILE_PIXELS
    return SurveyPlan(ccds, tuple(tiles), pixels, costs)


class SurveyQueue:
    """The schedule of a run on a drawn survey: its units are made and ordered by the code of the run.

    Parameters
    ----------
    survey : SurveyDraw
        The survey.
    block_size : int
        Largest number of objects in a block.
    n_worker : int, optional
        Ranks that will do units.
    """

    def __init__(self, survey: SurveyDraw, block_size: int, n_worker: int = 1) -> None:
        plan = plan_of(survey)
        self.schedule = Schedule(CostModel(assumed_costs()), STOCK * n_worker)
        self.schedule.add(first_units(plan, n_worker))
        self._survey = survey
        self._block_size = block_size
        self._tiles = {tile.tile.uid: (index, tile_digest(tile)) for index, tile in enumerate(plan.tiles)}
        self._blocks: dict[str, np.ndarray] = {}

    def next(self) -> tuple[str, float] | None:
        """Take the unit to do next; see `UnitQueue`."""
        unit = self.schedule.next()
        return None if unit is None else (unit.uid, self._seconds(unit))

    def done(self, name: str, seconds: float) -> None:
        """Book a result as rank 0 of a run does; see `UnitQueue`."""
        unit = self.schedule.unit(name)
        outcome, children = follow(Outcome(name, unit.kind, State.DONE, elapsed=seconds), self._expand)
        if outcome.state is not State.DONE:
            raise RuntimeError(f"{name}: {outcome.reason}\n{outcome.traceback}")
        self.schedule.finish(outcome)
        self.schedule.add(children)

    def _seconds(self, unit: Unit) -> float:
        """Return the true time of a unit [s]."""
        if unit.kind == "ccd":
            exposure = unit.payload["exposure"] - _FIRST_EXPOSURE
            return float(self._survey.ccd_seconds[exposure, unit.payload["ccd"]])
        if unit.kind == "tile":
            return float(self._survey.tile_seconds[self._tiles[unit.uid][0]])
        return float(self._blocks[unit.needs[0]][unit.payload["index"]])

    def _expand(self, outcome: Outcome) -> Iterator[Unit]:
        """Return the blocks of a tile that is done."""
        if outcome.kind != "tile":
            return iter(())
        index, digest = self._tiles[outcome.uid]
        survey = self._survey
        drawn = survey.blocks(index, self._block_size)
        self._blocks[outcome.uid] = drawn.seconds
        blocks = np.zeros(len(drawn.seconds), BLOCK_DTYPE)
        blocks["index"] = np.arange(len(blocks))
        blocks["n_object"], blocks["n_epoch"] = drawn.n_object, drawn.n_epoch
        ccds = np.zeros(len(drawn.block), BLOCK_CCD_DTYPE)
        pair = survey.first[index] + drawn.pair
        ccds["index"], ccds["exposure"], ccds["ccd"] = (
            drawn.block,
            _FIRST_EXPOSURE + survey.exposure[pair],
            survey.ccd[pair],
        )
        tile = TileId(int(survey.column[index]), int(survey.row[index]))
        region = self.schedule.unit(outcome.uid).region
        return block_units(tile, digest, Product({"blocks": blocks, "block_ccds": ccds}), region)


@dataclass(frozen=True)
class FarmRow:
    """One simulated run.

    Attributes
    ----------
    n_rank : int
        Ranks, rank 0 included.
    n_tile : int
        Tiles of the survey.
    block_seconds : float
        What a block shall take [s].
    block_size : int
        Objects in a block at most.
    times : FarmTimes
        Where the time went.
    efficiency : float
        Time in units as a fraction of the time of all ranks.
    schedule_us : float
        Processor time of this machine for making, ordering and booking a unit [microsecond].
    """

    n_rank: int
    n_tile: int
    block_seconds: float
    block_size: int
    times: FarmTimes
    efficiency: float
    schedule_us: float


@dataclass(frozen=True)
class FarmBenchmark:
    """The result of `bench_farm`.

    Attributes
    ----------
    law : str
        Name of the cost law.
    n_tile : int
        Tiles that were asked for.
    assign_us : float
        Time of rank 0 per unit [microsecond].
    rows : tuple of FarmRow
        The runs.
    """

    law: str
    n_tile: int
    assign_us: float
    rows: tuple[FarmRow, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return all numbers, for JSON."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Return the table."""
        lines = [
            f"simulated runs, cost law {self.law}, {self.n_tile} tiles or as many as the limit of units allows, "
            f"{self.assign_us:g} us of rank 0 per unit",
            "",
            "| ranks | tiles | block [s] | objects | units | makespan | efficiency | tail [s] | starved [s] "
            "| rank 0 busy | schedule [us] |",
            "|---|---|---|---|---|---|---|---|---|---|---|",
        ]
        for row in self.rows:
            times = row.times
            lines.append(
                f"| {row.n_rank} | {row.n_tile} | {row.block_seconds:g} | {row.block_size} | {times.n_unit} "
                f"| {duration(times.makespan)} | {row.efficiency:.3f} | {times.tail:.1f} | {times.starved:.1f} "
                f"| {times.master / times.makespan:.1%} | {row.schedule_us:.0f} |"
            )
        cut = sorted({row.n_tile for row in self.rows if row.n_tile < self.n_tile})
        if cut:
            lines += [
                "",
                "Where a survey has fewer tiles than asked for, it was cut to the limit of units: as many ranks have "
                "less work each, and the efficiency is a lower bound.",
            ]
        return lines


def bench_farm(
    *,
    ranks: Sequence[int],
    blocks: Sequence[float],
    n_tile: int,
    law: str = "native",
    assign_us: float = 70.0,
    most_units: int = 1_000_000,
    seed: int = 1,
    report: Callable[[str], None] = lambda _: None,
) -> FarmBenchmark:
    """Simulate runs of a drawn survey on many ranks, by the schedule and the units of a real run.

    Parameters
    ----------
    ranks : sequence of int
        Numbers of ranks, rank 0 included; each at least 2.
    blocks : sequence of float
        What a block shall take [s].
    n_tile : int
        Tiles of the survey.
    law : str, optional
        Name of the cost law, of `LAWS`.
    assign_us : float, optional
        Time of rank 0 for a unit and its result [microsecond].
    most_units : int, optional
        A survey that has more units is cut to fewer tiles.
    seed : int, optional
        Of the survey.
    report : callable, optional
        Gets a line before each run.

    Returns
    -------
    FarmBenchmark
        Efficiencies and where the time went.
    """
    rows = []
    for seconds in blocks:
        survey = draw_survey(n_tile, LAWS[law], seed)
        block_size = survey.block_size(seconds)
        n_unit = len(np.unique(survey.exposure.astype(np.int64) * N_CCD + survey.ccd)) + n_tile
        n_unit += survey.n_block(block_size)
        if n_unit > most_units:
            survey = draw_survey(max(1, n_tile * most_units // n_unit), LAWS[law], seed)
        for n_rank in ranks:
            report(f"{n_rank} ranks, {survey.n_tile} tiles, blocks of {seconds:g} s")
            rows.append(_row(survey, n_rank, seconds, block_size, assign_us))
    return FarmBenchmark(law, n_tile, assign_us, tuple(rows))


def _row(survey: SurveyDraw, n_rank: int, seconds: float, block_size: int, assign_us: float) -> FarmRow:
    """Simulate one run."""
    start = time.process_time()
    queue = SurveyQueue(survey, block_size, n_rank - 1)
    times = simulate_farm(queue, n_rank - 1, 1e-6 * assign_us)
    spent = time.process_time() - start
    if not queue.schedule.complete:
        raise RuntimeError(f"units are left that nothing can release: {queue.schedule.counts()}")
    return FarmRow(
        n_rank, survey.n_tile, seconds, block_size, times, times.efficiency(n_rank), 1e6 * spent / times.n_unit
    )
