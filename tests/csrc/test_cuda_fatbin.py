"""Where nvcc exists, the install makes one fatbin of the kernels for every GPU; where it does not, it says so."""

from __future__ import annotations

import importlib.util
import stat
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from srgan_trt.runtime.gpu import kernel_code

CSRC = Path(__file__).resolve().parents[2] / "csrc"


@pytest.fixture(scope="module")
def fatbin() -> ModuleType:
    """csrc/fatbin.py, which is not a part of the package."""
    spec = importlib.util.spec_from_file_location("fatbin", CSRC / "fatbin.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def made(fatbin: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a package, with the fatbin in it."""
    nvcc = fatbin.find_nvcc()
    if nvcc is None:
        pytest.skip("nvcc is not here: pip install nvidia-cuda-nvcc, or set NVCC")
    folder = tmp_path_factory.mktemp("package") / "csrc"
    said = fatbin.build(folder, nvcc)
    if "does not compile for" in said:
        pytest.skip(said)
    assert f"by {nvcc} for SM 75, 80, 86, 89, 90, 100, 120" in said
    return folder


@pytest.fixture
def fake_nvcc(tmp_path: Path) -> Callable[[str], str]:
    def make(script: str) -> str:
        path = tmp_path / "nvcc"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return str(path)

    return make


def test_package_and_install_mean_the_same_kernels(fatbin: ModuleType) -> None:
    assert fatbin.source() == kernel_code.kernel_source()
    assert tuple(f"{major}{minor}" for major, minor in kernel_code.SUPPORTED) == fatbin.ARCHITECTURES


def test_every_kernel_for_every_gpu(made: Path) -> None:
    """A fatbin holds one ELF file for each architecture, and PTX as text or compressed."""
    (path,) = made.iterdir()
    content = path.read_bytes()
    _, *cubins = content.split(b"\x7fELF")
    assert len(cubins) == len(kernel_code.SUPPORTED)
    for cubin in cubins:
        assert all(f"\0.text.{name}\0".encode() in cubin for name in kernel_code.KERNELS)


def test_the_package_loads_what_was_made_of_its_own_source(
    made: Path, fatbin: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_code, "__file__", str(made.parent / "runtime" / "gpu" / "kernel_code.py"))
    loaded = kernel_code.load_fatbin()
    assert loaded is not None
    assert loaded == (made / fatbin.fatbin_name(fatbin.source())).read_bytes()
    other = dict(fatbin.source()) | {"half.h": "// another version\n"}
    monkeypatch.setattr(kernel_code, "kernel_source", lambda: other)
    assert kernel_code.load_fatbin() is None


def test_without_nvcc_an_older_fatbin_goes_and_the_log_says_so(fatbin: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "kernels-0.fatbin").write_bytes(b"old")
    assert "no nvcc here, NVRTC compiles them" in fatbin.build(tmp_path, None)
    assert not list(tmp_path.iterdir())


def test_an_nvcc_too_old_for_a_gpu_makes_nothing(
    fatbin: ModuleType, tmp_path: Path, fake_nvcc: Callable[[str], str]
) -> None:
    nvcc = fake_nvcc("echo sm_75 sm_80 sm_86 sm_89 sm_90")
    assert f"left to NVRTC, {nvcc} does not compile for SM 100, 120" in fatbin.build(tmp_path / "out", nvcc)
    assert not (tmp_path / "out").exists()


def test_an_nvcc_that_fails_is_quoted(fatbin: ModuleType, tmp_path: Path, fake_nvcc: Callable[[str], str]) -> None:
    nvcc = fake_nvcc(
        'test "$1" = --list-gpu-code && { echo sm_75 sm_80 sm_86 sm_89 sm_90 sm_100 sm_120; exit; }\n'
        "echo no host compiler >&2; exit 1"
    )
    said = fatbin.build(tmp_path / "out", nvcc)
    assert "left to NVRTC" in said
    assert "no host compiler" in said
    assert not (tmp_path / "out").exists()


def test_nvcc_is_where_the_user_says(
    fatbin: ModuleType, monkeypatch: pytest.MonkeyPatch, fake_nvcc: Callable[[str], str]
) -> None:
    nvcc = fake_nvcc("exit 1")
    monkeypatch.setenv("NVCC", nvcc)
    assert fatbin.find_nvcc() == nvcc
    monkeypatch.setenv("NVCC", nvcc + "-that-is-not-there")
    assert fatbin.find_nvcc() is None
