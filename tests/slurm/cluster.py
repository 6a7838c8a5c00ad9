"""A real Slurm of three nodes on this machine, for jobs as a user submits them: munged, slurmctld, three slurmd.

It needs root and Linux: each slurmd has a host name of its own in a UTS namespace, so that programs see three
hosts.  All that it writes is in one folder, but for a line with their names in /etc/hosts, which goes at the end.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from chain.program import search_path
from mpi.launch import environment

from shapempi.selftest.launch import runs

#: The programs that must be there, and the packages that have them.
PROGRAMS = ("slurmctld", "slurmd", "sbatch", "srun", "scontrol", "munged", "unshare")
PACKAGES = "slurm-wlm slurm-client munge"

NODES = ("n1", "n2", "n3")

#: Longest wait for a daemon, for a command of Slurm, and for a job, unless a test says otherwise [s].
START, COMMAND, JOB = 30.0, 30.0, 180.0

#: States in which a job stays.
_ENDED = {
    "BOOT_FAIL",
    "CANCELLED",
    "COMPLETED",
    "DEADLINE",
    "FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "TIMEOUT",
}

_CONF = """\
ClusterName=shapempi
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
# The time that a credential lives is also how long a job that is queued again has to wait.
AuthInfo=socket={folder}/munge.socket,cred_expire=10
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmdSpoolDir={folder}/spool.%n
SlurmdLogFile={folder}/slurmd.%n.log
TmpFS={folder}/tmp.%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,sched_min_interval=0,batch_sched_delay=0,bf_interval=1
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
KillWait=5
MinJobAge=3600
JobRequeue=1
SlurmdTimeout=60
NodeName=n[1-3] NodeAddr=127.0.0.1 Port=[{first}-{last}] CPUs=4 RealMemory={memory} State=UNKNOWN
PartitionName=test Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:4
"""


class Cluster:
    """The cluster, and what a user and an operator do with it.

    Attributes
    ----------
    folder : Path
        Where its configuration, state and logs are.
    environ : dict of str to str
        The environment in which its commands and jobs work.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "bin").mkdir()
        path = os.pathsep.join((search_path(folder / "bin"), "/usr/sbin"))  # the daemons are there
        self.environ = environment(SLURM_CONF=str(folder / "slurm.conf"), PATH=path)

    def command(self, *arguments: object, timeout: float = COMMAND, **env: str) -> str:
        """Run a command of Slurm; return what it printed, stripped."""
        result = subprocess.run(
            [str(argument) for argument in arguments],
            env={**self.environ, **env},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
        assert result.returncode == 0, f"{arguments} ended with {result.returncode}:\n{result.stdout}{result.stderr}"
        return result.stdout.strip()

    def submit(self, script: Path, *options: object, **env: str) -> str:
        """Submit a script from its own folder, with more variables in its environment; return the job's id."""
        return self.command("sbatch", "--parsable", "--chdir", script.parent, *options, script, **env)

    def jobs(self, name: str | None = None) -> list[dict[str, str]]:
        """Return all jobs that Slurm remembers, by name or (None) all: the fields of `scontrol show job`."""
        lines = self.command("scontrol", "--oneliner", "show", "job").splitlines()
        found = [_fields(line) for line in lines if line.startswith("JobId=")]
        return [job for job in found if name in (None, job["JobName"])]

    def job(self, job: str) -> dict[str, str]:
        """Return the fields of one job, `JobState`, `ExitCode` ("1:0"), `Restarts` and others."""
        return _fields(self.command("scontrol", "--oneliner", "show", "job", job).splitlines()[0])

    def state(self, job: str) -> str:
        """Return the state of a job: PENDING, RUNNING, COMPLETED ..."""
        return self.job(job)["JobState"]

    def states(self, job: str) -> list[str]:
        """Return the states of all tasks of an array."""
        return [
            _fields(line)["JobState"]
            for line in self.command("scontrol", "--oneliner", "show", "job", job).splitlines()
            if line.startswith("JobId=")
        ]

    def wait_for_end(self, job: str, timeout: float = JOB) -> str:
        """Wait until a job, or all tasks of an array, have ended; return the state, or the worst of them."""
        self.wait(lambda: set(self.states(job)) <= _ENDED, f"the end of job {job}", timeout)
        bad = [state for state in self.states(job) if state != "COMPLETED"]
        return bad[0] if bad else "COMPLETED"

    def wait_for_state(self, job: str, state: str, timeout: float = JOB) -> None:
        """Wait until a job is in a state."""
        self.wait(lambda: self.state(job) == state, f"job {job} to be {state}", timeout)

    def wait(self, condition: Callable[[], bool], what: str, timeout: float = JOB) -> None:
        """Wait until something is true; what the daemons have to say is in the error if it never is."""
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, f"no sign of {what} after {timeout} s:\n{self.troubles()}"
            time.sleep(0.2)

    def cancel(self, job: str, *options: object) -> None:
        """Cancel a job, or send it a signal (`--signal=USR1 --batch`)."""
        self.command("scancel", *options, job)

    def set_time_limit(self, job: str, minutes: int) -> None:
        """Give a job another time limit, counted from its start."""
        self.command("scontrol", "update", f"jobid={job}", f"timelimit={minutes}")

    def node_down(self, node: str) -> None:
        """Declare a node lost, as if it did not answer any more: its jobs end, and are queued again if they may."""
        self.command("scontrol", "update", f"nodename={node}", "state=down", "reason=test")

    def node_up(self, node: str) -> None:
        """Take a node back."""
        if "DOWN" in self.node_state(node):  # a slurmd that answers comes back by itself
            with suppress(AssertionError):
                self.command("scontrol", "update", f"nodename={node}", "state=resume")
        self.wait(lambda: "DOWN" not in self.node_state(node), f"node {node} to come back", START)

    def node_state(self, node: str) -> str:
        """Return the state of a node: IDLE, MIXED, ALLOCATED, DOWN ..."""
        return _fields(self.command("scontrol", "--oneliner", "show", "node", node))["State"]

    def troubles(self) -> str:
        """Return the jobs, and the ends of the daemons' logs."""
        parts = [subprocess.run(["squeue"], env=self.environ, capture_output=True, text=True, timeout=COMMAND).stdout]
        parts += [
            f"{log.name}:\n" + "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            for log in sorted(self.folder.glob("*.log"))
        ]
        return "\n".join(parts)


def missing() -> str:
    """Say why a cluster cannot be started here; empty if it can."""
    absent = [name for name in PROGRAMS if shutil.which(name) is None and not Path("/usr/sbin", name).exists()]
    if absent:
        return f"{', '.join(absent)} not found: apt-get install --no-install-recommends {PACKAGES}"
    return "" if os.geteuid() == 0 else "a Slurm of one's own needs root"


@contextmanager
def started(folder: Path) -> Iterator[Cluster]:
    """Start a cluster in a folder; whatever runs of it at the end is stopped."""
    cluster = Cluster(folder)
    _prepare(folder)
    key, seed = folder / "munge.key", folder / "munge.seed"
    with _host_names():
        try:
            cluster.command(
                "munged",
                "--force",
                f"--socket={folder}/munge.socket",
                f"--key-file={key}",
                f"--pid-file={folder}/munged.pid",
                f"--log-file={folder}/munged.log",
                f"--seed-file={seed}",
                "--num-threads=2",
            )
            cluster.command("slurmctld")
            for node in NODES:
                inside = 'hostname "$1" && exec slurmd -N "$1"'
                cluster.command("unshare", "--uts", "sh", "-c", inside, "sh", node)
            cluster.wait(lambda: all(_ready(cluster, node) for node in NODES), "three nodes", START)
            yield cluster
        finally:
            _stop(cluster)


def _ready(cluster: Cluster, node: str) -> bool:
    try:
        return cluster.node_state(node) == "IDLE"
    except AssertionError:  # slurmctld does not listen yet
        return False


def _prepare(folder: Path) -> None:
    """Write the configuration and the key, and make the folders of the daemons."""
    folder.chmod(0o755)  # munge refuses a socket below folders that others cannot enter
    for name in ("state", *(f"{kind}.{node}" for kind in ("spool", "tmp") for node in NODES)):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    port, *ports = _free_ports(1 + len(NODES))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20 // len(NODES)
    host = socket.gethostname().partition(".")[0]
    text = _CONF.format(host=host, port=port, folder=folder, first=ports[0], last=ports[-1], memory=memory)
    (folder / "slurm.conf").write_text(text)


def _free_ports(number: int) -> range:
    """Return ports in a row that nobody listens at."""
    for first in range(17100 + os.getpid() % 97 * 100, 32000, 10):
        sockets = []
        try:
            for port in range(first, first + number):
                sockets.append(socket.socket())
                sockets[-1].bind(("127.0.0.1", port))
            return range(first, first + number)
        except OSError:
            continue
        finally:
            for one in sockets:
                one.close()
    raise AssertionError("no free ports")


@contextmanager
def _host_names() -> Iterator[None]:
    """Give the nodes' names an address."""
    hosts = Path("/etc/hosts")
    line = f"127.0.0.1 {' '.join(NODES)} # shapempi tests {os.getpid()}\n"
    before = hosts.read_text()
    hosts.write_text(f"{before}{'' if before.endswith(chr(10)) else chr(10)}{line}")  # often a mount: never replaced
    try:
        yield
    finally:
        hosts.write_text(hosts.read_text().replace(line, ""))


def _stop(cluster: Cluster) -> None:
    """End all jobs, then the daemons, by their ids."""
    with suppress(AssertionError, subprocess.TimeoutExpired):
        cluster.command("scancel", "--user=root")
        cluster.wait(lambda: not cluster.command("squeue", "--noheader"), "the end of all jobs", START)
    files = [*cluster.folder.glob("slurmd.*.pid"), cluster.folder / "slurmctld.pid", cluster.folder / "munged.pid"]
    pids = [int(file.read_text()) for file in files if file.exists()]
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 10.0
    while (left := [pid for pid in pids if runs(pid)]) and time.monotonic() < deadline:
        time.sleep(0.1)
    for pid in left:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _fields(line: str) -> dict[str, str]:
    """Split a line of NAME=VALUE; values of the fields that tests look at have no spaces."""
    return dict(word.partition("=")[::2] for word in line.split() if "=" in word)
