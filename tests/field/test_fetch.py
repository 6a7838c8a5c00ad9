"""Fetching by ID: what arrives is whole, what fails leaves nothing and stops nobody, what is there stays."""

import sys
import types

import pytest
import tiny_survey

from shapempi.errors import DataError, EngineError, MissingInputError
from shapempi.field.fetch import Fetcher
from shapempi.field.image_name import ImageNames
from shapempi.ids import TileId
from shapempi.io.fits_check import check_fits
from shapempi.io.local_tree import LinkedTree, LocalTree
from shapempi.io.vospace import open_vospace

FIRST, SECOND = tiny_survey.EXPOSURES
TILE = TileId.parse(tiny_survey.TILE)
NAMES = ImageNames.of()
ROLES = ("image", "weight", "flag")


@pytest.fixture
def tree(tmp_path):
    """Return a tree with two exposures and a tile, the exposures two folders down."""
    deep = tmp_path / "archive" / "2016"
    deep.mkdir(parents=True)
    tiny_survey.write_survey(deep)
    return tmp_path / "archive"


@pytest.fixture
def target(tmp_path):
    folder = tmp_path / "got"
    folder.mkdir()
    return folder


def fetch(source, target, images=(TILE, FIRST, SECOND), roles=ROLES, **more):
    """Fetch without waiting; returns the outcome."""
    fetcher = Fetcher(NAMES, dict.fromkeys(roles, source), target, wait=0.0, **more)
    steps = []
    outcome = fetcher.fetch(images, lambda *step: steps.append(step))
    assert [step[:2] for step in steps] == [(i, len(images)) for i in range(1, len(images) + 1)]
    return outcome


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("make", [LocalTree, LinkedTree])
def test_all_files_come_and_come_only_once(tree, target, make):
    outcome = fetch(make(tree), target)
    assert (outcome.n_fetched, outcome.n_kept, outcome.failures) == (8, 0, {})
    assert names(target) == sorted(path.name for path in tree.rglob("*.f*") if path.is_file())
    for path in target.iterdir():
        check_fits(path)
        assert path.is_symlink() == (make is LinkedTree)
    before = {path: path.lstat().st_ino for path in target.iterdir()}
    outcome = fetch(make(tree), target)
    assert (outcome.n_fetched, outcome.n_kept, outcome.failures) == (0, 8, {})
    assert {path: path.lstat().st_ino for path in target.iterdir()} == before


def test_names_of_the_pipeline(tree, target):
    fetch(LocalTree(tree), target, images=(TILE, FIRST), pipeline_names=True)
    number = f"{FIRST}"
    assert names(target) == sorted(
        [f"{role}-{number}.fitsfz" for role in ROLES] + ["CFIS_image-241-293.fits", "CFIS_weight-241-293.fitsfz"]
    )


@pytest.mark.parametrize("make", [LocalTree, LinkedTree])
def test_what_fails_stops_nobody_and_leaves_nothing(tree, target, make):
    exposures = tree / "2016" / "exposures"
    tiny_survey.truncate(exposures / f"{FIRST}p.fits.fz", 0.6)
    (exposures / f"{FIRST}p.weight.fits.fz").unlink()
    outcome = fetch(make(tree), target, images=(9999999, FIRST, SECOND))
    assert list(outcome.failures) == [9999999, FIRST]
    assert len(outcome.failures[9999999]) == 3
    truncated, missing = outcome.failures[FIRST]
    assert f"{FIRST}p.fits.fz" in truncated and "truncated" in truncated and ".tmp" not in truncated
    assert f"{FIRST}p.weight.fits.fz is not below" in missing
    assert names(target) == sorted(
        [f"{FIRST}p.flag.fits.fz", *(f"{SECOND}p{r}.fits.fz" for r in ("", ".weight", ".flag"))]
    )
    assert all(path.exists() for path in target.iterdir())  # no dangling link


def test_a_file_that_ends_between_two_hdus_is_not_whole(tmp_path):
    path = tmp_path / "short.fits"
    planes = {ccd: tiny_survey.ccd_planes(FIRST, ccd)[0] for ccd in range(2)}
    tiny_survey.write_mosaic(path, planes)
    check_fits(path)
    with tiny_survey.fitsio.FITS(str(path), "rw") as file:
        file[0].write_key("NEXTEND", 4)
    with pytest.raises(DataError, match="2 extensions instead of the 4"):
        check_fits(path)
    with pytest.raises(DataError, match=f"{path.stat().st_size} bytes instead of 5"):
        check_fits(path, 5)
    path.write_bytes(b"<html>please log in</html>")
    with pytest.raises(DataError, match="not a FITS file"):
        check_fits(path)


def test_what_is_there_is_not_replaced_unless_asked(tree, target):
    mine = target / f"{FIRST}p.fits.fz"
    mine.write_text("mine")
    (target / f"{FIRST}p.weight.fits.fz").symlink_to(target / "elsewhere")
    outcome = fetch(LocalTree(tree), target, images=(FIRST,))
    assert [reason.split(" is already there")[0] for reason in outcome.failures[FIRST]] == [
        str(mine),
        str(target / f"{FIRST}p.weight.fits.fz"),
    ]
    assert mine.read_text() == "mine" and outcome.n_fetched == 1
    outcome = fetch(LocalTree(tree), target, images=(FIRST,), overwrite=True)
    assert (outcome.n_fetched, outcome.n_kept, outcome.failures) == (2, 1, {})
    check_fits(mine)


def test_a_copy_that_was_damaged_since_is_seen(tree, target):
    fetch(LocalTree(tree), target, images=(FIRST,))
    mine = target / f"{FIRST}p.fits.fz"
    data = bytearray(mine.read_bytes())
    data[:80] = b"x" * 80
    mine.write_bytes(data)
    outcome = fetch(LocalTree(tree), target, images=(FIRST,))
    assert "cannot be used" in outcome.failures[FIRST][0]
    assert fetch(LocalTree(tree), target, images=(FIRST,), overwrite=True).n_fetched == 1


def test_a_name_that_is_there_twice_is_an_error(tree, target):
    (tree / "copy").mkdir()
    (tree / "copy" / f"{FIRST}p.fits.fz").write_text("another")
    (tree / "loop").symlink_to(tree)  # is not walked for ever
    outcome = fetch(LinkedTree(tree), target, images=(FIRST,))
    assert "is there 2 times" in outcome.failures[FIRST][0]
    with pytest.raises(MissingInputError, match="correct --from"):
        LocalTree(tree / "nowhere")


def test_flags_that_need_not_be(tree, target):
    (tree / "2016" / "exposures" / f"{FIRST}p.flag.fits.fz").unlink()
    names_ = ImageNames(**{**vars(NAMES), "flag_required": False})
    outcome = Fetcher(names_, dict.fromkeys(ROLES, LocalTree(tree)), target, wait=0.0).fetch(
        [FIRST], lambda *step: None
    )
    assert outcome.without_flag == [FIRST] and not outcome.failures and outcome.n_fetched == 2


class NotFoundException(Exception):  # noqa: N818
    """As the client calls it."""


class UnauthorizedException(Exception):  # noqa: N818
    """As the client calls it."""


class Space:
    """A VOSpace in a folder with the client's interface, which fails as often as it is told to."""

    def __init__(self, folder, n_fail=0, refuse=False):
        self.folder, self.n_fail, self.refuse, self.calls = folder, n_fail, refuse, []

    def _path(self, uri):
        self.calls.append(uri)
        assert uri.startswith("vos:cfis/pitcairn/")
        if self.refuse:
            raise UnauthorizedException("no certificate")
        path = self.folder / uri.rpartition("/")[2]
        if not path.exists():
            raise NotFoundException(uri)
        return path

    def get_node(self, uri, limit=0, force=False):
        return types.SimpleNamespace(props={"length": str(self._path(uri).stat().st_size)})

    def copy(self, source, destination):
        data = self._path(source).read_bytes()
        if self.n_fail > 0:
            self.n_fail -= 1
            with open(destination, "wb") as file:  # noqa: PTH123 - as the client does
                file.write(data[: len(data) // 2])
            raise OSError("connection reset")
        with open(destination, "wb") as file:  # noqa: PTH123
            file.write(data)


def space(monkeypatch, folder, **more):
    """Install a client that sees a folder."""
    client = Space(folder, **more)
    module = types.ModuleType("vos")
    module.Client = lambda: client
    monkeypatch.setitem(sys.modules, "vos", module)
    return client, open_vospace("vos:cfis/pitcairn/")


def test_vospace_by_the_package(tree, target, monkeypatch):
    client, source = space(monkeypatch, tree / "2016" / "exposures", n_fail=2)
    outcome = fetch(source, target, images=(FIRST,))
    assert (outcome.n_fetched, outcome.failures) == (3, {})
    assert sum(uri.endswith(f"/{FIRST}p.fits.fz") for uri in client.calls) == 6  # found and copied, three times
    outcome = fetch(source, target, images=(FIRST,))
    assert (outcome.n_fetched, outcome.n_kept) == (0, 3)


def test_vospace_that_goes_on_failing(tree, target, monkeypatch):
    _, source = space(monkeypatch, tree / "2016" / "exposures", n_fail=3)
    outcome = fetch(source, target, images=(1111111, FIRST, SECOND), roles=("image",))
    assert list(outcome.failures) == [1111111, FIRST] and outcome.n_fetched == 1
    assert "does not exist" in outcome.failures[1111111][0]
    assert "connection reset" in outcome.failures[FIRST][0]
    assert names(target) == [f"{SECOND}p.fits.fz"]


def test_vospace_that_refuses_is_asked_once(tree, target, monkeypatch):
    client, source = space(monkeypatch, tree, refuse=True)
    outcome = fetch(source, target, images=(FIRST,), roles=("image",))
    assert "cadc-get-cert" in outcome.failures[FIRST][0] and len(client.calls) == 1


def command(tmp_path, monkeypatch, text):
    """Put a `vcp` on the path, and no package."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "vcp").write_text(f"#!/bin/sh\n{text}\n")
    (folder / "vcp").chmod(0o755)
    monkeypatch.setitem(sys.modules, "vos", None)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_vospace_by_the_command(tree, target, tmp_path, monkeypatch):
    exposures = tree / "2016" / "exposures"
    command(tmp_path, monkeypatch, f'echo "$1" >> {tmp_path}/said; cp "{exposures}/${{1##*/}}" "$2"')
    outcome = fetch(open_vospace("vos:a b;touch x/$HOME"), target, images=(FIRST, 1111111), roles=("image",), n_try=2)
    assert names(target) == [f"{FIRST}p.fits.fz"]
    assert "No such file" in outcome.failures[1111111][0]
    said = (tmp_path / "said").read_text().splitlines()
    assert said[0] == f"vos:a b;touch x/$HOME/{FIRST}p.fits.fz" and len(said) == 3  # the shell has seen none of it


def test_half_a_file_of_the_command_is_seen(tree, target, tmp_path, monkeypatch):
    exposures = tree / "2016" / "exposures"
    command(tmp_path, monkeypatch, f'head -c 9000 "{exposures}/${{1##*/}}" > "$2"')
    outcome = fetch(open_vospace("vos:cfis"), target, images=(FIRST,), roles=("image",))
    assert "truncated" in outcome.failures[FIRST][0] and f"vos:cfis/{FIRST}p.fits.fz" in outcome.failures[FIRST][0]
    assert names(target) == []


def test_without_the_client(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "vos", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineError, match=r"pip install 'shapempi\[vos\]'"):
        open_vospace("vos:cfis")
