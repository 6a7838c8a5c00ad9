from dataclasses import replace
from itertools import product
from pathlib import Path

import fitsio
import galsim
import galsim.des
import numpy as np
import pytest

from shapempi.errors import ConfigError, DataError, MissingInputError
from shapempi.io.psfex import read_psf, read_used_stars, write_psf
from shapempi.kernels import _psf
from shapempi.psf import PsfModel

DECAM = Path(__file__).parents[1] / "data" / "psfex_decam_00154912_12.psf"
POSITIONS = np.random.default_rng(5).uniform(0, (2048, 4096), (100, 2))


def make_model(degree, *, size=25, sampling=0.8, interpolant="lanczos4", seed=1):
    """A model with the structure of a PSF: a Moffat of single-precision numbers and small other terms."""
    rng = np.random.default_rng(seed)
    n_coef = (degree + 1) * (degree + 2) // 2
    grid = np.arange(size) - size // 2
    profile = (1 + (grid[:, None] ** 2 + grid**2) / 9.0) ** -3.0
    basis = profile * np.concatenate([[1.0], rng.normal(0, 0.05, n_coef - 1)])[:, None, None]
    basis += profile.max() * rng.normal(0, 1e-3, basis.shape)
    basis = basis.astype(np.float32).astype(float)
    return PsfModel(basis, degree, (1024.25, 2050.5), (1010.0, 2033.0), sampling, 87, 1.07, 3.9, interpolant)


def images_of(model):
    """The model's own grid at the positions, float64 [100, y, x]."""
    x, y = ((POSITIONS[:, i] + 1 - model.zero[i]) / model.scale[i] for i in (0, 1))
    return _psf.evaluate(np.ascontiguousarray(model.coefficients), model.degree, x, y)


def assert_equals_referee(path):
    """The models at 100 positions are those of GalSim to 1e-6 of the peak."""
    referee = galsim.des.DES_PSFEx(str(path))
    model = read_psf(path)
    assert model.sampling == referee.sample_scale
    for (x, y), ours in zip(POSITIONS, images_of(model), strict=True):
        theirs = referee.getPSFArray(galsim.PositionD(x + 1, y + 1))
        assert np.abs(ours - theirs).max() < 1e-6 * theirs.max()


def write_file(path, basis, cards, *, column="PSF_MASK", extname="PSF_DATA"):
    """Write a model as PSFEx would, or as it would not."""
    basis = np.asarray(basis, dtype=np.float32)
    row = np.zeros(1, [(column, np.float32, basis.shape)])
    row[column][0] = basis
    with fitsio.FITS(str(path), "rw", clobber=True) as file:
        file.write_table(row, extname=extname)
        for keyword, value in cards.items():
            file[-1].write_key(keyword, value)
    return path


def cards(names=("X_IMAGE", "Y_IMAGE"), groups=(1, 1), degrees=(1,), **others):
    values = {"LOADED": 50, "ACCEPTED": 45, "CHI2": 1.25, "PSF_FWHM": 4.0, "PSF_SAMP": 0.7, "POLNAXIS": len(names)}
    for i, (name, group) in enumerate(zip(names, groups, strict=True), 1):
        values |= {f"POLGRP{i}": group, f"POLNAME{i}": name, f"POLZERO{i}": 100.0 * i, f"POLSCAL{i}": 1000.0 * i}
    values |= {"POLNGRP": len(degrees)} | {f"POLDEG{i}": degree for i, degree in enumerate(degrees, 1)}
    values |= others
    return {keyword: value for keyword, value in values.items() if value is not None}


def test_the_real_model_equals_the_referee():
    assert_equals_referee(DECAM)
    model = read_psf(DECAM)
    assert (model.degree, model.n_star, model.interpolant) == (2, 483, "lanczos4")
    assert (model.chi2, model.fwhm) == (0.99445946, 4.58513832)


def test_the_real_model_has_the_shape_of_a_real_star():
    # Of that CCD at (1195.64, 1276.63), 1-based, measured by adaptive moments in GalSim's test suite.
    stamp = read_psf(DECAM).draw(np.array([1194.64074707]), np.array([1275.63427734]), 33)[0]
    moments = galsim.hsm.FindAdaptiveMom(galsim.Image(np.ascontiguousarray(stamp)))
    assert moments.moments_sigma == pytest.approx(1.80668628, abs=0.02)
    assert moments.observed_shape.g1 == pytest.approx(0.0221043, abs=0.01)
    assert moments.observed_shape.g2 == pytest.approx(-0.1309252, abs=0.01)


@pytest.mark.parametrize("degree", [0, 1, 3, 6])
def test_what_is_written_equals_the_referee(tmp_path, degree):
    write_psf(tmp_path / "model.psf", make_model(degree), overwrite=False)
    assert_equals_referee(tmp_path / "model.psf")


@pytest.mark.parametrize("interpolant", ["lanczos4", "kaiser6", "lanczos7"])
def test_what_is_written_is_read_back(tmp_path, interpolant):
    model = make_model(3, size=31, sampling=0.45, interpolant=interpolant)
    write_psf(tmp_path / "model.psf", model, overwrite=False)
    back = read_psf(tmp_path / "model.psf")
    assert np.array_equal(back.coefficients, model.coefficients)
    assert replace(back, coefficients=model.coefficients) == model


def test_the_real_model_survives_a_round_trip(tmp_path):
    write_psf(tmp_path / "model.psf", read_psf(DECAM), overwrite=False)
    assert np.array_equal(images_of(read_psf(tmp_path / "model.psf")), images_of(read_psf(DECAM)))


def test_a_model_without_numbers_of_its_fit_can_be_written(tmp_path):
    model = replace(make_model(1), chi2=float("nan"), fwhm=float("nan"))
    write_psf(tmp_path / "model.psf", model, overwrite=False)
    assert read_psf(tmp_path / "model.psf").chi2 == 0.0


def test_a_file_is_replaced_only_on_request(tmp_path):
    path = tmp_path / "model.psf"
    write_psf(path, make_model(0), overwrite=False)
    with pytest.raises(ConfigError, match=r"model.psf is already there; give --overwrite"):
        write_psf(path, make_model(1), overwrite=False)
    assert read_psf(path).degree == 0
    write_psf(path, make_model(1), overwrite=True)
    assert read_psf(path).degree == 1
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere/model.psf: cannot be written"):
        write_psf(tmp_path / "nowhere" / "model.psf", make_model(0), overwrite=False)


@pytest.mark.parametrize(
    "names",
    [
        ("X_IMAGE", "Y_IMAGE"),
        ("XWIN_IMAGE", "YWIN_IMAGE"),
        ("XPSF_IMAGE", "YPSF_IMAGE"),
        ("X_IMAGE_DBL", "Y_IMAGE_DBL"),
    ],
)
def test_positions_have_many_names_and_either_order(tmp_path, names):
    basis = np.random.default_rng(0).normal(1, 0.1, (6, 9, 9))
    direct = read_psf(write_file(tmp_path / "xy.psf", basis, cards(names, degrees=(2,))))
    assert (direct.zero, direct.scale) == ((100.0, 200.0), (1000.0, 2000.0))
    # The same polynomial with y first: 1, y, y^2, x, xy, x^2.
    swapped = cards(names[::-1], degrees=(2,), POLZERO1=200.0, POLSCAL1=2000.0, POLZERO2=100.0, POLSCAL2=1000.0)
    turned = read_psf(write_file(tmp_path / "yx.psf", basis[[0, 3, 5, 1, 4, 2]], swapped))
    assert (turned.zero, turned.scale) == (direct.zero, direct.scale)
    assert np.array_equal(turned.coefficients, direct.coefficients)


@pytest.mark.parametrize(
    "no_degree", [{"POLNAXIS": 0}, {"POLNAXIS": 0, "POLDEG1": None, "POLNGRP": None}, {"POLDEG1": None}, {"POLDEG1": 0}]
)
def test_a_constant_model(tmp_path, no_degree):
    basis = np.random.default_rng(0).normal(1, 0.1, (1, 9, 9))
    model = read_psf(write_file(tmp_path / "model.psf", basis, cards(**no_degree)))
    assert model.degree == 0
    assert np.array_equal(images_of(model), np.broadcast_to(basis.astype(np.float32), (100, 9, 9)))


def test_a_constant_model_may_have_two_axes(tmp_path):
    basis = np.random.default_rng(0).normal(1, 0.1, (9, 11))
    model = read_psf(write_file(tmp_path / "model.psf", basis, cards(POLNAXIS=0)))
    assert model.coefficients.shape == (1, 9, 11)


@pytest.mark.parametrize(("name", "axis"), [("XWIN_IMAGE", 0), ("YWIN_IMAGE", 1)])
def test_a_model_of_one_coordinate(tmp_path, name, axis):
    basis = np.random.default_rng(0).normal(1, 0.1, (4, 9, 9)).astype(np.float32)
    model = read_psf(write_file(tmp_path / "model.psf", basis, cards((name,), (1,), degrees=(3,))))
    t = (POSITIONS[:, axis] + 1 - 100.0) / 1000.0
    truth = np.tensordot(np.stack([t**k for k in range(4)], axis=-1), basis.astype(float), 1)
    np.testing.assert_allclose(images_of(model), truth, rtol=1e-12)


@pytest.mark.parametrize("degrees", [(2, 1), (1, 3), (0, 2), (3, 0)])
def test_each_coordinate_may_have_a_degree_of_its_own(tmp_path, degrees):
    # PSFEx's order: the first variable runs fastest.
    powers = [(p, q) for q, p in product(range(degrees[1] + 1), range(degrees[0] + 1))]
    basis = np.random.default_rng(0).normal(1, 0.1, (len(powers), 9, 9)).astype(np.float32)
    model = read_psf(write_file(tmp_path / "model.psf", basis, cards(groups=(1, 2), degrees=degrees)))
    assert model.degree == sum(degrees)
    x, y = (POSITIONS + 1 - (100.0, 200.0)).T / np.array([[1000.0], [2000.0]])
    truth = np.tensordot(np.stack([x**p * y**q for p, q in powers], axis=-1), basis.astype(float), 1)
    np.testing.assert_allclose(images_of(model), truth, rtol=0, atol=1e-12 * np.abs(truth).max())


@pytest.mark.parametrize("shape", [(24, 24), (24, 25), (25, 24)])
def test_a_grid_of_even_size_is_centred_on_pixel_n_over_2(tmp_path, shape):
    basis = np.zeros((1, *shape))
    basis[0, shape[0] // 2, shape[1] // 2] = 1.0
    model = read_psf(write_file(tmp_path / "model.psf", basis, cards(degrees=(0,), PSF_SAMP=1.0)))
    stamp = model.draw(np.zeros(1), np.zeros(1), 21)[0]
    assert np.unravel_index(stamp.argmax(), stamp.shape) == (10, 10)
    assert stamp.max() == pytest.approx(1.0)


def test_one_of_several_models(tmp_path):
    path = tmp_path / "models.psf"
    write_file(path, np.full((1, 9, 9), 1.0), cards(degrees=(0,)))
    with fitsio.FITS(str(path), "rw") as file:
        file.write_table(np.array([(np.full((1, 9, 9), 2.0),)], [("PSF_MASK", "f4", (1, 9, 9))]), extname="PSF_DATA")
        for keyword, value in cards(degrees=(0,)).items():
            file[-1].write_key(keyword, value)
    with pytest.raises(DataError, match=r"models of 2 images; one must be asked for"):
        read_psf(path)
    assert read_psf(path, image=1).coefficients[0, 0, 0] == 2.0
    with pytest.raises(DataError, match=r"no model 2; the file has 2, from 0"):
        read_psf(path, image=2)


NINE = np.ones((3, 9, 9))
WRONG = {
    "another context": (NINE, cards(("X_IMAGE", "MAG_AUTO")), "depends on MAG_AUTO, which is no position.*PSFVAR_KEYS"),
    "a header's context": (NINE, cards((":AIRMASS", "Y_IMAGE")), "depends on :AIRMASS"),
    "the sky": (NINE, cards(("ALPHA_J2000", "DELTA_J2000")), "depends on ALPHA_J2000"),
    "x twice": (NINE, cards(("X_IMAGE", "XWIN_IMAGE")), "depends on x twice"),
    "a third variable": (
        np.ones((4, 9, 9)),
        cards(("X_IMAGE", "Y_IMAGE", "MAG_AUTO"), (1, 1, 1)),
        "depends on MAG_AUTO",
    ),
    "too few images": (np.ones((5, 9, 9)), cards(degrees=(2,)), "5 basis images; .* has 6 terms"),
    "too many images": (np.ones((7, 9, 9)), cards(degrees=(2,)), "7 basis images; .* has 6 terms"),
    "another shape": (NINE, cards(PSFAXIS1=11), r"shape \(3, 9, 9\), the header says \[3, 9, 11\]"),
    "four axes": (np.ones((1, 3, 9, 9)), cards(), "shape"),
    "no sampling": (NINE, cards(PSF_SAMP=None), "the keyword PSF_SAMP is missing"),
    "sampling 0": (NINE, cards(PSF_SAMP=0.0), "PSF_SAMP is 0"),
    "negative sampling": (NINE, cards(PSF_SAMP=-1.0), "PSF_SAMP is -1"),
    "sampling in words": (NINE, cards(PSF_SAMP="one"), "PSF_SAMP is 'one', not a number"),
    "scale 0": (NINE, cards(POLSCAL2=0.0), "POLSCAL2 is 0: all stars were at one place"),
    "no name": (NINE, cards(POLNAME2=None), "the keyword POLNAME2 is missing"),
    "no number of axes": (NINE, cards(POLNAXIS=None), "the keyword POLNAXIS is missing"),
    "half a degree": (NINE, cards(degrees=(1.5,)), "POLDEG1 is 1.5, not a whole number"),
    "negative degree": (NINE, cards(degrees=(-1,)), r"degrees \[-1\]"),
    "huge degree": (NINE, cards(degrees=(10**6,)), r"degrees \[1000000\]; 0 to 20"),
    "NaN": (NINE * np.nan, cards(), "pixels that are not finite"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_model_that_cannot_be_used_is_named_with_its_reason(tmp_path, what):
    basis, header, message = WRONG[what]
    with pytest.raises(DataError, match=f"model.psf.*{message}"):
        read_psf(write_file(tmp_path / "model.psf", basis, header))


def test_a_missing_file(tmp_path):
    with pytest.raises(MissingInputError, match=r"gone.psf"):
        read_psf(tmp_path / "gone.psf")


@pytest.mark.parametrize("content", [b"", b"not FITS" * 1000])
def test_a_file_that_is_not_fits(tmp_path, content):
    (tmp_path / "model.psf").write_bytes(content)
    with pytest.raises(DataError, match=r"model.psf"):
        read_psf(tmp_path / "model.psf")


def test_a_table_of_something_else(tmp_path):
    path = write_file(tmp_path / "model.psf", NINE, cards(), column="OTHER", extname="OBJECTS")
    with pytest.raises(DataError, match=r"model.psf: there is no table PSF_DATA with a column PSF_MASK"):
        read_psf(path)
    path = write_file(path, NINE, cards(), column="OTHER")
    with pytest.raises(DataError, match=r"model.psf.*column PSF_MASK cannot be read"):
        read_psf(path)


def test_a_table_without_rows(tmp_path):
    content = bytearray(DECAM.read_bytes())
    place = content.index(b"NAXIS2  =", content.index(b"XTENSION"))
    content[place : place + 80] = b"NAXIS2  =                    0".ljust(80)
    (tmp_path / "model.psf").write_bytes(content)
    with pytest.raises(DataError, match=r"model.psf.*0 rows instead of one"):
        read_psf(tmp_path / "model.psf")


@pytest.mark.parametrize("kept", [0.1, 0.2, 0.5, 0.9])
def test_a_truncated_file(tmp_path, kept):
    content = DECAM.read_bytes()
    (tmp_path / "model.psf").write_bytes(content[: int(kept * len(content))])
    with pytest.raises(DataError, match=r"model.psf.*(truncated|no table)"):
        read_psf(tmp_path / "model.psf")


def test_damaged_headers_end_in_an_error_or_a_model(tmp_path):
    # Whatever stands in the header: no other exception, no endless work.
    content = DECAM.read_bytes()
    rng = np.random.default_rng(3)
    start = content.index(b"XTENSION")
    outcomes = set()
    for _ in range(200):
        damaged = bytearray(content)
        for place in rng.integers(start, start + 40 * 80, 3):
            damaged[place] = rng.integers(32, 127)
        (tmp_path / "model.psf").write_bytes(damaged)
        try:
            read_psf(tmp_path / "model.psf")
            outcomes.add("model")
        except DataError:
            outcomes.add("error")
    assert outcomes == {"model", "error"}


def write_stars(path, **columns):
    table = np.zeros(3, [(name, values.dtype) for name, values in columns.items()])
    for name, values in columns.items():
        table[name] = values
    with fitsio.FITS(str(path), "rw", clobber=True) as file:
        file.write_table(table, extname="LDAC_OBJECTS")
    return path


STARS = {
    "SOURCE_NUMBER": np.array([1, 2, 4], dtype="i4"),
    "NORM_PSF": np.array([10.0, 20.0, 40.0], dtype="f4"),
    "CHI2_PSF": np.array([1.0, 1.5, 0.5], dtype="f4"),
}


def test_what_psfex_says_about_stars(tmp_path):
    stars = read_used_stars(write_stars(tmp_path / "out.cat", **STARS, FLAGS_PSF=np.array([0, 2, 0], dtype="i4")))
    assert stars.tolist() == [(1, 0, 1.0, 10.0), (2, 2, 1.5, 20.0), (4, 0, 0.5, 40.0)]
    # Releases before 3.20 list the stars that were used, and no others.
    assert not read_used_stars(write_stars(tmp_path / "out.cat", **STARS))["FLAGS_PSF"].any()


def test_a_catalogue_of_stars_that_cannot_be_used(tmp_path):
    with pytest.raises(MissingInputError, match=r"gone.cat"):
        read_used_stars(tmp_path / "gone.cat")
    with pytest.raises(DataError, match=r"0 tables of stars instead of one"):
        read_used_stars(DECAM)
    few = {name: values for name, values in STARS.items() if name != "NORM_PSF"}
    path = write_stars(tmp_path / "out.cat", **few)
    with pytest.raises(DataError, match=r"out.cat.*the columns NORM_PSF are missing; fit again"):
        read_used_stars(path)
    path = write_stars(path, **STARS)
    path.write_bytes(path.read_bytes()[:-2880])
    with pytest.raises(DataError, match=r"out.cat.*truncated"):
        read_used_stars(path)
