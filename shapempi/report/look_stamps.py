"""The sheet of one object: its stamps in all epochs, one row each."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shapempi.io.atomic import replacing
from shapempi.report.look_canvas import GREY, blank_figure, count_ticks, flag_entries, flag_layer, legend, stretch
from shapempi.report.look_palette import bits_of
from shapempi.report.psf_canvas import DIVERGING, SEQUENTIAL

if TYPE_CHECKING:
    import matplotlib.axes

__all__ = ["EpochStamps", "StampSheet", "draw_stamps"]

_DPI = 100
#: Side of a stamp, space between them, and margins left, right, below and above [inch].
_SIDE, _GAP = 1.75, 0.12
_LEFT, _RIGHT, _BELOW, _ABOVE = 1.15, 0.15, 0.75, 0.35

#: Residuals are shown up to so many sigma.
_SIGMA = 5.0


@dataclass(frozen=True)
class EpochStamps:
    """One epoch of an object.

    Attributes
    ----------
    label : str
        Exposure and CCD.
    image, weight, flag, psf : ndarray [y, x]
        As in `shapempi.vignet.VignetStack`.
    jacobian : ndarray of float64 [4]
        dudx, dudy, dvdx, dvdy [arcsec/pixel].
    offset : tuple of float
        dx, dy [pixel] of the object from the stamp's centre.
    model : ndarray of float64 [y, x] or None
        The fitted galaxy [counts]; None without a fit.
    """

    label: str
    image: np.ndarray
    weight: np.ndarray
    flag: np.ndarray
    psf: np.ndarray
    jacobian: np.ndarray
    offset: tuple[float, float]
    model: np.ndarray | None

    @property
    def usable(self) -> np.ndarray:
        """The pixels that the measurement uses, bool [y, x]."""
        return (self.flag == 0) & (self.weight > 0)

    @property
    def residual(self) -> np.ndarray | None:
        """Image minus model in units of the pixel's error; NaN where a pixel is not used."""
        if self.model is None:
            return None
        usable = self.usable
        rest = (self.image - self.model) * np.sqrt(np.where(usable, self.weight, 0.0))
        return np.where(usable, rest, np.nan)

    @property
    def chi2(self) -> float | None:
        """Mean of the squared residuals of the used pixels; None without a model or a pixel."""
        rest = self.residual
        return None if rest is None or not self.usable.any() else float(np.nanmean(rest**2))


@dataclass(frozen=True)
class StampSheet:
    """All that the sheet shows.

    Attributes
    ----------
    epochs : tuple of EpochStamps
        From the top.
    title : tuple of str
        Lines above.
    lost : tuple of str
        Epochs without a stamp, and why.
    names : mapping of int to str or None
        Names of the flag bits.
    profile : str
        What was fitted.
    """

    epochs: tuple[EpochStamps, ...]
    title: tuple[str, ...]
    lost: tuple[str, ...] = ()
    names: Mapping[int, str] | None = None
    profile: str = "gauss"


def draw_stamps(sheet: StampSheet, path: Path) -> None:
    """Draw the sheet as PNG, in one step; one that is there is replaced.

    All images and models have one stretch, all weights and all PSFs one scale each.
    """
    columns = (
        "image",
        "weight",
        "flags",
        "PSF",
        f"model: {sheet.profile} of the\nnoshear fit * PSF",
        "(image - model)/sigma",
    )
    n_row = len(sheet.epochs)
    width = _LEFT + len(columns) * (_SIDE + _GAP) + _RIGHT
    wide = int(width * 11)
    title = [line for text in sheet.title for line in textwrap.wrap(text, wide)]
    foot = [line for text in sheet.lost for line in textwrap.wrap(f"lost epoch {text}", wide)]
    bits, n_pixel = _fractions(sheet)
    footer = 0.21 * (len(foot) + (len(bits) + 3 if bits else 1))
    above = 0.2 * len(title) + 0.2 + _ABOVE
    height = above + n_row * (_SIDE + _GAP) + _BELOW + footer
    figure = blank_figure(width, height)
    figure.text(0.12 / width, 1 - 0.12 / height, "\n".join(title), va="top", fontsize=10)
    scales = _scales(sheet)
    last: dict[int, Any] = {}
    for row, epoch in enumerate(sheet.epochs):
        for column, heading in enumerate(columns):
            left = _LEFT + column * (_SIDE + _GAP)
            bottom = height - above - row * (_SIDE + _GAP) - _SIDE
            axes = figure.add_axes((left / width, bottom / height, _SIDE / width, _SIDE / height))
            drawn = _PANELS[column](axes, epoch, scales, sheet.names)
            last[column] = drawn if drawn is not None else last.get(column)
            axes.set(xticks=[], yticks=[])
            if row == 0:
                axes.set_title(heading, fontsize=9)
        figure.text(
            (_LEFT - 0.08) / width, (bottom + _SIDE / 2) / height, _label(epoch), ha="right", va="center", fontsize=8
        )
    bars = (
        (0, "counts", scales.ticks),
        (1, "1/counts²", _ends(scales.weight)),
        (3, "part of the flux", _ends(scales.psf)),
        (4, "counts", scales.ticks),
        (5, "sigma", [-4.0, -2.0, 0.0, 2.0, 4.0]),
    )
    for column, label, ticks in bars:
        if last.get(column) is not None:
            left = _LEFT + column * (_SIDE + _GAP)
            place = (left / width, (footer + 0.52) / height, _SIDE / width, 0.1 / height)
            bar = figure.colorbar(last[column], cax=figure.add_axes(place), orientation="horizontal")
            bar.ax.tick_params(labelsize=7)
            bar.set_ticks(ticks)
            bar.set_label(label, fontsize=8)
    entries = [
        _patch(text, colour) for text, colour in flag_entries({b: n / n_pixel for b, n in bits.items()}, sheet.names)
    ]
    legend(figure, (0.12 / width, footer / height), "flags (part of all stamps' pixels); hatched: not used", entries)
    figure.text(0.12 / width, 0.1 / height, "\n".join(foot), va="bottom", fontsize=9, color="#D55E00")
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=_DPI)


def _fractions(sheet: StampSheet) -> tuple[dict[int, int], int]:
    """Return how many pixels of all stamps have each bit, and how many there are."""
    planes = [epoch.flag for epoch in sheet.epochs]
    every = int(np.bitwise_or.reduce([np.bitwise_or.reduce(plane, axis=None) for plane in planes])) if planes else 0
    counts = {bit: sum(int(np.count_nonzero(plane & bit)) for plane in planes) for bit in bits_of(every)}
    return counts, max(sum(plane.size for plane in planes), 1)


@dataclass(frozen=True)
class _Scales:
    """Scales that all epochs have in common."""

    counts: Any
    ticks: list[float]
    weight: float
    psf: float


def _scales(sheet: StampSheet) -> _Scales:
    """Find the scales; the counts' from pixels that are used, where there are any."""
    used = [epoch.image[epoch.usable] for epoch in sheet.epochs]
    pixels = np.concatenate([np.zeros(0), *used])
    if not len(pixels):
        pixels = np.concatenate([np.zeros(1), *(epoch.image.ravel() for epoch in sheet.epochs)])
    weight = max((float(epoch.weight.max()) for epoch in sheet.epochs), default=0.0)
    psf = max((float(epoch.psf.max()) for epoch in sheet.epochs), default=0.0)
    return _Scales(stretch(pixels), count_ticks(pixels)[1::2], weight if weight > 0 else 1.0, psf if psf > 0 else 1.0)


def _ends(top: float) -> list[float]:
    """Return 0 and the largest round value on a scale."""
    power = 10.0 ** np.floor(np.log10(top))
    return [0.0, float(max(step for step in (1, 2, 5) if step * power <= top) * power)]


def _label(epoch: EpochStamps) -> str:
    """Return what stands left of a row."""
    lines = [epoch.label, f"{100 * (1 - float(epoch.usable.mean())):.2g} % not used"]
    if epoch.chi2 is not None:
        lines.append(rf"$\chi^2$/pixel {epoch.chi2:.2f}")
    return "\n".join(lines)


def _show(axes: matplotlib.axes.Axes, values: np.ndarray, **options: Any) -> Any:
    return axes.imshow(values, origin="lower", interpolation="nearest", **options)


def _mark_centre(axes: matplotlib.axes.Axes, epoch: EpochStamps) -> None:
    """Mark the object's position by two strokes that leave it free."""
    half = epoch.image.shape[0] // 2
    x, y = half + epoch.offset[0], half + epoch.offset[1]
    reach = 0.16 * epoch.image.shape[0]
    style: dict[str, Any] = {"color": "#D55E00", "lw": 1.0}
    axes.plot([x + reach * 0.6, x + reach], [y, y], **style)
    axes.plot([x, x], [y + reach * 0.6, y + reach], **style)


def _image(axes: matplotlib.axes.Axes, epoch: EpochStamps, scales: _Scales, names: Any) -> Any:
    """Draw the image with the object's place and the directions of the sky."""
    drawn = _show(axes, epoch.image, cmap=GREY, norm=scales.counts)
    _mark_centre(axes, epoch)
    inverse = np.linalg.inv(epoch.jacobian.reshape(2, 2))
    size = epoch.image.shape[0]
    arms = [inverse @ (0.0, 1.0), inverse @ (-1.0, 0.0)]
    start = 0.16 * size - 0.5 - 0.09 * size * np.minimum(np.sum([arm / np.linalg.norm(arm) for arm in arms], axis=0), 0)
    for name, direction in zip("NE", arms, strict=True):
        step = 0.09 * size * direction / np.linalg.norm(direction)
        axes.annotate(
            "",
            xy=tuple(start + step),
            xytext=tuple(start),
            arrowprops={"arrowstyle": "-", "color": "#0072B2", "lw": 1.2},
        )
        x, y = start + 1.7 * step
        axes.text(x, y, name, color="#0072B2", fontsize=7, ha="center", va="center")
    return drawn


def _weight(axes: matplotlib.axes.Axes, epoch: EpochStamps, scales: _Scales, names: Any) -> Any:
    return _show(axes, epoch.weight, cmap=SEQUENTIAL, vmin=0.0, vmax=scales.weight)


def _flags(axes: matplotlib.axes.Axes, epoch: EpochStamps, scales: _Scales, names: Any) -> None:
    """Draw the flags over the faint image."""
    _show(axes, epoch.image, cmap=GREY, norm=scales.counts, alpha=0.45)
    bits = {
        bit: ((epoch.flag & bit) != 0).astype(np.float32)
        for bit in bits_of(int(np.bitwise_or.reduce(epoch.flag, axis=None)))
    }
    if bits:
        layer = flag_layer(bits, names)
        layer[..., 3] = np.where(layer[..., 3] > 0, 0.85, 0.0)
        _show(axes, layer)


def _psf(axes: matplotlib.axes.Axes, epoch: EpochStamps, scales: _Scales, names: Any) -> Any:
    from matplotlib.colors import PowerNorm

    return _show(axes, np.maximum(epoch.psf, 0.0), cmap=GREY, norm=PowerNorm(0.5, vmin=0.0, vmax=scales.psf))


def _model(axes: matplotlib.axes.Axes, epoch: EpochStamps, scales: _Scales, names: Any) -> Any:
    """Draw the model, or say that there is none."""
    if epoch.model is None:
        return _absent(axes)
    return _show(axes, epoch.model, cmap=GREY, norm=scales.counts)


def _residual(axes: matplotlib.axes.Axes, epoch: EpochStamps, scales: _Scales, names: Any) -> Any:
    """Draw the residual; pixels that are not used are hatched."""
    rest = epoch.residual
    if rest is None:
        return _absent(axes)
    drawn = _show(axes, rest, cmap=DIVERGING, vmin=-_SIGMA, vmax=_SIGMA)
    axes.patch.set(facecolor="0.85", hatch="////", edgecolor="0.6")
    return drawn


def _absent(axes: matplotlib.axes.Axes) -> None:
    axes.text(0.5, 0.5, "no fit", ha="center", va="center", transform=axes.transAxes, fontsize=9)


_PANELS = (_image, _weight, _flags, _psf, _model, _residual)


def _patch(text: str, colour: str) -> Any:
    from matplotlib.patches import Patch

    return Patch(fc=colour, alpha=0.85, label=text)
