import numpy as np
import pytest
from astropy.table import Table

from shapempi.catalog import STAR_COLUMNS, empty_table
from shapempi.errors import ConfigError
from shapempi.io.full_starcat import FULL_STARCAT_INPUT, write_full_starcat
from shapempi.io.ldac import read_ldac, read_ldac_units

SPECIFIED = (
    "X Y RA DEC E1_PSF_HSM E2_PSF_HSM SIGMA_PSF_HSM E1_STAR_HSM E2_STAR_HSM SIGMA_STAR_HSM FLAG_PSF_HSM FLAG_STAR_HSM "
    "MAG SNR ACCEPTED CCD_NB"
).split()


def some_stars(n):
    rng = np.random.default_rng(1)
    stars = empty_table(STAR_COLUMNS, n)
    for name in stars.dtype.names:
        stars[name] = rng.integers(0, 100, n) if stars[name].dtype.kind == "i" else rng.normal(size=n)
    stars["exposure"] = 2243881
    return stars


def test_the_columns_of_the_reference_system_and_more(tmp_path):
    stars, path = some_stars(30), tmp_path / "full_starcat-0000000.fits"
    assert write_full_starcat(iter([stars[:7], stars[7:7], stars[7:]]), path, overwrite=False) == 30
    _, table = read_ldac(path)
    assert list(table.dtype.names[:16]) == SPECIFIED
    for name in SPECIFIED[:-1]:
        np.testing.assert_array_equal(table[name], stars[name])
    assert [str(value).strip() for value in table["CCD_NB"]] == [str(ccd) for ccd in stars["CCD_NB"]]
    np.testing.assert_array_equal(table["EXP"], 2243881)
    for name in ("g1_psf", "T_star"):
        np.testing.assert_array_equal(table[name], stars[name])
    units = read_ldac_units(path)
    assert units["X"] == "pixel" and units["RA"] == "deg" and units["T_psf"] == "arcsec2"


def test_programs_find_it_where_the_reference_system_has_it(tmp_path):
    path = tmp_path / "full_starcat-0000000.fits"
    write_full_starcat([some_stars(3)], path, overwrite=False)
    table = Table.read(path, hdu=2)
    assert len(table) == 3 and table["CCD_NB"].dtype.kind in "SU" and str(table["RA"].unit) == "deg"


def test_no_stars_is_a_table_without_rows(tmp_path):
    path = tmp_path / "full_starcat-0000000.fits"
    assert write_full_starcat([], path, overwrite=False) == 0
    assert len(read_ldac(path)[1]) == 0 and set(FULL_STARCAT_INPUT) <= set(some_stars(0).dtype.names)


def test_nothing_is_replaced_unasked_and_no_half_file_is_left(tmp_path):
    path = tmp_path / "full_starcat-0000000.fits"
    write_full_starcat([some_stars(3)], path, overwrite=False)
    with pytest.raises(ConfigError, match="--overwrite"):
        write_full_starcat([some_stars(4)], path, overwrite=False)

    def broken():
        yield some_stars(5)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_full_starcat(broken(), path, overwrite=True)
    assert len(read_ldac(path)[1]) == 3 and [each.name for each in tmp_path.iterdir()] == [path.name]
