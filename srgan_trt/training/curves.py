"""The curves of a training: its losses, and its scores beside bicubic's, as one picture."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import missing

Columns = Mapping[str, NDArray[np.float64]]
"""Columns of a table by their names, all of one length; one is "step"."""

BICUBIC_COLOUR = "#d95f02"
_SCORE_COLOUR = "#1b6ca8"
_NO_LOSSES = frozenset({"step", "learning_rate", "seconds_per_step", "data_loading_share"})
_SMOOTHED_SHARE = 1 / 25
"""Of the rows that are averaged around each."""
_FIRST_SHARE = 0.1
"""Of the steps, whose scores do not count for the scale: those of a new network would press all others flat."""
_SIZE = (9.0, 3.2)
"""Inches of one diagram, at ``_DPI``."""
_DPI = 100


def curves(training: Columns, validation: Columns) -> bytes:
    """A PNG of up to three diagrams above one another, over the steps; what was never measured has none.

    Losses: every column of `training` but the learning rate and the times, smoothed, and as it is faintly behind.
    PSNR and SSIM: "psnr" and "ssim" of `validation`, and those of "bicubic_psnr" and "bicubic_ssim" as a dashed line;
    a first rise from far below is cut off.
    Raises MissingPackageError without matplotlib.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        raise missing("matplotlib", "train", "draw the curves of a training") from None

    scores = [(name, label) for name, label in (("psnr", "PSNR in dB"), ("ssim", "SSIM")) if name in validation]
    width, height = _SIZE
    # Not by pyplot: that keeps figures in a list of its own, and takes the screen where there is one.
    figure = Figure(figsize=(width, height * (1 + len(scores))), layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(1 + len(scores), 1, sharex=True, squeeze=False)[:, 0])
    _draw_losses(axes[0], training)
    for (name, label), below in zip(scores, axes[1:], strict=True):
        _draw_score(below, validation, name, label)
    for each in axes:
        each.grid(alpha=0.3)
        each.spines[["top", "right"]].set_visible(False)
    axes[-1].set_xlabel("step")
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=_DPI)
    return png.getvalue()


def _draw_losses(axes: Any, training: Columns) -> None:
    losses = {name: values for name, values in training.items() if name not in _NO_LOSSES}
    for number, (name, values) in enumerate(losses.items()):
        colour = f"C{number}"
        marker = "o" if values.size == 1 else None
        axes.plot(training["step"], values, color=colour, alpha=0.25, linewidth=0.8)
        axes.plot(training["step"], _smoothed(values), color=colour, linewidth=1.5, marker=marker, label=name)
    drawn = np.concatenate([*losses.values(), np.empty(0)])
    drawn = drawn[np.isfinite(drawn)]
    if drawn.size and drawn.min() > 0:
        axes.set_yscale("log")
    axes.set_ylabel("loss")
    if losses:
        _name(axes)


def _draw_score(axes: Any, validation: Columns, name: str, label: str) -> None:
    steps, values = validation["step"], validation[name]
    axes.plot(steps, values, color=_SCORE_COLOUR, marker="o", markersize=3, label="this network")
    shown = values[steps >= steps.max(initial=0) * _FIRST_SHARE]
    if (bicubic := validation.get(f"bicubic_{name}")) is not None and np.isfinite(bicubic).any():
        level = bicubic[np.isfinite(bicubic)][-1]
        axes.axhline(level, color=BICUBIC_COLOUR, linestyle="--", label=f"bicubic, {level:.4g}")
        shown = np.append(shown, level)
    shown = shown[np.isfinite(shown)]
    if shown.size and np.ptp(shown) > 0:
        margin = 0.08 * np.ptp(shown)
        axes.set_ylim(shown.min() - margin, max(shown.max(), *values[np.isfinite(values)]) + margin)
    axes.set_ylabel(label)
    _name(axes)


def _name(axes: Any) -> None:
    """The legend, above the diagram: within it, it would lie on curves."""
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=6, frameon=False, borderaxespad=0.2)


def _smoothed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means of the finite values around each row, over fewer rows at both ends; NaN where there is none."""
    reach = int(values.size * _SMOOTHED_SHARE / 2)
    rows = np.arange(values.size)
    first, end = np.maximum(rows - reach, 0), np.minimum(rows + reach + 1, values.size)
    finite = np.isfinite(values)
    sums = np.concatenate([[0.0], np.cumsum(np.where(finite, values, 0.0))])
    counts = np.concatenate([[0], np.cumsum(finite)])
    count = counts[end] - counts[first]
    means: NDArray[np.float64] = np.where(count > 0, sums[end] - sums[first], np.nan) / np.maximum(count, 1)
    return means
