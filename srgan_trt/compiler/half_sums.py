"""A convolution whose sums are in float16, as TensorRT's fp16 kernels may have them.

A tensor core adds up 16 products exactly (8 on Turing) and rounds the running sum to what the kernel keeps it in;
TensorRT picks kernels that keep it in float16 (``..._f16f16_f16f16_f16_...``). The order is that of its kernels on
channels-last maps: one filter tap after the other, and of each all channels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .reference import Floats

if TYPE_CHECKING:
    import onnx

CHUNK = 16
"""Products that are added up before a rounding, from Ampere on."""
TURING_CHUNK = 8
HEADROOM = 8.0
"""Other pictures may drive a sum this much further than those it is tried on: it overflows that much earlier here."""
_LEAST_CHANNELS = 4
"""To which the channels of a picture are padded."""

Add = Callable[[str, NDArray[Any]], str]
"""Makes an initialiser of a name and an array; returns its name."""


def half_sums(
    node: onnx.NodeProto, weight: Floats, *, rounded: Callable[[str, str], list[onnx.NodeProto]], add: Add, chunk: int
) -> list[onnx.NodeProto] | None:
    """Nodes that do what `node`, a Conv or ConvTranspose, does, with sums in float16; None for grouped ones and for
    those that add up so little that it makes no difference.

    weight: as the node reads it; it is multiplied by `HEADROOM`, a power of two, meanwhile. rounded: nodes that round
    from one name to another. The bias is added at the end, which is not rounded here.
    """
    from onnx import helper

    weight = weight * np.float32(HEADROOM)
    told = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    transposed = node.op_type == "ConvTranspose"
    channels, (height, width) = weight.shape[0 if transposed else 1], weight.shape[2:]
    plain = told.get("auto_pad", b"NOTSET") in (b"NOTSET", b"VALID") and "output_shape" not in told
    if told.get("group", 1) != 1 or not plain or channels * height * width <= chunk:
        return None
    strides, dilations = (list(told.get(name, (1, 1))) for name in ("strides", "dilations"))
    pads, more = list(told.get("pads", (0, 0, 0, 0))), list(told.get("output_padding", (0, 0)))
    name, source, result = node.name, node.input[0], node.output[0]
    nodes: list[onnx.NodeProto] = []
    parts = _split(nodes, source, f"{name}.part", channels, chunk, add)

    def tap(part: str, first: int, count: int, y: int, x: int) -> str:
        """What one filter tap adds for some channels: a convolution of 1x1 on a map that is moved by padding."""
        before = [y * dilations[0], x * dilations[1]]
        after = [(height - 1 - y) * dilations[0], (width - 1 - x) * dilations[1]]
        made = f"{part}.{y}.{x}"
        if transposed:
            kernel = weight[first : first + count, :, y : y + 1, x : x + 1]
            margins = [*(b - p for b, p in zip(before, pads[:2], strict=True)),
                       *(a - p + m for a, p, m in zip(after, pads[2:], more, strict=True))]  # fmt: skip
            nodes.append(helper.make_node(
                "ConvTranspose", [part, add(f"{made}.w", kernel)], [f"{made}.wide"], strides=strides))  # fmt: skip
            nodes.append(_pad(f"{made}.wide", made, margins, add))
            return made
        kernel = weight[:, first : first + count, y : y + 1, x : x + 1]
        margins = [*(p - b for b, p in zip(before, pads[:2], strict=True)),
                   *(p - a for a, p in zip(after, pads[2:], strict=True))]  # fmt: skip
        nodes.append(_pad(part, f"{made}.moved", margins, add))
        nodes.append(helper.make_node("Conv", [f"{made}.moved", add(f"{made}.w", kernel)], [made], strides=strides))
        return made

    running = None
    max_concurrency = max(1, chunk // max(channels, _LEAST_CHANNELS))
    pieces = [(*part, y, x) for y in range(height) for x in range(width) for part in parts]
    for index in range(0, len(pieces), max_concurrency):
        added = [tap(*piece) for piece in pieces[index : index + max_concurrency]]
        total = f"{name}.sum{index}"
        nodes.append(helper.make_node("Sum", [*([] if running is None else [running]), *added], [total]))
        running = f"{total}.half"
        nodes += rounded(total, running)
    biased = [node.input[2]] if len(node.input) > 2 and node.input[2] else []
    unscaled = f"{name}.unscaled" if biased else result
    back = add(f"{name}.headroom", np.array(1 / HEADROOM, np.float32))
    nodes.append(helper.make_node("Mul", [str(running), back], [unscaled]))
    if not biased:
        return nodes
    column = f"{name}.column"
    nodes.append(helper.make_node("Reshape", [*biased, add(f"{column}.shape", np.array([-1, 1, 1]))], [column]))
    return [*nodes, helper.make_node("Add", [unscaled, column], [result])]


def _split(
    nodes: list[onnx.NodeProto], source: str, prefix: str, channels: int, chunk: int, add: Add
) -> list[tuple[str, int, int]]:
    """Names, first channels and counts of the parts of a map that have `chunk` channels at most."""
    from onnx import helper

    if channels <= chunk:
        return [(source, 0, channels)]
    counts = [min(chunk, channels - first) for first in range(0, channels, chunk)]
    names = [f"{prefix}{index}" for index in range(len(counts))]
    nodes.append(helper.make_node("Split", [source, add(f"{prefix}.sides", np.array(counts))], names, axis=1))
    return [(each, index * chunk, count) for index, (each, count) in enumerate(zip(names, counts, strict=True))]


def _pad(source: str, target: str, margins: Sequence[int], add: Add) -> onnx.NodeProto:
    """Adds margins (top, left, bottom, right), or takes them off where they are negative."""
    from onnx import helper

    top, left, bottom, right = margins
    by = np.array([0, 0, top, left, 0, 0, bottom, right])
    return helper.make_node("Pad", [source, add(f"{target}.by", by)], [target])
