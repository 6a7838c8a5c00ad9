"""PSF models at the positions of catalogues, epochs and stars: the run is made here, product by product."""

import tracemalloc

import fitsio
import galsim
import h5py
import numpy as np
import pytest
from astropy.wcs import WCS

from shapempi.catalog import COLUMNS, PSF_STATUS_COLUMNS, STAR_COLUMNS, empty_table
from shapempi.errors import ConfigError, DataError, MissingInputError
from shapempi.ids import CcdId
from shapempi.interpolate import interpolate_catalogue, interpolate_epochs, interpolate_stars
from shapempi.io.catalog import TableWriter, create_catalogue
from shapempi.io.ldac import read_ldac, write_ldac, write_table
from shapempi.io.parts import PartWriter
from shapempi.io.psfex import write_psf
from shapempi.measure.psf.interpolation import interpolate
from shapempi.measure.psf.outcome import PsfAcceptance
from shapempi.product import Product
from shapempi.psf import PsfModel
from shapempi.survey.graph import SurveyPlan
from shapempi.wcs import Wcs

NY, NX = 300, 200
SCALE = 0.187
RA, DEC = 150.0, 30.0
#: Two exposures; on the second the PSF of CCD 1 is refused, and CCD 2 of the first was never done.
CCDS = (CcdId(2243881, 0), CcdId(2243881, 1), CcdId(2243881, 2), CcdId(2243882, 0), CcdId(2243882, 1))
REFUSED, UNDONE = CCDS[4], CCDS[2]


def header(ccd):
    """Return the header of a CCD: side by side along x, the second exposure shifted by ten pixels, y to the South."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [RA, DEC]
    shift = 10.0 if ccd.exposure == 2243882 else 0.0
    wcs.wcs.crpix = [100.0 - ccd.ccd * (NX + 20) + shift, 150.0 + shift]
    wcs.wcs.cd = [[-SCALE / 3600, 0.0], [0.0, -SCALE / 3600]]
    cards = wcs.to_header()
    cards["NAXIS"], cards["NAXIS1"], cards["NAXIS2"] = 2, NX, NY
    return cards.tostring(endcard=False, padding=False)


def model_of(ccd):
    """Return a model that is another one on each CCD and changes over it."""
    first, wider = (
        galsim.Gaussian(sigma=sigma + 0.1 * ccd.ccd).shear(g1=0.05, g2=0.02).drawImage(
            nx=41, ny=41, scale=1.0, method="no_pixel", dtype=float).array
        for sigma in (1.8, 2.0)
    )  # fmt: skip
    basis = np.stack([first, wider - first, 0.3 * (wider - first)]).astype("f4").astype(float)  # as products keep it
    return PsfModel(basis, 1, (100.5, 150.5), (100.0, 150.0), 1.0, 64, 1.1, 4.3, "kaiser6")


def stars_of(ccd, n):
    stars = empty_table(STAR_COLUMNS, n)
    rng = np.random.default_rng([ccd.exposure, ccd.ccd, n])
    stars["exposure"], stars["CCD_NB"], stars["NUMBER"] = ccd.exposure, ccd.ccd, rng.permutation(n) + 1
    stars["X"], stars["Y"] = rng.uniform(20, NX - 20, n), rng.uniform(20, NY - 20, n)
    stars["RA"], stars["DEC"] = Wcs(header(ccd)).pixel_to_sky(stars["X"] - 1, stars["Y"] - 1)
    for name in ("E1_STAR_HSM", "E2_STAR_HSM", "SIGMA_STAR_HSM", "MAG", "SNR", "T_star"):
        stars[name] = rng.uniform(0, 1, n)
    stars["ACCEPTED"] = ccd != REFUSED
    return stars


def product_of(ccd):
    status = empty_table(PSF_STATUS_COLUMNS, 1)
    accepted = ccd != REFUSED
    word, reason = ("accepted", "") if accepted else ("chi2", "the PSF model has chi2 = 3.5")
    status["exposure"], status["ccd"], status["status"] = ccd.exposure, ccd.ccd, word.encode()
    status["n_used"], status["chi2"] = 64, 1.1 if accepted else 3.5
    arrays = {"psf_status": status, "stars": stars_of(ccd, 17), "training_stars": stars_of(ccd, 64)}
    attrs = {"header": header(ccd), "path": f"{ccd}.fits", "ny": NY, "nx": NX, "psf_status": word, "psf_reason": reason}
    attrs |= {"valid_y0": 0, "valid_y1": NY, "valid_x0": 0, "valid_x1": NX}
    model = model_of(ccd).to_product() if accepted else Product()
    return Product({**arrays, **model.arrays}, attrs | dict(model.attrs))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    plan = SurveyPlan(CCDS, (), {}, {})
    (folder / "plan.json").write_text(plan.to_json())
    writer = PartWriter(folder, "0001", 0)
    for ccd in CCDS:
        if ccd != UNDONE:
            writer.commit(ccd.uid, product_of(ccd), 17)
    writer.close()
    return folder


@pytest.fixture
def objects(tmp_path):
    """Return a catalogue of sky positions: 60 around all CCDs, and what else may be in one."""
    rng = np.random.default_rng(6)
    table = np.zeros(60, [("NUMBER", "i4"), ("RA", "f8"), ("DEC", "f8"), ("VIGNET", "f4", (3, 3))])
    table["NUMBER"] = rng.permutation(60) + 100
    wcs = Wcs(header(CCDS[0]))
    table["RA"], table["DEC"] = wcs.pixel_to_sky(rng.uniform(-50, 3 * NX, 60), rng.uniform(-50, NY + 50, 60))
    table["RA"][7], table["DEC"][8] = np.nan, np.inf
    table["RA"][9] = 330.0  # the other side of the sky
    path = tmp_path / "objects.fits"
    write_table(path, table, overwrite=False)
    return path


def tables(path):
    with h5py.File(path) as file:
        read = {
            name: {column: data[:] for column, data in file[name].items()}
            for name in ("index", "moments", "objects", "psf_status")
            if name in file
        }
        return read, file["psf"][:], file["order"][:]


def test_epochs_are_those_of_the_geometry_with_the_psf_of_each_ccd(run, objects, tmp_path):
    output = tmp_path / "galaxy_psf.h5"
    result = interpolate_epochs(run, objects, output, size=33)
    read, psf, _ = tables(output)
    index, moments = read["index"], read["moments"]
    sky = fitsio.read(str(objects))
    expected = set()
    for ccd in (c for c in CCDS if c != UNDONE):
        x, y = Wcs(header(ccd)).sky_to_pixel(sky["RA"], np.where(np.isfinite(sky["DEC"]), sky["DEC"], -90))
        inside = (x >= 0) & (x <= NX - 1) & (y >= 0) & (y <= NY - 1) & np.isfinite(sky["RA"] + sky["DEC"])
        inside[9] = False
        expected |= {(int(i), ccd.exposure, ccd.ccd) for i in np.flatnonzero(inside)}
        rows = np.flatnonzero((index["exposure"] == ccd.exposure) & (index["ccd"] == ccd.ccd))
        i = index["object"][rows]
        np.testing.assert_allclose(index["x"][rows], x[i] + 1, atol=1e-5)
        np.testing.assert_allclose(index["y"][rows], y[i] + 1, atol=1e-5)
        np.testing.assert_allclose(index["dx"][rows], x[i] - np.rint(x[i]), atol=1e-5)
        assert len(rows) > 5
        if ccd == REFUSED:
            assert not psf[rows].any()
            assert (index["status"][rows] == b"chi2").all()
            assert np.isnan(moments["T_psf"][rows]).all()
            assert (moments["FLAG_PSF_HSM"][rows] == 1).all()
            continue
        x, y = index["x"][rows] - 1, index["y"][rows] - 1
        stamps, shapes = interpolate(model_of(ccd), x, y, 33, jacobians=Wcs(header(ccd)).jacobian(x, y))
        assert np.array_equal(psf[rows], stamps.astype("f4"))
        for name in shapes.dtype.names:
            assert np.array_equal(moments[name][rows], shapes[name]), name
        assert (index["status"][rows] == b"accepted").all()
        g = 0.05**2 + 0.02**2
        size = 2 * (SCALE * (1.8 + 0.1 * ccd.ccd)) ** 2 * (1 + g) / (1 - g)
        assert np.abs(moments["T_psf"][rows] / size - 1).max() < 0.35  # it changes over the CCD
    assert {
        tuple(map(int, key)) for key in zip(index["object"], index["exposure"], index["ccd"], strict=True)
    } == expected
    assert result.n_object == 60
    assert result.n_epoch == len(expected)
    assert result.n_lost == int((index["status"] == b"chi2").sum())
    assert not result.damaged


def test_the_epochs_of_an_object_are_found_by_its_row(run, objects, tmp_path):
    output = tmp_path / "galaxy_psf.h5"
    interpolate_epochs(run, objects, output, size=11, shapes=False)
    read, psf, order = tables(output)
    assert "moments" not in read
    table = read["objects"]
    sky = fitsio.read(str(objects))
    assert np.array_equal(table["NUMBER"], sky["NUMBER"])
    assert table["n_epoch"].sum() == len(order) == len(psf)
    assert table["n_epoch"].max() == 2
    assert table["n_epoch"][7:10].tolist() == [0, 0, 0]
    for i in range(60):
        rows = order[table["first"][i] : table["first"][i] + table["n_epoch"][i]]
        assert (read["index"]["object"][rows] == i).all()
        assert (np.diff(read["index"]["exposure"][rows]) > 0).all()
        assert psf[rows].any(axis=(1, 2)).sum() == table["n_epoch_used"][i]


def test_every_ccd_of_the_run_is_in_the_status_table(run, objects, tmp_path):
    output = tmp_path / "galaxy_psf.h5"
    result = interpolate_epochs(run, objects, output, size=11)
    status = tables(output)[0]["psf_status"]
    assert [CcdId(int(e), int(c)) for e, c in zip(status["EXP"], status["CCD"], strict=True)] == list(CCDS)
    assert status["STATUS"].tolist() == [b"accepted", b"accepted", b"failed", b"accepted", b"chi2"]
    assert status["ACCEPTED"].tolist() == [64, 64, 0, 64, 64]
    np.testing.assert_array_equal(status["CHI2"], [1.1, 1.1, np.nan, 1.1, 3.5])
    assert status["REASON"].tolist()[-1] == b"the PSF model has chi2 = 3.5"
    assert result.refused["STATUS"].tolist() == [b"failed", b"chi2"]
    index = tables(output)[0]["index"]
    assert status["N_OBJECT"].tolist() == [
        int(((index["exposure"] == c.exposure) & (index["ccd"] == c.ccd)).sum()) for c in CCDS
    ]


def test_a_psf_may_lie_in_its_stamp_as_the_object_does(run, objects, tmp_path):
    interpolate_epochs(run, objects, tmp_path / "psf.h5", size=33, shifted=True)
    read, psf, _ = tables(tmp_path / "psf.h5")
    there = read["index"]["status"] == b"accepted"
    grid = np.arange(33) - 16
    np.testing.assert_allclose(psf.sum(axis=1)[there] @ grid, read["index"]["dx"][there], atol=3e-3)
    np.testing.assert_allclose(psf.sum(axis=2)[there] @ grid, read["index"]["dy"][there], atol=3e-3)


def test_columns_may_have_other_names_and_the_catalogue_may_be_ours(run, objects, tmp_path):
    interpolate_epochs(run, objects, tmp_path / "a.h5", size=11)
    sky = fitsio.read(str(objects))
    rows = empty_table(COLUMNS, 60)
    rows["NUMBER"], rows["ra"], rows["dec"] = sky["NUMBER"], sky["RA"], sky["DEC"]
    with create_catalogue(tmp_path / "catalogue.h5", {}, overwrite=False) as file:
        writer = TableWriter(file, "catalogue", COLUMNS, 60)
        writer.append(rows)
        writer.finish()
    interpolate_epochs(run, tmp_path / "catalogue.h5", tmp_path / "b.h5", size=11)
    renamed = np.zeros(60, [("XWIN_WORLD", "f8"), ("YWIN_WORLD", "f8")])
    renamed["XWIN_WORLD"], renamed["YWIN_WORLD"] = sky["RA"], sky["DEC"]
    write_ldac(tmp_path / "renamed.fits", renamed, "", overwrite=False)
    interpolate_epochs(
        run, tmp_path / "renamed.fits", tmp_path / "c.h5", size=11, position=("XWIN_WORLD", "YWIN_WORLD")
    )
    (first, psf, _), (second, again, _), (third, more, _) = (tables(tmp_path / f"{name}.h5") for name in "abc")
    assert np.array_equal(psf, again)
    assert np.array_equal(psf, more)
    assert np.array_equal(first["objects"]["NUMBER"], second["objects"]["NUMBER"])
    assert third["objects"]["NUMBER"].tolist() == list(range(1, 61))
    with pytest.raises(DataError, match=r"renamed.fits: there is no column RA; .*: XWIN_WORLD, YWIN_WORLD"):
        interpolate_epochs(run, tmp_path / "renamed.fits", tmp_path / "d.h5")
    assert not (tmp_path / "d.h5").exists()


def test_the_memory_does_not_grow_with_the_catalogue(run, tmp_path):
    rng = np.random.default_rng(1)
    n = 3000
    sky = np.zeros(n, [("RA", "f8"), ("DEC", "f8")])
    sky["RA"], sky["DEC"] = Wcs(header(CCDS[0])).pixel_to_sky(rng.uniform(0, NX - 1, n), rng.uniform(0, NY - 11, n))
    peaks = []
    for n_object in (1500, 3000):
        path = tmp_path / f"{n_object}.fits"
        write_table(path, sky[:n_object], overwrite=False)
        tracemalloc.start()
        result = interpolate_epochs(run, path, tmp_path / f"{n_object}.h5", size=25)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert result.n_epoch > 1.8 * n_object
    # stamps of all epochs of the larger one: 30 MB
    assert peaks[1] < 1.2 * peaks[0]
    assert peaks[1] < 25e6


def test_a_file_that_is_there_is_not_replaced(run, objects, tmp_path):
    output = tmp_path / "psf.h5"
    output.write_text("mine")
    with pytest.raises(ConfigError, match=r"already there; give --overwrite"):
        interpolate_epochs(run, objects, output)
    assert output.read_text() == "mine"
    interpolate_epochs(run, objects, output, size=11, overwrite=True)
    assert h5py.is_hdf5(output)


def test_what_is_not_there_is_named(run, objects, tmp_path):
    with pytest.raises(MissingInputError, match="not the folder of a run"):
        interpolate_epochs(tmp_path, objects, tmp_path / "psf.h5")
    with pytest.raises(MissingInputError, match=r"nothing.fits"):
        interpolate_epochs(run, tmp_path / "nothing.fits", tmp_path / "psf.h5")
    with pytest.raises(MissingInputError, match=r"nothing.h5"):
        interpolate_epochs(run, tmp_path / "nothing.h5", tmp_path / "psf.h5")
    with pytest.raises(ConfigError, match="must be odd"):
        interpolate_epochs(run, objects, tmp_path / "psf.h5", size=50)
    with pytest.raises(ConfigError, match="no CCD 2243881-9; it has 5"):
        interpolate_catalogue(run, objects, tmp_path / "psf.fits", ccd=CcdId(2243881, 9))
    with pytest.raises(ConfigError, match="say which CCD is meant"):
        interpolate_catalogue(run, objects, tmp_path / "psf.fits")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["objects.fits"]


def pixels(n=12):
    rng = np.random.default_rng(9)
    table = np.zeros(n, [("NUMBER", "i4"), ("XWIN_IMAGE", "f8"), ("YWIN_IMAGE", "f8")])
    table["NUMBER"] = np.arange(n) + 5
    table["XWIN_IMAGE"], table["YWIN_IMAGE"] = rng.uniform(1, NX, n), rng.uniform(1, NY, n)
    return table


@pytest.mark.parametrize("of_run", [True, False])
def test_classic(run, tmp_path, of_run):
    ccd, table = CCDS[1], pixels()
    write_ldac(tmp_path / "galaxies.fits", table, header(ccd), overwrite=False)
    write_psf(tmp_path / "model.psf", model_of(ccd), overwrite=False)
    source = {"psf": run, "ccd": ccd} if of_run else {"psf": tmp_path / "model.psf"}
    result = interpolate_catalogue(**source, catalogue=tmp_path / "galaxies.fits", output=tmp_path / "galaxy_psf.fits")
    assert result.files == (tmp_path / "galaxy_psf.fits", tmp_path / "galaxy_psf_status.fits")
    text, rows = read_ldac(tmp_path / "galaxy_psf.fits")
    assert Wcs(text).pixel_to_sky(3.0, 4.0) == Wcs(header(ccd)).pixel_to_sky(3.0, 4.0)
    x, y = table["XWIN_IMAGE"] - 1, table["YWIN_IMAGE"] - 1
    stamps, shapes = interpolate(model_of(ccd), x, y, 51, jacobians=Wcs(header(ccd)).jacobian(x, y))
    np.testing.assert_allclose(rows["VIGNET"], stamps, rtol=0, atol=1e-8)
    assert np.array_equal(rows["NUMBER"], table["NUMBER"])
    for name in shapes.dtype.names:
        np.testing.assert_allclose(rows[name], shapes[name], rtol=1e-6, err_msg=name)
    status = fitsio.read(str(tmp_path / "galaxy_psf_status.fits"))
    assert (status["EXP"][0], status["CCD"][0]) == ((ccd.exposure, ccd.ccd) if of_run else (-1, -1))
    assert (status["STATUS"][0].strip(), status["ACCEPTED"][0], status["N_OBJECT"][0]) == ("accepted", 64, 12)
    assert (result.n_object, result.n_lost) == (12, 0)


def test_classic_without_a_wcs_has_no_shapes_on_the_sky(tmp_path):
    table = pixels()
    table["XWIN_IMAGE"][3] = np.nan
    write_table(tmp_path / "galaxies.fits", table, overwrite=False)
    write_psf(tmp_path / "model.psf", model_of(CCDS[0]), overwrite=False)
    result = interpolate_catalogue(
        tmp_path / "model.psf", tmp_path / "galaxies.fits", tmp_path / "galaxy_psf.fits", size=21
    )
    _, rows = read_ldac(tmp_path / "galaxy_psf.fits")
    names = ("VIGNET", "NUMBER", "E1_PSF_HSM", "E2_PSF_HSM", "SIGMA_PSF_HSM", "FLAG_PSF_HSM")
    assert rows.dtype.names == names
    assert result.n_lost == 1
    assert np.flatnonzero(rows["FLAG_PSF_HSM"]).tolist() == [3]
    interpolate_catalogue(
        tmp_path / "model.psf", tmp_path / "galaxies.fits", tmp_path / "bare.fits", size=21, shapes=False
    )
    assert read_ldac(tmp_path / "bare.fits")[1].dtype.names == names[:2]


@pytest.mark.parametrize("of_run", [True, False])
def test_classic_with_a_model_that_is_refused_is_a_row_of_the_status_table(run, tmp_path, of_run):
    write_table(tmp_path / "galaxies.fits", pixels(), overwrite=False)
    write_psf(tmp_path / "model.psf", model_of(CCDS[0]), overwrite=False)
    source = {"psf": run, "ccd": REFUSED} if of_run else {"psf": tmp_path / "model.psf"}
    output = tmp_path / "galaxy_psf.fits"
    output.write_text("of an older model")
    result = interpolate_catalogue(
        **source, catalogue=tmp_path / "galaxies.fits", output=output, acceptance=PsfAcceptance(max_chi2=1.0),
        overwrite=True,
    )  # fmt: skip
    assert result.files == (tmp_path / "galaxy_psf_status.fits",)
    assert not output.exists()
    status = fitsio.read(str(result.files[0]))
    assert status["STATUS"][0].strip() == "chi2"
    assert status["N_OBJECT"][0] == result.n_lost == 12
    assert status["REASON"][0].startswith("the PSF model has chi2")


def test_validation(run, tmp_path):
    folder = tmp_path / "validation"
    result = interpolate_stars(run, folder, training=True)
    done = [ccd for ccd in CCDS if ccd not in (REFUSED, UNDONE)]
    names = {f"{stem}-{ccd}.fits" for stem in ("validation_psf", "training_psf") for ccd in done} | {"psf_status.fits"}
    assert {path.name for path in folder.iterdir()} == names == {path.name for path in result.files}
    for ccd in done:
        text, rows = read_ldac(folder / f"validation_psf-{ccd}.fits")
        stars = stars_of(ccd, 17)
        assert rows.dtype.names[:16] == (
            "E1_PSF_HSM", "E2_PSF_HSM", "SIGMA_PSF_HSM", "FLAG_PSF_HSM",
            "E1_STAR_HSM", "E2_STAR_HSM", "SIGMA_STAR_HSM", "FLAG_STAR_HSM",
            "NUMBER", "X", "Y", "RA", "DEC", "MAG", "SNR", "ACCEPTED",
        )  # fmt: skip
        for name in ("E1_STAR_HSM", "NUMBER", "X", "RA", "MAG", "ACCEPTED", "T_star"):
            assert np.array_equal(rows[name], stars[name]), name
        x, y = stars["X"] - 1, stars["Y"] - 1
        _, shapes = interpolate(
            model_of(ccd), x, y, 51, dx=x - np.rint(x), dy=y - np.rint(y), jacobians=Wcs(header(ccd)).jacobian(x, y)
        )
        for name in shapes.dtype.names:
            assert np.array_equal(rows[name], shapes[name]), name
        assert len(read_ldac(folder / f"training_psf-{ccd}.fits")[1]) == 64
        assert Wcs(text).header
    status = fitsio.read(str(folder / "psf_status.fits"))
    assert [word.strip() for word in status["STATUS"]] == ["accepted", "accepted", "failed", "accepted", "chi2"]
    assert (result.n_object, result.n_lost) == (4 * 81, 81)
    with pytest.raises(ConfigError, match="already there"):
        interpolate_stars(run, folder)
    interpolate_stars(run, folder, overwrite=True)
