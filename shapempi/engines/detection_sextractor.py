"""source-extractor as an engine: the images go to the program as files, catalogue and segmentation come back.

Behaviour specification, section 5.  What the program measures on pixels is taken as it is.  Magnitudes, sky positions
and surface brightness follow from that as they do for the detection in process, with the image's own WCS, whose
distortions the program may not know.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from shapempi.engines.detection_params import DetectionEngineParams
from shapempi.engines.program import Finished, Program, keep_files, private_folder
from shapempi.engines.sextractor_settings import COLUMNS, SextractorSettings
from shapempi.errors import DataError, EngineError, MeasurementError, MissingInputError
from shapempi.io.fits import card_value, image_hdus, read_section
from shapempi.io.fits_image import write_image
from shapempi.io.ldac import read_ldac
from shapempi.measure.background import BackgroundMesh
from shapempi.measure.detect import Detections
from shapempi.measure.detection_table import DETECTION_DTYPE, SexFlag, fill_magnitudes, fill_sky
from shapempi.measure.pixel_source import Frame, PixelSource

__all__ = ["SourceExtractorDetection"]

_NAMES = ("source-extractor", "sex", "sextractor")
_CURE = "`apt install source-extractor` or `conda install -c conda-forge astromatic-source-extractor`, or name it there"

#: Names in the private folder.
_CATALOGUE, _SEGMENTATION, _SETTINGS = "catalogue.fits", "segmentation.fits", "settings.sex"
_COLUMNS, _FILTER, _NETWORK = "columns.param", "filter.conv", "network.nnw"

#: Rows that are handed over at a time.
_ROWS = 1024
#: No image is saturated at this level [ADU].
_NEVER = 1e30
#: Objects that the program keeps in memory for the cleaning: at least these, or one for so many pixels.
_OBJECT_STACK, _PIXELS_PER_OBJECT = 3000, 1000
#: Bytes of what the program says that are looked through: its warnings are among a report every 25 rows.
_KEPT = 1_000_000
#: What says that the program ran out of the memory that it was given.
_OVERFLOW = re.compile(r"(?i)stack overflow")


class SourceExtractorDetection:
    """Lets source-extractor detect.

    Parameters
    ----------
    params : DetectionEngineParams
        The settings.
    table : str
        Name of their table in the configuration, for messages.

    Raises
    ------
    EngineError
        If there is no source-extractor; the message says how to get it.
    ConfigError
        If a file that the settings name is not there or is wrong.
    """

    def __init__(self, params: DetectionEngineParams, table: str) -> None:
        self._params = params
        self._table = table
        names = [params.program.program] if params.program.program else _NAMES
        self._program = Program.find(names, setting=f"{table}.program.program", cure=_CURE)
        self._settings = SextractorSettings.read(params, self._program, table)

    @property
    def version(self) -> str:
        """Name and version."""
        return f"source-extractor {self._program.version}"

    @property
    def contents(self) -> tuple[str, ...]:
        """The contents of the files that decide what is detected."""
        return (self._settings.text,)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know about the files."""
        return self._settings.notes

    def detect(
        self,
        source: PixelSource,
        frame: Frame,
        *,
        background: BackgroundMesh | None = None,
        detection: PixelSource | None = None,
    ) -> Detections:
        """Find and measure the objects of one image; see `DetectionEngine.detect`."""
        images = {"measure": source} if detection is None else {"detect": detection, "measure": source}
        if detection is not None and detection.shape != source.shape:
            raise DataError(
                f"detection: the image to detect in has the shape {detection.shape}, the one to measure in "
                f"{source.shape}; both must be on the same pixels"
            )
        level = _typical(background)
        with private_folder(self._params.program.scratch) as folder:
            usable = [self._write(folder, role, image, frame) for role, image in images.items()]
            if not all(usable):
                return Detections(np.empty(0, DETECTION_DTYPE), np.zeros(source.shape, np.int32), 1.0)
            finished = self._run(folder, list(images), source.shape, frame, level)
            self._keep(folder, frame)
            return self._result(folder, finished, source.shape, frame, background, dual=detection is not None)

    def _write(self, folder: Path, role: str, source: PixelSource, frame: Frame) -> bool:
        """Write image, weight and flags of one source; says whether any pixel is usable."""
        usable = False

        def planes() -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
            nonlocal usable
            for y0 in range(0, source.shape[0], _ROWS):
                rows = source.read(y0, min(y0 + _ROWS, source.shape[0]))
                good = np.isfinite(rows.data) & np.isfinite(rows.weight) & (rows.weight > 0)
                usable |= bool(good.any())
                yield np.where(good, rows.data, 0.0), np.where(good, rows.weight, 0.0), rows.flag

        kinds = (("image", "float32", frame.wcs.header), ("weight", "float32", ""), ("flag", "int32", ""))
        for index, (kind, dtype, header) in enumerate(kinds):
            part = (rows[index] for rows in planes())
            write_image(folder / f"{role}_{kind}.fits", part, source.shape, dtype, header)
        return usable

    def _run(self, folder: Path, roles: Sequence[str], shape: tuple[int, int], frame: Frame, level: float) -> Finished:
        """Run the program, with more memory if it asks for that."""
        settings = self._settings
        (folder / _SETTINGS).write_text(settings.configuration)
        (folder / _COLUMNS).write_text("".join(f"{line}\n" for line in settings.columns))
        (folder / _FILTER).write_text(settings.filter)
        if settings.neural_network is not None:
            (folder / _NETWORK).write_text(settings.neural_network)
        stack, n_pixel = self._params.pixel_stack, shape[0] * shape[1]
        while True:
            words = {
                "MEMORY_OBJSTACK": str(max(_OBJECT_STACK, n_pixel // _PIXELS_PER_OBJECT)),
                "MEMORY_PIXSTACK": str(stack),
                **settings.options,
                **self._rules(roles, shape, frame, level),
            }
            arguments = [",".join(f"{role}_image.fits" for role in roles), "-c", _SETTINGS]
            for keyword, value in words.items():
                arguments += [f"-{keyword}", value]
            finished = self._program.run(arguments, folder=folder, timeout=self._params.program.timeout, kept=_KEPT)
            if finished.code:
                raise EngineError(
                    f"source-extractor ended with code {finished.code}: {finished.complaint()}; the settings are those "
                    f"of {self._table}"
                )
            if not _OVERFLOW.search(finished.stderr + finished.stdout):
                return finished
            if "MEMORY_PIXSTACK" in settings.options or stack >= n_pixel:
                raise MeasurementError(
                    f"detection failed: source-extractor's pixel stack is too small: {finished.complaint()}; is the "
                    "background subtracted and the weight map an inverse variance? If so, raise the detection threshold"
                )
            stack = min(4 * stack, n_pixel)

    def _rules(self, roles: Sequence[str], shape: tuple[int, int], frame: Frame, level: float) -> Mapping[str, str]:
        """Return what no file of the user's changes: `OURS`."""
        ny, nx = shape
        images = self._params.program.check_images
        return {
            "CATALOG_NAME": _CATALOGUE,
            "CATALOG_TYPE": "FITS_LDAC",
            "PARAMETERS_NAME": _COLUMNS,
            "FILTER_NAME": _FILTER,
            "STARNNW_NAME": _NETWORK,
            "DETECT_TYPE": "CCD",
            "WEIGHT_TYPE": ",".join("MAP_WEIGHT" for _ in roles),
            "WEIGHT_IMAGE": ",".join(f"{role}_weight.fits" for role in roles),
            "FLAG_IMAGE": "measure_flag.fits",
            "FLAG_TYPE": "OR",
            # The background is subtracted before, in the same way for every engine.
            "BACK_TYPE": "MANUAL",
            "BACK_VALUE": "0.0",
            "MAG_ZEROPOINT": f"{frame.mag_zp:.9g}",
            "GAIN": f"{max(frame.gain, 0.0):.9g}",
            "GAIN_KEY": "NONE",
            "SATUR_LEVEL": f"{min(frame.saturate - level, _NEVER):.9g}",
            "SATUR_KEY": "NONE",
            "PIXEL_SCALE": f"{frame.wcs.pixel_scale(nx / 2, ny / 2):.9g}",
            "CHECKIMAGE_TYPE": ",".join(("SEGMENTATION", *images)),
            "CHECKIMAGE_NAME": ",".join((_SEGMENTATION, *(f"image_{name.lower()}.fits" for name in images))),
            "HEADER_SUFFIX": ".none",
            "WRITE_XML": "N",
            "VERBOSE_TYPE": "NORMAL",
            "NTHREADS": "1",
        }

    def _keep(self, folder: Path, frame: Frame) -> None:
        """Copy what the program read and wrote to where the user wants it."""
        keep = self._params.program.keep
        if keep is not None:
            label = re.sub(r"[^A-Za-z0-9.]+", "-", Path(frame.wcs.path).name).strip("-")
            keep_files(folder, keep / label, f"{self._table}.program.keep")

    def _result(
        self,
        folder: Path,
        finished: Finished,
        shape: tuple[int, int],
        frame: Frame,
        background: BackgroundMesh | None,
        *,
        dual: bool,
    ) -> Detections:
        """Read catalogue and segmentation."""
        try:
            header, found = read_ldac(folder / _CATALOGUE)
            lacking = sorted(set(COLUMNS) - set(found.dtype.names or ()))
            if lacking:
                raise DataError(f"{_CATALOGUE}: {', '.join(lacking)} are missing")
            numbers = read_section(image_hdus(folder / _SEGMENTATION)[0])
            if numbers.shape != shape:
                raise DataError(f"{_SEGMENTATION}: its shape {numbers.shape} is not {shape}")
        except (DataError, MissingInputError, IndexError) as error:
            text = str(error).replace(f"{folder}/", "")
            raise EngineError(
                f"what source-extractor made cannot be used: {text}; it said: {finished.complaint()}"
            ) from error
        order = np.argsort(found["NUMBER"], kind="stable")
        found = found[order]
        table = _table(found)
        x, y = table["X_IMAGE"] - 1.0, table["Y_IMAGE"] - 1.0
        level = background.at(x, y) if background is not None else np.zeros(len(table))
        table["BACKGROUND"] = level
        # The program knows one level of the background, and this is about the pixel's own.
        saturated = found["FLUX_MAX"] + level >= frame.saturate
        table["FLAGS"] = (found["FLAGS"] & ~SexFlag.SATURATED) | SexFlag.SATURATED * saturated
        fill_magnitudes(table, frame.mag_zp)
        threshold = table["THRESHOLD"]
        if dual:  # that is the one of the image in which objects are found
            threshold = np.full(len(table), _number(header, "SEXATHLD"))
        fill_sky(table, frame.wcs, frame.mag_zp, np.asarray(found["FLUX_MAX"], dtype=float), threshold)
        ratio = _number(header, "SEXMWSCL") if self._params.rescale_weights else 1.0
        return Detections(table, _renumbered(numbers, found["NUMBER"]), ratio, _further(found, len(table)))


def _typical(background: BackgroundMesh | None) -> float:
    """Return the one level of the background that the program can be told [ADU]."""
    return 0.0 if background is None else float(np.median(background.values))


def _number(header: str, keyword: str) -> float:
    """Return what the program says of its run in the catalogue's header; NaN if it does not."""
    try:
        return float(card_value(header, keyword) or "nan")
    except ValueError:
        return float("nan")


def _first(values: np.ndarray) -> np.ndarray:
    """Return a column, of a vector the first element: that of the first aperture or fraction."""
    return values.reshape(len(values), -1)[:, 0] if values.ndim > 1 else values


def _table(found: np.ndarray) -> np.ndarray:
    """Return what the program measured as a detection table; what follows from it is not filled yet."""
    table = np.zeros(len(found), DETECTION_DTYPE)
    for name in COLUMNS:
        ours = name.removesuffix("_DBL")
        if ours in (DETECTION_DTYPE.names or ()):
            table[ours] = _first(found[name])
    table["NUMBER"] = np.arange(1, len(found) + 1)
    table["FLUX_RADIUS"][~(table["FLUX_AUTO"] > 0)] = np.nan
    return table


def _renumbered(numbers: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """Return a segmentation [int32, y, x] with the objects' rows, from 1, in place of their numbers."""
    last = int(max(numbers.max(initial=0), objects.max(initial=0)))
    row = np.zeros(last + 1, dtype=np.int32)
    row[objects] = np.arange(1, len(objects) + 1)
    return row[numbers]


def _further(found: np.ndarray, n: int) -> np.ndarray | None:
    """Return the columns that only the user asked for, and vectors of which the table has one element."""
    names = [
        name
        for name in found.dtype.names or ()
        if found.dtype[name].shape or name not in (*COLUMNS, *(DETECTION_DTYPE.names or ()))
    ]
    if not names:
        return None
    table = np.zeros(n, [(name, found.dtype[name]) for name in names])
    for name in names:
        table[name] = found[name]
    return table
