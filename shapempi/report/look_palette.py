"""The colours of pixel flags in pictures, and their names: each once.

Colour-blind readers can tell them apart: shapempi's own bits have Okabe & Ito's colours, those of other flag images the
muted ones of Tol.
"""

from __future__ import annotations

from collections.abc import Mapping

from shapempi.flags import PixelFlag

__all__ = ["EXTERNAL", "bit_colour", "bit_name", "bit_names", "bits_of"]

#: Where the bits of an observatory's flag image begin in a plane that holds both: they may have the values of ours.
EXTERNAL = 32

_COLOURS = {
    "WEIGHT": "#D55E00",
    "HALO": "#56B4E9",
    "BORDER": "#0072B2",
    "MESSIER": "#009E73",
    "NGC": "#F0E442",
    "SPIKE": "#E69F00",
    "NEIGHBOUR": "#CC79A7",
    "TERRITORY": "#440022",
}

#: Colours of all other bits, by the bit's place.
_MUTED = ("#882255", "#117733", "#332288", "#44AA99", "#661100", "#000000", "#AA4499")


def bits_of(plane_or: int) -> list[int]:
    """Return the bits that are set in the OR of a plane, as powers of two, in their order."""
    return [1 << place for place in range(63) if plane_or >> place & 1]


def bit_names(bits: Mapping[str, int]) -> dict[int, str]:
    """Return the names of all bits of ours, where a configuration has given some kinds other bits than `PixelFlag`."""
    chosen = {str(flag.name): flag.value for flag in PixelFlag} | dict(bits)
    return {bit: name for name, value in chosen.items() for bit in bits_of(value)}


def bit_name(bit: int, names: Mapping[int, str] | None = None) -> str:
    """Return the name of a bit.

    Parameters
    ----------
    bit : int
        A power of two; from 2**EXTERNAL on it is one of the observatory's.
    names : mapping of int to str, optional
        Names of bits whose values a configuration has chosen; `PixelFlag` by default.
    """
    if bit >= 1 << EXTERNAL:
        return f"flag {bit >> EXTERNAL}"
    known = bit_names({}) if names is None else names
    return known.get(bit, f"external {bit}")


def bit_colour(bit: int, names: Mapping[int, str] | None = None) -> str:
    """Return the colour of a bit as #RRGGBB; parameters as `bit_name`."""
    place = bit.bit_length() - 1
    return _COLOURS.get(bit_name(bit, names), _MUTED[place % EXTERNAL % len(_MUTED)])
