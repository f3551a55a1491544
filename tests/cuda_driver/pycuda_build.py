"""pycuda, built on a machine without the CUDA toolkit: ``python -m tests.cuda_driver.pycuda_build [pip's options]``.

pycuda comes as source only and wants cuda.h, cudaProfiler.h and a libcuda to link to. The headers are those of the
packages nvidia-cuda-runtime, nvidia-cuda-crt and nvidia-cuda-profiler-api; the library is the stand-in, which has the
same names as the real one. About a minute; cuRAND and OpenGL are left out.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from . import build

VERSION = "2026.1"
_NEEDED = ("cuda.h", "cudaProfiler.h")


def install(*options: str) -> None:
    """pip install pycuda, with pip's further options. Raises CalledProcessError, FileNotFoundError without headers."""
    include = build.headers()
    lacking = [name for name in _NEEDED if include is None or not (include / name).exists()]
    if lacking:
        raise FileNotFoundError(
            f"pycuda needs {', '.join(lacking)}: "
            "pip install nvidia-cuda-runtime nvidia-cuda-crt nvidia-cuda-profiler-api"
        )
    with tempfile.TemporaryDirectory() as home:
        Path(home, "libcuda.so").symlink_to(build.library_folder() / "libcuda.so.1")
        settings = {
            "CUDA_INC_DIR": [str(include)],
            "CUDADRV_LIB_DIR": [home],
            "CUDADRV_LIBNAME": ["cuda"],
            "CUDA_ENABLE_CURAND": False,
            "CXXFLAGS": ["-O1", "-w"],
        }
        # pycuda's setup.py reads this file from the home folder, and has no other way to be told from outside; pip's
        # own settings and cache stay where they are.
        Path(home, ".aksetup-defaults.py").write_text(
            "".join(f"{key} = {value!r}\n" for key, value in settings.items())
        )
        command = [sys.executable, "-m", "pip", "install", "--no-binary", "pycuda", f"pycuda=={VERSION}", *options]
        subprocess.run(command, check=True, env={**_pip_folders(), **os.environ, "HOME": home})


def _pip_folders() -> dict[str, str]:
    """Where pip looks, said by the names that come before HOME (XDG Base Directory Specification)."""
    return {"XDG_CONFIG_HOME": str(Path.home() / ".config"), "XDG_CACHE_HOME": str(Path.home() / ".cache")}


if __name__ == "__main__":
    install(*sys.argv[1:])
