"""Networks that do not pad: their result lacks a border, so the picture gets one before them.

The border is repeated, as the programs around such networks do it (waifu2x, SRCNN): zeros would darken it. Where it is
no whole number of input pixels, one more is added and the result cut. Inside, all is as the network gives it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import ModelError
from . import graph
from .analysis import node_scales

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass(frozen=True, slots=True)
class Border:
    """What goes around a picture, and off the result, at each of the four sides."""

    around: int
    """Input pixels."""
    first: int
    """Output pixels at the top and at the left."""
    last: int
    """Output pixels at the bottom and at the right."""

    @property
    def note(self) -> str:
        return (
            f"its convolutions do not pad: the picture's border is repeated {self.around} times first, to have the "
            "result in full"
        )


def border_of(model: ir.Model) -> Border | None:
    """What a network of static shapes needs to give a whole number of times its input; None if it is nothing.

    That it lacks as many rows as columns is known by then (`models.source.check_scale`).
    """
    scales = node_scales(model)
    scale = scales[model.graph.outputs[0]]
    before, after = graph.dims(model.graph.inputs[0]), graph.dims(model.graph.outputs[0])
    if scale.denominator != 1 or not before or not after or before[2] is None or after[2] is None:
        return None
    factor = int(scale)
    missing = factor * before[2] - after[2]
    if missing <= 0:
        return None
    multiple = math.lcm(*(value.denominator for value in scales.values()))
    # an odd pixel is missing at the end, as with kernels of an even size
    around = -(-(missing - missing // 2) // (factor * multiple)) * multiple
    return Border(around, around * factor - missing // 2, around * factor - (missing - missing // 2))


def add_border(model: ir.Model, border: Border, shape: tuple[int, int] | None, *, name: str) -> tuple[int, int] | None:
    """Repeats the border of the picture before the network, and cuts the result to size.

    A graph of a fixed ``shape`` takes pictures that are smaller by the border: the shape that is left is returned.
    Raises ModelError if there is none.
    """
    import onnx_ir as ir

    source, result = model.graph.inputs[0], model.graph.outputs[0]
    picture = ir.Value(name=graph.INPUT, shape=source.shape, type=source.type)
    if shape is not None:
        shape = (shape[0] - 2 * border.around, shape[1] - 2 * border.around)
        if min(shape) < 1:
            raise ModelError(f"{name} gives no whole picture: what its convolutions take off is all of its input")
        assert source.shape is not None
        picture.shape = ir.Shape([*list(source.shape)[:2], *shape])
    wide = _pad(model, picture, border.around, border.around, mode="edge")
    source.replace_all_uses_with(wide)
    model.graph.inputs[0] = picture
    if border.first or border.last:
        cut = _pad(model, result, -border.first, -border.last, mode="constant")
        result.name, cut.name = f"{graph.OUTPUT}.wide", graph.OUTPUT
        cut.type = result.type
        model.graph.outputs[0] = cut
    graph.tidy(model)
    graph.infer_shapes(model)
    return shape


def _pad(model: ir.Model, value: ir.Value, first: int, last: int, *, mode: str) -> ir.Value:
    """Pixels added around, or taken off where negative: a node of the graph that is to be sorted."""
    import onnx_ir as ir

    name = f"border.{mode}"
    pads = np.array([0, 0, first, first, 0, 0, last, last], np.int64)
    amounts = graph.add_initializer(model.graph, name, pads)
    node = ir.node("Pad", [value, amounts], {"mode": mode})
    node.outputs[0].name = f"{name}.out"
    node.outputs[0].type = value.type
    model.graph.append(node)
    return node.outputs[0]
