"""A survey of another form, by its description alone: simulated, planned, run, gathered, looked at."""

import fitsio
import h5py
import numpy as np
import pytest
from chain.program import shapempi, verb
from scipy.spatial import cKDTree

from shapempi.config import load
from shapempi.description import KEPT_NAME
from shapempi.gather import read_plan
from shapempi.io.catalog import read_table
from shapempi.io.fits import image_hdus
from shapempi.io.tile import tile_exposures, tile_image_hdu
from shapempi.selftest.miniature import CONFIG
from shapempi.sim.write import SurveyFiles
from shapempi.survey.inputs import SurveyInputs

#: Four CCDs with names, date and time as number, tiles every 72 arcsec; two of them 86 arcsec wide, side by side.
DESCRIPTION = r"""# Four CCDs and small tiles
[input]
band = "z"
image_name = "q4_{exposure}_ooi_{band}.fits.fz"
weight_name = "q4_{exposure}_oow_{band}.fits.fz"
flag_name = "q4_{exposure}_ood_{band}.fits.fz"
tile_name = "small_{tile}_{band}.fits"
tile_weight_name = "small_{tile}_{band}_weight.fits.fz"
n_ccd = 4
[input.exposure_number]
form = "NNNNNN_NNNNNN"
pattern = 'q4_(\d{6})_(\d{6})_ooi'
[input.tile_grid]
step = 0.02
name = "YYYYxXXXXX"
[input.camera]
name = "Q4"
first_ccd = 1
ccd_names = ["NE", "NW", "SE", "SW"]
section = "[9:488,1:600]"
rows = [[1, 2], [3, 4]]
upside_down = [1, 2]
gaps = [24.0, 24.0, 24.0]
[input.flags]
ignored = 64
"""

TILES = ("5000.6700", "5001.6700")
FIRST = 171113061941
CCDS = {"NE": 1, "NW": 2, "SE": 3, "SW": 4}


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """Return the folder of the run, gathered."""
    folder = tmp_path_factory.mktemp("other")
    (folder / "mine.toml").write_text(DESCRIPTION)
    text = CONFIG.replace('name = "tiny"', 'name = "tiny"\ndescription = "mine.toml"')
    text = text.replace("tile_size = 400", f"tile_size = 460\ntiles = {list(TILES)}")
    text = text.replace(
        "n_exposure = 2, dithers = [[30.0, 84.0], [-35.0, -45.0]]", f"n_exposure = 1, first_exposure = {FIRST}"
    )
    (folder / "chain.toml").write_text(text)
    for words in (("simulate", "chain.toml"), ("run", "chain.toml")):
        result = shapempi(folder, *words)
        assert result.code == 0, result
    (folder / "mine.toml").rename(folder / "moved.toml")  # the run has a copy
    assert shapempi(folder, "gather", "run").code == 0
    return folder


def test_the_files_are_named_as_the_description_says(other):
    names = {path.name for path in (other / "survey").rglob("*.f*")}
    exposures = {f"q4_171113_06194{k}_{role}_z.fits.fz" for k in (1, 2) for role in ("ooi", "oow", "ood")}
    tiles = {f"small_6700x0500{k}_z{role}" for k in (0, 1) for role in (".fits", "_weight.fits.fz")}
    assert names == exposures | tiles | {"star_catalogue.fits"}
    mosaic = other / "survey" / "exposures" / "q4_171113_061941_ooi_z.fits.fz"
    assert [hdu.name for hdu in image_hdus(mosaic)] == list(CCDS)
    settings = load(other / "run" / "config.toml")
    hdu = tile_image_hdu(other / "survey" / "tiles" / "small_6700x05000_z.fits")
    assert tile_exposures(hdu.header, str(hdu), settings.input.exposure_number) == [FIRST, FIRST + 1]
    assert (other / "run" / KEPT_NAME).read_text() == DESCRIPTION


def test_long_numbers_and_names_reach_the_catalogue_whole(other):
    with h5py.File(other / "run" / "catalogue.h5") as file:
        assert {bytes(name) for name in np.unique(file["catalogue/tile"])} == {tile.encode() for tile in TILES}
        for table in ("epochs", "stars", "psf_status", "star_statistics"):
            assert set(np.unique(file[f"{table}/exposure"])) == {FIRST, FIRST + 1}, table
        assert set(np.unique(file["psf_status/ccd"])) <= set(CCDS.values())
        assert set(np.unique(file["catalogue/TILE_X"])) == {5000, 5001}
    rows = read_table(other / "run" / "catalogue.h5")
    assert len(rows) > 60 and (rows["N_EPOCH"] > 0).mean() > 0.9 and (rows["shape_flags"] == 0).sum() > 30


def test_every_object_has_exactly_one_primary(other):
    """An object in the overlap is detected in both tiles, and is the primary of the one in whose cell it lies."""
    rows = read_table(other / "run" / "catalogue.h5")
    grid = load(other / "run" / "config.toml").input.tile_grid
    x, y = grid.cell_of(rows["ra"], rows["dec"])
    # Beyond the outer edges are cells that the survey has not; the nearest tile takes what is there.
    inside = (y == 6700) & (x >= 5000) & (x <= 5001)
    assert 0.5 < inside.mean() < 1.0
    np.testing.assert_array_equal(rows["FLAG_TILING"][inside] == 1, rows["TILE_X"][inside] == x[inside])
    cos = np.cos(np.radians(rows["dec"]))
    tree = cKDTree(3600 * np.stack([rows["ra"] * cos.mean(), rows["dec"]], axis=-1))
    pairs = [(i, j) for i, j in tree.query_pairs(0.2) if rows["TILE_X"][i] != rows["TILE_X"][j]]
    assert len(pairs) >= 5
    twice = np.zeros(len(rows), dtype=int)
    for i, j in pairs:
        assert rows["FLAG_TILING"][i] + rows["FLAG_TILING"][j] == 1, (rows[i]["ra"], rows[i]["dec"])
        twice[[i, j]] += 1
    assert twice.max() == 1  # no third one
    alone = (twice == 0) & inside & (abs(rows["ra"] - rows["ra"].mean()) * cos * 3600 > 10)
    assert (rows["FLAG_TILING"][alone] == 1).all() and alone.sum() > 30


def test_ignored_bits_are_not_in_the_flags(other):
    """Bit 64 of the simulation's flags, saturation, is ignored; the others are not."""
    rows = read_table(other / "run" / "catalogue.h5")
    assert not (rows["IMAFLAGS_ISO"] & 64).any()
    files = SurveyFiles(other / "survey")
    given = load(other / "run" / "config.toml").input
    inputs = SurveyInputs(given.model_copy(update={"exposure_folder": files.exposures, "tile_folder": files.tiles}))
    ccds = [ccd for ccd in read_plan(other / "run").ccds if ccd.exposure == FIRST]
    flags = [inputs.read_ccd(ccd).flag for ccd in ccds]
    assert {bit for bit in (1, 8, 64) if any((flag & bit).any() for flag in flags)} == {1, 8}


@pytest.mark.parametrize(
    "words",
    [
        ("export", "run", "--format", "fits", "--grammar", "legacy", "--output", "legacy.fits"),
        ("export", "run", "--format", "ldac"),
        ("look", "run", f"{FIRST}-1"),
        ("look", "run", "5000.6700"),
        ("validate-psf", "run"),
        ("report", "run"),
        ("status", "run"),
        (
            *("interpolate-psf", "multi-epoch", "run", "run/sexcat/sexcat-5000-6700.fits"),
            *("--position", "XWIN_WORLD,YWIN_WORLD", "--output", "epochs.h5"),
        ),
        ("export", "run", "--format", "hdf5", "--output", "table.h5"),
        ("merge", "run", "--output", "merged.h5"),
        ("random", "run", "--density", "5e5", "--output", "random.fits"),
        ("select", "--number", "5001.6700", "--config", "run/config.toml"),
        ("select", "--tile", "survey/tiles/small_6700x05000_z.fits", "--config", "run/config.toml"),
        ("exposures", "survey/tiles", "--output", "lists", "--config", "run/config.toml"),
        ("link", "--input", "survey/exposures", "--output", "links", "--config", "run/config.toml"),
        ("headers", "--input", "survey/exposures", "--output", "headers.fits", "--config", "run/config.toml"),
        ("export", "run", "--format", "legacy", "--output", "tree", "--tile", "5000.6700"),
    ],
    ids=lambda words: "-".join(words[:4]),
)
def test_the_verbs_that_follow_know_the_description(other, words):
    result = verb(other, *words)
    assert result.code == 0, result
    if words[0] == "validate-psf":
        with h5py.File(other / "run" / "psf_validation" / "maps.h5") as file:
            assert file.attrs["camera"] == "Q4"
    if words[0] == "merge":
        ours, merged = (read_table(other / path) for path in ("run/catalogue.h5", "merged.h5"))
        assert merged.dtype["tile"].itemsize == 10 and set(merged["tile"]) == {tile.encode() for tile in TILES}
        assert abs(int(merged["FLAG_TILING"].sum()) - int(ours["FLAG_TILING"].sum())) <= 3
    if words[0] == "random":
        points = fitsio.read(str(other / "random.fits"))
        grid = load(other / "run" / "config.toml").input.tile_grid
        x, y = grid.cell_of(points["RA"], points["DEC"])
        of_tile = np.array([int(str(tile)[:4]) for tile in points["TILE_ID"]])
        assert set(of_tile) == {5000, 5001} and (of_tile == x)[y == 6700].mean() > 0.9
    if words[:2] == ("select", "--number"):
        assert "small_6700x05001_z.fits" in result.out and "44.00" in result.out
    if words[:2] == ("select", "--tile"):
        assert result.out.count("q4_171113_06194") == 2
    if words[0] == "exposures":
        assert (other / "lists" / "exp_numbers-5000-6700.txt").read_text().split() == [str(FIRST), str(FIRST + 1)]
    if words[0] == "link":
        target = (other / "links" / f"image-{FIRST}.fitsfz").resolve()
        assert target.name == "q4_171113_061941_ooi_z.fits.fz"
    if words[0] == "headers":
        table = fitsio.read(str(other / "headers.fits"))
        assert set(table["EXPOSURE"]) == {FIRST, FIRST + 1} and set(table["CCD"]) == set(CCDS.values())
    if words[0] == "interpolate-psf":
        with h5py.File(other / "epochs.h5") as file:
            assert set(file["index/exposure"][()]) == {FIRST, FIRST + 1} == set(file["psf_status/EXP"][()])


def test_the_same_command_resumes_with_the_copy_of_the_description(other):
    """The configuration in the run's folder names a file that is not there any more."""
    result = verb(other, "config", "run/config.toml")
    assert result.code == 0 and "valid" in result.out
    result = verb(other, "config", "chain.toml")
    assert result.code == 2 and "mine.toml: the survey description cannot be read" in result.err
