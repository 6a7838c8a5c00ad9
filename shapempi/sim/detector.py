"""The camera: what it adds to the light of the sky and what its weight and flag images say about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag

import numpy as np

from shapempi.ids import CcdId
from shapempi.sim.draw import sky_sigma
from shapempi.sim.params import SimulationParams
from shapempi.sim.plan import datasec
from shapempi.sim.randoms import Stream, generator

__all__ = ["Defect", "Readout", "read_out"]

#: Saturated pixels read this factor above the level that the header gives, as full wells do.
_FULL_WELL = 1.02


class Defect(IntFlag):
    """Bits of the flag image that comes with an exposure."""

    BAD = 1
    COSMIC_RAY = 8
    SATURATED = 64


@dataclass(frozen=True)
class Readout:
    """One CCD as the observatory delivers it.

    Attributes
    ----------
    data : ndarray of float32 [y, x]
        Counts above the sky [ADU]; exactly 0 in the overscan.
    weight : ndarray of float32 [y, x]
        Inverse variance of the sky [ADU^-2]; 0 in the overscan and where `flag` is set.
    flag : ndarray of int16 [y, x]
        Bits of `Defect`.
    """

    data: np.ndarray
    weight: np.ndarray
    flag: np.ndarray


def _sky_residual(shape: tuple[int, int], ccd: CcdId, params: SimulationParams) -> np.ndarray:
    """Return what the sky subtraction left: a constant and a gradient [ADU]."""
    rng = generator(params.seed, Stream.SKY, ccd.exposure, ccd.ccd)
    constant, slope_x, slope_y = params.pointing.sky_residual * rng.uniform(-0.5, 0.5, 3)
    y = np.linspace(-1.0, 1.0, shape[0])[:, None]
    x = np.linspace(-1.0, 1.0, shape[1])[None, :]
    return constant + slope_x * x + slope_y * y


def _add_cosmic_rays(data: np.ndarray, flag: np.ndarray, ccd: CcdId, params: SimulationParams) -> None:
    """Add straight tracks of cosmic rays."""
    rng = generator(params.noise_seed, Stream.COSMIC_RAYS, ccd.exposure, ccd.ccd)
    ny, nx = data.shape
    for _ in range(int(rng.poisson(params.defects.cosmic_density * data.size * 1e-6))):
        x0, y0 = rng.uniform(0, nx), rng.uniform(0, ny)
        angle, length = rng.uniform(0, np.pi), 1 + rng.exponential(6.0)
        charge = 10 ** rng.uniform(2.3, 4.0)
        along = np.arange(0.0, length, 0.5)
        x = np.floor(x0 + along * np.cos(angle)).astype(int)
        y = np.floor(y0 + along * np.sin(angle)).astype(int)
        inside = (x >= 0) & (x < nx) & (y >= 0) & (y < ny)
        np.add.at(data, (y[inside], x[inside]), 0.5 * charge)
        flag[y[inside], x[inside]] |= Defect.COSMIC_RAY


def _set_bad_columns(data: np.ndarray, flag: np.ndarray, ccd: CcdId, params: SimulationParams) -> None:
    """Set the columns that are bad in every exposure of this CCD, from a random row to the top."""
    rng = generator(params.seed, Stream.BAD_COLUMNS, ccd.ccd)
    ny, nx = data.shape
    n = int(rng.poisson(params.defects.bad_columns))
    columns, first_rows = rng.integers(0, nx, n), rng.integers(0, ny, n)
    for column, first in zip(columns, first_rows, strict=True):
        data[first:, column] = params.camera.saturation * 0.02 * rng.random()
        flag[first:, column] |= Defect.BAD


def _saturate(data: np.ndarray, flag: np.ndarray, params: SimulationParams) -> None:
    """Cut at the full well; the charge above it runs up and down the column."""
    full = _FULL_WELL * params.camera.saturation
    ny = len(data)
    if params.stars.bleed:
        for column in np.flatnonzero((data > full).any(axis=0)):
            values = data[:, column]
            over = np.concatenate([[False], values > full, [False]]).astype(np.int8)
            starts, ends = np.flatnonzero(np.diff(over) == 1), np.flatnonzero(np.diff(over) == -1)
            for start, end in zip(starts, ends, strict=True):
                more = int(np.ceil(np.sum(values[start:end] - full) / full / 2))
                first, last = max(start - more, 0), min(end + more, ny)
                values[first:last] = np.maximum(values[first:last], full)
    flag[data >= params.camera.saturation] |= Defect.SATURATED
    np.minimum(data, full, out=data)


def read_out(model: np.ndarray, ccd: CcdId, params: SimulationParams) -> Readout:
    """Turn the light on a CCD into its image, weight and flag.

    Parameters
    ----------
    model : ndarray of float64 [y, x]
        Counts above the sky without noise [ADU], with the overscan.
    ccd : CcdId
        Exposure and CCD, which seed the noise.
    params : SimulationParams
        The survey.

    Returns
    -------
    Readout
        Sky and read noise and the objects' own noise are Gaussian; the standard normal deviates depend on the noise
        seed and the CCD alone, so surveys that differ in their shear have the same noise.
    """
    y0, y1, x0, x1 = datasec(params.camera)
    light = model[y0:y1, x0:x1]
    sigma = sky_sigma(params)
    rng = generator(params.noise_seed, Stream.NOISE, ccd.exposure, ccd.ccd)
    area = light + _sky_residual(light.shape, ccd, params)
    area += sigma * rng.standard_normal(light.shape)
    area += np.sqrt(np.maximum(light, 0.0) / params.camera.gain) * rng.standard_normal(light.shape)
    area_flag = np.zeros(light.shape, np.int16)
    _add_cosmic_rays(area, area_flag, ccd, params)
    _set_bad_columns(area, area_flag, ccd, params)
    _saturate(area, area_flag, params)

    data = np.zeros(model.shape, np.float32)
    weight = np.zeros(model.shape, np.float32)
    flag = np.full(model.shape, Defect.BAD, np.int16)
    data[y0:y1, x0:x1] = area
    flag[y0:y1, x0:x1] = area_flag
    weight[y0:y1, x0:x1] = np.where(area_flag == 0, sigma**-2, 0.0)
    return Readout(data, weight, flag)
