"""Networks by PyTorch: the same numbers as onnxruntime's, on the CPU. That it runs on a pipeline's streams and memory,
tests/gpu shows, where there is a GPU."""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from srgan_trt.compiler import graph
from srgan_trt.compiler.fp16 import convert_to_fp16
from srgan_trt.compiler.reference import Floats, ReferenceRunner
from srgan_trt.errors import DeviceError, MissingPackageError, pip_command
from srgan_trt.runtime.gpu.interfaces import EngineSettings
from srgan_trt.runtime.tensorrt import pytorch
from srgan_trt.runtime.tensorrt.pytorch import TorchEngine, TorchNetwork, TorchSource

from ...handmade import dense_model, enlarging_model, small_model, small_plan


def picture() -> Floats:
    return np.random.default_rng(3).random((2, 3, 21, 34), np.float32)


class TestOnTheCpu:
    @pytest.fixture(autouse=True)
    def _with_pytorch(self) -> None:
        pytest.importorskip("torch", reason="the [torch] extra is not installed", exc_type=ImportError)

    @pytest.mark.parametrize("model", [small_model(), enlarging_model(), dense_model(), small_model(last="Sigmoid")])
    def test_float32(self, model: onnx.ModelProto) -> None:
        import torch

        with torch.inference_mode():
            found = TorchNetwork(model, "cpu")(torch.from_numpy(picture())).numpy()
        np.testing.assert_allclose(found, ReferenceRunner(model)(picture()), atol=2e-6)

    def test_float16_with_sums_in_float32(self) -> None:
        """Casts, and a layer that stays in float32, too."""
        import torch

        half = convert_to_fp16(
            graph.from_proto(small_model()),
            input_range=(0, 1), output_range=(-1, 1), shape=None, multiple=1, fp16_io=True,
        ).model()  # fmt: skip
        with torch.inference_mode():
            found = TorchNetwork(half, "cpu")(torch.from_numpy(picture()).half())
        assert found.dtype == torch.float16
        np.testing.assert_allclose(found.float().numpy(), ReferenceRunner(small_model())(picture()), atol=0.01)

    def test_a_transposed_convolution_of_every_shape(self) -> None:
        import torch

        weight = np.random.default_rng(5).normal(0, 0.2, (3, 4, 5, 4)).astype(np.float32)
        ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", None, "h", "w"]) for name in "xy"]
        attributes = {"strides": [3, 2], "pads": [2, 0, 1, 1], "output_padding": [1, 1]}
        node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], **attributes)
        weights = [onnx.numpy_helper.from_array(weight, "w")]
        model = helper.make_model(
            helper.make_graph([node], "one", ends[:1], ends[1:], weights),
            opset_imports=[helper.make_opsetid("", 18)], ir_version=10,
        )  # fmt: skip
        found = TorchNetwork(model, "cpu")(torch.from_numpy(picture())).numpy()
        np.testing.assert_allclose(found, ReferenceRunner(model)(picture()), atol=1e-5)

    @pytest.mark.parametrize("theirs", ["tf32", "ieee"])
    def test_threads_leave_each_other_s_settings_and_the_program_s(self, theirs: str) -> None:
        """PyTorch's own context manager would put back what another thread had set for a while."""
        from torch.backends import cudnn

        def settings() -> tuple[bool, bool, str]:
            return cudnn.benchmark, cudnn.deterministic, cudnn.conv.fp32_precision

        def work(_: int) -> tuple[bool, bool, str]:
            with pytorch.exact():
                time.sleep(0.002)
                return settings()

        before, cudnn.conv.fp32_precision = cudnn.conv.fp32_precision, theirs
        try:
            own = settings()
            with ThreadPoolExecutor(4) as pool:
                assert set(pool.map(work, range(20))) == {(False, True, "ieee")}
            assert settings() == own
        finally:
            cudnn.conv.fp32_precision = before

    def test_a_node_that_it_has_not(self) -> None:
        with pytest.raises(DeviceError, match="PyTorch has no Softmax here"):
            TorchNetwork(small_model(last="Softmax"), "cpu")


def test_the_shape_of_what_it_gives(tmp_path: Path) -> None:
    settings = EngineSettings(precision="fp16", tile=(64, 64), batch=2)
    engine = TorchEngine(None, settings, small_plan(tmp_path))  # type: ignore[arg-type]
    assert engine.given((2, 3, 10, 20)) == (2, 12, 20, 40)
    assert engine.element == np.float16


def test_without_pytorch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingPackageError, match="torch is needed to run networks by PyTorch") as raised:
        TorchSource(small_plan(tmp_path))
    assert pip_command("torch") in str(raised.value)
    assert pytorch.TorchSource.largest_tile is None
