"""All CUDA kernels in one file for every supported GPU, where nvcc exists; setup.py and the tests call it.

Standard library only, and nothing of the package: it runs before the package is built. The file's name holds the hash
of its source (`fatbin_name`), so that code of another version is never loaded (srgan_trt/runtime/gpu/kernel_code.py).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Mapping
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
FILES = ("pack.cu", "unpack.cu", "half.h", "lane_group.h", "pixel_math.h", "tile_job.h")
ARCHITECTURES = ("75", "80", "86", "89", "90", "100", "120")
"""SM numbers. Code for the last one is added as PTX, which the driver compiles for GPUs that come later."""


def source() -> dict[str, str]:
    """The kernels' files by name."""
    return {name: (FOLDER / name).read_text("utf-8") for name in FILES}


def fatbin_name(files: Mapping[str, str]) -> str:
    """``kernels-<hash>.fatbin`` for this source."""
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(f"{name}\0{files[name]}\0".encode())
    return f"kernels-{digest.hexdigest()[:32]}.fatbin"


def find_nvcc() -> str | None:
    """``$NVCC``, the wheel nvidia-cuda-nvcc of this environment, ``$CUDA_HOME/bin``, PATH, or None."""
    if chosen := os.environ.get("NVCC"):
        return shutil.which(chosen)
    site = Path(sysconfig.get_path("purelib"))
    places = sorted((str(path) for path in site.glob("nvidia/cu*/bin/nvcc")), reverse=True)
    if home := os.environ.get("CUDA_HOME"):
        places.append(str(Path(home) / "bin" / "nvcc"))
    return next(filter(None, map(shutil.which, [*places, "nvcc"])), None)


def build(folder: Path, nvcc: str | None) -> str:
    """Puts the fatbin into `folder`, in place of any older one; returns what was done, or why not, in one line."""
    for old in folder.glob("kernels-*.fatbin"):
        old.unlink()
    if nvcc is None:
        return "CUDA kernels: no nvcc here, NVRTC compiles them when a GPU first needs them"
    known = subprocess.run([nvcc, "--list-gpu-code"], capture_output=True, text=True, check=False).stdout.split()
    unknown = [number for number in ARCHITECTURES if f"sm_{number}" not in known]
    if unknown:
        # Half a fatbin would need a second way at run time for the rest.
        return f"CUDA kernels: left to NVRTC, {nvcc} does not compile for SM {', '.join(unknown)}"
    codes = [f"-gencode=arch=compute_{number},code=sm_{number}" for number in ARCHITECTURES]
    codes.append(f"-gencode=arch=compute_{ARCHITECTURES[-1]},code=compute_{ARCHITECTURES[-1]}")
    with tempfile.TemporaryDirectory() as work:
        program = Path(work, "kernels.cu")
        program.write_text('#include "pack.cu"\n#include "unpack.cu"\n')
        made = Path(work, "kernels.fatbin")
        command = [nvcc, "-std=c++17", "-fatbin", *codes, f"-I{FOLDER}", "-o", str(made), str(program)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode or not made.is_file():
            return f"CUDA kernels: left to NVRTC, {nvcc} failed with\n{done.stdout}{done.stderr}"
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / fatbin_name(source())
        shutil.copyfile(made, target)
    return f"CUDA kernels: {target.name} by {nvcc} for SM {', '.join(ARCHITECTURES)}"
