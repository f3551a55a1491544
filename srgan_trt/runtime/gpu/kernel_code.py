"""The CUDA kernels as machine code: their source, compiled by NVRTC for one GPU when it is first needed, and kept.

NVRTC needs neither a GPU nor a driver nor the CUDA toolkit; what it makes is loaded by the driver alone, without
libcudart.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from ..._version import __version__
from ...cache import cache_folder, read_checksummed, write_checksummed
from ...errors import DeviceError, missing

_log = logging.getLogger(__name__)

SUPPORTED = ((7, 5), (8, 0), (8, 6), (8, 7), (8, 9), (9, 0), (10, 0), (11, 0), (12, 0))
"""Compute capabilities that the kernels are tested to compile for, without spills; NVRTC may know more. 8.7 and 11.0
are Jetsons', where code for other GPUs is not promised to run."""

KERNELS = tuple(
    [f"pack_{level}_{element}" for level in ("u8", "u16") for element in ("f16", "f32")]
    + [f"unpack_{element}_{level}" for element in ("f16", "f32") for level in ("u8", "u16")]
)
"""Every kernel's name; the parameters are in csrc/pack.cu and csrc/unpack.cu."""

_FILES = ("pack.cu", "unpack.cu", "half.h", "lane_group.h", "pixel_math.h", "tile_job.h")
_PROGRAM = '#include "pack.cu"\n#include "unpack.cu"\n'


@cache
def kernel_source() -> Mapping[str, str]:
    """The kernels' files by name, ``pack.cu`` and ``unpack.cu`` and what they include, from the package or a checkout.

    Raises DeviceError if the installation lacks them.
    """
    package = Path(__file__).resolve().parents[2]
    for folder in (package / "csrc", package.parent / "csrc"):
        if all((folder / name).is_file() for name in _FILES):
            return {name: (folder / name).read_text("utf-8") for name in _FILES}
    raise DeviceError(f"the CUDA kernels' source is not part of this installation ({package}): install srgan-trt again")


def compile_kernels(compute_capability: tuple[int, int]) -> bytes:
    """A cubin with all `KERNELS` for GPUs of this compute capability, ``(8, 9)`` for SM 89.

    Compiled once (some seconds), then from the user's cache. The key is the source, NVRTC's version and the
    architecture. A compute capability that this NVRTC does not know gets the code of the nearest one before it with the
    same major number, which runs there too (CUDA programming guide, "Binary Compatibility"); that is logged.
    Raises MissingPackageError without NVRTC, DeviceError if it cannot compile for such GPUs.
    """
    nvrtc = _nvrtc()
    version = ".".join(str(part) for part in _checked(nvrtc, nvrtc.nvrtcVersion()))
    known = [divmod(number, 10) for number in _checked(nvrtc, nvrtc.nvrtcGetSupportedArchs())[0]]
    architecture = _architecture(compute_capability, known, version)
    key = hashlib.sha256(repr((sorted(kernel_source().items()), architecture, version, __version__)).encode())
    path = cache_folder() / "kernels" / f"sm_{architecture}-{key.hexdigest()[:32]}.cubin"
    cubin = read_checksummed(path)
    if cubin is None:
        cubin = _compile(nvrtc, architecture)
        write_checksummed(path, cubin)
    return cubin


def _architecture(wanted: tuple[int, int], known: list[tuple[int, int]], version: str) -> str:
    usable = [each for each in known if each[0] == wanted[0] and each[1] <= wanted[1]]
    if not usable:
        major, minor = wanted
        raise DeviceError(
            f"NVRTC {version} does not compile for compute capability {major}.{minor} (it knows "
            f"{', '.join(f'{a}.{b}' for a, b in known)}): install another nvidia-cuda-nvrtc or use --device cpu"
        )
    best = max(usable)
    if best != wanted:
        _log.warning(
            "NVRTC %s does not know compute capability %d.%d: the kernels are compiled for %d.%d",
            version,
            *wanted,
            *best,
        )
    return f"{best[0]}{best[1]}"


def _nvrtc() -> Any:
    """cuda.bindings.nvrtc, with the library behind it found."""
    try:
        nvrtc = import_module("cuda.bindings.nvrtc")
        not_found = import_module("cuda.pathfinder").DynamicLibNotFoundError
    except ImportError:
        raise missing("cuda-bindings", "tensorrt", "compile the CUDA kernels") from None
    try:
        nvrtc.nvrtcVersion()
    except not_found:
        raise missing("nvidia-cuda-nvrtc", "tensorrt", "compile the CUDA kernels") from None
    return nvrtc


def _checked(nvrtc: Any, result: tuple[Any, ...]) -> tuple[Any, ...]:
    status, *values = result
    if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
        raise DeviceError(f"NVRTC failed with {status.name} while compiling the CUDA kernels: please report it")
    return tuple(values)


def _compile(nvrtc: Any, architecture: str) -> bytes:
    headers = kernel_source()
    names = [name.encode() for name in headers]
    contents = [text.encode() for text in headers.values()]
    (program,) = _checked(
        nvrtc, nvrtc.nvrtcCreateProgram(_PROGRAM.encode(), b"srgan_trt_kernels.cu", len(names), contents, names)
    )
    try:
        # No fast mathematics: the results are those of the CPU, bit for bit.
        options = [f"--gpu-architecture=sm_{architecture}".encode(), b"--std=c++17"]
        (status,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
        if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
            (size,) = _checked(nvrtc, nvrtc.nvrtcGetProgramLogSize(program))
            messages = bytearray(size)
            _checked(nvrtc, nvrtc.nvrtcGetProgramLog(program, messages))
            _log.error("NVRTC says:\n%s", messages.rstrip(b"\0").decode(errors="replace"))
            raise DeviceError(
                f"NVRTC cannot compile the CUDA kernels for SM {architecture} ({status.name}): see the log"
            )
        (size,) = _checked(nvrtc, nvrtc.nvrtcGetCUBINSize(program))
        cubin = bytearray(size)
        _checked(nvrtc, nvrtc.nvrtcGetCUBIN(program, cubin))
        return bytes(cubin)
    finally:
        nvrtc.nvrtcDestroyProgram(program)
