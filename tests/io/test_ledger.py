"""The ledger says what the part files say, and is never believed against them."""

import os

import numpy as np
import pytest

from shapempi.io import ledger as ledger_module
from shapempi.io.ledger import LEDGER, Ledger
from shapempi.io.parts import PartWriter, scan
from shapempi.product import Product


@pytest.fixture
def run(tmp_path):
    for rank in (1, 2):
        writer = PartWriter(tmp_path, "0001", rank)
        for k in range(3):
            writer.commit(f"ccd:{rank}{k}", product(10 * rank + k), 5)
    return tmp_path


def product(k):
    return Product({"x": np.arange(5) + k}, {"k": k})


def test_it_knows_what_a_scan_finds(run):
    ledger = Ledger.read(run)
    assert ledger.locations == scan(run).locations
    assert (ledger.n_read, ledger.n_file, ledger.damaged) == (2, 2, [])
    ledger.write()
    again = Ledger.read(run)
    assert again.locations == ledger.locations
    assert again.n_read == 0


def test_files_that_grew_came_and_went(run):
    Ledger.read(run).write()
    writer = PartWriter(run, "0002", 1)
    writer.commit("ccd:new", product(1), 5)
    (run / "parts" / "0001" / "rank-00002.h5").unlink()
    ledger = Ledger.read(run)
    assert ledger.n_read == 1
    assert ledger.locations == scan(run).locations
    ledger.write()
    writer.commit("ccd:newer", product(2), 5)
    assert set(Ledger.read(run).locations) == {"ccd:10", "ccd:11", "ccd:12", "ccd:new", "ccd:newer"}


def test_the_first_of_two_commits_counts(run):
    PartWriter(run, "0002", 1).commit("ccd:10", product(1), 5)
    Ledger.read(run).write()
    place = Ledger.read(run).locations["ccd:10"]
    assert place.file == "parts/0001/rank-00001.h5"
    assert place == scan(run).locations["ccd:10"]


@pytest.mark.parametrize("content", [b"", b"rubbish", None])
def test_a_ledger_that_cannot_be_read_is_none(run, content):
    Ledger.read(run).write()
    path = run / LEDGER
    path.write_bytes(path.read_bytes()[:700] if content is None else content)
    ledger = Ledger.read(run)
    assert ledger.n_read == 2
    assert ledger.locations == scan(run).locations


def test_damage_is_looked_at_every_time(run):
    path = run / "parts" / "0001" / "rank-00001.h5"
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    Ledger.read(run).write()
    ledger = Ledger.read(run)
    assert ledger.n_read == 1
    assert len(ledger.damaged) >= 1
    assert "rank-00001.h5" in ledger.damaged[0]
    assert {"ccd:20", "ccd:21", "ccd:22"} <= set(ledger.locations)


def test_rebuilding_reads_everything_and_all_of_it(run):
    Ledger.read(run).write()
    location = scan(run).locations["ccd:11"]
    path = run / location.file
    data = bytearray(path.read_bytes())
    start = data.find((np.arange(5) + 11).tobytes())
    assert start > 0
    data[start] ^= 0xFF
    stat = path.stat()
    path.write_bytes(bytes(data))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # it looks as before
    assert Ledger.read(run).damaged == []
    ledger = Ledger.read(run, rebuild=True, deep=True)
    assert ledger.n_read == 2
    assert any("ccd:11" in text for text in ledger.damaged)


def test_a_run_without_parts(tmp_path):
    ledger = Ledger.read(tmp_path)
    ledger.write()
    assert Ledger.read(tmp_path).locations == {}
    assert ledger_module.LEDGER == "ledger.h5"
