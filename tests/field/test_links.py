"""Links with the pipeline's names: the same again is nothing, anything else in their place is an error."""

import pytest

from shapempi.errors import ConfigError, DataError, MissingInputError
from shapempi.field.image_name import ImageNames
from shapempi.field.image_source import chosen_files, files_of_folder, files_of_list
from shapempi.field.links import make_links, plan_links
from shapempi.ids import TileId

NAMES = ImageNames.of()


@pytest.fixture
def field(tmp_path):
    """Return a folder of two exposures, one without flags, and a tile."""
    folder = tmp_path / "field"
    folder.mkdir()
    for name in (
        *("2228303p.fits.fz", "2228303p.weight.fits.fz", "2228303p.flag.fits.fz"),
        *("2228304p.fits", "2228304p.weight.fits.fz"),
        *("CFIS.277.282.r.fits", "CFIS.277.282.r.weight.fits.fz"),
    ):
        (folder / name).write_text(name)
    (tmp_path / "links").mkdir()
    return folder


def exposures_of(folder):
    return files_of_folder(folder, NAMES.patterns["exposure"])


def contents(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_names_and_targets(field, tmp_path):
    links = plan_links(exposures_of(field), NAMES, tmp_path / "links")
    links += plan_links(files_of_folder(field, NAMES.patterns["tile"]), NAMES, tmp_path / "links")
    assert make_links(links) == 7
    assert contents(tmp_path / "links") == {
        "image-2228303.fitsfz": "2228303p.fits.fz",
        "weight-2228303.fitsfz": "2228303p.weight.fits.fz",
        "flag-2228303.fitsfz": "2228303p.flag.fits.fz",
        "image-2228304.fits": "2228304p.fits",
        "weight-2228304.fitsfz": "2228304p.weight.fits.fz",
        "CFIS_image-277-282.fits": "CFIS.277.282.r.fits",
        "CFIS_weight-277-282.fitsfz": "CFIS.277.282.r.weight.fits.fz",
    }
    before = {path: path.lstat().st_ino for path in (tmp_path / "links").iterdir()}
    assert make_links(links) == 0
    assert {path: path.lstat().st_ino for path in (tmp_path / "links").iterdir()} == before


@pytest.mark.parametrize("kind", ["another file", "another link", "a dangling link", "a folder"])
def test_what_is_in_the_way_is_named_and_nothing_changes(field, tmp_path, kind):
    links = plan_links(exposures_of(field), NAMES, tmp_path / "links")
    wrong = tmp_path / "links" / "weight-2228304.fitsfz"
    (tmp_path / "other").write_text("other")
    {
        "another file": lambda: wrong.write_text("mine"),
        "another link": lambda: wrong.symlink_to(tmp_path / "other"),
        "a dangling link": lambda: wrong.symlink_to(tmp_path / "gone"),
        "a folder": wrong.mkdir,
    }[kind]()
    before = wrong.lstat()
    with pytest.raises(ConfigError, match=r"weight-2228304.fitsfz is already there .*\n.*nothing was changed"):
        make_links(links)
    assert [path.name for path in (tmp_path / "links").iterdir()] == [wrong.name]
    assert wrong.lstat() == before


def test_links_that_cannot_all_be_made_are_not_made(field, tmp_path):
    links = plan_links(exposures_of(field), NAMES, tmp_path / "links")
    links[-1] = type(links[-1])(tmp_path / "nowhere" / "weight", links[-1].target)
    with pytest.raises(ConfigError, match=r"nowhere.* cannot be made"):
        make_links(links)
    assert not list((tmp_path / "links").iterdir())


def test_a_missing_weight_is_named(field, tmp_path):
    (field / "2228303p.weight.fits.fz").unlink()
    (field / "CFIS.277.282.r.weight.fits.fz").unlink()
    with pytest.raises(MissingInputError, match=r"2228303p.weight.fits.fz: the weight of 2228303p does not exist"):
        plan_links(exposures_of(field), NAMES, tmp_path / "links")
    with pytest.raises(MissingInputError, match="nothing was linked"):
        plan_links(files_of_folder(field, NAMES.patterns["tile"]), NAMES, tmp_path / "links")


def test_names_of_the_users_own(field, tmp_path):
    links = plan_links(exposures_of(field), NAMES, tmp_path, {"image": "sci", "weight": "wht", "flag": ""})
    assert [link.path.name for link in links[:3]] == ["sci-2228303.fitsfz", "wht-2228303.fitsfz", "flag-2228303.fitsfz"]


def test_overlapping_names(field, tmp_path):
    (field / "old_2228303p.fits.fz").write_text("")
    (field / "2228303p.fits.fz.bak").write_text("")
    (field / "2228304p.fits.fz").write_text("the usual name is taken")
    files = exposures_of(field)
    assert list(files) == [2228303, 2228304] and files[2228304].name == "2228304p.fits.fz"
    listing = tmp_path / "list.txt"
    listing.write_text(
        f"{field}/2228303p.fits.fz\r\n\r\n{field}/2228303p.weight.fits.fz\r\n{field}/2228303p.fits.fz\r\n"
    )
    found, others = files_of_list(listing, NAMES.patterns["exposure"])
    assert list(found) == [2228303] and len(others) == 1
    listing.write_text(f"{field}/2228303p.fits.fz\n/elsewhere/2228303p.fits.fz\n")
    with pytest.raises(
        DataError, match=r"2228303p is named twice: .* in line 1, /elsewhere/2228303p.fits.fz in line 2"
    ):
        files_of_list(listing, NAMES.patterns["exposure"])


def test_chosen(field):
    assert list(chosen_files(exposures_of(field), [2228304], field)) == [2228304]
    with pytest.raises(MissingInputError, match="no file of 2228309p"):
        chosen_files(exposures_of(field), [2228304, 2228309], field)
    assert TileId(277, 282) in files_of_folder(field, NAMES.patterns["tile"])
