"""What a changed network gives against the exact one, on the same pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from .. import graph
from ..polyphase import shuffled
from ..reference import Floats, ReferenceRunner
from .calibration import Levels, values

if TYPE_CHECKING:
    import onnx_ir as ir

    from ...spec import NetworkSpec

PERFECT = 120.0
"""dB that stand for no difference at all."""
HARD_ALLOWANCE = 12.0
"""dB by which hard pictures (black, drawn, noise) may be farther from the exact network than photographs. Generators
give them values a hundred times the usual, and often artefacts of their own, which need not be met."""


class FlatColours(Protocol):
    """What tells how far flat colours moved (flats.py)."""

    def max_shift(self, candidate: ir.Model) -> float: ...


class Comparison:
    """Holds what the exact network gives for usual pictures and for hard ones, network values (N, 3, h, w)."""

    def __init__(
        self,
        exact: ir.Model,
        spec: NetworkSpec,
        usual: Floats,
        hard: Floats | None = None,
        *,
        flat_fields: FlatColours | None = None,
    ) -> None:
        self._batches = (usual, usual[:0] if hard is None else hard)
        self._spec, self._flats = spec, flat_fields
        self._references = self._run(exact)

    def errors(self, candidate: ir.Model) -> tuple[float, float]:
        """Squared difference on the usual and on the hard pictures, as fractions of the squared output range.

        Of values clipped to the range, not rounded; over the pictures the geometric mean, as the field averages
        decibels: so an artefact that the exact network leaves in one of them, and that need not be met, does not
        outweigh all the others. 0 where there are no such pictures.
        """
        usual, hard = (
            geometric_mean([float(np.square(mine - theirs).mean()) for mine, theirs in zip(*results, strict=True)])
            for results in zip(self._run(candidate), self._references, strict=True)
        )
        return usual, hard

    def error(self, candidate: ir.Model) -> float:
        """All in one: the usual pictures' error, the hard ones', which counts ``HARD_ALLOWANCE`` less, and the square
        of what the worst flat colour moved by."""
        usual, hard = self.errors(candidate)
        max_shift = 0.0 if self._flats is None else self._flats.max_shift(candidate) / 255
        return usual + hard / 10 ** (HARD_ALLOWANCE / 10) + max_shift**2

    def _run(self, model: ir.Model) -> tuple[list[Floats], list[Floats]]:
        low, high = self._spec.output_range
        runner = ReferenceRunner(graph.to_proto(model))
        usual, hard = (
            [
                np.clip((runner(batch[index : index + 1]) - np.float32(low)) / np.float32(high - low), 0, 1)
                for index in range(len(batch))
            ]
            for batch in self._batches
        )
        return usual, hard


def levels_of(runner: ReferenceRunner, spec: NetworkSpec, low: Levels) -> Floats:
    """Levels (h, w, 3), not rounded, of the network's picture."""
    (bottom, top), batch = spec.output_range, values(low[None], spec.input_range)
    result = shuffled(runner(batch), spec.shuffle)[0].transpose(1, 2, 0)
    levels: Floats = np.clip((result - np.float32(bottom)) * np.float32(255 / (top - bottom)), 0, 255)
    return levels


def geometric_mean(errors: list[float]) -> float:
    """Of mean squared errors, none taken below what `PERFECT` stands for; 0 of none."""
    if not errors:
        return 0.0
    return float(np.exp(np.mean(np.log(np.maximum(errors, 10 ** (-PERFECT / 10))))))


def decibels(error: float) -> float:
    """Fidelity in dB of an error that `Comparison.error` gave."""
    return float(min(PERFECT, -10 * np.log10(max(error, 1e-12))))
