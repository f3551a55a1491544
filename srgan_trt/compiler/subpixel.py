"""Rewrite 2: nearest-neighbour enlargement and a convolution become sub-pixel convolutions.

An output pixel of phase (a, b) sees few distinct source pixels: for x2 and 3x3 only 2x2 of them, so the taps that
fall on the same pixel are added up and 36 taps become 16 (``phases.fold_nearest``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnxscript.rewriter.pattern import RewriteRuleClassBase

from . import graph, polyphase
from .lowerings import Lowering, SubPixel, emit
from .tail import would_sink

if TYPE_CHECKING:
    import onnx_ir as ir

_FEW = 64
"""Channels of all phases together up to which they are computed at once: fewer would waste matrix columns."""


def rewrite_subpixel(model: ir.Model, *, lowering: Lowering | None = None) -> int:
    """Rewrites every nearest enlargement that only a size-keeping convolution reads; returns how many.

    ``lowering`` None chooses: phases where their shuffle can sink to the output, else transposed, which needs none.
    """
    graph.infer_shapes(model)
    return graph.apply(model, graph.rule(NearestThenConv(lowering)), limit=32)


class NearestThenConv(RewriteRuleClassBase):
    """Resize nearest by r, then Conv: the convolution's phases at low resolution, then DepthToSpace by r."""

    def __init__(self, lowering: Lowering | None) -> None:
        super().__init__(name="NearestThenConv")
        self._lowering = lowering

    def pattern(self, op: Any, x: Any) -> Any:
        enlarged = op.Resize(x, _allow_other_inputs=True, _allow_other_attributes=True, _outputs=["enlarged"])
        return op.Conv(enlarged, _allow_other_inputs=True, _allow_other_attributes=True, _outputs=["y"])

    def check(self, context: Any, enlarged: ir.Value, y: ir.Value, **_: Any) -> bool:
        resize, conv = enlarged.producer(), y.producer()
        assert resize is not None
        assert conv is not None
        facts = graph.convolution(conv)
        factor = graph.enlargement(resize)
        modes = [
            resize.attributes.get_string(name, "")
            for name in ("mode", "coordinate_transformation_mode", "nearest_mode")
        ]
        return (
            modes == ["nearest", "asymmetric", "floor"]
            and factor is not None
            and factor > 1
            and facts is not None
            and facts.keeps_size
        )

    def rewrite(self, op: Any, x: ir.Value, enlarged: ir.Value, y: ir.Value, **_: Any) -> ir.Value:
        resize, conv = enlarged.producer(), y.producer()
        assert resize is not None
        assert conv is not None
        facts, factor = graph.convolution(conv), graph.enlargement(resize)
        assert facts is not None
        assert factor is not None
        kernel, pads = polyphase.fold_nearest(facts.weight, factor, facts.pads)
        bias = None if facts.bias is None else np.tile(facts.bias, factor * factor)
        lowering: Lowering = self._lowering or ("phases" if would_sink(y, factor) else "transposed")
        if len(kernel) <= _FEW:
            lowering = "dense"
        return emit(op, x, SubPixel(kernel, pads, factor, bias), lowering)
