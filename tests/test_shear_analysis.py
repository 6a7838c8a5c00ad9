"""`shapempi shear` on catalogues of known shear: what it writes, and what it says of wrong input."""

import json

import fitsio
import h5py
import numpy as np
import pytest
from astropy.table import Table
from chain.program import verb
from lensing.run_folder import write_run
from lensing.sky import catalogue, disc, tangential

from shapempi.catalog import COLUMNS
from shapempi.io.catalog import INDEX

CENTRE = (359.9, 35.0)
SHEAR = 0.02 - 0.01j

FILES = {
    *("summary.md", "summary.json", "bins.fits", "grid.fits", "leakage.fits", "xi.fits", "xi_covariance.fits"),
    *("modes.fits", "psf_xi.fits", "around.fits", "response.png", "response_grid.png", "mean_shear.png", "xi.png"),
    *("modes.png", "psf_correlation.png", "around.png"),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return a gathered run of a constant shear and a mass across right ascension 0; nobody changes it."""
    folder = tmp_path_factory.mktemp("run")
    rng = np.random.default_rng(1)
    n = 8000
    ra, dec = disc(rng, n, *CENTRE, 1.0, inner=0.02)
    rows = catalogue(rng, ra, dec, SHEAR + tangential(ra, dec, *CENTRE, 0.03), noise=0.1)
    stars = rng.random(n) < 0.02
    rows["SPREAD_CLASS"][stars], rows["MAG_AUTO"][stars], rows["T_noshear"][stars] = 0, 18, 0
    write_run(folder, rows)
    Table({"ra": [CENTRE[0]], "Dec": [CENTRE[1]]}).write(folder.parent / "masses.csv")
    Table(dict(zip(("RA", "DEC"), disc(rng, 300, *CENTRE, 0.9), strict=True))).write(folder.parent / "random.fits")
    # True galaxies with a shear of their own: what the mass does is not in it, but in the mean it is nothing.
    truth = np.zeros(n, [(name, "f8") for name in ("ra", "dec", "mag", "g1", "g2", "type")])
    truth["ra"], truth["dec"], truth["g1"], truth["g2"] = ra, dec, SHEAR.real, SHEAR.imag
    fitsio.write(folder.parent / "truth.fits", truth)
    return folder


@pytest.fixture(scope="module")
def analysed(run, tmp_path_factory):
    """Return the folder of an analysis with everything, and what was printed."""
    folder = tmp_path_factory.mktemp("shear") / "out"
    options = ("--around", "masses.csv", "--randoms", "random.fits", "--truth", "truth.fits")
    result = verb(run.parent, "shear", run, "--output", folder, *options)
    assert result.code == 0, result
    return folder, result.out


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


def test_everything_is_written_and_reads_with_other_tools(analysed):
    folder, out = analysed
    assert {path.name for path in folder.iterdir()} == FILES
    for name in ("bins", "grid", "leakage", "xi", "modes", "psf_xi", "around"):
        table = Table.read(folder / f"{name}.fits")
        assert len(table), name
    assert Table.read(folder / "xi.fits")["theta"].unit == "arcmin"
    covariance = fitsio.read(folder / "xi_covariance.fits")["covariance"]
    xi = Table.read(folder / "xi.fits")
    np.testing.assert_allclose(np.sqrt(np.diag(covariance))[: len(xi)][5:-5], xi["xip_err"][5:-5])
    page = (folder / "summary.md").read_text()
    assert all(name in page for name in FILES if name.endswith(".png"))
    assert out.splitlines()[0].split() == ["8000", "rows"]
    assert "s2n 10 to 500" in out
    assert f"{folder}: {len(FILES)} files" in out


def test_the_numbers_are_those_of_the_sky(analysed):
    """Within 4 errors; p above 1e-3."""
    found = summary(analysed[0])
    for i, truth in ((1, SHEAR.real), (2, SHEAR.imag)):
        assert abs(found["shear"][f"g{i}"] - truth) < 4 * found["shear"][f"g{i}_err"]
        assert abs(found["truth"]["g"][i - 1] - truth) < 4 * found["truth"]["g_err"][i - 1]
    assert found["truth"]["one_shear"]
    assert found["n_patch"] == 40
    mass = next(each for each in found["around"] if each["name"] == "masses")
    assert (mass["n"], mass["n_random"]) == (1, 300)
    near = [row for row in mass["shear"] if row["n_pair"] > 100 and row["theta"] < 30]
    for row in near:
        assert abs(row["gamma_t"] - 0.03) < 4 * row["gamma_t_err"]
        assert abs(row["gamma_x"]) < 4 * row["gamma_x_err"]
    assert mass["tests"][0]["p"] < 1e-3
    names = {test["name"] for test in found["null_tests"]}
    assert names == {
        "xi_x",
        "B_n",
        "gamma_t around bright stars",
        "gamma_x around bright stars",
        "gamma_x around masses",
    }
    # A field with a mass in its middle has tangential shear around its stars, too.
    null = [test for test in found["null_tests"] if test["name"] != "gamma_t around bright stars"]
    assert all(test["p"] > 1e-3 and test["dof"] > 3 for test in null), null


def test_the_same_command_gives_the_same_bits_and_replaces_only_when_told(run, tmp_path):
    folder = tmp_path / "out"
    command = ("shear", run, "--output", folder, "--no-figures")
    assert verb(tmp_path, *command).code == 0
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert set(before) == {name for name in FILES if not name.endswith(".png")}
    result = verb(tmp_path, *command)
    assert result.code == 2
    assert "holds a shear analysis already; give --overwrite" in result.err
    assert verb(tmp_path, *command, "--overwrite").code == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    (folder / "thesis.tex").write_text("mine")
    result = verb(tmp_path, *command, "--overwrite")
    assert result.code == 2
    assert "holds thesis.tex, which no shear analysis made" in result.err
    assert (folder / "thesis.tex").read_text() == "mine"
    assert (folder / "xi.fits").read_bytes() == before["xi.fits"]


def test_a_catalogue_of_several_files_is_read_as_one(run, tmp_path):
    with h5py.File(run / "catalogue.h5") as file:
        rows = np.zeros(8000, [(name, file["catalogue"][name].dtype) for name in file["catalogue"]])
        for name in rows.dtype.names:
            rows[name] = file["catalogue"][name]
    folder = tmp_path / "run"
    folder.mkdir()
    names = ("catalogue-0.h5", "catalogue-1.h5")
    for name, part in zip(names, (rows[:3000], rows[3000:]), strict=True):
        write_run(folder / "catalogue", part, name=name)
    index = {"files": [{"file": name, "made_from": name} for name in names]}
    (folder / "catalogue" / INDEX).write_text(json.dumps(index))
    assert verb(tmp_path, "shear", "run", "--no-figures").code == 0
    assert verb(tmp_path, "shear", run, "--no-figures", "--output", "one").code == 0
    one, several = summary(tmp_path / "one"), summary(folder / "shear")
    assert one["counts"] == several["counts"]
    assert several["shear"]["g1"] == pytest.approx(one["shear"]["g1"], rel=1e-9)
    assert several["correlation"][10]["xip"] == pytest.approx(one["correlation"][10]["xip"], rel=1e-6)


def test_cuts_come_from_the_configuration(run, tmp_path):
    base = '[input]\nexposure_folder = "e"\ntile_folder = "t"\nstar_catalogue = "s"\n[run]\nfolder = "r"\n'
    (tmp_path / "other.toml").write_text(base + "[shear.cuts]\ns2n_min = 30\n[shear.bins]\ns2n = [30, 60, 500]\n")
    result = verb(tmp_path, "shear", run, "--config", "other.toml", "--output", "out", "--no-figures")
    assert result.code == 0, result
    assert "s2n 30 to 500" in result.out
    assert [row["low"] for row in summary(tmp_path / "out")["bins"]["s2n"]] == [30, 60]
    (tmp_path / "other.toml").write_text(base + "[shear.cuts]\ns2n_minimum = 30\n")
    result = verb(tmp_path, "shear", run, "--config", "other.toml", "--output", "out2")
    assert result.code == 2
    assert "shear.cuts.s2n_minimum" in result.err


def failure(folder, *arguments):
    """Return code and message of a command that must leave nothing behind."""
    before = sorted(folder.rglob("*"))
    result = verb(folder, "shear", *arguments)
    assert result.code != 0
    assert result.out == ""
    assert sorted(folder.rglob("*")) == before
    assert len(result.err.splitlines()) == 1, result.err
    return result.code, result.err


def test_what_is_not_there_is_named(run, tmp_path):
    (tmp_path / "empty").mkdir()
    for arguments, text in (
        (("nowhere",), "nowhere: there is no run folder"),
        (("empty",), "the run has no catalogue yet; make it with `shapempi gather empty`"),
        ((run, "--output", "o", "--around", "none.csv"), "none.csv: there is no such file"),
        ((run, "--output", "o", "--around", "none.fits"), "none.fits"),
        ((run, "--output", "o", "--truth", "none.h5"), "none.h5: there is no truth table"),
        ((run, "--output", "o", "--catalogue", "none.h5"), "none.h5: there is no catalogue"),
    ):
        code, message = failure(tmp_path, *arguments)
        assert code == 3, message
        assert text in message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x,y\n1,2\n", "there is no column RA; name the columns of the positions: x, y"),
        ("RA,DEC\n10,20\n10,200\n", "1 of 2 rows are not positions in degrees; first row 2, RA 10, DEC 200"),
        ("RA,DEC\n1,nan\n", "not positions in degrees"),
        ("RA,DEC\n1,2\n1,\n", "rows without a value of DEC"),
        ("RA,DEC\n1,2\nten,2\n", "the column RA does not hold numbers"),
        ("RA,DEC\n", "there are no positions in it"),
        ("", "not a table of text"),
    ],
)
def test_wrong_positions_are_named(run, tmp_path, text, expected):
    (tmp_path / "points.csv").write_text(text)
    code, message = failure(tmp_path, run, "--output", "o", "--around", "points.csv")
    assert code == 1, message
    assert "points.csv" in message
    assert expected in message


def test_columns_of_positions_can_be_named_and_windows_line_ends_are_read(run, tmp_path):
    (tmp_path / "points.csv").write_bytes(b"name,alpha,delta\r\nA,359.9,35.0\r\n\r\nB,0.3,35.1\r\n")
    command = ("shear", run, "--output", "o", "--no-figures", "--around", "points.csv")
    result = verb(tmp_path, *command, "--position", "alpha,delta")
    assert result.code == 0, result
    assert [each["n"] for each in summary(tmp_path / "o")["around"] if each["name"] == "points"] == [2]
    assert failure(tmp_path, run, "--position", "alpha", "--around", "points.csv", "--output", "p")[0] == 2
    assert "--randoms belongs to --around" in failure(tmp_path, run, "--randoms", "points.csv", "--output", "p")[1]


def test_catalogues_that_cannot_be_used(tmp_path):
    rng = np.random.default_rng(2)
    rows = catalogue(rng, *disc(rng, 50, 10.0, 0.0, 0.2), SHEAR)
    rows["IMAFLAGS_ISO"] = 2
    write_run(tmp_path / "masked", rows)
    code, message = failure(tmp_path, "masked")
    assert code == 1
    assert "masked/catalogue.h5: no galaxy passes the cuts (shear.cuts): 50 rows" in message
    assert "0 after IMAFLAGS_ISO" in message
    write_run(tmp_path / "none", rows[:0])
    assert "0 rows" in failure(tmp_path, "none")[1]
    columns = tuple(column for column in COLUMNS if column.name not in ("psf_g1", "g1_1p"))
    write_run(tmp_path / "old", rows, columns=columns)
    assert "has no column psf_g1" in failure(tmp_path, "old")[1]
    columns = tuple(column for column in COLUMNS if column.name != "g1_1p")
    rows["IMAFLAGS_ISO"] = 0
    write_run(tmp_path / "old", rows, columns=columns)
    assert "has no column g1_1p" in failure(tmp_path, "old")[1]
    rows["g1_1p"] = rows["g1_1m"]
    write_run(tmp_path / "flat", rows)
    assert "response" in failure(tmp_path, "flat")[1]
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "catalogue.h5").write_text("no HDF5")
    assert "not a catalogue" in failure(tmp_path, "text")[1]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("n", [5, 60, 300])
def test_few_galaxies_are_drawn_all_the_same(tmp_path, n):
    rng = np.random.default_rng(3)
    rows = catalogue(rng, *disc(rng, n, 10.0, 0.0, 0.2), SHEAR, selection=0.0)
    write_run(tmp_path / "run", rows)
    result = verb(tmp_path, "shear", "run")
    assert result.code == 0, result
    assert ("too few for ten patches" in result.out) == (n < 250)
    assert (tmp_path / "run" / "shear" / "xi.png").read_bytes()[:4] == b"\x89PNG"
