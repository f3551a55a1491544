"""From file to plan: what is found is written down, what is named is taken, what is wrong is refused."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from srgan_trt.compiler.build import build, compile_network
from srgan_trt.compiler.plan import load_plan
from srgan_trt.compiler.polyphase import shuffled
from srgan_trt.compiler.reference import ReferenceRunner
from srgan_trt.errors import ModelError, PlanError

from .graphs import Network, picture

Floats = NDArray[np.float32]


def enlarger(*, low: float = 0.0, high: float = 1.0) -> Network:
    """Repeats pixels x2 by a 3x3 convolution that is the identity, from and to ``low..high`` by its biases."""
    net = Network()
    weight = np.zeros((3, 3, 3, 3), np.float32)
    for colour in range(3):
        weight[colour, colour, 1, 1] = 1
    x = net.node("Conv", "input", net.constant(weight), pads=[1, 1, 1, 1])
    if (low, high) != (0.0, 1.0):
        bounds = (net.constant(np.float32(low)), net.constant(np.float32(high)))
        x = net.node("Clip", x, *bounds)
    net.last = net.node("Conv", net.nearest(x, 2), net.constant(weight), pads=[1, 1, 1, 1])  # type: ignore[attr-defined]
    return net


class Source:
    """A network in memory, as models/ would hand it over."""

    name, kind, source_hash, channels = "made.h5", "made", "00", 3
    input_range = output_range = None

    def __init__(
        self,
        net: Network,
        *,
        fixed_shape: tuple[int, int] | None = None,
        stripped: frozenset[str] = frozenset(),
        wrong: float = 0.0,
    ) -> None:
        self._net, self.fixed_shape, self.stripped, self.notes = net, fixed_shape, stripped, ["made in a test"]
        self._wrong = wrong

    def export(self, height: int, width: int) -> onnx.ModelProto:
        height, width = self.fixed_shape or (height, width)
        return self._net.proto(self._net.last, (1, 3, height, width))  # type: ignore[attr-defined]

    def predict(self, batch: Floats) -> Floats | None:
        runner = ReferenceRunner(self.export(batch.shape[1], batch.shape[2]))
        result = runner(np.ascontiguousarray(batch.transpose(0, 3, 1, 2)))
        return np.ascontiguousarray(result.transpose(0, 2, 3, 1)) + np.float32(self._wrong)


def test_a_plan_computes_what_its_source_does(tmp_path: Path) -> None:
    plan = compile_network(Source(enlarger()), out=tmp_path / "plan.onnx")
    assert plan == load_plan(plan.path)
    assert (plan.spec.scale, plan.spec.shuffle, plan.spec.fixed_shape) == (2, 2, None)
    assert plan.report["difference"] < 1e-6
    x = np.abs(picture(1, 3, 7, 5))
    result = shuffled(ReferenceRunner(onnx.load(plan.path))(x), plan.spec.shuffle)
    np.testing.assert_allclose(result, x.repeat(2, 2).repeat(2, 3), atol=1e-6)


def test_a_fixed_file_becomes_a_free_plan_and_says_so(tmp_path: Path) -> None:
    plan = compile_network(Source(enlarger(), fixed_shape=(32, 48)), out=tmp_path / "plan.onnx")
    assert plan.spec.fixed_shape is None
    assert any("insists on 48x32" in note for note in plan.report["notes"])
    assert ReferenceRunner(onnx.load(plan.path))(picture(1, 3, 7, 5)).shape == (1, 12, 7, 5)


def test_a_conversion_that_differs_from_the_original_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="differs from the original"):
        compile_network(Source(enlarger(), wrong=0.1), out=tmp_path / "plan.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_range_about_a_mapping_that_was_left_out_is_found_instead(tmp_path: Path) -> None:
    source = Source(enlarger(low=-1, high=1), stripped=frozenset({"input"}))
    plan = compile_network(source, out=tmp_path / "plan.onnx", input_range=(0, 255))
    assert plan.spec.input_range != (0, 255)
    assert any("--input-range 0,255 was not used" in note for note in plan.report["notes"])


def test_ranges_that_are_named_but_do_not_fit_are_taken_and_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        plan = compile_network(Source(enlarger()), out=tmp_path / "plan.onnx", input_range=(0, 1), output_range=(-1, 1))
    assert plan.spec.output_range == (-1, 1)
    assert "dB" in caplog.text


def test_the_plan_never_overwrites_its_model(tmp_path: Path) -> None:
    net = enlarger()
    model = tmp_path / "model.onnx"
    onnx.save(net.proto(net.last, (1, 3, 16, 16)), model)  # type: ignore[attr-defined]
    with pytest.raises(PlanError, match="is the file that it is built from"):
        build(model, out=model)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_named(value: float, tmp_path: Path) -> None:
    net = enlarger()
    net.last = net.node("Conv", net.last, net.constant(np.full((3, 3, 1, 1), value, np.float32)))  # type: ignore[attr-defined]
    with pytest.raises(ModelError, match=r"made\.h5 has weights that are not finite \(\w+\): its training diverged"):
        compile_network(Source(net), out=tmp_path / "plan.onnx")


def test_a_network_that_overflows_is_refused(tmp_path: Path) -> None:
    net = enlarger()
    large = net.node("Exp", net.node("Exp", net.node("Exp", net.node("Exp", net.last))))  # type: ignore[attr-defined]
    net.last = net.node("Sub", large, net.node("Sqrt", large))  # type: ignore[attr-defined]
    with pytest.raises(ModelError, match=r"made\.h5 gives values that are not finite"):
        compile_network(Source(net), out=tmp_path / "plan.onnx")


def test_a_multiple_that_no_picture_has_is_refused(tmp_path: Path) -> None:
    net = enlarger()
    small = net.node("MaxPool", net.last, kernel_shape=[1, 1], strides=[512, 512])  # type: ignore[attr-defined]
    net.last = net.nearest(small, 512)  # type: ignore[attr-defined]
    with pytest.raises(ModelError, match=r"made\.h5 takes only pictures whose sides are multiples of"):
        compile_network(Source(net, fixed_shape=(512, 512)), out=tmp_path / "plan.onnx")


def test_what_a_library_stumbles_over_is_told_in_one_line(tmp_path: Path) -> None:
    class Broken(Source):
        def export(self, height: int, width: int) -> onnx.ModelProto:
            raise IndexError("list index\nout of range")

    with pytest.raises(ModelError, match=r"made\.h5 is damaged, or .* \(IndexError: list index out of range\)"):
        compile_network(Broken(enlarger()), out=tmp_path / "plan.onnx")


def test_a_network_that_folds_its_input_becomes_a_plan(tmp_path: Path) -> None:
    net = enlarger()
    net.last = net.node("DepthToSpace", net.node("SpaceToDepth", net.last, blocksize=4), blocksize=4)  # type: ignore[attr-defined]
    plan = compile_network(Source(net), out=tmp_path / "plan.onnx")
    assert (plan.spec.scale, plan.spec.shuffle, plan.spec.multiple) == (2, 1, 2)


def test_ranges_of_a_half_are_found(tmp_path: Path) -> None:
    plan = compile_network(Source(enlarger(low=-0.5, high=0.5)), out=tmp_path / "plan.onnx")
    assert (plan.spec.input_range, plan.spec.output_range) == ((-0.5, 0.5), (-0.5, 0.5))


@pytest.mark.parametrize("kind", ["float16", "uint8"])
def test_files_whose_pixels_are_of_another_type(kind: str, tmp_path: Path) -> None:
    model = enlarger().proto(enlarger().last, (1, 3, 12, 16))  # type: ignore[attr-defined]
    normalization = (model.graph.input[0], model.graph.output[0])
    for end in normalization:
        end.type.tensor_type.elem_type = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    if kind == "float16":
        for tensor in model.graph.initializer:
            if tensor.data_type == TensorProto.FLOAT:
                half = numpy_helper.to_array(tensor).astype(np.float16)
                if half.ndim == 4:
                    tensor.CopyFrom(numpy_helper.from_array(half, tensor.name))
    else:
        for node in model.graph.node:
            node.input[:] = ["in_float" if name == normalization[0].name else name for name in node.input]
            node.output[:] = ["out_float" if name == normalization[1].name else name for name in node.output]
        model.graph.node.insert(
            0, helper.make_node("Cast", [normalization[0].name], ["in_float"], to=TensorProto.FLOAT)
        )
        model.graph.node.append(helper.make_node("Cast", ["out_float"], [normalization[1].name], to=TensorProto.UINT8))
    onnx.save(model, tmp_path / "net.onnx")
    plan = build(tmp_path / "net.onnx")
    x = np.abs(picture(1, 3, 7, 5))
    result = shuffled(ReferenceRunner(onnx.load(plan.path))(x), plan.spec.shuffle)
    np.testing.assert_allclose(result, x.repeat(2, 2).repeat(2, 3), atol=1e-5)


def test_an_unknown_precision_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="fp32, fp16"):
        build(tmp_path / "model.h5", precision="int3")


def test_fp16_plans_stay_close(tmp_path: Path) -> None:
    plan = compile_network(Source(enlarger()), out=tmp_path / "plan.onnx", precision="fp16")
    assert plan.spec.precision == "fp16"
    x = np.abs(picture(1, 3, 7, 5))
    result = shuffled(ReferenceRunner(onnx.load(plan.path))(x), plan.spec.shuffle)
    np.testing.assert_allclose(result, x.repeat(2, 2).repeat(2, 3), atol=2e-3)
