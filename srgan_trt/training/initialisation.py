"""Where a training from nothing begins: at a network that interpolates, with all of its random parts small.

A drawn network spends its first thousands of steps on learning what colours are. Here three channels carry the
picture through the whole of it, and the training is left with the difference between interpolation and truth.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..models.generator import Architecture

_SMALL = 0.3
"""What the drawn kernels are multiplied with where they are added to the picture: a deep sum starts as its head."""
_STEEPNESS = 1.2
"""Slope g for which tanh(g*u) stays nearest to u in -1..1."""
_RGB = 3


def begin_as_interpolation(model: Any, architecture: Architecture, scale: int) -> None:
    """Changes the drawn weights of an untrained generator of ``models.generator`` so that it interpolates.

    Its first three channels become the picture in 0..1, passed on unchanged by each residual block (whose branch
    starts small or, behind a batch norm, at zero: Goyal et al., arXiv 1706.02677, section 5.1), doubled by linear
    interpolation in each sub-pixel convolution (by repetition before a nearest one), and given out by the last one.
    """
    convs = [layer for layer in model.layers if type(layer).__name__ == "Conv2D"]
    if convs[-1].filters != _RGB:
        _begin_compact(convs, architecture, scale)
        return
    norms = [layer for layer in model.layers if type(layer).__name__ == "BatchNormalization"]
    doublings = scale.bit_length() - 1
    head, tail, ups = convs[0], convs[-1], convs[len(convs) - 1 - doublings : -1]
    branches = convs[1 : len(convs) - 1 - doublings]

    _begin_head(head, architecture.input_range)
    for conv in [*branches[1:-1:2], branches[-1]]:
        kernel, bias = conv.get_weights()
        conv.set_weights([kernel * _SMALL, bias])
    for norm in [*norms[1:-1:2], *norms[-1:]]:
        norm.gamma.assign(np.zeros(norm.gamma.shape, np.float32))
    for conv in ups:
        _begin_doubling(conv)
    _begin_tail(tail, architecture.output_range)


def _begin_compact(convs: list[Any], architecture: Architecture, scale: int) -> None:
    """The compact generator: blocks as above, and all phases of the large picture at once."""
    head, *branches, tail = convs
    _begin_head(head, architecture.input_range)
    for conv in [*branches[1:-1:2], branches[-1]]:
        kernel, bias = conv.get_weights()
        conv.set_weights([kernel * _SMALL, bias])
    kernel, bias = tail.get_weights()
    kernel *= _SMALL
    kernel[:, :, :_RGB] = 0
    for row in range(scale):
        for column in range(scale):
            for colour in range(_RGB):
                channel = (row * scale + column) * _RGB + colour
                kernel[:, :, colour, channel] = np.outer(_near(row, scale), _near(column, scale))
    tail.set_weights([kernel, bias])


def _near(phase: int, scale: int) -> NDArray[np.float32]:
    """Taps of linear interpolation on the pixel before, at and after, for one of the `scale` that a pixel becomes."""
    place = (phase + 0.5) / scale - 0.5
    return np.array([max(0.0, -place), 1 - abs(place), max(0.0, place)], np.float32)


def _begin_head(conv: Any, range_: tuple[float, float]) -> None:
    low, high = range_
    kernel, bias = conv.get_weights()
    middle = kernel.shape[0] // 2
    kernel[..., :_RGB] = 0
    for colour in range(_RGB):
        kernel[middle, middle, colour, colour] = 1 / (high - low)
        bias[colour] = -low / (high - low)
    conv.set_weights([kernel, bias])


def _begin_doubling(conv: Any) -> None:
    """The sub-pixel convolution before a shuffle by 2 (four times the channels), or the one after a repetition."""
    kernel, bias = conv.get_weights()
    channels, shuffles = kernel.shape[2], kernel.shape[3] == 4 * kernel.shape[2]
    for phase in range(4 if shuffles else 1):
        taps = _linear_taps(phase // 2, phase % 2) if shuffles else _repeated_taps()
        for colour in range(_RGB):
            kernel[..., phase * channels * shuffles + colour] = 0
            kernel[:, :, colour, phase * channels * shuffles + colour] = taps
    conv.set_weights([kernel, bias])


def _linear_taps(row: int, column: int) -> NDArray[np.float32]:
    """3x3 taps of linear interpolation for the pixel at ``row``, ``column`` of the four that one becomes."""
    return np.outer(_near(row, 2), _near(column, 2))


def _repeated_taps() -> NDArray[np.float32]:
    taps = np.zeros((3, 3), np.float32)
    taps[1, 1] = 1
    return taps


def _begin_tail(conv: Any, range_: tuple[float, float]) -> None:
    """The last convolution, before its tanh: the three channels, and little of the others."""
    low, high = range_
    kernel, bias = conv.get_weights()
    kernel *= _SMALL
    middle = kernel.shape[0] // 2
    for colour in range(_RGB):
        kernel[:, :, :_RGB, colour] = 0
        kernel[middle, middle, colour, colour] = _STEEPNESS * (high - low)
        bias[colour] = _STEEPNESS * low
    conv.set_weights([kernel, bias])
