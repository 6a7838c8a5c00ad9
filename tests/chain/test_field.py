"""A simulated field from the selection of its tile to its catalogue, by the pipeline's links, as a user types it."""

from chain.program import shapempi, verb
from chain.tiny import configure, differences, place

from shapempi.ids import TileId
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
