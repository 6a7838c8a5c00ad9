"""Bright stars from the archive of Gaia, where there is network and the package astroquery."""

from __future__ import annotations

import numpy as np

from shapempi.errors import DataError, EngineError
from shapempi.io.starcat import stars_of_columns

__all__ = ["query_gaia"]

_ADQL = (
    "SELECT ra, dec, phot_g_mean_mag AS mag, pmra, pmdec, ref_epoch AS epoch FROM gaiadr3.gaia_source "
    "WHERE 1 = CONTAINS(POINT('ICRS', ra, dec), CIRCLE('ICRS', {ra:.7f}, {dec:.7f}, {radius:.7f})) "
    "AND phot_g_mean_mag < {mag_limit:.3f}"
)
_ROLES = ("ra", "dec", "mag", "pmra", "pmdec", "epoch")
_CURE = "use a local catalogue with --from FILE instead"


def query_gaia(ra: float, dec: float, radius: float, mag_limit: float) -> np.ndarray:
    """Ask the archive of Gaia (DR3) for the stars in a circle.

    Parameters
    ----------
    ra, dec, radius : float
        Centre and radius [deg].
    mag_limit : float
        Stars brighter than this in G [mag].

    Returns
    -------
    ndarray of STAR_DTYPE [n]
        The stars, at epoch 2016.0 with their proper motions.

    Raises
    ------
    EngineError
        If astroquery is not installed.
    DataError
        If the archive does not answer.
    """
    try:
        from astroquery.gaia import Gaia
    except ImportError as error:
        raise EngineError(
            f"asking the archive of Gaia needs the package astroquery; `pip install 'shapempi[query]'`, or {_CURE}"
        ) from error
    text = _ADQL.format(ra=ra, dec=dec, radius=radius, mag_limit=mag_limit)
    try:
        table = Gaia.launch_job_async(text).get_results()
    except Exception as error:  # the network, the archive and its client raise dozens of classes
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise DataError(f"the archive of Gaia does not answer: {reason}; is there network? Else {_CURE}") from error
    absent = [role for role in _ROLES if role not in table.colnames]
    if absent:
        raise DataError(f"the archive of Gaia answered without the columns {', '.join(absent)}; {_CURE}")
    return stars_of_columns({role: np.ma.asarray(table[role]) for role in _ROLES}, "the archive of Gaia")
