"""Lines of the form `KEY = value`, and what a value can be."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from shapempi.measure.setools.parser import parse_statement
from shapempi.measure.setools.sections import Text
from shapempi.measure.setools.source import Source, nearest
from shapempi.measure.setools.syntax import Statement

__all__ = ["Setting", "Settings", "split_setting", "unquote"]

_SUFFIXED = re.compile(r"(.+)_(\d{1,4})", re.ASCII)
_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def split_setting(line: Source) -> tuple[str, str]:
    """Split a line at its first `=` that is not between quotes; both parts without blanks around them."""
    quoted = False
    for place, character in enumerate(line.text):
        if character == '"':
            quoted = not quoted
        elif character == "=" and not quoted:
            return line.text[:place].strip(), line.text[place + 1 :].strip()
    raise line.error("there is no '='; write KEY = value")


def unquote(text: str, source: Source) -> str:
    """Drop a pair of quotes."""
    count = text.count('"')
    if count == 0:
        return text
    if count != 2:
        raise source.error("a quote is without its partner" if count == 1 else "more than one pair of quotes")
    return text.replace('"', "")


@dataclass(frozen=True)
class Setting:
    """The value of one key.

    Attributes
    ----------
    source : Source
        Its line.
    text : str
        The value, without quotes.
    """

    source: Source
    text: str

    def expression(self) -> Statement:
        """Return the value as an expression."""
        return parse_statement(self.text, self.source)

    def pair(self) -> tuple[Statement, Statement]:
        """Return two expressions with a comma between them."""
        depth = 0
        commas = []
        for place, character in enumerate(self.text):
            depth += (character in "({") - (character in ")}")
            if character == "," and depth == 0:
                commas.append(place)
        if len(commas) != 1:
            raise self.source.error("two values with a comma between them are needed")
        low, high = self.text[: commas[0]], self.text[commas[0] + 1 :]
        return parse_statement(low, self.source), parse_statement(high, self.source)

    def with_values(self) -> Text:
        """Return a text in which expressions between two @ are to be replaced by their values."""
        parts = self.text.split("@")
        if len(parts) % 2 == 0:
            raise self.source.error("an @ is without its partner; write @expression@ for a value")
        pieces = (parse_statement(part, self.source) if i % 2 else part for i, part in enumerate(parts))
        return Text(self.source, tuple(piece for piece in pieces if piece != ""))

    def number(self, low: float, high: float) -> float:
        """Return the value as a number in a range."""
        try:
            value = float(self.text)
        except ValueError:
            raise self.source.error(f"{self.text!r} is not a number") from None
        if not low <= value <= high:
            raise self.source.error(f"{value:g} is not between {low:g} and {high:g}")
        return value

    def integer(self, low: int, high: int) -> int:
        """Return the value as an integer in a range."""
        value = self.number(low, high)
        if value != int(value):
            raise self.source.error(f"{self.text} is not an integer")
        return int(value)

    def truth(self) -> bool:
        """Return the value as true or false."""
        if self.text.lower() not in _TRUTH:
            raise self.source.error(f"{self.text!r} is neither True nor False")
        return _TRUTH[self.text.lower()]

    def choice(self, known: Collection[str], what: str) -> str:
        """Return the value as one of some words."""
        if self.text not in known:
            raise self.source.error(f"there is no {what} {self.text!r}; {nearest(self.text, known)}")
        return self.text


class Settings:
    """All settings of a section, by key and number: `X_2` is the key X of data set 2, `X` that of data set 0.

    Parameters
    ----------
    lines : sequence of Source
        The section's lines.
    heading : Source
        The section's heading.
    keys : collection of str
        Keys that are known.
    numbered : collection of str, optional
        Those that may carry a number.

    Raises
    ------
    ConfigError
        If a key is unknown or is there twice, or has no value.
    """

    def __init__(
        self, lines: Sequence[Source], heading: Source, keys: Collection[str], numbered: Collection[str] = ()
    ) -> None:
        self._heading = heading
        self._values: dict[tuple[str, int], Setting] = {}
        for line in lines:
            word, text = split_setting(line)
            match = _SUFFIXED.fullmatch(word)
            key, number = (match.group(1), int(match.group(2))) if match and match.group(1) in numbered else (word, 0)
            if key not in keys:
                bare = match.group(1) if match else key
                if bare in keys:
                    raise line.error(f"{bare} is of the whole section and carries no number")
                raise line.error(f"there is no key {bare}; {nearest(bare, keys)}")
            value = Setting(line, unquote(text, line))
            if not value.text and not text:
                raise line.error(f"{word} has no value; one that begins with # must be between quotes")
            earlier = self._values.setdefault((key, number), value)
            if earlier is not value:
                raise line.error(f"{word} is already there, in line {earlier.source.number}")

    def optional(self, key: str, number: int = 0) -> Setting | None:
        """Return the value of a key, or None."""
        return self._values.get((key, number))

    def needed(self, key: str, what: str) -> Setting:
        """Return the value of a key that must be there."""
        value = self.optional(key)
        if value is None:
            raise self._heading.error(f"{key} is missing: {what}")
        return value

    def shared(self, key: str, number: int) -> Setting | None:
        """Return the value of a key for a data set: its own, that without a number, or the only one there is."""
        own = self._values.get((key, number)) or self._values.get((key, 0))
        if own is not None:
            return own
        numbers = self.numbers(key)
        return self._values[key, numbers[0]] if len(numbers) == 1 else None

    def numbers(self, key: str) -> list[int]:
        """Return the data sets for which a key is there."""
        return sorted(number for name, number in self._values if name == key)

    def items(self) -> list[tuple[str, int, Setting]]:
        """Return all keys with their numbers and values."""
        return [(key, number, value) for (key, number), value in self._values.items()]
