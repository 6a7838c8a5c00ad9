"""Lists of exposures and of IDs: both forms, as editors on any system leave them, and what is wrong by line."""

import math

import pytest

from shapempi.errors import DataError, MissingInputError
from shapempi.ids import TileId
from shapempi.io.exposure_list import has_positions, read_exposure_list
from shapempi.io.id_list import read_ids
from shapempi.io.image_list import ListedImage, csv_lines, text_lines

LOG = """\
2243881 | 16BL | r.MP9602 | 13:45:01.20 +54:10:12.0 | 200.1 | a | b | c | d | e | P1 1.02 V | x
2243882 | 16BL | r.MP9602 | 23 59 59.00 -00 10 12.0 | 90 | a | b | c | d | e | P1 1.02 V | x
2243883 | 16BL | r.MP9602 | 0:00:01 +89:59:00 | 200 | a | b | c | d | e | P1 1.02 O | x
2243884 | 16BL | r.MP9602 | 10.5 -5.25 |  | a | b | c | d | e | P1 | x
"""
SHORT = "Pointing R.A.[degree] Declination[degree]\n2243881p.fits.fz 206.255 54.17\n2243882p 359.99 -0.17\n"


def write(path, text, **form):
    path.write_bytes(text.encode(**form))
    return path


def test_the_observatorys_log(tmp_path):
    images = read_exposure_list(write(tmp_path / "log.txt", LOG))
    assert [image.image for image in images] == [2243881, 2243882, 2243883, 2243884]
    assert (images[0].ra, images[0].dec) == pytest.approx((206.255, 54.17))
    assert (images[1].ra, images[1].dec) == pytest.approx((359.9958333, -0.17))
    assert (images[3].ra, images[3].dec) == pytest.approx((157.5, -5.25))
    assert [image.exp_time for image in images] == [200.1, 90, 200, -1]
    assert [image.validation for image in images] == ["V", "V", "O", ""]


def test_a_log_with_frame_rule_and_heading(tmp_path):
    cells = ["odometer", *(f"c{i}" for i in range(11))]
    framed = ["| " + " | ".join(cells) + " |", "|" + "-" * 30 + "|", *(f"| {line} |" for line in LOG.splitlines())]
    path = write(tmp_path / "framed.txt", "\r\n\r\n".join(framed), encoding="utf-8-sig")
    assert read_exposure_list(path) == read_exposure_list(write(tmp_path / "log.txt", LOG))


def test_three_columns(tmp_path):
    images = read_exposure_list(write(tmp_path / "short.txt", SHORT))
    assert images == [
        ListedImage(2243881, "2243881p.fits.fz", 206.255, 54.17),
        ListedImage(2243882, "2243882p", 359.99, -0.17),
    ]
    turned = (
        "Declination[degree],R.A.[degree],Pointing\r\n\r\n54.17,206.255,2243881p.fits.fz\r\n-0.17,359.99,2243882p\r\n"
    )
    assert read_exposure_list(write(tmp_path / "turned.csv", turned)) == images
    bare = "# no heading\n\n2243881p.fits.fz  206.255\t54.17   # first\n2243882p 359.99 -0.17"
    assert read_exposure_list(write(tmp_path / "bare.txt", bare)) == images
    assert has_positions(tmp_path / "bare.txt")
    assert not has_positions(write(tmp_path / "names.txt", "2243881p.fits.fz\n"))


def test_twice_the_same_is_once_and_two_places_are_an_error(tmp_path):
    line = "2243881p 206.255 54.17\n"
    assert len(read_exposure_list(write(tmp_path / "a", line + line))) == 1
    with pytest.raises(DataError, match="2243881 has different values in lines 1 and 3"):
        read_exposure_list(write(tmp_path / "b", line + "\n2243881p 206.255 54.18\n"))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("2243881p 206.255 54.17\n2243882p 206.255\n", "line 2: 2 columns"),
        ("2243881p 206.255 95.0\n", "line 1: .* not on the sky"),
        ("2243881p nan 5.0\n", "not on the sky"),
        ("2243881p 206.255 north\n", "cannot be read"),
        ("field 206.255 54.17\n", "names no exposure"),
        ("Pointing R.A.[degree] Declination[degree]\n", "names no exposure"),
        ("2243881 | 1 | 2 | 3\n", "4 columns between"),
        (LOG.replace("13:45:01.20 +54:10:12.0", "13:45:01.20"), "line 1: the position"),
        (LOG.replace("13:45:01.20 +54:10:12.0", "13:75:01.20 +54:10:12.0"), "line 1: the position"),
        (LOG.replace("| 90 |", "| short |"), "line 2: the exposure time"),
        ("# nothing\n\r\n", "the list is empty"),
        ("2243881p\0 1 2\n", "not a text file"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_line(tmp_path, text, what):
    with pytest.raises(DataError, match=what) as error:
        read_exposure_list(write(tmp_path / "list.txt", text))
    assert "list.txt" in str(error.value)


def test_ids(tmp_path):
    first = write(tmp_path / "tiles.txt", "\ufeff241.293\r\n\r\n# done: 241.294\r\n  241-295 \r\n", encoding="utf-8")
    second = write(tmp_path / "exposures.txt", "2243888p\n2243881\n2243881p\n")
    assert read_ids([first, second]) == [TileId(241, 293), TileId(241, 295), 2243881, 2243888]
    with pytest.raises(DataError, match=r"bad.txt, line 2: '2243881x' is no ID"):
        read_ids([write(tmp_path / "bad.txt", "241.293\n2243881x\n")])
    with pytest.raises(DataError, match="line 1: no column 1"):
        read_ids([second], column=1)
    with pytest.raises(MissingInputError, match="does not exist"):
        read_ids([tmp_path / "none"])


def test_text_and_csv():
    images = [ListedImage(2243881, "2243881p.fits.fz", 206.2551, 54.17, 200.0, "V"), ListedImage(1234567, "1234567p")]
    assert text_lines(images)[0].split() == ["#", "name", "ra[deg]", "dec[deg]", "exp_time[s]", "validation"]
    assert [line.split() for line in text_lines(images, header=False)] == [
        ["2243881p.fits.fz", "206.26", "54.17", "200", "V"],
        ["1234567p", "-", "-", "-1", "-"],
    ]
    assert csv_lines(images) == [
        "name,ra,dec,exp_time,validation",
        "2243881p.fits.fz,206.255100,54.170000,200,V",
        "1234567p,,,,",
    ]
    assert math.isnan(images[1].ra)
