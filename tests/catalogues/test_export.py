"""The catalogue in every format: same rows, units and meanings for fitsio, astropy, pyarrow and TreeCorr."""

import tracemalloc

import fitsio
import h5py
import numpy as np
import pyarrow.parquet
import pytest
import treecorr
from astropy.io import fits
from astropy.table import Table
from astropy.table.meta import get_header_from_yaml
from catalogues.native import random_rows, tile_rows, write_native

from shapempi.catalog import COLUMNS, Column
from shapempi.catalogues.export import Chosen, export_table
from shapempi.errors import ConfigError, DataError, EngineError, MissingInputError
from shapempi.grammar import columns_of, translation
from shapempi.ids import TileId
from shapempi.io.table_file import WRITERS, open_table
from shapempi.tile_grid import CFIS_GRID

N_ROW = 900
TILE = TileId(241, 293)
ENDINGS = {"fits": "fits", "parquet": "parquet", "hdf5": "hdf5", "npy": "npy"}
DECLARED = {column.name: column for column in COLUMNS}


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(4)
    ra, dec = CFIS_GRID.centre(TILE)
    made = tile_rows(TILE, ra + rng.uniform(-0.2, 0.2, N_ROW), dec + rng.uniform(-0.2, 0.2, N_ROW))
    made["FLAG_TILING"] = rng.integers(0, 2, N_ROW)
    return made


@pytest.fixture(scope="module")
def source(tmp_path_factory, rows):
    return write_native(tmp_path_factory.mktemp("export") / "catalogue.h5", rows)


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    """Make every table of these tests come in many parts."""
    monkeypatch.setattr("shapempi.catalogues.export.chunk_rows", lambda dtype: 128)


def read_back(path):
    """Return rows and columns of a file as this program reads them."""
    with open_table(path) as table:
        names = [column.name for column in table.columns]
        return np.concatenate(list(table.parts(names, 100))), table.columns


@pytest.mark.parametrize("grammar", ["native", "legacy", "v2"])
@pytest.mark.parametrize("kind", list(WRITERS))
def test_every_format_has_the_same_rows_units_and_meanings(tmp_path, source, rows, kind, grammar):
    path = tmp_path / f"out.{ENDINGS[kind]}"
    assert export_table(source, path, kind, Chosen(grammar), overwrite=False) == N_ROW
    expected = translation(grammar).translate(rows)
    back, columns = read_back(path)
    assert back.dtype.names == expected.dtype.names
    for name in expected.dtype.names:
        np.testing.assert_array_equal(back[name].astype(expected.dtype[name].base), expected[name], err_msg=name)
    if kind != "npy":
        assert [(c.name, c.unit, c.meaning) for c in columns] == [
            (c.name, c.unit, c.meaning) for c in columns_of(grammar)
        ]


def test_fits_says_units_and_meanings_as_the_standard_has_them(tmp_path, source):
    path = tmp_path / "out.fits"
    export_table(source, path, "fits", overwrite=False)
    with fits.open(path) as file:  # astropy joins what is longer than a card
        header = file["RESULTS"].header
    for number, column in enumerate(COLUMNS, start=1):
        assert header[f"TTYPE{number}"] == column.name
        assert header.get(f"TUNIT{number}", "") == column.unit
        assert header[f"TCOMM{number}"] == column.meaning
    assert max(len(column.meaning) for column in COLUMNS) > 68


@pytest.mark.parametrize("kind", ["fits", "hdf5"])
def test_astropy_reads_tables_with_units(tmp_path, source, rows, kind):
    path = tmp_path / f"out.{ENDINGS[kind]}"
    export_table(source, path, kind, overwrite=False)
    table = Table.read(path)
    np.testing.assert_array_equal(table["g1_1p"], rows["g1_1p"])
    assert table["psf_T"].unit == "arcsec2" and table["ra"].unit == "deg" and table["NUMBER"].unit is None
    if kind == "hdf5":
        assert table["psf_T"].description == DECLARED["psf_T"].meaning
        assert table.meta["SHEAR_FRAME"].startswith("u West, v North")


def test_astropy_takes_the_native_catalogue_as_it_is(source, rows):
    with h5py.File(source, "r") as file:
        table = Table(file["catalogue"])
    np.testing.assert_array_equal(table["dec"], rows["dec"])


def test_parquet_has_units_where_pyarrow_and_astropy_look(tmp_path, source):
    path = tmp_path / "out.parquet"
    export_table(source, path, "parquet", Chosen("legacy"), overwrite=False)
    schema = pyarrow.parquet.read_schema(path)
    field = schema.field("NGMIX_T_NOSHEAR")
    assert field.metadata == {b"unit": b"arcsec2", b"description": DECLARED["T_noshear"].meaning.encode()}
    header = get_header_from_yaml(schema.metadata[b"table_meta_yaml"].decode().split("\n"))
    entry = next(each for each in header["datatype"] if each["name"] == "NGMIX_T_NOSHEAR")
    assert str(entry["unit"]) == "arcsec2" and entry["description"] == DECLARED["T_noshear"].meaning
    assert schema.metadata[b"table::len::TILE_ID"] == b"7"


def test_astropy_and_treecorr_read_parquet(tmp_path, source, rows):
    pytest.importorskip("pandas", reason="their readers of Parquet need pandas; astropy's contract is tested above")
    path = tmp_path / "out.parquet"
    export_table(source, path, "parquet", Chosen("legacy"), overwrite=False)
    table = Table.read(path)
    assert str(table["NGMIX_T_NOSHEAR"].unit) == "arcsec2"
    expected = translation("legacy").translate(rows)
    np.testing.assert_array_equal(table["NGMIX_ELL_2M"], expected["NGMIX_ELL_2M"])
    assert list(table["TILE_ID"]) == ["241.293"] * N_ROW
    where = {"ra_col": "XWIN_WORLD", "dec_col": "YWIN_WORLD", "ra_units": "deg", "dec_units": "deg"}
    np.testing.assert_allclose(treecorr.Catalog(str(path), **where).dec, np.radians(rows["dec"]))


@pytest.mark.parametrize(("kind", "ext"), [("fits", "RESULTS"), ("hdf5", "columns")])
def test_treecorr_reads_tables(tmp_path, source, rows, kind, ext):
    path = tmp_path / f"out.{ENDINGS[kind]}"
    export_table(source, path, kind, overwrite=False)
    for file, table in ((path, ext), (source, "catalogue")):
        catalog = treecorr.Catalog(
            str(file),
            ext=table,
            ra_col="ra",
            dec_col="dec",
            g1_col="g1_noshear",
            g2_col="g2_noshear",
            ra_units="deg",
            dec_units="deg",
            verbose=0,
        )
        good = np.isfinite(rows["g1_noshear"]) & np.isfinite(rows["g2_noshear"])
        assert catalog.nobj == good.sum()
        np.testing.assert_array_equal(catalog.g2, rows["g2_noshear"][good])


def test_primary_objects_alone(tmp_path, source, rows):
    path = tmp_path / "out.fits"
    n_row = export_table(source, path, "fits", Chosen(primary=True), overwrite=False)
    expected = rows[rows["FLAG_TILING"] == 1]
    assert n_row == len(expected) and 0 < n_row < N_ROW
    np.testing.assert_array_equal(fitsio.read(str(path))["NUMBER"], expected["NUMBER"])


@pytest.mark.parametrize("kind", list(WRITERS))
def test_listed_columns_in_the_order_of_the_list(tmp_path, source, rows, kind):
    listed = tmp_path / "columns.txt"
    listed.write_bytes(b"# what we use\r\n\r\nNGMIX_ELL_1P # a vector\r\n  TILE_ID\r\nNUMBER\r\n\r\n")
    path = tmp_path / f"out.{ENDINGS[kind]}"
    assert export_table(source, path, kind, Chosen("legacy", listed, True), overwrite=False) == sum(
        rows["FLAG_TILING"] == 1
    )
    back, _ = read_back(path)
    assert back.dtype.names == ("NGMIX_ELL_1P", "TILE_ID", "NUMBER")
    np.testing.assert_array_equal(back["NUMBER"], rows["NUMBER"][rows["FLAG_TILING"] == 1])


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("ra\ndec\nra\n", ["columns.txt, line 3: ra is named in line 1 already; remove one"]),
        ("ra\n\nNUMBR\n", ["columns.txt, line 3: the catalogue", "has no column NUMBR; the nearest is NUMBER"]),
        ("ra\nqqqqqqqq\ndeec\n", ["line 2: the catalogue", "no column qqqqqqqq\n", "line 3", "the nearest is dec"]),
        ("# nothing\n\n", ["the list names no column"]),
    ],
)
def test_wrong_lists_are_named_by_line(tmp_path, source, text, messages):
    listed, path = tmp_path / "columns.txt", tmp_path / "out.fits"
    listed.write_text(text)
    with pytest.raises(ConfigError) as caught:
        export_table(source, path, "fits", Chosen(columns=listed), overwrite=False)
    for message in messages:
        assert message in str(caught.value)
    assert list(tmp_path.iterdir()) == [listed]


def test_columns_from_maps_of_the_sky_go_along(tmp_path, rows):
    depth = Column("depth", "f4", "mag", "Depth of the survey.")
    more = np.zeros(len(rows), dtype=[*rows.dtype.descr, ("depth", "<f4")])
    for name in rows.dtype.names:
        more[name] = rows[name]
    more["depth"] = np.arange(len(rows))
    source = write_native(tmp_path / "sky.h5", more, columns=(*COLUMNS, depth))
    for grammar in ("native", "legacy"):
        path = tmp_path / f"{grammar}.parquet"
        export_table(source, path, "parquet", Chosen(grammar), overwrite=False)
        back, columns = read_back(path)
        np.testing.assert_array_equal(back["depth"], more["depth"])
        assert (columns[-1].name, columns[-1].unit, columns[-1].meaning) == ("depth", "mag", "Depth of the survey.")


def test_what_is_wrong_is_said_and_nothing_is_overwritten(tmp_path, source, monkeypatch):
    path = tmp_path / "out.fits"
    path.write_text("mine")
    with pytest.raises(ConfigError, match=r"out\.fits is already there; give --overwrite"):
        export_table(source, path, "fits", overwrite=False)
    assert path.read_text() == "mine"
    with pytest.raises(MissingInputError, match="there is no such run or catalogue"):
        export_table(tmp_path / "none.h5", tmp_path / "x.fits", "fits", overwrite=False)
    with pytest.raises(MissingInputError, match="there is no catalogue; make it with `shapempi gather"):
        export_table(tmp_path, tmp_path / "x.fits", "fits", overwrite=False)
    broken = tmp_path / "broken.h5"
    broken.write_bytes(source.read_bytes()[:5000])
    with pytest.raises(DataError, match=r"broken\.h5: not an HDF5 file"):
        export_table(broken, tmp_path / "x.fits", "fits", overwrite=False)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(EngineError, match=r"pip install 'shapempi\[parquet\]'"):
        export_table(source, tmp_path / "x.parquet", "parquet", overwrite=False)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["broken.h5", "out.fits"]


@pytest.mark.parametrize("kind", ["fits", "parquet", "hdf5"])
def test_memory_does_not_grow_with_the_catalogue(tmp_path, kind):
    listed = tmp_path / "columns.txt"
    listed.write_text("ra\ndec\ng1_noshear\ntile\n")
    export_table(write_native(tmp_path / "warm.h5", random_rows(COLUMNS, 10)), tmp_path / "warm", kind, overwrite=False)
    peaks = []
    for n_row in (2_000, 20_000):
        source = write_native(tmp_path / f"{n_row}.h5", random_rows(COLUMNS, n_row))
        tracemalloc.start()
        export_table(source, tmp_path / f"{n_row}.{kind}", kind, Chosen(columns=listed), overwrite=False)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0] + 300_000
