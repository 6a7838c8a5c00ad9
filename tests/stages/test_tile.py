"""The unit of a tile, on files: rows as needed, masks of sections, another image to find objects in, wrong input."""

import fitsio
import numpy as np
import pytest
from astropy.io import fits
from measure.sky import add_gaussian

from shapempi.engines.detection_native import NativeDetection
from shapempi.errors import DataError, MissingInputError
from shapempi.ids import TileId
from shapempi.io.starcat import STAR_DTYPE
from shapempi.measure.bright_stars import StarTable, stars_of_image
from shapempi.measure.mask import MaskRecipe, make_mask
from shapempi.mpi.attempt import Stopwatch
from shapempi.stages.tile import TileParams, TileStage
from shapempi.stages.tile_source import TileSource
from shapempi.survey.inputs import InputParams, SurveyInputs

TILE = TileId(241, 293)
SHAPE = (430, 360)
SCALE = 0.187
RA, DEC = 231.3, 41.7


def header(**more):
    ny, nx = SHAPE
    cards = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": RA, "CRVAL2": DEC, "GAIN": 20.0, "SATURATE": 9e3}
    cards |= {"CRPIX1": nx / 2, "CRPIX2": ny / 2, "CD1_1": -SCALE / 3600, "CD2_2": SCALE / 3600} | more
    return [{"name": name, "value": value, "comment": ""} for name, value in cards.items()]


def write_image(path, data, **more):
    with fitsio.FITS(str(path), "rw", clobber=True) as file:
        file.write(data, header=header(**more))
        file[0].write_history(" input image 2243881p.fits 4 extension(s)")


def write_weight(path, weight):
    with fitsio.FITS(str(path), "rw", clobber=True) as file:
        file.write(None)
        file.write(weight, compress="gzip_2", qlevel=0)


def sky(seed=1, noise=1.0, level=0.0):
    rng = np.random.default_rng(seed)
    data = rng.normal(level, noise, SHAPE).astype(np.float32)
    places = np.random.default_rng(99)
    for y in range(20, SHAPE[0] - 10, 24):
        for x in range(20, SHAPE[1] - 10, 30):
            place = x + places.uniform(-3, 3), y + places.uniform(-3, 3)
            add_gaussian(data, *place, 10 ** places.uniform(2.3, 4.2), places.uniform(1.5, 2.5))
    return data


@pytest.fixture
def folder(tmp_path):
    """A tile with missing pixels, a hole in its weight, and bright stars inside and beside it."""
    data, weight = sky(), np.ones(SHAPE, np.float32)
    data[:40, :50] = 0.0
    weight[:40, :50] = 0.0
    weight[200:210, 100:140] = 0.0
    weight[300, 30] = np.nan
    write_image(tmp_path / "CFIS.241.293.r.fits", data)
    write_weight(tmp_path / "CFIS.241.293.r.weight.fits.fz", weight)
    return tmp_path


def stars():
    table = np.zeros(4, STAR_DTYPE)
    offset = np.array([[100, 100], [-150, 30], [20, -190], [0, 235]]) * SCALE / 3600
    table["ra"], table["dec"] = RA + offset[:, 0] / np.cos(np.radians(DEC)), DEC + offset[:, 1]
    table["mag"] = 12.0, 14.5, 16.0, 11.0
    return StarTable(table)


def process(folder, *, strip_rows=512, detector=None, **names):
    tile = TileParams.model_validate({"detection": {"strip_rows": strip_rows}})
    inputs = SurveyInputs(InputParams(exposure_folder=folder, tile_folder=folder, **names))
    detector = detector or NativeDetection(tile.detection)
    stage = TileStage(inputs, stars(), MaskRecipe(tile.mask), tile, detector, 50)
    product, n_row = stage.process({"tile": str(TILE), "ccds": []}, {}, Stopwatch())
    assert n_row == len(product.arrays["objects"])
    return product


def same(a, b):
    assert dict(a.attrs) == dict(b.attrs)
    assert a.arrays.keys() == b.arrays.keys()
    for name in a.arrays:
        assert a.arrays[name].dtype == b.arrays[name].dtype and a.arrays[name].tobytes() == b.arrays[name].tobytes(), (
            name
        )


def test_the_product_does_not_depend_on_the_height_of_the_strips(folder):
    whole = process(folder, strip_rows=SHAPE[0])
    assert whole.attrs["n_object"] > 150
    for height in (31, 128):
        same(process(folder, strip_rows=height), whole)


def test_mask_and_its_statistics_are_those_of_the_tile_in_one_piece(folder):
    product = process(folder, strip_rows=64)
    tile = TileParams()
    inputs = SurveyInputs(InputParams(exposure_folder=folder, tile_folder=folder))
    image, _ = inputs.read_tile(TILE)
    recipe = MaskRecipe(tile.mask)
    mask = make_mask(image, stars_of_image(stars(), image, recipe), recipe)
    assert product.attrs["missing_ratio"] == mask.missing_ratio > 0
    for name in ("HALO", "SPIKE", "WEIGHT"):
        assert mask.fractions[name] > 0, name
    for name, fraction in mask.fractions.items():
        assert product.attrs[f"masked_{name.lower()}"] == fraction, name
    table, segmentation = product.arrays["objects"], product.arrays["segmentation"]
    bits = np.zeros(len(table) + 1, np.int32)
    np.bitwise_or.at(bits, segmentation, mask.plane)
    own = table["ISOAREAF_IMAGE"] > 0
    assert own.all() and np.count_nonzero(table["IMAFLAGS_ISO"]) > 10
    # Pixels of merged detections count for the map, but their bits are not the object's.
    assert np.mean(table["IMAFLAGS_ISO"] == bits[1:]) > 0.97
    assert not np.any(table["IMAFLAGS_ISO"] & ~bits[1:])


def test_masks_of_more_bits_take_more_memory_only_then(folder):
    inputs = SurveyInputs(InputParams(exposure_folder=folder, tile_folder=folder))
    planes = inputs.open_tile(TILE)
    image, _ = inputs.read_tile(TILE, (0, 1, 0, SHAPE[1]))
    recipe = MaskRecipe(TileParams.model_validate({"mask": {"halo_bit": 4096, "spike_bit": 1 << 20}}).mask)
    bright = stars_of_image(stars(), image, recipe)
    source = TileSource(image, planes, lambda section: make_mask(section, bright, recipe))
    whole, _ = inputs.read_tile(TILE)
    expected = make_mask(whole, bright, recipe).plane
    for y0, y1 in ((50, 60), (0, 20), (10, 55), (400, 430)):
        assert np.array_equal(source.read(y0, y1).flag, expected[y0:y1])
    source.finish()
    assert np.array_equal(source.read(0, SHAPE[0]).flag, expected)
    assert source.fractions["HALO"] == np.count_nonzero(expected & 4096) / expected.size


def test_objects_can_be_found_in_another_image(folder):
    write_image(folder / "DEEP.241.293.fits", sky(seed=2, noise=0.4, level=55.0), BACK=55.0)
    write_weight(folder / "DEEP.241.293.weight.fits.fz", np.full(SHAPE, 6.25, np.float32))
    write_image(folder / "CFIS.241.293.r.fits", sky(level=7.0), BACK=7.0)
    names = {
        "tile_detection_name": "DEEP.{tile}.fits",
        "tile_detection_weight_name": "DEEP.{tile}.weight.fits.fz",
        "keywords": {"tile_background": "BACK"},
    }
    plain = process(folder, keywords=names["keywords"]).arrays["objects"]
    product = process(folder, **names)
    both = product.arrays["objects"]
    assert len(both) >= len(plain) > 150
    assert np.allclose(both["BACKGROUND"], 7.0, rtol=1e-12)
    assert np.median(both["THRESHOLD"]) == pytest.approx(1.5 * 0.4, rel=0.1)
    assert np.median(plain["THRESHOLD"]) == pytest.approx(1.5, rel=0.1)
    usable = both["FLUXERR_APER"] > 0
    assert np.median(both["FLUXERR_APER"][usable]) == pytest.approx(np.median(plain["FLUXERR_APER"]), rel=0.03)
    same(process(folder, strip_rows=50, **names), product)
    # Its weight is the tile's where none is named.
    names.pop("tile_detection_weight_name")
    assert np.median(process(folder, **names).arrays["objects"]["THRESHOLD"]) == pytest.approx(1.5 * 0.4, rel=0.1)


def test_another_image_that_does_not_fit_is_named(folder):
    names = {"tile_detection_name": "DEEP.{tile}.fits"}
    with pytest.raises(MissingInputError, match=r"DEEP\.241\.293\.fits: the detection image file does not exist"):
        process(folder, **names)
    fitsio.write(str(folder / "DEEP.241.293.fits"), np.zeros((40, 50), np.float32))
    with pytest.raises(DataError, match=r"weight\.fits\.fz, HDU 1: its shape \(430, 360\) differs from \(40, 50\)"):
        process(folder, **names)
    fitsio.write(str(folder / "small.241.293.fits"), np.ones((40, 50), np.float32))
    names["tile_detection_weight_name"] = "small.{tile}.fits"
    with pytest.raises(
        DataError, match=r"DEEP\.241\.293\.fits.*\(40, 50\) differs from \(430, 360\).*tile_detection_name"
    ):
        process(folder, **names)


def test_a_weight_of_another_shape_is_named(folder):
    write_weight(folder / "CFIS.241.293.r.weight.fits.fz", np.ones((7, 9), np.float32))
    with pytest.raises(DataError, match=r"CFIS\.241\.293\.r\.weight\.fits\.fz.*\(7, 9\) differs from \(430, 360\)"):
        process(folder)


@pytest.mark.parametrize("wrong", ["nan", "no weight", "nan weight", "constant", "zero"])
def test_a_tile_without_anything_to_see_has_a_product_without_objects(folder, wrong):
    data, weight = sky(), np.ones(SHAPE, np.float32)
    if wrong == "nan":
        data[:] = np.nan
    elif wrong == "no weight":
        weight[:] = 0.0
    elif wrong == "nan weight":
        weight[:] = np.nan
    else:
        data[:] = 0.0 if wrong == "zero" else 3.0
        weight[:] = 1e-2
    write_image(folder / "CFIS.241.293.r.fits", data)
    write_weight(folder / "CFIS.241.293.r.weight.fits.fz", weight)
    product = process(folder, strip_rows=100)
    assert product.attrs["n_object"] == product.attrs["n_block"] == 0
    assert not product.arrays["segmentation"].any() and product.arrays["segmentation"].shape == SHAPE
    assert product.attrs["masked_weight"] == (1.0 if wrong in ("nan", "no weight", "nan weight") else 0.0)


def test_rows_that_no_engine_asks_for_are_masked_all_the_same(folder):
    class Blind:
        """Detects nothing, and looks at nothing."""

        version = "blind 1"

        def detect(self, source, frame, *, background=None, detection=None):
            native = NativeDetection(TileParams().detection)
            return native.detect(Empty(), frame)

    class Empty:
        shape = (0, 0)

        def read(self, y0, y1):
            raise AssertionError("there are no rows")

    product = process(folder, detector=Blind())
    assert product.attrs["n_object"] == 0
    assert product.attrs["missing_ratio"] == process(folder).attrs["missing_ratio"]
    assert product.attrs["masked_halo"] == process(folder).attrs["masked_halo"] > 0


def test_the_header_that_is_kept_is_the_tiles(folder):
    kept = fits.Header.fromstring(process(folder).attrs["header"])
    assert kept["CRVAL1"] == RA and kept["NAXIS2"] == SHAPE[0]
