"""The schedule: order, dependencies, failures, resume, and its cost per unit."""

import time

import numpy as np
import pytest

from shapempi.mpi.schedule import Schedule
from shapempi.mpi.unit import Outcome, Place, State, Unit


def done(unit, elapsed=1.0):
    return Outcome(unit.uid, unit.kind, State.DONE, place=Place("f", unit.uid, 1, 2), elapsed=elapsed)


def failed(unit, reason="no stars"):
    return Outcome(unit.uid, unit.kind, State.FAILED, error="MeasurementError", reason=reason)


def drain(schedule):
    """Do everything that is left and return the order."""
    order = []
    while (unit := schedule.next()) is not None:
        order.append(unit.uid)
        schedule.finish(done(unit))
    return order


def test_order_is_priority_then_cost_then_age():
    schedule = Schedule()
    schedule.add(
        [
            Unit("a", "x", cost=1.0),
            Unit("b", "x", cost=9.0),
            Unit("c", "x", cost=9.0),
            Unit("d", "x", cost=0.1, priority=1),
        ]
    )
    assert drain(schedule) == ["d", "b", "c", "a"]
    assert schedule.complete


def test_a_unit_waits_for_both_sorts_of_dependency():
    schedule = Schedule()
    schedule.add([Unit("late", "x", cost=100.0, needs=("n",), after=("a",)), Unit("n", "x"), Unit("a", "x")])
    first, second = schedule.next(), schedule.next()
    assert {first.uid, second.uid} == {"n", "a"}
    assert schedule.next() is None
    assert schedule.n_running == 2
    schedule.finish(done(first))
    assert schedule.next() is None
    schedule.finish(done(second))
    assert schedule.next().uid == "late"


def test_inputs_are_the_places_of_what_is_done():
    schedule = Schedule()
    late = Unit("late", "x", needs=("n",), after=("good", "bad"))
    schedule.add([Unit("n", "x"), Unit("good", "x"), Unit("bad", "x"), late])
    while (unit := schedule.next()) is not None and unit is not late:
        schedule.finish(failed(unit) if unit.uid == "bad" else done(unit))
    assert unit is late
    assert sorted(schedule.inputs(late)) == ["good", "n"]


def test_failure_blocks_what_needs_it_and_releases_what_comes_after():
    schedule = Schedule()
    schedule.add(
        [
            Unit("ccd", "ccd"),
            Unit("tile", "tile", needs=("ccd",)),
            Unit("block", "block", needs=("tile",)),
            Unit("report", "report", after=("block", "ccd")),
        ]
    )
    blocked = schedule.finish(failed(schedule.next()))
    assert [outcome.uid for outcome in blocked] == ["tile", "block"]
    assert all(outcome.reason == "needs ccd, which failed: MeasurementError: no stars" for outcome in blocked)
    assert drain(schedule) == ["report"]
    assert schedule.complete
    assert schedule.counts()["block"]["blocked"] == 1


def test_a_unit_added_after_the_failure_is_blocked_at_once():
    schedule = Schedule()
    schedule.add([Unit("a", "x")])
    schedule.finish(failed(schedule.next()))
    blocked = schedule.add([Unit("c", "x", needs=("b",)), Unit("b", "x", needs=("a",)), Unit("d", "x", after=("b",))])
    assert sorted(outcome.uid for outcome in blocked) == ["b", "c"]
    assert "needs a, which failed" in blocked[0].reason
    assert drain(schedule) == ["d"]


def test_children_may_need_their_parent_and_each_other():
    schedule = Schedule()
    schedule.add([Unit("tile", "tile", promised=20.0)])
    assert schedule.cost_left() == {"tile": 1.0, "promised": 20.0}
    tile = schedule.next()
    schedule.finish(done(tile))
    schedule.add([Unit("block:1", "block", 8.0, needs=("tile",)), Unit("block:2", "block", 9.0, needs=("tile",))])
    assert schedule.cost_left() == {"tile": 0.0, "block": 17.0}
    assert drain(schedule) == ["block:2", "block:1"]
    assert schedule.cost_left() == {"tile": 0.0, "block": 0.0}
    assert schedule.spent["block"].cost == 17.0
    assert schedule.spent["block"].seconds == 2.0


@pytest.mark.parametrize(
    ("units", "message"),
    [
        ([Unit("a", "x", needs=("b",))], "a depends on b, which is not a unit of this run"),
        ([Unit("a", "x"), Unit("a", "x")], "a is added twice"),
        ([Unit("a", "x", needs=("a",))], "cycle: a -> a"),
        ([Unit("a", "x", needs=("b",)), Unit("b", "x", after=("c",)), Unit("c", "x", needs=("a",))], "cycle: "),
        ([Unit("a", "x", cost=float("nan"))], "cost nan"),
    ],
)
def test_impossible_units_are_refused_and_nothing_is_added(units, message):
    schedule = Schedule()
    with pytest.raises(ValueError, match=message):
        schedule.add(units)
    assert len(schedule) == 0


def test_an_outcome_must_belong_to_a_running_unit():
    schedule = Schedule()
    unit = Unit("a", "x")
    schedule.add([unit])
    with pytest.raises(ValueError, match="was not running: it is ready"):
        schedule.finish(done(unit))
    schedule.next()
    schedule.finish(done(unit))
    with pytest.raises(ValueError, match="was not running: it is done"):
        schedule.finish(done(unit))
    with pytest.raises(ValueError, match="unknown"):
        schedule.finish(done(Unit("z", "x")))


def children_of(outcome):
    if outcome.kind != "tile":
        return []
    return [Unit(f"block:{k}", "block", needs=(outcome.uid,)) for k in range(3)]


def test_restore_marks_what_is_committed_and_its_children():
    schedule = Schedule()
    schedule.add([Unit("ccd", "ccd"), Unit("tile", "tile", needs=("ccd",)), Unit("other", "ccd")])
    places = {uid: Place("f", uid, 1, 2) for uid in ("tile", "block:1", "ccd", "gone")}
    restored = schedule.restore(places, children_of)
    assert [outcome.uid for outcome in restored] == ["ccd", "tile", "block:1"]
    assert all(outcome.restored for outcome in restored)
    assert schedule.n_restored == 3
    assert drain(schedule) == ["other", "block:0", "block:2"]
    assert schedule.complete
    assert schedule.spent["block"].cost == 2.0


def test_restore_of_a_unit_whose_need_is_lost():
    schedule = Schedule()
    schedule.add([Unit("ccd", "ccd"), Unit("tile", "tile", needs=("ccd",))])
    schedule.restore({"tile": Place("f", "tile", 1, 2)})
    blocked = schedule.finish(failed(schedule.next()))
    assert blocked == []
    assert schedule.state("tile") is State.DONE


def test_restore_of_what_cannot_be_expanded_costs_that_unit():
    def expand(outcome):
        raise OSError(f"cannot read {outcome.uid}\nmore")

    schedule = Schedule()
    schedule.add([Unit("tile", "tile"), Unit("late", "x", needs=("tile",))])
    first, second = schedule.restore({"tile": Place("f", "tile", 1, 2)}, expand)
    assert (first.state, first.error, first.reason) == (State.FAILED, "OSError", "cannot read tile")
    assert "Traceback" in first.traceback
    assert second.state is State.BLOCKED
    assert schedule.complete


def test_random_graphs_end_and_respect_their_edges():
    rng = np.random.default_rng(7)
    for _ in range(30):
        n = int(rng.integers(1, 60))
        units = []
        for k in range(n):
            before = [str(i) for i in rng.choice(k, size=min(k, int(rng.integers(0, 4))), replace=False)] if k else []
            cut = int(rng.integers(0, len(before) + 1))
            units.append(Unit(str(k), "x", float(rng.random()), needs=tuple(before[:cut]), after=tuple(before[cut:])))
        schedule = Schedule()
        schedule.add([units[i] for i in rng.permutation(n)])
        outcomes: dict[str, Outcome] = {}
        while (unit := schedule.next()) is not None:
            assert all(outcomes[uid].state is State.DONE for uid in unit.needs)
            assert all(uid in outcomes for uid in unit.after)
            mine = failed(unit) if rng.random() < 0.2 else done(unit)
            for outcome in (mine, *schedule.finish(mine)):
                assert outcome.uid not in outcomes
                outcomes[outcome.uid] = outcome
        assert schedule.complete
        assert len(outcomes) == n
        assert sum(schedule.counts()["x"].values()) == n


def test_a_hundred_thousand_units_take_seconds():
    n_ccd, n_block = 4_000, 100_000
    units = [Unit(f"ccd:{k}", "ccd", 5.0, priority=1) for k in range(n_ccd)]
    units += [
        Unit(f"block:{k}", "block", float(k % 97), after=tuple(f"ccd:{(k + i) % n_ccd}" for i in range(6)))
        for k in range(n_block)
    ]
    start = time.process_time()
    schedule = Schedule()
    schedule.add(units)
    order = drain(schedule)
    assert len(order) == n_ccd + n_block
    assert schedule.complete
    assert time.process_time() - start < 30.0  # a guard against quadratic cost, which would take hours
