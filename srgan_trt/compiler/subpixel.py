"""Rewrite 2: nearest-neighbour enlargement and a convolution become sub-pixel convolutions.

An output pixel of phase (a, b) sees few distinct source pixels: for x2 and 3x3 only 2x2 of them, so the taps that
fall on the same pixel are added up and 36 taps become 16 (``phases.after_nearest``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from onnxscript.rewriter.pattern import RewriteRuleClassBase

from . import graph, phases
from .tail import would_sink

if TYPE_CHECKING:
    import onnx_ir as ir

Form = Literal["phases", "dense", "transposed"]
"""phases: one small convolution per phase; dense: one convolution for all, zeros included; transposed: one
transposed convolution. Measured in benchmarks/subpixel_forms.py."""
_FEW = 64
"""Channels of all phases together up to which they are computed at once: fewer would waste matrix columns."""


def rewrite_subpixel(model: ir.Model, *, form: Form | None = None) -> int:
    """Rewrites every nearest enlargement that only a size-keeping convolution reads; returns how many.

    ``form`` None chooses: phases where their shuffle can sink towards the output, else transposed, which needs none.
    """
    graph.infer_shapes(model)
    return graph.apply(model, graph.rule(NearestThenConv(form)), limit=32)


class NearestThenConv(RewriteRuleClassBase):
    """Resize nearest by r, then Conv: the convolution's phases at low resolution, then DepthToSpace by r."""

    def __init__(self, form: Form | None) -> None:
        super().__init__(name="NearestThenConv")
        self._form = form

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
        kernel, pads = phases.after_nearest(facts.weight, factor, facts.pads)
        form: Form = self._form or ("phases" if would_sink(y, factor) else "transposed")
        if facts.weight.shape[0] * factor * factor <= _FEW:
            form = "dense"
        return _FORMS[form](op, x, kernel, pads, facts.bias, factor)


Emit = Callable[[Any, "ir.Value", phases.Kernel, phases.Pads, "graph.Floats | None", int], "ir.Value"]


def _dense(op: Any, x: ir.Value, kernel: phases.Kernel, pads: phases.Pads, bias: graph.Floats | None,
           factor: int) -> ir.Value:  # fmt: skip
    repeated = None if bias is None else np.tile(bias, factor * factor)
    value: ir.Value = op.DepthToSpace(graph.emit_conv(op, x, kernel, repeated, pads), blocksize=factor, mode="DCR")
    return value


def _phases(op: Any, x: ir.Value, kernel: phases.Kernel, pads: phases.Pads, bias: graph.Floats | None,
            factor: int) -> ir.Value:  # fmt: skip
    parts = []
    for phase in np.split(kernel, factor * factor):
        small, small_pads = phases.support(phase, pads)
        parts.append(graph.emit_conv(op, x, small, bias, small_pads))
    value: ir.Value = op.DepthToSpace(op.Concat(*parts, axis=1), blocksize=factor, mode="DCR")
    return value


def _transposed(op: Any, x: ir.Value, kernel: phases.Kernel, pads: phases.Pads, bias: graph.Floats | None,
                factor: int) -> ir.Value:  # fmt: skip
    weight, out_pads = phases.to_transposed(kernel, factor, pads)
    inputs = [x, graph.emit_constant(op, weight)]
    if bias is not None:
        inputs.append(graph.emit_constant(op, bias))
    value: ir.Value = op.ConvTranspose(
        *inputs, kernel_shape=list(weight.shape[2:]), strides=[factor, factor], pads=list(out_pads)
    )
    return value


_FORMS: dict[Form, Emit] = {"phases": _phases, "dense": _dense, "transposed": _transposed}
