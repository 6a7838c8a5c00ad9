"""The catalogue against the truth of its simulation, through the whole program."""

import re

import pytest
from chain.program import shapempi, verb
from chain.tiny import configure

from shapempi.io.catalog import read_table
from shapempi.io.tile import tile_image_hdu
from shapempi.io.truth import read_truth
from shapempi.report.truth import compare
from shapempi.wcs import Wcs

#: Larger than the survey of the other tests, with a third exposure and more galaxies.
LARGER = (
    ("tile_size = 400", "tile_size = 500"),
    ("ccd_width = 480, ccd_height = 600", "ccd_width = 600, ccd_height = 720"),
    ("n_exposure = 2", "n_exposure = 3"),
    ("[-35.0, -45.0]]", "[-35.0, -45.0], [40.0, -60.0]]"),
    ("density = 20.0, mag_bright = 19.0, mag_faint = 24.0", "density = 30.0, mag_bright = 19.0, mag_faint = 23.5"),
)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("truth")
    configure(folder, *LARGER)
    for command in ("simulate", "run"):
        result = shapempi(folder, command, "chain.toml", n_rank=3)
        assert result.code == 0, result
    result = verb(folder, "gather", "run")
    assert result.code == 0, result
    return folder


def test_objects_are_found_placed_and_classed(measured):
    hdu = tile_image_hdu(measured / "survey" / "tiles" / "CFIS.241.293.r.fits")
    catalogue = read_table(measured / "run" / "catalogue.h5")
    found = compare(catalogue, read_truth(measured / "survey" / "truth.h5"), [(Wcs(hdu.header, str(hdu)), hdu.shape)])
    assert found.n_complete > 60
    assert found.completeness > 0.9
    assert found.position_rms < 0.05
    assert found.star_purity > 0.9
    assert found.measured > 0.9
    assert abs(found.shear.pull).max() < 4


def test_the_report_says_so(measured):
    result = verb(measured, "report", "run")
    assert result.code == 0, result
    assert float(re.search(r"completeness at S/N > 20 +([\d.]+)", result.out)[1]) > 0.9
    assert float(re.search(r"position rms at S/N > 100 +([\d.]+) arcsec", result.out)[1]) < 0.05
    assert float(re.search(r"stars classed as stars +([\d.]+)", result.out)[1]) > 0.9
