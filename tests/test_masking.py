"""Masks with the files that their settings name, and masks of single images: files, header, combinations, errors."""

import logging
import re
from pathlib import Path

import fitsio
import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from measure.sky import header

from shapempi.cli import main
from shapempi.errors import ConfigError, MissingInputError
from shapempi.flags import PixelFlag
from shapempi.io.exposure import ExposurePaths, KeywordParams, read_image
from shapempi.masking import MaskSource, mask_image, read_recipe
from shapempi.measure.mask import MaskParams, MaskRecipe, bright_stars, make_mask
from shapempi.measure.mask_template import halo_vertices, packaged_template
from shapempi.wcs import Wcs

SHAPE = (300, 400)
SQUARE = "-50 -40\n60 -40\n60 70\n-50 70\n"
DECAM = Path(__file__).parent / "data" / "decam_cutout"
DECAM_STAR = (110.312366, 23.92, 10.52)


@pytest.fixture
def files(tmp_path):
    """An image of 300 x 400 pixels of 0.2 arcsec with weight, flags, a star, a galaxy and a template."""
    rng = np.random.default_rng(1)
    image = rng.normal(5, 1, SHAPE).astype(np.float32)
    image[:30] = 0
    weight, flag = np.ones(SHAPE, np.float32), np.zeros(SHAPE, np.int16)
    weight[200:210, 50:60] = 0
    flag[100, :] = 2048
    cards = fits.Header.fromstring(header(SHAPE))
    for name, plane in (("image", image), ("weight", weight), ("flag", flag)):
        fits.writeto(tmp_path / f"{name}-2113737-10.fits", plane, cards)
    w = Wcs(header(SHAPE))
    ra, dec = w.pixel_to_sky(np.array([200.0, 330.0]), np.array([150.0, 240.0]))
    stars = np.array([(ra[0], dec[0], 12.8, 0)], [("RA", "f8"), ("DEC", "f8"), ("MAG", "f8"), ("CLASS", "i2")])
    fitsio.write(tmp_path / "stars.fits", stars)
    (tmp_path / "ngc.csv").write_text(f"ra,dec,major,minor,pa\n{ra[1]},{dec[1]},0.2,0.1,0\n")
    (tmp_path / "square.reg").write_text(SQUARE)
    return tmp_path


def mask(folder, *words, image="image-2113737-10.fits"):
    """Run the verb in a folder."""
    return main(["mask", str(folder / image), "--output", str(folder / "out"), *(str(word) for word in words)])


def read(folder, number="-2113737-10"):
    path = folder / "out" / f"pipeline_flag{number}.fits"
    return fits.getdata(path).astype(int), fits.getheader(path)


def test_the_mask_of_one_image_says_what_is_in_it(files, capsys):
    words = ["--weight", files / "weight-2113737-10.fits", "--flag", files / "flag-2113737-10.fits"]
    words += ["--stars", files / "stars.fits", "--ngc", files / "ngc.csv"]
    assert mask(files, *words, "--regions") == 0
    out = capsys.readouterr().out
    plane, cards = read(files)
    assert fits.getheader(files / "out" / "pipeline_flag-2113737-10.fits")["BITPIX"] == 16
    assert (cards["NSTAR"], cards["NHALO"], cards["NSPIKE"], cards["NMESSIER"], cards["NNGC"]) == (1, 1, 1, 0, 1)
    assert cards["MRATIO"] == pytest.approx(0.1) and cards["MFLAG"] is False
    assert cards["CREATOR"].startswith("shapempi ") and cards["IMAGE"] == "image-2113737-10.fits"
    legend = {cards[f"FLAG{k}"]: (cards[f"FBIT{k}"], cards[f"FRAC{k}"]) for k in range(1, 7)}
    assert set(legend) == {"WEIGHT", "HALO", "BORDER", "MESSIER", "NGC", "SPIKE"}
    for name, (bit, fraction) in legend.items():
        assert bit == int(PixelFlag[name])
        assert fraction == pytest.approx(np.mean(plane & bit != 0), abs=1e-8)
    assert legend["WEIGHT"][1] == pytest.approx(100 / 120_000, abs=1e-8) and legend["NGC"][1] > 0
    assert cards["FRACEXT"] == pytest.approx(1 / 300, abs=1e-8) and (plane[100] & 2048).all()
    assert cards["FRACANY"] == pytest.approx(np.mean(plane != 0), abs=1e-8)
    # The WCS is the image's.
    ours, image = WCS(cards), WCS(header(SHAPE))
    assert np.allclose(ours.all_pix2world([[3, 5]], 0), image.all_pix2world([[3, 5]], 0), rtol=0, atol=1e-12)
    regions = (files / "out" / "pipeline_flag-2113737-10.reg").read_text().splitlines()
    assert regions[2] == "image"
    kinds = [re.match(r"(\w+)\(.*tag=\{(\w+)", line).groups() for line in regions[3:]]
    assert kinds == [("polygon", "halo"), ("polygon", "spike"), ("ellipse", "ngc"), ("box", "border")]
    corners = np.array(re.match(r"polygon\((.*?)\)", regions[3]).group(1).split(","), float).reshape(-1, 2)
    assert np.allclose(corners, [201, 151] + 1.05 * halo_vertices(), atol=2e-3)
    x, y, a, b, angle = np.array(re.match(r"ellipse\((.*?)\)", regions[5]).group(1).split(","), float)
    assert np.allclose([x, y, a, b], [331, 241, 30, 15], atol=1e-2) and abs(abs(angle) - 90) < 0.1
    assert regions[6].startswith("box(200.5000,150.5000,300.0000,200.0000,0.0000)")
    assert "1 bright stars; shapes: 1 halo, 1 spike, 0 messier, 1 ngc" in out
    assert "missing: 10.00% of the pixels are zero" in out
    # Nothing is replaced without being asked.
    assert mask(files) == 2
    assert "is already there; give --overwrite to replace it" in capsys.readouterr().err
    assert mask(files, "--overwrite") == 0
    again, cards = read(files)
    assert (cards["NSTAR"], cards["NHALO"]) == (0, 0) and set(np.unique(again)) == {0, 4}


@pytest.mark.parametrize("given", range(8))
def test_every_combination_of_files(files, given):
    named = {"weight": "weight-2113737-10.fits", "flag": "flag-2113737-10.fits", "stars": "stars.fits"}
    chosen = {key: name for k, (key, name) in enumerate(named.items()) if given >> k & 1}
    words = [word for key, name in chosen.items() for word in (f"--{key}", files / name)]
    assert mask(files, *words) == 0
    plane, _ = read(files)
    bits = np.bitwise_or.reduce(plane, axis=None)
    expected = {"weight": 1, "flag": 2048, "stars": 2 | 128}
    assert bits == 4 | sum(expected[key] for key in chosen)


def test_which_image_and_which_name(files, tmp_path):
    """A mosaic by CCD and by HDU; tiles and exposures by their numbers; a file for the output."""
    planes = [np.full((50, 60), k, np.float32) for k in (1, 2)]
    cards = fits.Header.fromstring(header((50, 60)))
    hdus = [
        fits.PrimaryHDU(),
        *(fits.ImageHDU(p, cards, name=f"ccd{k:02d}") for k, p in zip((7, 9), planes, strict=True)),
    ]
    for hdu, value in zip(hdus[1:], (0.5, 1.0), strict=True):
        hdu.data[3, 4] = 0 if value == 0.5 else 1
    fits.HDUList(hdus).writeto(tmp_path / "2113737p.fits")
    for name in ("CFIS.241.293.r.fits", "field.fits"):
        fits.writeto(tmp_path / name, planes[0], cards)
    out = tmp_path / "out"
    assert mask(tmp_path, "--ccd", 7, image="2113737p.fits") == 0
    assert fits.getheader(out / "pipeline_flag-2113737-7.fits")["MRATIO"] > 0
    assert mask(tmp_path, "--hdu", 2, image="2113737p.fits") == 0
    assert fits.getheader(out / "pipeline_flag-2113737-hdu2.fits")["MRATIO"] == 0
    assert mask(tmp_path, "--tile", image="CFIS.241.293.r.fits") == 0
    assert not fits.getdata(out / "pipeline_flag-241-293.fits").any(), "a tile has no border"
    assert mask(tmp_path, image="field.fits") == 0
    assert fits.getdata(out / "pipeline_flag-field.fits").all()
    assert main(["mask", str(tmp_path / "field.fits"), "--output", str(out / "mine.fits"), "--regions"]) == 0
    assert (out / "mine.fits").is_file() and (out / "mine.reg").is_file()
    assert mask(tmp_path, "--ccd", 8, image="2113737p.fits") == 1


def test_bits_beyond_int16_are_int32(files):
    with fits.open(files / "flag-2113737-10.fits") as hdus:
        fits.writeto(files / "f.fits", hdus[0].data.astype(np.int32) * 64, hdus[0].header)
    assert mask(files, "--flag", files / "f.fits") == 0
    assert fits.getheader(files / "out" / "pipeline_flag-2113737-10.fits")["BITPIX"] == 32
    assert (read(files)[0][100] & (2048 * 64)).all()


def test_the_reference_configuration_takes_the_place_of_the_table(files, caplog):
    text = (
        "[PROGRAM_PATH]\nWW_PATH = ww\n[BORDER_PARAMETERS]\nBORDER_WIDTH = 7\n[SPIKE_PARAMETERS]\nSPIKE_MAKE = False\n"
    )
    text += "SPIKE_MASKMODEL_PATH = not_there.reg\n[HALO_PARAMETERS]\nHALO_MASKMODEL_PATH = square.reg\n"
    text += "HALO_FLAG_VALUE = 64\n[NGC_PARAMETERS]\nNGC_CAT_PATH = ngc.csv\n"
    (files / "a.mask").write_text(text)
    params = MaskParams(configuration=str(files / "a.mask"), border_width=99, halo_mag_limit=12.9)
    with caplog.at_level(logging.WARNING):
        found = read_recipe(params, ngc=files / "no such file", table="exposure.mask")
    assert [record.getMessage() for record in caplog.records] == [
        f"exposure.mask: {files / 'a.mask'}: not used here: WW_PATH"
    ]
    made = found.recipe.params
    assert (made.border_width, made.spike_make, made.halo_bit, made.halo_mag_limit) == (7, False, 64, 12.9)
    assert found.recipe.halo.tolist() == [[-50, -40], [60, -40], [60, 70], [-50, 70]]
    assert [objects.kind for objects in found.recipe.deep_sky] == [PixelFlag.NGC]
    assert found.contents == (f"exposure.mask.configuration\n{text}", f"exposure.mask.halo_template\n{SQUARE}")
    assert mask(files, "--stars", files / "stars.fits", "--mask-config", files / "a.mask") == 0
    plane, cards = read(files)
    assert set(np.unique(plane & ~4)) == {0, 32, 64} and cards["NNGC"] == 1
    assert cards["FBIT2"] == 64 and np.count_nonzero(plane & 64) == pytest.approx(110 * 110 * 1.05**2, rel=0.02)


def test_settings_of_a_survey(files, tmp_path):
    (tmp_path / "survey.toml").write_text(
        f'[input]\nexposure_folder = "e"\ntile_folder = "t"\nstar_catalogue = "{files / "stars.fits"}"\n'
        f'ngc_catalogue = "{files / "ngc.csv"}"\n[run]\nfolder = "run"\n[exposure.mask]\nborder_width = 3\n'
        f'halo_template = "{files / "square.reg"}"\n[tile.mask]\nhalo_make = false\n'
    )
    assert mask(files, "--config", tmp_path / "survey.toml") == 0
    plane, cards = read(files)
    assert (cards["NHALO"], cards["NSPIKE"], cards["NNGC"]) == (1, 1, 1) and np.count_nonzero(plane & 4) == 4164
    assert mask(files, "--config", tmp_path / "survey.toml", "--tile", "--overwrite") == 0
    plane, cards = read(files)
    assert (cards["NHALO"], cards["NSPIKE"], cards["NNGC"]) == (0, 1, 1) and not (plane & 4).any()


def test_templates_by_the_name_of_a_camera():
    recipe = read_recipe(MaskParams(halo_template="decam", spike_template="megacam")).recipe
    assert recipe.halo is packaged_template("decam", "halo")
    assert recipe.spike is packaged_template("megacam", "spike")
    assert read_recipe(MaskParams()).contents == ()


def test_an_image_that_is_left_out_leaves_its_reason(files, capsys):
    (files / "md.mask").write_text(
        "[MD_PARAMETERS]\nMD_REMOVE = True\nMD_THRESH_REMOVE = 0.05\nMD_THRESH_FLAG = 0.04\n"
    )
    assert mask(files) == 0
    assert mask(files, "--mask-config", files / "md.mask", "--overwrite") == 0
    assert [path.name for path in (files / "out").iterdir()] == ["removed-2113737-10.txt"]
    text = (files / "out" / "removed-2113737-10.txt").read_text()
    assert "image-2113737-10.fits" in text and "left out, 10.0% of the pixels are missing (limit 5%" in text
    assert "10.00% of the pixels are zero (marked: MFLAG); the image is left out" in capsys.readouterr().out


def test_an_image_of_nothing_but_nan_and_one_entirely_flagged(files):
    fits.writeto(files / "nan.fits", np.full(SHAPE, np.nan, np.float32), fits.Header.fromstring(header(SHAPE)))
    assert mask(files, "--stars", files / "stars.fits", image="nan.fits") == 0
    plane, cards = read(files, "-nan")
    assert (plane & 1).all() and cards["MFLAG"] is True and cards["MRATIO"] == 1.0
    fits.writeto(files / "all.fits", np.full(SHAPE, 7, np.int16))
    assert mask(files, "--flag", files / "all.fits") == 0
    plane, cards = read(files)
    assert (plane & 7 == 7).all() and cards["FRACANY"] == 1.0


def test_what_cannot_be_used_is_named_with_its_exit_code(files, capsys):
    fits.writeto(files / "small.fits", np.ones((10, 10), np.float32))
    (files / "no_mag.csv").write_text("RA,DEC\n1,2\n")
    (files / "line.reg").write_text("0 0\n1 1\n2 2\n")
    (files / "line.mask").write_text("[HALO_PARAMETERS]\nHALO_MASKMODEL_PATH = line.reg\n")
    (files / "none.mask").write_text("[SPIKE_PARAMETERS]\nSPIKE_MASKMODEL_PATH = nothing.reg\n")
    (files / "range.mask").write_text("[MD_PARAMETERS]\nMD_THRESH_FLAG = 3\n")
    cases = [
        (("--weight", files / "small.fits"), 1, r"small\.fits, HDU 0: its shape \(10, 10\) differs from \(300, 400\)"),
        (("--flag", files / "small.fits"), 1, "its shape"),
        (("--stars", files / "no_mag.csv"), 1, r"no_mag\.csv: no column for MAG among RA, DEC; columns RA, DEC"),
        (("--stars", files / "none.fits"), 3, r"none\.fits: the star catalogue does not exist"),
        (("--ngc", files / "none.fits"), 3, r"none\.fits: the catalogue of extended objects does not exist"),
        (("--weight", files / "none.fits"), 3, r"none\.fits: the weight file does not exist"),
        (("--mask-config", files / "line.mask"), 2, r"line\.reg: the 3 vertices lie on a line"),
        (
            ("--mask-config", files / "none.mask"),
            2,
            r"nothing\.reg: the template of mask\.spike_template cannot be read",
        ),
        (("--mask-config", files / "range.mask"), 2, r"range\.mask: missing_flag_ratio = 3"),
        (("--hdu", 4), 1, "there is no image HDU 4"),
    ]
    for words, code, complaint in cases:
        assert mask(files, *words) == code, words
        errors = capsys.readouterr().err
        assert re.search(complaint, errors), errors
        assert errors.count("\n") == 1 and errors.startswith("shapempi: ")
        assert not (files / "out").exists()
    assert mask(files, image="nothing.fits") == 3
    with pytest.raises(MissingInputError):
        mask_image(MaskSource(files / "nothing.fits"), MaskRecipe(MaskParams()), files / "out")
    (files / "stars.reg").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"the template of mask\.halo_template is no text"):
        read_recipe(MaskParams(halo_template=str(files / "stars.reg")))


def test_a_bright_star_of_decam_is_covered():
    """G = 10.52: what is 5 sigma above the sky is masked, and what is left is sky (docs/masks.md has six exposures)."""
    roles = (DECAM / f"c4d_150110_053718_{role}_z_ls9.S4.fits.fz" for role in ("ooi", "oow", "ood"))
    image = read_image(ExposurePaths(*roles), keywords=KeywordParams(default_zero_point=25.0))
    star = [np.array([value]) for value in DECAM_STAR]
    law = {f"{kind}_{key}": v for kind in ("halo", "spike") for key, v in (("mag_pivot", 10.5), ("scale_factor", 0.2))}
    own = MaskParams(border_width=0, halo_template="decam", spike_template="decam", template_scale=0.262, **law)
    covered = {}
    for name, params in (("decam", own), ("megacam", MaskParams(border_width=0, template_scale=0.187))):
        recipe = read_recipe(params).recipe
        made = make_mask(image, bright_stars(*star, image.wcs, image.full_shape, recipe), recipe)
        assert made.counts["HALO"] == made.counts["SPIKE"] == 1
        covered[name] = made.plane
    assert (covered["megacam"] & int(PixelFlag.HALO)).all(), "MegaCam's halo of 58 arcsec is larger than the cutout"
    plane = covered["decam"]
    assert (plane[image.flag > 0] & image.flag[image.flag > 0] == image.flag[image.flag > 0]).all()
    good = plane == 0
    y, x = np.indices(plane.shape)
    far = np.hypot(x - 48.5, y - 54.5) > 50
    sigma = 1 / np.sqrt(np.median(image.weight[image.weight > 0]))
    above = (image.data - np.median(image.data[good & far])) / sigma
    # A galaxy of some thirty pixels around (93, 7) is no part of the star.
    other = np.hypot(x - 93, y - 7) < 7
    assert np.count_nonzero(above > 5) > 3000 and not (good & (above > 5) & ~other).any()
    left = above[good & ~other]
    assert len(left) > 1300 and np.mean(left > 3) < 0.01 and abs(np.std(left) - 1) < 0.2
    # The arms lie where the template has them: brighter than between the arms at the same distance.
    r = np.hypot(x - 48.5, y - 54.5)
    ring = (r > 30) & (r < 45) & (image.flag == 0)
    arms = (plane & int(PixelFlag.SPIKE)) != 0
    assert np.mean(above[ring & arms]) > np.mean(above[ring & ~arms])
