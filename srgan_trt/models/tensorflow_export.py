"""From a TensorFlow function to a static ONNX graph, without TensorFlow's chatter."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ..cache import cache_folder
from ..errors import ModelError, missing
from .onnx_graph import graphs_of, rename
from .source import check_output, check_scale

if TYPE_CHECKING:
    import onnx

OPSET = 18
_importing = threading.Lock()


def import_tensorflow() -> Any:
    """TensorFlow, imported without the messages that its C++ part writes while it loads.

    Raises MissingPackageError if it is not installed.
    """
    with _importing:
        if "tensorflow" not in sys.modules:
            if not os.path.exists(os.path.expanduser("~/.keras")):
                # Keras and tf_keras write their settings at import; users who have none should not find a new folder.
                os.environ.setdefault("KERAS_HOME", str(cache_folder() / "keras"))
            with _quiet_stderr(), default_environment("TF_CPP_MIN_LOG_LEVEL", "3"):
                try:
                    import tensorflow
                except ModuleNotFoundError as error:
                    if error.name != "tensorflow":
                        raise
                    raise missing("tensorflow", "keras", "read a Keras file or a SavedModel") from None
            tensorflow.get_logger().setLevel(logging.ERROR)
        import tensorflow

        return tensorflow


def export_function(
    function: Callable[[Any], Any], height: int, width: int, *, channels: int, name: str
) -> onnx.ModelProto:
    """Converts ``function``, float32 (1, height, width, channels) to (1, H, W, channels), to ONNX (seam 1's
    ``export``).

    Raises ModelError, naming the model ``name``, if tf2onnx cannot, or if the result is not a picture.
    """
    import onnx

    tf = import_tensorflow()
    with quiet_logger("tf2onnx"):
        try:
            import tf2onnx
        except ModuleNotFoundError as error:
            if error.name != "tf2onnx":
                raise
            raise missing("tf2onnx", "keras", "convert a Keras file") from None

        @tf.function(autograph=False)  # type: ignore[untyped-decorator]
        def network(batch: Any) -> Any:
            return tf.identity(tf.cast(function(batch), tf.float32), name="picture")

        spec = tf.TensorSpec([1, height, width, channels], tf.float32, name="input")
        output = network.get_concrete_function(spec).outputs[0]
        check_output(name, tuple(output.shape), channels=channels)
        check_scale(name, (height, width), tuple(output.shape)[1:3])
        model: onnx.ModelProto
        model, _ = tf2onnx.convert.from_function(
            network,
            input_signature=[spec],
            opset=OPSET,
            inputs_as_nchw=["input:0"],
            outputs_as_nchw=["Identity:0"],
        )
    _spell_out(model.graph)
    unknown = sorted({_title(node) for node in model.graph.node if not onnx.defs.has(node.op_type, node.domain)})
    if unknown:
        raise ModelError(f"{name} uses {', '.join(unknown)}, which ONNX has no operator for")
    _to_nchw(model.graph, [int(side or 0) for side in output.shape])
    rename_io(model)
    return model


def _title(node: onnx.NodeProto) -> str:
    kernels = [attribute.s.decode() for attribute in node.attribute if attribute.name == "kernel_type"]
    return f"{node.op_type}{''.join(f' ({kernel})' for kernel in kernels)}"


def _spell_out(graph: onnx.GraphProto) -> None:
    """Operators that tf2onnx leaves as TensorFlow calls them, in ONNX's own, in place."""
    from onnx import helper, numpy_helper

    one = "srgan_trt_one"
    nodes = list(graph.node)
    del graph.node[:]
    for node in nodes:
        inner = f"{node.output[0]}_inner"
        match node.op_type:
            case "Erfc":
                graph.node.append(helper.make_node("Erf", node.input, [inner]))
                graph.node.append(helper.make_node("Sub", [one, inner], node.output))
            case "Expm1":
                graph.node.append(helper.make_node("Exp", node.input, [inner]))
                graph.node.append(helper.make_node("Sub", [inner, one], node.output))
            case _:
                graph.node.append(node)
    graph.initializer.append(numpy_helper.from_array(np.ones((), np.float32), one))


def _to_nchw(graph: onnx.GraphProto, nhwc: list[int]) -> None:
    """The output channels first, where tf2onnx forgot (a network that ends in swish)."""
    from onnx import helper

    output = graph.output[0]
    sides = output.type.tensor_type.shape.dim
    if [side.dim_value for side in sides] != nhwc or nhwc[1] == nhwc[3]:
        return
    inner = f"{output.name}_nhwc"
    rename(graph, output.name, inner)
    graph.node.append(helper.make_node("Transpose", [inner], [output.name], perm=[0, 3, 1, 2]))
    for side, length in zip(sides, (nhwc[0], nhwc[3], *nhwc[1:3]), strict=True):
        side.dim_value = length


def rename_io(model: onnx.ModelProto) -> None:
    """Calls the graph's only input "input" and its only output "output", in place."""
    graph = model.graph
    for value, name in ((graph.input[0], "input"), (graph.output[0], "output")):
        old = value.name
        if old == name:
            continue
        taken = {tensor for each in graphs_of(graph) for node in each.node for tensor in (*node.input, *node.output)}
        taken |= {initializer.name for each in graphs_of(graph) for initializer in each.initializer}
        if name in taken:
            rename(graph, name, f"{name}_inner")
        rename(graph, old, name)
        value.name = name


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Holds back file descriptor 2, which TensorFlow's C++ part writes to; shows it if the body fails."""
    try:
        saved = os.dup(2)
    except OSError:  # started without a standard error: nothing to hold back
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(saved, held.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)


@contextlib.contextmanager
def default_environment(key: str, value: str) -> Iterator[None]:
    """Sets an environment variable for a while, unless the user did."""
    if key in os.environ:
        yield
        return
    os.environ[key] = value
    try:
        yield
    finally:
        del os.environ[key]


@contextlib.contextmanager
def quiet_logger(name: str) -> Iterator[None]:
    """Lets only the errors of one of Python's loggers through, for a while."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
