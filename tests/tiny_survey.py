"""A survey of tiny files for the tests: compressed mosaics of four CCDs around a tile of 120 x 100 pixels."""

from __future__ import annotations

from pathlib import Path

import fitsio
import numpy as np
from astropy.io import fits

from shapempi.wcs import Wcs

RA, DEC, SCALE = 231.3, 41.7, 0.186
CCD_SHAPE = (70, 60)  # ny, nx
VALID = "[5:56,1:66]"  # x 4..55, y 0..65 in 0-based pixels
#: Reference pixel of each CCD: 2 x 2 around (RA, DEC), CCDs 0 and 1 read upside down.
CRPIX = {0: (-1.5, 68.0), 1: (61.5, 68.0), 2: (61.5, 68.0), 3: (-1.5, 68.0)}
TILE_SHAPE = (100, 120)
TILE = "241.293"
EXPOSURES = (2243881, 2243888)


def ccd_header(ccd: int, *, wcs: bool = True, shift: float = 0.0) -> list[dict]:
    """Return the header of a CCD as fitsio takes it."""
    sign = 1.0 if ccd < 2 else -1.0  # (-x, +y) on the sky for a normal CCD: East is left
    step = SCALE / 3600
    cards = {
        "GAIN": 1.6,
        "SATURATE": 62000.0,
        "PHOTZP": 31.97,
        "FSCALE": 10 ** (0.4 * (30 - 31.97)),
        "DATASEC": VALID,
        "ACTIVE": True,
        "ZENITH": 12.5,
    }
    if wcs:
        cards |= {
            "CTYPE1": "RA---TPV",
            "CTYPE2": "DEC--TPV",
            "CUNIT1": "deg",
            "CUNIT2": "deg",
            "CRVAL1": RA,
            "CRVAL2": DEC,
            "CRPIX1": CRPIX[ccd][0] + shift,
            "CRPIX2": CRPIX[ccd][1],
            "CD1_1": sign * step,
            "CD1_2": 1e-8,
            "CD2_1": 2e-8,
            "CD2_2": -sign * step,
            "PV1_0": 0.0,
            "PV1_1": 1.0,
            "PV1_4": 0.02,
            "PV1_7": 0.3,
            "PV2_0": 0.0,
            "PV2_1": 1.0,
            "PV2_4": -0.01,
            "PV2_7": 0.2,
        }
    return [{"name": name, "value": value, "comment": ""} for name, value in cards.items()]


def write_mosaic(path: Path, planes: dict[int, np.ndarray], *, named: bool = True, **header) -> Path:
    """Write CCD planes as a compressed mosaic with an empty primary HDU: floats lossless, integers by Rice."""
    with fitsio.FITS(str(path), "rw", clobber=True) as file:
        file.write(None)
        for ccd, plane in planes.items():
            compress = "rice" if plane.dtype.kind in "iu" else "gzip_2"
            file.write(
                plane,
                header=ccd_header(ccd, **header),
                extname=f"CCD{ccd:02d}" if named else None,
                compress=compress,
                qlevel=0 if plane.dtype.kind == "f" else None,
            )
    return path


def ccd_planes(exposure: int, ccd: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return image, weight and flag of a CCD, different for each."""
    rng = np.random.default_rng([exposure, ccd])
    image = rng.normal(0, 30, CCD_SHAPE).astype(np.float32)
    weight = np.full(CCD_SHAPE, 1 / 900, np.float32)
    flag = np.zeros(CCD_SHAPE, np.int16)
    flag[10, 20], weight[10, 20] = 8, 0
    return image, weight, flag


def write_exposure(folder: Path, exposure: int, ccds: tuple[int, ...] = (0, 1, 2, 3), **header) -> None:
    """Write the three files of an exposure."""
    planes = {ccd: ccd_planes(exposure, ccd) for ccd in ccds}
    for k, role in enumerate(("", ".weight", ".flag")):
        write_mosaic(folder / f"{exposure}p{role}.fits.fz", {ccd: p[k] for ccd, p in planes.items()}, **header)


def write_tile(folder: Path, tile: str = TILE, history: tuple[str, ...] | None = None, *, wcs: bool = True) -> None:
    """Write a tile and its weight."""
    folder.mkdir(exist_ok=True)
    ny, nx = TILE_SHAPE
    image = np.random.default_rng(3).normal(0, 5, TILE_SHAPE).astype(np.float32)
    cards = {"GAIN": 29.0, "SATURATE": 1e4}
    if wcs:
        cards |= {
            **{"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": RA, "CRVAL2": DEC},
            **{"CRPIX1": (nx + 1) / 2, "CRPIX2": (ny + 1) / 2, "CD1_1": -SCALE / 3600, "CD2_2": SCALE / 3600},
        }
    header = [{"name": name, "value": value, "comment": ""} for name, value in cards.items()]
    if history is None:
        history = tuple(f" input image {exposure}p.fits 4 extension(s)" for exposure in EXPOSURES)
    with fitsio.FITS(str(folder / f"CFIS.{tile}.r.fits"), "rw", clobber=True) as file:
        file.write(image, header=header)
        for line in history:
            file[0].write_history(line)
    weight = np.full(TILE_SHAPE, 0.04, np.float32)
    weight[0, 0] = np.nan
    with fitsio.FITS(str(folder / f"CFIS.{tile}.r.weight.fits.fz"), "rw", clobber=True) as file:
        file.write(None)
        file.write(weight, header=header, compress="gzip_2", qlevel=0)


def write_survey(folder: Path) -> tuple[Path, Path]:
    """Write two exposures and one tile; returns the folders of both."""
    exposures, tiles = folder / "exposures", folder / "tiles"
    exposures.mkdir()
    for exposure in EXPOSURES:
        write_exposure(exposures, exposure)
    write_tile(tiles)
    return exposures, tiles


def truncate(path: Path, fraction: float) -> None:
    """Cut a file off behind a part of its length."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * fraction)])


def tan_wcs(
    ra: float, dec: float, crpix: tuple[float, float], matrix: tuple[float, float, float, float] | None = None, **more
) -> Wcs:
    """Make a TAN WCS; `matrix` is CD1_1, CD1_2, CD2_1, CD2_2 in pixels of SCALE, (-1, 0, 0, 1) by default."""
    cd = np.array(matrix or (-1.0, 0.0, 0.0, 1.0)) * SCALE / 3600
    cards = {
        "CTYPE1": "RA---TAN",
        "CTYPE2": "DEC--TAN",
        "CRVAL1": ra,
        "CRVAL2": dec,
        "CRPIX1": crpix[0],
        "CRPIX2": crpix[1],
    }
    cards |= dict(zip(("CD1_1", "CD1_2", "CD2_1", "CD2_2"), cd.tolist(), strict=True)) | more
    return Wcs(fits.Header(cards).tostring())
