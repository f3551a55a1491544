"""An exported file gives, by other programs, the picture that `Upscaler` gives."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import srgan_trt
from srgan_trt.compiler.export import LAYOUTS, export
from srgan_trt.compiler.plan import Plan
from srgan_trt.errors import PlanError
from srgan_trt.resolve import open_plan
from srgan_trt.upscaler import Upscaler

from ..handmade import differences, noise, small_plan


def by_onnxruntime(path: Path, image: np.ndarray) -> np.ndarray:
    """Levels (H, W, 3) of `image`."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    if given.type == "tensor(uint8)":
        return np.asarray(session.run(None, {"image": image[None]})[0])[0]
    values = (image[None].transpose(0, 3, 1, 2) / 255).astype(np.float32)
    (result,) = session.run(["result"], {"image": values})
    assert result.min() >= 0
    assert result.max() <= 1
    return np.rint(result[0].transpose(1, 2, 0) * 255).astype(np.uint8)


def by_openvino(path: Path, image: np.ndarray) -> np.ndarray:
    import openvino

    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.asarray(compiled([image[None]])[0])[0]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("model", ["srresnet-fast-x4", "srgan-fast-x4", "small"])
def test_the_picture_is_ours_to_one_level(model: str, layout: Any, tmp_path: Path) -> None:
    plan = small_plan(tmp_path) if model == "small" else open_plan(model)
    path = export(plan, out=tmp_path / "out.onnx", layout=layout)
    onnx.checker.check_model(str(path))
    with Upscaler(dataclasses.replace(plan, int8=None), exact=True) as up:
        for height, width in ((8, 8), (33, 20), (40, 57)):
            image = noise(height, width)
            assert differences(by_onnxruntime(path, image), up(image)).max() <= 1


def test_openvino_gives_it_too(tmp_path: Path) -> None:
    plan = small_plan(tmp_path)
    image = noise(31, 22)
    path = srgan_trt.export(plan.path, out=tmp_path / "out.onnx", layout="nhwc-uint8")
    with Upscaler(plan, exact=True) as up:
        assert differences(by_openvino(path, image), up(image)).max() <= 1


def test_a_network_of_a_fixed_size_stays_one(tmp_path: Path) -> None:
    plan = small_plan(tmp_path, fixed_shape=(24, 20))
    model = onnx.load(export(plan, out=tmp_path / "out.onnx"))
    assert [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim[1:]] in ([3, 24, 20], [3, 0, 0])


def test_what_cannot_be_exported_is_refused_and_nothing_replaced(tmp_path: Path) -> None:
    plan = small_plan(tmp_path)
    target = tmp_path / "out.onnx"
    target.write_text("precious")
    with pytest.raises(PlanError, match="exists: give --overwrite"):
        export(plan, out=target)
    assert target.read_text() == "precious"
    export(plan, out=target, overwrite=True)
    with pytest.raises(PlanError, match="no plan"):
        export(target, out=tmp_path / "again.onnx")
    with pytest.raises(PlanError, match="there is no layout"):
        export(plan, out=tmp_path / "other.onnx", layout="chw")  # type: ignore[arg-type]
    (tmp_path / "int8").mkdir()
    quantised: Plan = small_plan(tmp_path / "int8", precision="int8")
    with pytest.raises(PlanError, match="export a plan in fp32"):
        export(quantised, out=tmp_path / "other.onnx")
