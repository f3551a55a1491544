"""ONNX files: any super-resolver of one picture, RGB or luma, made static at the size that is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError, one_line
from .files import hash_files
from .onnx_ends import float_ends
from .onnx_graph import check_nodes, check_work, external_locations, rename
from .onnx_run import Session
from .source import CHANNELS, check_scale, fixed_size
from .tensorflow_export import OPSET, rename_io

if TYPE_CHECKING:
    import onnx

NEWEST_OPSET = 21
Layout = Literal["NCHW", "NHWC"]


class OnnxNetwork:
    """A ``SourceNetwork`` around an ONNX graph, NCHW or NHWC."""

    kind = "ONNX"
    input_range: tuple[float, float] | None = None
    output_range: tuple[float, float] | None = None
    stripped: frozenset[str] = frozenset()

    def __init__(self, model: onnx.ModelProto, *, name: str, source_hash: str, layer: str | None = None) -> None:
        """Raises ModelError unless the graph takes one picture, RGB or luma, and gives one.

        layer: the output that is the picture; None finds it.
        """
        self.name, self.source_hash = name, source_hash
        self.notes: list[str] = []
        self._model = model
        value = _only_input(model, name)
        shape = _dimensions(value)
        self.channels, self._in_layout = _picture(name, shape)
        result = _only_picture(model, name, self.channels, layer, self.notes)
        self.notes += float_ends(model, name)
        given = _dimensions(result)
        if len(given) == 2:
            raise ModelError(
                f"{name} gives {given[1] or 'some'} numbers a picture: it is a classifier (or a discriminator), "
                "not a generator"
            )
        ends = [given[1], given[3]] if len(given) == 4 else []
        if given and self.channels not in ends and None not in ends:
            raise ModelError(f"{name} gives a tensor of shape {_shown(given)}, not a picture as it takes")
        first = self.channels in ends and ends.index(self.channels) == 0
        last = self.channels in ends and not first
        self._out_layout: Layout = "NCHW" if first else "NHWC" if last else self._in_layout
        height, width = shape[2:] if self._in_layout == "NCHW" else shape[1:3]
        self.fixed_shape = fixed_size(height, width, self.notes)
        if shape[0] not in (None, 1):
            self.notes.append(f"its batch of {shape[0]} is made a batch of 1")

    def export(self, height: int, width: int) -> onnx.ModelProto:
        import onnx
        from onnx import shape_inference

        height, width = self.fixed_shape or (height, width)
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        size = [1, self.channels, height, width] if self._in_layout == "NCHW" else [1, height, width, self.channels]
        value = _only_input(model, self.name)
        _set_dimensions(value, size)
        for other in [other for other in model.graph.input if other.name != value.name]:
            model.graph.input.remove(other)  # ONNX before IR 4 lists its initializers as inputs too
        model.ir_version = max(model.ir_version, 8)
        for value in (*model.graph.value_info, *model.graph.output):
            value.type.tensor_type.ClearField("shape")  # they may still tell of the free or former size
        del model.graph.value_info[:]
        model = self._at_opset(model)
        try:
            model = shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
        except shape_inference.InferenceError as error:
            raise ModelError(f"{self.name} does not take {width}x{height} pictures ({one_line(error)})") from None
        check_work(model, self.name)
        rename_io(model)
        if self._in_layout == "NHWC":
            _wrap_input(model, [1, self.channels, height, width])
        if self._out_layout == "NHWC":
            _wrap_output(model)
        result = _output_size(model, self.name, self.channels)
        check_scale(self.name, (height, width), result)
        _set_dimensions(model.graph.output[0], [1, self.channels, *result])
        onnx.checker.check_model(model)
        return model

    def predict(self, batch: NDArray[np.float32]) -> None:
        return None

    def _at_opset(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """``model`` at opset 18; newer ones stay at theirs, up to ``NEWEST_OPSET``."""
        from onnx import version_converter

        found = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 1)
        if OPSET <= found <= NEWEST_OPSET:
            return model
        target = OPSET if found < OPSET else NEWEST_OPSET
        try:
            return version_converter.convert_version(model, target)
        except (version_converter.ConvertError, RuntimeError) as error:
            raise ModelError(
                f"{self.name} has ONNX opset {found}, which cannot be converted to {target} ({one_line(error)}): "
                f"export it again with opset {OPSET}"
            ) from None


def open_onnx(path: Path, *, layer: str | None = None) -> OnnxNetwork:
    """Opens an ONNX file; ``layer`` is the output that is the picture.

    Raises ModelError if it is damaged, or no super-resolver of one picture.
    """
    import onnx
    from google.protobuf.message import DecodeError

    name = path.name
    try:
        model = onnx.load(path, load_external_data=False)
        check_nodes(model, name)
        parts = [path.parent / location for location in external_locations(model)]
        onnx.load_external_data_for_model(model, str(path.parent))
        if not model.graph.node:
            raise ModelError(f"{path} is not a model file: neither HDF5, .keras, SavedModel nor ONNX")
        onnx.checker.check_model(model)
    except DecodeError:
        what = "is a truncated or damaged ONNX file" if path.suffix == ".onnx" else "is not a model file"
        raise ModelError(f"{path} {what}: a Keras .h5 or .keras, a SavedModel folder or an .onnx is needed") from None
    except onnx.checker.ValidationError as error:
        raise ModelError(
            f"{path} is an ONNX file that breaks ONNX's own rules ({one_line(error)}): export it again"
        ) from None
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror or error}") from error
    return OnnxNetwork(model, name=name, source_hash=hash_files([path, *parts]), layer=layer)


def _only_input(model: onnx.ModelProto, name: str) -> onnx.ValueInfoProto:
    constants = {initializer.name for initializer in model.graph.initializer}
    inputs: list[onnx.ValueInfoProto] = [value for value in model.graph.input if value.name not in constants]
    if len(inputs) != 1:
        raise ModelError(f"{name} has {len(inputs)} inputs: a generator takes one picture")
    return inputs[0]


def _only_picture(
    model: onnx.ModelProto, name: str, channels: int, layer: str | None, notes: list[str]
) -> onnx.ValueInfoProto:
    """The output; of several the one that is called ``layer``, or is alone a picture, and the others go."""
    outputs: list[onnx.ValueInfoProto] = list(model.graph.output)
    pictures = [
        value for value in outputs if len(shape := _dimensions(value)) == 4 and channels in (shape[1], shape[3])
    ]
    names = ", ".join(value.name for value in outputs)
    if layer is not None:
        pictures = [value for value in outputs if value.name == layer]
        if not pictures:
            raise ModelError(f"{name} has no output {layer!r}: --layer takes one of {names}")
    if len(outputs) == 1:
        return outputs[0]
    if len(pictures) != 1:
        raise ModelError(
            f"{name} has {len(outputs)} outputs ({names}): name the one that is the picture with --layer NAME"
        )
    notes.append(f"of its {len(outputs)} outputs {pictures[0].name} is the picture: the others are left out")
    del model.graph.output[:]
    model.graph.output.append(pictures[0])
    return pictures[0]


def _dimensions(value: onnx.ValueInfoProto) -> tuple[int | None, ...]:
    """The shape as recorded, None for a free dimension, () for no shape."""
    return tuple(
        dimension.dim_value if dimension.HasField("dim_value") and dimension.dim_value > 0 else None
        for dimension in value.type.tensor_type.shape.dim
    )


def _shown(shape: tuple[int | None, ...]) -> str:
    return "x".join("?" if size is None else str(size) for size in shape)


def _picture(name: str, shape: tuple[int | None, ...]) -> tuple[int, Layout]:
    """Channels and layout of an input."""
    if len(shape) != 4:
        raise ModelError(
            f"{name} takes a tensor of rank {len(shape)}, not a batch of pictures: it is not a super-resolver"
        )
    for channels in CHANNELS:
        if shape[1] == channels:
            return channels, "NCHW"
        if shape[3] == channels:
            return channels, "NHWC"
    if shape[1] is None:
        raise ModelError(f"{name} does not say how many channels it takes: export it with 3 of them fixed")
    raise ModelError(f"{name} takes a tensor of shape {_shown(shape)}, not RGB pictures of 3 channels, or luma of 1")


def _set_dimensions(value: onnx.ValueInfoProto, size: list[int]) -> None:
    shape = value.type.tensor_type.shape
    del shape.dim[:]
    for length in size:
        shape.dim.add(dim_value=length)


def _output_size(model: onnx.ModelProto, name: str, channels: int) -> tuple[int, int]:
    """(height, width) that shape inference found for the NCHW output; run to see where it found none."""
    shape = _dimensions(model.graph.output[0])
    if not shape or None in shape:
        shape = _run_once(model, name)
    if len(shape) != 4 or shape[:2] != (1, channels):
        raise ModelError(f"{name} gives a tensor of shape {_shown(shape)}, not a picture of {channels} channels")
    return int(shape[2] or 0), int(shape[3] or 0)


def _run_once(model: onnx.ModelProto, name: str) -> tuple[int | None, ...]:
    size = [dimension or 1 for dimension in _dimensions(model.graph.input[0])]
    try:
        result = Session(model).run(np.zeros(size, np.float32))[0]
    # onnxruntime's own exception classes are not public; all derive from Exception only.
    except Exception as error:
        raise ModelError(f"{name} cannot be run at {size[3]}x{size[2]} ({one_line(error)})") from None
    return tuple(np.shape(result))


def _wrap_input(model: onnx.ModelProto, size: list[int]) -> None:
    from onnx import helper

    graph = model.graph
    rename(graph, "input", "input_nhwc")
    graph.node.insert(0, helper.make_node("Transpose", ["input"], ["input_nhwc"], perm=[0, 2, 3, 1]))
    value = next(value for value in graph.input if value.name == "input")
    _set_dimensions(value, size)


def _wrap_output(model: onnx.ModelProto) -> None:
    from onnx import helper

    graph = model.graph
    rename(graph, "output", "output_nhwc")
    graph.node.append(helper.make_node("Transpose", ["output_nhwc"], ["output"], perm=[0, 3, 1, 2]))
    shape = _dimensions(graph.output[0])
    if shape and None not in shape:
        batch, out_height, out_width, channels = (int(size or 0) for size in shape)
        _set_dimensions(graph.output[0], [batch, channels, out_height, out_width])
