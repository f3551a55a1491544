"""Weights that only spandrel knows: named, and built by it where the file is trusted and it is installed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srgan_trt.compiler.build import build
from srgan_trt.errors import MissingPackageError, ModelError
from srgan_trt.models.loader import open_network

from .conftest import noise, run_onnx
from .torch_files import write_pth

UNKNOWN = {"layer.weight": np.ones((2, 2), np.float32)}


@pytest.fixture
def spandrel() -> Any:
    return pytest.importorskip("spandrel")


@pytest.fixture
def safmn(spandrel: Any, tmp_path: Path) -> Path:
    """A small network of convolutions and pooling, whose input has sides of multiples of 8."""
    import torch
    from spandrel.architectures.SAFMN import SAFMN

    torch.manual_seed(0)
    torch.save({"params": SAFMN(dim=16, n_blocks=2, upscaling_factor=2).state_dict()}, tmp_path / "net.pth")
    return tmp_path / "net.pth"


def test_a_file_that_is_not_trusted_is_told_how(tmp_path: Path) -> None:
    path = write_pth(tmp_path / "net.pth", UNKNOWN)
    with pytest.raises(ModelError, match=r"no architecture .* --trust-model, and spandrel builds it \(pip install"):
        open_network(path)


def test_without_spandrel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_pth(tmp_path / "net.pth", UNKNOWN)
    for package in ("torch", "spandrel"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackageError, match=r"is needed to read net\.pth: pip install .*torch"):
        open_network(path, trust_model=True)


def test_what_spandrel_does_not_know_either(spandrel: Any, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"net\.pth: spandrel does not take it either"):
        open_network(write_pth(tmp_path / "net.pth", UNKNOWN), trust_model=True)


def test_variants_of_what_is_known(spandrel: Any, tmp_path: Path) -> None:
    """ESRGAN with one more convolution in each block: refused by name here, built by spandrel."""
    import torch
    from spandrel.architectures.ESRGAN import ESRGAN

    torch.save(ESRGAN(num_blocks=1, num_filters=8, plus=True).state_dict(), tmp_path / "net.pth")
    with pytest.raises(ModelError, match=r"conv1x1.*a variant that is not read here\. Export it to ONNX; or, if you"):
        open_network(tmp_path / "net.pth")
    assert open_network(tmp_path / "net.pth", trust_model=True).kind == "PyTorch .pth: ESRGAN, by spandrel"


def test_its_graph_is_its_network(safmn: Path) -> None:
    network = open_network(safmn, trust_model=True)
    assert network.kind == "PyTorch .pth: SAFMN, by spandrel"
    assert network.fixed_shape == (128, 128)
    batch = noise(128, 128)
    result = network.predict(batch)
    assert result is not None
    np.testing.assert_allclose(run_onnx(network.export(128, 128), batch), result, atol=1e-5)


def test_a_plan_of_it(safmn: Path) -> None:
    plan = build(safmn, trust_model=True)
    assert (plan.spec.scale, plan.spec.multiple) == (2, 8)
    assert plan.report["difference"] < 1e-4
