"""INI files: what their lines mean, and what is wrong with them by file and line."""

import pytest

from shapempi.convert.ini import read_ini
from shapempi.convert.module_run import image_of_scheme, is_running_number, scheme_pattern
from shapempi.convert.value import expand, list_of, number, path_of, truth, whole
from shapempi.errors import ConfigError, MissingInputError

TEXT = """# a comment
[DEFAULT]
VERBOSE = True

[FILE]
; another
input_dir = a, b,
    # inside
    last:split_exp_runner
KEY: value with = in it
REMARK = 5   # five pixels
EMPTY =
"""


def test_sections_keys_lines_and_inheritance(tmp_path):
    path = tmp_path / "a.ini"
    path.write_text(TEXT)
    file = read_ini(path)
    entry = file.get("FILE", "INPUT_DIR")
    assert list_of(entry.value) == ["a", "b", "last:split_exp_runner"]
    assert entry.where == f"{path}:7" and str(entry) == "[FILE] INPUT_DIR = a, b, last:split_exp_runner"
    assert file.get("FILE", "VERBOSE").line == 3
    assert file.get("FILE", "KEY").value == "value with = in it"
    assert (file.get("FILE", "REMARK").value, file.get("FILE", "REMARK").remark) == ("5", "five pixels")
    assert file.get("FILE", "EMPTY").value == ""
    assert file.get("FILE", "ABSENT") is None
    assert file.lines == {"DEFAULT": 2, "FILE": 5}


def test_windows_line_ends_and_a_byte_order_mark_change_nothing(tmp_path):
    plain, windows = tmp_path / "a.ini", tmp_path / "b.ini"
    plain.write_text(TEXT)
    windows.write_bytes(b"\xef\xbb\xbf" + TEXT.replace("\n", "\r\n").encode())
    ours, theirs = (read_ini(path) for path in (plain, windows))
    for section, entries in ours.sections.items():
        assert {name: entry.value for name, entry in entries.items()} == {
            name: entry.value for name, entry in theirs.sections[section].items()
        }


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("[A]\nKEY = 1\nOTHER = 2\nkey = 3\n", 4, "KEY of [A] is already given in line 2, as '1'; remove one"),
        ("[A]\nKEY = 1\n[A]\n", 3, "the section [A] is already there, in line 1; join the two"),
        ("KEY = 1\n", 1, "KEY comes before the first [SECTION]"),
        ("[A]\nKEY\n", 2, "'KEY' is neither [SECTION] nor KEY = value"),
        ("[A\n", 1, "'[A' is no section; write [NAME]"),
        ("[A]\n= 5\n", 2, "'= 5' is neither"),
    ],
)
def test_what_is_no_ini_is_named_with_its_line(tmp_path, text, line, message):
    path = tmp_path / "a.ini"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_ini(path)
    assert str(caught.value).startswith(f"{path}:{line}: ") and message in str(caught.value)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(MissingInputError, match="there is no such file"):
        read_ini(tmp_path / "none.ini")
    (tmp_path / "latin.ini").write_bytes(b"[A]\nKEY = \xe9\n")
    with pytest.raises(ConfigError, match="byte 10 is no UTF-8"):
        read_ini(tmp_path / "latin.ini")
    with pytest.raises(ConfigError, match="cannot read"):
        read_ini(tmp_path)


def test_values():
    assert truth("yes") is True and truth("Off") is False
    assert whole("40") == 40 and number("13.") == 13.0
    assert list_of("") == [] and list_of(" a ,\n b") == ["a", "b"]
    for read, text, message in (
        (truth, "maybe", "neither True nor False"),
        (whole, "1.5", "no whole number"),
        (number, "two", "no number"),
        (number, "nan", "not a finite number"),
        (list_of, "a, b,", "ends with a comma"),
        (list_of, "a,, b", "two commas"),
    ):
        with pytest.raises(ValueError, match=message):
            read(text)


def test_variables_are_expanded_without_a_shell():
    known = {"SP_RUN": "/data", "A": "$SP_RUN"}
    assert expand("$SP_RUN/x ${SP_RUN}y", known) == "/data/x /datay"
    assert expand("$A $(ls) `ls`", known) == "$SP_RUN $(ls) `ls`"
    with pytest.raises(ValueError, match=r"SP_CONFIG is not set; set it: SP_CONFIG=\.\.\. shapempi convert"):
        path_of("$SP_CONFIG/a.mask", known)
    with pytest.raises(ValueError, match="no path"):
        path_of("", known)


@pytest.mark.parametrize(
    ("scheme", "image", "is_running"),
    [
        ("-0000000-0", "exposure", False),
        ("-0000000", "exposure", False),
        (r"RE:-\d{7}-\d+", "exposure", False),
        ("-000-000", "tile", False),
        (r"RE:-\d{3}-\d{3}", "tile", False),
        ("_0", "tile", True),
        ("-0", "tile", True),
        ("-0-0", "", False),
        ("", "", False),
    ],
)
def test_the_numbers_say_whether_exposures_or_tiles_are_meant(scheme, image, is_running):
    assert (image_of_scheme(scheme), is_running_number(scheme)) == (image, is_running)


def test_schemes_are_templates():
    assert scheme_pattern("-000-000").fullmatch("-277-282") and not scheme_pattern("-000-000").fullmatch("-27-282")
    with pytest.raises(ValueError, match="no regular expression"):
        scheme_pattern("RE:(")
