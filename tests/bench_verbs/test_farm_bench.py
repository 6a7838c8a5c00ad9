"""Drawn surveys, and simulated runs of them by the schedule and the units of a real run."""

import json
import math

import numpy as np
import pytest
from mpi.launch import launch

from shapempi import cli
from shapempi.bench.farm_simulation import simulate_farm
from shapempi.bench.survey_law import LAWS, N_CCD, draw_survey
from shapempi.farm_bench import SurveyQueue, bench_farm, plan_of
from shapempi.ids import CcdId
from shapempi.units import first_units


@pytest.fixture(scope="module")
def survey():
    return draw_survey(60, LAWS["native"])


def test_a_seed_says_everything(survey):
    again, other = draw_survey(60, LAWS["native"]), draw_survey(60, LAWS["native"], seed=2)
    for name in ("n_object", "n_epoch", "exposure", "ccd", "box", "ccd_seconds", "tile_seconds"):
        np.testing.assert_array_equal(getattr(survey, name), getattr(again, name))
    assert not np.array_equal(survey.n_object, other.n_object)
    np.testing.assert_array_equal(survey.blocks(7, 3000).seconds, again.blocks(7, 3000).seconds)


def test_ccds_cover_every_tile_three_or_four_times(survey):
    x0, x1, y0, y1 = np.clip(survey.box, 0.0, 1.0).T
    area = np.add.reduceat((x1 - x0) * (y1 - y0), survey.first[:-1])
    assert area.min() > 3 - 1e-4
    assert area.max() < 4 + 1e-4
    assert 3.0 < area.mean() < 3.5
    pairs = np.stack([np.repeat(np.arange(60), np.diff(survey.first)), survey.exposure, survey.ccd])
    assert len(np.unique(pairs, axis=1).T) == len(pairs.T)
    assert ((x1 > x0) & (y1 > y0)).all()


def test_the_law_is_the_law():
    survey = draw_survey(3000, LAWS["shapepipe"])
    usual = survey.n_object < 70_000
    assert 0.001 < 1 - usual.mean() < 0.01  # crowded ones: 0.5 %
    assert survey.n_object[usual].mean() == pytest.approx(35_000, rel=0.01)
    assert survey.n_object[usual].std() == pytest.approx(5_000, rel=0.1)
    assert survey.n_epoch.mean() == pytest.approx(3.2, rel=0.02)
    assert survey.ccd_seconds.mean() == pytest.approx(2.9, rel=0.01)
    assert survey.ccd_seconds.std() / 2.9 == pytest.approx(0.1, rel=0.05)
    assert survey.tile_seconds[usual].mean() == pytest.approx(20.0, rel=0.01)
    assert survey.tile_seconds[~usual].mean() == pytest.approx(60.0, rel=0.1)
    assert survey.block_size(300) == round(300 / (0.2714 * 3.2 + 0.05))
    blocks = survey.blocks(0, survey.block_size(300))
    expected = 0.2714 * blocks.n_epoch + 0.05 * blocks.n_object
    assert (blocks.seconds / expected).mean() == pytest.approx(1.0, abs=0.05)


def test_blocks_divide_a_tile(survey):
    for size in (100_000, 20_000, 1000, 333):
        blocks = survey.blocks(3, size)
        assert blocks.n_object.sum() == survey.n_object[3]
        assert blocks.n_object.max() <= size
        assert np.ptp(blocks.n_object) <= 1
        assert set(blocks.pair) == set(range(survey.first[4] - survey.first[3]))  # every CCD is seen by some block
        assert set(blocks.block) == set(range(len(blocks.seconds)))
    assert survey.n_block(1000) == sum(len(survey.blocks(tile, 1000).seconds) for tile in range(60))


def test_units_are_those_of_a_run(survey):
    plan = plan_of(survey)
    units = first_units(plan)
    ccds = {unit.uid for unit in units if unit.kind == "ccd"}
    assert len(ccds) == len(np.unique(survey.exposure * N_CCD + survey.ccd))
    tiles = [unit for unit in units if unit.kind == "tile"]
    assert [len(tile.payload["ccds"]) for tile in tiles] == np.diff(survey.first).tolist()
    assert all(tile.after == () for tile in tiles)
    assert {CcdId(*pair).uid for tile in tiles for pair in tile.payload["ccds"]} == ccds
    assert list(plan.ccds) == sorted(plan.ccds)


class Recorded:
    """A queue that remembers what it said."""

    def __init__(self, queue):
        self.queue = queue
        self.seconds = {}

    def next(self):
        taken = self.queue.next()
        if taken is not None:
            self.seconds[taken[0]] = taken[1]
        return taken

    def done(self, name, seconds):
        self.queue.done(name, seconds)


def test_what_units_take_does_not_depend_on_who_does_them_when(survey):
    found = []
    for n_worker in (3, 50, 5000):
        queue = Recorded(SurveyQueue(survey, 5000))
        times = simulate_farm(queue, n_worker, 7e-5)
        assert queue.queue.schedule.complete
        counts = queue.queue.schedule.counts()
        assert sum(kind["done"] for kind in counts.values()) == times.n_unit
        assert counts["block"]["done"] == survey.n_block(5000)
        assert times.busy == pytest.approx(math.fsum(queue.seconds.values()))
        found.append(queue.seconds)
    assert found[0] == found[1] == found[2]


def test_a_table_is_the_same_again_and_a_large_survey_is_cut():
    first = bench_farm(ranks=(5, 400), blocks=(20.0, 60.0), n_tile=30)
    second = bench_farm(ranks=(5, 400), blocks=(20.0, 60.0), n_tile=30)
    assert [row.times for row in first.rows] == [row.times for row in second.rows]
    assert [(row.n_rank, row.block_seconds) for row in first.rows] == [(5, 20.0), (400, 20.0), (5, 60.0), (400, 60.0)]
    assert all(0 < row.efficiency < 1 for row in first.rows)
    assert first.rows[0].efficiency > first.rows[1].efficiency
    assert len(first.lines()) == 2 + 2 + 4
    cut = bench_farm(ranks=(5,), blocks=(20.0,), n_tile=30, most_units=first.rows[0].times.n_unit // 2)
    assert 10 < cut.rows[0].n_tile < 20
    assert "lower bound" in cut.lines()[-1]


VERB = ("bench", "scheduler", "--ranks", "2,30", "--tiles", "20", "--blocks", "30")


def test_the_verb_alone_simulates_and_says_how_to_have_ranks(tmp_path, capsys):
    target = tmp_path / "bench.json"
    assert cli.main([*VERB, "--law", "shapepipe", "--json", str(target)]) == 0
    printed = capsys.readouterr()
    assert "mpirun -n 3 shapempi bench scheduler" in printed.err
    assert "| 30 | 20 | 30 |" in printed.out
    found = json.loads(target.read_text())
    assert list(found) == ["simulation"]
    assert [row["n_rank"] for row in found["simulation"]["rows"]] == [2, 30]


def test_the_verb_under_a_launcher_times_the_master(tmp_path):
    target = tmp_path / "bench.json"
    code, out, err = launch(3, "-m", "shapempi", *VERB, "--units", "500", "--json", target)
    assert code == 0, err
    assert out.count("500 units that do nothing on 3 ranks") == 1
    found = json.loads(target.read_text())
    assert (found["master"]["n_rank"], found["master"]["n_unit"]) == (3, 500)
    assert found["master"]["units_per_second"] > 0
    assert found["master"]["cpu_us_per_unit"] > 0
    assert 0 <= found["master"]["idle_cpu"] < 0.9  # it sleeps
    assert len(found["simulation"]["rows"]) == 2


WRONG = [
    ("--units", "0"),
    ("--tiles", "-1"),
    ("--most-units", "0"),
    ("--ranks", "1,8"),
    ("--ranks", "8,many"),
    ("--ranks", ""),
    ("--blocks", "0"),
    ("--blocks", "nan"),
    ("--blocks", "inf"),
    ("--assign-us", "-1"),
    ("--assign-us", "nan"),
    ("--seed", "-1"),
    ("--json", "no/such/folder/file"),
]


@pytest.mark.parametrize("wrong", WRONG, ids=" ".join)
def test_what_cannot_be_done_is_said(wrong, capsys):
    assert cli.main(["bench", "scheduler", f"{wrong[0]}={wrong[1]}"]) == 2
    assert wrong[0] in capsys.readouterr().err


def test_under_a_launcher_it_is_said_once():
    code, _, err = launch(3, "-m", "shapempi", "bench", "scheduler", "--ranks", "1")
    assert code == 2
    assert err.count("--ranks") == 1
