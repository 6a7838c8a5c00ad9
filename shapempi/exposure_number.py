"""How the number of an exposure is written in file names and found in them (specification, section 2.5)."""

from __future__ import annotations

import re

from pydantic import field_validator

from shapempi.params import Params, key

__all__ = ["CFIS_NUMBER", "ExposureNumber"]

#: Digits that a number may have: with the number of a CCD it fits into 64 bits.
_MOST_DIGITS = 14


class ExposureNumber(Params):
    """How the number of an exposure is written in file names, and found in file names and HISTORY cards."""

    form: str = key(
        "NNNNNNN", "The number in file names: as many N as there are digits, and other characters, NNNNNN_NNNNNN say."
    )
    pattern: str = key(
        r"(?<!\d)(\d{6,8})p?[a-z.]*fits",
        "Regular expression that finds the number in a HISTORY card or file name; its groups together are the digits.",
    )

    @field_validator("form")
    @classmethod
    def _has_digits(cls, form: str) -> str:
        """Refuse a form without places for digits, or with too many."""
        if not 1 <= form.count("N") <= _MOST_DIGITS:
            raise ValueError(f"between 1 and {_MOST_DIGITS} N are needed, one for each digit")
        if re.search(r"[/\\\d{}*?\[\]]", form):
            raise ValueError("beside N there are letters and punctuation, no digits, braces, * or /")
        return form

    @field_validator("pattern")
    @classmethod
    def _has_groups(cls, pattern: str) -> str:
        """Refuse what is no regular expression with groups."""
        try:
            groups = re.compile(pattern).groups
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
        if groups == 0:
            raise ValueError("the digits of the number must be in parentheses")
        return pattern

    def write(self, exposure: int) -> str:
        """Return the number as file names have it; one with more digits than the form has them before it."""
        digits = f"{exposure:0{self.form.count('N')}d}"
        more = len(digits) - self.form.count("N")
        rest = iter(digits[more:])
        return digits[:more] + "".join(next(rest) if letter == "N" else letter for letter in self.form)

    @property
    def written_pattern(self) -> str:
        """Regular expression of what `write` returns; numbers of CFIS have 6 to 8 digits."""
        if self == CFIS_NUMBER:
            return r"\d{6,8}"
        return "".join(r"\d" if letter == "N" else re.escape(letter) for letter in self.form)

    def find(self, text: str) -> int | None:
        """Return the number in a file name or a HISTORY card, anywhere in the text; None if there is none."""
        match = re.search(self.pattern, text)
        digits = "".join(group or "" for group in match.groups()) if match else ""
        return int(digits) if digits.isdigit() and len(digits) <= _MOST_DIGITS else None


#: The numbers of CFIS.
CFIS_NUMBER = ExposureNumber()
