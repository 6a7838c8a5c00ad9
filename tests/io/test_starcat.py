"""Star catalogues: the same stars from every format, by column names."""

from __future__ import annotations

import fitsio
import h5py
import numpy as np
import pytest

from shapempi.errors import DataError, MissingInputError
from shapempi.io.starcat import STAR_DTYPE, read_star_catalogue

STARS = np.zeros(3, dtype=STAR_DTYPE)
STARS["ra"], STARS["dec"], STARS["mag"] = (231.4, 10.0, 231.25), (41.2, 41.5, 41.75), (9.5, 12.25, 17.0)

CLIENT = """#======== CDS: findgsc2.2 ========
#Center: 231.377089 +41.741109  radius 2.843 arcmin
#
#GSC2.2 RA(J2000) Dec(J2000) ; Fmag ; Jmag ; Vmag ; Nmag ; Clas
S1 231.40 +41.20 ; 9.0 ; 10.0 ; --- ; --- ; 0
S2 10.0 +41.50 ; 12.25 ; --- ; --- ; --- ; 0
S3 231.25 +41.75 ; 0.1,17.0# ; --- ; --- ; --- ; 0
S4 231.26 +41.75 ; 11.0 ; 11.0 ; --- ; --- ; 3
S5 231.27 +41.75 ; --- ; --- ; --- ; --- ; 0
#
#
#
#--- 5 matches
#--- end
"""


def _table(names):
    table = np.zeros(5, dtype=[(name, "f8") for name in names] + [("CLASS", "i4"), ("extra", "f4")])
    for role, name in zip(("ra", "dec", "mag"), names, strict=True):
        table[name][:3] = STARS[role]
    table[names[2]][3] = 5.0
    table["CLASS"][3] = 3  # a galaxy
    table[names[2]][4] = np.nan  # no magnitude
    return table


@pytest.mark.parametrize("names", [("RA", "DEC", "MAG"), ("ra", "dec", "phot_g_mean_mag")])
@pytest.mark.parametrize("form", ["fits", "hdf5", "h5 group", "csv"])
def test_tables(tmp_path, names, form):
    table = _table(names)
    path = tmp_path / f"stars.{form.split()[0]}"
    if form == "fits":
        fitsio.write(str(path), table)
    elif form == "csv":
        rows = [",".join("" if np.isnan(v) else str(v) for v in row.tolist()) for row in table]
        path.write_text("\n".join(["# from a test", ", ".join(table.dtype.names), *rows]) + "\n")
    else:
        with h5py.File(path, "w") as file:
            if form == "hdf5":
                file["stars"] = table
            else:
                for name in table.dtype.names:
                    file[f"gaia/{name}"] = table[name]
    stars = read_star_catalogue(path)
    assert stars.dtype == STAR_DTYPE
    np.testing.assert_array_equal(stars, STARS)


def test_text_of_the_client_alone_and_in_a_folder(tmp_path):
    (tmp_path / "star_cat-2243881-0.cat").write_text(CLIENT)
    (tmp_path / "star_cat-2243881-1.cat").write_text(CLIENT.replace("S2 10.0", "S2 10.5"))
    stars = read_star_catalogue(tmp_path / "star_cat-2243881-0.cat")
    np.testing.assert_allclose([s.tolist() for s in stars], [s.tolist() for s in STARS])
    merged = read_star_catalogue(tmp_path)
    assert len(merged) == 4  # the common ones once
    assert (np.diff(merged["dec"]) >= 0).all()


def test_client_text_with_other_columns(tmp_path):
    """Another version of the client has other columns in another order; the names decide."""
    path = tmp_path / "star_cat-1.cat"
    path.write_text("#id Clas Vmag RA(J2000) Dec(J2000) Epoch\nA 0 11.5 12.5 -3.25 1990.0\n")
    assert read_star_catalogue(path)[["ra", "dec", "mag"]].tolist() == [(12.5, -3.25, 11.5)]


def test_errors_name_the_file_and_the_column(tmp_path):
    with pytest.raises(MissingInputError, match="does not exist"):
        read_star_catalogue(tmp_path / "nothing.fits")
    with pytest.raises(MissingInputError, match=r"no file star_cat\*"):
        read_star_catalogue(tmp_path)
    (tmp_path / "a.csv").write_text("ra,dec,vmag\n1,2,3\n")
    with pytest.raises(DataError, match=r"a\.csv: no column for MAG among ra, dec, vmag"):
        read_star_catalogue(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text("ra,dec,mag\n1,2,bright\n")
    with pytest.raises(DataError, match=r"b\.csv: column mag: .*bright"):
        read_star_catalogue(tmp_path / "b.csv")
    (tmp_path / "c.csv").write_text("ra,dec,mag\n15.1,412,3\n")
    with pytest.raises(DataError, match="must be in degrees"):
        read_star_catalogue(tmp_path / "c.csv")
    (tmp_path / "d.fits").write_text("not a FITS file")
    with pytest.raises(DataError, match=r"d\.fits: cannot be read"):
        read_star_catalogue(tmp_path / "d.fits")
    (tmp_path / "e.cat").write_text("1 2 3\n")
    with pytest.raises(DataError, match=r"e\.cat: data before the line that names the columns"):
        read_star_catalogue(tmp_path / "e.cat")
    (tmp_path / "f.xls").write_text("")
    with pytest.raises(DataError, match="not a known star catalogue format"):
        read_star_catalogue(tmp_path / "f.xls")
    with h5py.File(tmp_path / "g.h5", "w") as file:
        file["x"] = np.zeros(3)
    with pytest.raises(DataError, match=r"g\.h5: there is no table"):
        read_star_catalogue(tmp_path / "g.h5")


def test_an_empty_catalogue_has_no_stars(tmp_path):
    (tmp_path / "a.csv").write_text("ra,dec,mag\n")
    assert len(read_star_catalogue(tmp_path / "a.csv")) == 0
