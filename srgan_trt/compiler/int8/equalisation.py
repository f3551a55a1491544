"""Channels brought to the same range, exactly: a channel scaled up where it is made and down where it is read.

ReLU, LeakyReLU and PReLU are positively homogeneous, f(s x) = s f(x) for s > 0, and additions are linear: so all the
channels that activations, additions, shuffles and enlargements tie together may be multiplied by one factor if the
weights that make them are multiplied too, and those that read them divided (Nagel et al., "Data-free quantization
through weight equalization and bias correction", ICCV 2019, arXiv 1906.04721, section 4.1). The network computes the
same, up to rounding; a tensor whose channels fill the same range loses less to int8.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import graph
from ..reference import Floats

if TYPE_CHECKING:
    import onnx_ir as ir

_SAME = frozenset("Relu LeakyRelu PRelu Add Sub Identity MaxPool AveragePool Dropout".split())
"""Positively homogeneous operators whose output channel k is made of the channels k of their inputs."""
_LARGEST_FACTOR = 64.0
"""Beyond it, a channel is next to silent: nothing is won by filling its range with noise."""


@dataclass(frozen=True, slots=True)
class Channels:
    """The channels of every tensor, in groups that must be scaled together."""

    first: dict[str, int]
    """Number of the first channel of each tensor, by its name."""
    count: dict[str, int]
    groups: NDArray[np.int64]
    """The group of each numbered channel."""
    fixed: NDArray[np.bool_]
    """Whether each group has to stay as it is: it reaches the input, the output or what is not homogeneous."""

    def of(self, name: str) -> NDArray[np.int64]:
        """(C,): groups of the tensor's channels. Raises KeyError for a tensor whose channels are not known."""
        start = self.first[name]
        return self.groups[start : start + self.count[name]]

    def part(self, factor: Floats, name: str) -> Floats:
        """(C,): of one ``factor`` a group, those of the tensor's channels; [1] where they are not known."""
        return factor[self.of(name)] if name in self.first else np.ones(1, np.float32)


def tied_channels(model: ir.Model) -> Channels:
    """Finds which channels hang together."""
    ties = _Ties()
    # a copy, as the counts of channels may have to be inferred
    copy = graph.from_proto(graph.to_proto(model))
    graph.infer_shapes(copy)
    for node in copy.graph:
        _tie(ties, node)
    for value in (*copy.graph.inputs, *copy.graph.outputs):
        ties.fix(value)
    return ties.channels()


def factors(channels: Channels, ranges: Mapping[str, Floats], *, strength: float) -> Floats:
    """(groups,): what each group is multiplied by so that channels fill their tensors alike.

    ranges: Of each channel (C,), by the name of the tensor, for those that become int8; strength: 1 fills them alike,
    0 leaves them.
    """
    fill = np.zeros(len(channels.fixed))
    for name, sizes in ranges.items():
        if name not in channels.first:
            continue
        np.maximum.at(fill, channels.of(name), sizes / max(float(sizes.max()), 1e-30))
    full = np.where(fill > 0, np.maximum(fill, 1 / _LARGEST_FACTOR), 1.0)
    result: Floats = np.where(channels.fixed, 1.0, full**-strength).astype(np.float32)
    return result


def rescale(model: ir.Model, channels: Channels, factor: Floats) -> int:
    """Multiplies the groups by their factors, in place. Returns how many channels that convolutions make changed."""
    changed = 0
    for node in list(model.graph):
        if node.op_type in ("Conv", "ConvTranspose"):
            changed += _scale_weights(model, node, channels, factor)
        elif node.op_type in ("Add", "Sub"):
            for index, value in enumerate(node.inputs):
                made = node.outputs[0].name or ""
                if value is not None and (array := graph.constant(value)) is not None and made in channels.first:
                    node.replace_input_with(index, _constant(model, array * graph.column(factor[channels.of(made)])))
    graph.tidy(model)
    return changed


def _scale_weights(model: ir.Model, node: ir.Node, channels: Channels, factor: Floats) -> int:
    facts = graph.convolution(node)
    source, made = node.inputs[0], node.outputs[0]
    if facts is None or source is None or facts.group != 1:
        return 0  # their channels are fixed
    grown, read = (channels.part(factor, value.name or "") for value in (made, source))
    if not (np.any(grown != 1) or np.any(read != 1)):
        return 0
    rows, columns = (0, 1) if node.op_type == "Conv" else (1, 0)
    weight: Floats = facts.weight * np.expand_dims(grown, [axis for axis in range(4) if axis != rows])
    weight /= np.expand_dims(read, [axis for axis in range(4) if axis != columns])
    node.replace_input_with(1, _constant(model, weight))
    if facts.bias is not None:
        node.replace_input_with(2, _constant(model, facts.bias * grown))
    return int(np.count_nonzero(grown != 1))


def _constant(model: ir.Model, array: NDArray[Any]) -> ir.Value:
    number = len(model.graph.initializers)
    while (name := f"equalised.{number}") in model.graph.initializers:
        number += 1
    return graph.add_initializer(model.graph, name, array.astype(np.float32))


class _Ties:
    """Union of channels, by their numbers; tensors get theirs as they are met."""

    def __init__(self) -> None:
        self._first: dict[str, int] = {}
        self._count: dict[str, int] = {}
        self._parent: list[int] = []
        self._fixed: list[int] = []

    def numbers(self, value: ir.Value) -> NDArray[np.int64] | None:
        """The numbers of a tensor's channels; None where it is a constant or has no known channels."""
        if value.const_value is not None:
            return None
        name, sides = value.name or "", graph.dims(value)
        if name not in self._first:
            if sides is None or len(sides) != 4 or sides[1] is None:
                return None
            self._first[name], self._count[name] = len(self._parent), sides[1]
            self._parent += range(len(self._parent), len(self._parent) + sides[1])
        start = self._first[name]
        return np.arange(start, start + self._count[name])

    def tie(self, ones: NDArray[np.int64], others: NDArray[np.int64]) -> None:
        for one, other in zip(ones.tolist(), others.tolist(), strict=True):
            self._parent[self._root(one)] = self._root(other)

    def fix(self, value: ir.Value | None) -> None:
        if value is not None and (numbers := self.numbers(value)) is not None:
            self._fixed += numbers.tolist()

    def channels(self) -> Channels:
        roots = np.array([self._root(number) for number in range(len(self._parent))], np.int64)
        names, groups = np.unique(roots, return_inverse=True)
        fixed = np.zeros(len(names), np.bool_)
        fixed[groups[self._fixed]] = True
        return Channels(self._first, self._count, groups.astype(np.int64), fixed)

    def _root(self, number: int) -> int:
        while self._parent[number] != number:
            self._parent[number] = self._parent[self._parent[number]]
            number = self._parent[number]
        return number


def _tie(ties: _Ties, node: ir.Node) -> None:
    """Ties the channels of what ``node`` reads to those of what it makes, or fixes both."""
    source, made = node.inputs[0], node.outputs[0]
    if node.op_type in ("Conv", "ConvTranspose") and source is not None:
        facts = graph.convolution(node)
        known = all(ties.numbers(value) is not None for value in (source, made))
        if known and facts is not None and facts.group == 1:
            return
    if all(value is not None and value.const_value is None for value in node.inputs[:1]) and _homogeneous(ties, node):
        return
    for value in (*node.inputs, *node.outputs):
        ties.fix(value)


def _homogeneous(ties: _Ties, node: ir.Node) -> bool:
    """Ties what an operator with one scale per channel reads and makes; False if it is no such operator."""
    after = ties.numbers(node.outputs[0])
    read = [(value, ties.numbers(value)) for value in node.inputs if value is not None]
    if after is None:
        return False
    if node.op_type in _SAME or (node.op_type == "Resize" and graph.enlargement(node) is not None):
        if node.op_type in ("Add", "Sub") and any(not _per_channel(value, numbers, after) for value, numbers in read):
            return False
        if node.op_type == "PRelu" and not _per_channel(read[1][0], None, after):
            return False
        for _, numbers in read:
            if numbers is not None:
                ties.tie(numbers, after)
        return True
    before = read[0][1]
    if node.op_type == "DepthToSpace" and before is not None:
        area = node.attributes["blocksize"].as_int() ** 2
        last = node.attributes.get_string("mode", "DCR") == "CRD"
        ties.tie(before, np.repeat(after, area) if last else np.tile(after, area))
        return True
    if node.op_type == "Concat" and node.attributes["axis"].as_int() == 1:
        parts = [numbers for _, numbers in read if numbers is not None]
        if len(parts) == len(read):
            ties.tie(np.concatenate(parts), after)
            return True
    return False


def _per_channel(value: ir.Value, numbers: NDArray[np.int64] | None, after: NDArray[np.int64]) -> bool:
    """Whether an operand is a tensor of as many channels, or a constant that is one number or one per channel."""
    if value.const_value is None:
        return numbers is not None and len(numbers) == len(after)
    vector = graph.per_channel(graph.constant(value))
    return vector is not None and len(vector) in (1, len(after))
