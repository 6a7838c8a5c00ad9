"""A run that reads the exposures through copies on the node's disk: the same catalogue, and it says what it saved."""

import os

import pytest
from chain.program import shapempi, verb
from chain.tiny import differences, last_job, place


@pytest.mark.parametrize(("size", "kept"), [("1.0", True), ("0.0007", False)])
def test_the_same_bits(reference, survey, tmp_path, size, kept):
    keys = f'block_size = 25\ncache_folder = "$NODE_DISK/x"\ncache_size = {size}'
    folder = place(survey, tmp_path, ("block_size = 25", keys))
    result = shapempi(folder, "run", "chain.toml", n_rank=3, NODE_DISK=str(tmp_path / "disk"))
    assert result.code == 0, result
    counts = [outcome["counts"] for outcome in last_job(folder).values()]
    n_copy = sum(each.get("cache_copies", 0) for each in counts)
    assert n_copy == 6 if kept else n_copy > 6  # image, weight and flags of two exposures
    assert f" {n_copy} copied" in result.out
    copies = list((tmp_path / "disk" / "x" / f"shapempi-{os.getuid()}").iterdir())
    assert len(copies) == 6 or not kept
    assert sum(path.stat().st_size for path in copies) <= float(size) * 2**30
    assert verb(folder, "gather", "run").code == 0
    assert differences(folder, reference) == []


def test_a_cache_that_cannot_be_written(reference, survey, tmp_path):
    keys = 'block_size = 25\ncache_folder = "/proc/nowhere"'
    folder = place(survey, tmp_path, ("block_size = 25", keys))
    result = shapempi(folder, "run", "chain.toml")
    assert result.code == 0, result
    assert sum("exposures are read from where they are" in line for line in result.err.splitlines()) == 1
    assert verb(folder, "gather", "run").code == 0
    assert differences(folder, reference) == []
