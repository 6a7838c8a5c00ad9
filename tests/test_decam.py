"""Another camera by its survey description: real cutouts of DECam as the community pipeline delivers them."""

import shutil
from pathlib import Path

import fitsio
import numpy as np
import pytest

from shapempi.cli import main
from shapempi.config import load
from shapempi.errors import DataError
from shapempi.ids import CcdId
from shapempi.io.exposure import ExposurePaths, ccd_index, read_ccd, read_image
from shapempi.io.fits import image_hdus
from shapempi.io.ldac import read_ldac
from shapempi.survey.inputs import SurveyInputs, find_inputs

DATA = Path(__file__).parent / "data" / "decam_cutout"
STAR, RAYS = CcdId(150110053718, 28), CcdId(170316062107, 33)
NAMES = {STAR: "c4d_150110_053718_{}_z_ls9.S4.fits.fz", RAYS: "c4d_170316_062107_{}_z_ls9.N2.fits.fz"}
BAD, SATURATED, BLEED, COSMIC = 2048, 8192, 16384, 32768

CONFIG = """
[survey]
description = "decam"
[input]
exposure_folder = "{folder}"
tile_folder = "{folder}"
band = "z"
image_name = "c4d_{{exposure}}_ooi_{{band}}_ls9.{{ccd}}.fits.fz"
weight_name = "c4d_{{exposure}}_oow_{{band}}_ls9.{{ccd}}.fits.fz"
flag_name = "c4d_{{exposure}}_ood_{{band}}_ls9.{{ccd}}.fits.fz"
[input.keywords]
default_zero_point = 29.0
[run]
folder = "run"
"""

#: First and last pixel (x0, x1, y0, y1) of some CCDs in the mosaic, and the pixel of CCD 1 (S29) in which the centre of
#: the field is: DETSEC and CRPIX of real headers.
DETSEC = {
    1: (2049, 4096, 8193, 12288),
    20: (10245, 12284, 6149, 10236),
    28: (12293, 14332, 12293, 16380),
    33: (14341, 16380, 4101, 8188),
    41: (16389, 18428, 10244, 14331),
}
CRPIX_S29 = (13423.2, 6307.333)


def configure(folder, exposures=DATA):
    (folder / "decam.toml").write_text(CONFIG.format(folder=exposures))
    return folder / "decam.toml"


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    return load(configure(tmp_path_factory.mktemp("decam"))).input


def triple(ccd):
    return ExposurePaths(*(DATA / NAMES[ccd].format(role) for role in ("ooi", "oow", "ood")))


def pixels(ccd, role):
    with fitsio.FITS(str(DATA / NAMES[ccd].format(role))) as file:
        return file[1].read()


def test_names_and_numbers(survey):
    for ccd, name in NAMES.items():
        assert survey.exposure_number.find(name.format("ooi")) == ccd.exposure
        assert survey.exposure_number.find(f" input image {name.format('ooi')}") == ccd.exposure
        assert [path.name for path in SurveyInputs(survey).ccd_paths(ccd).__dict__.values()] == [
            name.format(role) for role in ("ooi", "oow", "ood")
        ]
        hdus = ccd_index(image_hdus(triple(ccd).image), survey.camera)
        assert list(hdus) == [ccd.ccd]
        header = fitsio.read_header(str(triple(ccd).image), 1)
        assert header["CCDNUM"] == ccd.ccd and survey.camera.name_of(ccd.ccd) == header["EXTNAME"].strip()
    names = survey.camera.ccd_names
    assert sorted(names) == sorted(f"{side}{n}" for side in "NS" for n in range(1, 32)) and len(names) == 62
    assert all(survey.camera.number_of(survey.camera.name_of(ccd)) == ccd for ccd in survey.ccds)
    assert survey.camera.number_of("n2") == 33 and survey.camera.number_of("N32") is None


@pytest.mark.parametrize("ccd", NAMES)
def test_a_triple_is_read_as_the_description_says(survey, ccd):
    image = SurveyInputs(survey).read_ccd(ccd)
    raw = pixels(ccd, "ooi")
    np.testing.assert_array_equal(image.data, raw)
    assert image.valid_box == (0, raw.shape[0], 0, raw.shape[1])
    assert image.gain == 4.47 and image.saturate == pytest.approx(45900, rel=0.01)
    assert image.mag_zp == (29.915 if ccd == RAYS else 29.0)  # MAGZERO, or what there is without it
    assert image.flux_scale == pytest.approx(10 ** (0.4 * (30 - image.mag_zp)))
    assert image.epoch == pytest.approx(
        2000 + (57032.2319 - 51544.5) / 365.25 + (2.1789 if ccd == RAYS else 0), abs=0.01
    )
    codes = pixels(ccd, "ood")
    meaning = {0: 0, 1: BAD, 3: SATURATED, 4: BLEED, 5: COSMIC}
    np.testing.assert_array_equal(image.flag, np.vectorize(meaning.get)(codes))
    assert set(np.unique(image.flag)) == ({0, COSMIC} if ccd == RAYS else {0, SATURATED, BLEED})
    assert np.count_nonzero(image.flag == COSMIC) == (177 if ccd == RAYS else 0)
    assert not image.weight[image.flag != 0].any() and (image.weight[image.flag == 0] > 0).mean() > 0.99
    by_ccd = read_ccd(triple(ccd), ccd.ccd, keywords=survey.keywords, camera=survey.camera, flags=survey.flags)
    np.testing.assert_array_equal(by_ccd.flag, image.flag)


def test_the_mosaic_is_that_of_the_headers(survey):
    """Places by DETSEC and CRPIX, directions by the WCS of both cutouts."""
    camera = survey.camera
    assert camera.ccds == tuple(range(1, 63)) and (camera.n_row, camera.n_column) == (7, 12)
    middle = {ccd: ((x0 + x1) / 2, (y0 + y1) / 2) for ccd, (x0, x1, y0, y1) in DETSEC.items()}
    for ccd, (x, y) in middle.items():
        here, first = camera.place(ccd), camera.place(1)
        steps = (x - middle[1][0]) / 2048, (y - middle[1][1]) / 4096
        assert (here.right - first.right, here.up - first.up) == pytest.approx(steps, abs=0.01)
    ny, nx = camera.shape
    x, y = camera.place(1).centre(camera.shape, camera.gaps)
    # The distortion, 0.3 % so far out, is not in the arrangement.
    assert ((nx + 1) / 2 - CRPIX_S29[0], (ny + 1) / 2 - CRPIX_S29[1]) == pytest.approx((x, y), rel=0.005)
    assert camera.axes == ("S", "E")
    for ccd in NAMES:
        wcs = SurveyInputs(survey).read_ccd(ccd).wcs
        (ra, ra_x, ra_y), (dec, dec_x, dec_y) = wcs.pixel_to_sky(np.array([30.0, 31, 30]), np.array([30.0, 30, 31]))
        assert dec_x < dec and abs(ra_x - ra) < 0.01 * abs(dec_x - dec)
        assert ra_y > ra and abs(dec_y - dec) < 0.01 * abs(ra_y - ra)


def test_a_code_without_meaning_is_refused_and_bits_can_be_ignored(survey, tmp_path):
    strange = pixels(RAYS, "ood")
    strange[3, 4] = 77
    fitsio.write(str(tmp_path / "ood.fits"), strange, extname="N2")
    paths = triple(RAYS)
    with pytest.raises(DataError, match=r"ood\.fits.*: 77 is no code of \[input\.flags\] codes \(1, 2, 3, .*77 = 0"):
        read_image(
            ExposurePaths(paths.image, None, tmp_path / "ood.fits"), keywords=survey.keywords, flags=survey.flags
        )
    flags = survey.flags.model_copy(update={"codes": {**survey.flags.codes, 77: 0}, "ignored": COSMIC})
    image = read_image(ExposurePaths(paths.image, None, tmp_path / "ood.fits"), keywords=survey.keywords, flags=flags)
    assert not image.flag.any()


def test_files_of_single_ccds_are_placed_on_the_sky_and_checked(tmp_path):
    folder = tmp_path / "cutouts"
    shutil.copytree(DATA, folder)
    inputs = SurveyInputs(load(configure(tmp_path, folder)).input)
    (found,) = inputs.footprints(RAYS.exposure)
    assert (found.ccd, found.shape, found.problem) == (RAYS, (64, 64), "")
    assert [paths.image.name for paths in inputs.exposure_files(RAYS.exposure)] == [NAMES[RAYS].format("ooi")]
    assert inputs.exposure_paths(RAYS.exposure).image.name == "c4d_170316_062107_ooi_z_ls9.*.fits.fz"
    assert list(inputs.ccd_hdus(RAYS.exposure)) == [33]
    placed = inputs.place(RAYS.exposure)
    assert placed.sound and inputs.place(RAYS.exposure, placed.looks) is None
    # A file under the name of another CCD, and one that is cut off.
    (folder / NAMES[RAYS].format("ooi")).rename(folder / "c4d_170316_062107_ooi_z_ls9.N3.fits.fz")
    cut = folder / NAMES[STAR].format("ooi")
    cut.write_bytes(cut.read_bytes()[:1000])
    assert (
        "EXTNAME is that of CCD 33, and the file's name that of CCD 34" in inputs.footprints(RAYS.exposure)[0].problem
    )
    assert NAMES[STAR].format("ooi") in inputs.footprints(STAR.exposure)[0].problem
    assert inputs.place(RAYS.exposure, placed.looks) is not None


def test_what_is_missing_is_named(tmp_path):
    folder = tmp_path / "survey"
    shutil.copytree(DATA, folder)
    (folder / NAMES[RAYS].format("oow")).unlink()
    (folder / NAMES[RAYS].format("ood")).unlink()
    cards = [f" input image {name.format('ooi')}" for name in (*NAMES.values(), "c4d_190101_000000_{}_z_ls9.fits.fz")]
    with fitsio.FITS(str(folder / "DECam.0498.0462.z.fits"), "rw") as file:
        file.write(np.zeros((8, 8), np.float32))
        for card in cards:
            file[0].write_history(card)
    with fitsio.FITS(str(folder / "DECam.0498.0462.z.weight.fits.fz"), "rw") as file:
        file.write(np.ones((8, 8), np.float32))
    inputs = find_inputs(load(configure(tmp_path, folder)).input)
    assert [str(tile) for tile in inputs.tiles] == ["498.462"]
    assert inputs.exposures == (STAR.exposure, RAYS.exposure)
    missing = sorted(Path(problem.path).name for problem in inputs.problems)
    assert missing == [
        "c4d_170316_062107_ood_z_ls9.N2.fits.fz",
        "c4d_170316_062107_oow_z_ls9.N2.fits.fz",
        "c4d_190101_000000_ooi_z_ls9.*.fits.fz",
    ]


def test_mask_and_detect_take_the_description(tmp_path, capsys):
    config = configure(tmp_path)
    paths = triple(STAR)
    words = [str(paths.image), "--weight", str(paths.weight), "--flag", str(paths.flag), "--config", str(config)]
    assert main(["mask", *words, "--ccd", "28", "--output", str(tmp_path / "masks")]) == 0
    capsys.readouterr()
    plane = fitsio.read(str(tmp_path / "masks" / "pipeline_flag-150110053718-28.fits"))
    codes = pixels(STAR, "ood")
    assert (plane[codes == 3] & SATURATED).all() and (plane[codes == 4] & BLEED).all()
    assert not (plane[codes == 0] & (SATURATED | BLEED)).any()
    # Without weights, which are zero there, the cosmic ray is an object, and its flags say what it is.
    ray = triple(RAYS)
    files = [str(ray.image), "--flag", str(ray.flag), "--config", str(config), "--ccd", "33"]
    assert main(["detect", *files, "--output", str(tmp_path / "found.fits")]) == 0
    assert "objects by sep" in capsys.readouterr().out
    table = read_ldac(tmp_path / "found.fits")[1]
    brightest = table[np.argmin(table["MAG_AUTO"])]
    assert brightest["IMAFLAGS_ISO"] & COSMIC
    assert main(["detect", *files, "--weight", str(ray.weight), "--output", str(tmp_path / "weighted.fits")]) == 0
    capsys.readouterr()
    assert not (read_ldac(tmp_path / "weighted.fits")[1]["IMAFLAGS_ISO"] & COSMIC).any()
    assert main(["detect", *words, "--ccd", "27", "--output", str(tmp_path / "none.fits")]) == 1
    assert "there is no CCD 27 (S3) in the image file" in capsys.readouterr().err
    picture = tmp_path / "picture.png"
    look = ["look", words[0], "--flag", str(paths.flag), "--config", str(config), "--ccd", "28"]
    assert main([*look, "--output", str(picture)]) == 0
    assert f"flag {SATURATED}" in capsys.readouterr().out and picture.stat().st_size > 10_000
