"""The stamps of one object of a run in all its epochs, with the model that was fitted to them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from shapempi.flags import ObjectFlag, PixelFlag
from shapempi.look import Look
from shapempi.measure.drawn_model import draw_fit
from shapempi.measure.vignets import Dropped
from shapempi.report.look_palette import bit_name, bits_of
from shapempi.report.look_stamps import EpochStamps, StampSheet, draw_stamps
from shapempi.run_view import ObjectId, RunView
from shapempi.stages.vignets import VignetSource
from shapempi.vignet import VignetStack

__all__ = ["look_object"]

#: What SExtractor's extraction flags mean, by bit.
_EXTRACTION = {1: "crowded", 2: "deblended", 4: "saturated", 8: "truncated", 16: "aperture", 32: "isophote"}

_CLASS = {0: "star", 1: "galaxy", 2: "other class"}


def look_object(run: RunView, name: ObjectId, output: Path) -> Look:
    """Draw an object in all epochs: image, weight, flags, PSF, fitted model, residual.

    The stamps are cut again by the code of the run, and the model is the catalogue's `noshear` fit, put at the
    catalogue's position and convolved with the PSF model of each epoch.  A negative T is drawn as 0: less than the PSF
    would be a deconvolution, and noise.

    Parameters
    ----------
    run : RunView
        The run.
    name : ObjectId
        The object.
    output : Path
        PNG file to write; one that is there is replaced.

    Raises
    ------
    ConfigError
        If the tile has no such object.
    MissingInputError, DataError
        If the tile is not done, or a file cannot be read.
    """
    index, row, reason = run.row_of(name)
    location = run.need(name.tile.uid)
    source = VignetSource(run.inputs, run.reader, run.settings.vignet)
    objects = source.objects(name.tile, location, np.array([index]))
    cut = source.cut(objects, source.segmentation(objects, location), run.done)
    stack = cut.stacks[0]
    model = _model(stack, row, run.settings.shapes.model)
    names = run.bit_names
    lost = tuple(f"{epoch['exposure']:07d}-{epoch['ccd']}: {_lost(run, epoch)}" for epoch in cut.dropped)
    epochs = tuple(_epoch(stack, k, None if model is None else model[k]) for k in range(len(stack.image)))
    title = (_heading(run, name, objects.table[0], row, reason), *_numbers(objects.table[0], row))
    sheet = StampSheet(epochs, title, lost, names, run.settings.shapes.model)
    draw_stamps(sheet, output)
    facts = [f"{epoch.label}: {_facts(epoch, names)}" for epoch in epochs]
    return Look(output, (*title, *facts, *(f"lost epoch {text}" for text in lost)))


def _model(stack: VignetStack, row: np.ndarray | None, profile: str) -> np.ndarray | None:
    """Return the fitted galaxy in each epoch; None where there is no fit."""
    if row is None or not np.isfinite([row[f"{name}_noshear"][0] for name in ("g1", "g2", "T", "flux")]).all():
        return None
    g1, g2, T, flux = (float(row[f"{name}_noshear"][0]) for name in ("g1", "g2", "T", "flux"))
    return draw_fit(stack.psf, stack.jacobian, stack.offset, shape=(g1, g2, max(T, 0.0)), flux=flux, model=profile)


def _epoch(stack: VignetStack, k: int, model: np.ndarray | None) -> EpochStamps:
    """Return what is drawn of one epoch."""
    return EpochStamps(
        label=f"{stack.exposure[k]:07d}-{stack.ccd[k]}",
        image=stack.image[k],
        weight=stack.weight[k],
        flag=stack.flag[k],
        psf=stack.psf[k],
        jacobian=stack.jacobian[k],
        offset=(float(stack.offset[k, 0]), float(stack.offset[k, 1])),
        model=model,
    )


def _facts(epoch: EpochStamps, names: dict[int, str]) -> str:
    """Return the part of the stamp with each bit, and how well the model describes the rest."""
    parts = [
        f"{bit_name(bit, names)} {100 * float(((epoch.flag & bit) != 0).mean()):.3g} %"
        for bit in bits_of(int(np.bitwise_or.reduce(epoch.flag, axis=None)))
    ]
    text = ", ".join(parts) or "no flags"
    return text if epoch.chi2 is None else f"{text}; chi2 per pixel {epoch.chi2:.3f}"


def _lost(run: RunView, epoch: np.void) -> str:
    """Return why an epoch has no stamp."""
    if epoch["reason"] == Dropped.CENTRE_OUTSIDE:
        return "the object is outside the part of the CCD with sky"
    uid = f"ccd:{epoch['exposure']:07d}-{epoch['ccd']}"
    if uid not in run.done:
        return run.failure(uid) or "the CCD is not done yet"
    attrs = run.reader.read(run.done[uid], names=()).attrs
    return f"no PSF model, {attrs['psf_status']}: {attrs['psf_reason']}"


def _heading(run: RunView, name: ObjectId, detection: np.void, row: np.ndarray | None, reason: str) -> str:
    """Return the first line of the title."""
    text = (
        f"{run.settings.survey.name}, object {name}, RA {detection['XWIN_WORLD']:.6f} Dec {detection['YWIN_WORLD']:.6f}"
    )
    if row is None:
        return f"{text}: not measured, {reason}"
    return f"{text}: {_CLASS.get(int(row['SPREAD_CLASS'][0]), 'not classified')}"


def _numbers(detection: np.void, row: np.ndarray | None) -> list[str]:
    """Return the catalogue's numbers as lines."""
    flags = [word for bit, word in _EXTRACTION.items() if int(detection["FLAGS"]) & bit]
    flags += [flag.name.lower() for flag in PixelFlag if int(detection["IMAFLAGS_ISO"]) & flag and flag.name]
    first = f"MAG_AUTO {detection['MAG_AUTO']:.2f}, SNR_WIN {detection['SNR_WIN']:.1f}, detection flags: "
    lines = [first + (", ".join(flags) or "none")]
    if row is None:
        return lines
    value = row[0]
    ratio = value["T_noshear"] / value["Tpsf_noshear"] if value["Tpsf_noshear"] > 0 else np.nan
    shape = [
        flag.name.lower().replace("_", " ") for flag in ObjectFlag if int(value["shape_flags"]) & flag and flag.name
    ]
    drawn = " (drawn as 0)" if ratio < 0 else ""
    lines.append(
        f"fit: mag {value['mag_noshear']:.2f}, S/N {value['s2n_noshear']:.1f}, g1 {value['g1_noshear']:+.3f}, "
        f"g2 {value['g2_noshear']:+.3f}, T/Tpsf {ratio:.2f}{drawn}, "
        f"{value['n_epoch_used']} of {value['N_EPOCH']} epochs, shape flags: {', '.join(shape) or 'none'}"
    )
    return lines
