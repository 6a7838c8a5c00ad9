"""The verbs that prepare a field, as they are typed: what they print, write, refuse and return."""

import csv

import pytest
import tiny_survey
from chain.program import verb

from shapempi.ids import TileId
from shapempi.tile_grid import CFIS_GRID

FIRST, SECOND = tiny_survey.EXPOSURES
#: The tiny tile's place on the sky is not that of its number; this is the one there.
HERE = "346.263"

LISTED = "".join(
    f"{number} | p | r | {ra} +41:42:00 | {time} | a | b | c | d | e | P1 1.0 {valid} | x\r\n\r\n"
    for number, ra, time, valid in (
        (FIRST, "15:25:12", 200, "V"),
        (2243882, "15:25:12", 60, "V"),
        (2243883, "15:25:12", 200, "O"),
        (2243884, "15:29:12", 200, "V"),
    )
)


@pytest.fixture
def field(tmp_path):
    """Return a folder with a tiny survey."""
    tiny_survey.write_survey(tmp_path)
    return tmp_path


def words(result):
    return [line.split()[0] for line in result.out.splitlines()]


def test_tiles_without_a_list(tmp_path):
    result = verb(tmp_path, "select", "--coord", "213.68", "54.79")
    assert result.code == 0
    assert result.out.splitlines()[0].startswith("# name")
    assert result.out.splitlines()[1].split() == ["CFIS.245.290.r.fits", "213.57", "55.00", "-1", "-"]
    assert words(verb(tmp_path, "select", "--coord", "213.68deg", "-54.79deg", "--id-only")) == ["245.070"]
    both = verb(tmp_path, "select", "--coord", "213.14", "55.0", "--all", "--short", "--type", "weight")
    assert words(both) == ["CFIS.244.290.r.weight.fits.fz", "CFIS.245.290.r.weight.fits.fz"]
    assert words(verb(tmp_path, "select", "--number", "245-290", "--name-only", "--band", "u")) == [
        "CFIS.245.290.u.fits"
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--number", "245.299.1"], 2, "is not a tile name"),
        (["--number", "720.180"], 2, "columns 000 to 719"),
        (["--coord", "213.68"], 2, "2 angles are needed"),
        (["--coord", "1", "2", "--type", "exposure"], 2, "--input is needed"),
        (["--area", "1", "2", "3", "4", "--all"], 2, "--all goes with --coord"),
        (["--coord", "1", "2", "--input", "nowhere"], 3, "nowhere"),
        (["--coord", "1", "2", "--plot", "map.txt"], 2, ".png or .pdf"),
        (["--tile", "tiles/CFIS.241.293.r.fits", "--type", "tile"], 2, "leave --type out"),
        (["--number", "241.293", "--input", "exposures", "--type", "exposure"], 2, "this is a tile"),
        (["--coord", "1", "2", "--input", "tiles", "--band", "u"], 3, "CFIS.{tile}.u.fits"),
    ],
)
def test_what_is_wrong_is_said(field, arguments, code, said):
    result = verb(field, "select", *arguments)
    assert (result.code, result.out) == (code, "")
    assert said in result.err


def test_tiles_of_a_folder_and_of_lists(field, caplog):
    (field / "tiles" / f"CFIS.{HERE}.r.fits").write_text("")
    (field / "tiles" / f"old_CFIS.{HERE}.r.fits").write_text("")
    at = ["--coord", "231.3", "41.7"]
    assert words(verb(field, "select", *at, "--input", "tiles", "--short")) == [f"CFIS.{HERE}.r.fits"]
    (field / "list.txt").write_bytes(f"\r\n1 {HERE}\r\n\r\n2 241.293\r\n".encode())
    ids = ["--input", "list.txt", "--column", "1", "--input-format", "ID_only", "--short"]
    assert words(verb(field, "select", *at, *ids)) == [HERE]
    assert words(verb(field, "select", "--area", "200", "50", "240", "60", *ids)) == ["241.293"]
    (field / "list.txt").write_text("tiles/CFIS.241.293.r.fits\n")
    result = verb(field, "select", *at, "--input", "list.txt")
    assert (result.code, result.out) == (1, "")
    assert f"tile {HERE} is not in list.txt" in caplog.text and "nothing found" in caplog.text
    (field / "list.txt").write_text(f"a/CFIS.{HERE}.r.fits\nb/CFIS.{HERE}.r.fits\n")
    result = verb(field, "select", *at, "--input", "list.txt")
    assert result.code == 1 and f"{HERE} is named twice" in result.err


def test_where_the_own_tile_is_not_listed_the_nearest_that_holds_the_position_is(tmp_path, caplog):
    (tmp_path / "list.txt").write_text("CFIS.244.290.r.fits\nCFIS.246.290.r.fits\n")
    result = verb(tmp_path, "select", "--coord", "213.14", "55.0", "--input", "list.txt", "--short")
    assert words(result) == ["CFIS.244.290.r.fits"] and "tile 245.290 is not in" in caplog.text


def test_a_tile_beyond_360_is_found_in_the_list_that_has_it(tmp_path):
    columns = 413  # of row 290
    (tmp_path / "list.txt").write_text(f"CFIS.{columns}.290.r.fits\n")
    assert CFIS_GRID.centre(TileId(columns, 290))[0] < 1.0
    result = verb(tmp_path, "select", "--coord", "0.1", "55.0", "--input", "list.txt", "--short")
    assert words(result) == [f"CFIS.{columns}.290.r.fits"]


def test_exposures_of_the_log_with_cuts(tmp_path, caplog):
    (tmp_path / "log.txt").write_bytes(LISTED.encode())
    ask = ["select", "--coord", "231.3", "41.7", "--input", "log.txt", "--type", "exposure", "--short"]
    assert words(verb(tmp_path, *ask)) == [str(FIRST)]
    assert "1 exposures shorter than 95 s, 1 not validated" in caplog.text
    assert words(verb(tmp_path, *ask, "--no-cuts")) == [str(FIRST), "2243882", "2243883"]
    result = verb(tmp_path, *ask, "--no-cuts", "--output", "out.csv", "--plot", "map.png")
    assert result.code == 0 and (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")
    rows = list(csv.reader((tmp_path / "out.csv").read_text().splitlines()))
    assert rows[0] == [str(FIRST), "231.300000", "41.700000", "200", "V"]
    result = verb(tmp_path, *ask, "--output", "out.csv")
    assert result.code == 2 and "already there" in result.err
    assert words(
        verb(tmp_path, "select", "--number", "2243884p", "--input", "log.txt", "--type", "exposure", "--short")
    )


def test_exposures_of_a_folder_by_their_headers(field, caplog):
    ask = ["select", "--coord", "231.3", "41.7", "--input", "exposures", "--type", "exposure", "--id-only"]
    assert words(verb(field, *ask)) == [f"{FIRST}p", f"{SECOND}p"]
    (field / "exposures" / "1111111p.fits.fz").write_text("no image")
    result = verb(field, *ask)
    assert result.code == 1 and words(result) == [f"{FIRST}p", f"{SECOND}p"]
    assert "1111111p.fits.fz: not a FITS file" in caplog.text


def test_exposures_without_positions_are_refused(tmp_path):
    (tmp_path / "ids.txt").write_text(f"{FIRST}p\n")
    ask = ["--input", "ids.txt", "--input-format", "ID_only", "--type", "exposure", "--short"]
    result = verb(tmp_path, "select", "--coord", "231.3", "41.7", *ask)
    assert result.code == 1 and "no positions" in result.err
    assert words(verb(tmp_path, "select", "--number", str(FIRST), *ask)) == [f"{FIRST}p"]
    assert verb(tmp_path, "select", "--number", str(SECOND), *ask).code == 1


def test_exposures_of_tiles(field, caplog):
    tiny_survey.write_tile(field / "more", "241.294", (f"input image {SECOND}p.fits 4 extension(s)", "1111111p.fits"))
    ask = ["select", "--tile", "tiles/CFIS.241.293.r.fits", "more/CFIS.241.294.r.fits", "--id-only"]
    assert words(verb(field, *ask)) == ["1111111p", f"{FIRST}p", f"{SECOND}p"]
    (field / "log.txt").write_bytes(LISTED.encode())
    result = verb(field, *ask, "--input", "log.txt")
    assert result.code == 1 and f"there is no 1111111p, {SECOND}p" in caplog.text
    tiny_survey.write_tile(field / "none", "241.295", ("nothing",))
    result = verb(field, *ask[:-1], "none/CFIS.241.295.r.fits", "--id-only")
    assert result.code == 1 and "none/CFIS.241.295.r.fits" in caplog.text and len(words(result)) == 3


def test_lists_of_exposures(field, caplog):
    tiny_survey.write_tile(
        field / "tiles", "241.294", (f"input image {SECOND}p.fits", f" {FIRST}p.fits", f"{SECOND}p.fits")
    )
    result = verb(field, "exposures", "tiles", "--output", "lists")
    assert result.code == 0 and "2 lists written, 0 were there; 2 exposures in all" in result.out
    assert (field / "lists" / "exp_numbers-241-293.txt").read_text() == f"{FIRST}p\n{SECOND}p\n"
    assert (field / "lists" / "exp_numbers-241-294.txt").read_text() == f"{SECOND}p\n{FIRST}p\n"
    assert "0 lists written, 2 were there" in verb(field, "exposures", "tiles", "--output", "lists").out
    (field / "lists" / "exp_numbers-241-293.txt").write_text("mine\n")
    tiny_survey.write_tile(field / "tiles", "241.295", ("no exposure",))
    (field / "tiles" / "CFIS.241.296.r.fits").write_text("no tile")
    result = verb(field, "exposures", "tiles", "--output", "lists")
    assert result.code == 1
    assert (field / "lists" / "exp_numbers-241-293.txt").read_text() == "mine\n"
    for name in ("exp_numbers-241-293.txt is already there", "CFIS.241.295.r.fits", "CFIS.241.296.r.fits: not a FITS"):
        assert name in caplog.text
    assert verb(field, "exposures", "tiles", "--output", "lists", "--overwrite").code == 1
    assert (field / "lists" / "exp_numbers-241-293.txt").read_text() == f"{FIRST}p\n{SECOND}p\n"
    result = verb(field, "exposures", "tiles", "tiles/../tiles/CFIS.241.293.r.fits", "--output", "lists")
    assert result.code == 1 and "given twice" in result.err


def test_links(field):
    ask = ["link", "--input", "exposures", "--output", "links"]
    assert "6 links made, 0 were there; 2 exposures" in verb(field, *ask).out
    assert "0 links made, 6 were there" in verb(field, *ask).out
    link = field / "links" / f"weight-{SECOND}.fitsfz"
    link.unlink()
    link.symlink_to(field / "exposures" / f"{FIRST}p.weight.fits.fz")
    result = verb(field, *ask)
    assert result.code == 2 and f"{link.name} is already there and points to" in result.err
    (field / "ids.txt").write_text(f"\r\n{FIRST}p\r\n")
    result = verb(field, "link", "--input", "exposures", "--ids", "ids.txt", "--output", "some", "--image-base", "sci")
    assert result.code == 0 and (field / "some" / f"sci-{FIRST}.fitsfz").exists()
    result = verb(field, "link", "--input", "tiles", "--type", "tile", "--ids", "ids.txt", "--output", "some")
    assert result.code == 2 and "is not a tile" in result.err
    (field / "exposures" / f"{SECOND}p.weight.fits.fz").unlink()
    result = verb(field, "link", "--input", "exposures", "--output", "other")
    assert result.code == 3 and f"{SECOND}p.weight.fits.fz" in result.err and not (field / "other").exists()


def test_fetching(field, caplog):
    (field / "ids.txt").write_text(f"{FIRST}p\n9999999p\n")
    (field / "tiles.txt").write_text("241.293\n")
    ask = ["fetch-images", "ids.txt", "tiles.txt", "--from", ".", "--output", "got", "--wait", "0"]
    result = verb(field, *ask)
    assert result.code == 1 and "5 files fetched, 0 were there; 3 IDs, 1 failed: 9999999p" in result.out
    assert "9999999p: 9999999p.fits.fz is not below" in caplog.text
    # the folder that is fetched into is below the tree, and does not count
    assert "0 files fetched, 5 were there" in verb(field, *ask).out
    result = verb(field, "fetch-images", "ids.txt", "--from", "exposures", "--output", "new", "--files", "image,wait")
    assert result.code == 2 and "known are image, weight, flag" in result.err


def test_headers(field):
    ask = ["headers", "--input", "exposures", "--output", "wcs.fits", "--sip"]
    result = verb(field, *ask)
    assert result.code == 0 and "8 CCDs of 2 exposures; SIP within" in result.out
    result = verb(field, *ask)
    assert result.code == 2 and "already there" in result.err
    assert verb(field, *ask, "--overwrite").code == 0
    result = verb(field, "headers", "--input", "exposures", "--output", "new.fits", "--sip", "--tolerance", "1e-14")
    assert result.code == 1 and "CCD 2243881-0" in result.err and not (field / "new.fits").exists()
    result = verb(field, "headers", "--input", "tiles", "--output", "new.fits")
    assert result.code == 3 and "{exposure}p.fits.fz" in result.err
