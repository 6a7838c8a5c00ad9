"""A whole simulated survey: files, headers, photometry, astrometry, ranks."""

from __future__ import annotations

import filecmp
import threading
from pathlib import Path

import fitsio
import galsim
import h5py
import numpy as np
import pytest
from sim.tiny_sky import tiny_params

from shapempi.errors import ConfigError, DataError
from shapempi.exposure_number import CFIS_NUMBER
from shapempi.ids import TileId
from shapempi.io.exposure import ExposurePaths, read_ccd, read_headers
from shapempi.io.starcat import read_star_catalogue
from shapempi.io.tile import read_tile
from shapempi.sim.draw import draw_ccd
from shapempi.sim.plan import plan_survey
from shapempi.sim.scene import ObjectType
from shapempi.sim.simulate import expected_size, simulate_survey

NUMBERS = (2243881, 2243882)
TILE = TileId(241, 293)


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    """The tiny survey: parameters, files, progress calls."""
    params = tiny_params()
    calls = []
    files = simulate_survey(params, tmp_path_factory.mktemp("survey"), progress=lambda *call: calls.append(call))
    return params, files, calls


def all_files(folder: Path) -> list[Path]:
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


def test_all_files_are_there_and_no_other(survey):
    _, files, calls = survey
    names = [f"exposures/{n}p{kind}.fits.fz" for n in NUMBERS for kind in ("", ".flag", ".weight")]
    names += ["star_catalogue.fits", "tiles/CFIS.241.293.r.fits", "tiles/CFIS.241.293.r.weight.fits.fz", "truth.h5"]
    assert [str(path) for path in all_files(files.folder)] == sorted(names)
    assert [call[:2] for call in calls] == [(1, 3), (2, 3), (3, 3)]


def test_mosaics_have_an_empty_primary_and_forty_compressed_ccds(survey):
    _, files, _ = survey
    for path, dtype in zip(files.exposure(NUMBERS[0]), (np.float32, np.float32, np.int16), strict=True):
        with fitsio.FITS(str(path)) as mosaic:
            assert len(mosaic) == 41
            assert not mosaic[0].has_data()
            for ccd in range(40):
                hdu = mosaic[ccd + 1]
                assert hdu.get_extname() == f"ccd{ccd:02d}"
                assert hdu.is_compressed()
                shape = (266, 216) if ccd in (21, 22) else (32, 32)
                assert tuple(hdu.get_dims()) == shape
            assert mosaic[22].read().dtype == dtype
            assert mosaic[22].read_header()["ZCMPTYPE"].strip() == "RICE_1"


def test_headers_have_what_the_pipeline_needs(survey):
    _, files, _ = survey
    with fitsio.FITS(str(files.exposure(NUMBERS[0])[0])) as mosaic:
        header = mosaic[23].read_header()
        dummy = mosaic[1].read_header()
    assert header["DATASEC"] == "[9:208,1:260]"
    assert header["CTYPE1"] == "RA---TPV"
    assert header["FSCALE"] == pytest.approx(10 ** (0.4 * (30 - header["PHOTZP"])))
    assert (header["GAIN"], header["SATURATE"], header["EXPTIME"]) == (1.6, 62000.0, 200.0)
    assert header["FILTER"].strip() == "r.MP9602"
    assert header["ACTIVE"] and not dummy["ACTIVE"]
    assert len(read_headers(files.exposure(NUMBERS[0])[0])) == 40
    assert dummy["CRPIX1"] != header["CRPIX1"] and dummy["CRVAL1"] == header["CRVAL1"]


def test_history_names_the_exposures(survey):
    _, files, _ = survey
    with fitsio.FITS(str(files.tile(TILE)[0])) as tile:
        cards = [r["value"] for r in tile[0].read_header().records() if r["name"] == "HISTORY"]
    assert cards == [f" input image {n}p.fits 2 extension(s)" for n in NUMBERS]
    assert [CFIS_NUMBER.find(card) for card in cards] == list(NUMBERS)
    image, exposures = read_tile(*files.tile(TILE))
    assert tuple(exposures) == NUMBERS
    assert image.mag_zp == 30.0 and image.full_shape == (240, 240)


def test_star_catalogue_has_the_bright_stars(survey):
    params, files, _ = survey
    stars = read_star_catalogue(files.star_catalogue)
    with h5py.File(files.truth) as truth:
        objects = truth["objects"][:]
    bright = objects[(objects["type"] == ObjectType.STAR) & (objects["mag"] < params.stars.catalogue_mag)]
    assert len(stars) == len(bright) > 5
    np.testing.assert_allclose(np.sort(stars["mag"]), np.sort(bright["mag"]), atol=1e-5)


def test_truth_holds_parameters_and_exposures(survey):
    params, files, _ = survey
    with h5py.File(files.truth) as truth:
        objects, exposures, attrs = truth["objects"][:], truth["exposures"][:], dict(truth.attrs)
    assert attrs["g1"] == params.g1 and attrs["camera.ccd_width"] == 200 and attrs["tiles"] == '["241.293"]'
    assert (objects["g1"][objects["type"] == ObjectType.GALAXY] == params.g1).all()
    plan = plan_survey(params)
    assert exposures["exposure"].tolist() == list(NUMBERS)
    for row, exposure in zip(exposures, plan.exposures, strict=True):
        np.testing.assert_array_equal(row["psf_fwhm"], exposure.psf.fwhm)
        assert np.flatnonzero(row["active"]).tolist() == [ccd.id.ccd for ccd in exposure.active_ccds]


def measure(image, objects, aperture=14):
    """Measure isolated stars of an image: offsets [pixel] and magnitude differences from the truth."""
    x, y = image.wcs.sky_to_pixel(objects["ra"], objects["dec"])
    y0, y1, x0, x1 = image.valid_box
    half = aperture + 5
    found = []
    for row, cx, cy in zip(objects, x, y, strict=True):
        if not (x0 + half < cx < x1 - half - 1 and y0 + half < cy < y1 - half - 1):
            continue
        part = slice(round(cy) - half, round(cy) + half + 1), slice(round(cx) - half, round(cx) + half + 1)
        if row["type"] != ObjectType.STAR or (image.weight[part] == 0).any():
            continue
        stamp = galsim.Image(image.data[part].astype(float), xmin=part[1].start, ymin=part[0].start)
        moments = galsim.hsm.FindAdaptiveMom(stamp, guess_sig=2.0, guess_centroid=galsim.PositionD(cx, cy))
        grid_y, grid_x = np.mgrid[part]
        r = np.hypot(grid_x - cx, grid_y - cy)
        sky = np.median(image.data[part][r > aperture])
        flux = (image.data[part][r <= aperture] - sky).sum()
        mag = 30 - 2.5 * np.log10(flux * image.flux_scale)
        found.append((moments.moments_centroid.x - cx, moments.moments_centroid.y - cy, mag - row["mag"]))
    return np.array(found)


def ccd_images(params, files):
    for exposure in plan_survey(params).exposures:
        for ccd in exposure.active_ccds:
            yield exposure, ccd, read_ccd(ExposurePaths(*files.exposure(exposure.number)), ccd.id.ccd)


def test_stars_are_at_their_places_with_their_magnitudes(survey):
    params, files, _ = survey
    with h5py.File(files.truth) as truth:
        objects = truth["objects"][:]
    images = [image for _, _, image in ccd_images(params, files)]
    images.append(read_tile(*files.tile(TILE))[0])
    for image in images:
        found = measure(image, objects)
        assert len(found) >= 2
        assert np.abs(found[:, :2]).max() < 0.1
        assert np.abs(found[:, 2]).max() < 0.05
        assert abs(found[:, 2].mean()) < 0.03


def test_noise_of_the_files_is_that_of_the_weights(survey):
    params, files, _ = survey
    with h5py.File(files.truth) as truth:
        objects = truth["objects"][:]
    for exposure, ccd, image in ccd_images(params, files):
        empty = draw_ccd(objects, exposure, ccd, params) < 0.02
        empty &= image.weight > 0
        assert np.count_nonzero(empty) > 5000
        pulls = image.data[empty] * np.sqrt(image.weight[empty])
        assert np.std(pulls) == pytest.approx(1, abs=0.03)
        assert ((image.weight == 0) == (image.flag != 0)).all()
        assert (image.data[:, :8] == 0).all() and (image.flag[260:] == 1).all()


def test_pixels_do_not_depend_on_the_ranks(survey, tmp_path):
    params, files, _ = survey
    barrier = threading.Barrier(3, timeout=60)
    errors = []

    class FakeComm:
        size = 3

        def __init__(self, rank):
            self.rank = rank

        def barrier(self):
            barrier.wait()

    def work(rank):
        try:
            simulate_survey(params, tmp_path / "three", comm=FakeComm(rank))
        except Exception as error:
            errors.append(error)
            barrier.abort()

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    names = all_files(files.folder)
    assert all_files(tmp_path / "three") == names
    fits = [str(name) for name in names if ".fits" in name.name]
    same, different, missing = filecmp.cmpfiles(files.folder, tmp_path / "three", fits, shallow=False)
    assert sorted(same) == sorted(fits) and not different and not missing


def test_existing_files_are_refused(survey, tmp_path):
    params, files, _ = survey
    before = {name: (files.folder / name).stat().st_mtime_ns for name in all_files(files.folder)}
    with pytest.raises(ConfigError, match=r"exists already.*another folder"):
        simulate_survey(params, files.folder)
    assert before == {name: (files.folder / name).stat().st_mtime_ns for name in all_files(files.folder)}
    (tmp_path / "tiles").mkdir()
    (tmp_path / "tiles" / "CFIS.241.293.r.fits").write_bytes(b"precious")
    with pytest.raises(ConfigError, match=r"CFIS\.241\.293\.r\.fits"):
        simulate_survey(params, tmp_path)
    assert (tmp_path / "tiles" / "CFIS.241.293.r.fits").read_bytes() == b"precious"
    assert not (tmp_path / "truth.h5").exists()
    simulate_survey(params, tmp_path, overwrite=True)
    assert read_tile(tmp_path / "tiles/CFIS.241.293.r.fits", tmp_path / "tiles/CFIS.241.293.r.weight.fits.fz")


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(DataError, match="file"):
        simulate_survey(tiny_params(), tmp_path / "file")


def test_a_tile_without_exposure_is_refused(tmp_path):
    params = tiny_params(pointing={"dithers": [[5000.0, 0.0]]})
    with pytest.raises(ConfigError, match=r"tile 241\.293.*dithers"):
        simulate_survey(params, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_size_is_known_before(survey):
    params, files, _ = survey
    size = expected_size(params)
    assert (size.n_tile, size.n_exposure, size.n_ccd) == (1, 2, 4)
    assert size.n_pixel == 4 * 216 * 266 + 240**2
    written = sum((files.folder / name).stat().st_size for name in all_files(files.folder))
    assert size.n_byte == pytest.approx(written, rel=0.3)
    assert "2 exposures with 4 CCDs" in str(size)
