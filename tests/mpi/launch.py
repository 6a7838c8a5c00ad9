"""Start a program on several ranks with the MPI that belongs to this Python; nothing that hangs outlives its time."""

import os
import signal
import subprocess
import sys
import sysconfig
from contextlib import contextmanager
from pathlib import Path

import shapempi

#: Variables of an outer launcher or batch system; a rank that sees them believes it belongs there.
_FOREIGN = ("OMPI_", "PMIX_", "PMI_", "PRTE_", "SLURM_", "HYDRA_")


def mpiexec():
    """Return the mpiexec beside the Python that runs the tests."""
    for folder in (Path(sysconfig.get_path("scripts")), Path(sys.executable).parent):
        if (folder / "mpiexec").exists():
            return str(folder / "mpiexec")
    raise FileNotFoundError(f"no mpiexec beside {sys.executable}: pip install 'shapempi[mpich]'")


def environment(**more):
    """Return the environment of a rank."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    source = str(Path(shapempi.__file__).parents[1])
    return {
        **clean,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": source,
        # Open MPI, if that is the one: root in a container, more ranks than cores.
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
        "PRTE_MCA_hwloc_default_binding_policy": "none",
        **more,
    }


@contextmanager
def started(n_rank, *command, **more):
    """Start a command on `n_rank` ranks (None: without a launcher); whatever is left of it at the end is killed."""
    launcher = [] if n_rank is None else [mpiexec(), "-n", str(n_rank)]
    process = subprocess.Popen(
        [*launcher, sys.executable, *map(str, command)],
        env=environment(**more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
        errors="replace",
    )
    try:
        yield process
    finally:
        kill(process)
        process.communicate()


def kill(process):
    """SIGKILL to the launcher and, where they share its process group, the ranks."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)


def launch(n_rank, *command, timeout=60.0, **more):
    """Run a command to its end; return exit code, standard output and standard error."""
    with started(n_rank, *command, **more) as process:
        out, err = process.communicate(timeout=timeout)
        return process.returncode, out, err
