"""Cleaning: detections that only the wings of a brighter neighbour lift over the threshold.

SExtractor's formula (manual, "CLEANing"), which compares each object with those before it in the order of the scan.
Here the order is that of the objects' brightness, so that the outcome depends on the objects alone.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from shapempi.measure.isophote import IsoPixels
from shapempi.measure.region import Regions

__all__ = ["WINGS_DTYPE", "eaters", "measure_wings"]

#: Objects farther apart than this many of their rms together do not disturb each other.
ZONE = 10.0

#: What cleaning knows of an object beside its moments: the index of its first pixel in the image, how far [ADU] its
#: brightest pixels stand above the threshold, and the share of its ellipse that a Gaussian of its peak would have.
WINGS_DTYPE = np.dtype([("first", "i8"), ("excess", "f8"), ("abcor", "f8")])


def measure_wings(
    regions: Regions, segmentation: np.ndarray, objects: np.ndarray, n_before: int, threshold: float, min_area: int
) -> np.ndarray:
    """Measure what cleaning needs to know of the objects of one strip.

    Parameters
    ----------
    regions : Regions
        The regions of the strip.
    segmentation : ndarray of int32 [y, x]
        Map of the whole image.
    objects : structured ndarray [n]
        Objects of `sep.extract`; their numbers in the map are n_before + 1 and so on.
    n_before : int
        Objects of earlier strips.
    threshold : float
        Threshold in units of the rms of a pixel.
    min_area : int
        The excess is that of the brightest `min_area` pixels.

    Returns
    -------
    ndarray of WINGS_DTYPE [n]
        One row per object.
    """
    n = len(objects)
    section = regions.section
    pixels = IsoPixels.of(segmentation[section.rows], np.arange(n_before + 1, n_before + n + 1))
    index, owner, first = pixels.index, pixels.owner, pixels.first
    result = np.zeros(n, WINGS_DTYPE)
    result["first"] = index[first[:-1]] + section.y0 * np.int64(section.data.shape[1])
    excess = regions.smoothed.reshape(-1)[index]
    excess -= np.float32(threshold) * np.sqrt(section.variance.reshape(-1)[index])
    result["excess"] = _least_of_brightest(excess, owner, first, min_area)
    middle = (objects["thresh"] + objects["peak"]) / 2.0
    high = section.data.reshape(-1)[index] > middle[owner]
    n_high = np.bincount(owner[high], minlength=n)
    # Half the way from the threshold to the peak a Gaussian has this area less than at the threshold.
    lost = np.minimum(n_high - objects["tnpix"], 0)
    lost[lost == 0] = -1
    with np.errstate(divide="ignore", invalid="ignore"):
        fall = np.minimum(objects["thresh"] / middle, 0.99)
        abcor = lost / (2.0 * np.pi * np.log(fall) * objects["a"] * objects["b"])
    result["abcor"] = np.where(fall > 0, np.minimum(abcor, 1.0), 1.0)
    return result


def _least_of_brightest(excess: np.ndarray, owner: np.ndarray, first: np.ndarray, n_brightest: int) -> np.ndarray:
    """Return the least excess [n] among the n brightest pixels of each object, as SExtractor has it.

    With just that many pixels it is the excess of the first one, and the pixel behind them does not count.
    """
    count = np.diff(first)
    result = np.where(count < n_brightest, 0.0, excess[first[:-1]].astype(float))
    more = np.flatnonzero(count > n_brightest)
    counted = np.ones(len(excess), dtype=bool)
    counted[first[more] + n_brightest] = False
    # Positive floats are in the order of their bits: one number sorts by object first, by falling excess then.
    bits = np.maximum(excess[counted], np.float32(0.0)).view(np.uint32).astype(np.uint64)
    keys = np.sort((owner[counted].astype(np.uint64) << np.uint64(32)) | (np.uint64(0xFFFFFFFF) - bits))
    # One pixel fewer of each of the objects before.
    start = first[more] - np.arange(len(more))
    chosen = np.uint64(0xFFFFFFFF) - (keys[start + n_brightest - 1] & np.uint64(0xFFFFFFFF))
    result[more] = chosen.astype(np.uint32).view(np.float32)
    return result


def eaters(objects: np.ndarray, wings: np.ndarray, efficiency: float) -> np.ndarray:
    """Find out which objects would not be there without the wings of a brighter one.

    A brighter object's profile is taken to fall like (1 + alpha r^2)^-beta with beta = `efficiency`, through its peak
    and its isophotal area.  An object whose brightest pixels stand out by less than that profile has at its place is
    eaten.  What is eaten itself eats nothing.

    Parameters
    ----------
    objects : structured ndarray [n]
        Objects of `sep.extract`.
    wings : ndarray of WINGS_DTYPE [n]
        As `measure_wings`.
    efficiency : float
        SExtractor's CLEAN_PARAM.

    Returns
    -------
    ndarray of int64 [n]
        Row of the object that eats each one, the one with the most light there; -1 for those that stay.
    """
    eater = np.full(len(objects), -1, np.int64)
    if len(objects) < 2:
        return eater
    # Brighter ones first; of equals that which begins first.
    order = np.lexsort((wings["first"], -objects["cflux"]))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    strong, weak = _pairs(objects, rank)
    light = _light_at(objects, wings, strong, weak, efficiency)
    lifts = light > wings["excess"][weak].astype(np.float32)
    strong, weak, light = strong[lifts], weak[lifts], light[lifts]
    # The weak in the order of their brightness, and of their neighbours the one with most light first.
    for pair in np.lexsort((rank[strong], -light, rank[weak])).tolist():
        if eater[strong[pair]] < 0 and eater[weak[pair]] < 0:
            eater[weak[pair]] = strong[pair]
    return eater


def _pairs(objects: np.ndarray, rank: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return rows (brighter, fainter) of all objects that are near enough to each other."""
    position = np.stack([objects["x"], objects["y"]], axis=1)
    size = np.floor(np.log2(np.maximum(objects["a"], 1e-3))).astype(int)
    pairs = []
    for step in np.unique(size):
        # Objects of this size with all that are not larger: circles of one radius hold every pair.
        large, all_of = np.flatnonzero(size == step), np.flatnonzero(size <= step)
        near = cKDTree(position[all_of]).query_ball_point(position[large], 2.0 * ZONE * 2.0 ** (step + 1.0))
        a = np.repeat(large, [len(some) for some in near])
        b = all_of[np.concatenate([np.asarray(some, np.int64) for some in near])]
        # Of two objects of this size either has the other in its circle: keep one of the pairs.
        once = (size[b] < step) | (a < b)
        pairs.append(np.stack([a[once], b[once]]))
    a, b = np.concatenate(pairs, axis=1)
    dx, dy = (objects[name][a] - objects[name][b] for name in ("x", "y"))
    reach = (objects["a"][a] + objects["a"][b]) * ZONE
    inside = dx * dx + dy * dy <= reach * reach
    a, b = a[inside], b[inside]
    first = rank[a] < rank[b]
    return np.where(first, a, b), np.where(first, b, a)


def _light_at(objects: np.ndarray, wings: np.ndarray, strong: np.ndarray, weak: np.ndarray, beta: float) -> np.ndarray:
    """Return the light [float32, ADU] of the strong objects' profiles at the weak ones; 0 where they do not fall."""
    star, abcor = objects[strong], wings["abcor"][strong]
    dx, dy = (star[name] - objects[name][weak] for name in ("x", "y"))
    area = np.pi * star["a"] * star["b"]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        peak = star["cflux"] / (2.0 * area * abcor)
        alpha = ((peak / star["thresh"]) ** (1.0 / beta) - 1.0) * area / star["npix"]
        value = 1.0 + alpha * (star["cxx"] * dx * dx + star["cyy"] * dy * dy + star["cxy"] * dx * dy)
        light = peak * value**-beta
    return np.where((value > 1.0) & (value < 1e10), light, 0.0).astype(np.float32)
