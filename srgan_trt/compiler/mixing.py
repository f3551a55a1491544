"""Between a network trained on pixels and the same after its adversarial training: their weights, interpolated.

Wang et al., "Deep Network Interpolation for Continuous Imagery Effect Transition", CVPR 2019 (arXiv 1811.10515). The
weights are those of two plans. All rewrites but the folding of batch norms are linear in the weights, and the same for
one topology, so the mix of two plans is the plan of the mix. It is built as any other network, from its ranges to its
halo, so nothing that was found of the two is taken for granted of it.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from .plan import Plan, check_target, load_plan

if TYPE_CHECKING:
    import onnx

_LEAST_ALIKE = 0.5
"""Cosine of the angle between the weights of two networks of which one was trained from the other, at least: those
of this package have 0.99, networks that were trained apart 0.0."""
_FACTS = ("scale", "input_range", "output_range", "shuffle", "fixed_shape", "multiple")
"""Of the spec that the networks must have in common."""


def mix(
    pixel: str | os.PathLike[str] | Plan,
    gan: str | os.PathLike[str] | Plan,
    *,
    texture: float,
    out: str | os.PathLike[str],
) -> Plan:
    """Builds the plan between two plans of one topology, of which one was trained from the other.

    Args:
        pixel, gan: Plans in fp32, or their files: trained on pixels, and sharpened by adversarial training.
        texture: 0 for the weights of `pixel`, 1 for those of `gan`, between them for a mix.
        out: Where the plan goes.

    Returns:
        The plan, in fp32: its ranges and its halo are its own, and its rewrites checked, as `build` does it.

    Raises:
        ModelError: `texture` is not from 0 to 1, the networks differ in more than weights, or were trained apart.
        PlanError: One of the plans is damaged, or `out` cannot be written.
    """
    from .build import compile_network

    first, second = (plan if isinstance(plan, Plan) else load_plan(Path(plan)) for plan in (pixel, gan))
    network = MixedNetwork(first, second, checked_texture(texture))
    target = Path(out)
    for plan in (first, second):
        check_target(target, source=plan.path)
    return compile_network(network, out=target, restores=network.restores)


def checked_texture(texture: float) -> float:
    """`texture`. Raises ModelError unless it is from 0 to 1."""
    if not 0 <= texture <= 1:
        raise ModelError(f"a texture of {texture} is not taken: give one from 0 (pixels) to 1 (GAN)")
    return float(texture)


class MixedNetwork:
    """A ``SourceNetwork``: that of two plans, with weights between theirs."""

    kind = "mix of two plans"
    stripped: frozenset[str] = frozenset()
    channels = 3

    def __init__(self, pixel: Plan, gan: Plan, texture: float) -> None:
        """Raises ModelError if the two cannot be mixed."""
        for plan in (pixel, gan):
            if plan.engine or plan.spec.precision != "fp32":
                what = "an engine" if plan.engine else f"in {plan.spec.precision}"
                raise ModelError(f"{plan.path} is {what}: mix plans in fp32, and convert the result")
        for fact in _FACTS:
            if (one := getattr(pixel.spec, fact)) != (other := getattr(gan.spec, fact)):
                raise _not_mixed(pixel, gan, f"their {fact.replace('_', ' ')} is {one} and {other}")
        spec = pixel.spec
        self.name = f"{Path(spec.name).stem}+{Path(gan.spec.name).stem}@{texture:g}"
        self.source_hash = hashlib.sha256(f"{pixel.body_hash} {gan.body_hash} {texture!r}".encode()).hexdigest()
        self.fixed_shape = spec.fixed_shape
        self.notes = [f"weights {1 - texture:g} of {spec.name}, {texture:g} of {gan.spec.name}"]
        self.input_range: tuple[float, float] | None = spec.input_range
        self.output_range: tuple[float, float] | None = spec.output_range
        self.restores = spec.restores or gan.spec.restores
        self._scale, self._shuffle = spec.scale, spec.shuffle
        self._network = _mixed(pixel, gan, texture)

    def export(self, height: int, width: int) -> onnx.ModelProto:
        import onnx
        from onnx import TensorProto, helper

        model = onnx.ModelProto()
        model.CopyFrom(self._network)
        graph = model.graph
        height, width = self.fixed_shape or (height, width)
        before, after = graph.input[0].name, graph.output[0].name
        if self._shuffle > 1:
            shuffle = helper.make_node("DepthToSpace", [after], ["shuffled"], blocksize=self._shuffle, mode="DCR")
            graph.node.append(shuffle)
            after = "shuffled"
        del graph.input[:], graph.output[:], graph.value_info[:]
        ends = ((graph.input, before, 1), (graph.output, after, self._scale))
        for values, name, scale in ends:
            shape = [1, 3, height * scale, width * scale]
            values.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        return model

    def predict(self, batch: NDArray[np.float32]) -> NDArray[np.float32] | None:
        return None  # no framework wrote it


def _mixed(pixel: Plan, gan: Plan, texture: float) -> onnx.ModelProto:
    """The network of `pixel`, each of its weights moved by `texture` of the way to that of `gan`."""
    import onnx
    from onnx import numpy_helper

    model: onnx.ModelProto
    model, other = (onnx.ModelProto.FromString(plan.network()) for plan in (pixel, gan))
    weights, others = ({tensor.name: tensor for tensor in each.graph.initializer} for each in (model, other))
    pairs = _weight_pairs(model.graph, other.graph, set(weights), set(others))
    if pairs is None:
        raise _not_mixed(pixel, gan, "they are networks of another topology")
    products = np.zeros(3)
    for mine, its in pairs.items():
        tensor = weights[mine]
        one, two = (numpy_helper.to_array(each) for each in (tensor, others[its]))
        if one.shape != two.shape or one.dtype != two.dtype:
            raise _not_mixed(pixel, gan, f"{mine} has the shape {one.shape} in one, {two.shape} in the other")
        if np.array_equal(one, two):
            continue
        if one.dtype.kind != "f":
            raise _not_mixed(pixel, gan, f"{mine}, which is no weight, differs")
        start, end = one.astype(np.float64).ravel(), two.astype(np.float64).ravel()
        products += start @ end, start @ start, end @ end
        between = ((1 - texture) * start + texture * end).reshape(one.shape).astype(one.dtype)
        tensor.CopyFrom(numpy_helper.from_array(between, tensor.name))
    alike = 1.0 if not products.any() else products[0] / max(1e-30, float(np.sqrt(products[1] * products[2])))
    if alike < _LEAST_ALIKE:
        raise _not_mixed(
            pixel, gan, f"they were trained apart (cosine of their weights {alike:.2f}): between them is no network"
        )
    return model


def _weight_pairs(
    one: onnx.GraphProto, two: onnx.GraphProto, weights: set[str], others: set[str]
) -> dict[str, str] | None:
    """Names of the weights of one graph, and of those that are in their places in the other; None if the graphs differ
    in more than names."""
    if len(one.node) != len(two.node):
        return None
    names = {one.input[0].name: two.input[0].name}
    for mine, its in zip(one.node, two.node, strict=True):
        facts = [
            (node.op_type, node.domain, sorted(a.SerializeToString() for a in node.attribute)) for node in (mine, its)
        ]
        if facts[0] != facts[1] or len(mine.input) != len(its.input) or len(mine.output) != len(its.output):
            return None
        for a, b in zip(mine.input, its.input, strict=True):
            if a in weights and b in others:
                names.setdefault(a, b)
            if names.get(a, a if not a else None) != b:
                return None
        names |= zip(mine.output, its.output, strict=True)
    if names.get(one.output[0].name) != two.output[0].name:
        return None
    return {name: names[name] for name in weights if name in names}


def _not_mixed(pixel: Plan, gan: Plan, why: str) -> ModelError:
    return ModelError(f"{pixel.path} and {gan.path} cannot be mixed: {why}; name one network before and after its GAN")
