"""source-extractor, the program: it must be installed where these tests run (`apt install source-extractor`)."""

import shutil

import fitsio
import numpy as np
import pytest
from measure.sky import SCALE, add_gaussian, header, wcs

from shapempi.engines.detection import make_detector
from shapempi.engines.detection_params import DetectionEngineParams
from shapempi.errors import ConfigError, DataError, EngineError, MeasurementError
from shapempi.io.ldac import read_ldac
from shapempi.measure.background import BackgroundMesh
from shapempi.measure.detected_image import BAD, DetectedImage
from shapempi.measure.detection_table import DETECTION_DTYPE, SexFlag
from shapempi.measure.pixel_source import ArraySource, Frame

SHAPE = (220, 260)


def params(*, parent=None, **program):
    return DetectionEngineParams(engine="source-extractor", **(parent or {}), program=program)


def detector(settings=None):
    return make_detector(settings or params(), "exposure.detection")


def frame(shape=SHAPE, *, gain=1.6, saturate=60000.0):
    return Frame(wcs(shape), gain, saturate, 30.0)


@pytest.fixture(scope="module")
def field():
    """Return an image with its objects' places: two of them blended, one at the side, one beside unusable pixels."""
    rng = np.random.default_rng(5)
    data = rng.normal(0, 4, SHAPE).astype(np.float32)
    truth = [(40, 50), (50.5, 50), (120, 60), (200, 100), (60, 150), (258.7, 180), (150, 170)]
    for x, y in truth:
        add_gaussian(data, x, y, 2e4, 2.2, q=0.8, theta=0.4)
    weight = np.full(SHAPE, 1 / 16, np.float32)
    weight[154, 50:70] = 0
    data[154, 50:70] = np.nan
    flag = np.zeros(SHAPE, np.int32)
    flag[170, 150], flag[101, 201] = 4, 128
    return ArraySource(data, weight, flag), np.array(truth, float)


@pytest.fixture(scope="module")
def found(field):
    return detector().detect(field[0], frame())


@pytest.fixture
def pretend(tmp_path):
    """Return the settings for a program that says it is source-extractor and does something else."""
    (tmp_path / "scratch").mkdir()

    def pretend(body, **others):
        path = tmp_path / "sex"
        version = '[ "$1" = -v ] && echo "Source Extractor version 9.9 (never)" && exit 0'
        path.write_text(f'#!/bin/sh\n{version}\ncase "$1" in -d*) exit 0;; esac\n{body}\n')
        path.chmod(0o755)
        return params(program=str(path), scratch=tmp_path / "scratch", **others)

    yield pretend
    assert list((tmp_path / "scratch").iterdir()) == []


def nearest(table, x, y):
    return table[np.hypot(table["X_IMAGE"] - 1 - x, table["Y_IMAGE"] - 1 - y).argmin()]


def test_the_program_is_there():
    assert any(shutil.which(name) for name in ("source-extractor", "sex", "sextractor")), "install source-extractor"
    assert detector().version.startswith("source-extractor 2.")


def test_it_finds_every_object_with_the_columns_of_the_chain(field, found):
    _, truth = field
    assert found.table.dtype == DETECTION_DTYPE
    assert len(found.table) == len(truth)
    assert np.array_equal(found.table["NUMBER"], np.arange(1, len(truth) + 1))
    assert found.noise_ratio == pytest.approx(1.0, abs=0.05)
    assert found.further is None
    for x, y in truth[2:5]:
        row = nearest(found.table, x, y)
        assert np.hypot(row["XWIN_IMAGE"] - 1 - x, row["YWIN_IMAGE"] - 1 - y) < 0.05
        assert row["FLUX_AUTO"] == pytest.approx(2e4, rel=0.06)
        assert row["MAG_AUTO"] == pytest.approx(30 - 2.5 * np.log10(row["FLUX_AUTO"]))
        assert row["SNR_WIN"] == pytest.approx(row["FLUX_WIN"] / row["FLUXERR_WIN"], rel=1e-6)
    ra, dec = wcs(SHAPE).pixel_to_sky(found.table["XWIN_IMAGE"] - 1, found.table["YWIN_IMAGE"] - 1)
    assert np.array_equal(found.table["XWIN_WORLD"], ra) and np.array_equal(found.table["YWIN_WORLD"], dec)


def test_flags_and_mask_bits(field, found):
    _, truth = field
    rows = [nearest(found.table, *place) for place in truth]
    assert all(row["FLAGS"] & SexFlag.BLENDED for row in rows[:2])
    assert rows[2]["FLAGS"] == 0
    assert rows[5]["FLAGS"] & SexFlag.TRUNCATED and rows[5]["FLAGS"] & SexFlag.APERTURE
    assert [int(row["IMAFLAGS_ISO"]) for row in rows[2:]] == [0, 128, 0, 0, 4]


def test_the_segmentation_belongs_to_the_table(field, found):
    source, _ = field
    assert found.segmentation.shape == SHAPE and found.segmentation.dtype == np.int32
    sizes = np.bincount(found.segmentation.ravel(), minlength=len(found.table) + 1)[1:]
    assert np.array_equal(sizes, found.table["ISOAREAF_IMAGE"])
    assert not found.segmentation[~(source.weight > 0)].any()
    for row in found.table[:3]:
        pixel = found.segmentation[round(row["Y_IMAGE"]) - 1, round(row["X_IMAGE"]) - 1]
        assert pixel == row["NUMBER"]


def test_surface_brightness_is_that_of_the_program(field, tmp_path):
    (tmp_path / "more.param").write_text("MU_MAX\nMU_THRESHOLD\nFWHM_WORLD\nXWIN_WORLD\n")
    settings = params(parameters=tmp_path / "more.param", keep=tmp_path / "kept")
    table = detector(settings).detect(field[0], frame()).table
    (folder,) = (tmp_path / "kept").iterdir()
    _, theirs = read_ldac(folder / "catalogue.fits")
    for name, tolerance in (("MU_MAX", 2e-4), ("FWHM_WORLD", 1e-8), ("XWIN_WORLD", 1e-9)):
        assert np.abs(table[name] - theirs[name]).max() < tolerance, name
    # The program's is of one threshold for the image, ours of each object's.
    assert np.median(table["MU_THRESHOLD"]) == pytest.approx(float(theirs["MU_THRESHOLD"][0]), abs=1e-3)


def test_saturation_is_about_the_image_with_its_background(field):
    source, truth = field
    y, x = np.mgrid[0.0 : SHAPE[0] - 1 : 2j, 0.0 : SHAPE[1] - 1 : 2j]
    mesh = BackgroundMesh(1000.0 + 2 * x, y[:, 0], x[0], 4.0)
    peak = source.data[100, 200]
    # Saturated is what is brightest and has most background below it: the objects to the right of this one.
    limit = float(peak + mesh.at(np.array([200.0]), np.array([100.0]))[0]) - 1.0
    table = detector().detect(source, frame(saturate=limit), background=mesh).table
    assert np.array_equal(table["BACKGROUND"], mesh.at(table["X_IMAGE"] - 1, table["Y_IMAGE"] - 1))
    saturated = {place: bool(nearest(table, *place)["FLAGS"] & SexFlag.SATURATED) for place in map(tuple, truth)}
    assert saturated[(200.0, 100.0)]
    assert not saturated[(40.0, 50.0)] and not saturated[(120.0, 60.0)] and not saturated[(150.0, 170.0)]


def test_weights_are_rescaled_only_if_asked(field):
    source, _ = field
    wrong = ArraySource(source.data, source.weight * 4, source.flag)
    scaled = detector().detect(wrong, frame())
    assert scaled.noise_ratio == pytest.approx(2.0, rel=0.05)
    fixed = detector(params(parent={"rescale_weights": False})).detect(wrong, frame(gain=0.0))
    assert fixed.noise_ratio == 1.0
    assert np.median(fixed.table["FLUXERR_APER"]) == pytest.approx(np.sqrt(np.pi) * 2.5 * 2, rel=0.01)


def test_typed_keys_are_the_programs_keys(field, tmp_path):
    source, _ = field
    more = {
        "threshold": 3.0,
        "min_area": 9,
        "deblend_levels": 16,
        "deblend_contrast": 0.01,
        "clean": False,
        "kron_factor": 2.0,
        "kron_min": 3.0,
        "aperture_diameter": 7.0,
        "light_fraction": 0.4,
        "rescale_box": 32,
    }
    detector(params(parent=more, keep=tmp_path / "kept")).detect(source, frame())
    (folder,) = (tmp_path / "kept").iterdir()
    text = (folder / "settings.sex").read_text()
    for line in (
        *("DETECT_THRESH 3", "ANALYSIS_THRESH 3", "DETECT_MINAREA 9", "DEBLEND_NTHRESH 16", "DEBLEND_MINCONT 0.01"),
        *("CLEAN N", "PHOT_AUTOPARAMS 2,3", "PHOT_APERTURES 7", "PHOT_FLUXFRAC 0.4", "BACK_SIZE 32"),
        *("MASK_TYPE CORRECT", "RESCALE_WEIGHTS Y", "BACKPHOTO_TYPE GLOBAL"),
    ):
        assert f"{line}\n" in text
    head, _ = read_ldac(folder / "catalogue.fits")
    assert "SEXAPED1=           7.00000000" in head and "CRVAL1" in head
    assert "SEXMGZPT=          30.00000000" in head and "SEXGAIN =   1.60000002" in head


def test_files_of_the_users(field, tmp_path):
    (tmp_path / "mine.sex").write_text(
        "# mine\nDETECT_THRESH 50 # high\nPHOT_APERTURES 3,5,7\nFILTER_NAME wide.conv\nBACK_TYPE AUTO\nNONSENSE 3\n"
    )
    (tmp_path / "wide.conv").write_text("CONV NORM\n1 1 1\n1 1 1\n1 1 1\n")
    (tmp_path / "mine.param").write_text(
        "NUMBER\nFLUX_APER(3)  # three\n#MAG_ISO\nELLIPTICITY\nVIGNET(9,9)\nALPHA_J2000\n"
    )
    settings = params(configuration=tmp_path / "mine.sex", parameters=tmp_path / "mine.param")
    engine = detector(settings)
    assert [note for note in engine.notes if "NONSENSE" in note and "exposure.detection.program" in note]
    assert [note for note in engine.notes if "BACK_TYPE of this file are not used" in note]
    assert "1 1 1\n1 1 1" in engine.contents[0] and "DETECT_THRESH 50" in engine.contents[0]
    high = engine.detect(field[0], frame())
    assert np.median(high.table["THRESHOLD"]) == pytest.approx(50 * 4, rel=0.06)
    assert high.further.dtype.names == ("FLUX_APER", "VIGNET", "ALPHA_J2000")
    assert high.further["VIGNET"].shape == (len(high.table), 9, 9)
    assert np.array_equal(high.further["FLUX_APER"][:, 0], high.table["FLUX_APER"].astype("f4"))
    again = detector(
        settings.model_copy(
            update={"program": settings.program.model_copy(update={"options": {"DETECT_THRESH": "20"}})}
        )
    )
    assert np.median(again.detect(field[0], frame()).table["THRESHOLD"]) == pytest.approx(20 * 4, rel=0.06)


@pytest.mark.parametrize(
    ("files", "program", "complaint"),
    [
        ({}, {"configuration": "none.sex"}, "exposure.detection.program.configuration: there is no file .*none.sex"),
        ({}, {"filter": "none.conv"}, "exposure.detection.program.filter: there is no file"),
        ({"a.sex": "FILTER_NAME gauss.conv\n"}, {"configuration": "a.sex"}, r"there is no filter gauss.conv; .*filter"),
        (
            {"a.param": "NUMBER\nFLUX_AUTOO\n"},
            {"parameters": "a.param"},
            r"a.param:2: .*FLUX_AUTOO; did you mean FLUX_AUTO",
        ),
        ({"a.param": "FLUX_APER(\n"}, {"parameters": "a.param"}, r"a.param:1"),
        ({"a.param": "CLASS_STAR\n"}, {"parameters": "a.param"}, "CLASS_STAR needs .*program.neural_network"),
        ({}, {"options": {"weight_type": "NONE"}}, "program.options: WEIGHT_TYPE cannot be changed"),
    ],
)
def test_wrong_files_are_found_before_the_start(tmp_path, files, program, complaint):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    where = {name: tmp_path / value if isinstance(value, str) else value for name, value in program.items()}
    with pytest.raises(ConfigError, match=complaint):
        detector(params(**where))


def test_a_missing_program_says_how_to_get_it(monkeypatch):
    with pytest.raises(EngineError, match=r"no-sex \(exposure.detection.program.program\) is not there.*apt install"):
        detector(params(program="no-sex"))
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(EngineError, match=r"source-extractor or sex or sextractor .*astromatic-source-extractor"):
        detector()


def test_a_program_that_fails_is_an_error_with_what_it_said(pretend, field):
    with pytest.raises(EngineError, match=r"ended with code 3: \*ERROR\*: no luck; .*exposure.detection"):
        detector(pretend("echo fine; echo '> *ERROR*: no luck' >&2; exit 3")).detect(field[0], frame())
    with pytest.raises(EngineError, match=r"sex .*not ended after 0.3 s"):
        detector(pretend("sleep 60", timeout=0.3)).detect(field[0], frame())
    with pytest.raises(EngineError, match=r"sex .*version 9.9.* killed by SIGKILL"):
        detector(pretend("kill -KILL $$")).detect(field[0], frame())


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("echo tired", "catalogue.fits: the file does not exist; it said: tired"),
        ("echo no > catalogue.fits", "catalogue.fits: not a FITS file"),
        ("cp measure_image.fits catalogue.fits", "there is no table LDAC_OBJECTS"),
    ],
)
def test_a_program_that_writes_nothing_of_use_is_an_error(pretend, field, body, complaint):
    with pytest.raises(EngineError, match=complaint):
        detector(pretend(body)).detect(field[0], frame())


def test_a_segmentation_that_is_not_there_is_an_error(pretend, field, tmp_path):
    detector(params(keep=tmp_path / "kept")).detect(field[0], frame())
    (folder,) = (tmp_path / "kept").iterdir()
    with pytest.raises(EngineError, match=r"segmentation\.fits: the file does not exist"):
        detector(pretend(f"cp {folder}/catalogue.fits .")).detect(field[0], frame())
    small = f"cp {folder}/catalogue.fits .; cp {tmp_path}/small.fits segmentation.fits"
    fitsio.write(tmp_path / "small.fits", np.zeros((3, 4), np.int32))
    with pytest.raises(EngineError, match=r"segmentation.fits: its shape \(3, 4\) is not"):
        detector(pretend(small)).detect(field[0], frame())


def test_nothing_is_left_behind_and_what_the_user_wants_is_kept(field, tmp_path):
    (tmp_path / "scratch").mkdir()
    settings = params(scratch=tmp_path / "scratch", keep=tmp_path / "kept", check_images=("FILTERED", "-OBJECTS"))
    detector(settings).detect(field[0], frame())
    assert list((tmp_path / "scratch").iterdir()) == []
    (folder,) = (tmp_path / "kept").iterdir()
    names = {path.name for path in folder.iterdir()}
    assert {"measure_image.fits", "measure_weight.fits", "measure_flag.fits", "settings.sex", "columns.param"} <= names
    assert {"catalogue.fits", "segmentation.fits", "image_filtered.fits", "image_-objects.fits"} <= names
    assert np.array_equal(fitsio.read(folder / "measure_flag.fits"), field[0].flag)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EngineError, match=r"exposure.detection.program.keep: .*file"):
        detector(params(keep=tmp_path / "file")).detect(field[0], frame())


def test_more_memory_is_given_when_it_is_too_little():
    data = np.random.default_rng(5).normal(0, 4, SHAPE).astype(np.float32)
    for x in range(30, 250, 30):
        add_gaussian(data, x, 100, 3e5, 7.0)
    source = ArraySource(data, np.full(SHAPE, 1 / 16, np.float32), np.zeros(SHAPE, np.int32))
    small, large = (detector(params(parent={"pixel_stack": n})).detect(source, frame()) for n in (1000, 1_000_000))
    assert len(large.table) == 8
    assert np.array_equal(small.table, large.table)
    assert np.array_equal(small.segmentation, large.segmentation)
    with pytest.raises(MeasurementError, match=r"pixel stack .*is the background subtracted"):
        detector(params(options={"MEMORY_PIXSTACK": "1000"})).detect(source, frame())


def test_images_without_objects_or_usable_pixels():
    noise = np.random.default_rng(1).normal(0, 1, (80, 90)).astype(np.float32)
    one, zero = np.ones(noise.shape, np.float32), np.zeros(noise.shape, np.int32)
    strict = detector(params(parent={"threshold": 8.0}))
    nothing = strict.detect(ArraySource(noise, one, zero), frame(noise.shape))
    unusable = strict.detect(ArraySource(np.full_like(noise, np.nan), one, zero), frame(noise.shape))
    for empty in (nothing, unusable):
        assert len(empty.table) == 0 and empty.table.dtype == DETECTION_DTYPE
        assert empty.segmentation.shape == noise.shape and not empty.segmentation.any()


def test_objects_can_be_found_in_another_image(field):
    source, _ = field
    deep = np.random.default_rng(2).normal(0, 1, SHAPE).astype(np.float32)
    add_gaussian(deep, 100.0, 120.0, 2e4, 2.2)  # is not in the other image
    add_gaussian(deep, 120.0, 60.0, 4e4, 2.2)
    detection = ArraySource(deep, np.ones(SHAPE, np.float32), np.zeros(SHAPE, np.int32))
    found = detector().detect(source, frame(), detection=detection)
    assert len(found.table) == 2
    empty, there = nearest(found.table, 100, 120), nearest(found.table, 120, 60)
    assert abs(empty["FLUX_APER"]) < 5 * empty["FLUXERR_APER"]
    assert there["FLUX_AUTO"] == pytest.approx(2e4, rel=0.06)
    assert there["THRESHOLD"] == pytest.approx(1.5, rel=0.1)
    assert there["MU_THRESHOLD"] == pytest.approx(30 - 2.5 * np.log10(1.5 * 4 / SCALE**2), abs=0.1)
    assert found.noise_ratio == pytest.approx(1.0, abs=0.05)
    with pytest.raises(DataError, match="same pixels"):
        detector().detect(source, frame(), detection=ArraySource(deep[1:], detection.weight[1:], detection.flag[1:]))


def test_a_wcs_that_the_program_does_not_know_does_no_harm(field):
    cards = header(SHAPE).replace("RA---TAN'", "RA---STG'").replace("DEC--TAN'", "DEC--STG'")
    other = Frame(type(wcs(SHAPE))(cards), 1.6, 60000.0, 30.0)
    table = detector().detect(field[0], other).table
    assert np.array_equal(table["X_WORLD"], other.wcs.pixel_to_sky(table["X_IMAGE"] - 1, table["Y_IMAGE"] - 1)[0])
    assert table["MU_MAX"] == pytest.approx(detector().detect(field[0], frame()).table["MU_MAX"], abs=1e-3)


def test_vignets_are_those_of_the_program_where_pixels_are_usable(field, tmp_path):
    source, _ = field
    (tmp_path / "v.param").write_text("VIGNET(31,31)\n")
    found = detector(params(parameters=tmp_path / "v.param")).detect(source, frame())
    ours = np.concatenate(list(DetectedImage(source, frame(), found, "test").vignets(31)))
    theirs = found.further["VIGNET"]
    usable = np.where(source.weight > 0, 1.0, 0.0).astype(np.float32)
    there = DetectedImage(ArraySource(usable + 1, usable * 0 + 1, source.flag), frame(), found, "test").vignets(31)
    unusable = np.concatenate(list(there)) == 1.0
    assert unusable.any() and np.all(ours[unusable] == np.float32(BAD))
    # What neighbours own differs by a few pixels at the sides of blends.
    assert np.mean(ours[~unusable] == theirs[~unusable]) > 0.998
    isolated = np.flatnonzero((found.table["FLAGS"] == 0) & ~unusable.any(axis=(1, 2)))
    assert len(isolated) >= 2 and np.array_equal(ours[isolated], theirs[isolated])


def test_the_pixel_scale_is_that_of_the_image():
    assert wcs(SHAPE).pixel_scale(100, 100) == pytest.approx(SCALE)
