"""A plan in another precision, from a plan in float32: neither the model file nor TensorFlow is needed."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from ..errors import ModelError
from . import graph
from .half import halve
from .int8.selection import to_int8
from .plan import Plan, check_target, save_plan
from .precision import PRECISIONS
from .verify import Prover


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
    import onnx

    spec = plan.spec
    if precision not in PRECISIONS:
        raise ModelError(f"precision {precision!r} is not one of {', '.join(PRECISIONS)}")
    if spec.precision != "fp32" or precision == "fp32":
        raise ModelError(
            f"{plan.path} is a plan in {spec.precision}, built already: only one in fp32 can be converted, to fp16 or "
            "int8; name it, or the model file"
        )
    check_target(out)
    if out.exists() and plan.path.exists() and out.samefile(plan.path):
        raise ModelError(f"the plan would overwrite the plan {plan.path}: name another file with -o")
    stored = onnx.load(str(plan.path))
    del stored.metadata_props[:]
    model = graph.from_proto(stored)
    graph.infer_shapes(model)
    report: dict[str, Any] = dict(plan.report)
    if precision == "fp16":
        in_half = halve(
            model,
            input_range=spec.input_range,
            output_range=spec.output_range,
            shape=spec.fixed_shape,
            multiple=spec.multiple,
            half_ends=False,
        )
        proto = in_half.model()
        kept = [f"{layer.name} ({layer.kind}) stays in fp32: {layer.reason}" for layer in in_half.float32]
        report["notes"] = [*report.get("notes", []), *kept]
    else:
        folder = None if calibration is None else Path(calibration)
        prover = Prover(
            model,
            input_range=spec.input_range,
            output_range=spec.output_range,
            shape=spec.fixed_shape,
            multiple=spec.multiple,
            shuffle=spec.shuffle,
        )
        network, report["int8"] = to_int8(prover, spec, folder=folder, max_drop=max_drop)
        report["rewrites"] = [*report.get("rewrites", []), *(dataclasses.asdict(proof) for proof in prover.proofs)]
        proto = graph.to_proto(network)
    proto.graph.name = Path(spec.name).stem
    return save_plan(proto, dataclasses.replace(spec, precision=precision), out, report=report)
