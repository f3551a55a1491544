"""Any super-resolving ONNX file becomes a static NCHW graph of opset 18 or newer; others are refused in words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from srgan_trt.errors import ModelError
from srgan_trt.models.loader import open_network

from .conftest import noise, run_onnx

Dims = Sequence[int | str | None]


def upscaler(
    *, dims: Dims = ("n", 3, "h", "w"), out: Dims | None = None, opset: int = 18, kind: int = TensorProto.FLOAT
) -> onnx.ModelProto:
    """A 3x3 convolution and a pixel shuffle by 2, NCHW."""
    kernel = np.random.default_rng(0).normal(0, 0.2, (12, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["lr", "kernel"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("DepthToSpace", ["c"], ["hr"], blocksize=2),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("lr", kind, dims)],
        [helper.make_tensor_value_info("hr", TensorProto.FLOAT, out if out is not None else ("n", 3, "H", "W"))],
        [numpy_helper.from_array(kernel, "kernel")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def nhwc() -> onnx.ModelProto:
    model = upscaler(dims=("n", "h", "w", 3), out=("n", "H", "W", 3))
    model.graph.node[0].input[0] = "lr_nchw"
    model.graph.node[1].output[0] = "hr_nchw"
    model.graph.node.insert(0, helper.make_node("Transpose", ["lr"], ["lr_nchw"], perm=[0, 3, 1, 2]))
    model.graph.node.append(helper.make_node("Transpose", ["hr_nchw"], ["hr"], perm=[0, 2, 3, 1]))
    return model


def direct(batch: Any) -> Any:
    """The same network by onnxruntime, unexported."""
    import onnxruntime

    session = onnxruntime.InferenceSession(upscaler().SerializeToString(), providers=["CPUExecutionProvider"])
    (result,) = session.run(None, {"lr": batch.transpose(0, 3, 1, 2)})
    return result.transpose(0, 2, 3, 1)


def saved(model: onnx.ModelProto, folder: Path) -> Path:
    onnx.save(model, folder / "net.onnx")
    return folder / "net.onnx"


@pytest.mark.parametrize("model", [upscaler(), nhwc(), upscaler(opset=11), upscaler(opset=21)],
                         ids=["NCHW", "NHWC", "opset 11", "opset 21"])  # fmt: skip
def test_free_sizes(model: onnx.ModelProto, tmp_path: Path) -> None:
    network = open_network(saved(model, tmp_path))
    assert (network.kind, network.fixed_shape, network.predict(noise(5, 6))) == ("ONNX", None, None)
    exported = network.export(5, 6)
    assert [value.name for value in (*exported.graph.input, *exported.graph.output)] == ["input", "output"]
    shape = [d.dim_value for d in exported.graph.output[0].type.tensor_type.shape.dim]
    assert shape == [1, 3, 10, 12]
    version = next(entry.version for entry in exported.opset_import if entry.domain == "")
    assert 18 <= version <= 21
    np.testing.assert_allclose(run_onnx(exported, noise(5, 6)), direct(noise(5, 6)), rtol=0, atol=1e-5)


def test_a_fixed_size_is_kept(tmp_path: Path) -> None:
    network = open_network(saved(upscaler(dims=(1, 3, 8, 9), out=(1, 3, 16, 18)), tmp_path))
    assert network.fixed_shape == (8, 9)
    np.testing.assert_allclose(run_onnx(network.export(5, 6), noise(8, 9)), direct(noise(8, 9)), rtol=0, atol=1e-5)


def test_an_old_file_that_lists_its_weights_as_inputs(tmp_path: Path) -> None:
    model = upscaler(opset=9)
    model.ir_version = 3
    model.graph.input.append(helper.make_tensor_value_info("kernel", TensorProto.FLOAT, (12, 3, 3, 3)))
    network = open_network(saved(model, tmp_path))
    np.testing.assert_allclose(run_onnx(network.export(5, 6), noise(5, 6)), direct(noise(5, 6)), rtol=0, atol=1e-5)


def test_weights_beside_the_file_count_in_its_hash(tmp_path: Path) -> None:
    onnx.save(upscaler(), tmp_path / "net.onnx", save_as_external_data=True, location="net.data", size_threshold=0)
    network = open_network(tmp_path / "net.onnx")
    np.testing.assert_allclose(run_onnx(network.export(5, 6), noise(5, 6)), direct(noise(5, 6)), rtol=0, atol=1e-5)
    data = bytearray((tmp_path / "net.data").read_bytes())
    data[0] ^= 1
    (tmp_path / "net.data").write_bytes(data)
    assert open_network(tmp_path / "net.onnx").source_hash != network.source_hash
    (tmp_path / "net.data").unlink()
    with pytest.raises(ModelError, match=r"net\.data|net\.onnx"):
        open_network(tmp_path / "net.onnx")


def test_of_several_pictures_the_one_that_is_named(tmp_path: Path) -> None:
    model = upscaler()
    model.graph.node.append(helper.make_node("Relu", ["hr"], ["active"]))
    model.graph.output.append(helper.make_tensor_value_info("active", TensorProto.FLOAT, ("n", 3, "H", "W")))
    path = saved(model, tmp_path)
    with pytest.raises(ModelError, match=r"has 2 outputs \(hr, active\): .* --layer NAME"):
        open_network(path)
    with pytest.raises(ModelError, match=r"no output 'sr': --layer takes one of hr, active"):
        open_network(path, layer="sr")
    batch = noise(8, 8, low=-1.0)
    result = run_onnx(open_network(path, layer="active").export(8, 8), batch)
    np.testing.assert_allclose(result, np.maximum(direct(batch), 0), atol=1e-6)


def two_inputs() -> onnx.ModelProto:
    model = upscaler()
    model.graph.input.append(helper.make_tensor_value_info("noise", TensorProto.FLOAT, ("n", 3, "h", "w")))
    model.graph.node.insert(0, helper.make_node("Identity", ["noise"], ["unused"]))
    return model


def classifier() -> onnx.ModelProto:
    model = upscaler()
    model.graph.node.append(helper.make_node("Flatten", ["hr"], ["scores"]))
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("scores", TensorProto.FLOAT, ("n", "classes")))
    return model


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (two_inputs(), "has 2 inputs"),
        (classifier(), "is a classifier"),
        (upscaler(kind=TensorProto.INT32), "int32 pixels"),
        (upscaler(dims=("n", 1, "h", "w"), out=("n", 3, 16, 16)), "not a picture as it takes"),
        (upscaler(dims=("n", 4, "h", "w")), r"shape \?x4x\?x\?"),
        (upscaler(dims=(3, "h", "w")), "rank 3"),
        (upscaler(dims=("n", "c", "h", "w")), "how many channels"),
    ],
    ids=["two inputs", "classifier", "int32", "luma in alone", "four channels", "rank 3", "no channels"],
)
def test_what_is_no_super_resolver_is_refused(model: onnx.ModelProto, words: str, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=words) as error:
        open_network(path)
    assert "\n" not in str(error.value)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(upscaler().SerializeToString()[:-300])
    with pytest.raises(ModelError, match=r"net\.onnx") as error:
        open_network(path).export(8, 8)
    assert "\n" not in str(error.value)


def typed(kind: int) -> onnx.ModelProto:
    """The network with pixels of another type at both ends: halves all through, uint8 at the ends."""
    model = upscaler(kind=kind)
    model.graph.output[0].type.tensor_type.elem_type = kind
    if kind != TensorProto.UINT8:
        (kernel,) = (numpy_helper.to_array(tensor) for tensor in model.graph.initializer)
        model.graph.initializer[0].CopyFrom(
            numpy_helper.from_array(kernel.astype(helper.tensor_dtype_to_np_dtype(kind)), "kernel")
        )
        return model
    model.graph.node[0].input[0], model.graph.node[1].output[0] = "lr_float", "hr_float"
    model.graph.node.insert(0, helper.make_node("Cast", ["lr"], ["lr_float"], to=TensorProto.FLOAT))
    model.graph.node.append(helper.make_node("Cast", ["hr_float"], ["hr"], to=TensorProto.UINT8))
    return model


@pytest.mark.parametrize(("kind", "tolerance"), [(TensorProto.FLOAT16, 5e-3), (TensorProto.UINT8, 1e-6)])
def test_pixels_of_other_types_at_the_ends(kind: int, tolerance: float, tmp_path: Path) -> None:
    network = open_network(saved(typed(kind), tmp_path))
    assert any("float32 here" in note for note in network.notes)
    exported = network.export(5, 6)
    ends = (exported.graph.input[0], exported.graph.output[0])
    assert [end.type.tensor_type.elem_type for end in ends] == [TensorProto.FLOAT] * 2
    np.testing.assert_allclose(run_onnx(exported, noise(5, 6)), direct(noise(5, 6)), rtol=0, atol=tolerance)


def test_of_several_outputs_the_picture_is_taken(tmp_path: Path) -> None:
    model = upscaler()
    model.graph.node.append(helper.make_node("ReduceMean", ["hr"], ["mean"], keepdims=0))
    model.graph.output.insert(0, helper.make_tensor_value_info("mean", TensorProto.FLOAT, ()))
    network = open_network(saved(model, tmp_path))
    assert "of its 2 outputs hr is the picture: the others are left out" in network.notes
    np.testing.assert_allclose(run_onnx(network.export(5, 6), noise(5, 6)), direct(noise(5, 6)), rtol=0, atol=1e-5)
