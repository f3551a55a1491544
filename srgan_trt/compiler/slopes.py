"""PReLU as a sum that a GPU's convolution can do at its end.

TensorRT-RTX makes a kernel of its own of each PReLU, which reads and writes a whole map; Relu, Sub, Mul and Add it does
inside the convolution before (all its layer lists say so). Of the sums that are a PReLU,

    y = r + slope * (x - r),  r = relu(x)

loses nothing in float16: one of its terms is zero, and the other is rounded as PReLU is. `x + (slope - 1) * min(x, 0)`
and `slope * x + (1 - slope) * relu(x)` cancel (measured: up to 7 and 4 dB), and `relu(x) + slope * min(x, 0)` loses
NaN, because a GPU's maximum and minimum drop it; here x - r keeps it, and makes one of an infinite x, so that a tile
that overflowed is still seen at the output.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnxscript.rewriter.pattern import RewriteRuleClassBase

from ..spec import Prelu
from . import graph
from .precision import to_fp32
from .verify import RewriteChecker

if TYPE_CHECKING:
    import onnx_ir as ir

    from .plan import Plan


def single_network(plan: Plan, prelu: Prelu) -> ir.Model:
    """The network of `plan`, which is in fp32 or fp16, in float32 and for a GPU; the sums are proven and left out if
    they show."""
    model = graph.from_plan(plan)
    if plan.spec.precision == "fp16":
        to_fp32(model)
    if prelu == "apart" or not has_prelus(model):
        return model
    checker = RewriteChecker.of_plan(model, plan.spec)
    checker.rewrite("slopes", fuse_slopes)
    return checker.model


def has_prelus(model: ir.Model) -> bool:
    """Whether there is anything to do here."""
    return any(node.op_type == "PRelu" for node in model.graph)


def fuse_slopes(model: ir.Model) -> int:
    """Writes each PReLU that is all that reads a convolution as a sum; returns how many."""
    return graph.apply(model, graph.rule(_AsSum()), limit=2)


class _AsSum(RewriteRuleClassBase):
    def pattern(self, op: Any, x: Any, slope: Any) -> Any:
        return op.PRelu(x, slope)

    def check(self, context: Any, x: ir.Value, slope: ir.Value, **_: Any) -> bool:
        maker = x.producer()
        convolved = maker is not None and maker.op_type in ("Conv", "ConvTranspose")
        return convolved and len(list(x.uses())) == 1 and graph.constant(slope) is not None

    def rewrite(self, op: Any, x: ir.Value, slope: ir.Value, **_: Any) -> ir.Value:
        positive = op.Relu(x)
        value: ir.Value = op.Add(positive, op.Mul(op.Sub(x, positive), slope))
        return value
