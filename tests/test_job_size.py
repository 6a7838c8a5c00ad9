"""How many nodes for how long."""

import pytest

from shapempi.errors import ConfigError
from shapempi.job_size import parse_time, size_job, write_time
from shapempi.site import read_site

SITE = read_site("slurm")  # 64 ranks on a node, at most 100 nodes and 24 h
HOUR = 3600


def test_a_small_survey_takes_one_node():
    size = size_job(SITE, 60.0, 5)
    assert (size.nodes, size.n_job) == (1, 1)
    assert size.seconds >= size.needed + SITE.drain


@pytest.mark.parametrize("hours", [10.0, 300.0, 5000.0])
def test_the_work_fits_with_a_margin(hours):
    size = size_job(SITE, hours * HOUR, 10**6)
    workers = size.nodes * size.ranks_per_node - 1
    assert 1.4 * hours * HOUR / workers < size.seconds < 6 * HOUR
    assert size.n_job == 1
    if size.nodes > 1:  # and no more nodes than that needs
        assert 1.5 * hours * HOUR / ((size.nodes - 1) * size.ranks_per_node - 1) + 600 > 4 * HOUR


def test_nodes_that_would_have_no_unit_are_not_asked_for():
    assert size_job(SITE, 5000.0 * HOUR, 200).nodes == 4


def test_more_than_the_site_allows_takes_several_jobs():
    size = size_job(SITE, 10**6 * HOUR, 10**6)
    assert (size.nodes, size.seconds) == (100, 24 * HOUR)
    assert size.n_job == 10  # 1.5e6 core-hours on 6399 workers, 24 hours each


def test_what_the_user_chooses():
    size = size_job(SITE, 100.0 * HOUR, 10**6, nodes=3, seconds=2 * HOUR)
    assert (size.nodes, size.seconds) == (3, 2 * HOUR)
    more = size_job(SITE, 1000.0 * HOUR, 10**6, seconds=2 * HOUR).nodes
    fewer = size_job(SITE, 1000.0 * HOUR, 10**6, seconds=20 * HOUR).nodes
    assert more > 5 * fewer


@pytest.mark.parametrize("chosen", [{"nodes": 0}, {"nodes": 101}, {"seconds": 600}, {"seconds": 25 * HOUR}])
def test_what_the_site_does_not_allow(chosen):
    with pytest.raises(ConfigError, match=r"--nodes|--time"):
        size_job(SITE, 100.0, 100, **chosen)


def test_times():
    assert parse_time("100:05:07") == 360307
    assert write_time(360307) == "100:05:07"
    for text in ("12", "1:60:00", "1-00:00:00", "01:00", "-1:00:00", ""):
        with pytest.raises(ConfigError, match="give hours, minutes and seconds"):
            parse_time(text)
