import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from shapempi.engines.program import Program, private_folder
from shapempi.errors import EngineError


def make_program(folder, body, name="tool"):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def find(*names):
    return Program.find(names, setting="tool.program", cure="apt install tool")


@pytest.fixture
def run(tmp_path):
    """Run a script of this body; what else it needs is by keyword."""

    def run(body, *arguments, timeout=20.0):
        path = make_program(tmp_path, f'[ "$1" = -v ] && echo "tool version 1.2" && exit 0\n{body}')
        return find(str(path)).run(arguments, folder=tmp_path, timeout=timeout)

    return run


def test_a_program_is_found_by_name_or_path(tmp_path, monkeypatch):
    path = make_program(tmp_path, 'echo "tool version 3.4.5 (2026-01-01)"')
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert find("tool") == find("other-name", "tool") == find(str(path))
    assert (find("tool").path, find("tool").version) == (str(path), "3.4.5")


def test_a_program_that_does_not_say_its_version_is_used_all_the_same(tmp_path):
    assert find(str(make_program(tmp_path, "exit 3"))).version == "unknown"


def test_a_missing_program_says_how_to_get_it(tmp_path):
    with pytest.raises(EngineError, match=r"no-such-tool or nor-this \(tool.program\).*apt install tool"):
        find("no-such-tool", "nor-this")
    (tmp_path / "text").write_text("not executable")
    with pytest.raises(EngineError, match="apt install tool"):
        find(str(tmp_path / "text"))


def test_a_file_that_is_no_program_says_how_to_get_it(tmp_path):
    path = tmp_path / "broken"
    path.write_bytes(b"\x7fELF rubbish")
    path.chmod(0o755)
    with pytest.raises(EngineError, match=r"broken .*cannot be started.*apt install tool"):
        find(str(path))


def test_code_and_messages_are_kept_apart(run):
    finished = run("echo fine; echo; echo '> bad thing' >&2; exit 7")
    assert (finished.code, finished.stdout, finished.stderr) == (7, "fine\n\n", "> bad thing\n")
    assert finished.complaint() == "bad thing"


def test_a_complaint_is_short_and_without_colours(run):
    assert run(r"printf '\033[1A\033[1M> one\n two \n\nthree\nfour\n'").complaint() == "two; three; four"
    assert run("exit 0").complaint() == "it said nothing"


def test_arguments_are_not_for_a_shell(run, tmp_path):
    finished = run('printf "%s|" "$@"', "a b", "; touch gone", "$(touch gone)", "*")
    assert finished.stdout == "a b|; touch gone|$(touch gone)|*|"
    assert not (tmp_path / "gone").exists()


def test_the_environment_has_one_thread_and_what_mpi_put_there(run, monkeypatch):
    monkeypatch.setenv("PMI_RANK", "3")
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    assert run("echo $PMI_RANK $OMP_NUM_THREADS $LC_ALL").stdout == "3 1 C\n"


def test_much_output_neither_blocks_nor_fills_the_memory(run):
    finished = run("i=0; while [ $i -lt 20000 ]; do echo 0123456789; i=$((i+1)); done; echo end")
    assert finished.stdout.endswith("0123456789\nend\n")
    assert len(finished.stdout) == 20_000


def test_a_program_that_hangs_is_killed_with_all_that_it_started(run, tmp_path):
    start = time.monotonic()
    with pytest.raises(EngineError, match=r"tool .*not ended after 0.5 s.*tool.program"):
        run(f"sleep 60 & echo $! > {tmp_path}/child; sleep 60", timeout=0.5)
    assert time.monotonic() - start < 10
    child = int((tmp_path / "child").read_text())
    for _ in range(100):  # the kernel needs a moment
        if state_of(child) in ("", "Z"):
            return
        time.sleep(0.05)
    pytest.fail(f"process {child} still runs")


def state_of(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return ""
    status = Path(f"/proc/{process}/stat")
    return status.read_text().rsplit(")", 1)[1].split()[0] if status.exists() else "R"


def test_a_program_that_crashes_is_named_with_its_signal(run):
    with pytest.raises(EngineError, match=r"tool .*version 1.2.* killed by SIGSEGV: last words; .*apt install tool"):
        run("echo last words >&2; kill -SEGV $$")


def test_a_private_folder_is_private_and_gone_afterwards(tmp_path):
    with private_folder(tmp_path) as folder:
        assert folder.parent == tmp_path
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        (folder / "deep").mkdir()
        (folder / "deep" / "file").write_text("x")
    assert list(tmp_path.iterdir()) == []


def test_a_private_folder_is_in_tmpdir(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with private_folder() as folder:
        assert folder.parent == tmp_path


def interrupted(signum, frame):
    raise KeyboardInterrupt


def test_an_interrupted_run_leaves_neither_folder_nor_program(tmp_path):
    program = find(
        str(make_program(tmp_path, f'[ "$1" = -v ] || echo $$ > {tmp_path}/pid; sleep 0.2; [ "$1" = -v ] || sleep 60'))
    )
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    before = signal.signal(signal.SIGALRM, interrupted)
    signal.setitimer(signal.ITIMER_REAL, 1.0)
    try:
        with pytest.raises(KeyboardInterrupt), private_folder(scratch) as folder:
            program.run([], folder=folder, timeout=60)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert list(scratch.iterdir()) == []
    assert state_of(int((tmp_path / "pid").read_text())) in ("", "Z")


TERMINATED = """
import sys
from pathlib import Path
from shapempi.engines.program import Program, private_folder

program = Program.find([sys.argv[1]], setting="tool.program", cure="")
with private_folder(Path(sys.argv[2])) as folder:
    print("ready", flush=True)
    program.run([], folder=folder, timeout=60)
"""


def test_a_terminated_run_leaves_neither_folder_nor_program(tmp_path):
    body = f'[ "$1" = -v ] && exit 0\necho $$ > {tmp_path}/new; mv {tmp_path}/new {tmp_path}/pid; sleep 60'
    path = make_program(tmp_path, body)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    command = [sys.executable, "-c", TERMINATED, str(path), str(scratch)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        while not (tmp_path / "pid").exists():
            time.sleep(0.02)
        process.terminate()
        assert process.wait(20) == -signal.SIGTERM
    assert list(scratch.iterdir()) == []
    assert state_of(int((tmp_path / "pid").read_text())) in ("", "Z")


def test_the_handling_of_termination_is_as_before_afterwards(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    with private_folder(tmp_path):
        pass
    assert signal.getsignal(signal.SIGTERM) is before
    own = []
    signal.signal(signal.SIGTERM, lambda *_: own.append(1))
    try:
        with private_folder(tmp_path):
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert own == [1]


def test_a_scratch_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(EngineError, match="no-such-folder"), private_folder(tmp_path / "no-such-folder"):
        pass
