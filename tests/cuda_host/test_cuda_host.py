"""The stand-in for CUDA's threads does what a test relies on: waits are waits, and a forgotten one shows."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

from . import build

REVERSE = """
#include "cuda_host.h"
static void reverse(int* values) {
    __shared__ int shared[64];
    const int i = static_cast<int>(threadIdx.x);
    shared[i] = values[i];
    WAIT
    values[i] = shared[63 - i];
}
extern "C" void run(int* values) {
    const unsigned int grid_block[6] = {2, 1, 1, 64, 1, 1};
    cuda_host::launch(grid_block, [=] { reverse(values + 64 * blockIdx.x); });
}
"""


def compiled(folder: Path, wait: str) -> Path:
    if build.compiler() is None:
        pytest.skip("the host build of the CUDA kernels needs g++")
    source, library = folder / "reverse.cpp", folder / "reverse.so"
    source.write_text(REVERSE.replace("WAIT", wait))
    command = ["g++", "-std=c++17", "-O1", "-shared", "-fPIC", f"-I{build.HERE}", str(source), "-o", str(library)]
    subprocess.run(command, check=True)
    return library


def reversed_twice(library: Path) -> bool:
    """Whether both blocks turned their 64 values around."""
    values = (ctypes.c_int * 128)(*range(128))
    ctypes.CDLL(str(library)).run(values)
    return list(values) == [*range(63, -1, -1), *range(127, 63, -1)]


def test_a_block_waits_for_all_its_threads(tmp_path: Path) -> None:
    assert reversed_twice(compiled(tmp_path, "__syncthreads();"))


def test_a_forgotten_wait_shows(tmp_path: Path) -> None:
    assert not reversed_twice(compiled(tmp_path, ""))


def test_a_warp_waits_for_its_own_lanes_only(tmp_path: Path) -> None:
    """Values cross from one warp to the other here, so waiting for one's own warp is not enough."""
    assert not reversed_twice(compiled(tmp_path, "__syncwarp();"))


@pytest.mark.parametrize(
    ("wait", "message"),
    [
        ("if (i != 5) __syncwarp();", "threads wait for each other for ever"),
        ("if (i < 32) __syncthreads(); else __syncwarp(i == 40 ? 1u : ~0u);", "a lane that its mask does not name"),
        ("__syncwarp(i % 2 ? 0xaaaaaaaau : ~0u);", "threads wait for each other for ever"),
    ],
)
def test_waits_that_never_end_are_reported(wait: str, message: str, tmp_path: Path) -> None:
    code = f"import ctypes; ctypes.CDLL({str(compiled(tmp_path, wait))!r}).run((ctypes.c_int * 128)())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode < 0
    assert message in done.stderr
