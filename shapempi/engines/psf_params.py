"""All settings of the PSF model, those of every engine included."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from shapempi.measure.psf.params import NativePsfParams, PsfModelParams
from shapempi.params import Params, key

__all__ = ["PiffParams", "PsfParams", "PsfexParams"]

#: Figures of PSFEx that can be asked for.
CheckPlot = Literal[
    "SELECTION_FWHM",
    "FWHM",
    "ELLIPTICITY",
    "COUNTS",
    "COUNT_FRACTION",
    "CHI2",
    "RESIDUALS",
    "MOFFAT_RESIDUALS",
    "ASYMMETRY",
]

#: Images of PSFEx that can be asked for.
CheckImage = Literal[
    "CHI", "PROTOTYPES", "SAMPLES", "RESIDUALS", "SNAPSHOTS", "MOFFAT", "-MOFFAT", "-SYMMETRICAL", "BASIS"
]


class PsfexParams(Params):
    """PSFEx, the program."""

    program: str = key("psfex", "Name of the program in PATH, or its path.", min_length=1)
    timeout: float = key(600.0, "Time after which a run of PSFEx is given up.", unit="s", gt=0)
    scratch: Path | None = key(None, "Folder for temporary files; without it $TMPDIR, or the system's folder.")
    configuration: Path | None = key(
        None,
        "Configuration file of PSFEx, used instead of accuracy, basis_number and recenter; the rest stays.",
    )
    accuracy: float = key(0.01, "PSF_ACCURACY: relative error that is added to the noise of every pixel.", ge=0)
    basis_number: int = key(
        20, "BASIS_NUMBER: side of the square of the grid's pixels that are fitted in detail.", unit="model pixel", ge=3
    )
    recenter: bool = key(False, "PSF_RECENTER: whether the stars' centres are fitted, too.")
    flux: Literal["FLUX_AUTO", "FLUX_APER"] = key(
        "FLUX_AUTO", "PHOTFLUX_KEY: FLUX_AUTO the detection's flux, FLUX_APER the vignet's in an aperture."
    )
    aperture: float = key(5.0, "Diameter of the aperture of FLUX_APER.", unit="FWHM", gt=0)
    check_plots: tuple[CheckPlot, ...] = key((), "CHECKPLOT_TYPE: figures that PSFEx makes; they take seconds per CCD.")
    check_plot_device: Literal["PNG", "SVG", "PSC", "PDFC"] = key(
        "PNG", "CHECKPLOT_DEV: form of the figures; some builds of PSFEx lack the driver for PNG and end with an error."
    )
    check_images: tuple[CheckImage, ...] = key((), "CHECKIMAGE_TYPE: images that PSFEx makes.")
    keep: Path | None = key(
        None,
        "Folder that gets catalogue, model, figures and images of every run of PSFEx, in a folder of their own.",
    )


class PiffParams(Params):
    """Piff's PixelGrid with polynomial interpolation."""

    extent: float = key(
        25.0,
        "Side of Piff's grid, at most psf.size; 25 takes 1.5 GB for 100 stars, more takes much more.",
        unit="pixel",
        ge=9,
    )
    accuracy: float = key(0.01, "Relative error of the model that is added to the noise of every pixel.", ge=0)
    recenter: bool = key(True, "Whether the stars' centres are fitted, too.")
    star_clip: float = key(4.0, "Stars whose chi2 is above the expected one by more are left out.", unit="sigma", gt=1)
    star_clip_fraction: float = key(0.05, "Largest part of the stars left out in one iteration.", gt=0, lt=1)
    max_iterations: int = key(30, "Most iterations of a fit.", ge=2)
    chi2_tolerance: float = key(0.1, "Change of the reduced chi2 at which the fit ends.", gt=0)


class PsfParams(PsfModelParams):
    """The PSF model of a CCD."""

    engine: Literal["native", "psfex", "piff"] = key(
        "native", "What makes the model: native the fit in process, psfex the program, piff the Python package."
    )
    native: NativePsfParams = NativePsfParams()
    psfex: PsfexParams = PsfexParams()
    piff: PiffParams = PiffParams()
