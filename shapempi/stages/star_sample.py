"""The selected stars of a CCD as the PSF engines take them."""

from __future__ import annotations

import numpy as np

from shapempi.image import Image
from shapempi.kernels import _vignet
from shapempi.measure.detect import Detections
from shapempi.measure.psf.sample import StarSample

__all__ = ["cut_stars"]


def cut_stars(
    data: np.ndarray, image: Image, mask: np.ndarray, detections: Detections, size: int, *, label: str = ""
) -> StarSample:
    """Cut the vignets of stars.

    Parameters
    ----------
    data : ndarray of float32 [y, x]
        The CCD without its background.
    image : Image
        The CCD: weight and gain.
    mask : ndarray of int32 [y, x]
        Mask plane; 0 is good.
    detections : Detections
        The stars' rows of the table, and the segmentation of all objects.
    size : int
        Side of the vignets [pixel], odd.
    label : str, optional
        Name of the CCD.

    Returns
    -------
    StarSample
        The stars in the order of the table; masked pixels and those of other objects have weight 0.
    """
    rows = detections.table
    x = np.ascontiguousarray(rows["XWIN_IMAGE"], dtype=float) - 1.0
    y = np.ascontiguousarray(rows["YWIN_IMAGE"], dtype=float) - 1.0
    (stamps, weights, flags, owners), _, offset, _, _ = _vignet.cut(
        (data, image.weight, mask, detections.segmentation), x, y, size, fill=(0, 0, 1, 0)
    )
    foreign = (owners != 0) & (owners != rows["NUMBER"][:, None, None])
    weights[(flags != 0) | foreign] = 0
    ny, nx = data.shape
    flux, flux_err = (np.asarray(rows[name], dtype=float) for name in ("FLUX_AUTO", "FLUXERR_AUTO"))
    return StarSample(stamps, weights, x, y, offset, flux, flux_err, (ny, nx), image.gain, label)
