"""Flag bits of pixels and of objects: every bit, its name and its meaning, once."""

from __future__ import annotations

from enum import IntFlag
from typing import Self

__all__ = ["NO_RESULT", "DescribedFlag", "ObjectFlag", "PixelFlag", "describe"]


class DescribedFlag(IntFlag):
    """Flag bits that are declared with their meaning: `NAME = value, "meaning"`."""

    def __new__(cls, value: int, meaning: str = "") -> Self:
        """Make a member whose docstring is its meaning."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.__doc__ = meaning
        return member


class PixelFlag(DescribedFlag):
    """Bits of the mask plane that shapempi makes (int32 [y, x]; 0 is a good pixel).

    The bits of an observatory's own flag image are OR-ed in unchanged; bits that meet these keep this meaning
    plus the observatory's.
    """

    WEIGHT = 1, "weight not positive or not finite"
    HALO = 2, "inside the halo of a bright star"
    BORDER = 4, "at the border of the image or outside it"
    MESSIER = 16, "inside a Messier object"
    NGC = 32, "inside an NGC or IC object"
    SPIKE = 128, "on a diffraction spike of a bright star"
    NEIGHBOUR = 1024, "belongs to another detected object"
    # Far from the bits of any observatory: pixels with this bit alone are good ones that are given up.
    TERRITORY = 1 << 24, "nearer to another detected object than to this one"


class ObjectFlag(DescribedFlag):
    """Bits of the `flags` column of an object; 0 is a good measurement.

    The meaning of the lowest seven bits follows the behaviour specification, section 11.6.
    """

    NO_EPOCH = 1, "no exposure covers the object"
    ALL_MASKED = 2, "every epoch was rejected for masked pixels"
    PSF_MISSING = 4, "every epoch that was left had no usable PSF model"
    MOMENTS_FAILED = 8, "adaptive moments gave no guess; the default guess was used"
    FIT_FAILED = 16, "the fit of at least one metacalibration type failed"
    METACAL_FAILED = 32, "the metacalibration images could not be made"
    NOISE_FAILED = 64, "the noise level of at least one used epoch could not be estimated"
    NEGATIVE_FLUX = 128, "the fitted flux is not positive, so the magnitude is NaN"
    SOME_EPOCH_LOST = 256, "at least one epoch was rejected; the result is from the others"
    CCD_FAILED = 512, "at least one epoch was lost with its CCD: its unit failed, or its PSF model was refused"
    NOT_MEASURED = 1 << 30, "there is no shape for this object; the other bits say why"


#: Bits that mean "this row has no usable shape"; the others are information about a usable one.
NO_RESULT = (
    ObjectFlag.NO_EPOCH
    | ObjectFlag.ALL_MASKED
    | ObjectFlag.PSF_MISSING
    | ObjectFlag.FIT_FAILED
    | ObjectFlag.METACAL_FAILED
    | ObjectFlag.NOT_MEASURED
)


def describe(flags: type[DescribedFlag]) -> list[tuple[int, str, str]]:
    """List the bits of a flag class as (value, name, meaning), in the order of the bits."""
    return [(member.value, member.name or "", member.__doc__ or "") for member in flags.__members__.values()]
