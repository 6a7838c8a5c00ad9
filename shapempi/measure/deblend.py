"""Taking regions apart into objects, by SExtractor's multi-threshold tree as `sep` has it, each region by itself.

`sep.extract` gives pixels between deblended objects to one of them by random numbers that one call shares among all
its regions, and fails as a whole where one region has too many branches.  A call for each region makes its objects a
function of its own pixels, and costs 60 microseconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import sep

from shapempi.errors import MeasurementError
from shapempi.measure.region import FILTER_KERNEL, REACH, Regions
from shapempi.measure.variance import UNUSABLE

__all__ = ["OBJECT_DTYPE", "split_regions"]

#: One object of `sep.extract`.
OBJECT_DTYPE = np.dtype(
    [("thresh", "f8")]
    + [(name, "i8") for name in ("npix", "tnpix", "xmin", "xmax", "ymin", "ymax")]
    + [(name, "f8") for name in ("x", "y", "x2", "y2", "xy", "errx2", "erry2", "errxy", "a", "b", "theta")]
    + [(name, "f8") for name in ("cxx", "cyy", "cxy", "cflux", "flux", "cpeak", "peak")]
    + [(name, "i8") for name in ("xcpeak", "ycpeak", "xpeak", "ypeak")]
    + [("flag", "i2")]
)

#: Limits of the branches on one level of the tree, for which the library takes memory at once; it numbers them by 16
#: bits.  The first is enough for nearly all regions.
BRANCHES = (64, 1024, 8192, 32000)


@contextmanager
def _restored_limits() -> Iterator[None]:
    """Give the library its limits back, which are the process's."""
    saved = sep.get_extract_pixstack(), sep.get_sub_object_limit()
    try:
        yield
    finally:
        sep.set_extract_pixstack(saved[0])
        sep.set_sub_object_limit(saved[1])


def _split(
    data: np.ndarray,
    variance: np.ndarray,
    threshold: float,
    min_area: int,
    levels: int,
    contrast: float,
    gain: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Take one region apart; returns its objects and whose its pixels are."""
    for limit in BRANCHES:
        sep.set_sub_object_limit(limit)
        try:
            return sep.extract(
                data,
                threshold,
                var=variance,
                gain=gain if gain > 0 else None,
                minarea=min_area,
                filter_kernel=FILTER_KERNEL,
                # SExtractor's filter: the threshold is in units of the noise before filtering.
                filter_type="conv",
                deblend_nthresh=levels,
                deblend_cont=contrast,
                clean=False,
                segmentation_map=True,
            )
        except Exception as error:  # sep raises bare Exception for every failure
            if "deblending overflow" not in str(error):
                raise MeasurementError(f"detection failed: {error}") from error
    whole, labels = _split(data, variance, threshold, min_area, 1, 1.0, gain)
    whole["flag"] |= sep.OBJ_DOVERFLOW
    return whole, labels


def split_regions(
    regions: Regions,
    segmentation: np.ndarray,
    n_before: int,
    *,
    threshold: float,
    min_area: int,
    levels: int,
    contrast: float,
    largest: int,
    gain: float,
) -> np.ndarray:
    """Take the regions of a strip apart.

    Parameters
    ----------
    regions : Regions
        The regions.
    segmentation : ndarray of int32 [y, x]
        Map of the whole image, in which the objects are entered as n_before + 1, n_before + 2 and so on.
    n_before : int
        Objects that are in it.
    threshold : float
        Threshold in units of the rms of a pixel.
    min_area : int
        Fewest pixels of an object.
    levels : int
        Levels of the tree.
    contrast : float
        Smallest share of the flux that makes a branch an object.
    largest : int
        A region of more pixels stays one object, with the flag of an overflow.
    gain : float
        Electrons per ADU; 0 for no photon noise in the errors of the moments.

    Returns
    -------
    structured ndarray [n]
        Columns of `sep.extract`, region after region; positions are 0-based in the whole image.

    Raises
    ------
    MeasurementError
        If the library fails for another reason than a region with too many branches: for lack of memory.
    """
    found, corners = [], []
    section, target = regions.section, segmentation[regions.section.rows]
    ny, nx = section.data.shape
    n = n_before
    with _restored_limits():
        for label, (y0, y1, x0, x1), n_pixel, n_peak in zip(
            regions.label, regions.boxes.tolist(), regions.n_pixel.tolist(), regions.n_peak.tolist(), strict=True
        ):
            corner = max(y0 - REACH, 0), max(x0 - REACH, 0)
            box = slice(corner[0], min(y1 + REACH, ny)), slice(corner[1], min(x1 + REACH, nx))
            own = regions.labels[box] == label
            # The filter sees what is around the region, but nothing else is above the threshold.
            variance = np.where(own, section.variance[box], np.float32(UNUSABLE))
            sep.set_extract_pixstack(n_pixel + 2)
            # Without a second peak there is nothing to take apart.
            depth = levels if n_peak > 1 and n_pixel <= largest else 1
            objects, owner = _split(
                np.ascontiguousarray(section.data[box]), variance, threshold, min_area, depth, contrast, gain
            )
            if n_pixel > largest:
                objects["flag"] |= sep.OBJ_DOVERFLOW
            owner[owner > 0] += n
            np.copyto(target[box], owner, where=own)
            n += len(objects)
            found.append(objects.astype(OBJECT_DTYPE, copy=False).tobytes())
            corners += [corner] * len(objects)
    # By their bytes: to compare the columns of so many small tables takes longer than to make them.
    result = np.frombuffer(bytearray().join(found), OBJECT_DTYPE)
    y0, x0 = np.array(corners, np.int64).reshape(-1, 2).T
    for name in ("x", "xmin", "xmax", "xpeak", "xcpeak"):
        result[name] += x0
    for name in ("y", "ymin", "ymax", "ypeak", "ycpeak"):
        result[name] += y0 + section.y0
    return result
