"""Real stars: what PSFEx makes of them when it is driven from here, next to the model that DES published of them."""

from pathlib import Path

import numpy as np
import pytest

from shapempi.engines.psf import make_engine
from shapempi.engines.psf_params import PsfParams
from shapempi.measure.moments import adaptive_moments
from shapempi.measure.psf.outcome import PsfStatus
from shapempi.measure.psf.sample import StarSample
from shapempi.psf import PsfModel

DATA = Path(__file__).parents[1] / "data" / "decam_stars.npz"
GAIN = 4.0


@pytest.fixture(scope="module")
def decam():
    """All 117 stars, and PSFEx's model of 105 of them (sampling 0.5, centres fitted, flux in an aperture)."""
    with np.load(DATA) as data:
        stored, table, basis, header = (data[name] for name in ("vignets", "table", "psfex", "psfex_header"))
    bad = stored == -32768
    vignets = np.where(bad, -1e30, 0.5 * stored)
    rim = np.concatenate([vignets[:, :3], vignets[:, -3:]]).ravel()
    rim = rim[rim > -1e29]
    sky = 1.4826 * np.median(np.abs(rim - np.median(rim)))
    x, y = table["XWIN_IMAGE"] - 1.0, table["YWIN_IMAGE"] - 1.0
    # SExtractor centres its vignets on the rounded isophotal position.
    offset = np.stack([x + 1 - np.rint(table["X_IMAGE"]), y + 1 - np.rint(table["Y_IMAGE"])], axis=-1)
    flux = np.where(bad, 0.0, vignets).sum(axis=(1, 2))
    error = np.sqrt(np.abs(flux) / GAIN)
    stars = StarSample(vignets, np.where(bad, 0, sky**-2.0), x, y, offset, flux, error, (4096, 2048), GAIN)
    model = PsfModel(
        basis.astype(float), 2, tuple(header[:2]), tuple(header[2:4]), header[4], int(header[5]), header[6], header[7]
    )
    return stars, model


def test_psfex_makes_again_what_it_made_of_real_stars(decam):
    stars, published = decam
    assert np.abs(stars.offset).max() > 0.55  # SExtractor's two centres differ by more than half a pixel
    settings = {"recenter": True, "flux": "FLUX_APER"}
    fit = make_engine(PsfParams(engine="psfex", size=41, sampling=0.5, psfex=settings)).fit(stars)
    assert fit.status is PsfStatus.ACCEPTED
    assert (fit.model.degree, fit.model.sampling) == (2, 0.5)
    assert fit.model.n_star >= 105
    # More stars than PSFEx was let have, the faintest among them: not the same number, but near.
    assert fit.model.chi2 == pytest.approx(published.chi2, abs=0.03)
    ours, theirs = (adaptive_moments(model.draw(stars.x, stars.y, 41)) for model in (fit.model, published))
    dg = np.concatenate([ours[name] - theirs[name] for name in ("g1", "g2")])
    dT = (ours["sigma"] / theirs["sigma"]) ** 2 - 1
    assert np.sqrt(np.mean(dg**2)) < 0.004
    assert abs(dT.mean()) < 0.005
    assert dT.std() < 0.006
    assert np.abs([ours["x"].mean(), ours["y"].mean()]).max() < 0.02


def test_piff_and_psfex_agree_on_real_stars(decam):
    stars, published = decam
    fit = make_engine(PsfParams(engine="piff", size=41, sampling=1.0, piff={"extent": 17.0})).fit(stars)
    assert fit.status is PsfStatus.ACCEPTED
    assert fit.used.sum() > 95
    ours, theirs = (adaptive_moments(model.draw(stars.x, stars.y, 41)) for model in (fit.model, published))
    dg = np.concatenate([ours[name] - theirs[name] for name in ("g1", "g2")])
    assert np.sqrt(np.mean(dg**2)) < 0.008
    assert np.mean((ours["sigma"] / theirs["sigma"]) ** 2 - 1) == pytest.approx(0.01, abs=0.015)
