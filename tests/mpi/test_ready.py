"""Which ready unit is next: priority, region, cost, order of coming, time left, and the stock of small units."""

import numpy as np
import pytest

from shapempi.mpi.ready import ReadyQueue
from shapempi.mpi.unit import Unit


def filled(stock, *units):
    queue = ReadyQueue(stock)
    for order, (name, priority, region, cost) in enumerate(units):
        queue.push(Unit(name, "x", priority=priority, region=region), cost, order)
    return queue


def drained(queue, longest=np.inf):
    return list(iter(lambda: queue.take(longest), None))


def test_priority_then_region_then_cost_then_order():
    queue = filled(0.0, ("a", 1, 0, 1.0), ("b", 2, 5, 1.0), ("c", 2, 5, 3.0), ("d", 2, 1, 1.0), ("e", 1, 0, 1.0))
    assert drained(queue) == ["d", "c", "b", "a", "e"]
    assert queue.take() is None


def test_what_does_not_fit_stays():
    queue = filled(0.0, ("long", 2, 0, 100.0), ("short", 2, 0, 1.0), ("other", 1, 0, 2.0))
    assert drained(queue, 10.0) == ["short", "other"]
    assert drained(queue) == ["long"]


def test_what_is_dropped_is_not_taken():
    queue = filled(5.0, ("a", 2, 0, 10.0), ("b", 2, 0, 1.0), ("c", 1, 0, 1.0))
    gone = Unit("a", "x", priority=2)
    queue.drop(gone)
    queue.drop(gone)  # twice is once
    assert drained(queue) == ["c", "b"], "what was dropped is no stock any more"


def test_the_stock_is_kept_while_there_is_other_work():
    small = [(f"small{i}", 2, 0, 1.0) for i in range(6)]
    large = [(f"large{i}", 1, 0, 10.0) for i in range(3)]
    queue = filled(3.0, *small, *large)
    found = drained(queue)
    assert found[:4] == ["small0", "small1", "small2", "small3"], "more than the stock: small units first"
    assert found[4:7] == ["large0", "large1", "large2"]
    assert found[7:] == ["small4", "small5"], "nothing else is left"


def test_the_stock_is_given_out_where_nothing_else_fits():
    queue = filled(100.0, ("small", 2, 0, 1.0), ("large", 1, 0, 50.0))
    assert queue.take(10.0) == "small"
    assert queue.take(10.0) is None


@pytest.mark.parametrize("seed", range(5))
def test_everything_comes_out_once_whatever_the_order(seed):
    rng = np.random.default_rng(seed)
    queue, inside, out = ReadyQueue(20.0), {}, []
    for order in range(400):
        unit = Unit(f"u{order}", "x", priority=int(rng.integers(1, 4)), region=int(rng.integers(3)))
        queue.push(unit, float(rng.uniform(0.1, 3.0)), order)
        inside[unit.uid] = unit
        if rng.random() < 0.3:
            queue.drop(inside.pop(str(rng.choice(list(inside)))))
        if rng.random() < 0.4 and (uid := queue.take(float(rng.uniform(0.0, 4.0)))) is not None:
            del inside[uid]
            out.append(uid)
    assert len(set(out)) == len(out)
    assert sorted(drained(queue)) == sorted(inside)
