"""Numbers of the report of a run, from journals that were made by hand."""

import numpy as np
import pytest
from report.simulated_run import START, make_plan, simulate

from shapempi.report.rank_use import choose_ranks, rank_use
from shapempi.report.run_cost import RunCost, predictions
from shapempi.report.run_failures import blame, failure_groups, failures_by_class, settled, tile_losses
from shapempi.report.run_record import RunRecord
from shapempi.report.survey_view import SurveyView
from shapempi.report.unit_times import WHOLE, memory_peaks, step_times, waiting


def start(n_rank=3, job="0001", at=0.0):
    return {"event": "start", "time": START + at, "job": job, "n_rank": n_rank}


def stop(at, code=0, job="0001"):
    return {"event": "stop", "time": START + at, "job": job, "exit_code": code, "wall": at}


def unit(uid, begin=0.0, elapsed=10.0, *, rank=1, state="done", job="0001", **more):
    line = {
        "event": "unit", "time": START + begin + elapsed + 0.5, "job": job, "uid": uid, "kind": uid.split(":")[0],
        "state": state, "place": ["f", uid, 1, more.pop("n_row", 0)] if state == "done" else None, "error": "",
        "failure": "", "reason": "", "traceback": "", "seconds": {}, "elapsed": elapsed, "cpu": elapsed, "rss_peak": 0,
        "rank": rank, "host": "n1", "restored": False, "begin": START + begin, "cost": elapsed, "attempt": 1,
    }  # fmt: skip
    return line | more


def failed(uid, failure="science", error="MeasurementError", reason="3 stars, 20 are needed", **more):
    return unit(uid, state=more.pop("state", "failed"), failure=failure, error=error, reason=reason, **more)


def test_percentiles_and_shares():
    events = [unit(f"ccd:1-{k}", elapsed=float(k), seconds={"read": k / 4, "psf": k / 2}) for k in range(1, 101)]
    events += [failed("ccd:2-1", elapsed=950.0, seconds={"read": 950.0})]  # its time counts, its percentiles do not
    events += [unit("tile:1", elapsed=4000.0)]
    whole, psf, read, tile = step_times(RunRecord.of(events))
    assert (whole.kind, whole.step, whole.n, whole.total) == ("ccd", WHOLE, 101, 6000.0)
    assert (whole.p50, whole.p99) == pytest.approx((50.5, 99.01))
    assert (psf.step, psf.n, psf.total) == ("psf", 100, 2525.0)  # the longest step first
    assert (read.step, read.n, read.total) == ("read", 101, 1262.5 + 950.0)
    assert read.p50 == pytest.approx(50.5 / 4)
    assert tile.share == pytest.approx(0.4) and whole.share == pytest.approx(0.6)


def test_idle_tail_and_busy_fractions():
    events = [
        start(n_rank=4),
        unit("ccd:1-1", 0.0, 30.0, rank=1),
        unit("ccd:1-2", 40.0, 20.0, rank=1),
        unit("ccd:1-3", 10.0, 80.0, rank=2),
        failed("ccd:1-4", begin=5.0, elapsed=5.0, rank=3, failure="lost", event="retry"),
        {"event": "lost", "time": START + 10.0, "job": "0001", "rank": 3, "host": "n1", "uid": "ccd:1-4"},
        stop(100.0),
    ]
    record = RunRecord.of(events)
    use = rank_use(record, record.jobs[0])
    assert use.busy == pytest.approx({1: 0.5, 2: 0.8, 3: 0.05})
    assert use.tail == pytest.approx(40.0)  # the lost rank ended at 10 s, for another reason
    assert use.tail_lost == pytest.approx(50.0 / 3600.0)
    assert use.lost == {3: START + 10.0}


def test_a_rank_without_work_is_idle_from_the_start():
    record = RunRecord.of([start(n_rank=3), unit("ccd:1-1", 0.0, 30.0, rank=1), stop(50.0)])
    use = rank_use(record, record.jobs[0])
    assert (use.tail, use.busy[2]) == (50.0, 0.0)
    alone = RunRecord.of([start(n_rank=1), unit("ccd:1-1", 0.0, 30.0, rank=0), stop(50.0)])
    assert rank_use(alone, alone.jobs[0]).busy == {0: 0.6}


def test_many_ranks_are_sampled_with_the_busiest_and_the_laziest():
    events = [start(n_rank=201)]
    events += [unit(f"ccd:1-{rank}", 0.0, 1.0 + (rank * 37) % 200, rank=rank) for rank in range(1, 201)]
    record = RunRecord.of([*events, stop(300.0)])
    use = rank_use(record, record.jobs[0])
    ranks, note = choose_ranks(use)
    assert len(ranks) == len(set(ranks)) == 64
    by_use = sorted(use.busy, key=use.busy.get)
    assert set(by_use[:8] + by_use[-8:]) < set(ranks)
    assert note == "64 of 200 ranks: the 8 busiest, the 8 laziest, 48 of the others"
    assert choose_ranks(use, most=200) == (list(range(1, 201)), "")


VIEW = SurveyView(
    ccds=frozenset(["ccd:0000001-0", "ccd:0000001-1", "ccd:0000002-0"]),
    tiles={
        "tile:000.001": ("ccd:0000001-0", "ccd:0000001-1", "ccd:0000002-0"),
        "tile:000.002": ("ccd:0000001-0", "ccd:0000002-0"),
        "tile:000.003": ("ccd:0000001-0",),
        "tile:000.004": (),
    },
    missing={"tile:000.004": (7,)},
    costs={"ccd:0000001-0": 5.0},
    areas={f"tile:000.00{k}": 0.25 for k in range(1, 5)},
)


def test_blame_names_the_worst_exposure_first():
    record = RunRecord.of(
        [
            failed("ccd:0000001-0"),
            unit("ccd:0000001-1", reason="chi2 2.9 is above 1.5"),  # done, without an accepted model
            failed("ccd:0000002-0"),
            unit("ccd:0000002-0", job="0002"),  # mended
            unit("tile:000.001"),
            failed("tile:000.002", error="DataError", reason="truncated"),
            unit("tile:000.003"),
            failed("block:000.003:1", error="", failure="timeout", state="quarantined", reason="more than 600 s"),
        ]
    )
    guilty = blame(record, VIEW)
    assert [each.exposure for each in guilty] == ["0000001", "0000007"]
    assert guilty[0].tiles == ("tile:000.001", "tile:000.002", "tile:000.003")
    assert guilty[0].ccds == ("ccd:0000001-0", "ccd:0000001-1")
    assert "(1 of 2 CCDs)" in guilty[0].reason
    assert (guilty[1].ccds, guilty[1].tiles) == ((), ("tile:000.004",))
    losses = tile_losses(record, VIEW)
    assert [(each.tile, each.state, each.n_lost) for each in losses] == [
        ("tile:000.002", "missing", 1),
        ("tile:000.003", "incomplete", 1),
        ("tile:000.001", "shallower", 2),
        ("tile:000.004", "shallower", 0),
    ]
    assert losses[0].reason == "DataError: truncated"
    assert losses[1].blocks == ("block:000.003:1",)


def test_failures_that_differ_in_numbers_are_one_group():
    record = RunRecord.of(
        [
            failed("ccd:1-1", reason="3 stars, 20 are needed"),
            failed("ccd:1-2", reason="17 stars, 20 are needed"),
            failed("ccd:1-3", failure="io", error="OSError", reason="stale handle", event="retry"),
            failed("ccd:1-3", failure="io", error="OSError", reason="stale handle", event="retry", attempt=2),
            unit("ccd:1-3", attempt=3),
            unit("block:1:1", state="blocked", rank=-1, reason="needs tile:1, which failed"),
        ]
    )
    assert failures_by_class(settled(record)) == {"science": (2, 0), "io": (0, 2)}
    groups = [(g.failure, g.error, g.reason, g.units, g.n_retry, g.retried) for g in failure_groups(record)]
    assert groups == [
        ("science", "MeasurementError", "# stars, # are needed", ("ccd:1-1", "ccd:1-2"), 0, ()),
        ("blocked", "", "needs tile:1, which failed", ("block:1:1",), 0, ()),
        ("io", "OSError", "stale handle", (), 2, ("ccd:1-3",)),
    ]
    assert len(record.worked()) == 5


def test_core_hours():
    hour = 3600.0
    events = [
        start(n_rank=3),
        unit("ccd:0000001-0", 0.0, hour, rank=1, cpu=0.9 * hour),
        unit("tile:000.001", hour, hour, rank=1, cpu=0.5 * hour),
        unit("tile:000.002", 0.0, hour, rank=2, cpu=hour),
        failed("block:000.002:1", begin=hour, elapsed=0.5 * hour, rank=2, cpu=0.1 * hour),
        stop(2 * hour + 36.0),
        start(n_rank=2, job="0002", at=10 * hour),
        unit("tile:000.001", job="0002", rank=-1, restored=True),
        unit("block:000.001:1", 10 * hour, hour, rank=1, job="0002", cpu=hour, n_row=500_000),
        stop(11 * hour + 36.0, job="0002"),
    ]
    record = RunRecord.of(events)
    cost = RunCost.of(record, VIEW)
    assert (cost.cpu, cost.occupied, cost.wasted) == pytest.approx((3.5, 4.5, 0.5))
    assert cost.billed == pytest.approx(3 * 2.01 + 2 * 1.01)
    assert (cost.n_tile, cost.area, cost.n_object) == (1, 0.25, 500_000)
    assert [job.wall for job in record.jobs] == [2 * hour + 36.0, hour + 36.0]
    assert record.units["tile:000.001"].job == "0001"  # how it was done, not that it was found done


def test_predictions_have_median_and_scatter():
    ratios = np.exp(np.linspace(-1.0, 1.0, 201)) * 3.0
    record = RunRecord.of([unit(f"block:1:{k}", elapsed=2.0 * r, cost=2.0) for k, r in enumerate(ratios)])
    (found,) = predictions(record, VIEW)
    assert found.median == pytest.approx(3.0)
    assert found.scatter == pytest.approx(np.exp(0.6827), rel=0.01)


def test_waiting_and_memory():
    record = RunRecord.of(
        [
            unit("tile:1", elapsed=10.0, cpu=3.0, seconds={"read": 5.0, "detect": 4.0, "commit": 1.0}, rss_peak=5),
            unit(
                "block:1:1",
                elapsed=10.0,
                cpu=12.0,
                seconds={"read objects": 1.0, "vignets": 2.0},
                rss_peak=7,
                host="n2",
            ),
            unit("tile:2", elapsed=10.0, cpu=3.0, rss_peak=9),
        ]
    )
    tile, block = waiting(record.worked())
    assert (tile.kind, tile.share, tile.read, tile.commit) == ("tile", pytest.approx(0.7), 0.25, 0.05)
    assert (block.share, block.read) == (0.0, pytest.approx(0.3))
    assert memory_peaks(record.worked()) == {"n1": {"tile": 9}, "n2": {"block": 7}}


def test_older_journals_lack_fields():
    """Begin, cost, attempt and class of failure came later; a killed job has no end."""
    new = [start(), unit("ccd:0000001-0", 2.0, 8.0), failed("ccd:0000001-1", begin=3.0, elapsed=9.0, rank=2)]
    old = [{k: v for k, v in e.items() if k not in ("begin", "cost", "attempt", "failure")} for e in new]
    record = RunRecord.of(old)
    done, lost = record.attempts
    assert (done.begin, done.end) == (START + 2.5, START + 10.5)  # the line was written half a second late
    assert (done.cost, done.number) == (0.0, 1)
    assert lost.failure == "not recorded"
    assert [(p.kind, p.predicted.tolist(), p.used.tolist()) for p in predictions(record, VIEW)] == [
        ("ccd", [5.0], [8.0])
    ]
    (job,) = record.jobs
    assert (job.exit_code, job.wall) == (None, 12.5)
    headless = RunRecord.of(old[1:])
    assert headless.jobs[0].n_rank == 3


def test_a_drain_and_its_resume():
    events = [start(), {"event": "drain", "time": START + 5, "job": "0001", "reason": "SIGUSR1"}, stop(9.0, 10)]
    events += [start(job="0002", at=100.0) | {"event": "resume"}, stop(130.0, 0, "0002")]
    first, second = RunRecord.of(events).jobs
    assert (first.exit_code, first.drained) == (10, "SIGUSR1")
    assert (second.exit_code, second.n_rank, second.wall) == (0, 3, 30.0)


def test_all_attempts_of_a_simulated_run_are_there():
    plan = make_plan(4)
    events = simulate(plan, 9, trouble=0.1, lose=(3,))
    record = RunRecord.of(events)
    attempts = [e for e in events if e["event"] in ("unit", "retry")]
    assert len(record.worked()) == len(attempts)
    assert set(record.units) == {e["uid"] for e in attempts}
    assert sum(t.total for t in step_times(record) if t.step == WHOLE) == pytest.approx(
        sum(e["elapsed"] for e in attempts)
    )
    assert record.lost[0].rank == 3
