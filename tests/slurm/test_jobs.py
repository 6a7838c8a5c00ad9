"""The scripts that `shapempi jobscript` writes, submitted to a real Slurm by sbatch."""

import json

from chain.program import verb
from chain.tiny import configure, differences, last_job, place


def write_script(folder, *arguments):
    """Make a script in a folder; return its path."""
    result = verb(folder, "jobscript", *arguments, "--output", "job.sbatch")
    assert result.code == 0, result
    return folder / "job.sbatch"


def logs(folder):
    """Return what the jobs of a folder printed."""
    return "\n".join(log.read_text(errors="replace") for log in sorted(folder.glob("shapempi-*.log")))


def test_a_run_on_two_nodes_is_measured_gathered_and_reported(cluster, site, reference, survey, tmp_path):
    folder = place(survey, tmp_path)
    described = site()
    script = write_script(folder, "chain.toml", "--site", described, "--nodes", 2, "--time", "0:20:00")
    job = cluster.submit(script)
    assert cluster.wait_for_end(job) == "COMPLETED", logs(folder)
    assert cluster.job(job)["ExitCode"] == "0:0"
    assert json.loads((folder / "run" / "status.json").read_text())["n_rank"] == 4
    hosts = {outcome["host"] for outcome in last_job(folder).values()}
    assert len(hosts) == 2 and hosts <= {"n1", "n2", "n3"}
    assert differences(folder, reference) == []
    assert (folder / "run" / "report" / "report.txt").exists()
    assert list(described.parent.iterdir()) == [described]  # the job's temporary folder has gone


def test_an_array_of_patches_is_gathered_when_all_are_complete(cluster, site, reference, survey, tmp_path):
    folder = place(survey, tmp_path)
    names = []
    for patch in ("north", "the south"):
        path = configure(folder, ('folder = "run"', f'folder = "{patch}/run"'))
        names.append(path.rename(folder / f"{patch}.toml").name)
        (folder / patch).mkdir()
    (folder / "patches.txt").write_text("".join(f"{name}\n" for name in names))
    script = write_script(folder, "patches.txt", "--site", site(), "--array", 2, "--nodes", 1, "--time", "0:20:00")
    array = cluster.submit(script)
    gather = cluster.submit(folder / "gather.sbatch", f"--dependency=afterok:{array}", "--kill-on-invalid-dep=yes")
    assert cluster.state(gather) == "PENDING"
    assert cluster.wait_for_end(array) == "COMPLETED", logs(folder)
    assert len(cluster.states(array)) == 2
    assert cluster.wait_for_end(gather) == "COMPLETED", logs(folder)
    for patch in ("north", "the south"):
        assert differences(folder / patch, reference) == []


def test_the_gathering_waits_for_ever_for_a_patch_that_failed_unless_it_is_told_to_leave(
    cluster, site, survey, tmp_path
):
    folder = place(survey, tmp_path)
    (folder / "patches.txt").write_text("chain.toml\n")
    script = write_script(folder, "patches.txt", "--site", site(), "--array", 1, "--nodes", 1, "--time", "0:20:00")
    (folder / "chain.toml").unlink()
    array = cluster.submit(script)
    gather = cluster.submit(folder / "gather.sbatch", f"--dependency=afterok:{array}", "--kill-on-invalid-dep=yes")
    assert cluster.wait_for_end(array) == "FAILED"
    assert cluster.job(array)["ExitCode"] == "2:0"
    assert cluster.wait_for_end(gather) == "CANCELLED"
    assert "chain.toml: cannot read the configuration" in logs(folder)


def test_ranks_that_do_not_find_each_other_are_refused(cluster, site, survey, tmp_path):
    folder = place(survey, tmp_path)
    launcher = "srun --mpi=none --kill-on-bad-exit=0"
    script = write_script(folder, "chain.toml", "--site", site(launcher=launcher), "--nodes", 2, "--time", "0:20:00")
    job = cluster.submit(script)
    assert cluster.wait_for_end(job) == "FAILED"
    assert cluster.job(job)["ExitCode"] == "2:0"
    text = logs(folder)
    assert "shapempi: the launcher started 4 processes (SLURM_STEP_NUM_TASKS), but each of them is alone" in text
    assert not (folder / "run").exists()


def test_a_benchmark_of_one_and_two_nodes(cluster, site, tmp_path):
    configure(tmp_path, ('folder = "run"', 'folder = "scaling"'))
    script = write_script(tmp_path, "chain.toml", "--site", site(), "--bench", "--nodes", 2, "--time", "0:20:00")
    job = cluster.submit(script)
    assert cluster.wait_for_end(job, 400.0) == "COMPLETED", "".join(p.read_text() for p in tmp_path.glob("*.log"))
    numbers = json.loads((tmp_path / f"scaling-{job}.json").read_text())
    assert [run["n_worker"] for run in numbers["runs"]] == [1, 3]
    assert (tmp_path / f"scaling-{job}.png").stat().st_size > 10_000
    assert "speed-up" in (tmp_path / f"shapempi-bench-{job}.log").read_text()
