"""The keys of the calibration: which simulated objects are measured, how many, and what counts as good enough."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import field_validator, model_validator

from shapempi.measure.shape_params import ShapeParams
from shapempi.params import REQUIRED, Params, key

__all__ = ["CalibrationParams", "CaseParams", "ViewParams"]

#: Largest intrinsic shear of a galaxy; larger ones are not drawn at random.
LARGEST_SHAPE = 0.6


class ViewParams(Params):
    """One exposure of the objects of a case: its PSF and its pixels."""

    fwhm: float = key(0.70, "Full width at half maximum of the round PSF, a Moffat profile.", unit="arcsec", gt=0)
    beta: float = key(3.5, "Moffat's exponent.", gt=1.5, le=10)
    psf_g1: float = key(0.0, "Shear of the PSF along West, in the frame (u West, v North).", gt=-0.5, lt=0.5)
    psf_g2: float = key(0.0, "Shear of the PSF at 45 degrees, in the frame (u West, v North).", gt=-0.5, lt=0.5)
    pixel_scale: float = key(0.187, "Size of a pixel, the root of its area.", unit="arcsec", gt=0)
    wcs_g1: float = key(0.0, "Shear of the pixel grid along West.", gt=-0.5, lt=0.5)
    wcs_g2: float = key(0.0, "Shear of the pixel grid at 45 degrees.", gt=-0.5, lt=0.5)
    rotation: float = key(0.0, "Rotation of the pixel grid.", unit="deg")
    flip: bool = key(False, "Whether the pixel grid is a mirror image.")


class CaseParams(Params):
    """One kind of simulated object; galaxies come in pairs that differ by a rotation by 90 degrees."""

    name: str = key(REQUIRED, "Name of the case.", pattern=r"^[a-z][a-z0-9_]*$")
    pairs: int = key(
        3000, "Pairs; each galaxy is measured with the shear and with its opposite, with the same noise.", ge=20
    )
    g1: float = key(0.016, "Shear along West, in the frame (u West, v North).", gt=-0.2, lt=0.2)
    g2: float = key(0.012, "Shear at 45 degrees, in the frame (u West, v North).", gt=-0.2, lt=0.2)
    stars: bool = key(False, "Whether the objects are points, which no shear changes.")
    nu: float = key(
        0.5, "Index of the Spergel profile: 0.5 is exponential, -0.6 much like de Vaucouleurs.", ge=-0.7, le=3
    )
    hlr_min: float = key(0.3, "Smallest half-light radius; radii are uniform in their logarithm.", unit="arcsec", gt=0)
    hlr_max: float = key(0.7, "Largest half-light radius.", unit="arcsec", gt=0)
    shape_noise: float = key(
        0.2, f"Scatter of the intrinsic shear per component; its size ends at {LARGEST_SHAPE}.", ge=0, lt=1
    )
    s2n_min: float = key(
        1000.0,
        "Smallest signal-to-noise ratio of all epochs together (matched filter); uniform in its logarithm.",
        gt=0,
    )
    s2n_max: float = key(1000.0, "Largest signal-to-noise ratio.", gt=0)
    masked_fraction: float = key(0.0, "Fraction of the pixels of a stamp that are masked, at random.", ge=0, lt=0.9)
    mask_radius: float = key(1.0, "No pixel nearer to the object's centre is masked.", unit="arcsec", ge=0)
    views: tuple[ViewParams, ...] = key(
        (ViewParams(),),
        "The epochs; a PSF that is not round is used as given and with the opposite shear.",
        min_length=1,
    )
    shapes: dict[str, bool | int | float | str] = key(
        {}, 'Keys of [shapes] that this case changes, such as { engine = "galsim" }.'
    )
    reference: str = key("", "Case with the same galaxies and noise from which the change of m is told.")

    @field_validator("shapes")
    @classmethod
    def _known(cls, shapes: dict[str, Any]) -> dict[str, Any]:
        ShapeParams.model_validate(shapes)
        return shapes

    @model_validator(mode="after")
    def _ordered(self) -> CaseParams:
        for name in ("hlr", "s2n"):
            if getattr(self, f"{name}_min") > getattr(self, f"{name}_max"):
                raise ValueError(f"{name}_min is larger than {name}_max")
        return self


#: A PSF of ellipticity 0.05 and a detector with 5 % shear that is rotated, half of it upside down as MegaCam's.
_ELLIPTIC = ViewParams(psf_g1=0.03, psf_g2=-0.04)
_TILTED = (
    ViewParams(wcs_g1=0.03, wcs_g2=0.04, rotation=25.0),
    ViewParams(wcs_g1=0.03, wcs_g2=0.04, rotation=205.0),
    ViewParams(wcs_g1=-0.04, wcs_g2=0.03, rotation=-40.0, flip=True),
)

_CASES = (
    CaseParams(name="bright"),
    CaseParams(name="faint", pairs=40000, s2n_min=20.0, s2n_max=200.0),
    CaseParams(name="wcs_bright", views=_TILTED),
    CaseParams(name="wcs", pairs=40000, s2n_min=20.0, s2n_max=200.0, views=_TILTED),
    CaseParams(name="psf", pairs=20000, s2n_min=20.0, s2n_max=200.0, views=(_ELLIPTIC,)),
    CaseParams(name="stars", pairs=10000, s2n_min=20.0, s2n_max=200.0, stars=True),
    CaseParams(name="masked", pairs=40000, s2n_min=20.0, s2n_max=200.0, masked_fraction=0.1, reference="faint"),
    CaseParams(name="masked_bright", masked_fraction=0.1, reference="bright"),
    CaseParams(name="single", shapes={"precision": "float32"}, reference="bright"),
    CaseParams(name="cut", pairs=20000, s2n_min=50.0, s2n_max=200.0, hlr_min=0.2, hlr_max=0.5),
)


class CalibrationParams(Params):
    """Constant-shear simulations of single objects (`shapempi calibrate`), with the stamps of [vignet] and [shapes]."""

    folder: Path = key("calibration", "Folder of the results; made if it is not there.")
    seed: int = key(1, "Seed of every random number; cases with the same seed have the same galaxies and noise.", ge=0)
    patches: int = key(
        50, "Parts of a case: units of work, and what the jackknife leaves out one by one.", ge=10, le=1000
    )
    batch: int = key(64, "Pairs that are drawn and measured in one call; changes no number.", ge=1)
    cut_size: float = key(0.5, "The selected sample has T/Tpsf above this.", ge=0)
    cut_s2n: float = key(10.0, "The selected sample has a signal-to-noise ratio above this.", ge=0)
    m_requirement: float = key(1e-3, "Multiplicative bias that is small enough, for the report.", gt=0)
    c_requirement: float = key(1e-4, "Additive bias that is small enough, for the report.", gt=0)
    cases: tuple[CaseParams, ...] = key(_CASES, "The cases, by default those of docs/accuracy.md.", min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> CalibrationParams:
        by_name = {case.name: case for case in self.cases}
        if len(by_name) < len(self.cases):
            raise ValueError("two cases have the same name")
        for case in self.cases:
            other = by_name.get(case.reference)
            if case.reference and other is None:
                raise ValueError(f"the reference {case.reference!r} of case {case.name!r} is no case")
            if other is not None and (other.pairs != case.pairs or other.stars or case.stars):
                raise ValueError(
                    f"case {case.name!r} and its reference must both be galaxies, as many of one as of the other"
                )
        return self
