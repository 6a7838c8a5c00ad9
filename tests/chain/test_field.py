"""A simulated field from the selection of its tile to its catalogue, by the pipeline's links, as a user types it."""

import numpy as np
from chain.legacy_reader import Tree
from chain.program import shapempi, verb
from chain.tiny import configure, differences, place

from shapempi.ids import TileId
from shapempi.io.catalog import read_table
from shapempi.io.wcs_store import read_wcs_store
from shapempi.tile_grid import CFIS_GRID

LINKED = (
    (
        'exposure_folder = "survey/exposures"\ntile_folder = "survey/tiles"',
        'exposure_folder = "field"\ntile_folder = "field"\n'
        'image_name = "image-{exposure}.fitsfz"\nweight_name = "weight-{exposure}.fitsfz"\n'
        'flag_name = "flag-{exposure}.fitsfz"\ntile_name = "CFIS_image-{tile}.fits"\n'
        'tile_weight_name = "CFIS_weight-{tile}.fitsfz"',
    ),
)


def typed(folder, *arguments):
    """Run a verb that must succeed; returns what it prints."""
    result = verb(folder, *arguments)
    assert result.code == 0, result
    return result.out


def test_from_selection_to_catalogue(tmp_path, survey, reference):
    folder = place(survey, tmp_path)
    at = ["--coord", *map(str, CFIS_GRID.centre(TileId(241, 293)))]
    typed(folder, "select", *at, "--input", "survey/tiles", "--id-only", "--output", "tiles.txt")
    assert (folder / "tiles.txt").read_text() == "241.293\n"
    near = typed(folder, "select", *at, "--input", "survey/exposures", "--type", "exposure", "--id-only")
    assert near.split() == ["2243881p", "2243882p"]
    typed(folder, "link", "--input", "survey/tiles", "--type", "tile", "--ids", "tiles.txt", "--output", "field")
    typed(folder, "exposures", "field", "--output", "lists")
    listed = "lists/exp_numbers-241-293.txt"
    assert (folder / listed).read_text().split() == ["2243881p", "2243882p"]
    typed(folder, "link", "--input", "survey/exposures", "--ids", listed, "--output", "field")
    typed(folder, "headers", "--input", "field", "--output", "wcs.fits", "--sip")
    assert len(read_wcs_store(folder / "wcs.fits")) == 80
    got = typed(folder, "fetch-images", "tiles.txt", listed, "--from", "survey", "--output", "got", "--pipeline-names")
    assert "8 files fetched" in got
    assert {path.name: path.resolve() for path in (folder / "got").iterdir()} == {
        path.name: path.resolve() for path in (folder / "field").iterdir()
    }

    configure(folder, *LINKED)
    for command in (("run", "chain.toml"), ("gather", "run")):
        result = shapempi(folder, *command)
        assert result.code == 0, result
    assert differences(folder, reference) == []

    typed(folder, "export", "run", "--format", "legacy", "--products", "sexcat,galaxy_psf,ngmix,final_cat")
    tree, catalogue = Tree(folder / "run" / "legacy"), read_table(folder / "run" / "catalogue.h5")
    _, objects, epochs = tree.ldac("sextractor_runner_run_1", "sexcat-241-293.fits")
    np.testing.assert_array_equal(objects["NUMBER"], catalogue["NUMBER"])
    assert sum(np.count_nonzero(rows["CCD_N"] >= 0) for rows in epochs.values()) == catalogue["N_EPOCH"].sum()
    final = tree.table("make_cat_runner", "final_cat-241-293.fits")["RESULTS"]
    measured = np.isfinite(catalogue["g1_noshear"])
    assert measured.sum() > 20
    np.testing.assert_array_equal(final["NGMIX_ELL_NOSHEAR"][measured, 0], catalogue["g1_noshear"][measured])
    shapes = tree.table("ngmix_runner", "ngmix-241-293.fits")
    assert set(shapes) == {"1M", "1P", "2M", "2P", "NOSHEAR"}
    psf = tree.store("psfex_interp_runner_run_1", "galaxy_psf-241-293.sqlite")
    assert len(psf) >= measured.sum()
    assert set(psf) <= set(map(str, objects["NUMBER"]))
