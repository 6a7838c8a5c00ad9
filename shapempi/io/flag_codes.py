"""The observatory's flag image: bits as they are, or codes that become bits, as a survey description says."""

from __future__ import annotations

import numpy as np
from pydantic import field_validator

from shapempi.errors import DataError
from shapempi.io.fits import Hdu
from shapempi.params import Params, key

__all__ = ["CFIS_FLAGS", "FlagCodes"]

_MOST = int(np.iinfo(np.int32).max)


class FlagCodes(Params):
    """What the values of the observatory's flag images mean."""

    codes: dict[int, int] = key(
        {}, "Bits for each value other than 0, where values are codes (3 = 4096, say); empty where they are bits."
    )
    ignored: int = key(0, "Bits that do not count, added up; of codes the bits that they became.", ge=0, le=_MOST)

    @field_validator("codes")
    @classmethod
    def _codes_are_numbers(cls, codes: dict[int, int]) -> dict[int, int]:
        """Refuse codes and bits that an image cannot have."""
        for code, bits in codes.items():
            if not 1 <= code <= _MOST:
                raise ValueError(f"the code {code} is not between 1 and {_MOST}; 0 is a good pixel")
            if not 0 <= bits <= _MOST:
                raise ValueError(f"the bits {bits} of code {code} are not between 0 and {_MOST}")
        return codes

    def bits(self, flag: np.ndarray, hdu: Hdu) -> np.ndarray:
        """Return a flag image as int32 bits [y, x].

        Parameters
        ----------
        flag : ndarray [y, x]
            The pixels.
        hdu : Hdu
            Where they are from, for messages.

        Raises
        ------
        DataError
            If there are values that are no flags, or no codes of the table.
        """
        plane = _whole_numbers(flag, hdu)
        if self.codes:
            known = np.array([0, *sorted(self.codes)])
            place = np.searchsorted(known, plane).clip(max=len(known) - 1)
            strange = np.unique(plane[known[place] != plane])
            if len(strange):
                raise DataError(
                    f"{hdu}: {', '.join(map(str, strange[:5]))} is no code of [input.flags] codes "
                    f"({', '.join(map(str, known[1:]))}); say there what it means, or {strange[0]} = 0 to let it pass"
                )
            plane = np.array([0, *(self.codes[code] for code in known[1:].tolist())], dtype=np.int32)[place]
        return plane & np.int32(_MOST ^ self.ignored) if self.ignored else plane


def _whole_numbers(flag: np.ndarray, hdu: Hdu) -> np.ndarray:
    """Return a flag image as int32, refusing what does not fit."""
    if flag.dtype.kind not in "iub":
        whole = np.rint(flag)
        if not np.array_equal(whole, flag):
            raise DataError(f"{hdu}: flags are integer bits, and this image has fractions or NaN; check the flag file")
        flag = whole
    if flag.size and (flag.min() < 0 or flag.max() > _MOST):
        raise DataError(f"{hdu}: flag values {flag.min()} to {flag.max()} do not fit 31 bits")
    return flag.astype(np.int32)


#: The flags of CFIS: bits, all of which count.
CFIS_FLAGS = FlagCodes()
