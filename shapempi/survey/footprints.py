"""Where the CCDs of an exposure lie on the sky, from the headers alone, and which of them touch a tile."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from shapempi.camera import Camera
from shapempi.errors import DataError
from shapempi.ids import CcdId
from shapempi.io.exposure import CFIS_CCDS, CFIS_KEYWORDS, KeywordParams, ccd_index, is_active, valid_box
from shapempi.io.fits import Hdu, scan_hdus
from shapempi.wcs import Wcs, angular_distance

__all__ = [
    "CcdFootprint",
    "place_ccd",
    "read_footprints",
    "read_single_footprints",
    "scan_ccds",
    "touching",
]

#: Keywords that a celestial WCS is made of; the other hundreds of cards of an exposure only cost time.
_WCS_CARD = re.compile(
    r"(NAXIS[12]?|WCSAXES|C(TYPE|RVAL|RPIX|UNIT|DELT|ROTA)[12]|(CD|PC)[12]_[12]|PV[12]_\d+|[AB]P?_(ORDER|DMAX|\d_\d)"
    r"|LONPOLE|LATPOLE|EQUINOX|RADE(C?)SYS|MJD-OBS|DATE-OBS) *"
)
#: Points of the outline per side of a CCD: the corner and the middle, so that bent sides count.
_STEPS = (0.0, 0.5)


@dataclass(frozen=True)
class CcdFootprint:
    """One CCD on the sky.

    Attributes
    ----------
    ccd : CcdId
        Which one.
    shape : tuple of int
        (ny, nx) of the whole CCD; (0, 0) if its header is not there.
    valid_box : tuple of int
        (y0, y1, x0, x1): the part with sky.
    header : str
        The cards of the WCS.
    outline : ndarray of float64 [8, 2]
        ra, dec [deg] along the border of the valid box: four corners, each followed by the middle of its side.
    active : bool
        False for a CCD without sky pixels.
    problem : str
        Why the CCD cannot be placed on the sky; empty if it can.
    """

    ccd: CcdId
    shape: tuple[int, int]
    valid_box: tuple[int, int, int, int]
    header: str
    outline: np.ndarray = field(compare=False, repr=False)
    active: bool = True
    problem: str = ""

    @property
    def wcs(self) -> Wcs:
        """The WCS of the CCD."""
        return Wcs(self.header, str(self.ccd))

    @property
    def n_pixel(self) -> int:
        """Pixels of the whole CCD."""
        return self.shape[0] * self.shape[1]


def _outline(wcs: Wcs, box: tuple[int, int, int, int]) -> np.ndarray:
    """Return ra, dec [8, 2] along the outer border of a box."""
    y0, y1, x0, x1 = (edge - 0.5 for edge in box)
    corners = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
    following = np.roll(corners, -1, axis=0)
    points = np.stack([corners + step * (following - corners) for step in _STEPS], axis=1).reshape(-1, 2)
    return np.stack(wcs.pixel_to_sky(points[:, 0], points[:, 1]), axis=-1)


def place_ccd(ccd: CcdId, hdu: Hdu, keywords: KeywordParams) -> CcdFootprint:
    """Place one CCD on the sky by its header.

    Parameters
    ----------
    ccd : CcdId
        Which one.
    hdu : Hdu
        Its HDU in the image mosaic.
    keywords : KeywordParams
        Names of the keywords.
    """
    cards = (hdu.header[first : first + 80] for first in range(0, len(hdu.header), 80))
    header = "".join(card for card in cards if _WCS_CARD.fullmatch(card[:8]))
    nothing = np.full((8, 2), np.nan)
    shape = hdu.shape or (0, 0)
    whole = (0, shape[0], 0, shape[1])
    active = is_active(hdu.header, keywords)
    if not active:
        return CcdFootprint(ccd, shape, whole, header, nothing, active=False)
    try:
        box = valid_box(hdu.header, shape, keywords.valid_section, str(hdu))
        outline = _outline(Wcs(header, str(hdu)), box)
        if not np.isfinite(outline).all():
            raise DataError(f"{hdu}: the WCS gives no sky position for the corners of the CCD")
    except DataError as error:
        return CcdFootprint(ccd, shape, whole, header, nothing, problem=str(error))
    return CcdFootprint(ccd, shape, box, header, outline)


def read_footprints(
    exposure: int,
    path: Path,
    *,
    n_ccd: int = 40,
    keywords: KeywordParams = CFIS_KEYWORDS,
    camera: Camera = CFIS_CCDS,
) -> list[CcdFootprint]:
    """Place all CCDs of an exposure on the sky by one pass over the headers of its image file.

    Parameters
    ----------
    exposure : int
        Exposure number.
    path : Path
        The image mosaic.
    n_ccd : int, optional
        CCDs of the camera: those that a truncated file has lost are reported, too.
    keywords : KeywordParams, optional
        Names of the keywords.
    camera : Camera, optional
        Names and numbers of the CCDs.

    Returns
    -------
    list of CcdFootprint
        In the order of the CCD numbers; also inactive ones, and those with a `problem`.

    Raises
    ------
    MissingInputError
        If the file does not exist.
    DataError
        If it is no FITS file or has no image.
    """
    hdus, broken = scan_ccds(path, camera)
    found = {number: place_ccd(CcdId(exposure, number), hdu, keywords) for number, hdu in hdus.items()}
    if broken:
        for number in range(camera.first_ccd, camera.first_ccd + n_ccd):
            if number not in found:
                found[number] = _lost(CcdId(exposure, number), f"CCD {number} is lost: {broken}")
    return [found[number] for number in sorted(found)]


def _lost(ccd: CcdId, problem: str) -> CcdFootprint:
    """Return a CCD without a place on the sky."""
    return CcdFootprint(ccd, (0, 0), (0, 0, 0, 0), "", np.full((8, 2), np.nan), problem=problem)


def read_single_footprints(
    paths: Mapping[CcdId, Path], *, keywords: KeywordParams = CFIS_KEYWORDS, camera: Camera = CFIS_CCDS
) -> list[CcdFootprint]:
    """Place CCDs on the sky that have a file each.

    Parameters
    ----------
    paths : mapping of CcdId to Path
        The images of the CCDs, the first of each file.
    keywords : KeywordParams, optional
        Names of the keywords.
    camera : Camera, optional
        Names and numbers of the CCDs: a file whose EXTNAME is that of another CCD has a `problem`.

    Returns
    -------
    list of CcdFootprint
        In the order of `paths`; also inactive CCDs, and those with a `problem`.
    """
    found = []
    for ccd, path in paths.items():
        try:
            hdu = next((hdu for hdu in scan_hdus(path) if hdu.shape is not None), None)
        except DataError as error:
            found.append(_lost(ccd, str(error)))
            continue
        named = None if hdu is None else camera.number_of(hdu.name)
        if hdu is None:
            found.append(_lost(ccd, f"{path}: there is no image in the file"))
        elif named is not None and named != ccd.ccd:
            found.append(
                _lost(ccd, f"{hdu}: EXTNAME is that of CCD {named}, and the file's name that of CCD {ccd.ccd}")
            )
        else:
            found.append(place_ccd(ccd, hdu, keywords))
    return found


def scan_ccds(path: Path, camera: Camera = CFIS_CCDS) -> tuple[dict[int, Hdu], str]:
    """Find the CCDs of an image mosaic, also of one that breaks off.

    Parameters
    ----------
    path : Path
        The image mosaic.
    camera : Camera, optional
        Names and numbers of the CCDs.

    Returns
    -------
    hdus : dict of int to Hdu
        The CCDs' HDUs by CCD number; of a broken file those before the break.
    broken : str
        Where and why the file breaks off; empty if it is whole.

    Raises
    ------
    MissingInputError
        If the file does not exist.
    DataError
        If it is no FITS file or has no image.
    """
    hdus: list[Hdu] = []
    broken = ""
    try:
        hdus.extend(hdu for hdu in scan_hdus(path) if hdu.shape is not None)
    except DataError as error:
        broken = str(error)
        hdus = _until_broken(path)
    if not hdus:
        raise DataError(broken or f"{path}: there is no image in the file")
    if not broken and not hdus[-1].complete:
        broken = f"{path}: truncated in HDU {hdus[-1].index}; fetch the file again"
    return ccd_index(hdus, camera), broken


def _until_broken(path: Path) -> list[Hdu]:
    """Return the image HDUs before the place where a file breaks off."""
    hdus: list[Hdu] = []
    scan = scan_hdus(path)
    while True:
        try:
            hdu = next(scan)
        except (DataError, StopIteration):
            return hdus
        if hdu.shape is not None:
            hdus.append(hdu)


def touching(
    footprints: Sequence[CcdFootprint], tile_wcs: Wcs, tile_shape: tuple[int, int], *, margin: float = 50.0
) -> list[CcdFootprint]:
    """Select the CCDs whose sky meets a tile.

    The outlines are projected on the tile's pixel plane; two convex figures are apart if and only if a line along a
    side of one of them separates them.

    Parameters
    ----------
    footprints : sequence of CcdFootprint
        Candidates; inactive ones and those with a problem are never selected.
    tile_wcs : Wcs
        The tile's WCS.
    tile_shape : tuple of int
        (ny, nx) of the tile.
    margin : float, optional
        Width [pixel] by which the tile is enlarged, for the bends of distorted sides.

    Returns
    -------
    list of CcdFootprint
        In the given order.
    """
    usable = [footprint for footprint in footprints if footprint.active and not footprint.problem]
    if not usable:
        return []
    ny, nx = tile_shape
    sky = np.stack([footprint.outline for footprint in usable])
    ra0, dec0 = tile_wcs.pixel_to_sky(np.array([(nx - 1) / 2]), np.array([(ny - 1) / 2]))
    scale = tile_wcs.pixel_scale((nx - 1) / 2, (ny - 1) / 2) / 3600.0
    distance = angular_distance(sky[..., 0], sky[..., 1], ra0[0], dec0[0])
    extent = angular_distance(sky[:, :, 0], sky[:, :, 1], sky[:, :1, 0], sky[:, :1, 1]).max(axis=1)
    reach = scale * (np.hypot(nx, ny) / 2 + margin)
    near = np.flatnonzero(distance.min(axis=1) <= reach + extent)
    if len(near) == 0:
        return []
    x, y = tile_wcs.sky_to_pixel(sky[near, :, 0].ravel(), sky[near, :, 1].ravel())
    points = np.stack([x, y], axis=-1).reshape(len(near), -1, 2)
    low = np.array([-0.5 - margin, -0.5 - margin])
    high = np.array([nx - 0.5 + margin, ny - 0.5 + margin])
    meets = np.isfinite(points).all(axis=(1, 2))
    meets &= ((points.max(axis=1) >= low) & (points.min(axis=1) <= high)).all(axis=1)
    tile_corners = np.array([(low[0], low[1]), (high[0], low[1]), (high[0], high[1]), (low[0], high[1])])
    corners = points[:, :: len(_STEPS)]
    for side in range(4):
        along = corners[:, (side + 1) % 4] - corners[:, side]
        normal = np.stack([along[:, 1], -along[:, 0]], axis=-1)
        of_ccd = (points * normal[:, None, :]).sum(axis=-1)
        of_tile = (tile_corners[None] * normal[:, None, :]).sum(axis=-1)
        meets &= (of_tile.max(axis=1) >= of_ccd.min(axis=1)) & (of_tile.min(axis=1) <= of_ccd.max(axis=1))
    return [usable[index] for index in near[meets]]
