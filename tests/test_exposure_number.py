"""Numbers of exposures: found in names and HISTORY cards, and written into names."""

import pytest
from pydantic import ValidationError

from shapempi.exposure_number import CFIS_NUMBER, ExposureNumber

DECAM = ExposureNumber(form="NNNNNN_NNNNNN", pattern=r"c4d_(\d{6})_(\d{6})_oo[iwd]_")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("input image 2243881p.fits 6 extension(s)", 2243881),
        ("2243881p.weight.fits.fz", 2243881),
        ("834567p.fits", 834567),
        ("12345p.fits", None),
        ("123456789p.fits", None),
        ("no image", None),
    ],
)
def test_numbers_of_cfis(text, number):
    assert CFIS_NUMBER.find(text) == number
    if number is not None and number > 10**6:
        assert CFIS_NUMBER.find(f"{CFIS_NUMBER.write(number)}p.fits.fz") == number


@pytest.mark.parametrize("number", [171113061941, 150110053718, 91113000001])
def test_date_and_time_are_a_number(number):
    name = f"c4d_{DECAM.write(number)}_ooi_r_ls9.fits.fz"
    assert len(DECAM.write(number)) == 13 and DECAM.find(name) == number
    assert DECAM.find(f" made from /data/{name} and more") == number
    assert DECAM.find("c4d_171113_061941_ori.fits.fz") is None


def test_more_digits_than_the_form_has_are_not_lost():
    assert CFIS_NUMBER.write(12345678) == "12345678"
    assert DECAM.find(f"c4d_{ExposureNumber(form='NNNN_NNNNNN').write(171113061941)}_ooi_r") == 171113061941


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ({"form": "p"}, "between 1 and 14 N are needed"),
        ({"form": "N" * 15}, "between 1 and 14 N are needed"),
        ({"form": "4N"}, "no digits"),
        ({"pattern": "c4d_("}, "not a regular expression: missing \\)"),
        ({"pattern": r"c4d_\d{6}"}, "the digits of the number must be in parentheses"),
    ],
)
def test_a_senseless_form(keys, complaint):
    with pytest.raises(ValidationError, match=complaint):
        ExposureNumber(**keys)
