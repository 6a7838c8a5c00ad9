"""What the verbs about single images do: print, and return the exit code."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from shapempi.config import load
from shapempi.detecting import ImageFiles, detect_image, read_background
from shapempi.engines.detection_params import DetectionEngineParams
from shapempi.errors import ConfigError
from shapempi.io.exposure import CFIS_CCDS
from shapempi.io.flag_codes import CFIS_FLAGS
from shapempi.masking import MaskSource, mask_image, read_recipe
from shapempi.measure.mask_params import MaskParams
from shapempi.stages.ccd import ExposureParams
from shapempi.stages.tile import TileMaskParams, TileParams

__all__ = ["detect", "mask"]


def mask(options: argparse.Namespace) -> int:
    """Make the mask of one image."""
    settings = None if options.config is None else load(options.config)
    params: MaskParams
    if settings is None:
        params = TileMaskParams() if options.tile else MaskParams()
    else:
        params = settings.tile.mask if options.tile else settings.exposure.mask
    given = None if settings is None else settings.input
    if options.mask_config is not None:
        params = params.model_copy(update={"configuration": str(options.mask_config)})
    files: dict[str, Path | None] = {
        name: value or (None if given is None else getattr(given, f"{catalogue}_catalogue"))
        for name, value, catalogue in (
            ("stars", options.stars, "star"),
            ("messier", options.messier, "messier"),
            ("ngc", options.ngc, "ngc"),
        )
    }
    found = read_recipe(params, messier=files["messier"], ngc=files["ngc"])
    source = MaskSource(
        options.image,
        options.weight,
        options.flag,
        files["stars"],
        hdu=options.hdu,
        ccd=options.ccd,
        exposure=None if given is None or options.tile else given.exposure_number.find(options.image.name),
    )
    result = mask_image(
        source,
        found.recipe,
        options.output,
        regions=options.regions,
        overwrite=options.overwrite,
        keywords=None if given is None else given.keywords,
        camera=CFIS_CCDS if given is None else given.camera,
        flags=CFIS_FLAGS if given is None else given.flags,
    )
    print("\n".join(result.lines()))
    return 0


def detect(options: argparse.Namespace) -> int:
    """Detect the objects of one image."""
    settings = None if options.config is None else load(options.config)
    kind: ExposureParams | TileParams = TileParams() if options.tile else ExposureParams()
    given: dict[str, Any] = {}
    if settings is not None:
        kind = settings.tile if options.tile else settings.exposure
        keywords = settings.input.keywords
        if options.tile:
            keywords = keywords.model_copy(update={"background": keywords.tile_background})
        given = {"keywords": keywords, "zero_point": settings.input.mag_zp}
        given |= {"camera": settings.input.camera, "flags": settings.input.flags}
        given["background_params"] = settings.exposure.background
    # A coadd has no sky any more.
    background = options.background or ("0" if options.tile else "estimate")
    result = detect_image(
        ImageFiles(
            options.image,
            options.weight,
            options.flag,
            options.detection_image,
            options.detection_weight,
            hdu=options.hdu,
            ccd=options.ccd,
        ),
        options.output,
        _engine(kind.detection, options),
        background=read_background(background),
        vignet_size=kind.vignet_size if options.vignets else 0,
        checks=tuple(name for name in (options.check or "").split(",") if name),
        overwrite=options.overwrite,
        **given,
    )
    print("\n".join(result.lines()))
    return 0


def _engine(params: DetectionEngineParams, options: argparse.Namespace) -> DetectionEngineParams:
    """Return the settings of the detection with what the command line says."""
    files = {
        name: value
        for name, value in (
            ("configuration", options.sex),
            ("parameters", options.param),
            ("filter", options.conv),
            ("neural_network", options.nnw),
        )
        if value is not None
    }
    engine = options.engine or ("source-extractor" if files else params.engine)
    if files and engine == "sep":
        raise ConfigError("--sex, --param, --conv and --nnw are for --engine source-extractor")
    program = params.program.model_copy(update=files)
    return params.model_copy(update={"engine": engine, "program": program})
