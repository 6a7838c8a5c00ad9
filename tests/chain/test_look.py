"""`shapempi look` on a run: the pictures show what the run committed."""

import re

import h5py
import numpy as np
import pytest
from chain.program import verb
from chain.tiny import configure, copy_of, own_run, place

from shapempi import look_object, look_unit
from shapempi.flags import PixelFlag
from shapempi.ids import BlockId, TileId
from shapempi.io.catalog import read_table
from shapempi.io.tile import read_tile
from shapempi.run_view import ObjectId, RunView
from shapempi.stages.vignets import VignetSource

CCD, TILE = "2243881-21", "241.293"


@pytest.fixture
def run(reference, tmp_path, monkeypatch):
    """A copy of the run, so that pictures may be put into it; the survey's files are where they were."""
    own_run(reference, tmp_path)
    monkeypatch.chdir(tmp_path)  # the configuration names its folders from here
    return tmp_path


@pytest.fixture
def sheets(monkeypatch):
    """What the drawing functions got, in order."""
    seen = []
    for module, name in ((look_unit, "draw_image"), (look_object, "draw_stamps")):
        draw = getattr(module, name)
        monkeypatch.setattr(module, name, lambda sheet, path, draw=draw: (seen.append(sheet), draw(sheet, path)))
    return seen


def is_png(path):
    return path.read_bytes().startswith(b"\x89PNG")


def test_a_ccd_is_shown_with_its_mask_and_its_stars(run, sheets):
    result = verb(run, "look", "run", CCD)
    assert result.code == 0, result
    assert is_png(run / "run" / "look" / f"ccd-{CCD}.png")
    view = RunView(run / "run")
    product = view.reader.read(view.done[f"ccd:{CCD}"])
    (sheet,) = sheets
    mask = product.arrays["mask"].astype(int)
    for bit, part in sheet.thumbnail.fractions.items():
        assert part == np.count_nonzero(mask & bit) / mask.size
        name = PixelFlag(bit).name
        if name is not None and f"masked_{name.lower()}" in product.attrs:
            assert part == pytest.approx(product.attrs[f"masked_{name.lower()}"])
    assert sheet.thumbnail.flagged == pytest.approx(product.attrs["masked_any"])
    assert {bit for bit in sheet.thumbnail.bits} == {1 << k for k in range(16) if (mask & (1 << k)).any()}
    used, rejected, held = sheet.markers
    stars, training = (read_table(run / "run" / "catalogue.h5", name) for name in ("stars", "training_stars"))
    exposure, ccd = map(int, CCD.split("-"))
    of_ccd = (stars["exposure"] == exposure) & (stars["CCD_NB"] == ccd)
    np.testing.assert_array_equal(held.x, stars["X"][of_ccd] - 1)
    np.testing.assert_array_equal(held.y, stars["Y"][of_ccd] - 1)
    of_ccd = (training["exposure"] == exposure) & (training["CCD_NB"] == ccd)
    assert len(used.x) + len(rejected.x) == of_ccd.sum()
    np.testing.assert_array_equal(used.x, training["X"][of_ccd & (training["USED"] == 1)] - 1)
    assert len({mark.colour for mark in sheet.markers}) == len({mark.marker for mark in sheet.markers}) == 3
    assert "PSF accepted" in sheet.title[0]
    assert f"{product.attrs['n_detection']} detections" in result.out
    assert re.search(r"BORDER \d", result.out)


def test_a_tile_is_shown_with_its_objects_and_blocks(run, sheets):
    result = verb(run, "look", "run", f"tile:{TILE}")
    assert result.code == 0, result
    assert is_png(run / "run" / "look" / f"tile-{TILE}.png")
    rows = read_table(run / "run" / "catalogue.h5")
    (sheet,) = sheets
    for value, name in ((0, "star"), (1, "galaxy")):
        (found,) = (each for each in sheet.ellipses if each.label.endswith(f"x {name}"))
        mine = rows[rows["SPREAD_CLASS"] == value]
        np.testing.assert_allclose(found.x, mine["X_IMAGE"] - 1)
        np.testing.assert_allclose(found.a, mine["A_IMAGE"] * mine["KRON_RADIUS"], rtol=1e-5)
    assert sum(len(each.x) for each in sheet.ellipses) == len(rows)
    assert len(sheet.frames.boxes) == -(-len(rows) // 25)


def test_a_section_of_a_tile_shows_the_pixels_of_its_objects(run, sheets):
    view = RunView(run / "run")
    with_wcs = view.reader.read(view.done[f"tile:{TILE}"], names=("segmentation", "objects"))
    row = with_wcs.arrays["objects"][10]
    ra, dec = row["XWIN_WORLD"], row["YWIN_WORLD"]
    result = verb(run, "look", "run", TILE, "--sky", ra, dec, 11.16, "--output", "zoom.png")
    assert result.code == 0, result
    assert verb(run, "look", "run", TILE, "--box", row["XWIN_IMAGE"], row["YWIN_IMAGE"], 60).code == 0
    assert len(list((run / "run" / "look").glob(f"tile-{TILE}-box-*.png"))) == 1
    by_sky, by_box = sheets
    assert by_sky.thumbnail.box == by_box.thumbnail.box
    y0, y1, x0, x1 = by_sky.thumbnail.box
    assert (y0, y1) == (max(round(row["YWIN_IMAGE"] - 1) - 30, 0), min(round(row["YWIN_IMAGE"] - 1) + 31, 400))
    inputs = view.inputs.tile_paths(TileId.parse(TILE))
    np.testing.assert_array_equal(by_sky.thumbnail.image, read_tile(*inputs, by_sky.thumbnail.box)[0].data)
    plane = with_wcs.arrays["segmentation"][y0:y1, x0:x1]
    borders = np.count_nonzero(np.diff(plane, axis=0)) + np.count_nonzero(np.diff(plane, axis=1))
    assert len(by_sky.outline) == borders > 0


def test_an_object_is_shown_in_the_stamps_that_were_measured(run, sheets):
    rows = read_table(run / "run" / "catalogue.h5")
    good = rows[(rows["n_epoch_used"] == 2) & (rows["FLAGS"] == 0) & (rows["shape_flags"] == 0)]
    row = good[np.argsort(good["MAG_AUTO"])[len(good) // 2]]
    number = int(row["NUMBER"])
    result = verb(run, "look", "run", f"{TILE}:{number}")
    assert result.code == 0, result
    assert is_png(run / "run" / "look" / f"object-{TILE}-{number}.png")
    (sheet,) = sheets
    view = RunView(run / "run")
    tile = TileId.parse(TILE)
    location = view.done[tile.uid]
    blocks = view.reader.read(location, names=("blocks", "block_objects", "objects")).arrays
    place = list(blocks["objects"]["NUMBER"][blocks["block_objects"]]).index(number)
    block = BlockId(tile, int(np.searchsorted(blocks["blocks"]["first"], place, side="right") - 1))
    source = VignetSource(view.inputs, view.reader, view.settings.vignet)
    objects = source.block(block, location)
    cut = source.cut(objects, source.segmentation(objects, location), view.done).stacks
    stack = cut[list(cut.number).index(number)]
    assert [epoch.label for epoch in sheet.epochs] == [
        f"{exposure}-{ccd}" for exposure, ccd in zip(stack.exposure, stack.ccd, strict=True)
    ]
    for k, epoch in enumerate(sheet.epochs):
        for name in ("image", "weight", "flag", "psf"):
            np.testing.assert_array_equal(getattr(epoch, name), getattr(stack, name)[k])
        assert epoch.model.sum() == pytest.approx(row["flux_noshear"], rel=0.02)
        assert 0.8 < epoch.chi2 < 1.3
        # Without the object the residual would be its whole light.
        assert np.nansum((epoch.image - epoch.model) * epoch.usable) < 0.5 * row["flux_noshear"]
        assert np.isnan(epoch.residual[~epoch.usable]).all()
    assert f"mag {row['mag_noshear']:.2f}" in result.out
    assert f"g1 {row['g1_noshear']:+.3f}" in result.out
    assert "2 of 2 epochs" in result.out
    assert verb(run, "look", "run", "--sky", row["ra"] + 1e-5, row["dec"], "--output", "near.png").code == 0
    assert sheets[1].title == sheet.title
    assert verb(run, "look", "run", TILE, "--sky", row["ra"], row["dec"], "--output", "same.png").code == 0
    assert sheets[2].title == sheet.title


def test_wrong_names_are_refused_with_the_nearest_ones(run):
    cases = {
        ("run", "2243881-39"): (2, "has no CCD 2243881-39; it has 4, nearest 2243881-22, 2243881-21, 2243882-14"),
        ("run", "241.294"): (2, "has no tile 241.294; it has 1, nearest 241.293"),
        ("run", "m31"): (2, "'m31' names no unit: write a CCD as"),
        ("run", f"{TILE}:9999"): (2, "has no object 9999; it has "),
        ("run",): (2, "say what to look at"),
        ("run", "--sky", 10, 10): (2, "no object within 60 arcsec of 10.0 10.0"),
        ("run", TILE, "--box", 1, 1, 5, "--sky", 1, 1, 5): (2, "give one of them"),
        ("run", TILE, "--box", 9000, 1, 5): (2, "--box 9000 1 5 is outside the image of 400 x 400 pixels"),
        ("run", TILE, "--box", 20, 20, -5): (2, "the size must be positive"),
        ("run", CCD, "--sky", 218.3, 56.5): (2, "is no tile"),
        ("run", CCD, "--weight", "w.fits"): (2, "--weight is for a FILE"),
        ("run", f"{TILE}:3", "--box", 1, 1, 5): (2, "an object is drawn in its own stamps"),
        ("nowhere", CCD): (3, "nowhere: there is no such file, nor a run folder"),
        ("survey", CCD): (3, "survey: not the folder of a run"),
    }
    for arguments, (code, text) in cases.items():
        result = verb(run, "look", *arguments)
        assert result.code == code, (arguments, result)
        assert len(result.complaints) == 1
        assert text in result.err, (arguments, result)
    assert not list((run / "run").glob("look/*.png"))


def test_a_picture_is_replaced_only_when_asked(run):
    assert verb(run, "look", "run", CCD, "--output", "a.png").code == 0
    before = (run / "a.png").read_bytes()
    again = verb(run, "look", "run", TILE, "--output", "a.png")
    assert again.code == 2
    assert "give --overwrite" in again.err
    assert (run / "a.png").read_bytes() == before
    assert verb(run, "look", "run", TILE, "--output", "a.png", "--overwrite").code == 0
    assert (run / "a.png").read_bytes() != before


def without(run, uid):
    """Take the commits of a unit out of a run."""
    (path,) = (run / "run" / "parts").glob("*/*.h5")
    with h5py.File(path, "r+") as file:
        rows = file["commits"][:]
        gone = np.array([row["name"].decode().partition("~")[0] == uid for row in rows])
        assert gone.any()
        rows["check"][gone] += 1
        file["commits"][:] = rows


def test_what_is_not_done_is_said(run):
    without(run, f"ccd:{CCD}")
    result = verb(run, "look", "run", CCD)
    assert result.code == 3
    assert "is not done yet; see `shapempi status run`" in result.err
    without(run, f"tile:{TILE}")
    assert "is not done yet" in verb(run, "look", "run", f"{TILE}:3").err


def test_an_object_of_a_block_that_is_not_done_is_shown_without_a_fit(run, sheets):
    without(run, f"block:{TILE}:0")
    view = RunView(run / "run")
    blocks = view.reader.read(view.done[f"tile:{TILE}"], names=("objects", "block_objects")).arrays
    number = int(blocks["objects"]["NUMBER"][blocks["block_objects"][0]])
    result = verb(run, "look", "run", f"{TILE}:{number}")
    assert result.code == 0, result
    assert f"not measured, block:{TILE}:0 is not done yet" in result.out
    assert sheets[0].epochs
    assert all(epoch.model is None for epoch in sheets[0].epochs)
    assert verb(run, "look", "run", TILE).code == 0
    assert "1 of them not measured" in sheets[1].title[0]
    assert any("not classified" in each.label for each in sheets[1].ellipses)


def test_units_that_failed_and_models_that_were_refused_show_what_there_is(survey, tmp_path, sheets):
    """One CCD has no weight, every other needs more stars than there are."""
    place(survey, tmp_path, ("min_stars = 8", "min_stars = 4000"))
    weight = copy_of(tmp_path / "survey" / "exposures" / "2243882p.weight.fits.fz")
    weight.write_bytes(weight.read_bytes()[:40000])
    assert verb(tmp_path, "run", "chain.toml").code == 1
    refused = verb(tmp_path, "look", "run", CCD)
    assert refused.code == 0, refused
    assert "PSF few_stars: " in sheets[0].title[0]
    failed = verb(tmp_path, "look", "run", "2243882-13")
    assert failed.code == 0, failed
    assert "ccd:2243882-13 failed: DataError: " in failed.out
    assert "truncated" in sheets[1].title[0]
    assert sheets[1].thumbnail.bits == {}
    view = RunView(tmp_path / "run")
    tile = view.reader.read(view.done[f"tile:{TILE}"], names=("objects", "epochs")).arrays
    here = tile["epochs"]["exposure"] == 2243881
    number = int(tile["objects"]["NUMBER"][tile["epochs"]["object"][here][0]])
    lost = verb(tmp_path, "look", "run", f"{TILE}:{number}")
    assert lost.code == 0, lost
    assert not sheets[2].epochs
    assert any("no PSF model, few_stars" in text for text in sheets[2].lost), sheets[2].lost
    (tmp_path / "survey" / "exposures" / "2243882p.fits.fz").unlink()
    nothing = verb(tmp_path, "look", "run", "2243882-13", "--overwrite")
    assert nothing.code == 1
    assert "nothing of it can be shown" in nothing.err
    assert "truncated" in nothing.err


def test_a_run_that_has_not_started_is_no_run(tmp_path, survey):
    place(survey, tmp_path)
    configure(tmp_path)
    (tmp_path / "run").mkdir()
    result = verb(tmp_path, "look", "run", CCD)
    assert result.code == 3
    assert "run: not the folder of a run" in result.err


def test_object_names_are_written_as_they_are_read(run):
    view = RunView(run / "run")
    for text in (f"{TILE}:3", f"tile:{TILE}:3", "241-293:3"):
        assert view.parse(text) == ObjectId(TileId(241, 293), 3)
    assert str(view.parse(f"ccd:{CCD}")) == CCD


def test_a_size_below_that_of_the_psf_is_drawn_as_a_point(run, sheets):
    rows = read_table(run / "run" / "catalogue.h5")
    below = rows[(rows["T_noshear"] < 0) & (rows["n_epoch_used"] > 0)]
    row = below[np.argmin(below["T_noshear"])]
    result = verb(run, "look", "run", f"{TILE}:{row['NUMBER']}")
    assert "(drawn as 0)" in result.out
    for epoch in sheets[0].epochs:
        offset = np.abs(epoch.model - row["flux_noshear"] * epoch.psf)
        assert offset.sum() < row["flux_noshear"]  # the PSF, moved by a fraction of a pixel
