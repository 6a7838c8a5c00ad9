"""Copies on the node's disk: whole or not there, made once, and never a reason to fail."""

import fcntl
import json
import logging
import os
import shutil
import signal
import stat
import subprocess
import sys

import numpy as np
import pytest
import tiny_survey
from mpi.launch import environment

from shapempi.ids import CcdId
from shapempi.io.node_cache import NodeCache
from shapempi.survey.inputs import InputParams, SurveyInputs

#: Waits for a line, reads all files of a folder through a cache some times, and says what came of it.
READER = """
import json, random, sys
from pathlib import Path
from shapempi.io.node_cache import NodeCache
folder, sources, size, rounds, seed = Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:])
cache = NodeCache(folder, size)
paths = sorted(sources.iterdir())
random.seed(seed)
print("ready", flush=True)
sys.stdin.readline()
wrong = []
for _ in range(rounds):
    random.shuffle(paths)
    for path in paths:
        try:
            data = cache.path(path).read_bytes()
        except FileNotFoundError:  # removed before it was opened
            data = path.read_bytes()
        if data != path.read_bytes():
            wrong.append(path.name)
print(json.dumps([cache.reads.values(), wrong]))
"""

#: Begins a copy and never ends it.
SLOW = """
import shutil, sys, time
from pathlib import Path
from shapempi.io.node_cache import NodeCache
def crawl(old, new, length):
    new.write(old.read(100))
    new.flush()
    print("copying", flush=True)
    time.sleep(600)
shutil.copyfileobj = crawl
NodeCache(Path(sys.argv[1]), 1e9).path(Path(sys.argv[2]))
"""


@pytest.fixture
def sources(tmp_path):
    folder = tmp_path / "server"
    folder.mkdir()
    for number in range(6):
        (folder / f"{number}p.fits.fz").write_bytes(np.random.default_rng(number).bytes(100_000))
    return folder


def start(program, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def read_at_once(n_process, folder, sources, size, rounds):
    """Have several processes read all files at once; return what they counted together."""
    processes = [start(READER, folder, sources, size, rounds, seed) for seed in range(n_process)]
    total = {}
    try:
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in processes:
            out, _ = process.communicate(timeout=120)
            counts, wrong = json.loads(out)
            assert wrong == []
            total = {name: total.get(name, 0) + counts.get(name, 0) for name in total | counts}
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    return total


def names(cache):
    return sorted(path.name for path in cache.folder.iterdir())


def test_a_copy_is_made_once_and_is_the_file(tmp_path, sources):
    cache = NodeCache(tmp_path / "disk", 1e9)
    source = sources / "1p.fits.fz"
    copy = cache.path(source)
    assert copy.parent == cache.folder == tmp_path / "disk" / f"shapempi-{os.getuid()}"
    assert copy.read_bytes() == source.read_bytes() and copy.name.endswith("-1p.fits.fz")
    assert cache.path(source) == copy
    assert NodeCache(tmp_path / "disk", 1e9).path(source) == copy
    assert cache.take_reads().values() == {"cache_hits": 1, "cache_copies": 1, "cache_bytes": 100_000}
    assert cache.reads.values() == {}
    assert stat.S_IMODE(cache.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert names(cache) == [copy.name]  # neither locks nor parts of copies


def test_a_file_that_was_replaced_is_another(tmp_path, sources):
    cache = NodeCache(tmp_path, 1e9)
    source = sources / "1p.fits.fz"
    old = cache.path(source)
    source.write_bytes(b"n" * 100_000)
    os.utime(source, ns=(0, 17))
    assert cache.path(source) != old and cache.path(source).read_bytes() == b"n" * 100_000
    twin = sources.parent / "elsewhere" / source.name
    twin.parent.mkdir()
    twin.write_bytes(b"t" * 100_000)
    os.utime(twin, ns=(0, 17))
    assert cache.path(twin).read_bytes() == b"t" * 100_000


def test_a_copy_that_was_cut_off_is_made_again(tmp_path, sources):
    cache = NodeCache(tmp_path, 1e9)
    source = sources / "1p.fits.fz"
    tiny_survey.truncate(cache.path(source), 0.5)
    assert cache.path(source).read_bytes() == source.read_bytes()
    assert cache.reads.n_copy == 2


def test_variables_are_expanded_on_the_node(tmp_path, sources, monkeypatch, caplog):
    monkeypatch.setenv("NODE_DISK", str(tmp_path / "disk"))
    monkeypatch.chdir(tmp_path)
    assert NodeCache("$NODE_DISK/x", 1e9).path(sources / "1p.fits.fz").is_relative_to(tmp_path / "disk" / "x")
    monkeypatch.delenv("NODE_DISK")
    assert NodeCache("$NODE_DISK/x", 1e9).path(sources / "1p.fits.fz") == sources / "1p.fits.fz"
    assert "a variable in its name is not set on this node" in caplog.text
    assert not (tmp_path / "$NODE_DISK").exists()


def test_many_processes_copy_a_file_once(tmp_path, sources):
    counts = read_at_once(5, tmp_path / "disk", sources, 10**9, 2)
    assert counts == {"cache_copies": 6, "cache_bytes": 600_000, "cache_hits": 5 * 6 * 2 - 6}


def test_many_processes_in_a_disk_that_is_too_small(tmp_path, sources):
    """Two of six copies fit: they come and go, everybody reads the right bytes, and the limit holds."""
    counts = read_at_once(4, tmp_path / "disk", sources, 250_000, 10)
    assert counts["cache_copies"] > 6
    left = list((tmp_path / "disk").glob("shapempi-*/*")) + list((tmp_path / "disk").glob("shapempi-*/.*"))
    assert sum(path.stat().st_size for path in left) <= 250_000
    assert not [path.name for path in left if path.name.startswith(".")]


def test_what_was_not_used_for_longest_goes_first(tmp_path, sources):
    cache = NodeCache(tmp_path, 300_000)
    copies = [cache.path(sources / f"{number}p.fits.fz") for number in range(3)]
    for age, copy in zip((30, 20, 10), copies, strict=True):
        os.utime(copy, (1e9 - age, 1e9 - age))
    cache.path(sources / "0p.fits.fz")
    fourth = cache.path(sources / "3p.fits.fz")
    assert names(cache) == sorted(copy.name for copy in (copies[0], copies[2], fourth))


def test_a_copy_that_is_removed_while_it_is_read_stays_readable(tmp_path, sources):
    cache = NodeCache(tmp_path, 150_000)
    source = sources / "0p.fits.fz"
    with cache.path(source).open("rb") as file:
        first = file.read(10)
        other = cache.path(sources / "1p.fits.fz")
        assert names(cache) == [other.name]
        assert first + file.read() == source.read_bytes()


def test_a_file_larger_than_the_cache(tmp_path, sources, caplog):
    cache = NodeCache(tmp_path, 99_999)
    assert [cache.path(path) for path in sorted(sources.iterdir())] == sorted(sources.iterdir())
    assert cache.reads.values() == {"cache_originals": 6}
    assert len(caplog.records) == 1 and "larger than run.cache_size" in caplog.text


def test_a_full_disk(tmp_path, sources, caplog):
    source = sources / "huge"
    with source.open("wb") as file:
        file.truncate(shutil.disk_usage(tmp_path).free + 10**9)  # of holes
    cache = NodeCache(tmp_path / "disk", 1e18)
    assert cache.path(source) == source
    assert "the disk is full" in caplog.text
    assert names(cache) == []
    assert cache.path(sources / "1p.fits.fz").parent == cache.folder


def test_no_folder_can_be_made_there(tmp_path, sources, caplog):
    (tmp_path / "disk").write_text("a file")
    cache = NodeCache(tmp_path / "disk" / "x", 1e9)
    for path in sources.iterdir():
        assert cache.path(path) == path
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "exposures are read from where they are (run.cache_folder)" in caplog.text


def test_a_folder_that_vanishes(tmp_path, sources, caplog):
    cache = NodeCache(tmp_path / "disk", 1e9)
    source = sources / "1p.fits.fz"
    cache.path(source)
    shutil.rmtree(tmp_path / "disk")
    assert cache.path(source).read_bytes() == source.read_bytes()
    shutil.rmtree(tmp_path / "disk")
    (tmp_path / "disk").write_text("a file")
    assert cache.path(source) == source
    assert len(caplog.records) == 1


def test_a_folder_of_somebody_else_is_refused(tmp_path, sources, caplog):
    mine = tmp_path / f"shapempi-{os.getuid()}"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    mine.symlink_to(elsewhere)
    source = sources / "1p.fits.fz"
    assert NodeCache(tmp_path, 1e9).path(source) == source
    assert "not a folder of this user" in caplog.text
    assert list(elsewhere.iterdir()) == []
    mine.unlink()
    if os.getuid() == 0:  # only root can give a folder away
        copy = NodeCache(tmp_path, 1e9).path(source)
        os.chown(mine, 54321, 54321)
        assert NodeCache(tmp_path, 1e9).path(source) == source  # not even what is there already
        assert copy.exists()


def test_the_folder_is_closed_to_others(tmp_path, sources):
    mine = tmp_path / f"shapempi-{os.getuid()}"
    mine.mkdir()
    mine.chmod(0o755)
    NodeCache(tmp_path, 1e9).path(sources / "1p.fits.fz")
    assert stat.S_IMODE(mine.stat().st_mode) == 0o700


def test_a_missing_file_is_not_the_caches_affair(tmp_path, caplog):
    assert NodeCache(tmp_path, 1e9).path(tmp_path / "none") == tmp_path / "none"
    assert caplog.records == []


def test_a_copier_that_hangs_and_one_that_dies(tmp_path, sources):
    source = sources / "1p.fits.fz"
    process = start(SLOW, tmp_path / "disk", source)
    try:
        assert process.stdout.readline() == "copying\n"
        cache = NodeCache(tmp_path / "disk", 1e9, patience=0.2)
        assert cache.path(source) == source
        assert cache.path(sources / "2p.fits.fz").parent == cache.folder  # the others go on
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert cache.path(source).read_bytes() == source.read_bytes()
    finally:
        process.kill()
        process.communicate()
    (part,) = cache.folder.glob(".*.tmp")
    os.utime(part, (0, 0))
    cache.path(sources / "3p.fits.fz")
    assert not part.exists()


def test_nobody_waits_for_ever_for_room(tmp_path, sources):
    cache = NodeCache(tmp_path, 1e9, patience=0.2)
    cache.path(sources / "1p.fits.fz")
    with (cache.folder / ".room.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert cache.path(sources / "2p.fits.fz") == sources / "2p.fits.fz"
    assert cache.path(sources / "2p.fits.fz").parent == cache.folder


def test_exposures_are_read_through_it(tmp_path):
    exposures, tiles = tiny_survey.write_survey(tmp_path)
    params = InputParams(exposure_folder=exposures, tile_folder=tiles)
    plain, cache = SurveyInputs(params), NodeCache(tmp_path / "disk", 1e9)
    through = SurveyInputs(params, cache=cache)
    ccd, box = CcdId(2243881, 2), (5, 40, 7, 50)
    expected, found = plain.read_ccd(ccd, box), through.read_ccd(ccd, box)
    for name in ("data", "weight", "flag"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert found.path == expected.path and found.header == expected.header
    assert cache.take_reads().n_copy == 3
    through.read_ccd(CcdId(2243881, 3))
    assert cache.take_reads().values() == {"cache_hits": 3}
    image = next(path for path in cache.folder.iterdir() if path.name.endswith("-2243881p.fits.fz"))
    size = image.stat().st_size
    image.write_bytes(b"\0" * size)  # damaged, though as long as it was
    assert np.array_equal(through.read_ccd(ccd, box).data, expected.data)
    (exposures / "2243881p.fits.fz").write_bytes(b"no mosaic")
    with pytest.raises(Exception, match=str(exposures)):
        through.read_ccd(ccd, box)
