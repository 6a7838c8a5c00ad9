"""What a run has learned of the exposures is kept for the next start, and nothing depends on it."""

import os

import pytest
from chain.program import shapempi, verb
from chain.tiny import EXPOSURES, copy_of, differences, place


def spoil(link):
    """Make a file of the survey unreadable that looks as it did."""
    looks = link.stat()
    copy_of(link).write_bytes(b"x" * looks.st_size)
    os.utime(link, ns=(looks.st_atime_ns, looks.st_mtime_ns))


@pytest.mark.parametrize("n_rank", [None, 3])
def test_the_next_start_reads_no_header_twice(reference, survey, tmp_path, n_rank):
    folder = place(survey, tmp_path)
    store = folder / "run" / "footprints.h5"
    store.mkdir(parents=True)  # so it cannot be written: a tile reads headers
    result = shapempi(folder, "run", "chain.toml", n_rank=n_rank)
    assert result.code == 0, result
    assert sum("headers of exposures are read again" in line for line in result.complaints) == 1
    assert verb(folder, "gather", "run").code == 0
    assert differences(folder, reference) == []
    store.rmdir()
    result = shapempi(folder, "run", "chain.toml", n_rank=n_rank)
    assert result.code == 0 and store.is_file(), result
    for exposure in EXPOSURES:
        spoil(folder / "survey" / "exposures" / f"{exposure}p.fits.fz")
    plan = (folder / "run" / "plan.json").read_text()
    result = shapempi(folder, "run", "chain.toml", n_rank=n_rank)
    assert result.code == 0, result
    assert (folder / "run" / "plan.json").read_text() == plan
    assert "all input files are there" in verb(folder, "plan", "chain.toml").out
    store.write_bytes(store.read_bytes()[:1000])
    result = verb(folder, "plan", "chain.toml")
    assert result.code == 1 and result.err.count("not a FITS file") == 2, result
