"""What a convolution costs in int8 and in the high precision, as a model: multiply-accumulates over measured rates.

Measured with OpenVINO 2026.4.1 on two cores with AVX512-VNNI and avx512_bf16 (no AMX), the paper's network on 128 x 128
pixels: 64 to 64 channels of 3 x 3 take 1.39 ms in bf16 and 0.80 in int8, 64 to 256 after the first shuffle 23.9 and
13.2, the 5 x 5 tail 18.1 and 8.9. Only the proportions matter: they say where a decibel buys most. What an input costs
to be quantised is counted where that is a pass of its own: a convolution whose output is read once does it on the way.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .activations import Site

if TYPE_CHECKING:
    import onnx_ir as ir

SOURCE = "modelled: multiply-accumulates over rates measured with OpenVINO on AVX512-VNNI"
_HIGH_RATE = 410e9
"""Multiply-accumulates a second in bf16."""
_INT8_RATE = 730e9
_QUANTISE_SECONDS = 0.5e-9
"""For one value in a pass of its own."""


def high_seconds(site: Site) -> float:
    """Per input pixel, in the high precision."""
    return site.macs / _HIGH_RATE


def seconds_won(model: ir.Model, site: Site, *, free: bool = False) -> float:
    """Per input pixel, by this convolution in int8; may be negative. free: its input is in int8 anyway."""
    won = high_seconds(site) - site.macs / _INT8_RATE
    if not free and not _quantised_on_the_way(model, site):
        won -= _values_read(site) * _QUANTISE_SECONDS / _readers(model, site)
    return won


def _values_read(site: Site) -> float:
    """Values of the input tensor per input pixel of the network, for a convolution that keeps the size."""
    out, channels = site.facts.weight.shape[:2]
    return float(site.macs / (site.taps * out) * math.prod(site.facts.strides) * channels)


def _readers(model: ir.Model, site: Site) -> int:
    """Convolutions that read the same tensor: they share one pass."""
    return sum(
        node.op_type == "Conv" and node.inputs[0] is not None and node.inputs[0].name == site.source
        for node in model.graph
    )


def _quantised_on_the_way(model: ir.Model, site: Site) -> bool:
    """Whether the input is made by a convolution and read by nobody else (an activation or shuffle between counts as
    part of it). Convolutions side by side that read it count as one."""
    (node,) = (node for node in model.graph if node.outputs[0].name == site.name)
    value, readers = node.inputs[0], _readers(model, site)
    while value is not None and len(list(value.uses())) == readers and (maker := value.producer()) is not None:
        readers = 1
        if maker.op_type in ("Conv", "ConvTranspose"):
            return True
        if maker.op_type not in ("PRelu", "Relu", "LeakyRelu", "DepthToSpace", "Clip"):
            return False
        value = maker.inputs[0]
    return False
