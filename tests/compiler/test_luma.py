"""Networks of luma alone: Y by the network, Cb and Cr bicubic, as everyone does it around them; gray stays gray."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from PIL import Image

from srgan_trt import Upscaler, build, export
from srgan_trt.compiler.plan import Plan
from srgan_trt.compiler.polyphase import shuffled
from srgan_trt.compiler.reference import ReferenceRunner
from srgan_trt.compiler.value_range import test_picture as photo
from srgan_trt.errors import ModelError

from .graphs import Network

Floats = NDArray[np.float32]
NOTE = "it works on luma: Y (BT.601, full range, as in JPEG) goes through the network"


def save_espcn(path: Path, *, scale: int = 3, layout: str = "NCHW", pads: int = 1) -> Path:
    """Repeats pixels and sharpens them a little: two convolutions, and a shuffle if there is a scale."""
    net = Network(seed=3)
    first = np.zeros((4, 1, 3, 3), np.float32)
    first[0, 0, 1, 1] = 1
    last = net.random.normal(0, 0.02, (scale * scale, 4, 3, 3)).astype(np.float32)
    last[:, 0, 1, 1] += 1 - last[:, 0].sum(axis=(1, 2))
    x = "input" if layout == "NCHW" else net.node("Transpose", "input", perm=[0, 3, 1, 2])
    x = net.node("Relu", net.node("Conv", x, net.constant(first), pads=[pads] * 4))
    x = net.node("Conv", x, net.constant(last), pads=[pads] * 4)
    if scale > 1:
        x = net.node("DepthToSpace", x, blocksize=scale)
    if layout == "NHWC":
        x = net.node("Transpose", x, perm=[0, 2, 3, 1])
    shape: list[Any] = ["n", 1, "h", "w"] if layout == "NCHW" else ["n", "h", "w", 1]
    onnx.save(net.proto(x, shape), path)
    return path


def by_hand(path: Path, image: NDArray[Any], scale: int, *, enlarge: int = 1) -> Floats:
    """(H, W, 3) of 0..1: YCbCr in floats, Pillow's bicubic, onnxruntime on Y."""

    def enlarged(channels: Floats, times: int) -> Floats:
        size = (channels.shape[1] * times, channels.shape[0] * times)
        parts = [Image.fromarray(channels[..., index]).resize(size, Image.Resampling.BICUBIC) for index in range(3)]
        return np.stack([np.asarray(part) for part in parts], axis=-1)

    rgb = enlarged(image.astype(np.float32), enlarge)
    y = (rgb @ np.array([0.299, 0.587, 0.114])).astype(np.float32)
    result = ReferenceRunner(onnx.load(path))(y[None, None])[0, 0]
    return np.clip(enlarged(rgb - y[..., None], scale) + np.clip(result, 0, 1)[..., None], 0, 1)


def picture(height: int = 64, width: int = 96) -> Floats:
    return np.ascontiguousarray(photo()[0, :, :height, :width].transpose(1, 2, 0))


@pytest.fixture(scope="module")
def espcn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_espcn(tmp_path_factory.mktemp("luma") / "espcn.onnx")


@pytest.fixture(scope="module")
def plan(espcn: Path) -> Plan:
    return build(espcn, input_range=(0, 1), output_range=(0, 1))


def test_the_plan_is_one_of_rgb_pictures(plan: Plan) -> None:
    assert (plan.spec.scale, plan.spec.shuffle, plan.spec.fixed_shape) == (3, 3, None)
    assert any(note.startswith(NOTE) for note in plan.report["notes"])
    result = ReferenceRunner(onnx.load(plan.path))(picture(7, 5).transpose(2, 0, 1)[None])
    assert shuffled(result, 3).shape == (1, 3, 21, 15)


@pytest.mark.parametrize("options", [{}, {"tile": 40}], ids=["whole", "tiles"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_colours_are_those_that_pillow_makes(plan: Plan, espcn: Path, dtype: Any, options: dict[str, Any]) -> None:
    """Within a level inside; at the borders Pillow weighs what there is, and this repeats the border's pixels."""
    highest = np.iinfo(dtype).max
    image = np.rint(picture() * highest).astype(dtype)
    with Upscaler(plan, device="cpu", precision="fp32", **options) as up:
        result = up(image)
    away = np.abs(result - by_hand(espcn, image / highest, 3) * highest) * (255 / highest)
    assert away[6:-6, 6:-6].max() < 1.01
    assert away.max() < 4


def test_gray_stays_gray(plan: Plan, espcn: Path) -> None:
    gray = np.rint(picture()[..., 1] * 255).astype(np.uint8)
    expected = ReferenceRunner(onnx.load(espcn))((gray / np.float32(255))[None, None])[0, 0] * 255
    with Upscaler(plan, device="cpu", precision="fp32") as up:
        result, coloured = up(gray), up(np.repeat(gray[..., None], 3, axis=2))
    assert np.abs(result - np.clip(expected, 0, 255)).max() < 0.51
    np.testing.assert_array_equal(coloured, np.repeat(result[..., None], 3, axis=2))


def test_transparency_and_export_are_those_of_every_plan(plan: Plan, tmp_path: Path) -> None:
    image = np.rint(picture(20, 24) * 255).astype(np.uint8)
    alpha = np.full((20, 24, 1), 255, np.uint8)
    with Upscaler(plan, device="cpu", precision="fp32") as up:
        expected = up(image)
        np.testing.assert_array_equal(up(np.concatenate([image, alpha], axis=2))[..., :3], expected)
    exported = ReferenceRunner(onnx.load(export(plan, out=tmp_path / "out.onnx")))
    result = exported((image / np.float32(255)).transpose(2, 0, 1)[None])[0].transpose(1, 2, 0) * 255
    assert np.abs(result - expected).max() < 1


def test_channels_last(espcn: Path, plan: Plan, tmp_path: Path) -> None:
    other = build(save_espcn(tmp_path / "last.onnx", layout="NHWC"), input_range=(0, 1), output_range=(0, 1))
    x = picture(9, 7).transpose(2, 0, 1)[None]
    one, two = (ReferenceRunner(onnx.load(each.path))(x) for each in (plan, other))
    np.testing.assert_allclose(one, two, atol=1e-6)


class TestEnlargedBefore:
    """SRCNN and VDSR keep the size of pictures that were enlarged before them."""

    def test_it_is_said_of_a_network_that_keeps_the_size(self, tmp_path: Path) -> None:
        plan = build(save_espcn(tmp_path / "srcnn.onnx", scale=1), input_range=(0, 1), output_range=(0, 1))
        assert plan.spec.scale == 1
        assert any("--enlarge 2, 3 or 4" in note for note in plan.report["notes"])

    @pytest.mark.parametrize("pads", [1, 0], ids=["padded", "not padded"])
    def test_the_plan_enlarges_first(self, tmp_path: Path, pads: int) -> None:
        path = save_espcn(tmp_path / "srcnn.onnx", scale=1, pads=pads)
        plan = build(path, input_range=(0, 1), output_range=(0, 1), enlarge=3)
        assert plan.spec.scale == 3
        image = picture()
        with Upscaler(plan, device="cpu", precision="fp32", tile=40) as up:
            result = up(image)
        edge = 2 * (1 - pads)
        inner = slice(edge, -edge or None)
        expected = by_hand(save_espcn(path, scale=1), image, 1, enlarge=3)
        away = np.abs(result - expected)[inner, inner][10:-10, 10:-10]
        assert away.max() < 1 / 255

    @pytest.mark.parametrize(("enlarge", "words"), [(2, "enlarges x3 itself"), (9, "2 to 8 times")])
    def test_it_is_refused(self, espcn: Path, tmp_path: Path, enlarge: int, words: str) -> None:
        with pytest.raises(ModelError, match=words):
            build(espcn, out=tmp_path / "plan.onnx", input_range=(0, 1), output_range=(0, 1), enlarge=enlarge)


def test_gray_stays_gray_in_fp16(espcn: Path, tmp_path: Path) -> None:
    plan = build(espcn, out=tmp_path / "half.onnx", input_range=(0, 1), output_range=(0, 1), precision="fp16")
    gray = np.repeat(picture(7, 5)[None, ..., :1].transpose(0, 3, 1, 2), 3, axis=1)
    result = shuffled(ReferenceRunner(onnx.load(plan.path))(gray), 3)
    np.testing.assert_allclose(result, result[:, :1].repeat(3, axis=1), atol=1e-6)
