"""The reference system's .mask files: every key, what has no counterpart, and what is wrong."""

import pytest

from shapempi.errors import ConfigError
from shapempi.io.mask_config import read_mask_configuration

#: The production values for exposures (behaviour specification, section 4.1), with each form in which they are found.
EXPOSURES = """# Mask module configuration
[PROGRAM_PATH]

WW_PATH = ww
WW_CONFIG_FILE = $TEMPLATES/default.ww
CDSCLIENT_PATH = findgsc2.2

[BORDER_PARAMETERS]
BORDER_MAKE = True
BORDER_WIDTH = 50
BORDER_FLAG_VALUE = 4

## Halo mask
[HALO_PARAMETERS]
HALO_MAKE = True
HALO_MASKMODEL_PATH = $TEMPLATES/halo_mask.reg
HALO_MAG_LIM = 13.
HALO_SCALE_FACTOR = 0.05
HALO_MAG_PIVOT = 13.8
HALO_FLAG_VALUE = 2
HALO_REG_FILE = halo.reg

[SPIKE_PARAMETERS]
SPIKE_MAKE = True
SPIKE_MASKMODEL_PATH = ./mask_default/spike.reg
SPIKE_MAG_LIM = 18.
SPIKE_SCALE_FACTOR = 0.3
SPIKE_MAG_PIVOT = 13.8
SPIKE_FLAG_VALUE = 128
SPIKE_REG_FILE = spike.reg

[MESSIER_PARAMETERS]
MESSIER_MAKE = True
MESSIER_CAT_PATH = ${TEMPLATES}/Messier.fits
MESSIER_PIXEL_SCALE = 0.187
MESSIER_SIZE_PLUS = 0.
MESSIER_FLAG_VALUE = 16

## NGC mask                                              \x20
[NGC_PARAMETERS]                                         \x20
                                                         \x20
NGC_MAKE = False                                         \x20
NGC_CAT_PATH = /abs/ngc_cat.fits
NGC_SIZE_PLUS = 0.5
NGC_FLAG_VALUE = 32

[EXTERNAL_FLAG]
EF_MAKE = False

[MD_PARAMETERS]
MD_MAKE = True
MD_THRESH_FLAG = 0.3
MD_THRESH_REMOVE = 0.75
MD_REMOVE = True

[OTHER]
TEMP_DIRECTORY = OUTPUT
KEEP_REG_FILE = False
KEEP_INDIVIDUAL_MASK = False
"""


@pytest.fixture
def read(tmp_path, monkeypatch):
    monkeypatch.setenv("TEMPLATES", "/templates")

    def from_text(text):
        path = tmp_path / "config.mask"
        path.write_text(text)
        return read_mask_configuration(path)

    return from_text


def test_every_key_has_its_counterpart_or_is_named(read, tmp_path):
    found = read(EXPOSURES)
    assert dict(found.values) == {
        **{"border_width": 50, "border_bit": 4},
        **{"halo_make": True, "halo_template": "/templates/halo_mask.reg", "halo_mag_limit": 13.0},
        **{"halo_scale_factor": 0.05, "halo_mag_pivot": 13.8, "halo_bit": 2},
        **{"spike_make": True, "spike_template": str(tmp_path / "mask_default/spike.reg"), "spike_mag_limit": 18.0},
        **{"spike_scale_factor": 0.3, "spike_mag_pivot": 13.8, "spike_bit": 128},
        **{"messier_make": True, "messier_size_plus": 0.0, "messier_bit": 16},
        **{"ngc_make": False, "ngc_size_plus": 0.5, "ngc_bit": 32},
        **{"missing_flag_ratio": 0.3, "missing_remove_ratio": 0.75, "missing_remove": True},
    }
    assert str(found.messier_catalogue) == "/templates/Messier.fits"
    assert str(found.ngc_catalogue) == "/abs/ngc_cat.fits"
    assert found.ignored == (
        *("WW_PATH", "WW_CONFIG_FILE", "CDSCLIENT_PATH", "HALO_REG_FILE", "SPIKE_REG_FILE", "MESSIER_PIXEL_SCALE"),
        *("EF_MAKE", "TEMP_DIRECTORY", "KEEP_REG_FILE", "KEEP_INDIVIDUAL_MASK"),
    )
    assert found.text == EXPOSURES


def test_what_is_switched_off_is_off(read):
    off = read(
        "[BORDER_PARAMETERS]\nBORDER_MAKE = False\nBORDER_WIDTH = 50\n[MD_PARAMETERS]\nMD_MAKE = no\nMD_REMOVE=1\n"
    )
    assert dict(off.values) == {"border_width": 0, "missing_remove": False}
    assert (off.messier_catalogue, off.ngc_catalogue, off.ignored) == (None, None, ())
    lower = read("[halo_parameters]\nhalo_make = off ; a comment\n# WW_PATH = x\n")
    assert dict(lower.values) == {"halo_make": False}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            "[HALO_PARAMETERS]\nHALO_MAG_LIMT = 3\n",
            r"config\.mask:2: unknown key HALO_MAG_LIMT in \[HALO_PARAMETERS\]; did",
        ),
        ("[HALO_PARAMETERS]\nSPIKE_MAKE = True\n", r"config\.mask:2: .*it belongs to \[SPIKE_PARAMETERS\]"),
        ("[HALOES]\n", r"config\.mask:1: unknown section \[HALOES\]; did you mean"),
        ("[FILE]\n", r"config\.mask:1: unknown section \[FILE\]; known: PROGRAM_PATH"),
        ("[HALO_PARAMETERS\n", r"config\.mask:1: unknown section"),
        ("WW_PATH = ww\n", r"config\.mask:1: WW_PATH comes before the first \[SECTION\]"),
        ("[OTHER]\nTEMP_DIRECTORY\n", r"config\.mask:2: 'TEMP_DIRECTORY' is neither"),
        ("[HALO_PARAMETERS]\nHALO_MAKE = maybe\n", r":2: HALO_MAKE is 'maybe': neither True nor False"),
        ("[HALO_PARAMETERS]\nHALO_MAG_LIM = bright\n", r":2: HALO_MAG_LIM is 'bright': no number"),
        ("[HALO_PARAMETERS]\nHALO_MAG_LIM = nan\n", "not a finite number"),
        ("[BORDER_PARAMETERS]\nBORDER_WIDTH = 2.5\n", "no whole number"),
        ("[HALO_PARAMETERS]\nHALO_MASKMODEL_PATH = $NOT_THERE/x\n", "the environment variable NOT_THERE is not set"),
        ("[HALO_PARAMETERS]\nHALO_MASKMODEL_PATH =\n", "HALO_MASKMODEL_PATH is '': no path"),
        (
            "[HALO_PARAMETERS]\nHALO_MAKE = 1\n[HALO_PARAMETERS]\nHALO_MAKE = 0\n",
            r":4: HALO_MAKE is given a second time",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_line(read, text, complaint):
    with pytest.raises(ConfigError, match=complaint):
        read(text)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.mask: cannot read the mask configuration: No such file"):
        read_mask_configuration(tmp_path / "none.mask")
    (tmp_path / "binary.mask").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not a mask configuration: byte 0"):
        read_mask_configuration(tmp_path / "binary.mask")
