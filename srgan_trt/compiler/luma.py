"""Networks of luma alone become networks of RGB pictures: Y by the network, Cb and Cr by bicubic enlargement.

YCbCr is that of JPEG files, Pillow and most code around such networks: ITU-R BT.601's weights over the full range, so Y
has the range of R, G and B. Since R - Y, G - Y and B - Y are linear in Cb and Cr, the result is the network's Y plus
these differences, enlarged: a convolution to the phases of a cubic enlargement (compiler/cubic.py), with the border
repeated, and a shuffle. Gray pictures stay gray: their differences are zero.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from . import graph
from .cubic import phase_weights
from .io_normalization import Range

if TYPE_CHECKING:
    import onnx_ir as ir

WEIGHTS = (77 / 256, 150 / 256, 29 / 256)
"""Of R, G and B in Y: 0.299, 0.587 and 0.114 in 8 bits. They add up to 1, and are exact in float16 and bfloat16:
the colours of gray pictures are zero in every precision."""
_MOST_ENLARGED = 8
_NOTE = "it works on luma: Y (BT.601, full range, as in JPEG) goes through the network, Cb and Cr are enlarged bicubic"
_SAME_SIZE = (
    "it keeps the size of its pictures: if it was trained on pictures enlarged before (SRCNN, VDSR), build it with "
    "--enlarge 2, 3 or 4"
)
_CATMULL_ROM = -0.5
"""The coefficient of Pillow's, MATLAB's and TensorFlow's bicubic."""


def add_colour(model: ir.Model, *, scale: int, input_range: Range, output_range: Range, enlarge: int = 1) -> list[str]:
    """Puts Y's weights before a luma network, and the colours to its result, which is clipped to its range first.

    Returns what is to be said of it; enlarge: how many times pictures are enlarged before it.
    """
    import onnx_ir as ir

    source, luma = model.graph.inputs[0], model.graph.outputs[0]
    shapes = [graph.dims(value) for value in (source, luma)]
    sides = [list(value.shape)[2:] for value in (source, luma) if value.shape is not None]
    assert len(sides) == 2, shapes
    luma.name, source.name = f"{graph.OUTPUT}.luma", f"{graph.INPUT}.luma"
    picture = ir.Value(name=graph.INPUT, shape=ir.Shape(["batch", 3, *sides[0]]), type=source.type)
    weights = np.array(WEIGHTS)
    source.replace_all_uses_with(_node(model, "Conv", picture, weights.reshape(1, 3, 1, 1)))
    model.graph.inputs[0] = picture
    gain = (output_range[1] - output_range[0]) / (input_range[1] - input_range[0])
    colour = _enlarged(model, picture, gain * (np.eye(3) - weights[None]), scale)
    clipped = _node(model, "Clip", luma, *(np.array(bound) for bound in output_range))
    result = _node(model, "Add", colour, clipped)
    result.name, result.shape = graph.OUTPUT, ir.Shape(["batch", 3, *sides[1]])
    model.graph.outputs[0] = result
    graph.tidy(model)
    graph.infer_shapes(model)
    return [_NOTE] if scale * enlarge > 1 else [_NOTE, _SAME_SIZE]


def check_enlarge(enlarge: int, scale: int, shape: tuple[int, int] | None, name: str) -> None:
    """Raises ModelError if pictures cannot be enlarged so often before a network of that scale and fixed shape."""
    if not 1 <= enlarge <= _MOST_ENLARGED:
        raise ModelError(f"enlarge {enlarge}: pictures are enlarged 2 to {_MOST_ENLARGED} times before a network")
    if enlarge > 1 and (scale > 1 or shape is not None):
        why = f"enlarges x{scale} itself" if scale > 1 else "runs in tiles of one size"
        raise ModelError(f"{name} {why}: leave --enlarge (enlarge=) out")


def enlarge_first(model: ir.Model, *, scale: int) -> None:
    """Puts a bicubic enlargement before the network: SRCNN and VDSR are trained on pictures that were enlarged so."""
    import onnx_ir as ir

    source, result = model.graph.inputs[0], model.graph.outputs[0]
    picture = ir.Value(name=graph.INPUT, shape=ir.Shape(["batch", 3, "height", "width"]), type=source.type)
    source.replace_all_uses_with(_enlarged(model, picture, np.eye(3), scale))
    model.graph.inputs[0] = picture
    for value in [value for node in model.graph for value in node.outputs]:
        value.shape = None
    result.shape = ir.Shape(["batch", 3, "out_height", "out_width"])
    graph.tidy(model)
    graph.infer_shapes(model)


def _enlarged(model: ir.Model, picture: ir.Value, mixing: NDArray[np.float64], scale: int) -> ir.Value:
    """`picture`, its channels mixed by a matrix, enlarged."""
    if not np.array_equal(mixing, np.eye(3)):
        picture = _node(model, "Conv", picture, mixing[:, :, None, None])
    if scale == 1:
        return picture
    line = phase_weights(scale, _CATMULL_ROM)
    kernel = np.einsum("ai,bj,cd->abcdij", line, line, np.eye(3)).reshape(scale * scale * 3, 3, 5, 5)
    wide = _node(model, "Pad", picture, np.array([0, 0, 2, 2, 0, 0, 2, 2]), mode="edge")
    return _node(model, "DepthToSpace", _node(model, "Conv", wide, kernel), blocksize=scale, mode="DCR")


def _node(model: ir.Model, kind: str, value: ir.Value, *others: ir.Value | NDArray[Any], **facts: Any) -> ir.Value:
    """The output of a new node, at the end of a graph that is to be sorted. Arrays become constants."""
    import onnx_ir as ir

    name = f"colour.{kind}.{sum(1 for _ in model.graph)}"
    inputs = [value]
    for number, other in enumerate(others):
        if isinstance(other, np.ndarray):
            array = other.astype(np.int64 if other.dtype.kind == "i" else np.float32)
            other = graph.add_initializer(model.graph, f"{name}.{number}", array)
        inputs.append(other)
    node = ir.node(kind, inputs, facts)
    node.outputs[0].name = f"{name}.out"
    node.outputs[0].type = value.type
    model.graph.append(node)
    return node.outputs[0]
