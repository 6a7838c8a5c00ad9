"""What the verbs about single images do: print, and return the exit code."""

from __future__ import annotations

import argparse
from pathlib import Path

from shapempi.config import load
from shapempi.masking import MaskSource, mask_image, read_recipe
from shapempi.measure.mask_params import MaskParams
from shapempi.stages.tile import TileMaskParams

__all__ = ["mask"]


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
    source = MaskSource(options.image, options.weight, options.flag, files["stars"], hdu=options.hdu, ccd=options.ccd)
    result = mask_image(
        source,
        found.recipe,
        options.output,
        regions=options.regions,
        overwrite=options.overwrite,
        keywords=None if given is None else given.keywords,
    )
    print("\n".join(result.lines()))
    return 0
