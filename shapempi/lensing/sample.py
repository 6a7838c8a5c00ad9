"""The galaxies of a catalogue, taken up part by part: a catalogue is larger than memory, its galaxies need not be.

First a `Preview` counts the cuts and keeps some galaxies, by which patches and bins are chosen; then a `Sample` takes
up the sums of all of them, and what correlations need.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from shapempi.catalog import SHEAR_TYPES
from shapempi.lensing.bins import QUANTITIES, Axis, BinnedSums
from shapempi.lensing.cuts import CutParams, cut_steps, selected, weights
from shapempi.lensing.patches import Patches
from shapempi.measure.response import ResponseSum

__all__ = ["GALAXY_DTYPE", "Preview", "Sample"]

#: Galaxies that patches and bins are chosen by.
_N_PREVIEW = 200_000

#: A galaxy as correlations need it: position [deg], shape without shear (not calibrated), weight, patch, PSF.
GALAXY_DTYPE = np.dtype(
    [
        *(("ra", "f8"), ("dec", "f8"), ("g1", "f8"), ("g2", "f8"), ("weight", "f4"), ("patch", "i2")),
        *(("psf_g1", "f4"), ("psf_g2", "f4"), ("psf_T", "f4")),
    ]
)

_PREVIEW_DTYPE = np.dtype([("ra", "f8"), ("dec", "f8"), *((name, "f8") for name in QUANTITIES)])


class Preview:
    """Numbers after each cut, and a random part of the galaxies.

    Parameters
    ----------
    cuts : CutParams
        What a galaxy is.
    star_mag : float
        Stars brighter than this are kept, too [mag].
    rng : numpy Generator
        Chooses the galaxies.

    Attributes
    ----------
    n_row : int
        Rows of the catalogue.
    counts : dict of str to int
        Rows after each cut and all before it.
    stars : list of ndarray of float64 [n, 2]
        ra, dec [deg] of bright stars, by SPREAD_CLASS.
    """

    def __init__(self, cuts: CutParams, star_mag: float, rng: np.random.Generator) -> None:
        self._cuts, self._star_mag, self._rng = cuts, star_mag, rng
        self.n_row = 0
        self.counts: dict[str, int] = {}
        self.stars: list[np.ndarray] = []
        self._kept = np.zeros(0, _PREVIEW_DTYPE)
        self._order = np.zeros(0)

    def add(self, table: np.ndarray) -> None:
        """Add rows with `FIXED_COLUMNS` and `NOSHEAR_COLUMNS`."""
        self.n_row += len(table)
        passed = np.ones(len(table), dtype=bool)
        steps = cut_steps(table, "noshear", self._cuts)
        for step in steps:
            passed &= step.passed
            self.counts[step.name] = self.counts.get(step.name, 0) + int(passed.sum())
        star = steps[0].passed & (table["SPREAD_CLASS"] == 0) & (table["MAG_AUTO"] < self._star_mag)
        self.stars.append(np.stack([table["ra"][star], table["dec"][star]], axis=1))
        rows = np.zeros(int(passed.sum()), _PREVIEW_DTYPE)
        chosen = table[passed]
        rows["ra"], rows["dec"] = chosen["ra"], chosen["dec"]
        for name, quantity in QUANTITIES.items():
            rows[name] = quantity.of(chosen, "noshear")
        self._kept = np.concatenate([self._kept, rows])
        self._order = np.concatenate([self._order, self._rng.random(len(rows))])
        if len(self._kept) > _N_PREVIEW:
            best = np.sort(np.argpartition(self._order, _N_PREVIEW)[:_N_PREVIEW])
            self._kept, self._order = self._kept[best], self._order[best]

    @property
    def n_galaxy(self) -> int:
        """Galaxies after all cuts."""
        return list(self.counts.values())[-1] if self.counts else 0

    @property
    def galaxies(self) -> np.ndarray:
        """All galaxies, or 200 000 of them: ra, dec [deg] and a column for each of `QUANTITIES`."""
        return self._kept


class Sample:
    """Sums of response and mean shear, and the galaxies for correlations.

    Parameters
    ----------
    cuts : CutParams
        What a galaxy is.
    patches : Patches
        Patches of the sky.
    axes : mapping of str to Axis
        Bins of each quantity; s2n and size_ratio are binned together, too.
    step : float
        Shear of the types.
    fraction : float
        Part of the galaxies that is kept for correlations; the sums are of all.
    rng : numpy Generator
        Chooses them.

    Attributes
    ----------
    total : ResponseSum
        Of all galaxies.
    bins : dict of str to BinnedSums
        By quantity.
    grid : BinnedSums
        By s2n and size_ratio.
    """

    def __init__(
        self,
        cuts: CutParams,
        patches: Patches,
        axes: Mapping[str, Axis],
        step: float,
        *,
        fraction: float,
        rng: np.random.Generator,
    ) -> None:
        self._cuts, self._patches = cuts, patches
        self._names: Sequence[str] = [f"{i:05d}" for i in range(len(patches))]
        self._fraction, self._rng = fraction, rng
        everything = BinnedSums([Axis("psf_T", np.array([-np.inf, np.inf]))], step)
        self.total: ResponseSum = everything.sums[0]
        self.bins = {name: BinnedSums([axis], step) for name, axis in axes.items()}
        self.grid = BinnedSums([axes["s2n"], axes["size_ratio"]], step)
        self._all = (everything, *self.bins.values(), self.grid)
        self._galaxies: list[np.ndarray] = []

    def add(self, table: np.ndarray) -> None:
        """Add rows with `FIXED_COLUMNS` and `TYPE_COLUMNS`."""
        select = {kind: selected(table, kind, self._cuts) for kind in SHEAR_TYPES}
        used = np.logical_or.reduce(list(select.values()))
        table, select = table[used], {kind: chosen[used] for kind, chosen in select.items()}
        if not len(table):
            return
        weight = {kind: weights(table, kind, self._cuts) for kind in SHEAR_TYPES}
        patch = self._patches.of(table["ra"], table["dec"])
        for sums in self._all:
            sums.add(table, select, weight, patch, self._names)
        kept = np.flatnonzero(select["noshear"] & (weight["noshear"] > 0))
        if self._fraction < 1:
            kept = kept[self._rng.random(len(kept)) < self._fraction]
        rows = np.zeros(len(kept), GALAXY_DTYPE)
        for name in ("ra", "dec", "psf_g1", "psf_g2", "psf_T"):
            rows[name] = table[name][kept]
        rows["g1"], rows["g2"] = table["g1_noshear"][kept], table["g2_noshear"][kept]
        rows["weight"], rows["patch"] = weight["noshear"][kept], patch[kept]
        self._galaxies.append(rows)

    def galaxies(self) -> np.ndarray:
        """Return the galaxies for correlations, ndarray of GALAXY_DTYPE [n]."""
        return np.concatenate([np.zeros(0, GALAXY_DTYPE), *self._galaxies])
