"""The cluster and the survey that the tests of job scripts share."""

import os

import pytest
from chain.conftest import reference, survey  # noqa: F401
from slurm.cluster import missing, started


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """Return a running Slurm of three nodes; who cannot have one says so by SHAPEMPI_NO_SLURM=1."""
    if os.environ.get("SHAPEMPI_NO_SLURM") == "1":
        pytest.skip("SHAPEMPI_NO_SLURM=1")
    reason = missing()
    if reason:
        pytest.fail(f"{reason}; to leave these tests out set SHAPEMPI_NO_SLURM=1")
    with started(tmp_path_factory.mktemp("slurm")) as running:
        yield running


@pytest.fixture
def site(tmp_path_factory):
    """Return a function that describes the cluster as a site, with other keys than the usual, and returns the file."""
    folder = tmp_path_factory.mktemp("site")

    def describe(**keys):
        values = {
            "title": "a cluster for tests",
            "script": "slurm",
            "cores_per_node": 2,
            "memory_per_node": 3.0,
            "max_nodes": 3,
            "drain": 10,
            "launcher": "srun --mpi=pmi2 --kill-on-bad-exit=0",
            "scratch": str(folder),
            **keys,
        }
        path = folder / "test.toml"
        # Python writes numbers and texts without quotes in them as TOML does.
        path.write_text("".join(f"{name} = {value!r}\n" for name, value in values.items()))
        return path

    return describe
