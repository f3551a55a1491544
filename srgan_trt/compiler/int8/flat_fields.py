"""Flat colours: a white sky, black letters, a red wall.

Calibration pictures have few, users' pictures whole areas of them. A range that clips what white makes of an early
layer costs photographs next to nothing and moves white by many levels (13, with the real SRResNet and the range of
least divergence for what its second convolution reads).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .. import graph
from ..reference import ReferenceRunner
from .calibration import Levels
from .comparison import levels_of

if TYPE_CHECKING:
    import onnx_ir as ir

    from ...spec import NetworkSpec


class FlatFields:
    """Holds what the exact network makes of flat pictures, uint8 (N, h, w, 3)."""

    def __init__(self, exact: ir.Model, spec: NetworkSpec, pictures: Levels) -> None:
        self._spec, self._pictures = spec, pictures
        self._exact = self._means(exact)
        self._missed = np.abs(self._exact - pictures.mean(axis=(1, 2)))

    def max_shift(self, candidate: ir.Model) -> float:
        """Levels by which the mean of a colour moved, the most of all.

        Where the exact network itself does not give the colour back, as generators do with pure ones, only what goes
        beyond that counts.
        """
        return float(np.maximum(np.abs(self._means(candidate) - self._exact) - self._missed, 0).max())

    def _means(self, model: ir.Model) -> NDArray[np.float64]:
        """(N, 3): mean levels of red, green and blue, of values clipped to the range and not rounded, in the middle: at
        the border generators leave artefacts of their own."""
        runner = ReferenceRunner(graph.to_proto(model))
        found = []
        for picture in self._pictures:
            levels = levels_of(runner, self._spec, picture)
            top, left = (side // 4 for side in levels.shape[:2])
            middle = levels[top : len(levels) - top, left : levels.shape[1] - left]
            found.append(middle.mean(axis=(0, 1), dtype=np.float64))
        return np.stack(found)
