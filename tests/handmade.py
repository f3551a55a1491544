"""Small plans made by hand, and what they must give, computed by other means than the package's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from srgan_trt.compiler.plan import Plan, save_plan
from srgan_trt.runtime.pipeline import Pipeline, Schedule
from srgan_trt.self_test import SelfTest
from srgan_trt.spec import NetworkSpec

HALO = 4
"""Of the small network: 2 + 1 input pixels, and one pixel at twice the resolution."""


def _network(
    name: str,
    nodes: list[onnx.NodeProto],
    weights: dict[str, NDArray[np.float64]],
    *,
    shape: tuple[Any, Any] = ("height", "width"),
) -> onnx.ModelProto:
    """A network of RGB pictures that gives 12 channels."""
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, *shape])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", 12, None, None])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def small_model(*, shape: tuple[Any, Any] = ("height", "width"), last: str = "Tanh") -> onnx.ModelProto:
    """x4: conv5x5, PReLU, conv3x3, shuffle by 2, conv3x3 to 12 channels, `last`; random weights, always the same."""
    rng = np.random.default_rng(7)
    weights = {
        "w0": rng.normal(0, 0.25, (8, 3, 5, 5)),
        "b0": rng.normal(0, 0.3, 8),
        "slope": rng.uniform(0.1, 0.5, (8, 1, 1)),
        "w1": rng.normal(0, 0.12, (16, 8, 3, 3)),
        "w2": rng.normal(0, 0.3, (12, 4, 3, 3)),
    }
    nodes = [
        helper.make_node("Conv", ["input", "w0", "b0"], ["t0"], pads=[2] * 4),
        helper.make_node("PRelu", ["t0", "slope"], ["t1"]),
        helper.make_node("Conv", ["t1", "w1"], ["t2"], pads=[1] * 4),
        helper.make_node("DepthToSpace", ["t2"], ["t3"], blocksize=2, mode="DCR"),
        helper.make_node("Conv", ["t3", "w2"], ["t4"], pads=[1] * 4),
        helper.make_node(last, ["t4"], ["output"]),
    ]
    return _network("small", nodes, weights, shape=shape)


def enlarging_model() -> onnx.ModelProto:
    """x4: conv3x3, a transposed convolution of stride 2, ReLU, conv3x3 to 12 channels, tanh."""
    rng = np.random.default_rng(8)
    weights = {
        "w0": rng.normal(0, 0.3, (8, 3, 3, 3)),
        "w1": rng.normal(0, 0.2, (8, 6, 4, 4)),
        "b1": rng.normal(0, 0.1, 6),
        "w2": rng.normal(0, 0.3, (12, 6, 3, 3)),
    }
    nodes = [
        helper.make_node("Conv", ["input", "w0"], ["t0"], pads=[1] * 4),
        helper.make_node("ConvTranspose", ["t0", "w1", "b1"], ["t1"], strides=[2, 2], pads=[1] * 4),
        helper.make_node("Relu", ["t1"], ["t2"]),
        helper.make_node("Conv", ["t2", "w2"], ["t3"], pads=[1] * 4),
        helper.make_node("Tanh", ["t3"], ["output"]),
    ]
    return _network("enlarging", nodes, weights)


def dense_model() -> onnx.ModelProto:
    """x4: two convolutions that read all maps before them, a third to 12 channels, tanh."""
    rng = np.random.default_rng(9)
    weights = {
        "w0": rng.normal(0, 0.3, (8, 3, 3, 3)),
        "w1": rng.normal(0, 0.2, (8, 11, 3, 3)),
        "b1": rng.normal(0, 0.1, 8),
        "w2": rng.normal(0, 0.1, (48, 19, 3, 3)),
    }
    nodes = [
        helper.make_node("Conv", ["input", "w0"], ["t0"], pads=[1] * 4),
        helper.make_node("Concat", ["input", "t0"], ["t1"], axis=1),
        helper.make_node("Conv", ["t1", "w1", "b1"], ["t2"], pads=[1] * 4),
        helper.make_node("Relu", ["t2"], ["t3"]),
        helper.make_node("Concat", ["input", "t0", "t3"], ["t4"], axis=1),
        helper.make_node("Conv", ["t4", "w2"], ["t5"], pads=[1] * 4),
        helper.make_node("DepthToSpace", ["t5"], ["t6"], blocksize=2, mode="DCR"),
        helper.make_node("Tanh", ["t6"], ["output"]),
    ]
    return _network("dense", nodes, weights)


def dense_plan(folder: Path) -> Plan:
    """Of a network that may be summed; its halo is that of `small_plan` or less."""
    return save_plan(dense_model(), small_spec(name="dense"), folder / "dense.onnx")


def enlarging_plan(folder: Path) -> Plan:
    """Of a network whose sub-pixel convolution may have other lowerings; its halo is that of `small_plan` or less."""
    return save_plan(enlarging_model(), small_spec(name="enlarging"), folder / "enlarging.onnx")


def small_spec(**changes: Any) -> NetworkSpec:
    facts: dict[str, Any] = {
        "name": "small",
        "scale": 4,
        "input_range": (0.0, 1.0),
        "output_range": (-1.0, 1.0),
        "shuffle": 2,
        "halo": HALO,
        "radius": 3.75,
        "default_halo": 3,
        "fixed_shape": None,
        "multiple": 1,
        "precision": "fp32",
        "macs": 1000.0,
        "source_hash": "0" * 64,
    }
    return NetworkSpec(**facts | changes)


def small_plan(folder: Path, *, last: str = "Tanh", **changes: Any) -> Plan:
    shape = changes.get("fixed_shape") or ("height", "width")
    return save_plan(small_model(shape=shape, last=last), small_spec(**changes), folder / "small.onnx")


def witnessed(plan: Plan, path: Path, *, shift: int = 0) -> Plan:
    """The same plan, with a picture that devices are held to: what it gives, `shift` levels off."""
    picture = noise(20, 24, seed=9)
    given = expected(plan, picture)
    exact = np.where(given < 128, given + shift, given - shift).astype(np.uint8)
    model = onnx.load(str(plan.path))
    return save_plan(model, plan.spec, path, self_test=SelfTest.of(picture, exact=exact, plan=exact))


def with_int8(plan: Plan, folder: Path, *, shift: int = 0) -> Plan:
    """`plan`, a `small_plan`, beside a twin that says it is in int8. It ends in another function, so that pictures tell
    which of them ran. shift: levels that the picture is off by which devices are held to."""
    folder.mkdir()
    int8_plan = small_plan(folder, last="Softsign", precision="int8")
    return plan.with_int8(witnessed(int8_plan, folder / "small.int8.onnx", shift=shift))


def expected(plan: Plan, image: NDArray[Any]) -> NDArray[Any]:
    """What the plan makes of the whole `image` (H, W, 1|3), by onnxruntime and float64 arithmetic."""
    import onnxruntime

    spec = plan.spec
    highest = np.iinfo(image.dtype).max
    low, high = spec.input_range
    tensor = np.broadcast_to(image, (*image.shape[:2], 3)).transpose(2, 0, 1)[None] / highest * (high - low) + low
    session = onnxruntime.InferenceSession(str(plan.path), providers=["CPUExecutionProvider"])
    (result,) = session.run(None, {"input": tensor.astype(np.float32)})
    r = spec.shuffle
    _, _, height, width = result.shape
    colours = result.reshape(r, r, 3, height, width).transpose(3, 0, 4, 1, 2).reshape(height * r, width * r, 3)
    low, high = spec.output_range
    levels = np.clip((colours.astype(np.float64) - low) / (high - low), 0, 1) * highest
    if image.shape[2] == 1:
        levels = levels @ np.array([[0.299], [0.587], [0.114]])
    return np.rint(levels).astype(image.dtype)


def scheduled(pipeline: Pipeline, image: Any, *, tile: int | None = None, halo: int | None = HALO) -> Schedule:
    """What the pipeline makes of a picture that is to be seen in tiles of at most `tile`."""
    height, width, channels = image.shape
    return pipeline.schedule(height, width, halo=halo, dtype=image.dtype, channels=channels, tile=tile)


def noise(height: int, width: int, channels: int = 3, *, dtype: Any = np.uint8, seed: int = 0) -> NDArray[Any]:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, (height, width, channels), dtype)


def differences(one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.int64]:
    """Absolute difference in levels, of every sample."""
    assert one.shape == other.shape
    assert one.dtype == other.dtype
    return np.abs(one.astype(np.int64) - other.astype(np.int64))


def nearest_model(*, scale: int = 2) -> onnx.ModelProto:
    """A network that repeats every pixel `scale` times both ways: what it gives is known without running it."""
    weights = np.zeros((3 * scale**2, 3, 3, 3), np.float32)
    for channel in range(len(weights)):
        weights[channel, channel % 3, 1, 1] = 1
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["input", "weights"], ["maps"], pads=[1] * 4),
            helper.make_node("DepthToSpace", ["maps"], ["output"], blocksize=scale, mode="DCR"),
        ],
        "nearest",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, "height", "width"])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", 3, "out_height", "out_width"])],
        [numpy_helper.from_array(weights, "weights")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
