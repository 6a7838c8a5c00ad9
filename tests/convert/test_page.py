"""The page of all options is made from the declarations by which files are converted, and names what exists."""

import argparse
import re
from pathlib import Path

import pytest

from shapempi.cli import _parser, main
from shapempi.config import keys
from shapempi.convert.chain import MODULES
from shapempi.convert.engine_options import ENGINE, EVERY_MODULE
from shapempi.convert.mask_file import MASK_KEYS
from shapempi.convert.option import IMAGE
from shapempi.convert.psfex_file import PSFEX_KEYWORDS
from shapempi.convert.sextractor_file import SEX_KEYWORDS

PAGE = Path(__file__).parents[2] / "docs" / "moving_from_shapepipe.md"
OPTIONS = [option for module in (*ENGINE, EVERY_MODULE, *MODULES) for option in module.options]
OPTIONS += [*SEX_KEYWORDS, *PSFEX_KEYWORDS]

KEYS = {".".join((*path, name)) for path, _, name, _ in keys()}
TABLES = {key[: key.rindex(".")] for key in KEYS}


def test_the_page_has_the_tables_that_the_code_makes(capsys):
    assert main(["convert", "--table"]) == 0
    assert capsys.readouterr().out in PAGE.read_text(), "put the output of `shapempi convert --table` into the page"


def names_of(counterpart):
    """The keys that a counterpart stands for."""
    return (
        [counterpart.replace(IMAGE, image) for image in ("exposure", "tile")] if IMAGE in counterpart else [counterpart]
    )


def test_every_counterpart_is_a_key_a_table_or_a_command():
    counterparts = [key for option in OPTIONS for key in option.counterpart]
    counterparts += [key for _, key, _ in MASK_KEYS.values() if key]
    for counterpart in counterparts:
        if not counterpart.startswith(("shapempi ", "mpirun")):
            for key in names_of(counterpart):
                assert key in KEYS or key in TABLES, key


def test_what_has_no_counterpart_has_a_reason():
    for option in OPTIONS:
        assert option.counterpart or option.why, option.names
    for name, (_, key, remark) in MASK_KEYS.items():
        assert key or remark, name


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.names[0])
def test_no_option_is_declared_twice(module):
    names = [name for option in module.options for name in option.names]
    assert len(names) == len(set(names))


#: What belongs to this page and comes with other changes.
ELSEWHERE = {"select", "link", "exposures", "fetch-images", "headers", "random", "match", "paste", "merge"}
ELSEWHERE |= {"export --columns"}


def verbs():
    """The parsers of the verbs."""
    (actions,) = (action for action in _parser()._actions if isinstance(action, argparse._SubParsersAction))
    return actions.choices


def test_every_command_that_the_page_names_exists():
    parsers, missing = verbs(), set()
    for quoted in re.findall(r"`shapempi ([^`]+)`", PAGE.read_text()):
        verb, *words = quoted.split()
        if verb.startswith("-"):
            continue
        if verb not in parsers:
            missing.add(verb)
            continue
        known = parsers[verb].format_help()
        options = (word for word in words if word.startswith("--"))
        missing |= {f"{verb} {option}" for option in options if not re.search(rf"{option}\b", known)}
    assert missing <= ELSEWHERE


#: The options of section 13.1, and those of the modules of sections 2 to 12, as users know them.
NAMES = {
    "find_exposures": "COLNUM EXP_PREFIX",
    "get_images": """RETRIEVE RETRIEVE_OPTIONS N_TRY INPUT_PATH INPUT_FILE_PATTERN INPUT_FILE_EXT OUTPUT_FILE_PATTERN
        INPUT_NUMBERING OUTPUT_PATH CHECK_EXISTING_DIR N_EXPECTED""",
    "uncompress_fits": "HDU_DATA OUTPUT_PATTERN",
    "split_exp": "OUTPUT_SUFFIX N_HDU",
    "merge_headers": "OUTPUT_PATH",
    "mask": "MASK_CONFIG_PATH USE_EXT_FLAG USE_EXT_STAR HDU PREFIX SUFFIX",
    "sextractor": """EXEC_PATH DOT_SEX_FILE DOT_PARAM_FILE DOT_CONV_FILE WEIGHT_IMAGE FLAG_IMAGE PSF_FILE
        DETECTION_IMAGE DETECTION_WEIGHT ZP_FROM_HEADER ZP_KEY BKG_FROM_HEADER BKG_KEY CHECKIMAGE PREFIX SUFFIX
        MAKE_POST_PROCESS LOG_WCS WORLD_POSITION CCD_SIZE""",
    "setools": "SETOOLS_CONFIG_PATH",
    "psfex": "EXEC_PATH DOT_PSFEX_FILE CHECKIMAGE",
    "psfex_interp": """MODE POSITION_PARAMS GET_SHAPES STAR_THRESH CHI2_THRESH ME_DOT_PSF_DIR ME_DOT_PSF_PATTERN
        ME_LOG_WCS""",
    "vignetmaker": """MASKING MASK_VALUE MODE COORD POSITION_PARAMS STAMP_SIZE PREFIX SUFFIX ME_IMAGE_DIR
        ME_IMAGE_PATTERN ME_LOG_WCS""",
    "spread_model": "PREFIX SUFFIX PIXEL_SCALE OUTPUT_MODE",
    "ngmix": "MAG_ZP PIXEL_SCALE LOG_WCS ID_OBJ_MIN ID_OBJ_MAX",
    "merge_sep_cats": "N_SPLIT_MAX WARNING",
    "make_cat": """SM_DO_CLASSIFICATION SM_STAR_THRESH SM_STAR_STRESH SM_GAL_THRESH SHAPE_MEASUREMENT_TYPE
        SAVE_PSF_DATA TILE_LIST""",
    "merge_starcat": "PSF_MODEL",
    "mccd_plots": """PSF PLOT_MEANSHAPES X_GRID Y_GRID MAX_E MAX_DE MIN_R2 MAX_R2 MAX_DR2 PLOT_HISTOGRAMS
        REMOVE_OUTLIERS PLOT_RHO_STATS RHO_STATS_STYLE RHO_STATS_YLIM_L RHO_STATS_YLIM_R HDU""",
    "random_cat": "N_RANDOM DENSITY OUTPUT_FILE_PATTERN SAVE_MASK_AS_HEALPIX HEALPIX_OUT_FILE_BASE HEALPIX_OUT_NSIDE",
    "match_external": """TOLERANCE COL_MATCH HDU MODE EXTERNAL_CAT_PATH EXTERNAL_COL_MATCH EXTERNAL_COL_COPY
        EXTERNAL_HDU PREFIX MARK_NON_MATCHED OUTPUT_DISTANCE""",
    "pastecat": "HDU EXT_NAME CHECK_COL_NAME PREFIX",
    "DEFAULT": "VERBOSE RUN_NAME RUN_DATETIME",
    "EXECUTION": "MODULE MODE",
    "FILE": """LOG_NAME RUN_LOG_NAME INPUT_DIR OUTPUT_DIR FILE_PATTERN FILE_EXT NUMBERING_SCHEME NUMBER_LIST
        CORRECT_FILE_PATTERN""",
    "JOB": "SMP_BATCH_SIZE SMP_BACKEND TIMEOUT",
    "WORKER": "PROCESS_PRINT_LIMIT",
    "every module": "INPUT_DIR INPUT_MODULE FILE_PATTERN FILE_EXT NUMBERING_SCHEME RUN_METHOD DEPENDS EXECUTES",
}


@pytest.mark.parametrize("name", NAMES)
def test_every_option_that_users_know_is_declared(name):
    (module,) = (module for module in (*ENGINE, EVERY_MODULE, *MODULES) if module.names[0] == name)
    assert set(NAMES[name].split()) <= {known for option in module.options for known in option.names}


def test_every_module_that_users_know_is_declared():
    assert {module.names[0] for module in MODULES} - {"mccd_preprocessing"} == {
        name for name in NAMES if name.islower() and " " not in name
    }
