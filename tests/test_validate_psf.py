import json

import h5py
import numpy as np
import pytest
from astropy.table import Table
from validation.star_table import make_stars, set_shapes

from shapempi.catalog import PSF_STATUS_COLUMNS, STAR_COLUMNS, empty_table
from shapempi.errors import ConfigError, DataError, MissingInputError
from shapempi.io.catalog import TableWriter, create_catalogue
from shapempi.io.ldac import read_ldac
from shapempi.validate_psf import validate_run
from shapempi.validation.maps import MapParams
from shapempi.validation.params import ValidationParams
from shapempi.validation.requirements import RequirementParams
from shapempi.validation.rho import RhoParams

#: Small, so that the pictures take a second.
SMALL = ValidationParams(maps=MapParams(x_bins=1, y_bins=1), rho=RhoParams(n_bin=6, max_separation=60.0))


def write_catalogue(path, **tables):
    with create_catalogue(path, {}, overwrite=True) as file:
        for name, table in tables.items():
            columns = PSF_STATUS_COLUMNS if name == "psf_status" else STAR_COLUMNS
            writer = TableWriter(file, name, columns, len(table))
            writer.append(table)
            writer.finish()


def some_stars(seed=1, dT=2e-3, per_ccd=20):
    rng = np.random.default_rng(seed)
    stars, _ = make_stars(rng, 2, range(0, 40, 5), per_ccd)
    set_shapes(
        stars,
        0.02,
        -0.01,
        rng.uniform(0.19, 0.21, len(stars)),
        *(1e-3 * rng.normal(size=(3, len(stars))) + [[1e-4], [-1e-4], [dT]]),
    )
    return stars


def status_of(stars):
    pairs = np.unique(stars[["exposure", "CCD_NB"]])
    table = empty_table(PSF_STATUS_COLUMNS, len(pairs) + 1)
    table["exposure"][:-1], table["ccd"][:-1], table["status"] = pairs["exposure"], pairs["CCD_NB"], b"accepted"
    table["exposure"][-1], table["ccd"][-1] = 2243882, 39
    table["status"][-1], table["reason"][-1] = b"few_stars", b"there are 3 stars"
    table["n_used"], table["chi2"] = 60, 1.1
    return table


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    run = tmp_path_factory.mktemp("run")
    stars = some_stars()
    stars["FLAG_STAR_HSM"][:3] = 1
    write_catalogue(run / "catalogue.h5", stars=stars, training_stars=some_stars(2), psf_status=status_of(stars))
    return validate_run(run, exposures=[2243882], title="test", params=SMALL), stars


def test_every_file_is_there_and_listed(made):
    result, _ = made
    there = sorted(path for path in result.folder.rglob("*") if path.is_file())
    assert sorted(result.paths) == there and len(there) == 18 + 5 + 1
    assert {path.parent.name for path in there} == {"psf_validation", "2243882"}


def test_numbers_come_through(made):
    result, stars = made
    found = json.loads((result.folder / "summary.json").read_text())
    first = found["samples"][0]
    assert first["name"] == "held-back stars" and first["n_star"] == len(stars)
    assert first["left_out"] == {"star without moments": 3} and first["n_used"] == len(stars) - 3
    assert first["residuals"]["dT"]["mean"] == pytest.approx(2e-3, abs=3e-4)
    assert first["residuals"]["dg1"]["mean"] == pytest.approx(1e-4, abs=3e-4)
    verdicts = {verdict["name"]: verdict["met"] for verdict in found["verdicts"]}
    assert verdicts["mean dg1"] is True and verdicts["mean dT"] is False and not result.met
    assert found["ccds"]["status"] == {"accepted": 16, "few_stars": 1}
    assert [row["n"] for row in found["exposures"]] == [157, 160]
    assert {each["abscissa"] for each in found["trends"]} == {"mag", "T", "snr"}


def test_the_summary_says_what_matters(made):
    result, _ = made
    text = (result.folder / "summary.txt").read_text()
    assert text == "\n".join(result.lines) + "\n"
    for phrase in (
        "317 of 320 used; 3 left out: star without moments",
        "star minus model",
        "few_stars: 2243882-39: there are 3 stars",
        "  0  mean dT",
        "training stars",
    ):
        assert phrase in text


def test_tables_can_be_read_by_astropy(made):
    folder = made[0].folder
    rho = Table.read(folder / "rho.fits")
    assert len(rho) == 6 and str(rho["theta"].unit) == "arcmin" and (rho["n_pair"] > 0).any()
    trends = Table.read(folder / "trends.txt", format="ascii.commented_header")
    assert set(trends["abscissa"]) == {"mag", "T", "snr"} and set(trends["sample"]) == {"all", "bright"}
    assert trends["n"][trends["sample"] == "all"].sum() == 3 * 317
    assert len(Table.read(folder / "per_ccd.fits")) == 16 and len(Table.read(folder / "per_exposure.fits")) == 2
    counts = Table.read(folder / "ccd_status.txt", format="ascii.commented_header")
    assert counts["count"][counts["name"] == "n_used"].sum() == 17
    assert len(read_ldac(folder / "full_starcat-0000000.fits")[1]) == 320
    with h5py.File(folder / "maps.h5") as file:
        assert file["focal_plane/n"][...].sum() == 317 and file["ccd_stack/T_model"].attrs["unit"] == "arcsec2"
        assert file["focal_plane/upside_down"][0] == 1 and file["focal_plane/upside_down"][39] == 0


def test_the_same_bits_every_time(made, tmp_path):
    result, stars = made
    write_catalogue(tmp_path / "c.h5", stars=stars, training_stars=some_stars(2), psf_status=status_of(stars))
    other = validate_run(tmp_path, catalogue=tmp_path / "c.h5", title="test", params=SMALL, figures=False)
    for name in ("summary.json", "trends.txt", "rho.fits", "per_ccd.fits", "maps.h5"):
        assert (other.folder / name).read_bytes() == (result.folder / name).read_bytes(), name
    with pytest.raises(ConfigError, match="--overwrite"):
        validate_run(tmp_path, catalogue=tmp_path / "c.h5", params=SMALL)


def test_good_models_pass(tmp_path):
    stars = some_stars(4, dT=0.0, per_ccd=40)
    write_catalogue(tmp_path / "catalogue.h5", stars=stars)
    lax = SMALL.model_copy(update={"requirements": RequirementParams(xi_fraction=10.0)})
    assert validate_run(tmp_path, tmp_path / "out", params=lax, figures=False).met


@pytest.mark.parametrize("n", [0, 1])
def test_no_stars_one_star_and_a_catalogue_without_the_new_tables(tmp_path, n):
    write_catalogue(tmp_path / "catalogue.h5", stars=some_stars()[:n])
    result = validate_run(tmp_path, exposures=[], params=SMALL, figures=n == 1)
    text = "\n".join(result.lines)
    assert not result.met and "no table psf_status" in text and "no table training_stars" in text
    assert ("nothing to validate" in text) == (n == 0) and ("no verdict" in text) == (n == 0)
    again = validate_run(tmp_path, overwrite=True, params=SMALL, figures=False)
    assert not (again.folder / "exposures").exists() and not list(again.folder.glob("*.png"))


def test_all_stars_flagged_or_not_a_number(tmp_path):
    stars = some_stars()
    stars["FLAG_PSF_HSM"][::2] = 1
    stars["T_star"][1::2] = np.nan
    write_catalogue(tmp_path / "catalogue.h5", stars=stars, training_stars=stars[:0], psf_status=status_of(stars)[:0])
    result = validate_run(tmp_path, params=SMALL, figures=False)
    assert "160 left out: model without moments; 160 left out: values not finite" in "\n".join(result.lines)


def test_what_cannot_be_done_is_said(tmp_path):
    with pytest.raises(MissingInputError, match="gather"):
        validate_run(tmp_path)
    write_catalogue(tmp_path / "catalogue.h5", training_stars=some_stars())
    with pytest.raises(DataError, match="no table stars"):
        validate_run(tmp_path)
    write_catalogue(tmp_path / "catalogue.h5", stars=some_stars())
    with pytest.raises(ConfigError, match="no good held-back star of exposure 5; there are 2 exposures"):
        validate_run(tmp_path, exposures=[5])
    assert not (tmp_path / "psf_validation").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("mine")
    with pytest.raises(ConfigError, match=r"thesis\.tex"):
        validate_run(tmp_path, tmp_path / "mine", overwrite=True)
    with pytest.raises(ConfigError, match="cannot be written"):
        validate_run(tmp_path, tmp_path / "no" / "such" / "folder")
    assert (tmp_path / "mine" / "thesis.tex").exists()
