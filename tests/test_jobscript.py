"""Job scripts: those that we deliver, what is filled in, and that bash understands whatever paths have in them."""

import shutil
import subprocess
from pathlib import Path

import pytest

from shapempi.cli import main
from shapempi.job_size import JobSize
from shapempi.jobscript import Job, array_script, bench_script, gather_script, job_script
from shapempi.site import read_site, site_names

JOBSCRIPTS = Path(__file__).parents[1] / "jobscripts"

#: The scripts that we deliver, and the options that make them.
EXAMPLES = {
    "laptop.sh": ["--site", "laptop"],
    "canfar.sh": ["--site", "canfar"],
    "slurm.sbatch": ["--site", "slurm"],
    "perlmutter.sbatch": ["--site", "perlmutter"],
    "jean-zay.sbatch": ["--site", "jean-zay"],
    "cc-in2p3.sbatch": ["--site", "cc-in2p3"],
    "array.sbatch": ["--site", "slurm", "--array", "8"],
    "bench.sbatch": ["--site", "slurm", "--bench", "--nodes", "8"],
}

SIZE = JobSize(nodes=2, ranks_per_node=8, seconds=7200)


def check(path, *options):
    """Have bash, and shellcheck if it is there, read a script."""
    subprocess.run(["bash", "-n", path], check=True)
    if shutil.which("shellcheck"):
        result = subprocess.run(
            ["shellcheck", "--shell=bash", *options, path], capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, result.stdout


def test_every_site_has_an_example():
    assert {options[1] for options in EXAMPLES.values()} == set(site_names())
    assert {path.name for path in JOBSCRIPTS.iterdir()} == {*EXAMPLES, "gather.sbatch"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_what_the_code_makes(tmp_path, name):
    assert main(["jobscript", *EXAMPLES[name], "--output", str(tmp_path / name)]) == 0
    made = sorted(tmp_path.iterdir())
    assert [path.name for path in made] == ([name, "gather.sbatch"] if name == "array.sbatch" else [name])
    for path in made:
        again = f"make it anew: shapempi jobscript {' '.join(EXAMPLES[name])} --output jobscripts/{name} --overwrite"
        assert (JOBSCRIPTS / path.name).read_text() == path.read_text(), again
        check(path)


def test_what_a_script_asks_for():
    text = job_script(read_site("cc-in2p3"), Job(SIZE, Path("patch.toml"), Path("out")))
    lines = text.splitlines()
    for option in (
        "--nodes=2",
        "--ntasks-per-node=8",
        "--mem-per-cpu=1536M",
        "--time=2:00:00",
        "--signal=B:USR1@300",
        "--open-mode=append",
        "--requeue",
        "--partition=htc",
        "-L sps",
    ):
        assert f"#SBATCH {option}" in lines
    asked = [index for index, line in enumerate(lines) if line.startswith("#SBATCH")]
    assert all(line.startswith("#") for line in lines[: asked[-1]])  # sbatch stops reading at the first command
    assert "@{" not in text
    assert "--mem" not in job_script(read_site("jean-zay"), Job(SIZE, Path("patch.toml")))
    assert 'TMPDIR="$JOBSCRATCH"/shapempi-' in job_script(read_site("jean-zay"), Job(SIZE, Path("patch.toml")))


STRANGE = ["a b", "it's", 'a "b"', "$(touch pwned)", "`touch pwned`", "-n", "a;touch pwned", "ä*?"]


@pytest.mark.parametrize("name", STRANGE)
def test_a_path_is_a_path_whatever_is_in_it(tmp_path, name):
    work, programs = tmp_path / f"work {name}", tmp_path / f"bin {name}"
    work.mkdir()
    programs.mkdir()
    said = tmp_path / "said"
    command = programs / "shapempi"  # writes down how it was called
    command.write_text(f'#!/bin/sh\nprintf "%s\\n" "$PWD" "$@" >>"{said}"\ncase $1 in run) mkdir ./"$2".run;; esac\n')
    command.chmod(0o755)
    here = programs / "mpirun"
    here.write_text('#!/bin/sh\nshift 2\nexec "$@"\n')
    here.chmod(0o755)
    job = Job(JobSize(1, 3, 3600), Path(name), Path(f"./{name}.run"), folder=work, programs=programs)
    script = tmp_path / "job.sh"
    script.write_text(job_script(read_site("laptop"), job))
    check(script, "--exclude=SC2016")  # $ in single quotes is what is meant
    subprocess.run(["bash", script], check=True, cwd=tmp_path, timeout=30)
    safe = f"./{name}" if name.startswith("-") else name
    run = f"{safe}.run"
    assert said.read_text().splitlines() == [
        *(str(work), "run", safe),
        *(str(work), "status", run, "--exit-code"),
        *(str(work), "gather", run),
        *(str(work), "report", run),
    ]
    assert not list(tmp_path.rglob("pwned"))
    slurm = read_site("slurm")
    texts = [job_script(slurm, job), bench_script(slurm, job)]
    texts += [array_script(slurm, job, 3, name=name, gather=name), gather_script(slurm, job, 3, name=name, gather=name)]
    for text in texts:
        script.write_text(text)
        check(script, "--exclude=SC2016")  # $ in single quotes is what is meant


def refused(capsys, *arguments):
    """Return what is said of a command line that is refused."""
    assert main(["jobscript", *map(str, arguments)]) == 2
    return capsys.readouterr().err


def test_the_sites_are_listed(capsys):
    assert main(["jobscript", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == site_names()


def test_a_wrong_command_line_is_refused(capsys, tmp_path):
    assert "say where it runs: --site NAME, one of canfar, " in refused(capsys)
    assert "did you mean 'slurm'?" in refused(capsys, "--site", "slrum")
    assert "has jobs of 1 to 1 nodes" in refused(capsys, "--site", "laptop", "--nodes", 2)
    assert "there is no batch system that would end a job" in refused(capsys, "--site", "laptop", "--time", "1:00:00")
    assert "choose a site with Slurm" in refused(
        capsys, "--site", "laptop", "--array", 2, "--output", tmp_path / "array.sh"
    )
    assert "a benchmark needs `srun`" in refused(capsys, "--site", "canfar", "--bench")
    assert "say where with --output" in refused(capsys, "--site", "slurm", "--array", 2)
    assert "at least one job" in refused(capsys, "--site", "slurm", "--array", 0, "--output", tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten_without_being_asked(capsys, tmp_path):
    script = tmp_path / "array.sbatch"
    arguments = ["--site", "slurm", "--array", "2", "--output", str(script)]
    gather = tmp_path / "gather.sbatch"
    gather.write_text("mine")
    assert f"{gather} is already there; give --overwrite" in refused(capsys, *arguments)
    assert not script.exists() and gather.read_text() == "mine"
    assert main(["jobscript", *arguments, "--overwrite"]) == 0
    assert f"{script} is already there; give --overwrite" in refused(capsys, "--site", "slurm", "--output", script)


def test_a_list_of_patches_must_fit(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    needed = '[input]\nexposure_folder = "e"\ntile_folder = "t"\n[run]\nfolder = '
    Path("a.toml").write_text(f'{needed}"r"\n')
    Path("b.toml").write_text(f'{needed}"./r"\n')
    array = ["--site", "slurm", "--array", 2, "--output", "array.sbatch"]
    for text, complaint in (
        ("a.toml\n", "has 1 lines, but --array 2 needs one configuration for each job"),
        ("a.toml\n\n", "line 2 is empty"),
        ("a.toml\nb.toml\n", "a.toml and b.toml have the same run folder"),
        ("a.toml\nc.toml\n", "c.toml: cannot read the configuration"),
    ):
        Path("patches.txt").write_text(text)
        assert complaint in refused(capsys, "patches.txt", *array)
    assert "nowhere.txt: the list of configurations cannot be read" in refused(capsys, "nowhere.txt", *array)
    assert not Path("array.sbatch").exists()
