"""What an int8 plan leaves in floating point, in float16: for GPUs, whose int8 convolutions then have float16 around
them.

What dequantises gives float16, by scales in float16, which ONNX allows from opset 19 on; what quantises reads float32,
for TensorRT makes one kernel of the cast and it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from ...errors import ModelError, PlanError
from .. import graph
from ..emulation import rounded_network
from ..fp16 import measure_layers, prepare_for_fp16, sample_inputs
from ..half_sums import HEADROOM
from ..precision import LARGEST, to_fp16
from ..reference import ReferenceRunner

if TYPE_CHECKING:
    from ..plan import Plan

log = logging.getLogger(__name__)

FIDELITY = 45.0
"""dB on photographs, of the output's range, that float16 must keep of the plan: what int8 itself must keep of float32.
A value that lies between two levels of int8 may fall to the other side, so this is far from float16's own rounding."""
_OPSET = 21


def with_fp16_activations(plan: Plan) -> bytes:
    """The network of an int8 plan with float16 ends, as serialised ONNX.

    Raises PlanError for another plan, ModelError if float16 changes its pictures by more than `FIDELITY` allows, or a
    value or weight is, or may come to be, beyond float16.
    """
    import onnx
    import onnx_ir as ir

    spec = plan.spec
    if spec.precision != "int8":
        raise PlanError(f"{plan.path} is a plan in {spec.precision}: name one in int8")
    stored = onnx.load_from_string(plan.network())
    model = graph.from_proto(stored)
    graph.infer_shapes(model)
    to_fp16(model, io_type=ir.DataType.FLOAT16)
    made = graph.to_proto(model)
    for opset in made.opset_import:
        if opset.domain in ("", "ai.onnx"):
            opset.version = max(opset.version, _OPSET)
    single = graph.from_proto(stored)
    prepare_for_fp16(single)
    low, high = spec.input_range
    samples = [
        (each * (high - low) + low).astype(np.float32) for each in sample_inputs(spec.fixed_shape, spec.multiple)
    ]
    for name, found in measure_layers(single, samples).items():
        if found.peak * HEADROOM > LARGEST:
            raise ModelError(
                f"{spec.name}: values of {name} reach {found.peak:.3g}, float16 ends at {LARGEST:.0f} and other "
                f"pictures may go {HEADROOM:g} times as far"
            )
    # onnxruntime would run the float16 network in float32 and leave out the rounding between two nodes.
    whole, half = ReferenceRunner(stored), ReferenceRunner(rounded_network(single, (), fp16_io=True))
    error = [float(np.mean(np.square(half(each).astype(np.float64) - whole(each)))) for each in samples]
    span = spec.output_range[1] - spec.output_range[0]
    fidelity = 10 * np.log10(span**2 / max(float(np.mean(error)), 1e-30))
    if not fidelity >= FIDELITY:  # nan, too
        raise ModelError(
            f"{spec.name}: what int8 leaves of it is {fidelity:.1f} dB from the plan in float16, not {FIDELITY:g}"
        )
    log.info("%s: what int8 leaves is in fp16, %.1f dB from the plan", spec.name, fidelity)
    data: bytes = made.SerializeToString()
    return data
