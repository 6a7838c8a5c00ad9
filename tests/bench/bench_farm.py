"""How many null units per second rank 0 gives out: `mpiexec -n 3 python tests/bench/bench_farm.py [N_UNIT]`."""

import json
import sys
import time

from shapempi.mpi.attempt import attempt
from shapempi.mpi.comm import connect
from shapempi.mpi.farm import run_master, run_worker
from shapempi.mpi.schedule import Schedule
from shapempi.mpi.unit import Place, Unit


def main():
    n_unit = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000

    def execute(unit, inputs):
        return attempt(lambda *_: Place("parts/0001/rank-00001.h5", unit.uid, 1, 1), unit, inputs, rank=comm.rank)

    with connect() as comm:
        comm.barrier()
        if comm.rank > 0:
            run_worker(comm, execute)
            return
        schedule = Schedule()
        schedule.add(
            [Unit(f"block:{k}", "block", cost=float(k % 97), payload={"tile": "241.293"}) for k in range(n_unit)]
        )
        start, cpu = time.perf_counter(), time.process_time()
        run_master(comm, schedule, execute=execute)
        wall, cpu = time.perf_counter() - start, time.process_time() - cpu
        result = {
            "n_rank": comm.size,
            "n_unit": n_unit,
            "units_per_s": n_unit / wall,
            "cpu_us_per_unit": 1e6 * cpu / n_unit,
        }
        print(json.dumps({name: round(value, 1) for name, value in result.items()}))


main()
