"""TXPipe's catalogue: the names that it reads, and shears whose sign is right behind TXPipe's own steps."""

import h5py
import numpy as np
import pytest
import treecorr
from astropy import units
from astropy.coordinates import SkyCoord
from catalogues.native import good_shapes, tile_rows, write_native

from shapempi.catalog import SHEAR_TYPES
from shapempi.catalogues.txpipe import TxpipeParams, export_txpipe
from shapempi.errors import ConfigError, DataError
from shapempi.ids import TileId
from shapempi.tile_grid import CFIS_GRID

TILE = TileId(241, 293)
SHEAR = 0.05
#: Response to shears of our frame: not diagonal, not the same for both components.
RESPONSE = np.array([[0.8, 0.03], [-0.05, 0.6]])

#: What TXPipe's source selector, calibrator and diagnostics read of a metacalibration catalogue, band r (TXPipe of
#: August 2026), and what its older versions read.
VARIANTS = ("", "_1p", "_1m", "_2p", "_2m")
READ = {name + v for name in ("T", "s2n", "g1", "g2", "weight", "flags", "mag_r", "mag_err_r") for v in VARIANTS}
READ |= {"id", "ra", "dec", "psf_g1", "psf_g2", "psf_T_mean"}
READ_BEFORE = {"mcal_" + name + v for name in ("T", "s2n", "g1", "g2", "mag_r", "mag_err_r") for v in VARIANTS}
READ_BEFORE |= {"mcal_psf_g1", "mcal_psf_g2", "mcal_psf_T_mean", "mcal_flags", "weight", "ra", "dec", "id"}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Return galaxies around a lens, sheared tangentially by SHEAR: each is stretched across the line to the lens."""
    rng = np.random.default_rng(7)
    ra0, dec0 = CFIS_GRID.centre(TILE)
    n_row = 4000
    ra = ra0 + rng.uniform(-0.2, 0.2, n_row) / np.cos(np.radians(dec0))
    dec = dec0 + rng.uniform(-0.2, 0.2, n_row)
    galaxies = SkyCoord(ra * units.deg, dec * units.deg)
    to_lens = galaxies.position_angle(SkyCoord(ra0 * units.deg, dec0 * units.deg)).rad
    # Position angles run from North to East; from u (West), the long axis is at 90 degrees + its position angle.
    angle = np.pi / 2 + (to_lens + np.pi / 2)
    true = SHEAR * np.array([np.cos(2 * angle), np.sin(2 * angle)])
    noise = rng.normal(0, 0.05, (2, n_row))
    rows = tile_rows(TILE, ra, dec)
    good_shapes(rows, *(RESPONSE @ true + noise), RESPONSE)
    rows["psf_g1"], rows["psf_g2"] = RESPONSE[0, 0] * true
    rows["FLAG_TILING"] = rng.integers(0, 4, n_row) > 0
    lost = rng.random(n_row) < 0.1
    rows["shape_flags"][lost] = 8
    for kind in SHEAR_TYPES:
        rows[f"g1_{kind}"][lost] = rows[f"g1_err_{kind}"][lost] = np.nan
    return write_native(tmp_path_factory.mktemp("txpipe") / "catalogue.h5", rows)


@pytest.fixture(scope="module", params=["east", "west"])
def exported(request, tmp_path_factory, source):
    path = tmp_path_factory.mktemp(request.param) / "shear_catalog.hdf5"
    return path, request.param, export_txpipe(source, path, TxpipeParams(0.01, frame=request.param), overwrite=False)


def tangential(ra, dec, g1, g2, weight, **flips):
    """Return tangential and cross shear around the lens, as TreeCorr sees them, and their error."""
    where = {"ra_units": "deg", "dec_units": "deg"}
    ra0, dec0 = CFIS_GRID.centre(TILE)
    lens = treecorr.Catalog(ra=[ra0], dec=[dec0], **where)
    galaxies = treecorr.Catalog(ra=ra, dec=dec, g1=g1, g2=g2, w=weight, **where, **flips)
    correlation = treecorr.NGCorrelation(min_sep=0.5, max_sep=20, nbins=1, sep_units="arcmin", brute=True)
    correlation.process(lens, galaxies)
    return correlation.xi[0], correlation.xi_im[0], np.sqrt(correlation.varxi[0])


def test_the_names_that_txpipe_reads(exported, source):
    path, _, n_row = exported
    with h5py.File(source, "r") as file:
        primary = file["catalogue/FLAG_TILING"][()] == 1
        number = file["catalogue/NUMBER"][()][primary].astype(np.int64)
    with h5py.File(path, "r") as file:
        group = file["shear"]
        assert READ | READ_BEFORE <= set(group)
        assert {group[name].shape for name in group} == {(primary.sum(),)} == {(n_row,)}
        assert (group.attrs["catalog_type"], list(group.attrs["bands"])) == ("metacal", ["r"])
        assert group.attrs["delta_gamma"] == 0.02
        assert group["mcal_g1_1p"] == group["g1_1p"]  # one dataset under two names
        assert (group["T"].attrs["unit"], group["ra"].attrs["unit"]) == ("arcsec2", "deg")
        np.testing.assert_array_equal(group["id"][()], 241_293 * 10_000_000 + number)


def test_the_sign_of_the_shear_behind_txpipes_steps(exported):
    path, frame, _ = exported
    with h5py.File(path, "r") as file:
        data = {name: file["shear"][name][()] for name in READ}
        delta_gamma = file["shear"].attrs["delta_gamma"]
    good = data["flags"] == 0
    assert 0.85 < good.mean() < 0.95
    assert np.all(data["weight"][~good] == 0) and np.allclose(data["weight"][good], 1 / (0.3**2 + 0.1**2))
    # Source selection: mean response of what has no flags; calibration: its inverse; TreeCorr: flip_g2 by default.
    shear = {name: np.where(good, data[name], 0.0) for name in READ if name.startswith("g")}
    response = np.array(
        [[np.mean(shear[f"{g}_{k}p"][good] - shear[f"{g}_{k}m"][good]) for k in (1, 2)] for g in ("g1", "g2")]
    )
    response /= delta_gamma
    assert response[0, 0] == pytest.approx(0.8) and response[1, 1] == pytest.approx(0.6)  # both positive
    g1, g2 = np.linalg.inv(response) @ np.stack([shear["g1"], shear["g2"]])
    found, cross, error = tangential(data["ra"], data["dec"], g1, g2, data["weight"], flip_g2=frame == "east")
    assert error < 0.003
    assert abs(found - SHEAR) < 4 * error and abs(cross) < 4 * error
    psf, cross, _ = tangential(
        data["ra"], data["dec"], data["psf_g1"], data["psf_g2"], data["weight"], flip_g2=frame == "east"
    )
    assert psf == pytest.approx(0.8 * SHEAR, rel=1e-3) and abs(cross) < 1e-4
    # The other sign of g2 would have been seen: it turns tangential shear into none.
    wrong, _, _ = tangential(data["ra"], data["dec"], g1, g2, data["weight"], flip_g2=frame == "west")
    assert abs(wrong) < 0.2 * SHEAR


def test_treecorr_takes_native_shears_as_they_are(source):
    with h5py.File(source, "r") as file:
        table = {name: file["catalogue"][name][()] for name in ("ra", "dec", "psf_g1", "psf_g2")}
    found, cross, _ = tangential(**{"g1": table.pop("psf_g1"), "g2": table.pop("psf_g2"), **table}, weight=None)
    assert found == pytest.approx(0.8 * SHEAR, rel=1e-3) and abs(cross) < 1e-4


def test_overlaps_can_be_kept_and_nothing_is_overwritten(tmp_path, source):
    path = tmp_path / "shear.hdf5"
    assert export_txpipe(source, path, TxpipeParams(0.02, band="i", primary=False), overwrite=False) == 4000
    with h5py.File(path, "r") as file:
        assert {"mag_i", "mag_err_i_2m", "mcal_mag_i"} <= set(file["shear"])
        assert file["shear"].attrs["delta_gamma"] == 0.04
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="already there"):
        export_txpipe(source, path, TxpipeParams(0.01), overwrite=False)
    assert path.read_bytes() == before


def test_a_catalogue_without_shapes_is_refused(tmp_path):
    rows = tile_rows(TILE, np.array([1.0]), np.array([2.0]))[["tile", "ra", "dec", "FLAG_TILING"]]
    source = tmp_path / "few.h5"
    with h5py.File(source, "w") as file:
        group = file.create_group("catalogue")
        group.attrs["n_row"] = 1
        for name in rows.dtype.names:
            group[name] = rows[name]
    with pytest.raises(DataError, match=r"needs columns that are not there: TILE_X, TILE_Y, .* and \d+ more"):
        export_txpipe(source, tmp_path / "x.hdf5", TxpipeParams(0.01), overwrite=False)
