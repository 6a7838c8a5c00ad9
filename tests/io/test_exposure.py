"""Exposures are read exactly as written, sections included, and a bad file says what is wrong and what to do."""

from __future__ import annotations

from pathlib import Path

import fitsio
import numpy as np
import pytest
import tiny_survey
from astropy.io import fits as astropy_fits

from shapempi.errors import DataError, MissingInputError
from shapempi.io.exposure import ExposurePaths, KeywordParams, read_ccd, read_headers, read_image, valid_box
from shapempi.io.fits import card_value, image_hdus, scan_hdus

DATA = Path(__file__).parents[1] / "data" / "decam_cutout"
EXPOSURE = 2243881


@pytest.fixture
def paths(tmp_path):
    tiny_survey.write_exposure(tmp_path, EXPOSURE)
    names = (f"{EXPOSURE}p{role}.fits.fz" for role in ("", ".weight", ".flag"))
    return ExposurePaths(*(tmp_path / name for name in names))


def test_a_ccd_is_read_as_it_was_written(paths):
    image, weight, flag = tiny_survey.ccd_planes(EXPOSURE, 2)
    ccd = read_ccd(paths, 2)
    np.testing.assert_array_equal(ccd.data, image)
    np.testing.assert_array_equal(ccd.weight, weight)
    np.testing.assert_array_equal(ccd.flag, flag)
    assert (ccd.data.dtype, ccd.weight.dtype, ccd.flag.dtype) == (np.float32, np.float32, np.int32)
    assert all(plane.flags.c_contiguous and plane.dtype.isnative for plane in (ccd.data, ccd.weight, ccd.flag))
    assert ccd.full_shape == tiny_survey.CCD_SHAPE
    assert ccd.valid_box == (0, 66, 4, 56)
    assert (ccd.gain, ccd.saturate, ccd.mag_zp) == (1.6, 62000.0, 31.97)
    assert ccd.flux_scale == pytest.approx(10 ** (0.4 * (30 - 31.97)))
    assert "HDU 3" in ccd.path and "CCD02" in ccd.path


def test_a_section_is_the_same_part_of_the_whole(paths):
    whole, part = read_ccd(paths, 1), read_ccd(paths, 1, (7, 40, 11, 35))
    for name in ("data", "weight", "flag"):
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[7:40, 11:35])
    assert part.origin == (7, 11)
    assert part.full_shape == whole.full_shape and part.valid_box == whole.valid_box
    assert part.wcs.pixel_to_sky(3.0, 4.0) == whole.wcs.pixel_to_sky(3.0, 4.0)
    with pytest.raises(ValueError, match="not inside the image"):
        read_ccd(paths, 1, (0, 71, 0, 5))


def test_lossy_compression_is_decoded(tmp_path):
    rng = np.random.default_rng(1)
    plane = rng.normal(100, 10, (40, 50)).astype(np.float32)
    for role in ("", ".weight", ".flag"):
        with fitsio.FITS(str(tmp_path / f"x{role}.fits.fz"), "rw") as file:
            file.write(None)
            data = plane if not role else np.ones_like(plane) if role == ".weight" else np.zeros((40, 50), np.int16)
            file.write(data, header=tiny_survey.ccd_header(0), extname="ccd00", compress="rice", qlevel=16)
    image = read_ccd(ExposurePaths(*(tmp_path / f"x{role}.fits.fz" for role in ("", ".weight", ".flag"))), 0)
    assert np.abs(image.data - plane).max() < 10 / 16
    assert image.data.std() == pytest.approx(plane.std(), rel=0.01)


def test_headers_are_those_of_the_images(paths):
    headers = read_headers(paths.image)
    assert [name for name, _ in headers] == ["CCD00", "CCD01", "CCD02", "CCD03"]
    with astropy_fits.open(paths.image) as file:
        expected = file[3].header
    header = astropy_fits.Header.fromstring(headers[2][1])
    for keyword in ("BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "EXTNAME", "CTYPE1", "CRPIX1", "PV1_7", "FSCALE", "ZENITH"):
        assert header[keyword] == expected[keyword], keyword
    assert not {"ZIMAGE", "ZNAXIS1", "ZCMPTYPE", "TFORM1", "TTYPE1", "TFIELDS", "ZTILE1", "ZVAL1"} & set(header)
    assert card_value(headers[2][1], "DATASEC") == tiny_survey.VALID


def test_ccds_are_found_by_name_else_by_position(tmp_path, paths):
    order = {ccd: tiny_survey.ccd_planes(EXPOSURE, ccd)[0] for ccd in (3, 1)}
    named = ExposurePaths(tiny_survey.write_mosaic(tmp_path / "n.fits.fz", order), paths.weight)
    np.testing.assert_array_equal(read_ccd(named, 3).data, order[3])
    with pytest.raises(DataError, match="there is no CCD 2 in the image file; it has 2 image HDUs"):
        read_ccd(named, 2)
    unnamed = tiny_survey.write_mosaic(tmp_path / "u.fits.fz", order, named=False)
    np.testing.assert_array_equal(read_ccd(ExposurePaths(unnamed, paths.weight), 1).data, order[1])
    assert all(hdu.name == "" for hdu in image_hdus(unnamed))


def test_unusable_pixels_have_weight_zero(tmp_path, paths):
    image, weight, _ = tiny_survey.ccd_planes(EXPOSURE, 0)
    image[3, 4] = np.nan
    weight[5, 6], weight[7, 8], weight[9, 10] = np.nan, -1, np.inf
    ccd = read_ccd(
        ExposurePaths(
            tiny_survey.write_mosaic(tmp_path / "i.fits.fz", {0: image}),
            tiny_survey.write_mosaic(tmp_path / "w.fits.fz", {0: weight}),
        ),
        0,
    )
    assert ccd.data[3, 4] == 0
    for row, column in ((3, 4), (5, 6), (7, 8), (9, 10)):
        assert ccd.weight[row, column] == 0
    assert (ccd.weight == 0).sum() == 5  # and the cosmic ray
    assert not ccd.flag.any()


@pytest.mark.parametrize("role", ["image", "weight", "flag"])
def test_a_missing_file_is_named(paths, role):
    getattr(paths, role).unlink()
    with pytest.raises(MissingInputError, match=rf"{getattr(paths, role).name}: the {role} file does not exist"):
        read_ccd(paths, 0)


@pytest.mark.parametrize("role", ["image", "weight", "flag"])
def test_a_truncated_file_is_named_and_its_whole_part_is_read(paths, role):
    tiny_survey.truncate(getattr(paths, role), 0.6)
    read_ccd(paths, 0)
    with pytest.raises(DataError, match=rf"{getattr(paths, role).name}.*truncated.*fetch .* again"):
        read_ccd(paths, 3)


def test_what_is_no_fits_file_is_refused(tmp_path):
    for name, content in (("empty", b""), ("short", b"SIMPLE  ="), ("text", b"hello " * 1000)):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(DataError, match=f"{name}: "):
            list(scan_hdus(path))
    with pytest.raises(DataError, match="cannot be read"):
        list(scan_hdus(tmp_path))


def test_damaged_pixels_are_an_error(paths):
    hdu = image_hdus(paths.image)[1]
    data = bytearray(paths.image.read_bytes())
    data[hdu.data_end - 3000 : hdu.data_end] = b"\xff" * 3000
    paths.image.write_bytes(data)
    with pytest.raises(DataError, match=r"HDU 2 \(CCD01\): the pixels cannot be read"):
        read_ccd(paths, 1)
    read_ccd(paths, 0)


def test_a_ccd_without_wcs_is_an_error(tmp_path, paths):
    plane = tiny_survey.ccd_planes(EXPOSURE, 0)[0]
    image = tiny_survey.write_mosaic(tmp_path / "i.fits.fz", {0: plane}, wcs=False)
    with pytest.raises(DataError, match=r"i\.fits\.fz, HDU 1 \(CCD00\): no celestial WCS"):
        read_ccd(ExposurePaths(image, paths.weight), 0)


def test_shapes_must_agree(tmp_path, paths):
    weight = tiny_survey.write_mosaic(tmp_path / "w.fits.fz", {0: np.ones((70, 61), np.float32)})
    with pytest.raises(DataError, match=r"w\.fits\.fz.*\(70, 61\) differs from \(70, 60\)"):
        read_ccd(ExposurePaths(paths.image, weight), 0)


def test_a_ccd_without_sky_is_refused(tmp_path, paths):
    plane = tiny_survey.ccd_planes(EXPOSURE, 0)[0]
    cards = [card for card in tiny_survey.ccd_header(0) if card["name"] != "ACTIVE"]
    path = tmp_path / "i.fits"
    with fitsio.FITS(str(path), "rw") as file:
        file.write(None)
        file.write(plane, header=[*cards, {"name": "ACTIVE", "value": False, "comment": ""}], extname="ccd00")
    with pytest.raises(DataError, match="no sky pixels"):
        read_ccd(ExposurePaths(path, paths.weight), 0)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"FSCALE": None}, (31.97, 10 ** (0.4 * (30 - 31.97)))),
        ({"PHOTZP": None, "FSCALE": 0.5}, (30 - 2.5 * np.log10(0.5), 0.5)),
        ({"PHOTZP": None, "FSCALE": None}, r"neither PHOTZP nor FSCALE"),
        ({"FSCALE": -1.0}, r"FSCALE = -1.0 is not positive"),
        ({"GAIN": "unknown"}, r"GAIN is 'unknown', not a number"),
        ({"DATASEC": "[0:0,0:0]"}, r"outside the image"),
        ({"DATASEC": "all"}, r"DATASEC is 'all'"),
    ],
)
def test_keywords_fall_back_or_are_named(tmp_path, paths, change, expected):
    cards = {card["name"]: card["value"] for card in tiny_survey.ccd_header(0)} | change
    path = tmp_path / "i.fits"
    with fitsio.FITS(str(path), "rw") as file:
        file.write(None)
        header = [{"name": n, "value": v, "comment": ""} for n, v in cards.items() if v is not None]
        file.write(tiny_survey.ccd_planes(EXPOSURE, 0)[0], header=header, extname="ccd00")
    paths = ExposurePaths(path, paths.weight)
    if isinstance(expected, str):
        with pytest.raises(DataError, match=rf"(?i)i\.fits, HDU 1 \(ccd00\): .*{expected}"):
            read_ccd(paths, 0)
    else:
        image = read_ccd(paths, 0)
        assert (image.mag_zp, image.flux_scale) == pytest.approx(expected)


def test_absent_gain_and_saturation_are_unknown(tmp_path, paths):
    header = [card for card in tiny_survey.ccd_header(0) if card["name"] not in ("GAIN", "SATURATE", "DATASEC")]
    path = tmp_path / "i.fits"
    with fitsio.FITS(str(path), "rw") as file:
        file.write(None)
        file.write(tiny_survey.ccd_planes(EXPOSURE, 0)[0], header=header, extname="ccd00")
    image = read_ccd(ExposurePaths(path, paths.weight), 0)
    assert image.gain == 0 and image.saturate == np.inf and image.valid_box == (0, 70, 0, 60)


def test_flags_must_be_bits(tmp_path, paths):
    flag = np.zeros(tiny_survey.CCD_SHAPE, np.float32)
    path = tiny_survey.write_mosaic(tmp_path / "f.fits.fz", {0: flag})
    assert read_ccd(ExposurePaths(paths.image, paths.weight, path), 0).flag.dtype == np.int32
    flag[2, 2] = 0.5
    tiny_survey.write_mosaic(path, {0: flag})
    with pytest.raises(DataError, match=r"f\.fits\.fz.*integer bits"):
        read_ccd(ExposurePaths(paths.image, paths.weight, path), 0)


def test_a_real_header_in_reverse_order_gives_the_same_box():
    card = "DATASEC = '[2080:33,1:4612]'".ljust(80)
    assert valid_box(card, (4644, 2112)) == (0, 4612, 32, 2080)


def test_real_cutout_of_a_saturated_star():
    """Another camera's compressed files, by EXTNAME: flags, weight and WCS agree about the star."""
    files = (DATA / f"c4d_150110_053718_{role}_z_ls9.S4.fits.fz" for role in ("ooi", "oow", "ood"))
    paths = ExposurePaths(*files)
    with pytest.raises(DataError, match=r"neither PHOTZP nor FSCALE.*default_zero_point"):
        read_image(paths, "S4")
    keywords = KeywordParams(gain="GAINA", default_zero_point=25.0)
    image = read_image(paths, "s4", keywords=keywords)
    assert image.data.shape == (100, 100)
    assert (image.gain, image.saturate) == pytest.approx((3.8725, 45964.39), rel=1e-5)
    assert image.flux_scale == pytest.approx(100.0)
    assert image.wcs.pixel_scale(50, 50) == pytest.approx(0.2638, abs=1e-4)
    assert set(np.unique(image.flag)) == {0, 3, 4}
    assert not image.weight[image.flag != 0].any() and (image.weight[image.flag == 0] > 0).all()
    assert image.data[image.flag == 3].min() > 0.96 * image.saturate
    assert image.data[image.flag == 0].max() < image.saturate
    x, y = image.wcs.sky_to_pixel(np.array([110.31236645]), np.array([23.92000048]))
    assert image.flag[round(y[0]), round(x[0])] == 3
    rows, columns = np.nonzero(image.flag == 3)
    assert abs(np.median(columns) - x[0]) < 1.0 and abs(np.median(rows) - y[0]) < 5.0
    section = read_image(paths, 1, (20, 90, 30, 80), keywords=keywords)
    for name in ("data", "weight", "flag"):
        np.testing.assert_array_equal(getattr(section, name), getattr(image, name)[20:90, 30:80])


def test_the_sky_is_that_of_the_header_if_a_keyword_is_named(tmp_path, paths):
    assert read_ccd(paths, 0).background is None
    assert read_ccd(paths, 0, keywords=KeywordParams(background="ZENITH")).background == 12.5
    for keyword, complaint in (("CTYPE1", "CTYPE1 is 'RA---TPV', not a number"), ("NONE", "NONE is not in the header")):
        with pytest.raises(DataError, match=complaint):
            read_ccd(paths, 0, keywords=KeywordParams(background=keyword))


def test_an_image_without_weights_and_by_order(paths):
    alone = read_image(ExposurePaths(paths.image, None))
    assert np.array_equal(alone.data, read_ccd(paths, 0).data)
    assert np.all(alone.weight == 1) and not alone.flag.any()
