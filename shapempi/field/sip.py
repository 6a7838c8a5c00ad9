"""A distorted WCS as TAN with SIP polynomials, fitted to the mapping itself and checked by it.

SIP (Shupe et al. 2005, ADASS XIV): with (p, q) the pixel offsets from CRPIX, the offsets on the tangent plane are
CD (p + A(p, q), q + B(p, q)); A and B have the powers 2 to the order.  AP and BP are the way back.  The reference point
is the middle of the CCD, not of the focal plane as in TPV headers: so the polynomials are small on the CCD.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy.io import fits

from shapempi.errors import DataError
from shapempi.wcs import Wcs, tangent_offset

__all__ = ["MAX_ORDER", "SipWcs", "fit_sip"]

#: The highest order that is tried; keywords have one digit for each power.
MAX_ORDER = 9
_FIRST_ORDER = 2

#: The order is raised until the error is this part of what is allowed.
_AIM = 0.1

#: Points of the fit and of the check along each side of a CCD; the check has points that the fit has not seen.
_N_FIT, _N_CHECK = 25, 34

#: What a header says beside the mapping, and is kept.
_KEPT = ("RADESYS", "RADECSYS", "EQUINOX", "MJD-OBS", "DATE-OBS")


@dataclass(frozen=True)
class SipWcs:
    """A WCS in the form TAN with SIP.

    Attributes
    ----------
    header : str
        Cards of 80 characters.
    order : int
        Order of the polynomials; 0 without distortion.
    residual : float
        Largest distance between this mapping and the original over the CCD [pixel].
    inverse_residual : float
        The same of AP and BP alone, without iterations [pixel].
    """

    header: str
    order: int
    residual: float
    inverse_residual: float


def _powers(order: int, lowest: int = 1) -> list[tuple[int, int]]:
    """Return the pairs of powers (of x, of y) whose sums go from the lowest to the order."""
    return [(i, total - i) for total in range(lowest, order + 1) for i in range(total, -1, -1)]


def _terms(x: np.ndarray, y: np.ndarray, powers: list[tuple[int, int]]) -> np.ndarray:
    """Return the matrix [point, term] of x^i y^j."""
    return np.stack([x**i * y**j for i, j in powers], axis=-1)


def _fit(x: np.ndarray, y: np.ndarray, values: np.ndarray, order: int) -> dict[tuple[int, int], np.ndarray]:
    """Fit polynomials without constant to values [point, 2]; returns coefficients [2] by powers."""
    scale = max(float(np.abs(x).max()), float(np.abs(y).max()), 1.0)
    powers = _powers(order)
    solution = np.linalg.lstsq(_terms(x / scale, y / scale, powers), values, rcond=None)[0]
    return {(i, j): row / scale ** (i + j) for (i, j), row in zip(powers, solution, strict=True)}


def _grid(shape: tuple[int, int], n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return positions over a whole CCD, its outer edges included."""
    ny, nx = shape
    x, y = np.meshgrid(np.linspace(-0.5, nx - 0.5, n), np.linspace(-0.5, ny - 0.5, n))
    return x.ravel(), y.ravel()


def fit_sip(wcs: Wcs, shape: tuple[int, int], tolerance: float = 1e-3) -> SipWcs:
    """Convert a WCS to TAN with SIP.

    Parameters
    ----------
    wcs : Wcs
        Any celestial WCS; one that is TAN or TAN with SIP already is returned as it is.
    shape : tuple of int
        (ny, nx) of the CCD, over which the mappings are compared.
    tolerance : float, optional
        The largest residual that is allowed [pixel].

    Returns
    -------
    SipWcs
        Of the lowest order whose residuals are a tenth of the tolerance, or of the best order.

    Raises
    ------
    DataError
        If no order meets the tolerance, or the WCS has no sky positions on the CCD.
    """
    cards = fits.Header.fromstring(wcs.header)
    types = [str(cards.get(name, "")) for name in ("CTYPE1", "CTYPE2")]
    if types == ["RA---TAN-SIP", "DEC--TAN-SIP"]:
        return SipWcs(wcs.header, int(cards.get("A_ORDER", 0)), 0.0, 0.0)
    if types == ["RA---TAN", "DEC--TAN"] and "PV1_1" not in cards:
        return SipWcs(wcs.header, 0, 0.0, 0.0)
    best: SipWcs | None = None
    for order in range(_FIRST_ORDER, MAX_ORDER + 1):
        made = _of_order(wcs, shape, order, cards)
        worst = max(made.residual, made.inverse_residual)
        if best is None or worst < max(best.residual, best.inverse_residual):
            best = made
        if worst <= _AIM * tolerance:
            break
    assert best is not None
    if not max(best.residual, best.inverse_residual) <= tolerance:
        raise DataError(
            f"{wcs.path}: SIP of order {best.order} misses the header's mapping by {best.residual:.2g} pixel (its "
            f"inverse by {best.inverse_residual:.2g}), more than {tolerance:g}; allow more with --tolerance, or "
            "leave out --sip: the table has the original header"
        )
    return best


def _of_order(wcs: Wcs, shape: tuple[int, int], order: int, cards: fits.Header) -> SipWcs:
    """Fit polynomials of one order and compare."""
    centre = (shape[1] - 1) / 2, (shape[0] - 1) / 2
    ra0, dec0 = (float(value[0]) for value in wcs.pixel_to_sky(np.array([centre[0]]), np.array([centre[1]])))
    if not np.isfinite([ra0, dec0]).all():
        raise DataError(f"{wcs.path}: the WCS gives no sky position for the middle of the CCD")

    def plane(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        u, v = tangent_offset(*wcs.pixel_to_sky(x, y), ra0, dec0)
        return np.stack([-u, v], axis=-1) / 3600.0  # East and North [deg]

    x, y = _grid(shape, _N_FIT)
    offsets = plane(x, y)
    if not np.isfinite(offsets).all():
        raise DataError(f"{wcs.path}: the WCS gives no sky position for some pixels of the CCD")
    p, q = x - centre[0], y - centre[1]
    fitted = _fit(p, q, offsets, order)
    matrix = np.stack([fitted.pop((1, 0)), fitted.pop((0, 1))], axis=-1)
    forward = {powers: np.linalg.solve(matrix, row) for powers, row in fitted.items()}
    linear = np.linalg.solve(matrix, offsets.T).T
    backward = _fit(linear[:, 0], linear[:, 1], np.stack([p, q], axis=-1) - linear, order)

    header = _header(cards, shape, centre, (ra0, dec0), matrix, order, forward, backward)
    x, y = _grid(shape, _N_CHECK)
    ra, dec = wcs.pixel_to_sky(x, y)
    found_x, found_y = Wcs(header, wcs.path).sky_to_pixel(ra, dec)
    linear = np.linalg.solve(matrix, plane(x, y).T).T
    powers = list(backward)
    short = _terms(linear[:, 0], linear[:, 1], powers) @ np.array([backward[each] for each in powers]) + linear
    return SipWcs(
        header, order, _largest(found_x - x, found_y - y), _largest(*(short - np.stack([x, y], -1) + centre).T)
    )


def _largest(dx: np.ndarray, dy: np.ndarray) -> float:
    """Return the largest distance; infinite if one is not known."""
    distance = np.hypot(dx, dy)
    return float(distance.max()) if np.isfinite(distance).all() else float("inf")


def _header(
    old: fits.Header,
    shape: tuple[int, int],
    centre: tuple[float, float],
    sky: tuple[float, float],
    matrix: np.ndarray,
    order: int,
    forward: dict[tuple[int, int], np.ndarray],
    backward: dict[tuple[int, int], np.ndarray],
) -> str:
    """Write the cards of a TAN-SIP header."""
    cards = fits.Header()
    cards["NAXIS"], cards["NAXIS1"], cards["NAXIS2"] = 2, shape[1], shape[0]
    for name in _KEPT:
        if name in old:
            cards[name] = old[name]
    cards["CTYPE1"], cards["CTYPE2"] = "RA---TAN-SIP", "DEC--TAN-SIP"
    cards["CUNIT1"] = cards["CUNIT2"] = "deg"
    for axis in (0, 1):
        cards[f"CRPIX{axis + 1}"] = centre[axis] + 1.0  # FITS counts from 1
        cards[f"CRVAL{axis + 1}"] = sky[axis]
        for other in (0, 1):
            cards[f"CD{axis + 1}_{other + 1}"] = float(matrix[axis, other])
    for axis, name in enumerate("AB"):
        cards[f"{name}_ORDER"] = order
        for (i, j), row in forward.items():
            cards[f"{name}_{i}_{j}"] = float(row[axis])
        cards[f"{name}P_ORDER"] = order
        for (i, j), row in backward.items():
            cards[f"{name}P_{i}_{j}"] = float(row[axis])
    return str(cards.tostring(sep="", endcard=False, padding=False))
