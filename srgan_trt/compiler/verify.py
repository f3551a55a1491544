"""Checks each rewrite numerically: the graph runs before and after, borders included; a visible change is undone."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from . import graph
from .io_normalization import Range
from .polyphase import shuffled
from .reference import Floats, ReferenceRunner

if TYPE_CHECKING:
    import onnx_ir as ir

    from ..spec import NetworkSpec

TOLERANCE = 1e-4
"""Largest difference a rewrite may make anywhere, as a fraction of the output range."""
ODD_SIZES = ((17, 23), (5, 31), (1, 9))
"""Sizes that no power of two divides, and one row."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RewriteCheck:
    """What a rewrite did and how far it moved the output (fraction of the output range)."""

    rewrite: str
    count: int
    difference: float
    kept: bool


class RewriteChecker:
    """Holds a graph, applies rewrites to it one at a time and keeps those that change nothing."""

    def __init__(
        self,
        model: ir.Model,
        *,
        input_range: Range,
        output_range: Range,
        shape: tuple[int, int] | None,
        multiple: int,
        shuffle: int = 1,
    ) -> None:
        """shuffle: by which the graph's output is still to be shuffled."""
        self.model = model
        self.checks: list[RewriteCheck] = []
        self.shuffle = shuffle
        self._span = output_range[1] - output_range[0]
        channels = (graph.dims(model.graph.inputs[0]) or [None] * 4)[1]
        self._probes = probes(input_range, shape=shape, multiple=multiple, channels=channels or 3)
        self._reference = self._run()

    @classmethod
    def of_plan(cls, model: ir.Model, spec: NetworkSpec) -> RewriteChecker:
        """For `model`, a network with the facts of a plan."""
        return cls(
            model,
            input_range=spec.input_range,
            output_range=spec.output_range,
            shape=spec.fixed_shape,
            multiple=spec.multiple,
            shuffle=spec.shuffle,
        )

    def rewrite(self, name: str, change: Callable[[ir.Model], int], *, ends_in_shuffle: bool = False) -> None:
        """Applies ``change``, which returns how often it applied; undoes it if it moves the output too far.

        With ``ends_in_shuffle`` it returns the factor of the shuffle it took off the graph's end.
        """
        before, shuffle_before = graph.to_proto(self.model), self.shuffle
        count = change(self.model)
        if ends_in_shuffle:
            self.shuffle, count = count, int(count > 1)
        if not count:
            self.checks.append(RewriteCheck(name, 0, 0.0, True))
            return
        difference = self._difference(self._run())
        kept = difference <= TOLERANCE
        if not kept:
            log.warning("the rewrite '%s' moves the output by %.1e of its range: left out", name, difference)
            self.model, self.shuffle = graph.from_proto(before), shuffle_before
        self.checks.append(RewriteCheck(name, count, difference, kept))

    def _run(self) -> list[Floats]:
        runner = ReferenceRunner(graph.to_proto(self.model))
        return [shuffled(runner(probe), self.shuffle) for probe in self._probes]

    def _difference(self, results: list[Floats]) -> float:
        return max(
            difference(result, reference, self._span)
            for result, reference in zip(results, self._reference, strict=True)
        )


def difference(result: Floats, reference: Floats, span: float) -> float:
    """Largest absolute difference as a fraction of ``span``; infinite where shapes or finiteness differ."""
    if result.shape != reference.shape or not np.array_equal(np.isfinite(result), np.isfinite(reference)):
        return float("inf")
    return float(np.abs(np.nan_to_num(result) - np.nan_to_num(reference)).max()) / span


def probes(input_range: Range, *, shape: tuple[int, int] | None, multiple: int, channels: int = 3) -> list[Floats]:
    """Random pictures (1, channels, h, w) over ``input_range``: odd sizes, or the only one the network takes."""
    random = np.random.default_rng(20170721)
    sizes = [shape] if shape else [tuple(-(-side // multiple) * multiple for side in size) for size in ODD_SIZES]
    low, high = input_range
    return [
        (random.random((1, channels, *size), np.float32) * np.float32(high - low) + np.float32(low)) for size in sizes
    ]
