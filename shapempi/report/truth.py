"""A catalogue against the truth of a simulation: completeness, positions, photometry, classes, shear."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from shapempi.errors import DataError
from shapempi.flags import NO_RESULT
from shapempi.report.shear import ShearBias, ShearResult, mean_shear, shear_bias
from shapempi.wcs import Wcs, unit_vectors

__all__ = ["MagnitudeBin", "TruthReport", "compare", "compare_opposite", "match_truth"]

#: Largest distance between a detection and the true object that it is matched to [arcsec].
MATCH_RADIUS = 1.0

#: Signal-to-noise ratio above which an object counts for completeness, and above which it is bright.
S2N_COMPLETE, S2N_BRIGHT = 20.0, 100.0


@dataclass(frozen=True)
class MagnitudeBin:
    """True objects of half a magnitude.

    Attributes
    ----------
    bright, faint : float
        Limits [mag].
    n_true : int
        True objects in the tiles.
    completeness : float
        Fraction that was detected.
    star_purity, galaxy_purity : float
        Fraction of detected stars (galaxies) that are classed as such; NaN without any.
    position_rms : float
        One-dimensional rms distance of detection and truth [arcsec].
    mag_offset : float
        Median of MAG_AUTO minus true magnitude.
    """

    bright: float
    faint: float
    n_true: int
    completeness: float
    star_purity: float
    galaxy_purity: float
    position_rms: float
    mag_offset: float


@dataclass(frozen=True)
class TruthReport:
    """What the comparison found; fractions are NaN where there was nothing to count.

    Attributes
    ----------
    n_object, n_matched : int
        Rows of the catalogue, and those that match a true object.
    completeness : float
        Fraction of true objects above a signal-to-noise ratio of 20 that were detected.
    n_complete : int
        Number of those true objects.
    position_rms : float
        One-dimensional rms distance for objects above a signal-to-noise ratio of 100 that have no extraction flag and
        no masked pixel [arcsec].
    star_purity, galaxy_purity : float
        Fraction of matched stars (galaxies) above a signal-to-noise ratio of 20 that SPREAD_CLASS classes as such;
        saturated stars do not count.
    size_star_purity, size_galaxy_purity : float
        The same by `size_class`, the class from the joint fit.
    measured : float
        Fraction of matched galaxies above a signal-to-noise ratio of 20 with a shape.
    bins : tuple of MagnitudeBin
        By magnitude.
    shear : ShearResult or None
        None without a measured galaxy.
    """

    n_object: int
    n_matched: int
    completeness: float
    n_complete: int
    position_rms: float
    star_purity: float
    galaxy_purity: float
    size_star_purity: float
    size_galaxy_purity: float
    measured: float
    bins: tuple[MagnitudeBin, ...]
    shear: ShearResult | None

    def lines(self) -> list[str]:
        """Return the report as lines of text."""
        text = [
            f"objects in the catalogue            {self.n_object}, {self.n_matched} of them match the truth",
            f"completeness at S/N > {S2N_COMPLETE:.0f}            {self.completeness:.3f} of {self.n_complete}",
            f"position rms at S/N > {S2N_BRIGHT:.0f}           {self.position_rms:.4f} arcsec per axis, unflagged",
            f"stars classed as stars              {self.star_purity:.3f} at S/N > {S2N_COMPLETE:.0f}, "
            f"by size_class {self.size_star_purity:.3f}",
            f"galaxies classed as galaxies        {self.galaxy_purity:.3f} at S/N > {S2N_COMPLETE:.0f}, "
            f"by size_class {self.size_galaxy_purity:.3f}",
            f"galaxies with a shape               {self.measured:.3f} at S/N > {S2N_COMPLETE:.0f}",
            "",
            '   mag        n  complete  stars ok  galaxies ok  position["]  MAG_AUTO - true',
        ]
        text += [
            f"{b.bright:5.1f}-{b.faint:4.1f} {b.n_true:5d} {b.completeness:9.3f} {b.star_purity:9.3f} "
            f"{b.galaxy_purity:12.3f} {b.position_rms:12.4f} {b.mag_offset:16.3f}"
            for b in self.bins
        ]
        if self.shear is not None:
            text += ["", *self.shear.lines()]
        return text


def compare(catalogue: np.ndarray, truth: np.ndarray, tiles: list[tuple[Wcs, tuple[int, int]]]) -> TruthReport:
    """Compare a catalogue with the truth.

    Parameters
    ----------
    catalogue : ndarray
        Rows of the catalogue (`shapempi.catalog.COLUMNS`).
    truth : ndarray of io.truth.TRUTH_DTYPE
        The true objects.
    tiles : list of (Wcs, (ny, nx))
        The tiles of the catalogue: true objects outside them do not count.

    Returns
    -------
    TruthReport
        The comparison.
    """
    truth = truth[_inside(truth, tiles)]
    near, distance = match_truth(catalogue, truth)
    found = near >= 0
    rows = catalogue[near[found]]
    true_rows = truth[found]
    s2n = _true_s2n(rows["SNR_WIN"], true_rows["mag"], truth["mag"], found)
    complete = s2n > S2N_COMPLETE
    counted = complete[found]
    is_star, saturated = true_rows["is_star"], (rows["FLAGS"] & 4) != 0
    clean = (rows["FLAGS"] == 0) & (rows["IMAFLAGS_ISO"] == 0)
    bright = (s2n[found] > S2N_BRIGHT) & clean
    galaxies = ~is_star
    good = (rows["shape_flags"] & int(NO_RESULT)) == 0
    return TruthReport(
        n_object=len(catalogue),
        n_matched=int(found.sum()),
        completeness=_mean(found[complete]),
        n_complete=int(complete.sum()),
        position_rms=_rms(distance[found][bright]),
        star_purity=_mean(rows["SPREAD_CLASS"][is_star & counted & ~saturated] == 0),
        galaxy_purity=_mean(rows["SPREAD_CLASS"][galaxies & counted] == 1),
        size_star_purity=_mean(rows["size_class"][is_star & counted & ~saturated] == 0),
        size_galaxy_purity=_mean(rows["size_class"][galaxies & counted] == 1),
        measured=_mean(good[galaxies & counted]),
        bins=tuple(_bins(truth, found, rows, distance[found])),
        shear=mean_shear(rows[galaxies & good], true_rows[galaxies & good]),
    )


def compare_opposite(
    first: tuple[np.ndarray, np.ndarray],
    second: tuple[np.ndarray, np.ndarray],
    tiles: list[tuple[Wcs, tuple[int, int]]],
) -> ShearBias | None:
    """Return the bias of the shear from two simulations of one sky, one with the opposite shear of the other.

    Parameters
    ----------
    first, second : tuple of ndarray
        Catalogue and truth of each simulation, as in `compare`.
    tiles : list of (Wcs, (ny, nx))
        The tiles of both.

    Returns
    -------
    ShearBias or None
        None with fewer than ten galaxies that are measured in both.

    Raises
    ------
    DataError
        If the two are not the same sky with opposite shears.
    """
    truths = [truth for _, truth in (first, second)]
    same = len(truths[0]) == len(truths[1]) and all(
        np.array_equal(truths[0][name], sign * truths[1][name])
        for name, sign in (("ra", 1), ("dec", 1), ("mag", 1), ("pair", 1), ("g1", -1), ("g2", -1))
    )
    if not same:
        raise DataError("the two simulations are not the same sky with opposite shears")
    used = ~truths[0]["is_star"] & _inside(truths[0], tiles)
    matched = []
    for (catalogue, _), truth in zip((first, second), truths, strict=True):
        near, _ = match_truth(catalogue, truth)
        rows = catalogue[near] if len(catalogue) else np.zeros(len(truth), catalogue.dtype)
        used &= (near >= 0) & ((rows["shape_flags"] & int(NO_RESULT)) == 0)
        matched.append(rows)
    return shear_bias(matched[0][used], matched[1][used], truths[0][used])


def _inside(truth: np.ndarray, tiles: list[tuple[Wcs, tuple[int, int]]]) -> np.ndarray:
    """Tell which true objects lie on a tile, at least ten pixels from its border."""
    inside = np.zeros(len(truth), dtype=bool)
    for wcs, (ny, nx) in tiles:
        x, y = wcs.sky_to_pixel(truth["ra"], truth["dec"])
        inside |= (x > 10) & (x < nx - 11) & (y > 10) & (y < ny - 11)
    return inside


def match_truth(catalogue: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for each true object the nearest detection (-1 for none) and the distance [arcsec]."""
    if len(catalogue) == 0 or len(truth) == 0:
        return np.full(len(truth), -1), np.full(len(truth), np.inf)
    chord, near = cKDTree(unit_vectors(catalogue["ra"], catalogue["dec"])).query(
        unit_vectors(truth["ra"], truth["dec"])
    )
    distance = np.degrees(2 * np.arcsin(chord / 2)) * 3600
    return np.where(distance < MATCH_RADIUS, near, -1), distance


def _true_s2n(s2n: np.ndarray, mag: np.ndarray, all_mag: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Predict signal-to-noise ratios from true magnitudes by the median relation of the detections.

    An object's own measured value would select on its noise, and the missed ones have none.  Only magnitudes at which
    nearly everything is found show the relation; fainter it goes on as flux over the noise of the sky.
    """
    step = 0.5
    place, place_all = np.floor(mag / step), np.floor(all_mag / step)
    good = np.isfinite(s2n) & (s2n > 0)
    at, level = [], []
    for index in np.unique(place[good]):
        members = good & (place == index)
        if members.sum() >= 3 and found[place_all == index].mean() >= 0.9:
            at.append(float(np.median(mag[members])))
            level.append(float(np.median(np.log10(s2n[members]))))
    if not at:
        return np.full(len(all_mag), np.nan)
    return 10 ** np.where(all_mag > at[-1], level[-1] - 0.4 * (all_mag - at[-1]), np.interp(all_mag, at, level))


def _bins(truth: np.ndarray, found: np.ndarray, rows: np.ndarray, distance: np.ndarray) -> list[MagnitudeBin]:
    """Compare in bins of half a magnitude."""
    place_all = np.floor(truth["mag"] * 2).astype(int)
    place = place_all[found]
    is_star = truth["is_star"][found]
    result = []
    for index in np.unique(place_all):
        here, here_all = place == index, place_all == index
        result.append(
            MagnitudeBin(
                bright=index / 2,
                faint=index / 2 + 0.5,
                n_true=int(here_all.sum()),
                completeness=_mean(found[here_all]),
                star_purity=_mean(rows["SPREAD_CLASS"][here & is_star] == 0),
                galaxy_purity=_mean(rows["SPREAD_CLASS"][here & ~is_star] == 1),
                position_rms=_rms(distance[here]),
                mag_offset=_median((rows["MAG_AUTO"] - truth["mag"][found])[here]),
            )
        )
    return result


def _mean(values: np.ndarray) -> float:
    """Return the mean, NaN of nothing."""
    return float(np.mean(values)) if len(values) else float("nan")


def _median(values: np.ndarray) -> float:
    """Return the median of the finite values, NaN of nothing."""
    values = values[np.isfinite(values)]
    return float(np.median(values)) if len(values) else float("nan")


def _rms(distance: np.ndarray) -> float:
    """Return the rms per axis of two-dimensional distances, NaN of nothing."""
    return float(np.sqrt(np.mean(distance**2) / 2)) if len(distance) else float("nan")
