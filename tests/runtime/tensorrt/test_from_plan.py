"""Engine files built from plans, for real, by TensorRT-RTX."""

from __future__ import annotations

import dataclasses
import re
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from srgan_trt.compiler.plan import Plan, save_plan
from srgan_trt.errors import DeviceError, MissingPackageError, PlanError, pip_command
from srgan_trt.runtime.gpu.device import gpus
from srgan_trt.runtime.tensorrt.build import PORTABLE
from srgan_trt.runtime.tensorrt.file import describe_engine, layer_table, read_engine
from srgan_trt.runtime.tensorrt.from_plan import build_engine_file, network_of

from ...handmade import small_model, small_plan, small_spec

pytest.importorskip("tensorrt_rtx", reason="the [tensorrt-rtx] extra is not installed")
RTX = "tensorrt-rtx"


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return small_plan(tmp_path)


class TestNetwork:
    def test_fp32_is_the_plans_own(self, plan: Plan) -> None:
        data, float32 = network_of(plan, "fp32", prelu="apart")
        network, own = onnx.ModelProto.FromString(data).graph, small_model().graph
        assert (network.node, network.initializer) == (own.node, own.initializer)
        assert float32 == ()

    def test_fp32_of_an_fp16_plan(self, plan: Plan, tmp_path: Path) -> None:
        from srgan_trt.compiler import graph
        from srgan_trt.compiler.fp16 import convert_to_fp16

        model = convert_to_fp16(
            graph.from_proto(small_model()),
            input_range=(0, 1), output_range=(-1, 1), shape=None, multiple=1, fp16_io=False,
        ).model()  # fmt: skip
        half = save_plan(model, small_spec(precision="fp16"), tmp_path / "half.onnx")
        network = onnx.ModelProto.FromString(network_of(half, "fp32")[0])
        assert {tensor.data_type for tensor in network.graph.initializer} == {onnx.TensorProto.FLOAT}
        assert "Cast" not in [node.op_type for node in network.graph.node]

    def test_prelus_are_sums_unless_asked_otherwise(self, plan: Plan) -> None:
        for precision in ("fp32", "fp16"):
            for prelu, count in (("inside", 0), ("apart", 1)):
                data, _ = network_of(plan, precision, prelu=prelu)  # type: ignore[arg-type]
                assert [node.op_type for node in onnx.ModelProto.FromString(data).graph.node].count("PRelu") == count

    def test_int8_is_of_an_int8_plan(self, plan: Plan) -> None:
        with pytest.raises(PlanError, match=r"small\.onnx is a plan in fp32, an engine in int8"):
            network_of(plan, "int8")
        with pytest.raises(PlanError, match=r"is a plan in int8, an engine in fp16"):
            network_of(dataclasses.replace(plan, spec=small_spec(precision="int8")), "fp16")

    def test_an_unknown_precision(self, plan: Plan) -> None:
        with pytest.raises(DeviceError, match="fp32, fp16, int8, not in 'bf16'"):
            network_of(plan, "bf16")


class TestFile:
    def test_an_engine_in_fp16_for_all_from_ampere_on(self, plan: Plan, tmp_path: Path) -> None:
        out = tmp_path / "new folder" / "small.engine"
        told: list[float] = []
        header = build_engine_file(plan, out, target=RTX, progress=lambda phase, part: told.append(part))
        again, data = read_engine(out)
        assert again == header
        assert len(data) == header.engine_bytes
        assert (header.spec, header.plan_hash) == (plan.spec, plan.body_hash)
        assert (header.flavour, header.element, header.settings.precision) == (RTX, "float16", "fp16")
        assert header.compute_capabilities == PORTABLE
        assert (header.gpu, header.cuda, header.driver) == (None, None, None)
        assert header.settings.tile == (1024, 1024)
        assert header.settings.batch >= 1
        assert told[-1] == 1.0
        assert "3 in fp16" in dict(describe_engine(header, out))["precision"]
        assert len(layer_table(header).splitlines()) == 1 + len(header.layers)

    def test_every_option(self, plan: Plan, tmp_path: Path) -> None:
        header = build_engine_file(
            plan,
            tmp_path / "small.engine",
            target=RTX,
            precision="fp32",
            tile=96,
            batch=3,
            compute_capability=(7, 5),
            prelu="apart",
        )
        assert dataclasses.astuple(header.settings) == ("fp32", (96, 96), 3, "apart", (7, 5))
        assert header.compute_capabilities == ((7, 5),)
        assert np.dtype(header.element) == np.float32

    def test_a_network_of_one_size(self, tmp_path: Path) -> None:
        fixed = small_plan(tmp_path, fixed_shape=(32, 48))
        header = build_engine_file(fixed, tmp_path / "small.engine", target=RTX)
        assert header.settings.tile == (32, 48)
        with pytest.raises(DeviceError, match="tiles of 48 x 32 pixels only: leave --tile out"):
            build_engine_file(fixed, tmp_path / "other.engine", target=RTX, tile=64)

    def test_tiles_of_multiples(self, tmp_path: Path) -> None:
        plan = small_plan(tmp_path, multiple=4)
        with pytest.raises(DeviceError, match="multiples of 4 pixels: use another --tile than 30"):
            build_engine_file(plan, tmp_path / "small.engine", target=RTX, tile=30)


class TestRefusals:
    def test_options_that_are_none(self, plan: Plan, tmp_path: Path) -> None:
        out = tmp_path / "small.engine"
        with pytest.raises(DeviceError, match="--batch 1 or more"):
            build_engine_file(plan, out, target=RTX, batch=0)
        with pytest.raises(DeviceError, match="--tile than 0"):
            build_engine_file(plan, out, target=RTX, tile=0)
        with pytest.raises(DeviceError, match=r"compute capability 10\.0, only for"):
            build_engine_file(plan, out, target=RTX, compute_capability=(10, 0))
        assert not out.exists()

    def test_a_target_that_is_not_installed(self, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "tensorrt", None)
        with pytest.raises(MissingPackageError, match=re.escape(pip_command("tensorrt"))):
            build_engine_file(plan, tmp_path / "small.engine", target="tensorrt")

    def test_a_place_that_cannot_be_written(self, plan: Plan, tmp_path: Path) -> None:
        with pytest.raises(PlanError, match="it is a folder"):
            build_engine_file(plan, tmp_path, target=RTX)

    @pytest.mark.skipif(gpus() is not None, reason="there is an NVIDIA driver here")
    def test_tensorrt_without_a_driver(self, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "tensorrt.py").write_text("__version__ = '11.4.0'")
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.setitem(sys.modules, "tensorrt", None)  # so that it is gone again afterwards
        del sys.modules["tensorrt"]
        with pytest.raises(DeviceError, match="there is no NVIDIA driver here"):
            build_engine_file(plan, tmp_path / "small.engine", target="tensorrt")

    def test_an_interrupted_build_leaves_nothing(self, plan: Plan, tmp_path: Path) -> None:
        def interrupted(phase: str, part: float) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            build_engine_file(plan, tmp_path / "small.engine", target=RTX, progress=interrupted)
        assert [path.name for path in tmp_path.iterdir()] == ["small.onnx"]
