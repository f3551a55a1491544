"""Flat colours: a white sky, black letters, a red wall.

Calibration pictures have few, users' pictures whole areas of them. A range that clips what white makes of an early
layer costs photographs next to nothing and moves white by many levels (13, with the real SRResNet and the range of
least divergence for what its second convolution reads).
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .. import graph
from ..oracle import Floats, Oracle

if TYPE_CHECKING:
    import onnx_ir as ir

    from ...spec import NetworkSpec

COLOURS = tuple((level, level, level) for level in (0, 64, 128, 192, 255)) + tuple(product((0, 255), repeat=3))[1:-1]
"""Greys, and the other corners of the colour cube."""


def flats(height: int, width: int) -> NDArray[np.uint8]:
    """uint8 (11, height, width, 3): of each of `COLOURS` a picture."""
    return np.tile(np.array(COLOURS, np.uint8)[:, None, None], (1, height, width, 1))


class Flats:
    """Holds what the exact network makes of flat pictures, uint8 (N, h, w, 3)."""

    def __init__(self, exact: ir.Model, spec: NetworkSpec, pictures: NDArray[np.uint8]) -> None:
        low, high = spec.input_range
        values = pictures.transpose(0, 3, 1, 2) * np.float32((high - low) / 255) + np.float32(low)
        self._batch: Floats = np.ascontiguousarray(values)
        self._range = spec.output_range
        self._exact = self._means(exact)
        self._missed = np.abs(self._exact - pictures.mean(axis=(1, 2)))

    def moved(self, candidate: ir.Model) -> float:
        """Levels by which the mean of a colour moved, the most of all.

        Where the exact network itself does not give the colour back, as generators do with pure ones, only what goes
        beyond that counts.
        """
        return float(np.maximum(np.abs(self._means(candidate) - self._exact) - self._missed, 0).max())

    def _means(self, model: ir.Model) -> NDArray[np.float64]:
        """(N, 3): mean levels of red, green and blue, of values clipped to the range and not rounded, in the middle: at
        the border generators leave artefacts of their own."""
        oracle, (low, high) = Oracle(graph.to_proto(model)), self._range
        found = []
        for index in range(len(self._batch)):
            result = oracle(self._batch[index : index + 1])
            levels = np.clip((result - np.float32(low)) * np.float32(255 / (high - low)), 0, 255)
            top, left = (side // 4 for side in levels.shape[2:])
            middle = levels[0, :, top : levels.shape[2] - top, left : levels.shape[3] - left]
            # the colours of a phase are neighbours, whatever the plan leaves to be shuffled
            found.append(middle.reshape(-1, 3, middle[0].size).mean(axis=(0, 2), dtype=np.float64))
        return np.stack(found)
