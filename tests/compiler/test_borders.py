"""Networks that do not pad: the picture's border is repeated before them; inside, the result is the network's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from srgan_trt import Upscaler, build
from srgan_trt.compiler import graph
from srgan_trt.compiler.borders import Border, add_border
from srgan_trt.compiler.plan import Plan
from srgan_trt.compiler.reference import ReferenceRunner
from srgan_trt.errors import ModelError

from .graphs import Network
from .test_luma import picture

Floats = NDArray[np.float32]
RANGES: dict[str, Any] = {"input_range": (0, 1), "output_range": (0, 1)}


def kernel(size: int, *, out: int = 3, seed: int = 0) -> Floats:
    """Passes the middle on, and a little of the rest."""
    weight = np.random.default_rng(seed).normal(0, 0.003, (out, 3, size, size)).astype(np.float32)
    for channel in range(out):
        weight[channel, channel % 3, (size - 1) // 2, (size - 1) // 2] += 1
    return weight


def save_net(path: Path, kind: str, *, sides: tuple[Any, Any] = ("h", "w")) -> Path:
    net = Network()
    match kind:
        case "convolution in the large picture":
            x = net.node("Conv", net.nearest("input", 2), net.constant(kernel(9)))
        case "border of half a pixel":
            x = net.node("Conv", net.nearest("input", 2), net.constant(kernel(3)))
        case "even kernel":
            x = net.node("Conv", net.nearest("input", 2), net.constant(kernel(4)))
        case "shuffle":
            x = net.node("Conv", "input", net.constant(kernel(5, out=12)))
            x = net.node("DepthToSpace", x, blocksize=2, mode="DCR")
        case "skip that is cut":
            ends = (net.constant(np.array(values, np.int64)) for values in ((2, 2), (-2, -2), (2, 3)))
            x = net.node("Mul", net.node("Conv", "input", net.constant(kernel(5))), net.constant(np.float32(0.25)))
            half = net.node("Mul", net.node("Slice", "input", *ends), net.constant(np.float32(0.75)))
            x = net.node("Add", x, half)
    onnx.save(net.proto(x, ["n", 3, *sides]), path)
    return path


def own(path: Path, image: Floats) -> Floats:
    """What the network makes of the picture by itself."""
    return ReferenceRunner(onnx.load(path))(image.transpose(2, 0, 1)[None])[0].transpose(1, 2, 0)


def inner(result: Floats, expected: Floats) -> Floats:
    """The middle of the result, as large as what is expected; an odd row is missing at the end."""
    top, left = ((a - b) // 2 for a, b in zip(result.shape[:2], expected.shape[:2], strict=True))
    return result[top : top + expected.shape[0], left : left + expected.shape[1]]


@pytest.mark.parametrize("tile", [None, 40])
@pytest.mark.parametrize(
    ("kind", "scale", "around"),
    [
        ("convolution in the large picture", 2, 2),
        ("border of half a pixel", 2, 1),
        ("even kernel", 2, 1),
        ("shuffle", 2, 2),
        ("skip that is cut", 1, 2),
    ],
)
def test_the_result_is_whole_and_the_networks_own_inside(
    tmp_path: Path, kind: str, scale: int, around: int, tile: int | None
) -> None:
    path = save_net(tmp_path / "net.onnx", kind)
    plan = build(path, **RANGES)
    assert plan.spec.scale == scale
    assert any(f"border is repeated {around} times first" in note for note in plan.report["notes"])
    image = picture(50, 60)
    with Upscaler(plan, device="cpu", exact=True, tile=tile) as up:
        result = up(image)
    assert result.shape == (50 * scale, 60 * scale, 3)
    expected = own(path, image)
    np.testing.assert_allclose(inner(result, expected), np.clip(expected, 0, 1), atol=1.01 / 65535)


def test_the_border_is_that_of_a_picture_whose_edge_is_repeated(tmp_path: Path) -> None:
    path = save_net(tmp_path / "net.onnx", "shuffle")
    image = picture(20, 24)
    with Upscaler(build(path, **RANGES), device="cpu", exact=True) as up:
        result = up(image)
    expected = own(path, np.pad(image, ((2, 2), (2, 2), (0, 0)), "edge"))
    np.testing.assert_allclose(result, np.clip(expected, 0, 1), atol=1.01 / 65535)


def test_a_file_of_one_size_becomes_free(tmp_path: Path) -> None:
    """SRCNN's 33 to 21: of a square the scale does not show in the sizes."""
    path = save_net(tmp_path / "net.onnx", "skip that is cut", sides=(33, 33))
    plan = build(path, **RANGES)
    assert (plan.spec.scale, plan.spec.fixed_shape) == (1, None)


class TestTiedToASize:
    """What cannot be freed runs in tiles that are smaller by the border."""

    @staticmethod
    def _plan(folder: Path, side: int) -> Plan:
        net = Network()
        slopes = net.constant(np.full((3, side - 4, side - 4), 0.5, np.float32))
        x = net.node("PRelu", net.node("Conv", "input", net.constant(kernel(5))), slopes)
        onnx.save(net.proto(x, ["n", 3, side, side]), folder / "net.onnx")
        return build(folder / "net.onnx", **RANGES)

    def test_the_tile_is_smaller(self, tmp_path: Path) -> None:
        assert self._plan(tmp_path, 6).spec.fixed_shape == (2, 2)
        plan = self._plan(tmp_path, 36)
        assert plan.spec.fixed_shape == (32, 32)
        with Upscaler(plan, device="cpu") as up:
            assert up(picture(50, 60)).shape == (50, 60, 3)

    def test_nothing_is_left(self, tmp_path: Path) -> None:
        model = graph.from_proto(onnx.load(save_net(tmp_path / "net.onnx", "shuffle", sides=(5, 5))))
        with pytest.raises(ModelError, match=r"net\.onnx gives no whole picture"):
            add_border(model, Border(2, 0, 0), (4, 4), name="net.onnx")
