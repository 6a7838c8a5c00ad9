"""MegaCam's mosaic: where its 40 CCDs lie and which are read out upside down.

The numbers are those of the headers that the camera writes since 2015 (DETSEC, DATASEC, NAXIS of exposure
2452990); before, CCDs 36 to 39 were not read out.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CCD_SHAPE", "DATASEC", "GAPS", "LAYOUT", "N_CCD", "UPSIDE_DOWN", "CcdPlace", "place"]

#: Number of CCDs of an exposure.
N_CCD = 40

#: (ny, nx) of a CCD with its overscan.
CCD_SHAPE = (4644, 2112)

#: (y0, y1, x0, x1) of the imaging area, half open, 0-based: [33:2080,1:4612] in the header.
DATASEC = (0, 4612, 32, 2080)

#: Rows from North to South, columns from East to West; None where there is no CCD.
LAYOUT: tuple[tuple[int | None, ...], ...] = (
    (None, 0, 1, 2, 3, 4, 5, 6, 7, 8, None),
    (36, 9, 10, 11, 12, 13, 14, 15, 16, 17, 37),
    (38, 18, 19, 20, 21, 22, 23, 24, 25, 26, 39),
    (None, 27, 28, 29, 30, 31, 32, 33, 34, 35, None),
)

#: CCDs whose rows and columns run the other way: rotated by 180 degrees relative to the others.
UPSIDE_DOWN = frozenset((*range(18), 36, 37))

#: Gaps of the even arrangement that comes closest to the true one: between columns, between the two inner rows, and
#: between an inner and an outer row [pixel].
GAPS = (69.0, 53.0, 426.0)

#: First pixel (West, North) of each CCD's imaging area in the mosaic, 1-based (the smaller numbers of DETSEC).
_FIRST_PIXEL = (
    *((2113, 14740), (4231, 14741), (6347, 14742), (8462, 14743), (10583, 14743), (12693, 14742)),
    *((14815, 14740), (16932, 14738), (19050, 14739), (2114, 9707), (4232, 9706), (6347, 9705)),
    *((8464, 9708), (10581, 9709), (12698, 9705), (14816, 9705), (16931, 9709), (19050, 9698)),
    *((2114, 5041), (4231, 5043), (6347, 5042), (8465, 5043), (10581, 5042), (12703, 5045)),
    *((14815, 5044), (16933, 5048), (19046, 5041), (2121, 2), (4230, 13), (6349, 12)),
    *((8468, 7), (10583, 9), (12700, 8), (14818, 12), (16934, 11), (19044, 1)),
    *((1, 9707), (21172, 9698), (1, 5041), (21172, 5041)),
)

#: The centre of the mosaic (West, North) in the numbering of `_FIRST_PIXEL`: between rows 2 and 3, on column 5.
_CENTRE = (11605.0, 9680.0)


@dataclass(frozen=True)
class CcdPlace:
    """Where a CCD lies in the mosaic.

    Attributes
    ----------
    ccd : int
        Number of the CCD, 0 to 39.
    row, column : int
        Place in `LAYOUT`.
    upside_down : bool
        Whether it is rotated by 180 degrees.
    west, north : float
        How far its centre is from its place in an even arrangement [pixel].
    """

    ccd: int
    row: int
    column: int
    upside_down: bool
    west: float
    north: float

    def centre(self, shape: tuple[int, int], gaps: tuple[float, float, float]) -> tuple[float, float]:
        """Return the CCD's centre (West, North) from the centre of the mosaic [pixel].

        Parameters
        ----------
        shape : tuple of int
            (ny, nx) of the imaging area of a CCD; the camera's own is (4612, 2048).
        gaps : tuple of float
            Gaps between columns, between the two inner rows, and between an inner and an outer row [pixel].
        """
        return _even(self.row, self.column, shape, gaps, (self.west, self.north))


def _even(
    row: int,
    column: int,
    shape: tuple[int, int],
    gaps: tuple[float, float, float],
    offset: tuple[float, float] = (0.0, 0.0),
) -> tuple[float, float]:
    """Return the centre of a place in an even arrangement, plus an offset."""
    ny, nx = shape
    gap_x, gap_inner, gap_outer = gaps
    inner = (ny + gap_inner) / 2
    north = (inner + ny + gap_outer, inner, -inner, -inner - ny - gap_outer)[row]
    return (column - 5) * (nx + gap_x) + offset[0], north + offset[1]


def _places() -> tuple[CcdPlace, ...]:
    """Work out the table of CCDs from the layout and the mosaic sections."""
    shape = (DATASEC[1] - DATASEC[0], DATASEC[3] - DATASEC[2])
    places = []
    for row, ccds in enumerate(LAYOUT):
        for column, ccd in enumerate(ccds):
            if ccd is None:
                continue
            first_west, first_north = _FIRST_PIXEL[ccd]
            west = first_west + (shape[1] - 1) / 2 - _CENTRE[0]
            north = first_north + (shape[0] - 1) / 2 - _CENTRE[1]
            even = _even(row, column, shape, GAPS)
            places.append(CcdPlace(ccd, row, column, ccd in UPSIDE_DOWN, west - even[0], north - even[1]))
    return tuple(sorted(places, key=lambda place: place.ccd))


_PLACES = _places()


def place(ccd: int) -> CcdPlace:
    """Return the place of a CCD, 0 to 39."""
    return _PLACES[ccd]
