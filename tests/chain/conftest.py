"""The survey and the runs that many tests look at; nobody changes them."""

import pytest
from chain.program import shapempi
from chain.tiny import block_size, configure, place


@pytest.fixture(scope="session")
def survey(tmp_path_factory):
    """Return the folder of the simulated survey."""
    folder = tmp_path_factory.mktemp("sky")
    configure(folder)
    result = shapempi(folder, "simulate", "chain.toml")
    assert result.code == 0, result
    return folder / "survey"


@pytest.fixture(scope="session")
def reference(tmp_path_factory, survey):
    """Return the folder of a run that nothing disturbed, made by one process without a launcher; gathered."""
    folder = place(survey, tmp_path_factory.mktemp("reference"))
    result = shapempi(folder, "run", "chain.toml")
    assert result.code == 0, result
    result = shapempi(folder, "gather", "run")
    assert result.code == 0, result
    return folder


@pytest.fixture(scope="session")
def crew(tmp_path_factory, survey):
    """Return the folder of a run with many ranks and small blocks; gathered."""
    folder = place(survey, tmp_path_factory.mktemp("crew"), block_size(7))
    result = shapempi(folder, "run", "chain.toml", n_rank=5)
    assert result.code == 0, result
    result = shapempi(folder, "gather", "run")
    assert result.code == 0, result
    return folder
