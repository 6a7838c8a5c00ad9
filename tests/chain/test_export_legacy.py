"""`shapempi export --format legacy`: a reader of the reference system's files finds what the run found."""

import shutil
from pathlib import Path

import galsim
import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from chain import legacy_reader
from chain.legacy_reader import FINAL, KINDS, NGMIX, SEXTRACTOR, VALIDATION, Tree, psf_stamp
from chain.program import shapempi, started, verb, wait_for
from chain.tiny import CCDS, EXPOSURES, copy_of, own_run, place

from shapempi.flags import NO_RESULT
from shapempi.ids import TileId
from shapempi.io import sqlite_dict
from shapempi.io.catalog import read_table
from shapempi.legacy.products import PRODUCTS
from shapempi.run_view import RunView
from shapempi.stages.vignets import VignetSource

TILE = "241-293"
PAIRS = [tuple(map(int, uid.removeprefix("ccd:").split("-"))) for uid in CCDS]
SIZE = 51


def files(folder):
    """Return the content of every file of a tree by its path in it, also of those that a process left behind."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def run(reference, tmp_path_factory):
    """A copy of the run with all its products."""
    folder = own_run(reference, tmp_path_factory.mktemp("legacy"))
    result = verb(folder, "export", "run", "--format", "legacy", "--psf-data", "--output", "out")
    assert result.code == 0, result
    assert [line.split(":")[0].strip() for line in result.out.splitlines()[1:]] == list(PRODUCTS)
    return folder


@pytest.fixture(scope="module")
def tree(run):
    return Tree(run / "out")


@pytest.fixture(scope="module")
def catalogue(run):
    return read_table(run / "run" / "catalogue.h5")


@pytest.fixture(scope="module")
def epochs(run):
    return read_table(run / "run" / "catalogue.h5", "epochs")


def mosaic(run, exposure, ccd, ending=""):
    """Return pixels and header of a CCD of the survey."""
    with fits.open(run / "survey" / "exposures" / f"{exposure}p{ending}.fits.fz") as file:
        hdu = file[f"ccd{ccd:02d}"]
        return np.array(hdu.data), hdu.header


@pytest.mark.parametrize(("exposure", "ccd"), PAIRS)
def test_ccds_are_split_with_their_pixels_and_headers(run, tree, exposure, ccd):
    for name, ending, dtype in (("image", "", "f4"), ("weight", ".weight", "f4"), ("flag", ".flag", "i2")):
        pixels, header = tree.image("split_exp_runner", f"{name}-{exposure}-{ccd}.fits")
        expected, expected_header = mosaic(run, exposure, ccd, ending)
        np.testing.assert_array_equal(pixels, expected)
        assert pixels.dtype.newbyteorder("=") == np.dtype(dtype)
        if name == "image":
            kept = {card.keyword for card in expected_header.cards} - {
                "XTENSION",
                "PCOUNT",
                "GCOUNT",
                "CHECKSUM",
                "DATASUM",
            }
            assert {"CTYPE1", "CRVAL2", "PV1_7", "FSCALE", "PHOTZP", "GAIN", "SATURATE", "DATASEC"} <= kept
            assert {key: header[key] for key in kept} == {key: expected_header[key] for key in kept}


def test_the_stores_of_headers_place_the_objects(tree, catalogue, epochs):
    store = tree.store("merge_headers_runner", "log_exp_headers.sqlite")
    assert list(store) == [str(exposure) for exposure in EXPOSURES]
    for exposure in EXPOSURES:
        headers = tree.headers(exposure)
        assert len(headers) == len(store[str(exposure)]) == 40
        for ccd in np.unique(epochs["ccd"][epochs["exposure"] == exposure]):
            mine = epochs[(epochs["exposure"] == exposure) & (epochs["ccd"] == ccd)]
            rows = catalogue[np.searchsorted(catalogue["NUMBER"], mine["NUMBER"])]
            for element in (headers[ccd], store[str(exposure)][ccd]):
                assert isinstance(element["WCS"], WCS)
                x, y = element["WCS"].all_world2pix(rows["XWIN_WORLD"], rows["YWIN_WORLD"], 1)
                np.testing.assert_allclose(x, mine["x"], atol=1e-3)
                np.testing.assert_allclose(y, mine["y"], atol=1e-3)
                assert fits.Header.fromstring(element["header"])["FSCALE"] > 0


@pytest.mark.parametrize(("exposure", "ccd"), PAIRS)
def test_masks_of_ccds_hold_the_observatory_s_flags(run, tree, exposure, ccd):
    plane, header = tree.image("mask_runner_run_2", f"pipeline_flag-{exposure}-{ccd}.fits")
    assert plane.dtype.newbyteorder("=") == np.int16
    flag, image_header = mosaic(run, exposure, ccd, ".flag")
    assert flag.any()
    np.testing.assert_array_equal(plane & flag, flag)
    weight, _ = mosaic(run, exposure, ccd, ".weight")
    np.testing.assert_array_equal((plane & 1) != 0, weight <= 0)
    x0, x1, y0, y1 = (int(v) for part in image_header["DATASEC"].strip("[]").split(",") for v in part.split(":"))
    inner = np.zeros(plane.shape, bool)
    inner[y0 - 1 + 10 : y1 - 10, x0 - 1 + 10 : x1 - 10] = True  # border_width = 10
    np.testing.assert_array_equal((plane & 4) != 0, ~inner)
    assert {header[f"FLAG{k}"]: header[f"FBIT{k}"] for k in range(1, 7)} == {
        "WEIGHT": 1,
        "HALO": 2,
        "BORDER": 4,
        "MESSIER": 16,
        "NGC": 32,
        "SPIKE": 128,
    }
    assert header["FRAC3"] == pytest.approx(((plane & 4) != 0).mean(), abs=1e-7)
    assert header["CRVAL1"] == mosaic(run, exposure, ccd)[1]["CRVAL1"]


def test_the_mask_of_the_tile_is_what_the_detections_saw(run, tree, catalogue):
    plane, _ = tree.image("mask_runner_run_1", f"pipeline_flag-{TILE}.fits")
    view = RunView(run / "run")
    owner = view.reader.read(view.done["tile:241.293"], names=("segmentation",)).arrays["segmentation"]
    assert plane.shape == owner.shape
    assert plane.any()
    seen = [np.bitwise_or.reduce(plane[owner == number], initial=0) for number in catalogue["NUMBER"]]
    np.testing.assert_array_equal(seen, catalogue["IMAFLAGS_ISO"])


def test_the_catalogue_of_the_tile_has_stamps_and_epochs(tree, catalogue, epochs):
    header, objects, more = tree.ldac("sextractor_runner_run_1", f"sexcat-{TILE}.fits")
    assert set(SEXTRACTOR) | {"VIGNET", "N_EPOCH"} <= set(objects)
    assert objects["VIGNET"].shape == (len(catalogue), SIZE, SIZE)
    assert (objects["VIGNET"] == np.float32(-1e30)).any()
    for name in SEXTRACTOR:
        if name != "EXT_NUMBER":
            np.testing.assert_array_equal(objects[name], catalogue[name])
    named = [int(str(card).split()[2].split("p.")[0]) for card in header["HISTORY"]]
    assert list(more) == [f"EPOCH_{k}" for k in range(len(named))]
    hits = np.zeros(len(catalogue), int)
    for exposure, table in zip(named, more.values(), strict=True):
        assert set(table["EXP_NAME"]) == {str(exposure)}
        ccd = dict(epochs[epochs["exposure"] == exposure][["NUMBER", "ccd"]].tolist())
        assert table["CCD_N"].tolist() == [ccd.get(number, -1) for number in objects["NUMBER"].tolist()]
        hits += table["CCD_N"] >= 0
    np.testing.assert_array_equal(hits, objects["N_EPOCH"])


@pytest.mark.parametrize(("exposure", "ccd"), PAIRS)
def test_catalogues_and_stars_of_ccds_are_those_of_the_run(run, tree, exposure, ccd):
    number = f"-{exposure}-{ccd}"
    _, objects, _ = tree.ldac("sextractor_runner_run_2", f"sexcat{number}.fits")
    assert set(SEXTRACTOR) | {"VIGNET"} <= set(objects)
    status = read_table(run / "run" / "catalogue.h5", "psf_status")
    (row,) = status[(status["exposure"] == exposure) & (status["ccd"] == ccd)]
    assert len(objects["NUMBER"]) == row["n_object"] > 100
    tables = {
        name: stars[(stars["exposure"] == exposure) & (stars["CCD_NB"] == ccd)]
        for name in ("stars", "training_stars")
        for stars in [read_table(run / "run" / "catalogue.h5", name)]
    }
    both = np.sort(np.concatenate(list(tables.values())), order="NUMBER")
    for path, expected in (
        ("rand_split/star_split_ratio_20", tables["stars"]),
        ("rand_split/star_split_ratio_80", tables["training_stars"]),
        ("mask/star_selection", both),
    ):
        header, stars, _ = tree.ldac("setools_runner", f"{path}{number}.fits")
        assert list(stars) == list(objects)
        assert len(expected) > 5
        for name, ours in (("NUMBER", "NUMBER"), ("XWIN_IMAGE", "X"), ("YWIN_WORLD", "DEC"), ("MAG_AUTO", "MAG")):
            np.testing.assert_array_equal(stars[name], expected[ours])
        np.testing.assert_array_equal(stars["VIGNET"], objects["VIGNET"][stars["NUMBER"] - 1])
        assert header["SEXGAIN"] > 0
    lines = (tree.path("setools_runner", f"stat/star_stat{number}.txt")).read_text().splitlines()
    assert lines[0] == "# Statistics"
    assert dict(line.split(" = ") for line in lines[1:])["Stars"] == str(row["n_star"])
    background, _ = tree.image("sextractor_runner_run_2", f"background{number}.fits")
    star = both[np.argmax(both["SNR"])]
    x, y = round(star["X"]) - 1, round(star["Y"]) - 1
    stamp = objects["VIGNET"][star["NUMBER"] - 1]
    pixels = (mosaic(run, exposure, ccd)[0] - background)[y - 2 : y + 3, x - 2 : x + 3]
    np.testing.assert_allclose(stamp[23:28, 23:28], pixels, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize(("exposure", "ccd"), PAIRS)
def test_models_drawn_by_the_formula_are_the_stamps_of_the_store(run, tree, epochs, exposure, ccd):
    basis, header = tree.psf(exposure, ccd)
    status = read_table(run / "run" / "catalogue.h5", "psf_status")
    (row,) = status[(status["exposure"] == exposure) & (status["ccd"] == ccd)]
    assert header["ACCEPTED"] == row["n_used"]
    assert header["CHI2"] == pytest.approx(row["chi2"])
    assert basis.shape[::-1] == tuple(header[f"PSFAXIS{k}"] for k in (1, 2, 3))
    store = tree.store("psfex_interp_runner_run_1", f"galaxy_psf-{TILE}.sqlite")
    mine = epochs[(epochs["exposure"] == exposure) & (epochs["ccd"] == ccd)]
    assert len(mine) > 5
    for epoch in mine:
        entry = store[str(epoch["NUMBER"])][f"{exposure}-{ccd}"]
        assert set(entry) == {"VIGNET", "SHAPES"}
        assert entry["VIGNET"].sum() == pytest.approx(1, abs=1e-5)
        drawn = psf_stamp(basis, header, epoch["x"], epoch["y"])
        inner = (SIZE - drawn.shape[0]) // 2
        cut = entry["VIGNET"][inner : SIZE - inner, inner : SIZE - inner]
        np.testing.assert_allclose(cut, drawn / drawn.sum(), atol=2e-6)
        shapes = entry["SHAPES"]
        moments = galsim.hsm.FindAdaptiveMom(galsim.Image(entry["VIGNET"].astype(float), scale=1.0))
        assert shapes["FLAG_PSF_HSM"] == 0
        assert shapes["SIGMA_PSF_HSM"] == pytest.approx(moments.moments_sigma, rel=1e-4)
        assert shapes["E1_PSF_HSM"] == pytest.approx(moments.observed_shape.g1, abs=1e-4)
        assert shapes["E2_PSF_HSM"] == pytest.approx(moments.observed_shape.g2, abs=1e-4)


@pytest.mark.parametrize(("exposure", "ccd"), PAIRS)
def test_validation_has_the_stars_held_back(run, tree, exposure, ccd):
    _, rows, _ = tree.ldac("psfex_interp_runner_run_2", f"validation_psf-{exposure}-{ccd}.fits")
    assert tuple(rows)[: len(VALIDATION)] == VALIDATION
    stars = read_table(run / "run" / "catalogue.h5", "stars")
    stars = stars[(stars["exposure"] == exposure) & (stars["CCD_NB"] == ccd)]
    assert len(stars) > 5
    for name in VALIDATION:
        if "PSF_HSM" not in name:
            np.testing.assert_array_equal(rows[name], stars[name])
    np.testing.assert_allclose(rows["SIGMA_PSF_HSM"], stars["SIGMA_PSF_HSM"], rtol=1e-3)
    np.testing.assert_allclose(rows["E1_PSF_HSM"], stars["E1_PSF_HSM"], atol=1e-3)
    assert (rows["ACCEPTED"] == 1).all()
    assert (rows["FLAG_PSF_HSM"] == 0).all()


def test_the_stamps_of_the_stores_are_what_was_measured(run, tree, catalogue, monkeypatch):
    monkeypatch.chdir(run)  # the configuration names its folders from here
    stores = {
        name: tree.store("vignetmaker_runner_run_2", f"{name}_vignet-{TILE}.sqlite")
        for name in ("image", "weight", "flag", "background")
    }
    psf = tree.store("psfex_interp_runner_run_1", f"galaxy_psf-{TILE}.sqlite")
    headers = tree.store("merge_headers_runner", "log_exp_headers.sqlite")
    view = RunView(run / "run")
    location = view.need("tile:241.293")
    source = VignetSource(view.inputs, view.reader, view.settings.vignet)
    objects = source.objects(TileId.parse(TILE), location, np.arange(len(catalogue)))
    stacks = source.cut(objects, source.segmentation(objects, location), view.done).stacks
    n_epoch = 0
    for k, number in enumerate(catalogue["NUMBER"].tolist()):
        entries = {name: store[str(number)] for name, store in stores.items()}
        stack = stacks[k]
        names = [f"{e}-{c}" for e, c in zip(stack.exposure, stack.ccd, strict=True)]
        if not names:
            assert set(entries.values()) == {"empty"}
            assert psf[str(number)] == "empty"
            continue
        for entry in (*entries.values(), psf[str(number)]):
            assert list(entry) == names
        for i, name in enumerate(names):
            image, weight, flag, background = (entries[kind][name]["VIGNET"] for kind in stores)
            assert [each.dtype.name for each in (image, weight, flag, background)] == [
                *("float32", "float32", "int16", "float32")
            ]
            exposure, ccd = name.split("-")
            scale = fits.Header.fromstring(headers[exposure][int(ccd)]["header"])["FSCALE"]
            inside = stack.weight[i] > 0
            assert inside.any()
            np.testing.assert_allclose(
                ((image - background) * scale)[inside], stack.image[i][inside], rtol=1e-5, atol=1e-3
            )
            np.testing.assert_allclose((weight / scale**2)[inside], stack.weight[i][inside], rtol=1e-5)
            np.testing.assert_array_equal(flag, stack.flag[i] & ~1024)  # neighbours are marked later
            np.testing.assert_allclose(psf[str(number)][name]["VIGNET"], stack.psf[i], atol=1e-7)
            n_epoch += 1
    assert n_epoch == len(objects.epochs)
    for store in (*stores.values(), psf):
        assert list(store) == [str(number) for number in catalogue["NUMBER"]]


def test_stamps_are_cut_where_the_rule_says(run, tree, catalogue):
    store = tree.store("vignetmaker_runner_run_2", f"image_vignet-{TILE}.sqlite")
    headers = tree.store("merge_headers_runner", "log_exp_headers.sqlite")
    for row in catalogue[catalogue["N_EPOCH"] > 0][::7]:
        for name, entry in store[str(row["NUMBER"])].items():
            exposure, ccd = name.split("-")
            wcs = headers[exposure][int(ccd)]["WCS"]
            x, y = (int(np.rint(v - 1)) for v in wcs.all_world2pix(row["XWIN_WORLD"], row["YWIN_WORLD"], 1))
            pixels, _ = mosaic(run, int(exposure), int(ccd))
            assert entry["VIGNET"][25, 25] == pixels[y, x]
    weight = fits.getdata(run / "survey" / "tiles" / "CFIS.241.293.r.weight.fits.fz")
    padded = np.pad(weight, 25)
    _, rows, _ = tree.ldac("vignetmaker_runner_run_1", f"weight_vignet-{TILE}.fits")
    assert list(rows) == ["VIGNET"]
    x, y = (np.rint(catalogue[f"{axis}WIN_IMAGE"] - 1).astype(int) for axis in "XY")
    expected = [padded[b : b + SIZE, a : a + SIZE] for a, b in zip(x, y, strict=True)]
    np.testing.assert_array_equal(rows["VIGNET"], expected)


def test_shapes_are_those_of_the_catalogue(tree, catalogue):
    tables = tree.table("ngmix_runner", f"ngmix-{TILE}.fits")
    assert tuple(tables) == KINDS
    good = catalogue[(catalogue["shape_flags"] & int(NO_RESULT)) == 0]
    assert 10 < len(good) <= len(catalogue)
    for kind, rows in tables.items():
        assert {name: rows[name].dtype.kind for name in rows} == NGMIX
        assert all(rows[name].dtype.itemsize == 8 for name, kind_of in NGMIX.items() if kind_of == "f")
        np.testing.assert_array_equal(rows["id"], good["NUMBER"])
        np.testing.assert_array_equal(rows["n_epoch_model"], good["n_epoch_used"])
        for name in ("g1", "g2_err", "T", "T_err", "Tpsf", "flux", "s2n", "mag", "flags"):
            np.testing.assert_array_equal(rows[name], good[f"{name}_{kind.lower()}"])
        np.testing.assert_allclose(rows["mag"], 30 - 2.5 * np.log10(rows["flux"]), atol=1e-4)
        np.testing.assert_array_equal(rows["g1_psfo_ngmix"], good["psf_g1"])
        np.testing.assert_array_equal(rows["g1_psf"], 0.0)  # a round Gaussian
    step = 0.02
    response = (tables["1P"]["g1"] - tables["1M"]["g1"]) / step
    assert 0.2 < np.median(response) < 1.2


def test_the_final_catalogue_has_all_columns(tree, catalogue):
    tables = tree.table("make_cat_runner", f"final_cat-{TILE}.fits")
    assert list(tables) == ["RESULTS"]
    rows = tables["RESULTS"]
    assert set(SEXTRACTOR) | {"N_EPOCH", "TILE_ID", "SPREAD_MODEL", "SPREADERR_MODEL", "SPREAD_CLASS"} <= set(rows)
    assert "VIGNET" not in rows
    assert {f"{name}_{kind}" for name in (*FINAL, "NGMIX_FLAGS") for kind in KINDS} <= set(rows)
    assert {"NGMIX_N_EPOCH", "NGMIX_MOM_FAIL", "NGMIX_MCAL_FLAGS", "SHAPE_FLAGS", "TILE_X", "TILE_Y"} <= set(rows)
    for name in ("NUMBER", "XWIN_WORLD", "MAG_AUTO", "N_EPOCH", "SPREAD_MODEL", "SPREAD_CLASS", "FLAG_TILING"):
        np.testing.assert_array_equal(rows[name], catalogue[name])
    assert [float(name) for name in rows["TILE_ID"]] == [241.293] * len(catalogue)
    shapes = tree.table("ngmix_runner", f"ngmix-{TILE}.fits")
    for kind in KINDS:
        matched = np.isin(rows["NUMBER"], shapes[kind]["id"])
        np.testing.assert_array_equal(rows[f"NGMIX_ELL_{kind}"][matched, 0], shapes[kind]["g1"])
        np.testing.assert_array_equal(rows[f"NGMIX_ELL_{kind}"][matched, 1], shapes[kind]["g2"])
        np.testing.assert_array_equal(rows[f"NGMIX_T_{kind}"][matched], shapes[kind]["T"])
        np.testing.assert_array_equal(rows[f"NGMIX_FLAGS_{kind}"][matched], shapes[kind]["flags"])
        for name, missing in FINAL.items():
            unmeasured = np.isnan(catalogue[f"g1_{kind.lower()}"])
            without_psf = np.isnan(catalogue["psf_T"])
            lost = rows[f"{name}_{kind}"][unmeasured & without_psf]
            np.testing.assert_array_equal(lost, np.full_like(lost, missing))
    np.testing.assert_array_equal(rows["NGMIX_N_EPOCH"], catalogue["n_epoch_used"])
    _, spread, _ = tree.ldac("spread_model_runner", f"sexcat_sm-{TILE}.fits")
    assert list(spread) == ["NUMBER", "MAG", "SPREAD_MODEL", "SPREADERR_MODEL"]
    np.testing.assert_array_equal(spread["SPREAD_MODEL"], rows["SPREAD_MODEL"])
    np.testing.assert_array_equal(spread["MAG"], rows["MAG_AUTO"])


def test_the_final_catalogue_has_the_psf_of_every_epoch(tree):
    rows = tree.table("make_cat_runner", f"final_cat-{TILE}.fits")["RESULTS"]
    psf = tree.store("psfex_interp_runner_run_1", f"galaxy_psf-{TILE}.sqlite")
    n_column = rows["N_EPOCH"].max() + 1
    assert [name for name in rows if name.startswith("PSF_ELL_")] == [f"PSF_ELL_{k + 1}" for k in range(n_column)]
    for i, number in enumerate(rows["NUMBER"].tolist()):
        entry = psf[str(number)]
        found = [] if entry == "empty" else list(entry.items())
        for k in range(n_column):
            ell, fwhm, flag, exposure, ccd = (
                rows[f"PSF_{name}_{k + 1}"][i] for name in ("ELL", "FWHM", "FLAG", "EXP", "CCD")
            )
            if k < len(found):
                name, epoch = found[k]
                shapes = epoch["SHAPES"]
                assert name == f"{exposure}-{ccd}"
                assert ell.tolist() == [shapes["E1_PSF_HSM"], shapes["E2_PSF_HSM"]]
                assert fwhm == pytest.approx(2.35482004503 * shapes["SIGMA_PSF_HSM"])
                assert flag == 0
            else:
                assert (*ell.tolist(), fwhm, flag, ccd) == (-10, -10, 0, 1, -1)


def test_ranks_write_the_same_bytes(run):
    result = shapempi(run, "export", "run", "--format", "legacy", "--psf-data", "--output", "ranks", n_rank=3)
    assert result.code == 0, result
    assert files(run / "ranks") == files(run / "out")


def test_parts_of_a_run_can_be_asked_for(run):
    def export(*options):
        result = verb(run, "export", "run", "--format", "legacy", "--output", options[0], *options[1:])
        assert result.code == 0, result
        return {path.rsplit("/", 1)[1] for path in files(run / options[0])}

    first, second = EXPOSURES
    assert export("psf", "--products", "psf", "--exposure", f"{first}p") == {
        f"star_split_ratio_80-{first}-{ccd}.psf" for exposure, ccd in PAIRS if exposure == first
    }
    assert export("cat", "--products", "final_cat, ngmix", "--tile", "241.293") == {
        f"final_cat-{TILE}.fits",
        f"ngmix-{TILE}.fits",
    }
    names = export("one", "--exposure", second)
    assert f"pipeline_flag-{second}-13.fits" in names
    assert f"headers-{second}.npy" in names
    assert not any(str(first) in name or TILE in name for name in names)
    assert "PSF_ELL_1" not in Tree(run / "cat").table("make_cat_runner", f"final_cat-{TILE}.fits")["RESULTS"]


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--products", "ngmx"), 2, "there is no product 'ngmx'; did you mean ngmix?"),
        (("--products", ","), 2, "--products names nothing"),
        (("--tile", "241.294"), 2, "the run has no tile 241.294; it has 1, nearest 241.293"),
        (("--tile", "2243881-21"), 2, "names a CCD; write a tile as 241.293"),
        (("--exposure", "2243880"), 2, "the run has no CCD of exposure 2243880; it has 2 exposures, nearest 2243881"),
        (("--exposure", "last"), 2, "--exposure last is no number"),
        (("--products", "ngmix", "--exposure", EXPOSURES[0]), 2, "add --tile XXX.YYY"),
        (("--grammar", "legacy"), 2, "is for --format fits"),
        (("--vignets",), 2, "--vignets is for --format ldac"),
        ((), 2, "is already there; give --overwrite to replace it"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(run, options, code, message):
    before = files(run / "out")
    result = verb(run, "export", "run", "--format", "legacy", "--output", "out", *options)
    assert result.code == code, result
    assert message in result.err
    assert files(run / "out") == before
    assert "is for --format legacy" in verb(run, "export", "run", "--products", "psf", "--output", "x.fits").err


def test_a_run_that_is_not_gathered_or_no_run_is_said(run, tmp_path):
    shutil.copytree(run / "run", tmp_path / "run", ignore=shutil.ignore_patterns("catalogue.h5"))
    (tmp_path / "survey").symlink_to(run / "survey")
    result = verb(tmp_path, "export", "run", "--format", "legacy", "--products", "psf,ngmix")
    assert result.code == 3
    assert "the run has no catalogue" in result.err
    assert "`shapempi gather run`" in result.err
    assert not (tmp_path / "run" / "legacy").exists()
    assert verb(tmp_path, "export", "run", "--format", "legacy", "--products", "psf").code == 0
    assert verb(tmp_path, "export", "survey", "--format", "legacy").code == 3


def test_a_catalogue_that_is_not_of_all_objects_is_refused(run, tmp_path, reference):
    own_run(run, tmp_path)
    shutil.rmtree(tmp_path / "run" / "parts")
    assert verb(tmp_path, "gather", "run", "--overwrite").code == 1  # nothing is left to gather
    shutil.copytree(reference / "run" / "parts", tmp_path / "run" / "parts")
    result = verb(tmp_path, "export", "run", "--format", "legacy", "--products", "final_cat,galaxy_psf")
    assert result.code == 1
    assert "tile:241.293: the catalogue has 0 rows of it" in result.err
    assert "gather it again" in result.err
    assert set(files(tmp_path / "run" / "legacy")) == {f"psfex_interp_runner_run_1/output/galaxy_psf-{TILE}.sqlite"}


def test_a_bad_file_costs_what_needs_it(survey, run, tmp_path):
    folder = place(survey, tmp_path)
    shutil.copytree(run / "run", folder / "run")
    bad = copy_of(folder / "survey" / "exposures" / f"{EXPOSURES[0]}p.weight.fits.fz")
    bad.write_bytes(bad.read_bytes()[:20_000])
    result = verb(folder, "export", "run", "--format", "legacy", "--psf-data")
    assert result.code == 1
    assert "Traceback" not in result.err
    complaints = [line for line in result.err.splitlines() if line.startswith("shapempi: not written: ")]
    assert [line.split()[3].rstrip(":") for line in complaints] == [f"ccd:{EXPOSURES[0]}-{ccd}" for ccd in (21, 22)] + [
        "tile:241.293"
    ]
    assert all(bad.name in line and "fetch" in line for line in complaints)
    written, everything = files(folder / "run" / "legacy"), files(run / "out")
    lost = set(everything) - set(written)
    assert {path.rsplit("/", 1)[1] for path in lost} == {
        *(
            f"{name}-{EXPOSURES[0]}-{ccd}.fits"
            for name in ("weight", "flag", "sexcat", "background")
            for ccd in (21, 22)
        ),
        *(f"star_split_ratio_{part}-{EXPOSURES[0]}-{ccd}.fits" for part in (20, 80) for ccd in (21, 22)),
        *(f"star_selection-{EXPOSURES[0]}-{ccd}.fits" for ccd in (21, 22)),
        *(f"star_stat-{EXPOSURES[0]}-{ccd}.txt" for ccd in (21, 22)),
        *(f"{name}_vignet-{TILE}.sqlite" for name in ("image", "weight", "flag", "background")),
    }
    assert {path: content for path, content in everything.items() if path in written} == written


def test_a_model_that_is_refused_has_no_file_and_costs_epochs_of_the_psf_alone(survey, tmp_path):
    finer = "[psf]\nsampling = 0.8\n\n[psf.acceptance]"
    folder = place(survey, tmp_path, ("min_stars = 8", "min_stars = 30"), ("[psf.acceptance]", finer))
    assert shapempi(folder, "run", "chain.toml").code == 0
    assert verb(folder, "gather", "run").code == 0
    status = read_table(folder / "run" / "catalogue.h5", "psf_status")
    (refused,) = status[status["status"] == b"few_stars"]
    name = f"{refused['exposure']}-{refused['ccd']}"
    stale = folder / "run" / "legacy" / "psfex_runner" / "output" / f"star_split_ratio_80-{name}.psf"
    stale.parent.mkdir(parents=True)
    stale.write_text("of an earlier export")
    assert verb(folder, "export", "run", "--format", "legacy").code == 2
    result = verb(folder, "export", "run", "--format", "legacy", "--overwrite", "--psf-data")
    assert result.code == 0, result
    assert "psf: 3 files; CCDs that have no accepted PSF model: 1; CCDs that have models with PSF_SAMP" in result.out
    assert "would take for stamps as they are: 3\n" in result.out
    assert not stale.exists()
    tree = Tree(folder / "run" / "legacy")
    image = tree.store("vignetmaker_runner_run_2", f"image_vignet-{TILE}.sqlite")
    psf = tree.store("psfex_interp_runner_run_1", f"galaxy_psf-{TILE}.sqlite")
    rows = tree.table("make_cat_runner", f"final_cat-{TILE}.fits")["RESULTS"]
    seen = [key for key, entry in image.items() if name in entry]
    assert len(seen) > 5
    assert not any(name in entry for entry in psf.values())
    without = [key for key in seen if set(image[key]) == {name}]
    assert without
    assert all(psf[key] == "empty" for key in without)
    lost = np.isin(rows["NUMBER"], [int(key) for key in without])
    assert (rows["PSF_FLAG_1"][lost] == 1).all()
    assert (rows["NGMIX_ELL_NOSHEAR"][lost] == -10).all()
    assert (rows["NGMIX_N_EPOCH"][lost] == 0).all()
    assert (rows["SHAPE_FLAGS"][lost] != 0).all()


def test_stars_that_cannot_be_found_again_are_not_written(survey, run, tmp_path):
    folder = place(survey, tmp_path)
    shutil.copytree(run / "run", folder / "run")
    config = folder / "run" / "config.toml"
    config.write_text(config.read_text().replace("[psf.acceptance]", "[stars]\nmag_max = 21.0\n\n[psf.acceptance]"))
    result = verb(folder, "export", "run", "--format", "legacy", "--products", "stars,psf")
    assert result.code == 1
    assert result.err.count("detected again, its stars are not those of the run") == len(CCDS)
    assert not any("setools_runner" in path for path in files(folder / "run" / "legacy"))


def test_a_store_that_fails_half_way_is_not_there(run, tmp_path, monkeypatch):
    dumps, seen = sqlite_dict.pickle.dumps, []

    def failing(value, protocol):
        seen.append(value)
        if len(seen) == 20:
            raise OSError(28, "No space left on device")
        return dumps(value, protocol=protocol)

    monkeypatch.setattr(sqlite_dict.pickle, "dumps", failing)
    result = verb(run, "export", "run", "--format", "legacy", "--products", "galaxy_psf,ngmix", "--output", tmp_path)
    assert result.code == 1
    assert f"galaxy_psf-{TILE}.sqlite: cannot be written" in result.err
    assert "No space left on device" in result.err
    assert set(files(tmp_path)) == {f"ngmix_runner/output/ngmix-{TILE}.fits"}


def test_what_a_killed_export_leaves_is_complete(run):
    output = run / "killed"
    with started(run, "export", "run", "--format", "legacy", "--psf-data", "--output", "killed") as process:
        wait_for(lambda: any(output.glob("mask_runner_run_2/output/*.fits")), process, "a file")
        process.kill()
        process.wait()
    left, whole = files(output), files(run / "out")
    shown = {path: content for path, content in left.items() if not path.rsplit("/", 1)[1].startswith(".")}
    assert shown
    assert len(shown) < len(whole)
    assert all(whole[path] == content for path, content in shown.items())
    again = verb(run, "export", "run", "--format", "legacy", "--psf-data", "--output", "killed", "--overwrite")
    assert again.code == 0, again
    everything = files(output)
    assert all(everything[path] == content for path, content in whole.items())


def test_the_reader_knows_nothing_of_the_writer():
    text = Path(legacy_reader.__file__).read_text(encoding="utf-8")
    assert "import shapempi" not in text
    assert "from shapempi" not in text
