"""Part files: what is committed is read back exactly, survives every crash, and nothing else is ever seen."""

import collections
import io
import os
import resource
import shutil
import signal
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from shapempi.errors import DataError
from shapempi.io.group import product_crc32, write_group
from shapempi.io.parts import PartReader, PartWriter, _append, _draft, _fault, _lay_out, _rows, scan
from shapempi.product import Location, Product

# Newer Pythons warn of a fork where libraries have threads; these children use none of them.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

ROWS = np.dtype([("NUMBER", "i4"), ("g1", "f8"), ("psf", "f4", (3,)), ("name", "S6"), ("good", "?")], align=True)


def product(k, n_row=300, n_y=200):
    """Return a product like a CCD's: a plane, a table, many small arrays, a long text."""
    rng = np.random.default_rng(k)
    rows = np.zeros(n_row, ROWS)
    rows["NUMBER"], rows["g1"], rows["name"] = np.arange(n_row), rng.random(n_row), b"abc"
    arrays = {"mask": rng.integers(0, 3, (n_y, 150), dtype=np.int32), "rows": rows}
    arrays |= {f"x{i}": rng.random(int(rng.integers(0, 400))) for i in range(6)}
    return Product(arrays, {"k": k, "text": "x" * int(rng.integers(10, 9000)), "fwhm": float(rng.random()), "ok": True})


def same(one, other):
    assert sorted(one.arrays) == sorted(other.arrays)
    for name, array in one.arrays.items():
        assert array.shape == other.arrays[name].shape
        np.testing.assert_array_equal(array, other.arrays[name])
    assert one.attrs == other.attrs


@pytest.mark.parametrize(
    "array",
    [
        np.float64(3.5),
        np.zeros((0, 3)),
        np.zeros(0, ROWS),
        np.arange(5, dtype=">f4"),
        np.asfortranarray(np.arange(12.0).reshape(3, 4)),
        np.arange(20)[::3],
        np.array([True, False]),
        np.array([b"ab", b"c"]),
        np.array([np.nan, np.inf, -0.0]),
        np.ones(3, complex),
        np.ones(3, np.uint64),
        np.random.default_rng(1).random((700, 300)),  # several bands
    ],
    ids=lambda array: f"{np.shape(array)}-{array.dtype.str}",
)
def test_arrays_come_back_as_they_were(tmp_path, array):
    location = PartWriter(tmp_path, "0001", 1).commit("u", Product({"a": array}))
    back = PartReader(tmp_path, patience=0.0).read(location).arrays["a"]
    np.testing.assert_array_equal(back, array)
    assert back.shape == np.shape(array)
    assert back.dtype.names == array.dtype.names
    if array.dtype.kind == "f":
        assert back.tobytes() == np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()


def test_attributes_come_back_exactly(tmp_path):
    attrs = {"i": 3, "f": 0.1 + 0.2, "n": np.float64(1e-300), "m": np.int16(4), "b": False, "t": "ü" * 70_000, "e": ""}
    location = PartWriter(tmp_path, "0001", 1).commit("u", Product({}, attrs))
    back = PartReader(tmp_path, patience=0.0).read(location, names=()).attrs
    assert back == attrs
    assert isinstance(back["b"], bool)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (Product({"a": np.array(["text"])}), "array a has the dtype <U4"),
        (Product({"a": np.array([object()])}), "array a has the dtype object"),
        (Product({"a/b": np.zeros(3)}), "cannot name an array"),
        (Product({}, {"when": None}), "attribute when is None"),
    ],
)
def test_what_cannot_be_kept_is_refused(tmp_path, bad, message):
    writer = PartWriter(tmp_path, "0001", 1)
    with pytest.raises(TypeError, match=message):
        writer.commit("bad", bad)
    location = writer.commit("good", product(1))
    same(product(1), PartReader(tmp_path, patience=0.0).read(location))
    assert list(scan(tmp_path).locations) == ["good"]


def test_checksum_depends_on_content_only(tmp_path):
    crc = product_crc32(product(1))
    assert PartWriter(tmp_path, "0001", 1).commit("u", product(1)).crc32 == crc
    assert PartWriter(tmp_path, "0002", 5).commit("v", product(1)).crc32 == crc
    reordered = Product(dict(reversed(product(1).arrays.items())), dict(reversed(product(1).attrs.items())))
    assert product_crc32(reordered) == crc
    for name in ("mask", "rows", "x2"):
        arrays = {key: array.copy() for key, array in product(1).arrays.items()}
        arrays[name].reshape(-1).view(np.uint8)[0] ^= 1
        assert product_crc32(Product(arrays, product(1).attrs)) != crc
    assert product_crc32(Product(product(1).arrays, {**product(1).attrs, "k": 2})) != crc


def test_parts_of_a_product(tmp_path):
    reader = PartReader(tmp_path, patience=0.0)
    whole = product(1, n_y=5000)
    location = PartWriter(tmp_path, "0001", 1).commit("u", whole, 300)
    assert location.n_row == 300
    some = reader.read(location, names=("rows", "x1"))
    assert sorted(some.arrays) == ["rows", "x1"]
    np.testing.assert_array_equal(some.arrays["rows"], whole.arrays["rows"])
    for start, stop in ((0, 5000), (0, 0), (4999, 5000), (870, 880), (1000, 3000), (5000, 5000)):
        np.testing.assert_array_equal(reader.read_rows(location, "mask", start, stop), whole.arrays["mask"][start:stop])
    section = reader.read_section(location, "mask", (1700, 1800, 20, 71))
    np.testing.assert_array_equal(section, whole.arrays["mask"][1700:1800, 20:71])
    with pytest.raises(DataError, match="no array nothing; there are mask, rows, x0"):
        reader.read(location, names=("nothing",))
    with pytest.raises(DataError, match=r"no rows 10\.\.5001"):
        reader.read_rows(location, "mask", 10, 5001)
    with pytest.raises(DataError, match=r"no 20\.\.151"):
        reader.read_section(location, "mask", (0, 5, 20, 151))


def test_scan_finds_all_jobs_and_the_first_of_two(tmp_path):
    first = PartWriter(tmp_path, "0001", 2, digest="abc")
    locations = {"ccd:1": first.commit("ccd:1", product(1)), "ccd:2": first.commit("ccd:2", product(2), 300)}
    second = PartWriter(tmp_path, "0002", 1, digest="abc")
    second.commit("ccd:1", product(1))
    locations["ccd:3"] = second.commit("ccd:3", product(3))
    PartWriter(tmp_path, "0003", 1, digest="xyz").commit("ccd:4", product(4))
    found = scan(tmp_path, "abc", deep=True)
    assert found.locations == locations
    assert (found.n_file, found.n_duplicate) == (3, 1)
    assert len(found.damaged) == 1
    assert "ccd:4: made with another configuration (digest xyz)" in found.damaged[0]
    assert scan(tmp_path / "nothing").n_file == 0


def test_the_same_name_twice_in_one_job(tmp_path):
    writer = PartWriter(tmp_path, "0001", 1)
    reader = PartReader(tmp_path, patience=0.0)
    one, two = writer.commit("u", product(1)), writer.commit("u", product(2))
    same(product(1), reader.read(one))
    same(product(2), reader.read(two))
    assert scan(tmp_path).locations["u"] == one


def test_a_full_table_of_commits_begins_a_new_file(tmp_path, monkeypatch):
    monkeypatch.setattr("shapempi.io.parts._N_COMMIT", 3)
    writer = PartWriter(tmp_path, "0001", 1)
    locations = {f"u{k}": writer.commit(f"u{k}", product(k)) for k in range(7)}
    assert len({location.file for location in locations.values()}) == 3
    assert scan(tmp_path, deep=True).locations == locations


def test_a_part_file_belongs_to_one_writer(tmp_path):
    """The next process of a rank that has died begins a file of its own."""
    PartWriter(tmp_path, "0001", 1).commit("u", product(1))
    before = (tmp_path / "parts" / "0001" / "rank-00001.h5").read_bytes()
    location = PartWriter(tmp_path, "0001", 1).commit("v", product(2))
    assert location.file == "parts/0001/rank-00001-1.h5"
    assert (tmp_path / "parts" / "0001" / "rank-00001.h5").read_bytes() == before
    assert set(scan(tmp_path).locations) == {"u", "v"}


def test_a_full_disk_costs_the_unit_that_hits_it(tmp_path):
    writer = PartWriter(tmp_path, "0001", 1)
    locations = [writer.commit(f"u{k}", product(k)) for k in range(3)]
    big = Product({"noise": np.random.default_rng(1).random(3_000_000)})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_000_000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"cannot commit big to .*rank-00001.h5: .*File too large; is the disk full"):
            writer.commit("big", big)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    locations.append(writer.commit("u3", product(3)))
    found = scan(tmp_path, deep=True)
    assert found.locations == {f"u{k}": location for k, location in enumerate(locations)}
    same(product(3), PartReader(tmp_path, patience=0.0).read(locations[3]))


def test_a_flipped_byte_is_found(tmp_path):
    """Every byte of every array and of the attributes is guarded: flip some and see each one reported."""
    writer = PartWriter(tmp_path, "0001", 1)
    plane = np.random.default_rng(3).integers(0, 256, (40, 100), dtype=np.uint8)  # small: stored as it is
    location = writer.commit("u", Product({"plane": plane, "x": np.arange(9.0)}, {"t": "hello world"}))
    other = writer.commit("v", product(1))
    path = tmp_path / location.file
    sound = path.read_bytes()
    reader = PartReader(tmp_path, patience=0.0)
    assert scan(tmp_path, deep=True).damaged == []
    for needle in (plane[7].tobytes(), np.arange(3.0, 6.0).tobytes(), b"hello world"):
        assert sound.count(needle) == 1
        damaged = bytearray(sound)
        damaged[sound.index(needle) + 5] ^= 4
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"rank-00001.h5: /units/u#0 cannot be read: .*checksum"):
            reader.read(location)
        same(product(1), reader.read(other))
        found = scan(tmp_path, deep=True)
        assert list(found.locations) == ["v"]
        assert len(found.damaged) == 1
        assert "u: ChecksumError" in found.damaged[0]
    path.write_bytes(sound)
    same(Product({"plane": plane, "x": np.arange(9.0)}, {"t": "hello world"}), reader.read(location))


def test_any_truncation_is_reported_and_costs_that_file_only(tmp_path):
    keep = PartWriter(tmp_path, "0001", 1).commit("keep", product(9))
    writer = PartWriter(tmp_path, "0001", 2)
    names = [f"u{k}" for k in range(3)]
    location, *_ = [writer.commit(name, product(k)) for k, name in enumerate(names)]
    path = tmp_path / location.file
    sound = path.read_bytes()
    for fraction in (0.0, 0.001, 0.1, 0.5, 0.9):
        path.write_bytes(sound[: int(fraction * len(sound.rstrip(b"\0")))])
        found = scan(tmp_path, deep=True)
        assert found.locations["keep"] == keep
        assert set(found.locations) <= {"keep", *names}
        assert found.damaged
        for name in set(found.locations) - {"keep"}:
            same(product(names.index(name)), PartReader(tmp_path, patience=0.0).read(found.locations[name]))
    path.unlink()
    with pytest.raises(DataError, match=r"rank-00002.h5: .*cannot be read.*damaged or gone"):
        PartReader(tmp_path, patience=0.0).read(location)


class Recorder(io.RawIOBase):
    """A file in memory that remembers every change made to it."""

    def __init__(self, content=b""):
        self.content = bytearray(content)
        self.position = 0
        self.changes = []

    def readable(self):
        return True

    def seekable(self):
        return True

    def writable(self):
        return True

    def seek(self, offset, whence=0):
        self.position = offset + (0, self.position, len(self.content))[whence]
        return self.position

    def tell(self):
        return self.position

    def readinto(self, buffer):
        piece = self.content[self.position : self.position + len(buffer)]
        buffer[: len(piece)] = piece
        self.position += len(piece)
        return len(piece)

    def apply(self, offset, data):
        """Write data at an offset; None sets the length."""
        if data is None:
            del self.content[offset:]
            self.content.extend(bytes(offset - len(self.content)))
        else:
            self.content.extend(bytes(max(0, offset - len(self.content))))
            self.content[offset : offset + len(data)] = data

    def write(self, buffer):
        data = bytes(buffer)
        self.changes.append((self.position, data))
        self.apply(self.position, data)
        self.position += len(data)
        return len(data)

    def truncate(self, size=None):
        self.changes.append((self.position if size is None else size, None))
        self.apply(*self.changes[-1])
        return len(self.content)


def committed(path):
    """Return the names of all sound commits in a file, data verified."""
    with h5py.File(path, "r", locking=False) as file:
        return [row["name"].decode() for row in _rows(file) if not _fault(file, row, None, True)]


def test_a_crash_between_any_two_writes_loses_no_commit(tmp_path):
    """Replay each commit write by write; after every single one all earlier commits must be there.

    This is what a growing table and access by path do not give: 53 of 803 such states hid older units.
    """
    disk, path = Recorder(), tmp_path / "crashed.h5"
    with h5py.File(disk, "w") as file:
        _lay_out(file)
    n_state = collections.Counter()
    for k in range(9):  # the index of `units` is split on the way
        before = bytes(disk.content)
        disk.changes = []
        with h5py.File(disk, "r+") as file, _draft() as draft:
            write_group(draft, "product", product(k, n_row=50, n_y=20), 50)
            disk.truncate(file.id.get_filesize() + draft.id.get_filesize())  # the space that _commit reserves
            _append(file, k, f"u{k}".encode(), b"", draft, file.flush)
        names = [f"u{i}" for i in range(k)]
        replay = Recorder(before)
        for change in disk.changes:
            replay.apply(*change)
            path.write_bytes(replay.content)
            found = committed(path)
            assert found in (names, [*names, f"u{k}"])
            n_state[len(found) > k] += 1
        assert bytes(replay.content) == bytes(disk.content)
        assert found == [*names, f"u{k}"]
    assert n_state[False] > 200
    assert n_state[True] >= 9


def in_child(action):
    """Run an action in a forked process; return its process id."""
    pid = os.fork()
    if pid == 0:
        try:
            action()
        finally:
            os._exit(0)
    return pid


def test_sigkill_at_random_moments(tmp_path):
    """Kill a writer anywhere: everything that it had announced is there, whole; nothing is there in part."""
    rng = np.random.default_rng(5)
    n_commit = n_unannounced = 0
    for job in range(25):
        folder = tmp_path / str(job)
        reading, writing = os.pipe()

        def work(folder=folder, writing=writing):
            writer = PartWriter(folder, "0001", 1)
            for k in range(10_000):
                writer.commit(f"u{k}", product(k % 20, n_row=60, n_y=40))
                os.write(writing, b"x")

        pid = in_child(work)
        n_announced = int(rng.integers(0, 6))
        for _ in range(n_announced):
            os.read(reading, 1)
        time.sleep(float(rng.uniform(0.0, 0.03)))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(writing)
        n_announced += len(os.read(reading, 65536))
        os.close(reading)
        found = scan(folder, deep=True)
        assert list(found.locations) in (
            [f"u{k}" for k in range(n_announced)],
            [f"u{k}" for k in range(n_announced + 1)],  # killed between commit and announcement
        )
        n_commit += n_announced
        n_unannounced += len(found.locations) - n_announced
        for name, location in list(found.locations.items())[-2:]:
            same(product(int(name[1:]) % 20, n_row=60, n_y=40), PartReader(folder, patience=0.0).read(location))
        shutil.rmtree(folder, ignore_errors=True)
    assert n_commit > 25


def test_a_group_without_its_commit_row_does_not_exist(tmp_path, monkeypatch):
    """SIGKILL between the two halves of a commit."""

    def work():
        writer = PartWriter(tmp_path, "0001", 1)
        writer.commit("one", product(1))
        # The row's checksum is computed when the group is on the disk and the row is not written.
        monkeypatch.setattr("shapempi.io.parts._check", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        writer.commit("two", product(2))

    pid = in_child(work)
    _, status = os.waitpid(pid, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    path = tmp_path / "parts" / "0001" / "rank-00001.h5"
    with h5py.File(path, "r", locking=False) as file:
        assert sorted(file["units"]) == ["one", "two"]
    found = scan(tmp_path, deep=True)
    assert list(found.locations) == ["one"]
    assert found.damaged == []


def test_reading_while_another_process_writes(tmp_path):
    """One process commits as fast as it can, this one reads what is announced, at once and in random order."""
    reading, writing = os.pipe()

    def work():
        writer = PartWriter(tmp_path, "0001", 1)
        for k in range(100_000):
            location = writer.commit(f"u{k}", product(k % 10, n_row=60, n_y=40))
            os.write(writing, f"{k} {location.file} {location.group} {location.crc32} {location.n_row}\n".encode())

    pid = in_child(work)
    os.close(writing)
    known: dict[int, Location] = {}
    rng = np.random.default_rng(1)
    reader = PartReader(tmp_path, patience=20.0)
    n_read = 0
    try:
        with os.fdopen(reading) as lines:
            while n_read < 100:
                k, file, group, crc32, n_row = lines.readline().split()
                known[int(k)] = Location(file, group, int(crc32), int(n_row))
                for j in {int(k), int(rng.choice(list(known)))}:
                    same(product(j % 10, n_row=60, n_y=40), reader.read(known[j]))
                    n_read += 1
                if n_read % 20 == 0:
                    assert set(scan(tmp_path).locations) >= {f"u{j}" for j in known}
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_locations_are_relative(tmp_path):
    location = PartWriter(tmp_path / "run", "0001-slurm77", 12345).commit("u", product(1))
    assert location.file == "parts/0001-slurm77/rank-12345.h5"
    (tmp_path / "run").rename(tmp_path / "moved")
    same(product(1), PartReader(Path(tmp_path / "moved"), patience=0.0).read(location))
