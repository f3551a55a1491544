"""Convolutions in int8, and the graph that says so: QuantizeLinear and DequantizeLinear around their input and weights.

Symmetric, weights per output channel, input per tensor, the bias in float32: what TensorRT takes as explicit
quantisation, and what OpenVINO's low-precision transformations turn into int8 convolutions. Outputs are not quantised
but where another convolution reads them, which costs nothing more.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .. import graph
from ..reference import Floats
from .activations import Observed, Site
from .qdq_propagation import hoist_before_shuffles
from .ranges import LEVELS, candidates, fake_quantize
from .weights import corrected_bias, nearest, weight_scales

if TYPE_CHECKING:
    import onnx_ir as ir

_TRIAL_PATCHES = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantisedConv:
    """A convolution in int8."""

    limit: float
    """The input value that level 127 stands for."""
    rule: str
    """By which the limit was chosen."""
    levels: NDArray[np.int8]
    """(O, C, k, l)"""
    scales: Floats
    """(O,): what a level of the weights stands for."""
    bias: Floats
    """(O,)"""
    noise: float
    """Error in its output on the calibration patches, as a fraction of the output's power."""


def fit(site: Site, seen: Observed, *, limits: Mapping[str, float] | None = None) -> QuantisedConv:
    """The convolution ``site`` in int8, by what it reads on the calibration tiles.

    limits: Ranges to choose from, by their names; None tries every rule.
    """
    weight = site.facts.weight.reshape(len(site.facts.weight), -1)
    exact = seen.rows
    truth = exact @ weight.T
    trust = _trust(truth)
    if limits is None:
        limits = candidates(seen.patches, float(seen.largest.max()))
    rule = min(limits, key=lambda name: _loss(weight, exact, truth, trust, limits[name]))
    quantised = fake_quantize(exact, limits[rule])
    scales = weight_scales(site.facts.weight)
    levels = nearest(weight, scales)
    rounded = levels * scales[:, None]
    bias = corrected_bias(site.facts.bias, weight, rounded, exact, quantised, np.square(trust))
    wanted = truth if site.facts.bias is None else truth + site.facts.bias
    error = np.square((quantised @ rounded.T + bias - wanted) * trust).mean()
    return QuantisedConv(
        limit=limits[rule],
        rule=rule,
        levels=levels.reshape(site.facts.weight.shape),
        scales=scales,
        bias=bias,
        noise=float(error / max(float(np.square(wanted * trust).mean()), 1e-30)),
    )


def _trust(truth: Floats) -> Floats:
    """(P, 1): how much the error of each patch counts, from its outputs (P, O).

    Networks answer some pictures (black ones) with values a hundred times the usual, which the activation at their end
    saturates anyway: there errors count by their share of a value, and less, elsewhere as they are.
    """
    power = np.square(truth).mean(axis=1, keepdims=True)
    usual = np.median(power) + 1e-20
    trust: Floats = usual / (power + usual)
    return trust


def _loss(weight: Floats, exact: Floats, truth: Floats, trust: Floats, limit: float) -> float:
    trial = slice(0, _TRIAL_PATCHES)
    return float(np.square((fake_quantize(exact[trial], limit) @ weight.T - truth[trial]) * trust[trial]).mean())


def quantised(model: ir.Model, convs: Mapping[str, QuantisedConv], *, shared: Collection[str] = ()) -> ir.Model:
    """A copy of ``model`` with the convolutions of these output names in int8.

    shared: Names of tensors that additions, too, read in int8 where a convolution does: a residual sum then stays in
    8 bits between layers.
    """
    copy = graph.from_proto(graph.to_proto(model))
    made: dict[tuple[str, float], ir.Value] = {}
    for node in list(copy.graph):
        name = node.outputs[0].name or ""
        if node.op_type != "Conv" or name not in convs:
            continue
        conv, source = convs[name], node.inputs[0]
        assert source is not None
        key = (source.name or "", conv.limit)
        if key not in made:
            made[key] = _with_levels(copy, source, conv.limit)
        node.replace_input_with(0, made[key])
        node.replace_input_with(1, _weights(copy, node, conv))
        bias = graph.add_initializer(copy.graph, f"{name}.bias", conv.bias)
        if len(node.inputs) > 2:
            node.replace_input_with(2, bias)
        else:
            _append_input(copy, node, bias)
    for (name, _), value in made.items():
        if name in shared:
            _share(copy, name, value)
    hoist_before_shuffles(copy)
    graph.tidy(copy)
    return copy


def _with_levels(model: ir.Model, source: ir.Value, limit: float) -> ir.Value:
    """``source`` through QuantizeLinear and DequantizeLinear, placed where it is made."""
    import onnx_ir as ir

    name = source.name
    pair = [
        graph.add_initializer(model.graph, f"{name}.scale{_short(limit)}", np.float32(limit / LEVELS)),
        graph.add_initializer(model.graph, f"{name}.zero{_short(limit)}", np.int8(0)),
    ]
    down = ir.node("QuantizeLinear", [source, *pair])
    up = ir.node("DequantizeLinear", [down.outputs[0], *pair])
    down.outputs[0].name, up.outputs[0].name = f"{name}.int8{_short(limit)}", f"{name}.levels{_short(limit)}"
    down.outputs[0].dtype, up.outputs[0].dtype = ir.DataType.INT8, ir.DataType.FLOAT
    for made in (down, up):
        made.outputs[0].shape = source.shape
    maker = source.producer()
    if maker is None:
        model.graph.insert_before(model.graph[0], [down, up])
    else:
        model.graph.insert_after(maker, [down, up])
    return up.outputs[0]


def _short(limit: float) -> str:
    return f"_{limit:.6g}"


def _weights(model: ir.Model, node: ir.Node, conv: QuantisedConv) -> ir.Value:
    import onnx_ir as ir

    name = f"{node.outputs[0].name}.weight"
    parts = [
        graph.add_initializer(model.graph, f"{name}.int8", conv.levels),
        graph.add_initializer(model.graph, f"{name}.scale", conv.scales),
        graph.add_initializer(model.graph, f"{name}.zero", np.zeros(len(conv.scales), np.int8)),
    ]
    up = ir.node("DequantizeLinear", parts, {"axis": 0})
    up.outputs[0].name = f"{name}.levels"
    up.outputs[0].dtype, up.outputs[0].shape = ir.DataType.FLOAT, ir.Shape(conv.levels.shape)
    model.graph.insert_before(node, up)
    return up.outputs[0]


def _append_input(model: ir.Model, node: ir.Node, value: ir.Value) -> None:
    import onnx_ir as ir

    copy = ir.node(node.op_type, [*node.inputs[:2], value], dict(node.attributes))
    result, made = node.outputs[0], copy.outputs[0]
    made.type, made.shape = result.type, result.shape
    model.graph.insert_before(node, copy)
    name = result.name
    result.replace_all_uses_with(made, replace_graph_outputs=True)
    model.graph.remove(node, safe=True)
    made.name = name


def _share(model: ir.Model, name: str, value: ir.Value) -> None:
    quantise = value.producer()
    assert quantise is not None
    source = quantise.inputs[0].producer().inputs[0]  # type: ignore[union-attr]
    assert source is not None
    for use in list(source.uses()):
        if use.node.op_type == "Add":
            use.node.replace_input_with(use.idx, value)
