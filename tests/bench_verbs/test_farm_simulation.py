"""The farm in simulated time against cases that can be done by hand."""

import numpy as np
import pytest

from shapempi.bench.farm_simulation import simulate_farm
from shapempi.mpi.schedule import Schedule
from shapempi.mpi.unit import Outcome, State, Unit


class Queue:
    """The real schedule with given times: {name: (seconds, needs)}, of equal priority, most expensive first."""

    def __init__(self, units):
        self.seconds = {name: seconds for name, (seconds, _) in units.items()}
        self.order = []
        self.schedule = Schedule()
        self.schedule.add([Unit(name, "unit", cost=seconds, needs=needs) for name, (seconds, needs) in units.items()])

    def next(self):
        unit = self.schedule.next()
        if unit is None:
            return None
        self.order.append(unit.uid)
        return unit.uid, self.seconds[unit.uid]

    def done(self, name, seconds):
        self.schedule.finish(Outcome(name, "unit", State.DONE, elapsed=seconds))


def free(*seconds):
    """Units that wait for nothing."""
    return Queue({f"unit:{k}": (each, ()) for k, each in enumerate(seconds)})


#: a (2 s), then b (3 s) and c (1 s); d (4 s) at any time.
GRAPH = {"a": (2.0, ()), "b": (3.0, ("a",)), "c": (1.0, ("a",)), "d": (4.0, ())}


def test_one_rank_takes_the_sum_of_all():
    times = simulate_farm(Queue(GRAPH), 1)
    assert times.makespan == times.busy == 10.0
    assert times.n_unit == 4
    assert times.tail == times.starved == times.master == 0.0
    assert times.efficiency(1) == 1.0


def test_two_ranks_by_hand():
    queue = free(3.0, 2.0, 2.0)
    times = simulate_farm(queue, 2)
    assert queue.order == ["unit:0", "unit:1", "unit:2"]
    assert times.makespan == 4.0  # 3 | 2 + 2
    assert times.tail == 0.5  # the first rank ends a second before the other
    assert times.starved == 0.0
    assert times.efficiency(2) == pytest.approx(7 / 8)
    assert times.efficiency(3) == pytest.approx(7 / 12)  # rank 0 counts, too


def test_many_ranks_take_the_critical_path():
    queue = Queue(GRAPH)
    times = simulate_farm(queue, 100)
    assert queue.order == ["d", "a", "b", "c"]
    assert times.makespan == 5.0
    # b and c go to ranks that have waited since the start; d ends at 4, a at 2, b at 5, c at 3, 96 ranks have nothing.
    assert times.starved == pytest.approx((2.0 + 2.0) / 100)
    assert times.tail == pytest.approx((1.0 + 3.0 + 0.0 + 2.0 + 96 * 5.0) / 100)


def test_a_rank_starves_from_its_own_end_only():
    # rank 0: a 0..2, then nothing is ready until x, 1..6, ends; rank 1: x, then y.
    queue = Queue({"x": (6.0, ()), "a": (2.0, ()), "y": (1.0, ("x",)), "z": (1.0, ("x",))})
    times = simulate_farm(queue, 2)
    assert times.makespan == 7.0
    assert times.starved == pytest.approx((4.0 + 0.0) / 2)
    assert times.tail == 0.0


def test_the_master_does_one_thing_at_a_time():
    assert simulate_farm(free(10.0, 10.0, 10.0), 3, assign=1.0).makespan == 13.0  # they start at 1, 2 and 3
    for n_worker in (1, 7, 1000):
        assert simulate_farm(free(*[0.0] * 500), n_worker, assign=0.25).makespan == 125.0
    bound = simulate_farm(free(*[1.0] * 100), 10, assign=0.5)  # two ranks would be enough for this master
    assert bound.makespan == pytest.approx(100 * 0.5 + 1.0)
    assert bound.master == 50.0


def test_results_are_taken_in_the_order_in_which_they_come():
    # Both are there when rank 0 has time; the one that came first releases its unit first.
    queue = Queue({"late": (3.0, ()), "early": (2.0, ()), "x": (9.0, ("early",)), "y": (9.0, ("late",))})
    times = simulate_farm(queue, 2, assign=0.0)
    assert queue.order == ["late", "early", "x", "y"]
    assert times.makespan == 12.0


def test_nothing_to_do_takes_no_time():
    times = simulate_farm(free(), 5, assign=1.0)
    assert (times.makespan, times.n_unit, times.tail) == (0.0, 0, 0.0)
    assert times.efficiency(6) == 1.0


def test_bounds_hold_for_any_units():
    rng = np.random.default_rng(5)
    for _ in range(30):
        seconds = rng.exponential(1.0, 40)
        needs = [tuple(f"u{j}" for j in rng.choice(k, min(k, 2), replace=False)) for k in range(40)]
        longest = np.zeros(40)  # the longest path to the end of each
        for k in range(40):
            longest[k] = seconds[k] + max((longest[int(name[1:])] for name in needs[k]), default=0.0)
        units = {f"u{k}": (seconds[k], needs[k]) for k in range(40)}
        for n_worker in (1, 3, 40):
            times = simulate_farm(Queue(units), n_worker)
            least = max(longest.max(), seconds.sum() / n_worker)
            assert least <= times.makespan * (1 + 1e-12)
            assert times.makespan <= longest.max() + seconds.sum() / n_worker  # no list schedule is worse
            assert times.busy == pytest.approx(seconds.sum())
        assert simulate_farm(Queue(units), 40).makespan == pytest.approx(longest.max())
