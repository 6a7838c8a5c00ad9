"""The settings of masks: what is masked, how far, with which bits and from which files."""

from __future__ import annotations

from typing import Literal

from shapempi.flags import PixelFlag
from shapempi.params import Params, key

__all__ = ["LARGEST_BIT", "MaskParams"]

#: The mask plane is int32, and its sign is no bit.
LARGEST_BIT = 2**31 - 1


class MaskParams(Params):
    """What is masked and how far; the defaults are those of single exposures."""

    configuration: str = key(
        "", "A .mask file of ShapePipe: its values, templates and catalogues take the place of the keys here."
    )
    border_width: int = key(
        50, "Rows and columns flagged along each side of the part with sky; 0 flags none.", unit="pixel", ge=0
    )
    border_bit: int = key(
        int(PixelFlag.BORDER), "Bit of the border and of everything outside the part with sky.", ge=1, le=LARGEST_BIT
    )
    template_scale: float = key(
        0.0, "Pixel of the templates; with 0 their pixels are those of the image.", unit="arcsec", ge=0
    )
    halo_make: bool = key(True, "Mask the halos of bright stars.")
    halo_template: str = key("", "The halo's polygon: a file (docs/masks.md), megacam or decam; empty for megacam.")
    halo_mag_limit: float = key(13.0, "Stars brighter than this get a halo.", unit="mag")
    halo_scale_factor: float = key(0.05, "Growth of the halo per magnitude.", unit="1/mag", ge=0)
    halo_mag_pivot: float = key(13.8, "Magnitude at which the halo template has its own size.", unit="mag")
    halo_min_scale: float = key(0.05, "Smallest scale of the halo template.", gt=0)
    halo_bit: int = key(int(PixelFlag.HALO), "Bit of the halos.", ge=1, le=LARGEST_BIT)
    spike_make: bool = key(True, "Mask the diffraction spikes of bright stars.")
    spike_template: str = key("", "The spikes' polygon: a file (docs/masks.md), megacam or decam; empty for megacam.")
    spike_mag_limit: float = key(18.0, "Stars brighter than this get spikes.", unit="mag")
    spike_scale_factor: float = key(0.3, "Growth of the spikes per magnitude.", unit="1/mag", ge=0)
    spike_mag_pivot: float = key(13.8, "Magnitude at which the spike template has its own size.", unit="mag")
    spike_min_scale: float = key(0.05, "Smallest scale of the spike template.", gt=0)
    spike_bit: int = key(int(PixelFlag.SPIKE), "Bit of the spikes.", ge=1, le=LARGEST_BIT)
    messier_make: bool = key(True, "Mask Messier objects, if there is a catalogue of them.")
    messier_size_plus: float = key(0.0, "Enlarge the ellipses of Messier objects by this fraction.", gt=-1)
    messier_bit: int = key(int(PixelFlag.MESSIER), "Bit of the Messier objects.", ge=1, le=LARGEST_BIT)
    ngc_make: bool = key(True, "Mask NGC and IC objects, if there is a catalogue of them.")
    ngc_size_plus: float = key(0.0, "Enlarge the ellipses of NGC and IC objects by this fraction.", gt=-1)
    ngc_bit: int = key(int(PixelFlag.NGC), "Bit of the NGC and IC objects.", ge=1, le=LARGEST_BIT)
    missing_flag_ratio: float = key(
        0.3, "An image with at least this fraction of zero pixels is marked (MFLAG).", gt=0, le=1
    )
    missing_remove: bool = key(False, "Leave out images with too many zero pixels.")
    missing_remove_ratio: float = key(
        0.75, "With missing_remove: the fraction of zero pixels from which an image is left out.", gt=0, le=1
    )
    output: tuple[Literal["flag", "regions"], ...] = key(
        (), "What of each mask is written below RUN/masks: any of flag (FITS image) and regions (for DS9)."
    )

    @property
    def bits(self) -> dict[str, int]:
        """The bits of each kind of mask, by the name of its `PixelFlag`."""
        return {
            "WEIGHT": int(PixelFlag.WEIGHT),
            "HALO": self.halo_bit,
            "BORDER": self.border_bit,
            "MESSIER": self.messier_bit,
            "NGC": self.ngc_bit,
            "SPIKE": self.spike_bit,
        }
