"""What is exported gives, by other programs, the picture that `Upscaler` gives."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from google.protobuf import text_format

import srgan_trt
from srgan_trt.compiler.conversion import convert_plan
from srgan_trt.compiler.pixel_ends import LAYOUTS
from srgan_trt.errors import PlanError
from srgan_trt.exports import KINDS, export
from srgan_trt.models.registry import Shipped, packaged_models
from srgan_trt.resolve import open_plan
from srgan_trt.upscaler import Upscaler

from .command_line import files
from .handmade import HALO, differences, noise, small_plan

SHIPPED = [model.name for model in packaged_models().values() if isinstance(model.place, Shipped)]


def from_values(result: np.ndarray) -> np.ndarray:
    """Levels (H, W, 3) of what a network of layout nchw-float gives."""
    assert result.min() >= 0
    assert result.max() <= 1
    return np.rint(result[0].transpose(1, 2, 0) * 255).astype(np.uint8)


def to_values(image: np.ndarray) -> np.ndarray:
    return (image[None].transpose(0, 3, 1, 2) / 255).astype(np.float32)


def by_onnxruntime(path: Path, image: np.ndarray) -> np.ndarray:
    """Levels (H, W, 3) of `image`."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    if given.type == "tensor(uint8)":
        return np.asarray(session.run(None, {"image": image[None]})[0])[0]
    return from_values(session.run(["result"], {"image": to_values(image)})[0])


def by_openvino(path: Path, image: np.ndarray) -> np.ndarray:
    import openvino

    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    if compiled.input("image").element_type == openvino.Type.u8:
        return np.asarray(compiled({"image": image[None]})["result"])[0]
    return from_values(compiled({"image": to_values(image)})["result"])


class TestOnnx:
    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("model", [*SHIPPED, "small"])
    def test_the_picture_is_ours_to_one_level(self, model: str, layout: Any, tmp_path: Path) -> None:
        plan = small_plan(tmp_path) if model == "small" else open_plan(model)
        path = export(plan, out=tmp_path / "out.onnx", layout=layout)
        onnx.checker.check_model(str(path))
        with Upscaler(dataclasses.replace(plan, int8=None), exact=True) as up:
            for height, width in ((8, 8), (33, 20), (40, 57)):
                image = noise(height, width)
                assert differences(by_onnxruntime(path, image), up(image)).max() <= 1

    def test_openvino_reads_it_too(self, tmp_path: Path) -> None:
        plan = small_plan(tmp_path)
        image = noise(31, 22)
        path = srgan_trt.export(plan.path, out=tmp_path / "out.onnx", layout="nhwc-uint8")
        with Upscaler(plan, exact=True) as up:
            assert differences(by_openvino(path, image), up(image)).max() <= 1

    def test_a_network_of_a_fixed_size_stays_one(self, tmp_path: Path) -> None:
        plan = small_plan(tmp_path, fixed_shape=(24, 20))
        model = onnx.load(export(plan, out=tmp_path / "out.onnx"))
        sides = [
            [dim.dim_value for dim in end.type.tensor_type.shape.dim]
            for end in (*model.graph.input, *model.graph.output)
        ]
        assert sides == [[0, 3, 24, 20], [0, 3, 96, 80]]

    def test_in_float16_it_is_what_a_plan_in_fp16_gives(self, tmp_path: Path) -> None:
        plan = small_plan(tmp_path)
        half = convert_plan(plan, tmp_path / "half.onnx", precision="fp16")
        path = export(plan, out=tmp_path / "out.onnx", fp16=True)
        assert path.read_bytes() == export(half, out=tmp_path / "again.onnx", fp16=True).read_bytes()
        assert len(path.read_bytes()) < len(export(plan, out=tmp_path / "full.onnx").read_bytes())
        image = noise(33, 20)
        with Upscaler(half, precision="fp32", halo=HALO) as up:
            assert differences(by_onnxruntime(path, image), up(image)).max() <= 1


class TestOpenvino:
    @pytest.mark.parametrize("fp16", [False, True])
    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_the_picture_is_ours_to_one_level(self, layout: Any, fp16: bool, tmp_path: Path) -> None:
        plan = open_plan("srresnet-photo-x4")
        path = export(plan, out=tmp_path / "fast.xml", to="openvino", layout=layout, fp16=fp16)
        assert files(tmp_path) == ["fast.bin", "fast.xml"]
        weights = sum(path.stat().st_size for path in tmp_path.glob("*.bin"))
        assert (weights < 0.6 * plan.body_bytes) == fp16
        with Upscaler(dataclasses.replace(plan, int8=None), exact=True) as up:
            for height, width in ((8, 8), (33, 20)):
                image = noise(height, width)
                assert differences(by_openvino(path, image), up(image)).max() <= 1 + fp16

    def test_neither_of_its_files_is_replaced_unasked(self, tmp_path: Path) -> None:
        plan = small_plan(tmp_path)
        (tmp_path / "out.bin").write_text("precious")
        with pytest.raises(PlanError, match=r"out\.bin exists: give --overwrite"):
            export(plan, out=tmp_path / "out.xml", to="openvino")
        assert files(tmp_path) == ["out.bin", "small.onnx"]
        export(plan, out=tmp_path / "out.xml", to="openvino", overwrite=True)
        assert by_openvino(tmp_path / "out.xml", noise(9, 8)).shape == (36, 32, 3)
        with pytest.raises(PlanError, match=r"name it \.xml"):
            export(plan, out=tmp_path / "out.onnx", to="openvino")


class TestTriton:
    def test_a_model_of_a_repository(self, tmp_path: Path) -> None:
        export(open_plan("srresnet-photo-x4"), out=tmp_path / "models/photo-x4", to="triton", layout="nhwc-uint8")
        assert files(tmp_path) == ["models/photo-x4/1/model.onnx", "models/photo-x4/config.pbtxt"]

    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("shape", [None, (24, 20)])
    def test_its_configuration_says_what_the_network_is(self, layout: Any, shape: Any, tmp_path: Path) -> None:
        """By the message that Triton's own client has for it."""
        message = pytest.importorskip("tritonclient.grpc.model_config_pb2", reason='pip install ".[dev]"')
        folder = export(small_plan(tmp_path, fixed_shape=shape), out=tmp_path / "x4", to="triton", layout=layout)
        config = text_format.Parse((folder / "config.pbtxt").read_text(), message.ModelConfig())
        assert (config.name, config.backend, config.max_batch_size) == ("x4", "onnxruntime", 0)
        kind = {"nchw-float": "TYPE_FP32", "nhwc-uint8": "TYPE_UINT8"}[layout]
        network = onnx.load(folder / "1" / "model.onnx").graph
        for ours, its in ((config.input, network.input), (config.output, network.output)):
            assert [each.name for each in ours] == [each.name for each in its]
            assert message.DataType.Name(ours[0].data_type) == kind
            assert list(ours[0].dims) == [side.dim_value or -1 for side in its[0].type.tensor_type.shape.dim]

    def test_a_folder_that_exists_is_refused(self, tmp_path: Path) -> None:
        plan = small_plan(tmp_path)
        (tmp_path / "x4").mkdir()
        for overwrite in (False, True):
            with pytest.raises(PlanError, match="x4 exists: name another"):
                export(plan, out=tmp_path / "x4", to="triton", overwrite=overwrite)
        assert files(tmp_path) == ["small.onnx"]

    def test_it_is_written_whole_or_not_at_all(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Path, "write_text", full)
        with pytest.raises(PlanError, match=r"the disk of .* is full"):
            export(small_plan(tmp_path), out=tmp_path / "x4", to="triton")
        assert [path.name for path in tmp_path.iterdir()] == ["small.onnx"]

    @pytest.mark.parametrize("name", ["a b", "ä", '"', ".hidden"])
    def test_a_name_that_could_not_be_asked_for_is_refused(self, name: str, tmp_path: Path) -> None:
        with pytest.raises(PlanError, match="is not a name for a model of Triton"):
            export(small_plan(tmp_path), out=tmp_path / name, to="triton")


class TestRefusals:
    @pytest.fixture(params=KINDS)
    def target(self, request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Any, Path]:
        return request.param, tmp_path / {"onnx": "out.onnx", "openvino": "out.xml", "triton": "out"}[request.param]

    def test_an_existing_file_is_replaced_only_when_asked(self, tmp_path: Path) -> None:
        plan, target = small_plan(tmp_path), tmp_path / "out.onnx"
        target.write_text("precious")
        with pytest.raises(PlanError, match="exists: give --overwrite"):
            export(plan, out=target)
        assert target.read_text() == "precious"
        export(plan, out=target, overwrite=True)
        with pytest.raises(PlanError, match="no plan"):
            export(target, out=tmp_path / "again.onnx")

    def test_int8_is_refused_for_each(self, target: tuple[Any, Path], tmp_path: Path) -> None:
        """Other programs round elsewhere: by onnxruntime the shipped ones are up to 16 levels off."""
        plan = small_plan(tmp_path, precision="int8")
        with pytest.raises(PlanError, match=r"is in int8, .*: export a plan in fp32"):
            export(plan, out=target[1], to=target[0])
        assert files(tmp_path) == ["small.onnx"]

    def test_a_folder_that_takes_nothing_is_named(self, target: tuple[Any, Path], tmp_path: Path) -> None:
        plan = small_plan(tmp_path)
        (tmp_path / "file").write_text("in the way")
        with pytest.raises(PlanError, match=r"cannot write .*: name another"):
            export(plan, out=tmp_path / "file" / target[1].name, to=target[0])

    def test_what_there_is_not_is_told(self, tmp_path: Path) -> None:
        plan = small_plan(tmp_path)
        with pytest.raises(PlanError, match="there is no layout 'chw': give one of nchw-float, nhwc-uint8"):
            export(plan, out=tmp_path / "out.onnx", layout="chw")  # type: ignore[arg-type]
        with pytest.raises(PlanError, match="there is no kind of file 'coreml': give one of onnx, openvino, triton"):
            export(plan, out=tmp_path / "out.onnx", to="coreml")  # type: ignore[arg-type]
