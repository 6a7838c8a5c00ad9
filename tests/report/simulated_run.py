"""Journals of runs that never were: units given to ranks as the farm does, with failures where one asks for them."""

from __future__ import annotations

import heapq
import json

import numpy as np

from shapempi.ids import CcdId, TileId
from shapempi.survey.graph import SurveyPlan, TilePlan

START = 1_700_000_000.0

#: Steps of each kind and the share of time that each takes.
STEPS = {
    "ccd": {"read": 0.2, "detect": 0.4, "psf": 0.35, "commit": 0.05},
    "tile": {"read": 0.5, "detect": 0.45, "commit": 0.05},
    "block": {"read objects": 0.05, "vignets": 0.15, "shapes": 0.75, "commit": 0.05},
}
SECONDS = {"ccd": 8.0, "tile": 25.0, "block": 40.0}
MEMORY = {"ccd": 0.4, "tile": 1.1, "block": 0.7}  # GiB


def make_plan(n_tile, n_exposure=3, ccd_per_exposure=4):
    """Tiles in a row, each seen by exposures of its own and by the first exposure of the next."""
    tiles = []
    for k in range(n_tile):
        own = [2_000_000 + n_exposure * k + j for j in range(n_exposure)]
        seen = [*own, 2_000_000 + n_exposure * ((k + 1) % n_tile)] if n_tile > 1 else own
        ccds = tuple(CcdId(exposure, ccd) for exposure in sorted(seen) for ccd in range(ccd_per_exposure))
        tiles.append(TilePlan(TileId(k // 1000, k % 1000), tuple(seen), ccds))
    ccds = tuple(sorted({ccd for tile in tiles for ccd in tile.ccds}))
    pixels = {ccd.uid: 9_400_000 for ccd in ccds} | {tile.tile.uid: 100_000_000 for tile in tiles}
    costs = {ccd.uid: 2.8 for ccd in ccds} | {tile.tile.uid: 15.0 for tile in tiles}
    return SurveyPlan(ccds, tuple(tiles), pixels, costs)


def simulate(plan, n_rank, *, n_block=12, seed=1, job="0001", trouble=0.0, lose=(), ranks_per_host=40, code=0):
    """Return the events of a run.

    `trouble` is the fraction of attempts that fail; ranks in `lose` are lost half-way.
    """
    rng = np.random.default_rng(seed)
    units = [(ccd.uid, "ccd") for ccd in plan.ccds]
    for tile in plan.tiles:
        units.append((tile.tile.uid, "tile"))
        units += [(f"block:{tile.tile}:{k}", "block") for k in range(n_block)]
    free = [(START + 2.0 + 0.1 * rank, rank) for rank in range(1, n_rank)] or [(START + 2.0, 0)]
    heapq.heapify(free)
    events, n_given, half = [], 0, len(units) // 2
    end = START
    queue = [(uid, kind, 1) for uid, kind in units]
    while queue and free:
        uid, kind, number = queue.pop(0)
        begin, rank = heapq.heappop(free)
        cost = SECONDS[kind] * rng.lognormal(0.0, 0.7)
        elapsed = cost * rng.lognormal(0.15, 0.25)
        host = f"node{1 + rank // ranks_per_host:03d}"
        n_given += 1
        line = {
            "event": "unit", "time": begin + elapsed, "job": job, "uid": uid, "kind": kind, "state": "done",
            "place": ["parts/f.h5", uid, 1, 100 if kind == "block" else 0], "error": "", "reason": "", "traceback": "",
            "failure": "", "seconds": {step: share * elapsed for step, share in STEPS[kind].items()},
            "elapsed": elapsed, "cpu": elapsed * (0.35 if kind == "tile" else 0.95),
            "rss_peak": int(2**30 * MEMORY[kind] * rng.uniform(0.8, 1.3)), "rank": rank, "host": host,
            "restored": False, "begin": begin, "cost": cost, "attempt": number,
        }  # fmt: skip
        if rank in lose and n_given > half:
            line |= {"event": "retry", "state": "failed", "failure": "lost", "error": "", "reason": "heard of no more"}
            line |= {"place": None, "attempt": number}
            events.append(
                {"event": "lost", "time": begin + elapsed, "job": job, "rank": rank, "host": host, "uid": uid}
            )
            queue.append((uid, kind, number + 1))
        else:
            if rng.random() < trouble:
                failure = str(rng.choice(["science", "io", "memory", "timeout", "crash"]))
                error = {"science": "MeasurementError", "io": "OSError"}.get(failure, "")
                reason = f"{rng.integers(3, 9)} stars, 20 are needed" if failure == "science" else f"it was {failure}"
                line |= {"state": "failed", "failure": failure, "error": error, "reason": reason, "place": None}
                if failure != "science" and number < 3:
                    line["event"] = "retry"
                    queue.append((uid, kind, number + 1))
                elif failure == "crash":
                    line["state"] = "quarantined"
            heapq.heappush(free, (begin + elapsed + 0.01, rank))
        end = max(end, begin + elapsed)
        events.append(line)
    events.sort(key=lambda event: event["time"])
    first = {"event": "start", "time": START, "job": job, "n_rank": n_rank, "problems": [], "damaged": []}
    last = {"event": "stop", "time": end + 1.0, "job": job, "exit_code": code, "wall": end + 1.0 - START}
    return [first, *events, last]


def write_run(folder, plan, events):
    """Write the files of a run that the report reads."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plan.json").write_text(plan.to_json())
    with (folder / "journal.jsonl").open("w") as file:
        file.writelines(json.dumps(event) + "\n" for event in events)
