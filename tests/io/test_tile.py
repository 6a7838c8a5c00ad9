"""A tile, its weight and the exposures of its HISTORY cards."""

from __future__ import annotations

import fitsio
import numpy as np
import pytest
import tiny_survey

from shapempi.errors import DataError, MissingInputError
from shapempi.io.exposure import KeywordParams
from shapempi.io.tile import read_tile


@pytest.fixture
def tile(tmp_path):
    tiny_survey.write_tile(tmp_path)
    return tmp_path / "CFIS.241.293.r.fits", tmp_path / "CFIS.241.293.r.weight.fits.fz"


def test_tile_in_the_primary_hdu_and_weight_in_a_compressed_extension(tile):
    image, exposures = read_tile(*tile)
    np.testing.assert_array_equal(image.data, fitsio.read(str(tile[0])))
    assert image.weight[0, 0] == 0  # NaN in the file
    assert (image.weight[1:] == np.float32(0.04)).all()
    assert exposures == list(tiny_survey.EXPOSURES)
    assert (image.mag_zp, image.flux_scale, image.gain, image.saturate) == (30.0, 1.0, 29.0, 1e4)
    assert image.valid_box == (0, *tiny_survey.TILE_SHAPE[:1], 0, tiny_survey.TILE_SHAPE[1])
    ra, dec = image.wcs.pixel_to_sky(59.5, 49.5)
    assert (ra, dec) == pytest.approx((tiny_survey.RA, tiny_survey.DEC))


def test_a_section_of_a_tile(tile):
    whole, part = read_tile(*tile)[0], read_tile(*tile, (10, 30, 40, 90))[0]
    np.testing.assert_array_equal(part.data, whole.data[10:30, 40:90])
    np.testing.assert_array_equal(part.weight, whole.weight[10:30, 40:90])
    assert part.origin == (10, 40) and part.full_shape == whole.full_shape


def test_history_in_every_form_once_in_order(tmp_path):
    history = (
        " input image 2243895p.fits 6 extension(s)",
        " processed by somebody on 2019-10-26",
        "2243881p.weight.fits.fz",
        " input image 2243895p.fits 6 extension(s)",
        "input image 1234567.fits",
    )
    tiny_survey.write_tile(tmp_path, history=history)
    _, exposures = read_tile(tmp_path / "CFIS.241.293.r.fits", tmp_path / "CFIS.241.293.r.weight.fits.fz")
    assert exposures == [2243895, 2243881, 1234567]


def test_a_tile_without_history_or_wcs_or_file(tmp_path, tile):
    tiny_survey.write_tile(tmp_path, history=("nothing",))
    with pytest.raises(DataError, match="no HISTORY card names an exposure"):
        read_tile(*tile)
    tiny_survey.write_tile(tmp_path, wcs=False)
    with pytest.raises(DataError, match="no celestial WCS"):
        read_tile(*tile)
    tile[1].unlink()
    with pytest.raises(MissingInputError, match=r"weight\.fits\.fz: the tile weight file does not exist"):
        read_tile(*tile)


def test_a_tile_with_another_weight(tmp_path, tile):
    with fitsio.FITS(str(tile[1]), "rw", clobber=True) as file:
        file.write(np.ones((5, 5), np.float32))
    with pytest.raises(DataError, match=r"\(5, 5\) differs"):
        read_tile(*tile)


def test_zero_point_and_sky_are_those_of_the_header(tile):
    with fitsio.FITS(str(tile[0]), "rw") as file:
        file[0].write_key("PHOTZP", 29.5)
        file[0].write_key("SKY", 12.25)
        file[0].write_key("NOSKY", "dark")
    image, _ = read_tile(*tile)
    assert (image.mag_zp, image.background) == (29.5, None)
    image, _ = read_tile(*tile, keywords=KeywordParams(tile_background="SKY", background="NONE"))
    assert image.background == 12.25
    for keyword, complaint in (
        ("NOSKY", "NOSKY is 'dark', not a number"),
        ("NONE", "NONE is not in .*tile_background"),
    ):
        with pytest.raises(DataError, match=complaint):
            read_tile(*tile, keywords=KeywordParams(tile_background=keyword))
