"""Catalogues of galaxies whose shear is known at every place: columns as `gather` writes them, no images."""

import numpy as np

from shapempi.catalog import COLUMNS, SHEAR_TYPES, empty_table
from shapempi.wcs import tangent_offset, unit_vectors

STEP = 0.01

#: Shear of each type in units of the step.
SHIFT = {"noshear": 0, "1p": 1, "1m": -1, "2p": 1j, "2m": -1j}


def disc(rng, n, ra0, dec0, radius, inner=0.0):
    """Return positions [deg], uniform in a ring on the sphere around a point."""
    cos_c = rng.uniform(np.cos(np.radians(radius)), np.cos(np.radians(inner)), n)
    angle = rng.uniform(0, 2 * np.pi, n)
    sin_c = np.sqrt(1 - cos_c**2)
    d0 = np.radians(dec0)
    dec = np.arcsin(np.sin(d0) * cos_c + np.cos(d0) * sin_c * np.cos(angle))
    ra = ra0 + np.degrees(np.arctan2(np.sin(angle) * sin_c * np.cos(d0), cos_c - np.sin(d0) * np.sin(dec)))
    return ra % 360, np.degrees(dec)


def local_frame(ra, dec):
    """Return the directions West and North at positions [deg], each [n, 3]."""
    a, d = np.radians(ra), np.radians(dec)
    zero = np.zeros_like(a)
    west = np.stack([np.sin(a), -np.cos(a), zero], axis=-1)
    north = np.stack([-np.sin(d) * np.cos(a), -np.sin(d) * np.sin(a), np.cos(d)], axis=-1)
    return west, north


def tangential(ra, dec, ra0, dec0, gamma_t, gamma_x=0.0):
    """Return g1 + i g2 of a shear around a point: along the line to it g_t is negative, across it positive."""
    west, north = local_frame(ra, dec)
    to_centre = unit_vectors(ra0, dec0)
    phi = np.arctan2(north @ to_centre, west @ to_centre)  # the great circle to the centre, from West to North
    return -(gamma_t + 1j * gamma_x) * np.exp(2j * phi)


def waves(rng, ra, dec, ra0, dec0, rms, n_wave=60, scale=20.0):
    """Return g1 + i g2 of an E-mode field, the sum of plane waves of some `scale` [arcmin] in the tangent plane.

    The potential cos(k.x + a) has the shear (psi_uu - psi_vv)/2 + i psi_uv.  The frame of the plane is turned into that
    of each place.
    """
    u, v = (each / 60 for each in tangent_offset(ra, dec, ra0, dec0))
    k = 2 * np.pi / (scale * rng.uniform(0.7, 2.5, n_wave))
    direction, phase = rng.uniform(0, 2 * np.pi, (2, n_wave))
    kappa = np.cos(u[:, None] * k * np.cos(direction) + v[:, None] * k * np.sin(direction) + phase)
    shear = (kappa * np.exp(2j * direction)).sum(axis=1)
    shear *= rms / np.sqrt(np.mean(np.abs(shear) ** 2))
    # North of the plane seen from the place: the direction of a step to the North, on the plane.
    du, dv = np.subtract(tangent_offset(ra, dec + 1e-4, ra0, dec0), tangent_offset(ra, dec, ra0, dec0))
    turn = np.arctan2(-du, dv)
    return shear * np.exp(-2j * turn)


def catalogue(rng, ra, dec, shear, *, scatter=0.25, noise=0.0, leak=0.0, response=0.7, selection=2.0, psf=None):
    """Return rows of a catalogue with known shear.

    Shapes answer shear with `response`, s2n of a galaxy depends on its sheared shape (`selection`), so that a cut or a
    bin of it has a response of its own, and `leak` of the PSF's shape is in the shear.  Nothing is cut away by the
    standard cuts but some galaxies by s2n.
    """
    n = len(ra)
    rows = empty_table(COLUMNS, n)
    rows["ra"], rows["dec"] = ra, dec
    rows["NUMBER"], rows["tile"], rows["FLAG_TILING"] = np.arange(1, n + 1), b"000.000", 1
    rows["FLAGS"], rows["IMAFLAGS_ISO"], rows["shape_flags"], rows["mcal_flags"] = 0, 0, 0, 0
    rows["n_epoch_used"], rows["SPREAD_CLASS"], rows["MAG_AUTO"] = 2, 1, 22.0
    psf = 0.03 * (rng.normal(size=n) + 1j * rng.normal(size=n)) if psf is None else psf
    rows["psf_g1"], rows["psf_g2"] = psf.real, psf.imag
    rows["psf_T"] = rng.normal(0.2, 0.01, n)
    intrinsic = scatter * (rng.normal(size=n) + 1j * rng.normal(size=n)) if scatter else np.zeros(n, complex)
    error = noise * (rng.normal(size=n) + 1j * rng.normal(size=n))
    s2n, ratio = 8 * rng.pareto(1.5, n) + 8, rng.uniform(0.6, 2.5, n)
    for kind in SHEAR_TYPES:
        sheared = intrinsic + response * (shear + leak * psf + STEP * SHIFT[kind])
        g = sheared + error
        rows[f"g1_{kind}"], rows[f"g2_{kind}"] = g.real, g.imag
        rows[f"g1_err_{kind}"] = rows[f"g2_err_{kind}"] = max(noise, 0.05)
        rows[f"s2n_{kind}"] = s2n * (1 + selection * np.abs(sheared) ** 2)
        rows[f"T_{kind}"] = ratio * rows["psf_T"]
        rows[f"mag_{kind}"] = 26 - 2.5 * np.log10(s2n / 8)
        rows[f"flags_{kind}"] = 0
    return rows
