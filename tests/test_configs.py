"""The configurations that we deliver, and the pages that are made from the code."""

from pathlib import Path

import pytest

from shapempi.cli import main
from shapempi.config import load

ROOT = Path(__file__).parents[1]
CONFIGS = sorted((ROOT / "configs").glob("*.toml"))


def test_there_are_configurations():
    assert {"demo.toml", "survey.toml"} <= {path.name for path in CONFIGS}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_a_configuration_is_valid(path):
    load(path)


@pytest.mark.parametrize(
    ("option", "name"),
    [("--reference", "docs/configuration.md"), ("--columns", "docs/columns.md"), ("--template", "configs/survey.toml")],
)
def test_a_generated_page_is_what_the_code_says(capsys, option, name):
    assert main(["config", option]) == 0
    made = capsys.readouterr().out
    assert (ROOT / name).read_text() == made, f"make it anew: shapempi config {option} > {name}"


def test_a_configuration_can_be_checked(capsys):
    assert main(["config", str(CONFIGS[0])]) == 0
    assert f"{CONFIGS[0]}: valid, fingerprint {load(CONFIGS[0]).digest()}" in capsys.readouterr().out
    assert main(["config"]) == 2
    assert "name a file to check, or give --reference" in capsys.readouterr().err
