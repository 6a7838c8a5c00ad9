"""What is known of the sky, in a run: its bright stars, whatever their form, and maps that become columns."""

import shutil

import fitsio
import h5py
import healsparse
import hpgeom
import numpy as np
from chain.program import shapempi, verb
from chain.tiny import differences, place

from shapempi.io.catalog import read_table

STARS = ("survey/star_catalogue.fits", "stars.h5")


#: A map named in the configuration.
MAP = "[survey]\n", "[sky_masks.depth]\nfile = 'map.hs'\nmeaning = 'Depth.'\nunit = 'mag'\n\n[survey]\n"


def test_an_index_of_the_users_own_gives_the_same_catalogue(reference, survey, tmp_path):
    folder = place(survey, tmp_path, STARS)
    result = verb(folder, "starcat", "stars.h5", "--from", "survey/star_catalogue.fits", "--config", "chain.toml")
    assert result.code == 0, result  # also where the configuration names the file that is made by this
    assert "stars.h5: " in result.out and "square degrees and 0.2 degrees around" in result.out
    result = shapempi(folder, "run", "chain.toml", n_rank=3)
    assert result.code == 0, result
    assert not (folder / "run" / "star_catalogue.h5").exists()  # it is used where it is
    assert shapempi(folder, "gather", "run").code == 0
    assert differences(folder, reference) == []


def test_other_stars_are_another_configuration(reference, survey, tmp_path):
    folder = place(survey, tmp_path)
    (folder / "run").symlink_to(reference / "run")
    index = reference / "run" / "star_catalogue.h5"
    before = index.read_bytes()
    link = folder / "survey" / "star_catalogue.fits"
    stars = fitsio.read(str(link))
    link.unlink()
    fitsio.write(str(link), stars[1:])
    result = shapempi(folder, "run", "chain.toml")
    assert result.code == 2
    assert "holds units made with another configuration" in result.err
    assert index.read_bytes() == before


def test_a_map_becomes_a_column(reference, survey, tmp_path):
    """It is looked up when the run is gathered: nothing is measured again."""
    folder = place(survey, tmp_path, MAP)
    shutil.copytree(reference / "run", folder / "run", ignore=shutil.ignore_patterns("catalogue.h5"))
    result = shapempi(folder, "run", "chain.toml")
    assert result.code == 3
    assert "map.hs: the sky map does not exist; correct [sky_masks]" in result.err
    rows = read_table(reference / "run" / "catalogue.h5")
    made = healsparse.HealSparseMap.make_empty(32, 1 << 17, np.float32)
    pixels = np.unique(hpgeom.angle_to_pixel(1 << 17, rows["ra"], rows["dec"]))[::2]
    made[pixels] = np.linspace(24, 25, len(pixels), dtype=np.float32)
    made.write(str(folder / "map.hs"))
    result = shapempi(folder, "run", "chain.toml")
    assert result.code == 0 and "8 units were committed before" in result.out, result
    result = verb(folder, "gather", "run")
    assert result.code == 0, result
    found = read_table(folder / "run" / "catalogue.h5")
    expected = made.get_values_pos(rows["ra"], rows["dec"])
    expected[expected == made.sentinel] = np.nan
    assert 0.2 < np.isnan(expected).mean() < 0.8
    assert np.array_equal(found["depth"], expected, equal_nan=True)
    assert np.array_equal(found["NUMBER"], rows["NUMBER"])
    with h5py.File(folder / "run" / "catalogue.h5") as file:
        attrs = dict(file["catalogue/depth"].attrs)
    assert attrs == {"unit": "mag", "meaning": "Depth; nan where the map says nothing."}
    for grammar in ("native", "legacy"):
        result = verb(folder, "export", "run", "--grammar", grammar, "--overwrite")
        assert result.code == 0, result
        assert np.array_equal(fitsio.read(str(folder / "run" / "catalogue.fits"))["depth"], expected, equal_nan=True)


def test_maps_with_names_that_are_taken(survey, tmp_path):
    folder = place(survey, tmp_path, (MAP[0], MAP[1].replace("depth", "flags_noShear")))
    result = verb(folder, "plan", "chain.toml")
    assert result.code == 2
    assert "sky_masks" in result.err and "the catalogue has a column flags_noshear already" in result.err
