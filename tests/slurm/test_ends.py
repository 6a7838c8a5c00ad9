"""How a job ends before its run does, on a real Slurm: the time limit, a lost node, a lost rank."""

import json
import re

from chain.program import verb
from chain.tiny import committed, differences, place
from slurm.test_jobs import logs, write_script

from shapempi.fault import VARIABLE
from shapempi.io.journal import read_journal
from shapempi.selftest.launch import runs

#: Every unit takes eight seconds more, so that a job has to end before the run.
SLOW = {VARIABLE: "slow:begin:*:9999"}


def small_blocks(drain_margin=5.0):
    return "block_size = 25\n", f"block_size = 4\ndrain_margin = {drain_margin}\nbeat = 1.0\nsilence = 15.0\n"


def jobs_of(cluster, folder):
    """Return all jobs that a folder's log files tell of."""
    found = {re.search(r"shapempi-(\d+)\.log", log.name)[1] for log in folder.glob("shapempi-*.log")}
    return sorted(found, key=int)


def test_the_time_limit_drains_and_the_script_submits_itself_until_all_is_done(
    cluster, site, reference, survey, tmp_path
):
    folder = place(survey, tmp_path, small_blocks())
    described = site(drain=50)
    script = write_script(folder, "chain.toml", "--site", described, "--nodes", 2, "--time", "0:02:00")
    first = cluster.submit(script, **SLOW)
    cluster.wait_for_end(first, 200.0)
    assert cluster.job(first)["ExitCode"] == "10:0", logs(folder)
    done = committed(folder)
    assert done
    assert "no more units are given out: SIGUSR1" in logs(folder)

    def complete():
        jobs = jobs_of(cluster, folder)
        ended = all(cluster.state(job) not in ("PENDING", "RUNNING", "COMPLETING") for job in jobs)
        return ended and ("exit code 0" in logs(folder) or len(jobs) > 8)

    cluster.wait(complete, "the end of the last job", 500.0)
    jobs = jobs_of(cluster, folder)
    assert len(jobs) > 1
    assert [cluster.job(job)["ExitCode"] for job in jobs] == ["10:0"] * (len(jobs) - 1) + ["0:0"], logs(folder)
    starts = [event for event in read_journal(folder / "run")[0] if event["event"] == "start"]
    assert len(starts) == len(jobs)
    assert done < committed(folder)
    assert differences(folder, reference) == []


def test_a_job_without_progress_is_not_followed_by_another(cluster, site, survey, tmp_path):
    folder = place(survey, tmp_path, small_blocks(drain_margin=3600.0))  # nothing can be begun
    script = write_script(folder, "chain.toml", "--site", site(), "--nodes", 1, "--time", "0:02:00")
    job = cluster.submit(script)
    cluster.wait_for_end(job)
    assert cluster.job(job)["ExitCode"] == "10:0"
    assert "nothing was finished in this job, so another would not help" in logs(folder)
    assert jobs_of(cluster, folder) == [job]


def test_a_lost_node_has_slurm_start_the_job_again(cluster, site, reference, survey, tmp_path):
    folder = place(survey, tmp_path, small_blocks())
    script = write_script(folder, "chain.toml", "--site", site(), "--nodes", 2, "--time", "0:20:00")
    job = cluster.submit(script, **SLOW)
    cluster.wait(lambda: len(committed(folder)) > 2, "commits")
    node = cluster.job(job)["NodeList"].replace("n[1-2]", "n2").replace("n[2-3]", "n3").replace("n[1,3]", "n3")
    (folder / "run" / "faults").rename(folder / "faults-before")  # from here on as fast as it can
    cluster.node_down(node)
    try:
        cluster.wait(lambda: int(cluster.job(job)["Restarts"]) > 0, "a restart", 120.0)
    finally:
        cluster.node_up(node)
    assert cluster.wait_for_end(job, 400.0) == "COMPLETED", logs(folder)
    starts = [event for event in read_journal(folder / "run")[0] if event["event"] == "start"]
    assert len(starts) == 2
    assert differences(folder, reference) == []


def test_srun_keeps_the_run_alive_when_a_rank_dies(cluster, site, reference, survey, tmp_path):
    folder = place(survey, tmp_path, small_blocks())
    script = write_script(folder, "chain.toml", "--site", site(), "--nodes", 2, "--time", "0:20:00")
    job = cluster.submit(script, **{VARIABLE: "kill-rank:begin:block:*:1"})
    assert cluster.wait_for_end(job) == "COMPLETED", logs(folder)
    assert cluster.job(job)["ExitCode"] == "0:0"
    events = read_journal(folder / "run")[0]
    (lost,) = [event for event in events if event["event"] == "lost"]
    assert "nothing was heard of it for 15 s" in lost["reason"]
    (start,) = [event for event in events if event["event"] == "start"]
    assert json.loads((folder / "run" / "status.json").read_text())["exit_code"] == 0
    assert start["n_rank"] == 4
    assert differences(folder, reference) == []
    assert verb(folder, "status", "run", "--exit-code").code == 0


def test_scancel_asks_the_run_to_drain(cluster, site, reference, survey, tmp_path):
    folder = place(survey, tmp_path, small_blocks())
    script = write_script(folder, "chain.toml", "--site", site(), "--nodes", 1, "--time", "0:20:00")
    job = cluster.submit(script, **SLOW)
    cluster.wait(lambda: len(committed(folder)) > 1, "commits")
    cluster.cancel(job, "--signal=USR1", "--batch")
    cluster.wait_for_end(job)
    assert cluster.job(job)["ExitCode"] == "10:0", logs(folder)
    for other in cluster.jobs("shapempi"):
        if other["JobState"] in ("PENDING", "RUNNING"):
            cluster.cancel(other["JobId"])
    assert not runs(json.loads((folder / "run" / "status.json").read_text())["pid"])
