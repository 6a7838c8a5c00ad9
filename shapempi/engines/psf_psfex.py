"""PSFEx as an engine: the stars go to the program as a catalogue, its model comes back as a file.

The configuration is that of the behaviour specification, section 7.1, but nothing is drawn, and PSFEx selects no
stars itself: that is done.  It knows one background noise for all stars, the median of theirs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from shapempi.engines.measured_stars import MeasuredStars
from shapempi.engines.program import Finished, Program, keep_files, private_folder
from shapempi.engines.psf_params import PsfexParams, PsfParams
from shapempi.errors import ConfigError, DataError, MissingInputError
from shapempi.io.ldac import write_ldac
from shapempi.io.psfex import read_psf, read_used_stars
from shapempi.measure.psf.outcome import PsfFit, PsfStatus
from shapempi.measure.psf.sample import StarSample
from shapempi.measure.psf.width import model_fwhm
from shapempi.psf import PsfModel

__all__ = ["PsfexPsf"]

_CURE = "`apt install psfex` or `conda install -c conda-forge astromatic-psfex`, or name it in psf.psfex.program"

#: Names in the private folder.
_STARS, _MODEL, _OUTPUT, _SETTINGS = "stars.cat", "stars.psf", "output.cat", "settings.psfex"

#: What a configuration file of the user's may change.
_DEFAULTS = {
    "BASIS_TYPE": "PIXEL",
    "PSF_PIXELSIZE": "1.0",
    "MEF_TYPE": "INDEPENDENT",
    # Numbers about the model that nobody reads, by fits to snapshots of it: one is the fewest.
    "PSFVAR_NSNAP": "1",
    "SAMPLE_AUTOSELECT": "N",
    "SAMPLE_MINSN": "1",
    "SAMPLE_MAXELLIP": "1.0",
    "BADPIXEL_FILTER": "N",
    "HOMOBASIS_TYPE": "NONE",
}


class PsfexPsf:
    """Lets PSFEx make PSF models.

    Parameters
    ----------
    params : PsfParams
        The settings.

    Raises
    ------
    EngineError
        If there is no PSFEx; the message says how to get it.
    ConfigError
        If the configuration file of PSFEx that the settings name is not there.
    """

    def __init__(self, params: PsfParams) -> None:
        self._params = params
        configuration = params.psfex.configuration
        if configuration is not None and not configuration.is_file():
            raise ConfigError(f"psf.psfex.configuration: there is no file {configuration}")
        self._program = Program.find([params.psfex.program], setting="psf.psfex.program", cure=_CURE)

    @property
    def version(self) -> str:
        """Name and version."""
        return f"psfex {self._program.version}"

    def fit(self, stars: StarSample) -> PsfFit:
        """Fit a PSF model; see `PsfEngine.fit`.

        The result does not depend on the order of the stars.  `used`, `chi2` and `flux` are PSFEx's own; stars that
        it was not given or did not load have NaN.
        """
        measured = MeasuredStars.of(stars)
        if refusal := measured.refusal(self._params):
            return PsfFit.refused(len(stars), *refusal)
        with private_folder(self._params.psfex.scratch) as folder:
            finished = self._run(measured, folder)
            self._keep(measured, folder)
            return self._result(measured, finished, folder)

    def _run(self, measured: MeasuredStars, folder: Path) -> Finished:
        """Write the catalogue and run PSFEx."""
        params, sample = self._params.psfex, measured.sample
        header = {
            "SIMPLE": "T",
            "BITPIX": -32,
            "NAXIS": 2,
            "NAXIS1": sample.shape[1],
            "NAXIS2": sample.shape[0],
            "SEXBKDEV": f"{measured.noise:.9E}",
            "SEXGAIN": f"{max(sample.gain, 0.0):.9E}",
        }
        cards = "".join(f"{keyword:<8}= {value:>20}".ljust(80) for keyword, value in header.items())
        write_ldac(folder / _STARS, _catalogue(measured, params), cards, overwrite=True)
        defaults = _DEFAULTS | {
            "BASIS_NUMBER": str(params.basis_number),
            "PSF_ACCURACY": f"{params.accuracy:g}",
            "PSF_RECENTER": "Y" if params.recenter else "N",
            # Its middle is what PSFEx takes as the FWHM.
            "SAMPLE_FWHMRANGE": f"0.0,{2 * measured.fwhm:.6f}",
        }
        configuration = params.configuration
        if configuration is None:
            configuration = folder / _SETTINGS
            configuration.write_text("".join(f"{keyword} {value}\n" for keyword, value in defaults.items()))
        arguments = [_STARS, "-c", str(configuration.absolute())]
        for keyword, value in self._rules(measured).items():
            arguments += [f"-{keyword}", value]
        return self._program.run(arguments, folder=folder, timeout=params.timeout)

    def _rules(self, measured: MeasuredStars) -> Mapping[str, str]:
        """Return what no configuration file changes: the form of the model, and what is read and written."""
        form, params = self._params, self._params.psfex
        step = form.step(measured.fwhm)
        size = form.grid_size(step)
        return {
            "PSF_SIZE": f"{size},{size}",
            "PSF_SAMPLING": f"{step:g}",
            "PSFVAR_KEYS": "XWIN_IMAGE,YWIN_IMAGE",
            "PSFVAR_GROUPS": "1,1",
            "PSFVAR_DEGREES": str(form.degree),
            "CENTER_KEYS": "X_IMAGE,Y_IMAGE",
            "PHOTFLUX_KEY": params.flux,
            "PHOTFLUXERR_KEY": params.flux.replace("FLUX", "FLUXERR"),
            "OUTCAT_TYPE": "FITS_LDAC",
            "OUTCAT_NAME": _OUTPUT,
            "CHECKPLOT_DEV": params.check_plot_device if params.check_plots else "NULL",
            "CHECKPLOT_TYPE": ",".join(params.check_plots) or "NONE",
            "CHECKPLOT_NAME": ",".join(f"plot_{name.lower()}" for name in params.check_plots) or "none",
            "CHECKIMAGE_TYPE": ",".join(params.check_images) or "NONE",
            "CHECKIMAGE_NAME": ",".join(f"image_{name.lower()}.fits" for name in params.check_images) or "none.fits",
            "PSF_DIR": ".",
            "PSF_SUFFIX": ".psf",
            "WRITE_XML": "N",
            "VERBOSE_TYPE": "NORMAL",
            "NTHREADS": "1",
        }

    def _keep(self, measured: MeasuredStars, folder: Path) -> None:
        """Copy what PSFEx read and wrote to where the user wants it."""
        keep = self._params.psfex.keep
        if keep is None:
            return
        # A sample without a name has its stars' places of its own.
        places = np.ascontiguousarray([measured.sample.x, measured.sample.y])
        label = measured.sample.label or hashlib.sha256(places.tobytes()).hexdigest()[:16]
        keep_files(folder, keep / label, "psf.psfex.keep")

    def _result(self, measured: MeasuredStars, finished: Finished, folder: Path) -> PsfFit:
        """Read PSFEx's model and what it says about each star."""
        n = measured.n_given
        if finished.code:
            reason = f"PSFEx ended with code {finished.code}: {finished.complaint()}"
            return PsfFit.refused(n, PsfStatus.FIT_FAILED, reason)
        if not (folder / _MODEL).is_file():
            reason = f"PSFEx made no model of {len(measured)} stars: {finished.complaint()}"
            return PsfFit.refused(n, PsfStatus.FIT_FAILED, reason)
        try:
            model = read_psf(folder / _MODEL)
            used, chi2, flux = _about_stars(read_used_stars(folder / _OUTPUT), len(measured))
        except (DataError, MissingInputError) as error:
            reason = f"what PSFEx made of {len(measured)} stars cannot be used: {error}".replace(f"{folder}/", "")
            return PsfFit.refused(n, PsfStatus.FIT_FAILED, reason)
        if reason := _no_psf(model):
            return PsfFit.refused(n, PsfStatus.FIT_FAILED, f"PSFEx's model of {len(measured)} stars {reason}")
        status, reason = self._params.acceptance.judge(model.n_star, model.chi2)
        return PsfFit(
            model=replace(model, fwhm=model_fwhm(model)),
            used=measured.spread(used, False),
            chi2=measured.spread(chi2, np.nan),
            flux=measured.spread(flux, np.nan),
            shift=np.zeros((n, 2)),
            status=status,
            reason=reason,
        )


def _catalogue(measured: MeasuredStars, params: PsfexParams) -> np.ndarray:
    """Return the stars as SExtractor's table: the columns that PSFEx asks for."""
    sample = measured.sample
    vignets, centre = measured.recentred()
    flux = {"FLUX_AUTO": sample.flux}
    if params.flux == "FLUX_APER":
        flux["FLUX_APER"] = measured.aperture_flux(params.aperture * measured.fwhm)
    columns: dict[str, np.ndarray] = {
        "VIGNET": vignets,
        # What counts is where the star is in its vignet: SExtractor centres that on the nearest pixel.
        "X_IMAGE": np.rint(sample.x - centre[:, 0]) + 1.0 + centre[:, 0],
        "Y_IMAGE": np.rint(sample.y - centre[:, 1]) + 1.0 + centre[:, 1],
        "XWIN_IMAGE": sample.x + 1.0,
        "YWIN_IMAGE": sample.y + 1.0,
        "SNR_WIN": sample.flux / np.where(sample.flux_err > 0, sample.flux_err, 1.0),
        "FLUX_RADIUS": np.sqrt(2.0 * np.log(2.0)) * measured.sigma,
        "ELONGATION": np.ones(len(measured)),
        "FLAGS": np.zeros(len(measured)),
    }
    for name, values in flux.items():
        columns[name], columns[name.replace("FLUX", "FLUXERR")] = values, sample.flux_err
    # PSFEx takes numbers as single precision without looking, but for positions.
    types = {name: "f8" if name[0] in "XY" else "f4" for name in columns} | {"FLAGS": "i2"}
    table = np.zeros(len(measured), [(name, types[name], values.shape[1:]) for name, values in columns.items()])
    for name, values in columns.items():
        table[name] = values
    return table


def _about_stars(table: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return from PSFEx's output catalogue who was used, chi2 per pixel and flux; NaN where it says nothing."""
    rows = table["SOURCE_NUMBER"] - 1
    if np.any((rows < 0) | (rows >= n)):
        raise DataError(f"{_OUTPUT}: SOURCE_NUMBER is outside 1 to {n}")
    used, chi2, flux = np.zeros(n, dtype=bool), np.full(n, np.nan), np.full(n, np.nan)
    used[rows] = table["FLAGS_PSF"] == 0
    chi2[rows], flux[rows] = table["CHI2_PSF"], table["NORM_PSF"]
    return used, chi2, flux


def _no_psf(model: PsfModel) -> str:
    """Return why a model is no PSF, or an empty text."""
    if model.n_star < 1:
        return "has no accepted star"
    if not model.coefficients[0].sum() > 0:
        return "has no flux"
    return ""
