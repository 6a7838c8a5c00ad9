"""A camera: the names and numbers of its CCDs, and where they lie in the mosaic, as a survey description says.

The frame of the mosaic is that of the pixels of its upright CCDs: x to the right, y up.  `axes` says where these lead
on the sky.  Of the cameras that we know the numbers are in configs/surveys.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from pydantic import field_validator, model_validator

from shapempi.params import Params, key

__all__ = ["Camera", "CcdPlace"]

_SECTION = r"^\[\d+:\d+,\d+:\d+\]$"


@dataclass(frozen=True)
class CcdPlace:
    """Where a CCD lies in the mosaic.

    Attributes
    ----------
    ccd : int
        Number of the CCD.
    row, column : float
        Place in the arrangement, counted from the top left corner; halves where rows or columns are staggered.
    upside_down : bool
        Whether it is rotated by 180 degrees.
    right, up : float
        Steps from the centre of the mosaic in the even arrangement.
    split : bool
        Whether the gap between the two middle rows differs from the others.
    offset : tuple of float
        How far (x, y) its centre is from its place in the even arrangement [pixel].
    """

    ccd: int
    row: float
    column: float
    upside_down: bool
    right: float
    up: float
    split: bool
    offset: tuple[float, float] = (0.0, 0.0)

    def moved(self, offset: tuple[float, float]) -> CcdPlace:
        """Return the place of a CCD whose centre is that far (x, y) from the even arrangement [pixel]."""
        return replace(self, offset=offset)

    def centre(self, shape: tuple[int, int], gaps: tuple[float, float, float]) -> tuple[float, float]:
        """Return the CCD's centre (x, y) from the centre of the mosaic [pixel].

        Parameters
        ----------
        shape : tuple of int
            (ny, nx) of the imaging area of a CCD, the camera's own or another.
        gaps : tuple of float
            Gaps between columns, between the two middle rows, and between other rows [pixel].
        """
        ny, nx = shape
        gap_x, gap_middle, gap_y = gaps
        if not self.split:
            height = self.up * (ny + gap_y)
        else:
            height = (ny + gap_middle) / 2
            for _ in range(round(abs(self.up) - 0.5)):
                height = height + ny + gap_y
            height = height if self.up > 0 else -height
        return self.right * (nx + gap_x) + self.offset[0], height + self.offset[1]


class Camera(Params):
    """The camera: names and numbers of its CCDs, and their places in the mosaic."""

    name: str = key("", "Name of the camera, for headings; empty if its mosaic is not known.")
    first_ccd: int = key(0, "Number of the first CCD.", ge=0, le=1000)
    ccd_pattern: str = key(
        r"ccd(\d+)",
        "Regular expression of EXTNAME, in either case, whose group is the number of the CCD; where no HDU has such a "
        "name, the first image is the first CCD.",
    )
    ccd_names: tuple[str, ...] = key(
        (), "EXTNAME of every CCD, in the order of the numbers; in place of ccd_pattern, and for {ccd} in file names."
    )
    section: str = key("", "Part of a CCD that sees the sky, [x0:x1,y0:y1], 1-based; empty if not known.")
    rows: tuple[tuple[int, ...], ...] = key(
        (), "Numbers of the CCDs row by row from the top, each row from left to right and centred on the mosaic."
    )
    columns: tuple[tuple[int, ...], ...] = key(
        (), "The same column by column from the left, each from top to bottom and centred; in place of rows."
    )
    gaps: tuple[float, float, float] = key(
        (0.0, 0.0, 0.0),
        "Gaps between columns, between the two middle rows (rows only), and between other rows.",
        unit="pixel",
    )
    upside_down: tuple[int, ...] = key((), "CCDs that are rotated by 180 degrees relative to the others.")
    axes: tuple[str, str] = key(("W", "N"), "Where right and up lead on the sky: N, E, S or W each.")
    first_pixels: tuple[tuple[int, int], ...] = key(
        (), "First pixel (x, y) of every CCD's section in the mosaic; without it the arrangement is even.", unit="pixel"
    )
    mosaic_centre: tuple[float, float] = key((0.0, 0.0), "Centre of the mosaic in that numbering.", unit="pixel")

    @field_validator("ccd_pattern")
    @classmethod
    def _has_one_group(cls, pattern: str) -> str:
        """Refuse what is no regular expression with one group."""
        try:
            groups = re.compile(pattern).groups
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
        if groups != 1:
            raise ValueError(f"one group in parentheses, the number of the CCD, is needed, and there are {groups}")
        return pattern

    @field_validator("ccd_names")
    @classmethod
    def _names_differ(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        """Refuse names that mean two CCDs; EXTNAME is compared without regard to case."""
        seen: dict[str, int] = {}
        for place, name in enumerate(names):
            if not name.strip():
                raise ValueError(f"the name of CCD {place} of the list is empty")
            if (other := seen.setdefault(name.lower(), place)) != place:
                raise ValueError(
                    f"{name!r} is the name of two CCDs, places {other + 1} and {place + 1} of the list (case does not "
                    "count)"
                )
        return names

    @field_validator("section")
    @classmethod
    def _is_a_section(cls, text: str) -> str:
        """Refuse what is no section of an image."""
        if text:
            if not re.fullmatch(_SECTION, text):
                raise ValueError("the form [x0:x1,y0:y1] is needed, such as [33:2080,1:4612]")
            x0, x1, y0, y1 = map(int, re.findall(r"\d+", text))
            if not (1 <= x0 < x1 and 1 <= y0 < y1):
                raise ValueError("first pixels count from 1 and are smaller than the last ones")
        return text

    @field_validator("rows", "columns")
    @classmethod
    def _ccds_differ(cls, lists: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, ...], ...]:
        """Refuse a CCD that has two places."""
        numbers = [number for each in lists for number in each]
        twice = sorted({number for number in numbers if numbers.count(number) > 1})
        if twice:
            raise ValueError(f"CCD {twice[0]} is named twice: every CCD has one place")
        if any(number < 0 for number in numbers):
            raise ValueError(f"CCD {min(numbers)}: numbers of CCDs are not negative")
        return lists

    @field_validator("axes")
    @classmethod
    def _axes_span_the_sky(cls, axes: tuple[str, str]) -> tuple[str, str]:
        """Refuse directions that are none, or on one line."""
        if sorted(axis in "NS" for axis in axes) != [False, True] or not all(axis in tuple("NESW") for axis in axes):
            raise ValueError("one of the two is N or S, the other E or W")
        return axes

    @model_validator(mode="after")
    def _parts_agree(self) -> Camera:
        """Refuse lists that do not belong together."""
        if self.rows and self.columns:
            raise ValueError("give rows or columns, not both")
        numbers = sorted(number for each in self.rows or self.columns for number in each)
        if numbers and not self.section:
            raise ValueError("the CCDs have places, so section is needed: the size of a CCD")
        if numbers and not self.name:
            raise ValueError("the CCDs have places, so the camera needs a name")
        if numbers and numbers[0] < self.first_ccd:
            raise ValueError(f"CCD {numbers[0]} has a place, and the first CCD is {self.first_ccd}")
        known = range(self.first_ccd, self.first_ccd + len(self.ccd_names))
        for number in numbers if self.ccd_names else ():
            if number not in known:
                raise ValueError(f"CCD {number} has a place, and ccd_names has names for {known[0]} to {known[-1]}")
        for number in self.upside_down:
            if number not in numbers:
                raise ValueError(f"CCD {number} is upside_down, and has no place in rows or columns")
        if self.first_pixels and len(self.first_pixels) != len(numbers):
            raise ValueError(f"first_pixels has {len(self.first_pixels)} CCDs, and rows or columns {len(numbers)}")
        return self

    def number_of(self, extname: str) -> int | None:
        """Return the number of the CCD that an EXTNAME names; None if it names none."""
        if self.ccd_names:
            return self._numbers.get(extname.strip().lower())
        match = re.fullmatch(self.ccd_pattern, extname, re.IGNORECASE)
        return int(match.group(1)) if match else None

    def name_of(self, ccd: int) -> str:
        """Return the name of a CCD: that of `ccd_names`, or its number."""
        place = ccd - self.first_ccd
        return self.ccd_names[place] if 0 <= place < len(self.ccd_names) else str(ccd)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {name.lower(): self.first_ccd + place for place, name in enumerate(self.ccd_names)}

    @property
    def box(self) -> tuple[int, int, int, int]:
        """(y0, y1, x0, x1) of `section`, half open, 0-based; all 0 if it is not known."""
        if not self.section:
            return 0, 0, 0, 0
        x0, x1, y0, y1 = map(int, re.findall(r"\d+", self.section))
        return y0 - 1, y1, x0 - 1, x1

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx) of `section`."""
        y0, y1, x0, x1 = self.box
        return y1 - y0, x1 - x0

    @property
    def ccds(self) -> tuple[int, ...]:
        """The numbers of the CCDs that have places, sorted."""
        return tuple(place.ccd for place in self.places)

    @property
    def n_row(self) -> int:
        """Rows of the arrangement."""
        return len(self.rows) or max((len(column) for column in self.columns), default=0)

    @property
    def n_column(self) -> int:
        """Columns of the arrangement."""
        return len(self.columns) or max((len(row) for row in self.rows), default=0)

    @cached_property
    def places(self) -> tuple[CcdPlace, ...]:
        """The places of all CCDs, by number."""
        places = sorted(self._even(), key=lambda place: place.ccd)
        if not self.first_pixels:
            return tuple(places)
        ny, nx = self.shape
        true = []
        for place, (first_x, first_y) in zip(places, self.first_pixels, strict=True):
            x = first_x + (nx - 1) / 2 - self.mosaic_centre[0]
            y = first_y + (ny - 1) / 2 - self.mosaic_centre[1]
            even = place.centre(self.shape, self.gaps)
            true.append(place.moved((x - even[0], y - even[1])))
        return tuple(true)

    def _even(self) -> Iterator[CcdPlace]:
        """Yield the places of the even arrangement."""
        lists = self.rows or self.columns
        longest = max((len(each) for each in lists), default=0)
        for i, numbers in enumerate(lists):
            for j, ccd in enumerate(numbers):
                across, along = i, (longest - len(numbers)) / 2 + j
                row, column = (across, along) if self.rows else (along, across)
                yield CcdPlace(
                    ccd,
                    row=row,
                    column=column,
                    upside_down=ccd in self.upside_down,
                    right=column - (self.n_column - 1) / 2,
                    up=(self.n_row - 1) / 2 - row,
                    split=bool(self.rows) and self.n_row % 2 == 0,
                )

    def place(self, ccd: int) -> CcdPlace:
        """Return the place of a CCD.

        Raises
        ------
        KeyError
            If it has none.
        """
        return self._places[ccd]

    @cached_property
    def _places(self) -> dict[int, CcdPlace]:
        return {place.ccd: place for place in self.places}
