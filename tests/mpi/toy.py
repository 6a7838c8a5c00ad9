"""A survey in miniature, run by the real engine: `toy.py FOLDER N_CCD N_TILE [SECONDS_PER_UNIT]`.

CCD units first; a tile needs nothing but comes after its CCDs, and has blocks that need it.  CCD 7 fails, tile 3
fails (and its report with it).  Products depend on the unit alone.  Prints a line of JSON on rank 0.
"""

import collections
import json
import os
import sys
import time
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np

from shapempi.errors import MeasurementError
from shapempi.io.journal import Journal
from shapempi.io.parts import PartReader, PartWriter, scan
from shapempi.io.runfolder import RunFolder
from shapempi.mpi.attempt import attempt
from shapempi.mpi.comm import connect
from shapempi.mpi.executor import Inline
from shapempi.mpi.farm import lead
from shapempi.mpi.farm import work as serve_rank
from shapempi.mpi.master import Listener
from shapempi.mpi.schedule import Schedule
from shapempi.mpi.signals import Signals
from shapempi.mpi.unit import Place, Unit
from shapempi.product import Location, Product


def units(n_ccd, n_tile):
    """Return the units known from the start."""
    ccds = [Unit(f"ccd:{k}", "ccd", cost=1.0 + k % 5, priority=1) for k in range(n_ccd)]
    tiles = [
        Unit(f"tile:{k}", "tile", cost=2.0, after=tuple(unit.uid for unit in ccds[k::3]), payload={"n_block": 3})
        for k in range(n_tile)
    ]
    reports = [Unit(f"report:{k}", "report", needs=(f"tile:{k}",)) for k in range(n_tile)]
    return [*ccds, *tiles, *reports]


def product(uid, inputs):
    """Return the product of a unit; it tells which inputs it saw."""
    rng = np.random.default_rng(list(uid.encode()))
    arrays = {"x": rng.random(200), "plane": rng.integers(0, 9, (60, 50))}
    return Product(arrays, {"uid": uid, "inputs": " ".join(sorted(inputs)), "n_block": 3})


def main(folder, n_ccd, n_tile, seconds):
    """Run it."""
    with connect() as comm:
        run = RunFolder.open(folder, "toy") if comm.rank == 0 else None
        job = comm.share(run.job if run else None)
        reader = PartReader(folder, patience=10.0)
        writer = PartWriter(folder, job, comm.rank)

        def work(unit, inputs, stopwatch):
            with stopwatch("sleep"):
                time.sleep(seconds)
            if unit.uid == "ccd:7":
                raise MeasurementError("no stars\nbut a second line")
            if unit.uid == "tile:3":
                return [][0]
            with stopwatch("read"):
                for uid, place in inputs.items():
                    assert reader.read(Location(*place)).attrs["uid"] == uid
            return Place(*astuple(writer.commit(unit.uid, product(unit.uid, inputs), 200)))

        def execute(unit, inputs):
            outcome = attempt(work, unit, inputs, rank=comm.rank, host=comm.host)
            return replace(outcome, children=tuple(expand(outcome)) if outcome.state == "done" else ())

        def expand(outcome):
            if outcome.kind != "tile":
                return []
            n_block = reader.read(Location(*outcome.place), names=()).attrs["n_block"]
            return [Unit(f"block:{outcome.uid[5:]}:{k}", "block", 5.0, needs=(outcome.uid,)) for k in range(n_block)]

        signals = Signals(prompt=True)
        if comm.rank > 0:
            with signals:
                serve_rank(comm, Inline(execute), signals)
            return
        schedule = Schedule()
        schedule.add(units(n_ccd, n_tile))
        ranks = collections.Counter()
        outcomes = {}

        with run, Journal(run.path, job=job) as journal, signals:

            def on_outcome(outcome):
                assert outcome.uid not in outcomes
                outcomes[outcome.uid] = outcome
                ranks[outcome.rank] += 1
                journal.write("unit", outcome.record())

            committed = {name: Place(*astuple(location)) for name, location in scan(folder).locations.items()}
            for outcome in schedule.restore(committed, expand):
                on_outcome(outcome)
            lead(comm, schedule, signals, executor=Inline(execute), listener=Listener(on_outcome, tick=journal.tick))
            assert schedule.complete
            failures = {uid: [o.state, o.error, o.reason] for uid, o in outcomes.items() if o.state != "done"}
            print(
                json.dumps(
                    {
                        "size": comm.size,
                        "n_outcome": len(outcomes),
                        "n_unit": len(schedule),
                        "restored": schedule.n_restored,
                        "ranks": ranks,
                        "failures": failures,
                        "traceback": any("IndexError" in o.traceback for o in outcomes.values()),
                        "stages": sorted({stage for o in outcomes.values() for stage in o.seconds}),
                    }
                ),
                flush=True,
            )


if __name__ == "__main__":
    Path(sys.argv[1] + ".pids").mkdir(exist_ok=True)
    Path(sys.argv[1] + ".pids", str(os.getpid())).touch()  # so that a test can find the ranks, and kill them
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]) if len(sys.argv) > 4 else 0.0)
