"""The verbs about catalogues, as a user types them, on a run."""

import fitsio
import h5py
import healsparse
import hpgeom
import numpy as np
import pytest
from astropy.table import Table
from chain.program import verb

from shapempi.io.catalog import read_table


@pytest.fixture(scope="module")
def native(reference):
    return read_table(reference / "run" / "catalogue.h5")


@pytest.mark.parametrize(
    ("kind", "name"), [("parquet", "catalogue.parquet"), ("hdf5", "catalogue.hdf5"), ("npy", "catalogue.npy")]
)
def test_export_in_other_formats(reference, native, tmp_path, kind, name):
    columns = tmp_path / "columns.txt"
    columns.write_text("ra\ndec\nNUMBER\n")
    target = tmp_path / name
    words = ["export", "run", "--format", kind, "--columns", columns, "--primary", "--output", target]
    result = verb(reference, *words)
    n_primary = np.sum(native["FLAG_TILING"] == 1)
    assert (result.code, result.out, result.err) == (0, f"{target}: {n_primary} rows\n", "")
    before = target.read_bytes()
    result = verb(reference, *words)
    assert result.code == 2 and "already there; give --overwrite" in result.err
    assert target.read_bytes() == before
    assert verb(reference, *words, "--overwrite").code == 0


def test_export_refuses_options_that_a_format_does_not_have(reference, tmp_path):
    for kind, option in (
        ("fits", ("--band", "r")),
        ("fits", ("--vignets",)),
        ("txpipe", ("--grammar", "v2")),
        ("txpipe", ("--columns", "x")),
        ("ldac", ("--primary",)),
        ("ldac", ("--grammar", "legacy")),
    ):
        result = verb(reference, "export", "run", "--format", kind, *option, "--output", tmp_path / "x")
        assert result.code == 2 and f"{option[0]} is of no use with --format {kind}" in result.err
    assert not (tmp_path / "x").exists()


def test_export_to_txpipe_takes_the_step_of_the_run(reference, native, tmp_path):
    target = tmp_path / "shear_catalog.hdf5"
    result = verb(reference, "export", "run", "--format", "txpipe", "--output", target)
    assert result.code == 0 and "TXTwoPoint: flip_g2 true, its default" in result.out
    assert "delta_gamma of TXPipe's source selector is 0.02\n" in result.out
    primary = native[native["FLAG_TILING"] == 1]
    with h5py.File(target, "r") as file:
        shear = file["shear"]
        np.testing.assert_array_equal(shear["g1"][()], primary["g1_noshear"])
        np.testing.assert_array_equal(shear["g2_2p"][()], -primary["g2_2m"])
        assert (shear["flags"][()] == 0).sum() == (primary["shape_flags"] == 0).sum() > 30
    lonely = tmp_path / "lonely.h5"
    lonely.write_bytes((reference / "run" / "catalogue.h5").read_bytes())
    result = verb(tmp_path, "export", lonely, "--format", "txpipe")
    assert result.code == 2 and "nothing says by what shear its images were sheared; give --step" in result.err
    assert verb(tmp_path, "export", lonely, "--format", "txpipe", "--step", "0.01").code == 0
    assert (tmp_path / "lonely-shear_catalog.hdf5").exists()


@pytest.fixture(scope="module")
def flags(reference, tmp_path_factory):
    """Return the mask of the tile, made by `shapempi mask` from the same files."""
    folder = tmp_path_factory.mktemp("mask")
    image = next((reference / "survey" / "tiles").glob("CFIS.*.r.fits"))
    weight = next((reference / "survey" / "tiles").glob("CFIS.*.weight.fits*"))
    result = verb(
        reference, "mask", image, "--weight", weight, "--tile", "--config", "chain.toml", "--output", folder / "m.fits"
    )
    assert result.code == 0, result
    with fitsio.FITS(str(folder / "m.fits")) as file:
        return next(hdu.read() for hdu in file if hdu.get_info()["ndims"] == 2)


def test_random_points_avoid_the_mask(reference, flags, tmp_path):
    target = tmp_path / "random.fits"
    words = ["random", "run", "--density", "5e7", "--seed", "4", "--output", target]
    result = verb(reference, *words)
    assert (result.code, result.err) == (0, "")
    points = Table.read(target)
    assert points.colnames == ["RA", "DEC", "x", "y", "TILE_ID"]
    assert {str(name) for name in points["TILE_ID"]} == {"241.293"}
    # The pixels are 1-based; the mask is that of the run.
    column, row = (np.floor(points[name] - 0.5).astype(int) for name in ("x", "y"))
    masked = flags != 0
    assert 0.02 < masked.mean() < 0.5
    assert not np.any(masked[row, column])
    # N = density x free area: the whole tile is primary, and its pixels are of 0.187 arcsec.
    header = fitsio.read_header(str(next((reference / "survey" / "tiles").glob("CFIS.*.r.fits"))))
    scale = abs(header["CD1_1"] * header["CD2_2"] - header.get("CD1_2", 0) * header.get("CD2_1", 0))
    free = scale * np.sum(~masked)
    assert len(points) == pytest.approx(5e7 * free, rel=1e-4)
    assert f"unmasked {100 * np.mean(~masked):.2f} %" in result.out
    again = tmp_path / "again.fits"
    verb(reference, *words[:-1], again)
    np.testing.assert_array_equal(Table.read(again)["RA"], points["RA"])
    result = verb(reference, *words)
    assert result.code == 2 and "already there" in result.err


def test_random_points_and_maps_of_the_sky(reference, native, tmp_path):
    middle = float(np.median(native["ra"]))
    nside = 2**17  # pixels of 1.6 arcsec
    grid = np.stack(np.meshgrid(np.linspace(middle - 0.02, middle, 200), np.linspace(-0.02, 0.02, 200)))
    ra, dec = grid[0].ravel(), grid[1].ravel() + float(np.median(native["dec"]))
    sky = healsparse.HealSparseMap.make_empty(128, nside, np.float32)
    sky.update_values_pix(np.unique(hpgeom.angle_to_pixel(nside, ra, dec)), np.float32(1))
    sky.write(str(tmp_path / "west.hsp"))
    found = {}
    for option in ("--footprint", "--sky-mask"):
        target = tmp_path / f"{option[2:]}.parquet"
        result = verb(reference, "random", "run", "--density", "2e7", option, tmp_path / "west.hsp", "--output", target)
        assert result.code == 0, result
        found[option] = int(result.out.splitlines()[-1].split()[1])
    plain = verb(reference, "random", "run", "--density", "2e7", "--output", tmp_path / "all.h5")
    # What one lets through the other takes away: of the same points.
    assert sum(found.values()) == int(plain.out.splitlines()[-1].split()[1])
    assert min(found.values()) > 100
    result = verb(reference, "random", "run", "--number", "300", "--footprint", tmp_path / "west.hsp")
    assert result.code == 0 and "run/random_cat.fits: 300 points" in result.out
    rows = fitsio.read(str(reference / "run" / "random_cat.fits"))
    assert np.all(sky.get_values_pos(rows["RA"], rows["DEC"]) == 1)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), 2, "say how many points: --number N a tile, or --density D per square degree"),
        (("--number", "3", "--density", "3"), 2, "one of them"),
        (("--density", "-3"), 2, "--density must be greater than 0"),
        (("--number", "3", "--footprint", "none.hsp"), 3, "none.hsp: the map of the sky does not exist"),
        (("--number", "3", "--output", "x.npy"), 2, "a .npy file cannot grow"),
        (("--number", "3", "--output", "x.dat"), 2, "its name says no format"),
    ],
)
def test_random_points_that_cannot_be(reference, words, code, message):
    result = verb(reference, "random", "run", *words)
    assert result.code == code and message in result.err
    assert not list(reference.glob("x.*"))


def test_another_mask_than_the_run_had_is_found(reference, tmp_path):
    moved = tmp_path / "place"
    moved.mkdir()
    for name in ("run", "survey"):
        (moved / name).symlink_to(reference / name)
    config = (reference / "run" / "config.toml").read_text()
    run = tmp_path / "run"
    run.mkdir()
    for path in (reference / "run").iterdir():
        (run / path.name).symlink_to(path)
    (run / "config.toml").unlink()
    (run / "config.toml").write_text(config + "\n[tile.mask]\nborder_width = 12\n")
    (tmp_path / "survey").symlink_to(reference / "survey")
    result = verb(tmp_path, "random", "run", "--number", "5", "--output", tmp_path / "x.fits")
    assert result.code == 1 and "its mask is not the one of the run: BORDER" in result.err
    assert not (tmp_path / "x.fits").exists()


def test_merge_match_and_paste(reference, native, tmp_path):
    merged = tmp_path / "merged.h5"
    result = verb(reference, "merge", "run", tmp_path / "none", "--output", merged)
    assert result.code == 1 and "skipped: " in result.err
    assert f"{merged}: {len(native)} objects of 1 tiles from 1 catalogues" in result.out
    assert np.all(np.diff(read_table(merged)["dec"]) >= 0)
    result = verb(reference, "export", merged, "--format", "txpipe")  # a merged catalogue knows the step
    assert result.code == 0 and (tmp_path / "merged-shear_catalog.hdf5").exists()

    truth = tmp_path / "stars.fits"
    result = verb(
        reference, "match", "run", "survey/star_catalogue.fits", "--tolerance", "1", "--distance", "--output", truth
    )
    assert result.code == 0, result
    assert np.all(fitsio.read(str(truth), ext="MATCHED")["DISTANCE"] < 1)
    result = verb(
        reference, "match", "run", "survey/star_catalogue.fits", "--tolerance", "1e-9", "--output", tmp_path / "no.fits"
    )
    assert result.code == 1 and "nothing is written" in result.err

    pasted = tmp_path / "pasted.fits"
    result = verb(reference, "paste", "run", merged, "--name", "RUN,MERGED", "--output", pasted)
    assert result.code == 0 and f"MERGED: {len(native)} rows" in result.out
    result = verb(
        reference, "paste", "run", merged, "--name", "A,B", "--check", "NUMBER", "--output", tmp_path / "x.fits"
    )
    assert result.code == 1 and "the tables are not of the same objects in the same order" in result.err


def test_a_catalogue_of_several_files(reference, native, tmp_path):
    folder = tmp_path / "catalogue"
    assert verb(reference, "gather", "run", "--shards", "2", "--output", folder).code == 0
    result = verb(reference, "export", folder, "--output", tmp_path / "out.fits")
    assert result.out == f"{tmp_path / 'out.fits'}: {len(native)} rows\n"
