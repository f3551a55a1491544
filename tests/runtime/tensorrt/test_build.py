"""Real builds by TensorRT-RTX, which needs no GPU: what goes in, what comes out, and what is refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from srgan_trt.compiler.fp16 import fp16_network
from srgan_trt.compiler.plan import Plan
from srgan_trt.errors import DeviceError
from srgan_trt.runtime.gpu.device import gpus
from srgan_trt.runtime.gpu.interfaces import EngineSettings
from srgan_trt.runtime.tensorrt import build
from srgan_trt.runtime.tensorrt.build import PORTABLE, BuildProgress, build_engine
from srgan_trt.runtime.tensorrt.layers import from_log
from srgan_trt.runtime.tensorrt.library import Library, Messages, find_library

from ...handmade import small_model, small_plan

pytest.importorskip("tensorrt_rtx", reason="the [tensorrt-rtx] extra is not installed")

ADA = EngineSettings(precision="fp32", tile=(64, 96), batch=2, compute_capability=(8, 9))
HALF = dataclasses.replace(ADA, precision="fp16")


@pytest.fixture(scope="module")
def rtx() -> Library:
    return find_library("tensorrt-rtx")


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return small_plan(tmp_path_factory.mktemp("plan"))


@pytest.fixture(scope="module")
def network(plan: Plan) -> bytes:
    return small_model().SerializeToString()


@pytest.fixture(scope="module")
def half(plan: Plan) -> bytes:
    return fp16_network(plan).data


class TestWhatComesOut:
    def test_fp32(self, network: bytes, rtx: Library) -> None:
        built = build_engine(network, ADA, library=rtx)
        assert built.element == np.float32
        assert {layer.filters for layer in built.layers if layer.filters} == {"fp32"}
        assert {layer.reads for layer in built.layers if layer.filters} == {"fp32"}
        assert built.compute_capabilities == ((8, 9),)
        assert built.timing_cache is None
        assert len(built.data) > 10_000

    def test_fp16(self, half: bytes, rtx: Library) -> None:
        built = build_engine(half, HALF, library=rtx)
        assert built.element == np.float16
        filters = [layer for layer in built.layers if layer.filters]
        assert len(filters) == 3
        assert {(layer.reads, layer.filters) for layer in filters} == {("fp16", "fp16")}
        assert built.layers[-1].gives == "fp16"
        assert any(layer.made_of for layer in filters)
        assert built.unreported == 0

    @pytest.mark.parametrize("capability", [(8, 0), (8, 6), (8, 9), (12, 0)])
    def test_int8_where_the_network_quantises(self, capability: tuple[int, int], network: bytes, rtx: Library) -> None:
        """Q/DQ around the middle convolution; float32 around that, which is not said to be int8 that failed."""
        model = _quantised(onnx.ModelProto.FromString(network), "w1")
        settings = dataclasses.replace(ADA, precision="int8", compute_capability=capability)
        built = build_engine(model.SerializeToString(), settings, library=rtx)
        assert sorted(layer.filters for layer in built.layers if layer.filters) == ["fp32", "fp32", "int8"]
        assert built.unreported == 0
        assert built.element == np.float32

    def test_the_engine_says_the_sizes_that_it_takes(self, half: bytes, rtx: Library) -> None:
        """From one pixel to the tile, from one window to the batch; as TensorRT itself puts it into its log."""
        from srgan_trt.runtime.tensorrt import library

        said: list[str] = []
        original = library.Messages.check

        class Listening(library.Messages):
            def check(self, doing: str, *, failed: bool = False) -> None:
                said[:] = self.lines
                original(self, doing, failed=failed)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("srgan_trt.runtime.tensorrt.build.Messages", Listening)
            build_engine(half, HALF, library=rtx)
        (profile,) = [line for line in said if "MinShape" in line]
        assert "MinShape: [1,3,1,1], OptShape: [2,3,64,96], MaxShape: [2,3,64,96]" in profile
        assert "Half" in profile

    def test_without_a_gpu_named_it_serves_all_from_ampere_on(self, half: bytes, rtx: Library) -> None:
        built = build_engine(half, dataclasses.replace(HALF, compute_capability=None), library=rtx)
        assert built.compute_capabilities == PORTABLE

    def test_what_nvidia_does_not_list_is_said(
        self, half: bytes, rtx: Library, caplog: pytest.LogCaptureFixture
    ) -> None:
        build_engine(half, dataclasses.replace(HALF, compute_capability=(8, 0)), library=rtx)
        assert "builds for A100, which NVIDIA's support matrices of it do not list: use tensorrt there" in caplog.text
        caplog.clear()
        build_engine(half, HALF, library=rtx)
        assert "support matrices" not in caplog.text

    def test_tensorrt_is_told_of_small_pictures_apart(self, network: bytes, rtx: Library) -> None:
        """TensorRT-RTX is not; it stands in for TensorRT here, and takes what that would be told."""
        import tensorrt_rtx as trt

        messages = Messages(rtx, verbose=True)
        builder = trt.Builder(messages.native)
        definition = builder.create_network(0)
        assert trt.OnnxParser(definition, messages.native).parse(network)
        other = SimpleNamespace(builds_for_others=False)
        settings = dataclasses.replace(ADA, tile=(256, 64), batch=4)
        sizes = build._optimised_for(other, definition, settings, 24)  # type: ignore[arg-type]
        assert sizes == [(4, (256, 64)), (1, (120, 48))]
        assert len(build._optimised_for(rtx, definition, settings, 1)) == 1
        config = builder.create_builder_config()
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
        for batch, tile in sizes:
            assert config.add_optimization_profile(build._profile(builder, definition, batch, tile, 24)) >= 0
        assert builder.build_serialized_network(definition, config) is not None
        (shapes,) = [line for line in messages.lines if "MinShape" in line]
        for largest in ("[4,3,256,64]", "[1,3,120,48]"):
            assert f"MinShape: [1,3,24,24], OptShape: {largest}, MaxShape: {largest}" in shapes
        assert len([layer for layer in from_log(messages.lines) if layer.filters]) == 3, "each is told once"

    def test_an_engine_for_small_pictures_has_one_profile(self) -> None:
        definition = SimpleNamespace(get_input=lambda _: SimpleNamespace(shape=(-1, 3, -1, -1)))
        other = SimpleNamespace(builds_for_others=False)
        for tile, batch, count in (((128, 128), 1, 1), ((128, 128), 2, 2), ((64, 130), 1, 2)):
            settings = dataclasses.replace(ADA, tile=tile, batch=batch)
            assert len(build._optimised_for(other, definition, settings, 1)) == count  # type: ignore[arg-type]

    def test_a_network_of_one_size(self, tmp_path: Path, rtx: Library) -> None:
        network = small_model(shape=(32, 48)).SerializeToString()
        build_engine(network, dataclasses.replace(ADA, tile=(32, 48)), library=rtx)
        with pytest.raises(DeviceError, match="takes tiles of 48 x 32 pixels only, not of 96 x 64: leave --tile out"):
            build_engine(network, ADA, library=rtx)


class TestProgress:
    def test_it_goes_up_to_all(self, half: bytes, rtx: Library) -> None:
        told: list[tuple[str, float]] = []
        build_engine(half, HALF, library=rtx, progress=lambda phase, part: told.append((phase, part)))
        parts = [part for _, part in told]
        assert parts == sorted(parts)
        assert (parts[0] < 0.2, parts[-1]) == (True, 1.0)
        assert len(set(parts)) > 10
        assert all(phase for phase, _ in told)

    def test_what_it_raises_stops_the_build_and_comes_out(self, half: bytes, rtx: Library) -> None:
        calls = []

        def interrupted(phase: str, part: float) -> None:
            calls.append(phase)
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            build_engine(half, HALF, library=rtx, progress=interrupted)

    def test_a_phase_within_a_step_of_another(self) -> None:
        state = BuildProgress()
        state.begin("whole", None, 2)
        state.begin("first", "whole", 4)
        state.step("first", 0)
        assert state.now() == ("first", 0.125)
        state.finish("first")
        state.step("whole", 0)
        assert state.now() == ("first", 0.5)
        state.begin("second", "whole", 2)
        state.step("second", 0)
        assert state.now() == ("second", 0.75)
        state.finish("second")
        state.step("whole", 1)
        state.finish("whole")
        assert state.now() == ("second", 1.0)


@pytest.mark.filterwarnings("ignore:.*Timing cache:DeprecationWarning")
class TestTensorRt:
    """The way of `tensorrt`, which cannot be installed where there is no GPU, as far as TensorRT-RTX has the same API:
    RTX, but for the choice of GPUs that only it has."""

    @pytest.fixture
    def like_tensorrt(self, rtx: Library, monkeypatch: pytest.MonkeyPatch) -> Library:
        names = {name: getattr(rtx.module, name) for name in dir(rtx.module) if name != "ComputeCapability"}
        for module in ("build", "library"):
            monkeypatch.setattr(f"srgan_trt.runtime.tensorrt.{module}.need_gpu", lambda without: None)
        self.inspected = "{}"
        inspector = SimpleNamespace(get_engine_information=lambda lowering: self.inspected)
        engine = SimpleNamespace(create_engine_inspector=lambda: inspector)
        names["Runtime"] = lambda logger: SimpleNamespace(deserialize_cuda_engine=lambda data: engine)
        return Library("tensorrt", "11.4.0", SimpleNamespace(**names))

    def test_it_builds_for_the_gpu_that_is_there(self, half: bytes, like_tensorrt: Library) -> None:
        """The log tells the layers where the inspector does not."""
        built = build_engine(half, HALF, library=like_tensorrt)
        assert built.compute_capabilities == ()
        assert {layer.filters for layer in built.layers} == {"fp16", None}
        assert built.unreported == 0

    def test_the_inspector_is_asked_before_the_log(
        self, half: bytes, like_tensorrt: Library, caplog: pytest.LogCaptureFixture
    ) -> None:
        layer = {"Name": "one of three", "LayerType": "CaskConvolution", "Weights": {"Type": "Half"}}
        self.inspected = json.dumps({"Layers": [layer]})
        built = build_engine(half, HALF, library=like_tensorrt)
        assert [each.name for each in built.layers] == ["one of three"]
        assert built.unreported == 2
        assert "TensorRT 11.4.0 does not tell in which type it built 2 of the network's convolutions" in caplog.text

    @pytest.mark.parametrize("earlier", [None, b"of another GPU"])
    def test_without_measurements_it_builds_as_well(
        self, earlier: bytes | None, half: bytes, like_tensorrt: Library
    ) -> None:
        """RTX's timing cache does nothing: neither is one needed, nor is one that does not fit an error."""
        build_engine(half, HALF, library=like_tensorrt, timing_cache=earlier)


class TestRefusals:
    def test_bytes_that_are_no_network(self, rtx: Library) -> None:
        with pytest.raises(DeviceError, match=r"TensorRT-RTX \S+ cannot take the network: "):
            build_engine(b"no network", ADA, library=rtx)

    def test_an_operator_that_tensorrt_does_not_know_is_named(self, rtx: Library) -> None:
        model = small_model()
        model.graph.node[-1].op_type = "Foo"
        model.graph.node[-1].name = "the last"
        with pytest.raises(DeviceError, match=r"cannot take the network: the last \(Foo\): .*--device cpu"):
            build_engine(model.SerializeToString(), ADA, library=rtx)

    def test_types_that_do_not_fit_each_other(self, rtx: Library) -> None:
        """Strongly typed: nothing is converted in silence."""
        model = small_model()
        weights = model.graph.initializer[0]
        half = numpy_helper.to_array(weights).astype(np.float16)
        weights.CopyFrom(numpy_helper.from_array(half, weights.name))
        with pytest.raises(DeviceError, match=r"must be of same type"):
            build_engine(model.SerializeToString(), ADA, library=rtx)

    def test_fp16_that_would_be_built_in_fp32(self, network: bytes, rtx: Library) -> None:
        """An fp32 network between casts: what a weakly typed build would have turned into fp16."""
        model = onnx.ModelProto.FromString(network)
        with pytest.raises(
            DeviceError, match=r"fp16 was asked for, but TensorRT built [1-3] of 3 convolutions in fp32"
        ):
            build_engine(_pretending_half(model).SerializeToString(), HALF, library=rtx)

    def test_int8_that_would_be_built_in_fp32(self, network: bytes, rtx: Library) -> None:
        """TensorRT-RTX 1.7 has no int8 convolutions for Turing: it rounds to int8 and convolves in float32, slowly."""
        model = _quantised(onnx.ModelProto.FromString(network), "w1")
        settings = dataclasses.replace(ADA, precision="int8", compute_capability=(7, 5))
        with pytest.raises(DeviceError, match=r"int8 was asked for, but TensorRT built 3 of 3 convolutions in fp32"):
            build_engine(model.SerializeToString(), settings, library=rtx)

    def test_other_tensors(self, rtx: Library) -> None:
        model = small_model()
        model.graph.input[0].name = model.graph.node[0].input[0] = "picture"
        with pytest.raises(DeviceError, match=r"the network's tensors are picture .*, output .*build its plan again"):
            build_engine(model.SerializeToString(), ADA, library=rtx)

    @pytest.mark.parametrize("capability", [(9, 0), (6, 1)])
    def test_a_gpu_that_it_does_not_build_for(self, capability: tuple[int, int], half: bytes, rtx: Library) -> None:
        with pytest.raises(DeviceError, match=r"does not build for compute capability [69]\.[01], only for 7\.5, 8\.0"):
            build_engine(half, dataclasses.replace(HALF, compute_capability=capability), library=rtx)

    @pytest.mark.skipif(gpus() is not None, reason="there is an NVIDIA driver here")
    def test_tensorrt_without_a_driver(self, half: bytes, rtx: Library) -> None:
        """`tensorrt` measures on the GPU: it is not even started without."""
        library = Library("tensorrt", "11.4.0", object())
        with pytest.raises(DeviceError, match=r"only for the GPU that is there \(--target tensorrt-rtx needs none\)"):
            build_engine(half, HALF, library=library)


def _quantised(model: onnx.ModelProto, weights: str) -> onnx.ModelProto:
    """The convolution of these weights reads int8, per channel, symmetric."""
    graph = model.graph
    (node,) = [node for node in graph.node if weights in node.input]
    (tensor,) = [tensor for tensor in graph.initializer if tensor.name == weights]
    array = numpy_helper.to_array(tensor)
    scales = np.abs(array).max(axis=(1, 2, 3)) / 127
    levels = np.rint(array / scales[:, None, None, None]).astype(np.int8)
    tensor.CopyFrom(numpy_helper.from_array(levels, f"{weights}.levels"))
    zeros, zero = np.zeros(len(scales), np.int8), np.zeros((), np.int8)
    for name, constant in (("s", np.float32(0.02)), ("z", zero), ("ws", scales.astype(np.float32)), ("wz", zeros)):
        graph.initializer.append(numpy_helper.from_array(np.asarray(constant), name))
    before = [
        helper.make_node("QuantizeLinear", [node.input[0], "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["dq"]),
        helper.make_node("DequantizeLinear", [f"{weights}.levels", "ws", "wz"], [weights], axis=0),
    ]
    index = list(graph.node).index(node)
    node.input[0] = "dq"
    nodes = [*graph.node[:index], *before, *graph.node[index:]]
    nodes = [onnx.NodeProto.FromString(each.SerializeToString()) for each in nodes]
    del graph.node[:]
    graph.node.extend(nodes)
    return model


def _pretending_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """Ends in float16, weights stored in float16, and all arithmetic in float32 behind casts."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    casts = [helper.make_node("Cast", ["input"], ["wide"], to=TensorProto.FLOAT)]
    for tensor in list(graph.initializer):
        stored = numpy_helper.to_array(tensor).astype(np.float16)
        casts.append(helper.make_node("Cast", [f"{tensor.name}.stored"], [tensor.name], to=TensorProto.FLOAT))
        tensor.CopyFrom(numpy_helper.from_array(stored, f"{tensor.name}.stored"))
    graph.node[0].input[0] = "wide"
    graph.node[-1].output[0] = "wide output"
    nodes = [*casts, *graph.node, helper.make_node("Cast", ["wide output"], ["output"], to=TensorProto.FLOAT16)]
    del graph.node[:]
    graph.node.extend(nodes)
    for value in (graph.input[0], graph.output[0]):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    return made
