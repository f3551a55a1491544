"""A plan in another precision, or in another lowering, from a plan: neither the model file nor TensorFlow is needed."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelError
from . import graph
from .concat_conv import SUMMED, has_concat_convs, sum_concat_convs
from .fp16 import half_network
from .int8.selection import to_int8
from .lowerings import LOWERINGS, other_lowerings, relower
from .plan import Plan, check_target, save_plan
from .precision import PRECISIONS
from .verify import RewriteChecker

if TYPE_CHECKING:
    import onnx_ir as ir


def convert_plan(
    plan: Plan,
    out: Path,
    *,
    precision: str,
    calibration: str | Path | None = None,
    max_drop: float | None = None,
) -> Plan:
    """Writes the network of `plan`, which is in fp32, to the plan `out` in `precision`, "fp16" or "int8".

    calibration, max_drop: as in `build`.

    Raises ModelError if the plan is in another precision already or loses too much, PictureError as `build` does,
    PlanError if `out` cannot be written.
    """
    spec = plan.spec
    if precision not in PRECISIONS:
        raise ModelError(f"precision {precision!r} is not one of {', '.join(PRECISIONS)}")
    if spec.precision != "fp32" or precision == "fp32":
        raise ModelError(
            f"{plan.path} is a plan in {spec.precision}, built already: only one in fp32 can be converted, to fp16 or "
            "int8; name it, or the model file"
        )
    check_target(out, source=plan.path)
    model = graph.from_plan(plan)
    report: dict[str, Any] = {**plan.report}
    self_test = None
    if precision == "fp16":
        in_half = half_network(model, spec)
        proto = in_half.model()
        kept = [f"{layer.name} ({layer.kind}) stays in fp32: {layer.reason}" for layer in in_half.float32]
        report["notes"] = [*report.get("notes", []), *kept]
    else:
        folder = None if calibration is None else Path(calibration)
        graph.infer_shapes(model)
        checker = RewriteChecker.of_plan(model, spec)
        quantised = to_int8(checker, spec, folder=folder, max_drop=max_drop)
        report["int8"], self_test = quantised.report, quantised.self_test
        report["rewrites"] = [*report.get("rewrites", []), *(dataclasses.asdict(check) for check in checker.checks)]
        proto = graph.to_proto(quantised.model)
    proto.graph.name = Path(spec.name).stem
    return save_plan(proto, dataclasses.replace(spec, precision=precision), out, report=report, self_test=self_test)


def lowerings_of(plan: Plan) -> tuple[str, ...]:
    """Lowerings that the plan's network could have: those that its sub-pixel convolutions have not, and "summed" if it
    has convolutions of joined maps."""
    model = graph.from_plan(plan)
    graph.infer_shapes(model)
    return (*other_lowerings(model), *([SUMMED] if has_concat_convs(model) else []))


def relowered_network(plan: Plan, lowering: str) -> bytes:
    """The plan's network in `lowering`, one of `lowerings_of`, as serialised ONNX.

    Proven as every rewrite is; of a network in int8 with its activations unrounded, since there a sum in another order
    may fall to the next level. Raises ModelError if `lowering` is not to be had.
    """
    change = _change(lowering)
    model = graph.from_plan(plan)
    checker = RewriteChecker.of_plan(_unrounded(model), plan.spec)
    checker.rewrite(f"convolutions {lowering}", change)
    if not (checker.checks[-1].count and checker.checks[-1].kept):
        raise ModelError(f"{plan.spec.name} cannot have its convolutions {lowering}")
    change(model)
    data: bytes = graph.to_proto(model).SerializeToString()
    return data


def _change(lowering: str) -> Callable[[ir.Model], int]:
    """What brings a network into `lowering`, and returns how many convolutions it changed."""
    if lowering == SUMMED:
        return sum_concat_convs
    for known in LOWERINGS:
        if lowering == known:
            return functools.partial(relower, lowering=known)
    raise ModelError(f"{lowering!r} is not a lowering of a convolution: {', '.join((*LOWERINGS, SUMMED))} are")


def _unrounded(model: ir.Model) -> ir.Model:
    """A copy in which nothing that flows is rounded to levels; weights stay as they are."""
    copy = graph.from_proto(graph.to_proto(model))
    for node in list(copy.graph):
        down = node.inputs[0].producer() if node.op_type == "DequantizeLinear" and node.inputs[0] is not None else None
        if down is not None and down.op_type == "QuantizeLinear" and down.inputs[0] is not None:
            node.outputs[0].replace_all_uses_with(down.inputs[0])
    graph.tidy(copy)
    return copy
