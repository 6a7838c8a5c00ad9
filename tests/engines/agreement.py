"""What two engines detect in the same pixels, object by object, and how far they agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from shapempi.engines.detection import make_detector
from shapempi.engines.detection_params import DetectionEngineParams

#: Objects of both engines are the same if they are nearer than this and the nearest of each other [pixel].
LIMIT = 1.0
#: An object is disturbed if an unusable pixel is so near to one of its own [pixel].
NEAR = 2
BLENDED = 2


@dataclass(frozen=True)
class Agreement:
    """The objects of two engines.

    Attributes
    ----------
    native, program : structured ndarray
        The tables of several images, one after the other.
    rows : ndarray of int [n, 2]
        Which rows of the two are the same object.
    whole : ndarray of bool
        Which objects of the program have no unusable pixel in or beside them.
    """

    native: np.ndarray
    program: np.ndarray
    rows: np.ndarray
    whole: np.ndarray

    @classmethod
    def of(cls, source, frame, *, background=None, detection=None, **params):
        """Detect with both engines in an image, or in another one and measure in this."""
        found = [
            make_detector(DetectionEngineParams(engine=engine, **params), "detection").detect(
                source, frame, background=background, detection=detection
            )
            for engine in ("sep", "source-extractor")
        ]
        native, program = found
        unusable = ~(source.read(0, source.shape[0]).weight > 0)
        near = ndimage.maximum_filter(unusable, 2 * NEAR + 1)
        whole = ~np.isin(program.table["NUMBER"], np.unique(program.segmentation[near]))
        return cls(native.table, program.table, match(native.table, program.table), whole)

    def __add__(self, other):
        """Return the objects of both."""
        shift = np.array([len(self.native), len(self.program)])
        return Agreement(
            np.concatenate([self.native, other.native]),
            np.concatenate([self.program, other.program]),
            np.concatenate([self.rows, other.rows + shift]),
            np.concatenate([self.whole, other.whole]),
        )

    def matched(self, s2n):
        """Return which part of the program's objects above a signal-to-noise ratio is the native engine's, too, and
        the other way round."""
        parts = []
        for table, rows in ((self.program, self.rows[:, 1]), (self.native, self.rows[:, 0])):
            bright = table["FLUX_AUTO"] / table["FLUXERR_AUTO"] > s2n
            parts.append(np.isin(np.flatnonzero(bright), rows).mean())
        return parts

    def pairs(self, chosen=None, *, whole=True, blended=True):
        """Return the rows of the same objects in both tables.

        `chosen` takes the program's table and says which; `whole` leaves out objects with unusable pixels.
        """
        theirs = self.program[self.rows[:, 1]]
        keep = self.whole[self.rows[:, 1]] | (not whole)
        keep &= blended | (theirs["FLAGS"] & BLENDED == 0)
        if chosen is not None:
            keep &= chosen(theirs)
        return self.native[self.rows[keep, 0]], theirs[keep]


def match(a, b):
    """Return [n, 2] which rows of two tables are nearest to each other."""
    places = [np.column_stack([table["X_IMAGE"], table["Y_IMAGE"]]) for table in (a, b)]
    if not (len(a) and len(b)):
        return np.zeros((0, 2), int)
    distance, there = cKDTree(places[1]).query(places[0], distance_upper_bound=LIMIT)
    _, back = cKDTree(places[0]).query(places[1])
    near = np.flatnonzero(np.isfinite(distance))
    near = near[back[there[near]] == near]
    return np.column_stack([near, there[near]])


def s2n_above(limit):
    """Choose objects by FLUX_AUTO / FLUXERR_AUTO."""
    return lambda table: table["FLUX_AUTO"] / table["FLUXERR_AUTO"] > limit


def difference(ours, theirs, name):
    """Return the differences of a column where both have one."""
    values = ours[name] - theirs[name]
    return values[np.isfinite(values)]


def ratio(ours, theirs, name):
    """Return the relative differences of a column where both have one."""
    with np.errstate(divide="ignore", invalid="ignore"):
        values = ours[name] / theirs[name] - 1.0
    return values[np.isfinite(values)]


def distance(ours, theirs, kind):
    """Return how far positions are from each other [pixel]; kind is `` or `WIN`."""
    return np.hypot(*(ours[f"{axis}{kind}_IMAGE"] - theirs[f"{axis}{kind}_IMAGE"] for axis in "XY"))
