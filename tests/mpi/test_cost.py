"""The prediction of times learns the law that units follow."""

import numpy as np
import pytest

from shapempi.mpi.cost import CostModel
from shapempi.mpi.schedule import Schedule
from shapempi.mpi.unit import Outcome, State, Unit

ASSUMED = {"block": {"unit": 0.1, "epoch": 0.001, "object": 0.001}}


def block(k, n_epoch, n_object):
    return Unit(f"block:{k}", "block", size={"epoch": n_epoch, "object": n_object})


def test_the_assumed_law_until_something_is_known():
    model = CostModel(ASSUMED)
    assert model.predict(block(0, 100, 50)) == pytest.approx(0.1 + 0.1 + 0.05)
    assert model.predict(Unit("ccd:1", "ccd", cost=7.0)) == 7.0


def test_it_learns_a_law_that_is_a_hundred_times_dearer():
    rng = np.random.default_rng(3)
    model = CostModel(ASSUMED)
    for k in range(128):
        n_object = int(rng.integers(50, 1000))
        n_epoch = int(n_object * rng.uniform(1, 6))
        seconds = (0.5 + 0.2714 * n_epoch + 0.05 * n_object) * rng.normal(1.0, 0.05)
        model.learn(block(k, n_epoch, n_object), seconds)
    law = model.coefficients()["block"]
    assert law["epoch"] == pytest.approx(0.2714, rel=0.05)
    assert model.predict(block(-1, 3000, 1000)) == pytest.approx(0.5 + 814.2 + 50, rel=0.05)


def test_one_unit_corrects_the_scale():
    model = CostModel(ASSUMED)
    assert model.learn(block(0, 300, 100), 50.0)
    assert model.predict(block(1, 300, 100)) == pytest.approx(50.0, rel=0.2)


def test_sizes_that_never_vary_and_terms_that_cost_nothing():
    model = CostModel(ASSUMED)
    for k in range(16):
        model.learn(block(k, 300, 100), 4.0)
    assert model.predict(block(-1, 300, 100)) == pytest.approx(4.0, rel=0.01)
    for k in range(256):
        model.learn(block(k, 10 + k, 100), 0.01 * (10 + k))
    assert min(model.coefficients()["block"].values()) >= 0.0


def test_the_schedule_orders_by_what_was_learned():
    schedule = Schedule(CostModel({"block": {"epoch": 1.0, "object": 0.001}}))
    rng = np.random.default_rng(1)
    sizes = rng.integers(10, 1000, (32, 2))
    schedule.add([block(k, *size) for k, size in enumerate(sizes.tolist())])
    schedule.add([block("many epochs", 900, 1), block("many objects", 1, 900)])
    for _ in range(32):  # in truth only objects cost
        unit = schedule.next()
        if unit.uid in ("block:many epochs", "block:many objects"):
            schedule.put_back(unit.uid)
            break
        schedule.finish(Outcome(unit.uid, "block", State.DONE, elapsed=0.1 * unit.size["object"]))
    schedule.reprice()
    assert schedule.cost("block:many objects") > 10 * schedule.cost("block:many epochs")
    order = []
    while unit := schedule.next():
        order.append(unit.uid)
    assert order.index("block:many objects") < order.index("block:many epochs")
    assert schedule.cost_left()["block"] == pytest.approx(sum(schedule.cost(uid) for uid in order))
