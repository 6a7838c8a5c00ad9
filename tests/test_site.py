"""The descriptions of sites: all that we deliver are sound, and what is wrong with one is said by key."""

from pathlib import Path

import pytest

from shapempi.config import key_table
from shapempi.errors import ConfigError
from shapempi.site import RANK_MEMORY, Site, read_site, site_names

SITE = """
title = "here"
script = "slurm"
cores_per_node = 40
memory_per_node = 30.0
launcher = "srun"
"""


def read(tmp_path, text):
    path = tmp_path / "here.toml"
    path.write_text(text)
    return read_site(str(path))


def test_the_sites_that_are_known():
    assert site_names() == ["canfar", "cc-in2p3", "jean-zay", "laptop", "perlmutter", "slurm"]


@pytest.mark.parametrize("name", site_names())
def test_a_site_is_sound(name):
    site = read_site(name)
    assert 1 <= site.ranks_per_node <= site.cores_per_node
    assert site.ranks_per_node * RANK_MEMORY <= site.memory_per_node
    assert ('"$RANKS"' in site.launcher) == (site.script == "plain")


def test_the_documentation_has_all_keys():
    page = (Path(__file__).parents[1] / "docs" / "jobs.md").read_text()
    table = key_table(Site)
    assert table in page, f"put this into docs/jobs.md:\n{table}"


def test_what_the_sites_allow():
    perlmutter, jean_zay, lyon = map(read_site, ("perlmutter", "jean-zay", "cc-in2p3"))
    assert (perlmutter.cores_per_node, perlmutter.memory_per_node) == (128, 512)
    assert {"--constraint=cpu", "--qos=regular"} <= set(perlmutter.sbatch)
    assert (jean_zay.cores_per_node, jean_zay.max_time) == (40, 100)
    assert "--partition=cpu_p1" in jean_zay.sbatch
    assert {"--partition=htc", "-L sps"} <= set(lyon.sbatch)


def test_a_site_of_the_users(tmp_path):
    site = read(tmp_path, SITE)
    assert site.ranks_per_node == 20  # memory for no more
    assert site.max_nodes == 1


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("cores_per_node", "cores_per_nod", "unknown key 'cores_per_nod'; did you mean 'cores_per_node'?"),
        ("= 40", "= 0", "the key 'cores_per_node' has the value 0: "),
        ("= 40", '= "40"', "the key 'cores_per_node' has the value '40': "),
        ("= 30.0", "= 1.0", "the key 'memory_per_node' has the value 1.0: "),
        ('"slurm"', '"pbs"', "the key 'script' has the value 'pbs': "),
        ('"srun"', '"srun"\nscratch = "tmp"', "the key 'scratch' has the value 'tmp': "),
        ('"srun"', '"srun"\nscratch = "$(rm -rf x)"', "the key 'scratch' has the value '$(rm -rf x)': "),
        ('"srun"', '"srun"\nsbatch = ["-p htc", "partition=htc"]', "an option begins with a minus"),
        ('"srun"', '"srun"\nmodules = ["a\\nb"]', "modules: each must be one line of text"),
        ('"slurm"', '"plain"\nmax_nodes = 2', "without a batch system there is one node"),
        ('title = "here"', "", "the key 'title' is required and missing"),
    ],
)
def test_a_wrong_key(tmp_path, old, new, complaint):
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, SITE.replace(old, new))
    assert complaint in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path / 'here.toml'}: ")


def test_a_site_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match="no site 'perlmuter'; did you mean 'perlmutter'"):
        read_site("perlmuter")
    with pytest.raises(ConfigError, match=r"nowhere\.toml: the description of the site cannot be read"):
        read_site(str(tmp_path / "nowhere.toml"))
