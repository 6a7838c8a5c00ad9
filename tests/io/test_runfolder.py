"""The run folder: one run at a time, one configuration, one folder of parts per start."""

import errno
import fcntl
import os
import signal
import stat
import time

import pytest

from shapempi.errors import ConfigError
from shapempi.io.parts import PartWriter
from shapempi.io.runfolder import RunFolder
from shapempi.product import Product

# Newer Pythons warn of a fork where libraries have threads; these children use none of them.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def test_a_new_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    with RunFolder.open(tmp_path / "a" / "run", "d1") as folder:
        assert folder.job == "0001"
        assert (folder.path / "parts" / "0001").is_dir()
        assert stat.S_IMODE(folder.path.stat().st_mode) & 0o027 == 0  # nobody but the group looks in, and only looks
        folder.keep("plan.json", b"{}")
        folder.keep("plan.json", b"[]")
        assert (folder.path / "plan.json").read_bytes() == b"[]"
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    with RunFolder.open(tmp_path / "a" / "run", "d1") as folder:
        assert folder.job == "0002-slurm77"
    with RunFolder.open(tmp_path / "a" / "run", "d1") as folder:  # a requeued job has the same id
        assert folder.job == "0003-slurm77"


def test_a_second_run_is_refused_and_says_who_is_there(tmp_path):
    with RunFolder.open(tmp_path, "d1"):
        with pytest.raises(ConfigError, match=rf"in use by process {os.getpid()} on .*: two runs cannot write"):
            RunFolder.open(tmp_path, "d1")
        assert sorted(path.name for path in (tmp_path / "parts").iterdir()) == ["0001"]
    RunFolder.open(tmp_path, "d1").close()


def test_a_killed_run_leaves_no_lock(tmp_path):
    pid = os.fork()
    if pid == 0:
        RunFolder.open(tmp_path, "d1")
        time.sleep(60)
        os._exit(0)
    while not (tmp_path / "parts" / "0001").exists():
        time.sleep(0.01)
    with pytest.raises(ConfigError, match=f"in use by process {pid} "):
        RunFolder.open(tmp_path, "d1")
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    with RunFolder.open(tmp_path, "d1") as folder:
        assert folder.job == "0002"


def test_a_file_system_without_locks_gives_a_warning(tmp_path, monkeypatch, caplog):
    def flock(descriptor, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with RunFolder.open(tmp_path, "d1"):
        assert "has no file locks" in caplog.text


def test_results_of_two_configurations_are_not_mixed(tmp_path):
    with RunFolder.open(tmp_path, "d1"):
        pass
    with RunFolder.open(tmp_path, "d2") as folder:  # nothing was made yet: the folder changes sides
        PartWriter(tmp_path, folder.job, 1, digest="d2").commit("u", Product())
    with pytest.raises(ConfigError, match="units made with another configuration") as caught:
        RunFolder.open(tmp_path, "d3")
    assert "Choose a new run.folder" in str(caught.value)
    with RunFolder.open(tmp_path, "d2") as folder:
        assert folder.job == "0003"


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="file/run cannot be written: Not a directory; choose another folder"):
        RunFolder.open(tmp_path / "file" / "run", "d1")


@pytest.mark.parametrize("what", ["mkdir", "open", "write"])
def test_a_read_only_file_system(tmp_path, monkeypatch, what):
    """Root may write anywhere, so the refusal is made here."""

    def refuse(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    target = {"mkdir": "pathlib.Path.mkdir", "open": "os.open", "write": "os.write"}[what]
    with monkeypatch.context() as patch:
        patch.setattr(target, refuse)
        with pytest.raises(ConfigError, match=r"cannot be written: Read-only file system; .*\(run.folder\)"):
            RunFolder.open(tmp_path / "run", "d1")
    RunFolder.open(tmp_path / "run", "d1").close()  # and holds nothing
