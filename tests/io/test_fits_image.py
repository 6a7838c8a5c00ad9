"""Images written row by row: what other readers find in them, and what is refused."""

import numpy as np
import pytest
from astropy.io import fits
from measure.sky import header

from shapempi.errors import ConfigError
from shapempi.io.fits import image_hdus, read_section
from shapempi.io.fits_image import write_image
from shapempi.wcs import Wcs


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float32", "float64"])
def test_an_image_comes_back(tmp_path, dtype):
    path = tmp_path / "image.fits"
    data = np.random.default_rng(1).uniform(0, 200, (13, 7)).astype(dtype)
    storage = "BZERO   =                  5.0".ljust(80) + "NAXIS1  =                   99".ljust(80)
    write_image(path, (data[:5], data[5:6], data[6:]), data.shape, dtype, header(data.shape) + storage)
    (hdu,) = image_hdus(path)
    assert hdu.index == 0 and np.array_equal(read_section(hdu), data)
    with fits.open(path) as file:
        file.verify("exception")
        assert np.array_equal(file[0].data, data) and file[0].data.dtype.itemsize == data.dtype.itemsize
    assert Wcs(hdu.header).pixel_scale(3, 6) == pytest.approx(0.2)
    assert path.stat().st_size % 2880 == 0


def test_a_file_is_replaced_only_if_that_is_asked_for(tmp_path):
    path = tmp_path / "image.fits"
    zero, one = np.zeros((3, 4), np.float32), np.ones((3, 4), np.float32)
    write_image(path, [zero], zero.shape, "float32")
    with pytest.raises(ConfigError, match=r"image\.fits is already there; give --overwrite"):
        write_image(path, [one], one.shape, "float32")
    assert not fits.getdata(path).any()
    write_image(path, [one], one.shape, "float32", overwrite=True)
    assert fits.getdata(path).all()
    with pytest.raises(ConfigError, match="cannot be written: the folder is missing"):
        write_image(tmp_path / "nowhere" / "image.fits", [one], one.shape, "float32")


def test_rows_that_do_not_fill_the_image_leave_no_file(tmp_path):
    with pytest.raises(ValueError, match="are not the pixels of an image"):
        write_image(tmp_path / "image.fits", [np.zeros((2, 4))], (3, 4), "float32")
    assert list(tmp_path.iterdir()) == []
