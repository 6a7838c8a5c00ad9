"""The files of a detection as their readers find them."""

import fitsio
import numpy as np
import pytest
from measure.sky import add_gaussian, wcs

from shapempi.catalog import DETECTION_COLUMNS
from shapempi.engines.detection_native import NativeDetection
from shapempi.errors import ConfigError
from shapempi.io.fits import card_value
from shapempi.io.ldac import read_ldac, read_ldac_units
from shapempi.measure.background import BackgroundMesh
from shapempi.measure.detect import DetectionParams, Detections
from shapempi.measure.detected_image import BAD, DetectedImage
from shapempi.measure.detection_table import DETECTION_DTYPE
from shapempi.measure.pixel_source import ArraySource, Frame
from shapempi.report.detection_files import detection_paths, write_catalogue, write_detections

SHAPE = (150, 170)
PLACES = [(40.3, 50.4), (48.0, 52.0), (165.5, 100.0), (90.0, 4.0)]


@pytest.fixture(scope="module")
def image():
    data = np.random.default_rng(3).normal(0, 2, SHAPE).astype(np.float32)
    for x, y in PLACES:
        add_gaussian(data, x, y, 1e4, 2.0)
    weight = np.full(SHAPE, 0.25, np.float32)
    weight[60:64, 30] = 0
    data[10, 95] = np.nan
    source = ArraySource(data, weight, np.zeros(SHAPE, np.int32))
    frame = Frame(wcs(SHAPE), 1.5, 50000.0, 29.5)
    y, x = (np.array([0.0, n - 1.0]) for n in SHAPE)
    mesh = BackgroundMesh(np.array([[100.0, 110.0], [120.0, 130.0]]), y, x, 2.0)
    found = NativeDetection(DetectionParams()).detect(source, frame, background=mesh)
    return DetectedImage(source, frame, found, "sep 1.2.3", mesh)


def test_all_files(image, tmp_path):
    kinds = ("vignets", "background", "segmentation")
    written = write_detections(image, tmp_path / "new", "-2113737-10", kinds, size=21, overwrite=False)
    names = {"sexcat-2113737-10.fits", "background-2113737-10.fits", "segmentation-2113737-10.fits"}
    assert {path.name for path in written} == names == {path.name for path in (tmp_path / "new").iterdir()}
    assert list(detection_paths(tmp_path, "-1", ("catalogue", "vignets"))) == ["catalogue"]
    ny, nx = SHAPE
    found = fitsio.read(tmp_path / "new" / "background-2113737-10.fits")
    assert np.array_equal(found, image.background.evaluate(0, ny, 0, nx))
    assert np.array_equal(fitsio.read(tmp_path / "new" / "segmentation-2113737-10.fits"), image.detections.segmentation)
    assert fitsio.read_header(tmp_path / "new" / "background-2113737-10.fits")["CRVAL1"] == 150.0


def test_the_catalogue_has_all_columns_and_the_image_in_its_header(image, tmp_path):
    path = tmp_path / "sexcat.fits"
    write_catalogue(path, image)
    head, table = read_ldac(path)
    ours = image.detections.table
    assert set(table.dtype.names) == {column.name for column in DETECTION_COLUMNS} | {"EXT_NUMBER"}
    for column in DETECTION_COLUMNS:
        assert table.dtype[column.name] == np.dtype(column.dtype)
        np.testing.assert_array_equal(table[column.name], ours[column.name].astype(column.dtype))
    assert read_ldac_units(path)["X_WORLD"] == "deg"
    assert card_value(head, "CRVAL1") and card_value(head, "SEXVERS") == "sep 1.2.3"
    numbers = {"SEXBKGND": 115.0, "SEXBKDEV": 2.0, "SEXGAIN": 1.5, "SEXSATLV": 50000.0, "SEXMGZPT": 29.5}
    for keyword, value in numbers.items():
        assert float(card_value(head, keyword)) == pytest.approx(value, rel=0.03), keyword


def test_vignets_show_the_objects_own_pixels(image, tmp_path):
    write_catalogue(tmp_path / "v.fits", image, size=21)
    _, table = read_ldac(tmp_path / "v.fits")
    padded = [
        np.pad(plane.astype(float), 40, constant_values=np.nan) for plane in (image.source.data, image.source.weight)
    ]
    owner = np.pad(image.detections.segmentation, 40)
    n_foreign = 0
    for row in table:
        x, y = (int(np.floor(row[f"{axis}_IMAGE"] + 0.49999)) - 1 + 40 for axis in "XY")
        box = np.s_[y - 10 : y + 11, x - 10 : x + 11]
        value, weight = (plane[box] for plane in padded)
        foreign = (owner[box] != 0) & (owner[box] != row["NUMBER"])
        n_foreign += np.count_nonzero(foreign)
        good = ~foreign & (weight > 0) & np.isfinite(value)
        expected = np.where(good, value, BAD).astype(np.float32)
        np.testing.assert_array_equal(row["VIGNET"], expected)
    assert n_foreign > 10
    assert read_ldac_units(tmp_path / "v.fits")["VIGNET"] == "adu"


def test_columns_that_the_user_asked_an_engine_for_are_kept(image, tmp_path):
    n = len(image.detections.table)
    further = np.zeros(n, [("VIGNET", "f4", (5, 5)), ("MAG_APER", "f4", (3,)), ("CLASS_STAR", "f4")])
    further["CLASS_STAR"] = np.linspace(0, 1, n)
    found = image.detections
    more = DetectedImage(image.source, image.frame, Detections(found.table, found.segmentation, 1.0, further), "x")
    write_catalogue(tmp_path / "small.fits", more)
    write_catalogue(tmp_path / "large.fits", more, size=21)
    for name, size in (("small", 5), ("large", 21)):
        _, table = read_ldac(tmp_path / f"{name}.fits")
        assert table["VIGNET"].shape == (n, size, size) and table["MAG_APER"].shape == (n, 3)
        np.testing.assert_array_equal(table["CLASS_STAR"], further["CLASS_STAR"])


def test_no_objects_make_an_empty_catalogue(image, tmp_path):
    none = Detections(np.empty(0, DETECTION_DTYPE), np.zeros(SHAPE, np.int32), 1.0)
    write_catalogue(tmp_path / "none.fits", DetectedImage(image.source, image.frame, none, "x"), size=21)
    _, table = read_ldac(tmp_path / "none.fits")
    assert len(table) == 0 and table.dtype["VIGNET"].shape == (21, 21)


def test_nothing_is_replaced_without_being_asked(image, tmp_path):
    def write(**keys):
        return write_detections(image, tmp_path, "-1", ("catalogue", "background"), size=21, **keys)

    write(overwrite=False)
    with pytest.raises(ConfigError, match=r"sexcat-1\.fits is already there"):
        write(overwrite=False)
    assert len(write(overwrite=True)) == 2
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError, match="the folder cannot be made"):
        write_detections(image, tmp_path / "file" / "new", "-1", ("catalogue",), size=21, overwrite=False)
