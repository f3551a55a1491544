"""What flows into each convolution on the calibration tiles: patches to fit by, and how large each channel gets."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import graph
from ..graph import Convolution
from ..reference import Floats

if TYPE_CHECKING:
    import onnx_ir as ir

_MOST_PATCH_BYTES = 400_000_000
_MOST_PATCHES = 4096
_USUAL = 97.0
_PASSED = frozenset(
    "Relu LeakyRelu PRelu Clip DepthToSpace Resize MaxPool AveragePool Transpose Reshape Identity".split()
)
"""Operators before which rounding to levels may be done as well as after them."""
_BATCH_PIXELS = 16 * 48 * 48


@dataclass(frozen=True, slots=True)
class Site:
    """A convolution that may become int8."""

    number: int
    """Place among the network's convolutions, from 0."""
    name: str
    """Of its output in the graph."""
    source: str
    """Name of the tensor that it reads."""
    facts: Convolution
    macs: float
    """Multiply-accumulates per input pixel of the network."""

    @property
    def taps(self) -> int:
        """Values that one output is made of."""
        return math.prod(self.facts.weight.shape[1:])

    def __str__(self) -> str:
        out, channels, height, width = self.facts.weight.shape
        return f"{channels} to {out}, {height} x {width}"


def sites(model: ir.Model) -> list[Site]:
    """Every dense convolution with constant weights, in order, but those that read joined channels.

    OpenVINO 2026.4.1 rounds to int8 before it joins, and its int8 join mixes channels up on AVX2: 27 dB where the
    plan's arithmetic gives 49, in the tail of a network with sub-pixel phases.
    """
    from ..analysis import work

    found = []
    for number, (node, layer) in enumerate(work(model).items()):
        if node.op_type != "Conv" or (facts := graph.convolution(node)) is None or facts.group != 1:
            continue
        source, result = node.inputs[0], node.outputs[0]
        assert source is not None
        if _is_joined(source):
            continue
        found.append(Site(number, result.name or "", source.name or "", facts, float(layer.macs)))
    return found


def _is_joined(value: ir.Value) -> bool:
    """Whether a tensor is a Concat's, but for what rounding moves through."""
    maker = value.producer()
    while maker is not None and maker.op_type in _PASSED and maker.inputs[0] is not None:
        maker = maker.inputs[0].producer()
    return maker is not None and maker.op_type == "Concat"


@dataclass(frozen=True, slots=True)
class Observed:
    """The input of one convolution on the calibration tiles."""

    patches: Floats
    """(P, channels, height, width) of the kernel: what P outputs at random places are made of."""
    largest: Floats
    """(channels,): largest absolute value of each channel, anywhere."""

    @property
    def rows(self) -> Floats:
        """The patches as (P, channels*height*width), in the order of the weights."""
        return self.patches.reshape(len(self.patches), -1)

    def spread(self) -> Floats:
        """(channels,): what each channel usually fills, rare values left out."""
        values = np.abs(self.patches).transpose(1, 0, 2, 3).reshape(len(self.largest), -1)
        spread: Floats = np.percentile(values, _USUAL, axis=1).astype(np.float32)
        return spread

    def scaled(self, factors: Floats) -> Observed:
        """With channel k multiplied by ``factors[k]``."""
        return Observed(self.patches * factors[:, None, None], self.largest * factors)


def observe(model: ir.Model, wanted: list[Site], batch: Floats) -> dict[str, Observed]:
    """Runs ``batch`` (N, 3, h, w) of network values and keeps what the convolutions ``wanted`` read, by their names."""
    probe = _Probe(model, list(dict.fromkeys(site.source for site in wanted)))
    random = np.random.default_rng(1)
    count = min(_MOST_PATCHES, max(256, _MOST_PATCH_BYTES // (4 * sum(site.taps for site in wanted))))
    sides = graph.dims(model.graph.inputs[0])
    free = sides is None or sides[0] is None
    step = max(1, _BATCH_PIXELS // (batch.shape[2] * batch.shape[3])) if free else 1
    parts = [batch[start : start + step] for start in range(0, len(batch), step)]
    patches: dict[str, list[Floats]] = {site.name: [] for site in wanted}
    largest: dict[str, Floats] = {}
    for part in parts:
        values = probe(part)
        for site in wanted:
            value = values[site.source]
            patches[site.name].append(_patches(random, value, site.facts, -(-count * len(part) // len(batch))))
            peak = np.abs(value).max(axis=(0, 2, 3))
            largest[site.name] = np.maximum(largest.get(site.name, peak), peak)
    # shuffled, so that any first few of them stand for all kinds of pictures
    order = random.permutation(sum(len(found) for found in patches[wanted[0].name]))
    return {name: Observed(np.concatenate(found)[order], largest[name]) for name, found in patches.items()}


def _patches(random: np.random.Generator, value: Floats, facts: Convolution, count: int) -> Floats:
    """``count`` patches (count, C, k, l) of ``value`` (N, C, H, W), zeros beyond its border as the convolution has."""
    top, left, bottom, right = facts.pads
    padded = np.pad(value, ((0, 0), (0, 0), (top, bottom), (left, right)))
    reach = [(size - 1) * step + 1 for size, step in zip(facts.weight.shape[2:], facts.dilations, strict=True)]
    places = [
        stride * random.integers(0, (side - size) // stride + 1, count)
        for side, size, stride in zip(padded.shape[2:], reach, facts.strides, strict=True)
    ]
    windows = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=(2, 3))
    found: Floats = windows[random.integers(0, len(value), count), :, places[0], places[1]]
    return np.ascontiguousarray(found[:, :, :: facts.dilations[0], :: facts.dilations[1]])


class _Probe:
    """The network with tensors inside it as further outputs."""

    def __init__(self, model: ir.Model, names: Iterable[str]) -> None:
        import onnx
        import onnxruntime

        proto = graph.to_proto(model)
        self._names = list(names)
        for name in self._names:
            if name not in (graph.INPUT, graph.OUTPUT):
                proto.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self._session: Any = onnxruntime.InferenceSession(
            proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def __call__(self, batch: Floats) -> Mapping[str, Floats]:
        inside = [name for name in self._names if name != graph.INPUT]
        # asked for nothing, onnxruntime gives everything
        results = self._session.run(inside, {graph.INPUT: batch}) if inside else []
        found = dict(zip(inside, results, strict=True))
        return {graph.INPUT: batch, **found}
