"""nvcc compiles the CUDA kernels for every GPU they are meant for: without a warning, and without spills.

nvcc is the one on PATH or the one of the wheels (nvidia-cuda-nvcc, nvidia-cuda-crt, nvidia-cuda-runtime, nvidia-nvvm).
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from srgan_trt.runtime.gpu.kernel_code import KERNELS, SUPPORTED

SOURCES = Path(__file__).resolve().parents[2] / "csrc"
NO_SPILLS = "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads"


def of_the_wheels(program: str) -> str | None:
    spec = importlib.util.find_spec("nvidia")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    found = sorted(path for folder in folders for path in Path(folder).glob(f"cu*/bin/{program}"))
    return str(found[-1]) if found else None


@pytest.fixture(scope="module")
def nvcc() -> str:
    found = of_the_wheels("nvcc") or shutil.which("nvcc")
    if found is None:
        pytest.skip("nvcc is not here: pip install nvidia-cuda-nvcc nvidia-cuda-crt nvidia-cuda-runtime nvidia-nvvm")
    if shutil.which("g++") is None:
        pytest.skip("nvcc needs g++")
    return found


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All kernels in one file, as NVRTC is given them."""
    path = tmp_path_factory.mktemp("kernels") / "kernels.cu"
    path.write_text('#include "pack.cu"\n#include "unpack.cu"\n')
    return path


def compiled(nvcc: str, program: Path, *options: str) -> str:
    """What nvcc and ptxas say."""
    command = [nvcc, "-std=c++17", "-Werror=all-warnings", f"-I{SOURCES}", *options, str(program)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=program.parent, env=os.environ | {"LC_ALL": "C"})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("architecture", [f"sm_{major}{minor}" for major, minor in SUPPORTED])
def test_no_kernel_spills(architecture: str, nvcc: str, program: Path) -> None:
    report = compiled(nvcc, program, "-cubin", f"-arch={architecture}", "-Xptxas", "-v", "-o", "kernels.cubin")
    kernels = re.findall(rf"Compiling entry function '(\w+)' for '{architecture}'", report)
    assert sorted(kernels) == sorted(KERNELS)
    assert report.count(NO_SPILLS) == len(re.findall(r"bytes stack frame", report)) == len(KERNELS)
    # Registers for at least 512 threads on a multiprocessor, which has 65536 of them.
    assert max(int(count) for count in re.findall(r"Used (\d+) registers", report)) <= 128
    check_machine_code(program.parent / "kernels.cubin", architecture)


def check_machine_code(cubin: Path, architecture: str) -> None:
    """What the GPU is really given: wide accesses both ways, and none to a thread's local memory."""
    nvdisasm = of_the_wheels("nvdisasm") or shutil.which("nvdisasm")
    if nvdisasm is None:
        return
    listing = subprocess.run([nvdisasm, "-c", cubin], capture_output=True, text=True, check=True).stdout
    bodies = re.split(r"^\.text\.(\w+):$", listing, flags=re.MULTILINE)
    codes = dict(zip(bodies[1::2], bodies[2::2], strict=True))
    assert sorted(codes) == sorted(KERNELS)
    for name, code in codes.items():
        loads, stores = (len(re.findall(rf"\b{kind}\.E\.\S*128", code)) for kind in ("LDG", "STG"))
        assert not re.search(r"\b(LDL|STL)\b", code), name
        assert stores >= 1, name
        # ptxas of 13.5 splits unpack's loads of float32 for Blackwell into halves.
        halves = architecture in ("sm_100", "sm_110", "sm_120") and name.startswith("unpack_f32")
        assert loads >= 1 or (halves and re.search(r"\bLDG\.E\.\S*64", code)), name


def test_global_memory_is_accessed_sixteen_bytes_at_a_time(nvcc: str, program: Path) -> None:
    """Both ways in every kernel; what the values' own sizes are used for is the ends of rows."""
    compiled(nvcc, program, "-ptx", "-arch=compute_75", "-o", "kernels.ptx")
    bodies = re.split(r"\.entry (\w+)\(", (program.parent / "kernels.ptx").read_text())
    accesses = dict(zip(bodies[1::2], bodies[2::2], strict=True))
    assert sorted(accesses) == sorted(KERNELS)
    for body in accesses.values():
        assert re.search(r"ld\.global(\.nc)?\.v4\.[uf]32", body)
        assert re.search(r"st\.global\.v4\.[uf]32", body)
        assert ".local" not in body
