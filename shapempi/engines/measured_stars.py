"""The stars of a sample that can be given to a program of others, and what such programs want to know of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shapempi.measure.moments import adaptive_moments
from shapempi.measure.psf.outcome import PsfStatus
from shapempi.measure.psf.params import PsfModelParams
from shapempi.measure.psf.sample import StarSample
from shapempi.measure.psf.stars import FWHM_PER_SIGMA, normalisation

__all__ = ["MeasuredStars"]

#: So many stars must not lie on a line (three and fewer hardly can do otherwise): rms distance from it [half CCD].
_LINE, _NARROW = 4, 0.01

#: What PSFEx takes as a pixel without data.
_MARK = -1e30


@dataclass(frozen=True)
class MeasuredStars:
    """Stars with adaptive moments and positive flux, ordered by their positions.

    Attributes
    ----------
    sample : StarSample
        These stars; the pixels that cannot be used have weight 0 and value 0.
    rows : ndarray of int [n]
        Their places in the sample that they are from.
    sigma : ndarray of float64 [n]
        Their sizes by adaptive moments [pixel].
    n_given : int
        Stars in the sample that they are from.
    """

    sample: StarSample
    rows: np.ndarray
    sigma: np.ndarray
    n_given: int

    @classmethod
    def of(cls, sample: StarSample) -> MeasuredStars:
        """Choose the stars of a sample that can be measured; their order is that of their positions."""
        usable = sample.usable()
        data = np.where(usable, sample.vignets, 0.0).astype(float)
        weights = np.where(usable, sample.weights, 0.0).astype(float)
        moments = adaptive_moments(data, weights)
        numbers = (sample.x, sample.y, sample.offset[:, 0], sample.offset[:, 1], sample.flux, sample.flux_err)
        good = (moments["flag"] == 0) & np.all(np.isfinite(np.array(numbers, dtype=float)), axis=0) & (sample.flux > 0)
        ny, nx = usable.shape[1:]
        good &= (np.abs(sample.offset[:, 0]) < nx / 2) & (np.abs(sample.offset[:, 1]) < ny / 2)
        order = np.lexsort((sample.offset[:, 1], sample.offset[:, 0], sample.y, sample.x))
        rows = order[good[order]]
        chosen = sample[rows]
        cleaned = StarSample(
            data[rows],
            weights[rows],
            np.asarray(chosen.x, dtype=float),
            np.asarray(chosen.y, dtype=float),
            np.asarray(chosen.offset, dtype=float),
            np.asarray(chosen.flux, dtype=float),
            np.asarray(chosen.flux_err, dtype=float),
            sample.shape,
            float(sample.gain) if np.isfinite(sample.gain) else 0.0,
            sample.label,
        )
        return cls(cleaned, rows, np.asarray(moments["sigma"][rows], dtype=float), len(sample))

    def __len__(self) -> int:
        """Return the number of stars."""
        return len(self.rows)

    def refusal(self, form: PsfModelParams) -> tuple[PsfStatus, str] | None:
        """Return why no model can be made of these stars, or None if one can be tried."""
        acceptance = form.acceptance
        few = acceptance.too_few(self.n_given)
        few = few or acceptance.too_few(len(self), f"of {self.n_given} stars that can be measured")
        if few:
            return PsfStatus.FEW_STARS, few
        (zero_x, zero_y), (scale_x, scale_y) = normalisation(self.sample.shape)
        x, y = (self.sample.x + 1.0 - zero_x) / scale_x, (self.sample.y + 1.0 - zero_y) / scale_y
        narrowest = np.linalg.svd(np.stack([x - x.mean(), y - y.mean()]), compute_uv=False)[-1] / np.sqrt(len(x))
        if form.degree > 0 and len(self) >= _LINE and narrowest < _NARROW:
            where = f"the {len(self)} stars are at one place of the CCD or on a line"
            return PsfStatus.FIT_FAILED, f"{where}: a polynomial of degree {form.degree} cannot be fitted to them"
        return None

    @property
    def fwhm(self) -> float:
        """The FWHM of a Gaussian of the stars' median size [pixel]."""
        return float(FWHM_PER_SIGMA * np.median(self.sigma))

    @property
    def noise(self) -> float:
        """The standard deviation of a typical pixel [ADU], the stars' own photons included if the weights hold them."""
        return float(np.median(self.sample.weights[self.sample.weights > 0]) ** -0.5)

    def spread(self, values: np.ndarray, fill: float) -> np.ndarray:
        """Return values [n, ..] of these stars for all stars of the sample that they are from."""
        spread = np.full((self.n_given, *values.shape[1:]), fill, dtype=values.dtype)
        spread[self.rows] = values
        return spread

    def aperture_flux(self, diameter: float) -> np.ndarray:
        """Return the sum of the usable pixels in a circle around each star [ADU], the diameter in pixels."""
        ny, nx = self.sample.vignets.shape[1:]
        dx = np.arange(nx) - (nx - 1) / 2 - self.sample.offset[:, :1]
        dy = np.arange(ny) - (ny - 1) / 2 - self.sample.offset[:, 1:]
        inside = np.hypot(dx[:, None, :], dy[:, :, None]) < diameter / 2
        return np.sum(self.sample.vignets * inside, axis=(1, 2))

    def recentred(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the vignets as SExtractor cuts them: the star is less than half a pixel from the pixel n // 2.

        Returns
        -------
        vignets : ndarray of float32 [n, y, x]
            Moved by whole pixels where needed; -1e30 where there is no data.
        centre : ndarray of float64 [n, 2]
            (dx, dy): the star's centre minus that pixel, above -0.4999 and not above 0.5.
        """
        sample = self.sample
        ny, nx = sample.vignets.shape[1:]
        centre = sample.offset + np.array([(nx - 1) / 2 - nx // 2, (ny - 1) / 2 - ny // 2])
        moves = np.ceil(centre - 0.5).astype(int)
        marked = np.where(sample.weights > 0, sample.vignets, _MARK).astype(np.float32)
        vignets = np.full_like(marked, _MARK)
        for star, (move_x, move_y) in enumerate(moves):
            to_y, from_y = _overlap(move_y, ny)
            to_x, from_x = _overlap(move_x, nx)
            vignets[star, to_y, to_x] = marked[star, from_y, from_x]
        return vignets, np.maximum(centre - moves, -0.4999)


def _overlap(move: int, n: int) -> tuple[slice, slice]:
    """Return where the n pixels of an axis go to and come from when its content is moved back by some pixels."""
    move = int(np.clip(move, -n, n))
    return slice(max(-move, 0), n - max(move, 0)), slice(max(move, 0), n - max(-move, 0))
