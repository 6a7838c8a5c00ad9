"""The same catalogue, bit for bit, whoever makes it and whatever interrupts them."""

import os
import signal

from chain.program import family, finish, kill, ranks, shapempi, started, survivors, verb, wait_for
from chain.tiny import CCDS, block_size, committed, differences, last_job, place

#: Exit codes of a launcher that a signal ended: of the ranks, of the shell, of the system.
#: SIGTERM asks the ranks to drain; whether they have the time is up to the launcher.  Open MPI's says 1 of itself.
ENDED_BY = {signal.SIGINT: {130, 2, -2, 1}, signal.SIGTERM: {10, 143, 15, -15, 1}, signal.SIGKILL: {137, 9, -9}}


def blocks(names):
    return {name for name in names if name.startswith("block:")}


def test_two_ranks_one_block(reference, survey, tmp_path):
    folder = place(survey, tmp_path, block_size(1000))
    assert shapempi(folder, "run", "chain.toml", n_rank=2).code == 0
    assert verb(folder, "gather", "run").code == 0
    assert len(blocks(committed(folder))) == 1
    assert differences(folder, reference) == []


def test_five_ranks_small_blocks(reference, crew):
    assert len(blocks(committed(crew))) > 5
    ranks = {outcome["rank"] for outcome in last_job(crew).values()}
    assert len(ranks) > 1 and ranks <= {1, 2, 3, 4}
    assert differences(crew, reference) == []


def test_territories_in_blocks_of_any_size(reference, survey, tmp_path):
    uberseg = ("[psf.acceptance]", '[vignet]\nneighbours = "uberseg"\n\n[psf.acceptance]')
    folders = []
    for size, n_rank in ((1000, 2), (7, 3)):
        (tmp_path / str(size)).mkdir()
        folders.append(place(survey, tmp_path / str(size), block_size(size), uberseg))
        assert shapempi(folders[-1], "run", "chain.toml", n_rank=n_rank).code == 0
        assert verb(folders[-1], "gather", "run").code == 0
    assert differences(*folders) == []
    assert "catalogue/g1_noshear" in differences(folders[0], reference)


def test_after_kill_9_of_everything_twice(reference, survey, tmp_path):
    folder = place(survey, tmp_path, block_size(7))

    def run_and_kill(n_rank, condition):
        with started(folder, "run", "chain.toml", n_rank=n_rank) as process:
            wait_for(condition, process, "the moment to kill")
            everything = family(process)
            assert len(everything) > n_rank
            kill(process)
            finish(process)
        assert survivors(everything) == []
        return committed(folder)

    first = run_and_kill(3, lambda: committed(folder))
    assert first and first <= set(CCDS)
    second = run_and_kill(3, lambda: len(blocks(committed(folder))) >= 2)
    assert first < second
    assert {name for name, outcome in last_job(folder).items() if outcome["restored"]} == first
    result = shapempi(folder, "run", "chain.toml", n_rank=2)
    assert result.code == 0, result
    outcomes = last_job(folder)
    restored = {uid for uid, outcome in outcomes.items() if outcome["restored"]}
    assert restored == {name.partition("~")[0] for name in second}
    assert len(restored) < len(outcomes) == len(committed(folder))
    assert f"{len(restored)} units were committed before" in result.out
    assert verb(folder, "gather", "run").code == 0
    assert differences(folder, reference) == []


def test_after_signals_to_the_launcher_and_the_death_of_a_rank(reference, survey, tmp_path):
    folder = place(survey, tmp_path, block_size(7))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        before = len(committed(folder))
        with started(folder, "run", "chain.toml", n_rank=3) as process:
            wait_for(lambda before=before: len(committed(folder)) > before, process, "a new commit")
            everything = family(process)
            os.kill(ranks(process)[-1] if number == signal.SIGKILL else process.pid, number)
            result = finish(process, timeout=15.0)
        assert result.code in ENDED_BY[number], result
        assert survivors(everything) == []
        assert "Traceback" not in result.err
    before = committed(folder)
    result = shapempi(folder, "run", "chain.toml", n_rank=3)
    assert result.code == 0, result
    outcomes = last_job(folder)
    assert {uid for uid, outcome in outcomes.items() if outcome["restored"]} == {n.partition("~")[0] for n in before}
    assert verb(folder, "gather", "run").code == 0
    assert differences(folder, reference) == []


def test_a_complete_run_does_nothing_again(reference, survey, tmp_path):
    folder = place(survey, tmp_path)
    (folder / "run").symlink_to(reference / "run")
    before = committed(folder)
    result = shapempi(folder, "run", "chain.toml", n_rank=2)
    assert result.code == 0, result
    assert f"{len(before)} units are committed already and are not done again" in result.err
    assert all(outcome["restored"] for outcome in last_job(folder).values())
    assert committed(folder) == before
