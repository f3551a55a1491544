"""Plans of one topology: what is between them is the network between, proven as any other; others are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from PIL import Image

from srgan_trt.compiler.build import build
from srgan_trt.compiler.mixing import mix
from srgan_trt.compiler.plan import Plan, load_plan, save_plan
from srgan_trt.errors import ModelError, PlanError
from srgan_trt.models.registry import packaged
from srgan_trt.quality.metrics import psnr
from srgan_trt.upscaler import Upscaler

from ..handmade import dense_plan, expected, noise, small_model, small_plan, small_spec


def moved(model: onnx.ModelProto, share: float) -> onnx.ModelProto:
    """`model`, its weights `share` of the way to others that are 30% off."""
    rng = np.random.default_rng(5)
    for tensor in model.graph.initializer:
        weights = numpy_helper.to_array(tensor)
        near = weights * rng.uniform(0.7, 1.3, weights.shape)
        between = (1 - share) * weights + share * near
        tensor.CopyFrom(numpy_helper.from_array(between.astype(np.float32), tensor.name))
    return model


def source(path: Path, share: float) -> Path:
    """A model file as others write them: its last shuffle is in the graph."""
    model = moved(small_model(), share)
    model.graph.node[-1].output[0] = "shuffled"
    model.graph.node.append(helper.make_node("DepthToSpace", ["shuffled"], ["output"], blocksize=2, mode="DCR"))
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 3
    onnx.save(model, path)
    return path


def built(folder: Path, share: float) -> Plan:
    path = source(folder / f"{share}.onnx", share)
    return build(path, input_range=(0, 1), output_range=(-1, 1))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Plan]:
    folder = tmp_path_factory.mktemp("pair")
    return built(folder, 0), built(folder, 1)


@pytest.mark.parametrize("texture", [0, 0.3, 1])
def test_the_mix_of_two_plans_is_the_plan_of_the_mix(pair: tuple[Plan, Plan], tmp_path: Path, texture: float) -> None:
    """The compiler's rewrites are linear in the weights: it does not matter which comes first."""
    mixed = mix(*pair, texture=texture, out=tmp_path / "mixed.plan.onnx")
    direct = built(tmp_path, texture)
    image = noise(24, 31)
    np.testing.assert_array_equal(expected(mixed, image), expected(direct, image))
    assert (mixed.spec.shuffle, mixed.spec.halo, mixed.spec.macs) == (2, direct.spec.halo, direct.spec.macs)
    assert {check["kept"] for check in mixed.report["rewrites"]} == {True}
    assert len({mixed.spec.source_hash, pair[0].spec.source_hash, pair[1].spec.source_hash}) == 3
    assert load_plan(mixed.path).report["notes"][0] == f"weights {1 - texture:g} of 0.onnx, {texture:g} of 1.onnx"


@pytest.mark.full
def test_psnr_falls_and_edges_rise_from_pixels_to_gan(tmp_path: Path, shared_images: Path) -> None:
    pixel, gan = (load_plan(packaged(name)) for name in ("srresnet-photo-x4", "srgan-photo-x4"))
    smalls, larges = (
        [np.asarray(Image.open(path).convert("RGB")) for path in sorted((shared_images / "test/Set5" / kind).iterdir())]
        for kind in ("LRx4", "HR")
    )
    near, edges = [], []
    for texture in (0, 0.5, 1):
        plan = mix(pixel, gan, texture=texture, out=tmp_path / f"{texture}.plan.onnx")
        with Upscaler(plan, precision="fp32") as up:
            results = [up(small) for small in smalls]
        pairs = list(zip(larges, results, strict=True))
        near.append(np.mean([psnr(large[: made.shape[0], : made.shape[1]], made, border=4) for large, made in pairs]))
        edges.append(np.mean([np.abs(np.diff(made.astype(float).mean(axis=2), axis=1)).mean() for made in results]))
        if texture != 0.5:
            with Upscaler(gan if texture else pixel, precision="fp32") as up:
                np.testing.assert_array_equal(results[0], up(smalls[0]))
    assert near == sorted(near, reverse=True)
    assert edges == sorted(edges)


class TestRefused:
    def test_other_topologies(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match="cannot be mixed: they are networks of another topology; name one"):
            mix(small_plan(tmp_path), dense_plan(tmp_path), texture=0.5, out=tmp_path / "mixed.onnx")
        other = small_plan(tmp_path / "softsign", last="Softsign")
        with pytest.raises(ModelError, match="another topology"):
            mix(small_plan(tmp_path), other, texture=0.5, out=tmp_path / "mixed.onnx")
        assert not (tmp_path / "mixed.onnx").exists()

    def test_networks_that_were_trained_apart(self, tmp_path: Path) -> None:
        apart = small_model()
        rng = np.random.default_rng(11)
        for tensor in apart.graph.initializer:
            weights = rng.normal(0, 0.3, tuple(tensor.dims)).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(weights, tensor.name))
        plan = save_plan(apart, small_spec(), tmp_path / "apart.onnx")
        with pytest.raises(ModelError, match=r"trained apart \(cosine of their weights -?0\.\d\d\)"):
            mix(small_plan(tmp_path), plan, texture=0.5, out=tmp_path / "mixed.onnx")

    @pytest.mark.parametrize(
        ("facts", "message"),
        [
            ({"precision": "int8"}, "is in int8: mix plans in fp32, and convert the result"),
            ({"input_range": (0.0, 255.0)}, r"their input range is \(0.0, 1.0\) and \(0.0, 255.0\)"),
        ],
    )
    def test_other_facts(self, tmp_path: Path, facts: dict[str, Any], message: str) -> None:
        plan = save_plan(small_model(), small_spec(**facts), tmp_path / "other.onnx")
        with pytest.raises(ModelError, match=message):
            mix(small_plan(tmp_path), plan, texture=0.5, out=tmp_path / "mixed.onnx")

    def test_a_texture_out_of_range(self, pair: tuple[Plan, Plan], tmp_path: Path) -> None:
        with pytest.raises(ModelError, match=r"a texture of 1\.5 is not taken: give one from 0"):
            mix(*pair, texture=1.5, out=tmp_path / "mixed.onnx")

    def test_writing_over_one_of_them(self, pair: tuple[Plan, Plan]) -> None:
        with pytest.raises(PlanError, match="it is the file that it is built from"):
            mix(*pair, texture=0.5, out=pair[1].path)
