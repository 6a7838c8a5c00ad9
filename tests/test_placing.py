"""All ranks read the exposures: the plan is that of one process, and nobody is left waiting."""

import os

import pytest
import tiny_survey
from mpi.launch import launch

from shapempi.survey.graph import make_plan
from shapempi.survey.inputs import InputParams, find_inputs

PROGRAM = """
import sys
from pathlib import Path
from shapempi.mpi.comm import connect
from shapempi.placing import place_exposures
from shapempi.survey.graph import make_plan
from shapempi.survey.inputs import InputParams, SurveyInputs, find_inputs
folder = Path(sys.argv[1])
{before}
with connect() as comm:
    inputs = None
    if comm.rank == 0:
        params = InputParams(exposure_folder=folder / "exposures", tile_folder=folder / "tiles", n_ccd=4)
        inputs = find_inputs(params, folder)
    placed = place_exposures(comm, inputs, interval=0.0)
    if comm.rank == 0:
        inputs.store.write(placed.values())
        (folder / sys.argv[2]).write_text(make_plan(inputs, placed).to_json())
    else:
        assert placed == {{}}
"""

#: Has a rank raise what nobody expects at one exposure.
BUG = """
place = SurveyInputs.place
def fail(self, exposure, known=None):
    if exposure == 2243000 + {number}:
        raise ZeroDivisionError("a bug")
    return place(self, exposure, known)
SurveyInputs.place = fail
"""

N_EXPOSURE = 29  # two rounds for three ranks, and no multiple of anything


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a survey of many exposures, one of them truncated and one no mosaic at all."""
    folder = tmp_path_factory.mktemp("survey")
    exposures, tiles = tiny_survey.write_survey(folder)
    source = exposures / f"{tiny_survey.EXPOSURES[0]}p.fits.fz"
    numbers = range(2243000, 2243000 + N_EXPOSURE)
    for number in numbers:
        (exposures / f"{number}p.fits.fz").write_bytes(source.read_bytes())
    tiny_survey.write_tile(tiles, history=tuple(f" input image {number}p.fits 4 extension(s)" for number in numbers))
    tiny_survey.truncate(exposures / "2243004p.fits.fz", 0.45)
    (exposures / "2243017p.fits.fz").write_bytes(b"no mosaic")
    return folder


def serial_plan(folder):
    params = InputParams(exposure_folder=folder / "exposures", tile_folder=folder / "tiles", n_ccd=4)
    return make_plan(find_inputs(params)).to_json()


@pytest.mark.parametrize("n_rank", [None, 1, 2, 3])
def test_the_plan_of_any_number_of_ranks(folder, n_rank):
    (folder / "footprints.h5").unlink(missing_ok=True)
    program = PROGRAM.format(before="")
    code, out, err = launch(n_rank, "-c", program, folder, "plan.json")
    assert code == 0, err
    expected = serial_plan(folder)
    assert "CCD 3 is lost" in expected and "not a FITS file" in expected
    assert (folder / "plan.json").read_text() == expected
    n_round = 8 * (n_rank or 1)
    lines = [f"planning: {min(done, N_EXPOSURE)}/29 exposures" for done in range(n_round, 29 + n_round, n_round)]
    assert out.splitlines() == lines
    # From the store: a file that it knows as it is is not looked into.
    path = folder / "exposures" / "2243001p.fits.fz"
    looks, content = path.stat(), path.read_bytes()
    path.write_bytes(b"x" * looks.st_size)
    os.utime(path, ns=(looks.st_atime_ns, looks.st_mtime_ns))
    code, _, err = launch(n_rank, "-c", program, folder, "again.json")
    path.write_bytes(content)
    os.utime(path, ns=(looks.st_atime_ns, looks.st_mtime_ns))
    assert code == 0, err
    assert (folder / "again.json").read_text() == expected


@pytest.mark.parametrize("number", [0, 1, 5, 25])
def test_a_bug_on_any_rank_ends_all(folder, number):
    code, _, err = launch(3, "-c", PROGRAM.format(before=BUG.format(number=number)), folder, "none.json", timeout=30.0)
    assert code == 4, err
    assert f"rank {number % 3} of 3" in err and "ZeroDivisionError: a bug" in err
    assert not (folder / "none.json").exists()


def test_no_survey(folder):
    program = """
from shapempi.mpi.comm import connect
from shapempi.placing import place_exposures
with connect() as comm:
    assert place_exposures(comm, None) == {}
"""
    code, _, err = launch(3, "-c", program)
    assert (code, err) == (0, "")
