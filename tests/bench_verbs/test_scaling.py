"""What is read from runs on different numbers of ranks, and how they are started."""

import json
import os
import shlex
import sys
from pathlib import Path

import pytest
from mpi.launch import mpiexec

from shapempi import cli
from shapempi.config import load
from shapempi.errors import ConfigError, DataError, MeasurementError
from shapempi.io.journal import Journal, write_status
from shapempi.report.scaling import Scaling, ScalingRun
from shapempi.scaling import Launcher, grown, placed

CONFIG = Path(__file__).parents[2] / "configs" / "scaling.toml"


def unit(uid, elapsed, **more):
    values = {"uid": uid, "kind": "ccd", "state": "done", "elapsed": elapsed, "cpu": elapsed / 2}
    return {**values, "rank": 1, "restored": False, **more}


def write_run(folder, units, n_rank=3, **status):
    """Write the journal of a run: `units` are pairs of a time and an outcome."""
    times = iter([100.0, *(when for when, _ in units), 190.0])
    folder.mkdir()
    with Journal(folder, clock=lambda: next(times)) as journal:
        journal.write("start", {"n_rank": n_rank})
        for _, outcome in units:
            journal.write("unit", outcome)
        journal.write("stop", {"exit_code": 0})
    write_status(folder, {"time": 190.0, "n_rank": n_rank, "exit_code": 0, **status})
    return folder


def test_a_journal_by_hand(tmp_path):
    units = [
        (112.0, unit("ccd:1-0", 7.0)),  # 105 to 112
        (114.0, unit("ccd:1-1", 10.0, rank=2)),  # 104 to 114: the first assignment
        (114.0, unit("tile:1", 0.0, rank=-1, state="blocked")),  # nobody did it
        (124.0, unit("ccd:1-2", 9.0, rank=2)),
        (120.0, unit("ccd:1-3", 6.0, state="failed")),
    ]
    run = ScalingRun.read(write_run(tmp_path / "run", units), n_worker=2, n_tile=4, command=30.0)
    assert (run.n_worker, run.n_tile, run.n_unit, run.command) == (2, 4, 3, 30.0)
    assert run.span == pytest.approx(20.0)
    assert run.busy == pytest.approx(32.0)
    assert run.cpu == pytest.approx(16.0)
    assert run.busy_fraction == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("units", "status", "message"),
    [
        ([(110.0, unit("ccd:1-0", 7.0))], {"exit_code": None}, "has not ended"),
        ([(110.0, unit("ccd:1-0", 7.0))], {"n_rank": 1}, "had 1 ranks, not 3"),
        ([(110.0, unit("ccd:1-0", 7.0)), (111.0, unit("x", 0.0, rank=-1, restored=True))], {}, "fresh folder"),
        ([(110.0, unit("tile:1", 0.0, rank=-1, state="blocked"))], {}, "no unit was done"),
    ],
)
def test_a_run_that_tells_nothing_is_refused(tmp_path, units, status, message):
    folder = write_run(tmp_path / "run", units, **status)
    with pytest.raises(DataError, match=message):
        ScalingRun.read(folder, n_worker=2, n_tile=1, command=1.0)
    with pytest.raises(DataError, match="has not ended"):
        ScalingRun.read(tmp_path, n_worker=2, n_tile=1, command=1.0)


def run_of(n_worker, n_tile, span):
    return ScalingRun(n_worker, n_tile, n_unit=10, span=span, command=span + 5, busy=0.9 * n_worker * span, cpu=1.0)


def test_strong_scaling_by_hand(tmp_path):
    scaling = Scaling((run_of(1, 2, 100.0), run_of(4, 2, 40.0)), weak=False, n_core=2)
    assert [scaling.speed_up(run) for run in scaling.runs] == pytest.approx([1.0, 2.5])
    assert [scaling.efficiency(run) for run in scaling.runs] == pytest.approx([1.0, 0.625])
    text = "\n".join(scaling.lines())
    assert "| 4 | 2 | 40.0 | 45.0 | 10 | 0.900 | 1.0 | 2.50 | 0.62 |" in text
    assert "more workers than cores: 4" in text
    scaling.draw(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads(json.dumps(scaling.as_dict()))["runs"][1]["speed_up"] == pytest.approx(2.5)
    # Without a run of one worker the smallest one is what the others are compared with.
    scaling = Scaling((run_of(2, 2, 60.0), run_of(4, 2, 40.0)), weak=False, n_core=8)
    assert [scaling.speed_up(run) for run in scaling.runs] == pytest.approx([2.0, 3.0])
    assert not any("more workers" in line for line in scaling.lines())


def test_weak_scaling_by_hand():
    scaling = Scaling((run_of(1, 2, 100.0), run_of(4, 8, 125.0)), weak=True, n_core=2)
    assert [scaling.efficiency(run) for run in scaling.runs] == pytest.approx([1.0, 0.8])
    assert [scaling.speed_up(run) for run in scaling.runs] == pytest.approx([1.0, 3.2])


def test_a_survey_grows_by_tiles_far_from_each_other():
    settings = load(CONFIG)
    assert grown(settings, 1) == settings
    simulation = grown(settings, 3).simulation
    assert simulation.tiles == ("241.293", "245.293", "249.293", "253.293", "257.293", "261.293")
    assert simulation.model_copy(update={"tiles": settings.simulation.tiles}) == settings.simulation
    with pytest.raises(ConfigError, match=r"no place east of 241\.293"):
        grown(settings, 100)


def test_survey_and_run_can_be_placed_elsewhere(tmp_path):
    settings = placed(load(CONFIG), tmp_path / "survey", tmp_path / "run")
    assert settings.input.exposure_folder == tmp_path / "survey" / "exposures"
    assert settings.input.star_catalogue == tmp_path / "survey" / "star_catalogue.fits"
    assert settings.run.folder == tmp_path / "run"
    assert settings.digest() != load(CONFIG).digest()


def python_as_launcher(code):
    return f"{shlex.quote(sys.executable)} -c {shlex.quote(code)} {{n}}"


def test_a_launcher_gets_its_words_as_they_are(tmp_path):
    text = python_as_launcher("import sys; print(sys.argv[1:])") + " '-n={n}' '$HOME; echo *'"
    seconds = Launcher.parse(text, 60.0).run(5, ["run", "a b.toml"], tmp_path / "log")
    assert seconds > 0
    words = ["5", "-n=5", "$HOME; echo *", sys.executable, "-m", "shapempi", "run", "a b.toml"]
    assert (tmp_path / "log").read_text().strip() == str(words)


def test_a_command_that_fails_or_does_not_end(tmp_path):
    log = tmp_path / "log"
    with pytest.raises(MeasurementError, match=r"log: .* ended with exit code 3"):
        Launcher.parse(python_as_launcher("import sys; sys.exit(3)"), 60.0).run(2, [], log)
    code = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    with pytest.raises(MeasurementError, match="did not end within 3 s"):
        Launcher.parse(python_as_launcher(code), 3.0).run(2, [], log)
    with pytest.raises(ProcessLookupError):
        os.kill(int(log.read_text()), 0)


@pytest.mark.parametrize("text", ["", "mpirun -n 4", "mpirun '-n {n}", "no-such-launcher -n {n}"])
def test_what_is_no_launcher_is_refused(text):
    with pytest.raises(ConfigError, match="--launcher"):
        Launcher.parse(text, 60.0)


WRONG = [
    (["--ranks=0"], "--ranks"),
    (["--ranks=1,two"], "--ranks"),
    (["--deadline=0"], "--deadline"),
    (["--launcher=mpirun -n 4"], "--launcher"),
    (["--json=no/such/folder/file"], "--json"),
    (["--figure=no/such/folder/file.png"], "--figure"),
]


@pytest.mark.parametrize(("arguments", "named"), WRONG, ids=lambda value: str(value))
def test_what_cannot_be_done_is_said(arguments, named, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    launcher = [] if "--launcher" in named else [f"--launcher={mpiexec()} -n {{n}}"]
    assert cli.main(["bench", "scaling", str(CONFIG), *launcher, *arguments]) == 2
    assert named in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_used_is_left_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scaling").mkdir()
    (tmp_path / "scaling" / "mine").write_text("precious")
    arguments = ["bench", "scaling", str(CONFIG), f"--launcher={mpiexec()} -n {{n}}"]
    assert cli.main(arguments) == 2
    assert "is not empty" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "scaling").iterdir()] == ["mine"]
    demo = CONFIG.with_name("survey.toml")
    assert cli.main(["bench", "scaling", str(demo), *arguments[3:]]) == 2
    assert "no table [simulation]" in capsys.readouterr().err


def test_it_starts_its_ranks_itself(monkeypatch, capsys):
    monkeypatch.setenv("PMI_SIZE", "2")
    assert cli.main(["bench", "scaling", str(CONFIG)]) == 2
    assert "without a launcher" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("weak", [False, True], ids=["strong", "weak"])
def test_real_runs(weak, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = CONFIG.read_text().replace("tile_size = 1200", "tile_size = 400").replace(', "245.293"', "")
    Path("small.toml").write_text(text.replace("n_exposure = 3", "n_exposure = 1"))
    arguments = ["small.toml", "--ranks", "1,2", "--deadline", "120", "--json", "out.json", "--figure", "out.png"]
    more = ["--weak"] if weak else []
    assert cli.main(["bench", "scaling", *arguments, *more, f"--launcher={mpiexec()} -n {{n}}"]) == 0
    assert "| 2 |" in capsys.readouterr().out
    found = json.loads(Path("out.json").read_text())
    first, second = found["runs"]
    assert (first["n_worker"], second["n_worker"]) == (1, 2)
    assert (first["n_tile"], second["n_tile"]) == (1, 2 if weak else 1)
    assert (second["n_unit"] > first["n_unit"]) if weak else (second["n_unit"] == first["n_unit"])
    assert all(0 < run["busy_fraction"] <= 1.01 for run in found["runs"])
    assert all(0 < run["span"] < run["command"] for run in found["runs"])
    assert Path("out.png").exists()
    assert len(list(Path("scaling").glob("survey*"))) == (2 if weak else 1)
