"""The CUDA kernels compiled by NVRTC from the package's own source: for every GPU, once, never damaged."""

from __future__ import annotations

import logging
import re
import shutil
import sys
from pathlib import Path

import pytest

from srgan_trt.errors import DeviceError, MissingPackageError, pip_command
from srgan_trt.runtime.gpu import kernel_code

ELF = b"\x7fELF"


@pytest.fixture(scope="module")
def compiled_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that holds the kernels for SM 89; skips where NVRTC is not installed."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SRGAN_TRT_CACHE", str(folder))
        try:
            kernel_code.compile_kernels((8, 9))
        except MissingPackageError as error:
            pytest.skip(str(error))
    return folder


@pytest.fixture
def own_cache(compiled_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that cache, and the one in use."""
    monkeypatch.setenv("SRGAN_TRT_CACHE", str(tmp_path))
    shutil.copytree(compiled_cache, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_the_source_is_whole() -> None:
    source = kernel_code.kernel_source()
    text = "".join(source.values())
    for name in kernel_code.KERNELS:
        assert f"({name}, " in text
    included = {line.split('"')[1] for line in text.splitlines() if line.startswith('#include "')}
    assert included <= source.keys()


@pytest.mark.parametrize("compute_capability", [(7, 5), (8, 9), (12, 0)])
def test_a_cubin_with_every_kernel(compute_capability: tuple[int, int], own_cache: Path) -> None:
    cubin = kernel_code.compile_kernels(compute_capability)
    assert cubin.startswith(ELF)
    assert all(f".text.{name}\0".encode() in cubin for name in kernel_code.KERNELS)


def test_compiled_once(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cubin = kernel_code.compile_kernels((8, 9))

    def compiled_again(*_: object) -> bytes:
        raise AssertionError("compiled again")

    monkeypatch.setattr(kernel_code, "_compile", compiled_again)
    assert kernel_code.compile_kernels((8, 9)) == cubin
    with pytest.raises(AssertionError, match="compiled again"):
        kernel_code.compile_kernels((9, 0))


def test_a_damaged_cubin_is_made_again(own_cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    (path,) = (own_cache / "kernels").iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    assert kernel_code.compile_kernels((8, 9)).startswith(ELF)
    assert "is damaged: making it again" in caplog.text


def test_a_gpu_newer_than_nvrtc_gets_the_code_of_its_generation(
    own_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert kernel_code.compile_kernels((9, 9)) == kernel_code.compile_kernels((9, 0))
    assert "does not know compute capability 9.9: the kernels are compiled for 9.0" in caplog.text


@pytest.mark.parametrize("compute_capability", [(5, 0), (99, 0)])
def test_a_gpu_nvrtc_cannot_compile_for(compute_capability: tuple[int, int], own_cache: Path) -> None:
    with pytest.raises(DeviceError, match=r"NVRTC .* does not compile for compute capability \d+\.0 .*install another"):
        kernel_code.compile_kernels(compute_capability)


def test_source_that_does_not_compile(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken = dict(kernel_code.kernel_source()) | {"tile_job.h": "#error broken on purpose\n"}
    monkeypatch.setattr(kernel_code, "kernel_source", lambda: broken)
    with pytest.raises(DeviceError, match=r"NVRTC cannot compile the CUDA kernels for SM 89 .*see the log"):
        kernel_code.compile_kernels((8, 9))
    assert "broken on purpose" in caplog.text


def test_without_cuda_bindings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cuda.bindings.nvrtc", None)
    with pytest.raises(MissingPackageError, match=re.escape(pip_command("tensorrt"))):
        kernel_code.compile_kernels((8, 9))
