"""Finding objects: pixels above the threshold, deblended and cleaned, by `sep.extract`."""

from __future__ import annotations

import numpy as np
import sep

from shapempi.errors import MeasurementError
from shapempi.measure.variance import UNUSABLE

__all__ = ["FILTER_KERNEL", "extract_objects"]

#: The 3 x 3 filter of SExtractor's default; `sep` normalises it.
FILTER_KERNEL = np.array([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]], dtype=np.float32)

#: Ceiling of the sub-object limit: 64 times the library's default.
MAX_SUB_OBJECTS = 1 << 16


def extract_objects(
    data: np.ndarray,
    variance: np.ndarray,
    *,
    threshold: float,
    min_area: int,
    deblend_levels: int,
    deblend_contrast: float,
    clean: bool,
    clean_efficiency: float,
    pixel_stack: int,
    gain: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Find the objects of an image.

    The buffers of the library are raised as far as needed and restored afterwards; they do not change the result.

    Parameters
    ----------
    data, variance : ndarray of float32 [y, x]
        Background-subtracted image [ADU] and its variance [ADU^2]; nothing is detected where that is `UNUSABLE`.
    threshold : float
        Detection threshold in units of the rms of a pixel, applied to the filtered image.
    min_area : int
        Fewest pixels of an object.
    deblend_levels : int
        Number of levels of the deblending tree.
    deblend_contrast : float
        Smallest share of the flux that makes a branch an object.
    clean : bool
        Merge detections that would not exist without the wings of a brighter neighbour.
    clean_efficiency : float
        SExtractor's CLEAN_PARAM.
    pixel_stack : int
        First size of the buffer of active pixels.
    gain : float
        Electrons per ADU; 0 for no photon noise in the errors of the moments.

    Returns
    -------
    objects : structured ndarray [n]
        The columns of `sep.extract`; positions are 0-based.
    segmentation : ndarray of int32 [y, x]
        Number (row + 1) of the object that owns a pixel, 0 for none.

    Raises
    ------
    MeasurementError
        If the buffers overflow at their largest size: the threshold is far too low for this image.
    """
    stack, sub_objects = pixel_stack, 1024
    saved = sep.get_extract_pixstack(), sep.get_sub_object_limit()
    try:
        while True:
            sep.set_extract_pixstack(stack)
            sep.set_sub_object_limit(sub_objects)
            try:
                return sep.extract(
                    data,
                    threshold,
                    var=variance,
                    mask=variance,
                    maskthresh=UNUSABLE / 2,
                    gain=gain if gain > 0 else None,
                    minarea=min_area,
                    filter_kernel=FILTER_KERNEL,
                    # SExtractor's filter: the threshold is in units of the noise before filtering.
                    filter_type="conv",
                    deblend_nthresh=deblend_levels,
                    deblend_cont=deblend_contrast,
                    clean=clean,
                    clean_param=clean_efficiency,
                    segmentation_map=True,
                )
            except Exception as error:  # sep raises bare Exception for every failure
                text = str(error)
                if "pixel buffer full" in text and stack < data.size:
                    stack = min(4 * stack, data.size)
                elif "deblending overflow" in text and sub_objects < MAX_SUB_OBJECTS:
                    sub_objects *= 4
                else:
                    raise MeasurementError(
                        f"detection failed: {text}; is the background subtracted and the weight map an inverse "
                        "variance? If so, raise detection threshold or deblend_contrast"
                    ) from error
    finally:
        sep.set_extract_pixstack(saved[0])
        sep.set_sub_object_limit(saved[1])
