"""A group that runs ShapePipe moves over: its INI files become a configuration, and that a catalogue of shapes."""

from __future__ import annotations

import numpy as np
import pytest
from chain.program import shapempi
from chain.shapepipe_user import configurations, link_survey

from shapempi.io.catalog import read_table


def user(survey, folder, monkeypatch):
    """Return the folder of a user of ShapePipe, with the variables of its configurations."""
    config = configurations(folder)
    link_survey(survey, folder / "sp")
    monkeypatch.setenv("SP_CONFIG", str(config))
    monkeypatch.setenv("SP_RUN", str(folder / "sp"))
    return folder


def measured(folder, run):
    """Run a converted configuration; return the objects of its catalogue."""
    for words in (("run", "survey.toml"), ("gather", run)):
        result = shapempi(folder, *words)
        assert result.code == 0, result
    return read_table(run / "catalogue.h5")


def agree(ours, theirs, least):
    """Whether two runs on the same images measure the same shapes of at least so many objects.

    Their stars and PSF models differ, which is worth a good part of an error; another object would be ten errors off.
    """
    scale = np.cos(np.radians(ours["dec"].mean()))
    distance = np.hypot((ours["ra"][:, None] - theirs["ra"]) * scale, ours["dec"][:, None] - theirs["dec"]) * 3600
    same = theirs[distance.argmin(axis=1)]
    both = (distance.min(axis=1) < 0.2) & (ours["shape_flags"] == 0) & (same["shape_flags"] == 0)
    assert both.sum() >= least
    ours, same = ours[both], same[both]
    for name in ("g1", "g2"):
        change = np.abs(ours[f"{name}_noshear"] - same[f"{name}_noshear"]) / same[f"{name}_err_noshear"]
        assert np.median(change) < 1.5, (name, change)
    assert np.median(ours["flux_noshear"] / same["flux_noshear"]) == pytest.approx(1, abs=0.03)
    return True


def test_both_examples_become_one_run_with_shapes(survey, reference, tmp_path, monkeypatch):
    folder = user(survey, tmp_path, monkeypatch)
    files = [folder / "config" / name for name in ("prepare.ini", "exposures.ini", "tiles.ini")]
    result = shapempi(folder, "convert", *files)
    assert result.code == 0, result
    table = measured(folder, folder / "sp" / "output" / "run_shapempi")
    assert agree(table, read_table(reference / "run" / "catalogue.h5"), 45)


# The default masks of exposures, which the chain of the tiles says nothing of, leave few pixels of tiny CCDs.
@pytest.mark.parametrize(("name", "least"), [("exposures.ini", 45), ("tiles.ini", 8)])
def test_each_example_alone_runs_on_the_originals(survey, reference, tmp_path, monkeypatch, name, least):
    folder = user(survey, tmp_path, monkeypatch)
    if name == "exposures.ini":
        other = ("--tile-folder", survey / "tiles", "--exposure-folder", survey / "exposures")
    else:
        other = ("--exposure-folder", survey / "exposures")
    result = shapempi(folder, "convert", f"config/{name}", *other, "--run-folder", "run")
    assert result.code == 0, result
    assert agree(measured(folder, folder / "run"), read_table(reference / "run" / "catalogue.h5"), least)


def test_the_same_with_the_programs(survey, reference, tmp_path, monkeypatch):
    folder = user(survey, tmp_path, monkeypatch)
    files = [folder / "config" / name for name in ("prepare.ini", "exposures.ini", "tiles.ini")]
    result = shapempi(folder, "convert", *files, "--programs", "--run-folder", "run")
    assert result.code == 0, result
    assert agree(measured(folder, folder / "run"), read_table(reference / "run" / "catalogue.h5"), 40)
