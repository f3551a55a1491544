"""The CUDA kernels of csrc/, compiled by g++ behind cuda_host.h: the same source, threads as fibres, on the host.

``python -m tests.cuda_host.build [--sanitize]`` prints the library's path.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCES = HERE.parents[1] / "csrc"

# Strict aliasing is off because shared memory is read as wider words than it is written, as on the device.
_FLAGS = ["-std=c++17", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas"]
_FLAGS += ["-ffp-contract=off", "-fno-strict-aliasing"]
_SANITIZERS = ["-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


def compiler() -> str | None:
    """g++, or None where there is none."""
    return shutil.which("g++")


def command(out: Path, *, sanitize: bool) -> list[str]:
    flags = [*_FLAGS, "-O1" if sanitize else "-O2", *(_SANITIZERS if sanitize else [])]
    return [compiler() or "g++", *flags, f"-I{SOURCES}", str(HERE / "kernels.cpp"), "-o", str(out)]


@functools.cache
def library(*, sanitize: bool = False) -> Path:
    """The shared library (its functions are listed in kernels.cpp), compiled if these sources never were.

    sanitize: with AddressSanitizer and UBSan; a process that loads it needs g++'s libasan and libubsan preloaded.
    Raises CalledProcessError, with the compiler's messages in its stderr.
    """
    digest = hashlib.sha256(" ".join(command(Path("library.so"), sanitize=sanitize)).encode())
    for source in sorted([*HERE.glob("*.h"), *HERE.glob("*.cpp"), *SOURCES.glob("*.h"), *SOURCES.glob("*.cu")]):
        digest.update(source.name.encode() + source.read_bytes())
    folder = Path(tempfile.gettempdir()) / f"srgan-trt-cuda-host-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"kernels-{digest.hexdigest()[:32]}.so"
    if not path.exists():
        with tempfile.TemporaryDirectory(dir=folder) as work:
            partial = Path(work) / path.name
            subprocess.run(command(partial, sanitize=sanitize), check=True, capture_output=True, text=True)
            os.replace(partial, path)
    return path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sanitize", action="store_true")
    print(library(sanitize=parser.parse_args().sanitize))
