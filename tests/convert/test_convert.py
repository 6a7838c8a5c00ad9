"""ShapePipe's INI files as a configuration of ours: every key has a fate, and what is wrong is named with its line."""

import re
import shutil

import pytest
from chain.program import verb
from convert.shapepipe_files import DATA, convert, line_of, write

from shapempi.config import load

CHAINS = ("prepare.ini", "exposures.ini", "tiles.ini")


@pytest.fixture
def survey(tmp_path, monkeypatch):
    """Return the folder of a user with all three chains."""
    for folder in ("input_exp", "input_tiles", "star_cat", "output"):
        (tmp_path / "sp" / folder).mkdir(parents=True)
    (tmp_path / "sp" / "star_cat" / "star_cat-241-293.cat").touch()
    shutil.copytree(DATA, tmp_path / "config")
    monkeypatch.setenv("SP_RUN", str(tmp_path / "sp"))
    monkeypatch.setenv("SP_CONFIG", str(tmp_path / "config"))
    return tmp_path


def edited(survey, name, old, new):
    """Replace a text in a configuration."""
    path = survey / "config" / name
    text = path.read_text()
    assert old in text, old
    path.write_text(text.replace(old, new))
    return path


def all_chains(survey, *words):
    return verb(survey, "convert", *(f"config/{name}" for name in CHAINS), *words)


def test_both_examples_become_one_configuration(survey):
    result = all_chains(survey, "--report", "report.txt")
    assert (result.code, result.err) == (0, "")
    config = load(survey / "survey.toml")
    sp = survey / "sp"
    assert (config.input.exposure_folder, config.input.tile_folder) == (sp / "input_exp", sp / "input_tiles")
    assert config.input.star_catalogue == sp / "star_cat"
    assert config.input.image_name == "image-{exposure}.fitsfz"
    assert (config.input.tile_name, config.input.tile_weight_name) == (
        "CFIS_image-{tile}.fits",
        "CFIS_weight-{tile}.fitsfz",
    )
    assert config.run.folder == sp / "output" / "run_shapempi"
    assert (config.exposure.detection.threshold, config.tile.detection.threshold) == (2.0, 1.5)
    assert (config.exposure.detection.deblend_contrast, config.tile.detection.deblend_contrast) == (0.001, 0.0005)
    assert (config.exposure.mask.border_width, config.tile.mask.border_width) == (50, 0)
    assert config.exposure.mask.halo_template == str(survey / "config" / "halo.reg")
    assert not config.exposure.mask.ngc_make and config.exposure.mask.messier_make
    assert config.input.messier_catalogue == survey / "config" / "messier.csv"
    assert (config.stars.selection, config.stars.split) == (str(survey / "config" / "tutorial.setools"), "")
    assert config.psf.acceptance.min_stars == 22  # the larger of both chains
    assert (config.psf.sampling, config.psf.degree, config.psf.engine) == (1.0, 2, "native")
    assert config.shapes.centre_prior_sigma == 0.186
    assert "0 unknown, 0 contradictions, 0 not converted" in result.out
    assert (survey / "report.txt").read_text() == result.out


def test_every_key_has_a_fate(survey):
    result = all_chains(survey, "--report", "report.txt")
    report = (survey / "report.txt").read_text()
    for name in CHAINS:
        for number, line in enumerate((survey / "config" / name).read_text().splitlines(), 1):
            key, sign, _ = line.partition(" = ")
            if sign and line[0].isalpha():
                assert f"{name}:{number}: " in report, f"{name}:{number} {line} is not in the report"
    for name in ("exposure.sex", "tile.sex", "model.psfex"):
        for number, line in enumerate((survey / "config" / name).read_text().splitlines(), 1):
            if line[0] != "#":
                assert f"{name}:{number}: " in report, f"{name}:{number} {line} is not in the report"
    for name in ("exposure.mask", "tile.mask"):
        for line in (survey / "config" / name).read_text().splitlines():
            if " = " in line:
                key = line.partition(" = ")[0]
                assert re.search(rf"{name}:\d+: \[.*\b{key}[,:]", report), f"{key} of {name} is not in the report"
    assert result.code == 0


def test_the_file_says_where_each_value_comes_from(survey):
    all_chains(survey)
    lines = (survey / "survey.toml").read_text().splitlines()
    for line in lines:
        assert not line or line[0] in "#[" or " # " in line, line
    threshold = next(line for line in lines if line.startswith("threshold"))
    assert threshold.endswith("[rms of a pixel] DETECT_THRESH, exposure.sex:5; ANALYSIS_THRESH, exposure.sex:6")
    assert any("# [pixel] [BORDER_PARAMETERS] BORDER_MAKE, BORDER_WIDTH, exposure.mask:8" in line for line in lines)


def test_nothing_is_overwritten(survey):
    assert all_chains(survey).code == 0
    (survey / "survey.toml").write_text("mine")
    result = all_chains(survey)
    assert result.code == 2 and "survey.toml" in result.err and "--overwrite" in result.err
    assert (survey / "survey.toml").read_text() == "mine"
    assert all_chains(survey, "--overwrite").code == 0
    result = all_chains(survey, "--output", "new.toml", "--report", "survey.toml")
    assert result.code == 2 and not (survey / "new.toml").exists()
    source = (survey / "config" / "tiles.ini").read_text()
    result = all_chains(survey, "--output", "config/tiles.ini", "--overwrite")
    assert result.code == 2 and "is also one to read" in result.err
    assert (survey / "config" / "tiles.ini").read_text() == source


def test_the_programs_can_be_kept(survey):
    edited(survey, "tiles.ini", "EXEC_PATH = sex", "EXEC_PATH = $SP_RUN/bin/sex")
    result = all_chains(survey, "--programs")
    assert result.code == 0, result
    config, folder = load(survey / "survey.toml"), survey / "config"
    assert config.exposure.detection.engine == config.tile.detection.engine == "source-extractor"
    program = config.exposure.detection.program
    assert (program.program, program.configuration) == ("", folder / "exposure.sex")  # found under any of its names
    assert config.tile.detection.program.program == f"{survey}/sp/bin/sex"
    assert (program.parameters, program.filter) == (folder / "columns.param", folder / "pyramid.conv")
    assert (config.psf.engine, config.psf.psfex.configuration) == ("psfex", folder / "model.psfex")


def test_the_stars_of_the_fit_are_those_that_psfex_gets(survey):
    edited(survey, "exposures.ini", "tutorial.setools", "source.setools")
    path = edited(survey, "exposures.ini", "[PSFEX_RUNNER]", "[PSFEX_RUNNER]\nFILE_PATTERN = star_split_ratio_80")
    assert all_chains(survey).code == 0
    stars = load(survey / "survey.toml").stars
    assert (stars.mask, stars.split) == ("star_selection", "star_split")

    edited(survey, "exposures.ini", "star_split_ratio_80", "star_split_ratio_20")
    result = all_chains(survey, "--overwrite")
    assert result.code == 1
    assert line_of(path, "star_split_ratio_20") in result.out and "RATIO = 80" in result.out
    edited(survey, "exposures.ini", "star_split_ratio_20", "bright_stars")
    result = all_chains(survey, "--overwrite")
    assert result.code == 1 and "makes no files bright_stars; it makes preselect, star_selection" in result.out


def test_contradictions_are_named_with_both_places(survey):
    edited(survey, "tiles.ini", "MAG_ZP = 30.0", "MAG_ZP = 31.0")
    path = survey / "config" / "tiles.ini"
    result = all_chains(survey)
    assert result.code == 1
    (line,) = (line for line in result.out.splitlines() if "the latter is taken" in line)
    assert line_of(path, "MAG_ZP") in line and "input.mag_zp is 31.0 here and 30.0 in" in line and "tile.sex:22" in line
    assert load(survey / "survey.toml").input.mag_zp == 30.0


@pytest.mark.parametrize(
    ("name", "old", "new", "words", "message"),
    [
        ("tiles.ini", "STAMP_SIZE = 51", "STAMP_SIZE = 50", "STAMP_SIZE = 50", "vignet.size cannot be 50"),
        ("exposures.ini", "STAR_THRESH = 20", "STAR_TRESH = 20", "STAR_TRESH", "did you mean STAR_THRESH?"),
        ("exposures.ini", "CHI2_THRESH = 2", "CHI2_THRESH = two", "two", "'two' is no number"),
        ("tiles.ini", "[NGMIX_RUNNER]", "[NGMX_RUNNER]", "NGMX", "no such section; did you mean NGMIX_RUNNER?"),
        ("tiles.ini", "SM_GAL_THRESH", "STAR_THRESH", "STAR_THRESH = 0.01", "did you mean SM_STAR_THRESH?"),
        ("tiles.ini", "ID_OBJ_MIN = -1", "ID_OBJ_MIN = 100", "ID_OBJ_MIN", "all objects of a tile are measured"),
        ("exposures.ini", "exposure.mask", "absent.mask", "absent.mask", "cannot read the mask configuration"),
        ("exposures.ini", "exposure.sex", "absent.sex", "absent.sex", "there is no file"),
        ("exposures.ini", "tutorial.setools", "absent.setools", "absent.setools", "cannot read the selection file"),
        ("exposures.ini", "$SP_CONFIG/model", "$SP_OTHER/model", "SP_OTHER", "variable SP_OTHER is not set"),
        ("tiles.ini", "$SP_RUN/input_tiles,", "$SP_RUN/input_tiles,,", "tiles,,", "two commas with nothing between"),
        ("exposures.ini", "WEIGHT_IMAGE = True", "WEIGHT_IMAGE = T", "WEIGHT_IMAGE = T", "neither True nor"),
        ("exposures.ini", "PSF_FILE = False", "PSF_FILE = True", "PSF_FILE", "no model photometry"),
        ("prepare.ini", "N_HDU = 40", "N_HDU = 0", "N_HDU", "input.n_ccd cannot be 0"),
        ("tiles.ini", "OUTPUT_DIR = $SP_RUN", "OUTPUT_DIR = $SP_R", "SP_R/", "variable SP_R is not set"),
        ("tiles.ini", "NUMBERING_SCHEME = -000-000", "NUMBERING_SCHEME = RE:(", "RE:(", "no regular expression"),
        ("tiles.ini", "CHI2_THRESH = 2", "CHI2_THRESH = \x07", "CHI2_THRESH", "is no number"),
    ],
)
def test_what_cannot_be_converted_is_named_and_the_rest_is_done(survey, name, old, new, words, message):
    path = edited(survey, name, old, new)
    result = all_chains(survey)
    assert result.code == 1, result
    lines = [line for line in result.out.splitlines() if line_of(path, words) in line and message in line]
    assert lines, result.out
    config = load(survey / "survey.toml")
    assert config.input.n_ccd == 40
    assert any(lines[0].strip() in line for line in (survey / "survey.toml").read_text().splitlines())


@pytest.mark.parametrize(
    ("name", "old", "new", "line", "message"),
    [
        ("exposure.sex", "DETECT_MINAREA ", "DETECT_MINARE ", 4, "did you mean DETECT_MINAREA?"),
        ("exposure.sex", "THRESH    2.0", "THRESH    2.0,24.0", 5, "shapempi takes 1"),
        ("exposure.sex", "CLEAN            Y", "CLEAN            maybe", 10, "neither Y nor N"),
        ("exposure.sex", "DEBLEND_MINCONT  0.001", "DEBLEND_MINCONT  1.5", 9, "deblend_contrast cannot be 1.5"),
        ("columns.param", "MAG_AUTO", "MAG_AUOT", 6, "did you mean MAG_AUTO?"),
        ("columns.param", "FLUX_AUTO", "FLUX AUTO", 4, "not of the form COLUMN"),
        ("model.psfex", "PSF_SIZE          51,51", "PSF_SIZE          51,41", 7, "is no square"),
        ("model.psfex", "PSFVAR_DEGREES    2", "PSFVAR_DEGREES    9", 12, "psf.degree cannot be 9"),
        ("exposure.mask", "HALO_FLAG_VALUE = 2", "HALO_FLAG_VALUE = 0", 17, "exposure.mask.halo_bit cannot be 0"),
        ("exposure.mask", "HALO_MAG_LIM", "HALO_MAG_LMI", 14, "did you mean 'HALO_MAG_LIM'?"),
        ("tutorial.setools", "MAG_AUTO < 20", "MAG_AUTO <", 4, "MAG_AUTO <"),
    ],
)
def test_files_that_sections_name_are_read_line_by_line(survey, name, old, new, line, message):
    edited(survey, name, old, new)
    result = all_chains(survey)
    assert result.code == 1, result
    assert any(f"{name}:{line}: " in text and message in text for text in result.out.splitlines()), result.out
    load(survey / "survey.toml")


def test_templates_and_catalogues_that_are_not_there(survey):
    (survey / "config" / "halo.reg").unlink()
    (survey / "config" / "messier.csv").unlink()
    result = all_chains(survey)
    assert result.code == 1
    for words in ("HALO_MASKMODEL_PATH: there is no file", "MESSIER_CAT_PATH: there is no file"):
        assert words in result.out
    config = load(survey / "survey.toml")
    assert config.input.messier_catalogue is None and config.exposure.mask.halo_template == ""


def test_images_that_are_not_where_the_files_say(survey):
    (survey / "sp" / "input_tiles" / "CFIS_image-241-293.fits").touch()
    result = all_chains(survey)
    assert result.code == 1 and "there are no files CFIS_weight-{tile}.fitsfz in" in result.out
    (survey / "sp" / "input_tiles" / "CFIS_weight-241-293.fitsfz").touch()
    assert all_chains(survey, "--overwrite").code == 0
    shutil.rmtree(survey / "sp" / "input_exp")
    result = all_chains(survey, "--overwrite")
    assert result.code == 1 and "there is no folder" in result.out and "--exposure-folder" in result.out
    assert load(survey / "survey.toml").input.exposure_folder == survey / "sp" / "input_exp"


def test_values_that_the_programs_take_too(survey):
    edited(survey, "exposure.sex", "BACK_SIZE        64", "BACK_SIZE        128,128")
    edited(survey, "exposure.sex", "BACK_FILTERSIZE  3", "BACK_FILTERSIZE  5,5")
    assert all_chains(survey).code == 0
    config = load(survey / "survey.toml")
    assert (config.exposure.background.box_size, config.exposure.background.filter_size) == (128, 5)
    assert (config.exposure.detection.rescale_box, config.tile.detection.rescale_box) == (128, 64)


def test_another_filter_needs_the_program(survey):
    (survey / "config" / "pyramid.conv").write_text("CONV NORM\n1 1 1\n1 1 1\n1 1 1\n")
    result = all_chains(survey)
    assert result.code == 1 and "is not the 3 x 3 pyramid" in result.out and "--programs" in result.out
    assert all_chains(survey, "--programs", "--overwrite").code == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mask_runner, setools_runner,", "the list ends with a comma; remove it; ShapePipe refuses it, too"),
        ("mask_runner,, setools_runner", "two commas"),
    ],
)
def test_a_trailing_comma_in_module_is_an_error_of_the_file(tmp_path, text, message):
    path = write(tmp_path, modules=text)
    result = convert(tmp_path, "config.ini")
    assert result.code == 2
    assert result.err.startswith(f"shapempi: {line_of(path, 'MODULE')}: [EXECUTION] MODULE") and message in result.err
    assert not (tmp_path / "survey.toml").exists()


def test_errors_of_the_file_write_nothing(tmp_path):
    path = write(tmp_path, "[MASK_RUNNER]\nHDU = 0\nHDU = 1\n")
    result = convert(tmp_path, "config.ini")
    assert result.code == 2 and f"config.ini:{len(path.read_text().splitlines())}: HDU" in result.err
    assert convert(tmp_path, "absent.ini").code == 3
    (tmp_path / "other.ini").write_text("[A]\nB = 1\n")
    assert "there is no MODULE" in convert(tmp_path, "other.ini").err
    assert convert(tmp_path).code == 2
    shutil.copy(DATA / "exposure.sex", tmp_path)
    assert "are read with the INI file that names them" in convert(tmp_path, "exposure.sex").err
    assert not (tmp_path / "survey.toml").exists()


def test_modules_and_sections_by_the_names_of_both_generations(tmp_path):
    old = "vignetmaker_runner, vignetmaker_runner2, make_catalog_runner, psfexinterp_runner, merge_header_runner"
    new = "vignetmaker_runner, vignetmaker_runner, make_cat_runner, psfex_interp_runner, merge_headers_runner"
    sections = "[{0}]\nSTAMP_SIZE = 41\n[{1}]\nSTAMP_SIZE = 41\n[{2}]\n{3} = 0.004\n[{4}]\nSTAR_THRESH = 21\n"
    names = ("VIGNETMAKER_RUNNER", "VIGNETMAKER_RUNNER2", "MAKE_CATALOG_RUNNER", "SM_STAR_STRESH", "PSFEXINTERP_RUNNER")
    later = (
        *(f"VIGNETMAKER_RUNNER_RUN_{k}" for k in (1, 2)),
        "MAKE_CAT_RUNNER",
        "SM_STAR_THRESH",
        "PSFEX_INTERP_RUNNER",
    )
    found = []
    for modules, words in ((old, names), (new, later)):
        write(tmp_path, sections.format(*words), modules=f"split_exp_runner, {modules}")
        result = convert(tmp_path, "config.ini", "--overwrite")
        assert result.code == 0, result
        config = load(tmp_path / "survey.toml")
        found.append((config.vignet.size, config.spread.star_threshold, config.psf.acceptance.min_stars))
    assert found == [(41, 0.004, 21)] * 2


def test_default_is_inherited_and_a_section_that_does_not_run_is_not_read(tmp_path):
    path = write(tmp_path, "[NGMIX_RUNNER]\nMAG_ZP = 27\n", modules="split_exp_runner, vignetmaker_runner")
    path.write_text(path.read_text().replace("[DEFAULT]", "[DEFAULT]\nSTAMP_SIZE = 31\nSTAMPSIZE = 5"))
    result = convert(tmp_path, "config.ini")
    assert result.code == 1 and f"{line_of(path, 'STAMPSIZE')}: [DEFAULT] STAMPSIZE = 5: no such key" in result.out
    config = load(tmp_path / "survey.toml")
    assert config.vignet.size == 31 and config.input.mag_zp == 30.0
    assert "[NGMIX_RUNNER]: not in MODULE" in result.out


def test_one_file_may_run_a_module_on_exposures_and_on_tiles(tmp_path):
    for name in ("exposure.sex", "tile.sex"):
        shutil.copy(DATA / name, tmp_path)
    section = "[SEXTRACTOR_RUNNER_RUN_{0}]\nNUMBERING_SCHEME = {1}\nDOT_SEX_FILE = {2}.sex\nCHECKIMAGE = APERTURES\n"
    sections = section.format(1, "-000-000", "tile") + section.format(2, "-0000000-0", "exposure")
    write(tmp_path, sections, modules="split_exp_runner, sextractor_runner, sextractor_runner")
    result = convert(tmp_path, "config.ini", "--programs")
    assert result.code == 0, result
    config = load(tmp_path / "survey.toml")
    assert (config.exposure.detection.threshold, config.tile.detection.threshold) == (2.0, 1.5)
    assert config.tile.detection.program.check_images == ("APERTURES",)


def test_folders_may_be_added_and_in_any_order(tmp_path):
    stars = tmp_path / "stars"
    stars.mkdir()
    (stars / "star_cat-1.cat").touch()
    path = write(tmp_path, modules="split_exp_runner, mask_runner", scheme="-000-000")
    path.write_text(
        path.read_text().replace("INPUT_DIR = exposures", "INPUT_DIR = stars, exposures")
        + "[MASK_RUNNER]\nFILE_PATTERN = CFIS_image\nADD_FILE_PATTERN = CFIS_weight\nADD_INPUT_DIR = tiles\n"
        "USE_EXT_STAR = True\nUSE_EXT_FLAG = False\n"
    )
    (tmp_path / "tiles" / "CFIS_image-241-293.fits").touch()
    (tmp_path / "tiles" / "CFIS_weight-241-293.fits.fz").touch()
    (tmp_path / "exposures" / "image-2243881.fitsfz").touch()
    (tmp_path / "exposures" / "weight-2243881.fitsfz").touch()
    result = verb(tmp_path, "convert", "config.ini")
    assert result.code == 0, result
    names = load(tmp_path / "survey.toml").input
    assert (str(names.tile_folder), str(names.exposure_folder), str(names.star_catalogue)) == (
        "tiles",
        "exposures",
        "stars",
    )
    assert names.tile_weight_name == "CFIS_weight-{tile}.fits"
    (stars / "star_cat-1.cat").rename(stars / "list.cat")
    result = verb(tmp_path, "convert", "config.ini", "--overwrite")
    assert result.code == 1 and "no folder of star catalogues is known" in result.out


def test_unknown_modules_are_named_with_the_nearest(tmp_path):
    write(tmp_path, modules="split_exp_runner, psfex_runer")
    result = convert(tmp_path, "config.ini")
    assert result.code == 1 and "MODULE psfex_runer: no such module; did you mean psfex_runner?" in result.out


def test_images_that_are_linked_are_read_where_they_are(tmp_path):
    get = (
        "[GET_IMAGES_RUNNER_RUN_{k}]\nRETRIEVE = symlink\nINPUT_PATH = {path}, {path}\n"
        "INPUT_FILE_PATTERN = {patterns}\n"
        "INPUT_FILE_EXT = {ends}\nINPUT_NUMBERING = {number}\nOUTPUT_FILE_PATTERN = a, b\n"
    )
    sections = get.format(
        k=1,
        path="tiles",
        patterns="CFIS.000.000.u, CFIS.000.000.u.weight",
        ends=".fits, .fits.fz",
        number=r"\d{3}\.\d{3}",
    )
    sections += get.format(
        k=2, path="exposures", patterns="000000, 000000.weight", ends=".fits.fz, .fits.fz", number=r"\d{6}"
    )
    write(tmp_path, sections, modules="get_images_runner, get_images_runner")
    result = verb(tmp_path, "convert", "config.ini")
    assert result.code == 0, result
    names = load(tmp_path / "survey.toml").input
    assert (str(names.tile_folder), str(names.exposure_folder)) == ("tiles", "exposures")
    assert (names.tile_name, names.tile_weight_name) == ("CFIS.{tile}.u.fits", "CFIS.{tile}.u.weight.fits.fz")
    assert (names.image_name, names.weight_name) == ("{exposure}p.fits.fz", "{exposure}p.weight.fits.fz")


def test_what_an_earlier_run_has_is_found_by_the_list_of_runs(tmp_path):
    linked = tmp_path / "output" / "run_sp_get" / "get_images_runner" / "output"
    (linked.parent.parent / "logs").mkdir(parents=True)
    (linked.parent.parent / "logs" / "get.ini").touch()
    path = write(tmp_path, "[SPLIT_EXP_RUNNER]\nN_HDU = 40\n")
    path.write_text(path.read_text().replace("INPUT_DIR = exposures", "INPUT_DIR = last:get_images_runner"))
    (tmp_path / "output" / "shapepipe_runs.txt").write_text(
        f"{tmp_path}/output/run_gone get_images_runner\n{linked.parent.parent} get_images_runner,split_exp_runner\n"
    )
    result = convert(tmp_path, "config.ini")
    assert result.code == 1 and "get.ini, too" in result.out  # no folder yet, but the file that would say it
    linked.mkdir(parents=True)
    result = convert(tmp_path, "config.ini", "--overwrite")
    assert result.code == 0, result
    assert load(tmp_path / "survey.toml").input.exposure_folder == linked


def test_what_no_file_says_is_marked_and_named(tmp_path):
    write(tmp_path, "[SETOOLS_RUNNER]\n", modules="setools_runner")
    result = verb(tmp_path, "convert", "config.ini")
    assert result.code == 1
    assert "no file says where the exposures are: give --exposure-folder DIR" in result.out
    text = (tmp_path / "survey.toml").read_text()
    assert 'exposure_folder = "FOLDER-OF-THE-EXPOSURES"' in text and "# To be filled in: no file says it." in text
    words = (
        "--exposure-folder",
        "exposures",
        "--tile-folder",
        "tiles",
        "--run-folder",
        "run",
        "--star-catalogue",
        "s.h5",
    )
    assert verb(tmp_path, "convert", "config.ini", *words, "--overwrite").code == 0
    config = load(tmp_path / "survey.toml")
    assert (str(config.run.folder), str(config.input.star_catalogue)) == ("run", "s.h5")


def test_tiles_by_number(tmp_path):
    path = write(tmp_path, "[MASK_RUNNER]\n", modules="split_exp_runner, mask_runner", scheme="-000-000")
    path.write_text(path.read_text() + "FILE_PATTERN = CFIS_image, CFIS_weight\nNUMBER_LIST = -277-282, -277-283\n")
    result = convert(tmp_path, "config.ini")
    assert load(tmp_path / "survey.toml").input.tiles == ("277.282", "277.283"), result
    (tmp_path / "numbers.txt").write_text("-100-200\r\n\r\n-100-201\r\n")
    path.write_text(path.read_text().replace("-277-282, -277-283", "numbers.txt"))
    convert(tmp_path, "config.ini", "--overwrite")
    assert load(tmp_path / "survey.toml").input.tiles == ("100.200", "100.201")
    path.write_text(path.read_text().replace("numbers.txt", "-5"))
    result = convert(tmp_path, "config.ini", "--overwrite")
    assert result.code == 1 and "'5' is not a tile name" in result.out
    path.write_text(path.read_text().replace("-000-000", "_0"))
    result = convert(tmp_path, "config.ini", "--overwrite")
    assert result.code == 1 and "running numbers do not say which tile it is: `shapempi link`" in result.out


def test_whether_exposures_or_tiles_are_meant_must_be_known(tmp_path):
    shutil.copy(DATA / "exposure.sex", tmp_path)
    path = write(
        tmp_path, "[SEXTRACTOR_RUNNER]\nDOT_SEX_FILE = exposure.sex\n", scheme="-0-0", modules="sextractor_runner"
    )
    result = convert(tmp_path, "config.ini", "--exposure-folder", "exposures")
    assert result.code == 1
    assert f"{line_of(path, 'DOT_SEX_FILE')}: " in result.out and "exposures or tiles? give the section" in result.out


def test_a_remark_behind_a_value_is_said(tmp_path):
    path = write(tmp_path, "[SPLIT_EXP_RUNNER]\nN_HDU = 36 # of the older camera\n")
    result = convert(tmp_path, "config.ini")
    assert result.code == 0 and load(tmp_path / "survey.toml").input.n_ccd == 36
    assert (
        f"{line_of(path, 'N_HDU')}: [SPLIT_EXP_RUNNER] N_HDU = 36: ShapePipe takes 'of the older camera'" in result.out
    )


def test_paths_of_a_mask_file_are_beside_it_or_as_they_are(survey, monkeypatch):
    monkeypatch.chdir(survey)
    monkeypatch.setenv("SP_CONFIG", "config")  # config/halo.reg, seen from where the command is typed
    assert all_chains(survey).code == 0
    config = load(survey / "survey.toml")
    assert config.exposure.mask.halo_template == "config/halo.reg"
    assert str(config.input.messier_catalogue) == "config/messier.csv"
