"""Layers of an engine, read from what TensorRT-RTX logs and from what TensorRT's engine inspector gives."""

from __future__ import annotations

import dataclasses
import json

import onnx
import pytest

from srgan_trt.compiler import graph
from srgan_trt.compiler.fp16 import convert_to_fp16
from srgan_trt.errors import DeviceError
from srgan_trt.runtime.tensorrt.grid import pixel_grid
from srgan_trt.runtime.tensorrt.layers import (
    BuiltLayer,
    check_layers,
    convolutions,
    describe_kernels,
    from_inspector,
    from_log,
    sums_of,
    unreported,
)

from ...handmade import small_model

HALF = BuiltLayer("a", "correlation", "fp16", "fp16", "fp16", ())
SINGLE = BuiltLayer("b", "correlation", "fp32", "fp32", "fp32", ())
POINTWISE = BuiltLayer("c", "kgen", "fp32", "fp16", None, ())

# Lines of a build by TensorRT-RTX 1.7, shortened to what is read.
LOG = """\
Name: __mye1_myl0_0, LayerType: shape_call, Inputs: [], Constants: [], Outputs: [], TacticName: , StreamId: 0, Metadata: 
Name: __myl_Mul_myl0_1, LayerType: kgen, Inputs: [ { Name: x, Dimensions: [-1,8,-1,-1], Strides: [-1,1,-1,8], StrideOrder: [3,0,2,1], Datatype: Half, Format: (NHWC) Channel major format }], Constants: [ { Name: slope, Dimensions: [1,8,32,32], Datatype: Half, Format: (NHWC) }], Outputs: [ { Name: y, Dimensions: [-1,8,-1,-1], Datatype: Float, Format: (NHWC) }], TacticName: __myl_0x1, StreamId: 0, Metadata: [ONNX Layer: prelu]
Name: conv_myl0_2, LayerType: correlation, Inputs: [ { Name: y, Dimensions: [-1,8,-1,-1], Datatype: Half, Format: (NHWC) }], Constants: [ { Name: one, Dimensions: [1], Datatype: Float, Format: (Linear) }, { Name: bias, Dimensions: [1,16,1,1], Datatype: Float, Format: (NHWC) }, { Name: w, Dimensions: [16,8,3,3], Datatype: Half, Format: (NHWC) }], Outputs: [ { Name: output, Dimensions: [-1,16,-1,-1], Datatype: Half, Format: (NHWC) }], TacticName: __myelin_CASK_STUB, StreamId: 0, Metadata: [ONNX Layer: net/conv [1]][ONNX Layer: relu]
Engine Metadata:
"""  # noqa: E501, W291


def test_the_log_of_a_build() -> None:
    shape, pointwise, conv = from_log(LOG.splitlines())
    assert (shape.kind, shape.reads, shape.gives, shape.filters) == ("shape_call", "-", "-", None)
    assert (pointwise.reads, pointwise.gives, pointwise.filters) == ("fp16", "fp32", None)
    assert (conv.name, conv.kind, conv.reads, conv.filters) == ("conv_myl0_2", "correlation", "fp16", "fp16")
    assert pointwise.made_of == ("prelu",)


def test_what_a_layer_moves() -> None:
    """Bytes for each pixel of the network's input: a tensor once, padded channels too, and what the nodes enlarge."""
    grid = {"prelu": 1.0, "net/conv": 0.25, "relu": 4.0, "output": 4.0}
    shape, pointwise, conv = from_log(LOG.splitlines(), grid)
    assert shape.pixel_bytes == 0
    assert not shape.is_kernel
    assert pointwise.pixel_bytes == 8 * 2 + 8 * 4
    assert conv.pixel_bytes == 8 * 2 + 16 * 2 * 4  # the last of the network's nodes in it, whatever their order there
    assert (pointwise.format, conv.format) == ("NHWC", "NHWC")
    assert describe_kernels([shape, pointwise, conv]).endswith("0.2 kB for each pixel of the picture")


def test_a_grid_of_the_network() -> None:
    grid = pixel_grid(small_model())
    assert (grid["input"], grid["Conv_2"], grid["DepthToSpace_3"], grid["output"]) == (1, 1, 4, 4)


@pytest.mark.parametrize(
    ("tactic", "sums"),
    [
        ("sm80_xmma_fprop_implicit_gemm_f16f16_f16f16_f16_nhwckrsc_nhwc_tilesize128x64x32", "fp16"),
        ("sm80_xmma_fprop_implicit_gemm_f16f16_f16f32_f32_nhwckrsc_nhwc_tilesize128x64x32", "fp32"),
        ("turing_h1688cudnn_256x64_ldg8_relu_exp_small_nhwc_tn_v1", "fp16"),
        ("ampere_fp16_s16816gemm_fp16_128x64", "fp32"),
        ("__myelin_CASK_STUB", None),
    ],
)
def test_the_type_of_the_sums(tactic: str, sums: str | None) -> None:
    assert sums_of(tactic) == sums


def test_kernels_in_words() -> None:
    told = dataclasses.replace(HALF, sums="fp16", pixel_bytes=1000.0)
    said = describe_kernels([told, told, dataclasses.replace(POINTWISE, pixel_bytes=500.0)])
    assert said == "3: 2 convolutions, 1 others; sums in fp16 (2); 2.5 kB for each pixel of the picture"
    assert "their names do not tell" in describe_kernels([HALF])


def test_a_log_without_layers() -> None:
    assert from_log(["Engine generation completed", "Name: x"]) == ()


def test_the_inspector_of_tensorrt() -> None:
    """Keys as in the developer guide, "Engine Inspector"; version 10 tells types within the formats."""
    layers = [
        {
            "Name": "conv1",
            "LayerType": "CaskConvolution",
            "Inputs": [{"Name": "x", "Format/Datatype": "Channel major FP16 format where channel % 8 == 0"}],
            "Outputs": [{"Name": "y", "Format/Datatype": "Row major linear FP32"}],
            "Weights": {"Type": "Half", "Count": 1152},
            "Metadata": "[ONNX Layer: a][ONNX Layer: b]",
        },
        {
            "Name": "conv2",
            "LayerType": "CaskGemmConvolution",
            "Inputs": [{"Name": "y", "Datatype": "Int8"}],
            "Outputs": [],
        },
        {"Name": "act", "LayerType": "PointWiseV2", "Inputs": [{"Datatype": "Float"}], "Outputs": [{}]},
        "a layer without details",
    ]
    first, second, third = from_inspector(json.dumps({"Layers": layers}))
    assert first == BuiltLayer("conv1", "CaskConvolution", "fp16", "fp32", "fp16", ("a", "b"), "Row major linear FP32")
    assert (second.reads, second.filters, second.gives) == ("int8", "int8", "-")
    assert (third.reads, third.filters) == ("fp32", None)


def test_the_layers_of_another_profile_are_the_same_network() -> None:
    """Some bear its number, the others are of one graph with them; the first one's are told."""
    names = ["conv", "conv [profile 1]", "conv [profile 12]"]
    names += ["a_myl0_1", "b_myl0_2", "a_myl1_1", "b [profile 1]_myl1_2", "c_myl1_3", "d_myl2_0"]
    layers = [{"Name": name, "LayerType": "CaskConvolution"} for name in names]
    found = from_inspector(json.dumps({"Layers": layers}))
    assert [layer.name for layer in found] == ["conv", "a_myl0_1", "b_myl0_2", "d_myl2_0"]


@pytest.mark.parametrize("text", ["", "no JSON", "[]", "{}"])
def test_an_inspector_that_tells_nothing(text: str) -> None:
    assert from_inspector(text) == ()


@pytest.fixture(scope="module")
def half() -> onnx.ModelProto:
    model = graph.from_proto(small_model())
    return convert_to_fp16(
        model, input_range=(0.0, 1.0), output_range=(0.0, 1.0), shape=None, multiple=1, fp16_io=True
    ).model()


class TestCheck:
    def test_convolutions_are_counted(self, half: onnx.ModelProto) -> None:
        assert convolutions(half) == (3, 0)
        assert convolutions(small_model()) == (3, 3)

    def test_as_many_in_fp32_as_the_network_has(self, half: onnx.ModelProto) -> None:
        check_layers([POINTWISE, HALF, HALF], half, precision="fp16")
        check_layers([SINGLE, SINGLE], small_model(), precision="fp16")
        check_layers([HALF, SINGLE], small_model(), precision="int8")
        check_layers([SINGLE], small_model(), precision="fp32")

    @pytest.mark.parametrize("type_", ["fp16", "bf16", "int8"])
    def test_fp32_is_nothing_less(self, type_: str) -> None:
        for each in (("fp32", type_), (type_, "fp32")):
            less = BuiltLayer("d", "correlation", each[0], "fp32", each[1], ())
            with pytest.raises(DeviceError, match=r"fp32 was asked for, but TensorRT built 1 of 2 convolutions in"):
                check_layers([SINGLE, less], small_model(), precision="fp32")

    def test_convolutions_that_nobody_told_of_are_counted(self) -> None:
        """The small network's convolutions have no names: they are nodes 0, 2 and 4."""
        named = [
            dataclasses.replace(HALF, made_of=names) for names in (("Conv_0", "PRelu_1"), ("Conv_2",), ("Conv_4",))
        ]
        fused = dataclasses.replace(HALF, made_of=("Conv_2", "DepthToSpace_3", "Conv_4"))
        assert unreported(named, small_model()) == 0
        assert unreported([named[0], fused], small_model()) == 0
        assert unreported([HALF, HALF, HALF], small_model()) == 0
        assert unreported([named[0], HALF], small_model()) == 1
        assert unreported([named[0], named[0]], small_model()) == 2
        assert unreported([dataclasses.replace(POINTWISE, made_of=("Conv_0",))], small_model()) == 3

    def test_one_more_is_refused(self, half: onnx.ModelProto) -> None:
        with pytest.raises(
            DeviceError, match=r"fp16 was asked for, but TensorRT built 1 of 2 convolutions in fp32 \(b,"
        ):
            check_layers([HALF, SINGLE], half, precision="fp16")

    def test_one_in_fp16_that_should_not_be_is_refused(self) -> None:
        with pytest.raises(DeviceError, match="built 1 of 3 convolutions in fp16, and 3 overflow or lose there"):
            check_layers([SINGLE, HALF, SINGLE], small_model(), precision="fp16")

    def test_silence_is_counted_and_not_refused(self, half: onnx.ModelProto) -> None:
        check_layers([POINTWISE], half, precision="fp16")
        assert unreported([POINTWISE], half) == 3
