"""`shapempi detect`: images of all kinds, both engines, what PSFEx makes of the catalogue, and wrong input."""

import shutil
import subprocess

import fitsio
import numpy as np
import pytest
from chain.program import verb
from measure.sky import add_gaussian, header
from tiny_survey import EXPOSURES, TILE, write_survey

from shapempi.io.fits_image import write_image
from shapempi.io.ldac import read_ldac
from shapempi.io.psfex import read_psf

SHAPE = (600, 620)
SIGMA = 1.7


def cards(**numbers):
    return header(SHAPE) + "".join(f"{name:<8}= {value:>20}".ljust(80) for name, value in numbers.items())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with an image of stars on a sky of 300 ADU, its weight and its flags."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(11)
    light = np.zeros(SHAPE, np.float32)
    for y in range(40, SHAPE[0] - 30, 52):
        for x in range(40, SHAPE[1] - 30, 52):
            place = (x + rng.uniform(-5, 5), y + rng.uniform(-5, 5))
            add_gaussian(light, *place, 10 ** rng.uniform(3.5, 4.5), SIGMA)
    data = light + 300 + rng.normal(0, 3, SHAPE)
    flag = np.zeros(SHAPE, np.int16)
    flag[200:300, 200:300] = 8
    head = cards(GAIN=1.6, SATURATE=60000.0, PHOTZP=30.5, IMMODE=300.0)
    write_image(folder / "image.fits", [data], SHAPE, "float32", head)
    write_image(folder / "weight.fits", [np.full(SHAPE, 1 / 9)], SHAPE, "float32")
    write_image(folder / "flag.fits", [flag], SHAPE, "int16")
    return folder


def detect(folder, *arguments):
    return verb(folder, "detect", *arguments)


PLANES = ("--weight", "weight.fits", "--flag", "flag.fits")


@pytest.mark.parametrize("engine", ["sep", "source-extractor"])
def test_an_image_becomes_a_catalogue_that_psfex_accepts(folder, tmp_path, engine):
    output = tmp_path / "stars.fits"
    checks = ("--vignets", "--check", "background,segmentation")
    result = detect(folder, "image.fits", *PLANES, "--engine", engine, *checks, "--output", output)
    assert result.code == 0, result
    assert "121 objects by " + engine in result.out
    assert "background 300.0" in result.out or "background 299.9" in result.out
    assert "threshold 4." in result.out and "stars.background.fits" in result.out
    head, table = read_ldac(output)
    assert len(table) == 121 and "PHOTZP" in head and table["VIGNET"].shape == (121, 51, 51)
    assert set(np.unique(table["IMAFLAGS_ISO"])) == {0, 8}
    assert np.all(np.abs(table["BACKGROUND"] - 300) < 1)
    assert table["MAG_AUTO"] == pytest.approx(30.5 - 2.5 * np.log10(table["FLUX_AUTO"]), abs=1e-4)
    assert fitsio.read(tmp_path / "stars.segmentation.fits").max() == 121
    assert np.abs(fitsio.read(tmp_path / "stars.background.fits") - 300).max() < 1
    program = shutil.which("psfex")
    assert program, "install PSFEx: this test is about what it makes of a catalogue"
    arguments = [
        "-c",
        "none",
        "-PSF_SIZE",
        "25,25",
        "-PSFVAR_DEGREES",
        "1",
        "-CHECKPLOT_TYPE",
        "NONE",
        "-WRITE_XML",
        "N",
    ]
    made = subprocess.run(
        [program, "stars.fits", *arguments, "-CHECKPLOT_DEV", "NULL", "-CHECKIMAGE_TYPE", "NONE"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made
    model = read_psf(tmp_path / "stars.psf")
    assert model.n_star > 60 and model.chi2 == pytest.approx(1.0, abs=0.3)


def test_the_background_is_what_is_asked_for(folder, tmp_path):
    def level(word, *more):
        output = tmp_path / "cat.fits"
        result = detect(folder, "image.fits", *PLANES, *word, *more, "--output", output, "--overwrite")
        assert result.code == 0, result
        return read_ldac(output)[1]["BACKGROUND"]

    assert len(np.unique(level(()))) > 1
    assert np.all(level(("--background", "298.5")) == 298.5)
    (tmp_path / "survey.toml").write_text(
        '[input]\nexposure_folder = "x"\ntile_folder = "x"\n[input.keywords]\nbackground = "IMMODE"\n'
        '[run]\nfolder = "run"\n'
    )
    assert np.all(level(("--background", "header"), "--config", tmp_path / "survey.toml") == 300.0)
    without = detect(folder, "image.fits", "--background", "header", "--output", tmp_path / "x.fits")
    assert without.code == 2 and "no keyword is named" in without.err
    wrong = detect(folder, "image.fits", "--background", "low", "--output", tmp_path / "x.fits")
    assert wrong.code == 2 and "`estimate`, `header`, or a level" in wrong.err


@pytest.mark.parametrize("engine", ["sep", "source-extractor"])
def test_an_image_without_weights_has_the_skys_noise(folder, tmp_path, engine):
    output = tmp_path / "cat.fits"
    result = detect(folder, "image.fits", "--engine", engine, "--output", output)
    assert result.code == 0, result
    _, table = read_ldac(output)
    assert np.median(table["THRESHOLD"]) == pytest.approx(1.5 * 3, rel=0.03)
    assert not table["IMAFLAGS_ISO"].any()


def test_mosaics_and_tiles(tmp_path):
    exposures, tiles = write_survey(tmp_path)
    name = exposures / f"{EXPOSURES[0]}p"
    planes = ("--weight", f"{name}.weight.fits.fz", "--flag", f"{name}.flag.fits.fz")
    arguments = (f"{name}.fits.fz", *planes, "--background", "0")
    by_ccd, by_hdu = tmp_path / "ccd.fits", tmp_path / "hdu.fits"
    for which, output in ((("--ccd", "2"), by_ccd), (("--hdu", "3"), by_hdu)):
        result = detect(tmp_path, *arguments, *which, "--output", output)
        assert result.code == 0, result
        assert "HDU 3" in result.out
    assert np.array_equal(read_ldac(by_ccd)[1], read_ldac(by_hdu)[1])
    tile = tiles / f"CFIS.{TILE}.r"
    result = detect(
        tmp_path, f"{tile}.fits", "--weight", f"{tile}.weight.fits.fz", "--tile", "--output", tmp_path / "tile.fits"
    )
    assert result.code == 0, result
    head, table = read_ldac(tmp_path / "tile.fits")
    assert "SEXMGZPT= " in head and not table["BACKGROUND"].any()


@pytest.mark.parametrize("engine", ["sep", "source-extractor"])
def test_objects_of_another_image(folder, tmp_path, engine):
    deep = np.random.default_rng(2).normal(100, 1, SHAPE)
    add_gaussian(deep, 333.0, 222.0, 2e4, SIGMA)
    write_image(tmp_path / "deep.fits", [deep], SHAPE, "float32", cards(PHOTZP=30.5))
    write_image(tmp_path / "deep.weight.fits", [np.ones(SHAPE)], SHAPE, "float32")
    arguments = (
        "image.fits",
        "--weight",
        "weight.fits",
        "--engine",
        engine,
        "--output",
        tmp_path / "d.fits",
    )
    more = ("--detection-image", tmp_path / "deep.fits", "--detection-weight", tmp_path / "deep.weight.fits")
    assert detect(folder, *arguments, *more).code == 0
    _, table = read_ldac(tmp_path / "d.fits")
    assert len(table) == 1 and abs(table["X_IMAGE"][0] - 334) < 0.1
    alone = detect(folder, *arguments, "--detection-weight", tmp_path / "deep.weight.fits", "--overwrite")
    assert alone.code == 2 and "belongs to --detection-image" in alone.err
    write_image(tmp_path / "small.fits", [deep[:100, :100]], (100, 100), "float32", cards(PHOTZP=30.5))
    small = detect(folder, "image.fits", "--detection-image", tmp_path / "small.fits", "--output", tmp_path / "e.fits")
    assert small.code == 1 and "same pixels" in small.err


def test_files_of_source_extractor(folder, tmp_path):
    (tmp_path / "my.sex").write_text("DETECT_THRESH 30\nFILTER N\nODD_KEY 1\n")
    (tmp_path / "my.param").write_text("MAG_ISO\nVIGNET(7,7)\n")
    files = ("--sex", tmp_path / "my.sex", "--param", tmp_path / "my.param")
    result = detect(folder, "image.fits", *files, "--output", tmp_path / "cat.fits")
    assert result.code == 0, result
    assert "by source-extractor" in result.out
    _, table = read_ldac(tmp_path / "cat.fits")
    assert {"MAG_ISO", "VIGNET", "SNR_WIN"} <= set(table.dtype.names) and table["VIGNET"].shape[1:] == (7, 7)
    assert np.median(table["THRESHOLD"]) == pytest.approx(30 * 3, rel=0.03)
    (tmp_path / "my.param").write_text("MAG_ISSO\n")
    result = detect(folder, "image.fits", *files, "--output", tmp_path / "b.fits")
    assert result.code == 2 and "did you mean MAG_ISO" in result.err
    result = detect(folder, "image.fits", *files, "--engine", "sep", "--output", tmp_path / "b.fits")
    assert result.code == 2 and "are for --engine source-extractor" in result.err
    assert not (tmp_path / "b.fits").exists()


def test_wrong_input_is_named(folder, tmp_path):
    output = tmp_path / "cat.fits"

    def complaint(code, *arguments):
        result = detect(folder, *arguments, "--output", output)
        assert result.code == code, result
        assert not output.exists()
        return result.err

    assert "none.fits: the image file does not exist" in complaint(3, "none.fits")
    assert "no.fits: the weight file does not exist" in complaint(3, "image.fits", "--weight", "no.fits")
    write_image(tmp_path / "short.fits", [np.ones((9, 9))], (9, 9), "float32")
    assert "its shape (9, 9) differs" in complaint(1, "image.fits", "--weight", tmp_path / "short.fits")
    write_image(tmp_path / "nan.fits", [np.full(SHAPE, np.nan)], SHAPE, "float32", cards())
    for engine in ("sep", "source-extractor"):
        text = complaint(1, tmp_path / "nan.fits", "--engine", engine)
        assert "background: only 0.00% of the boxes" in text
    write_image(tmp_path / "blind.fits", [np.ones(SHAPE)], SHAPE, "float32")
    assert "no celestial WCS" in complaint(1, tmp_path / "blind.fits")
    assert "there is no check image fog" in complaint(2, "image.fits", "--check", "fog")
    output.write_text("mine")
    result = detect(folder, "image.fits", "--output", output)
    assert result.code == 2 and "give --overwrite" in result.err and output.read_text() == "mine"
