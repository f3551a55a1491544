"""The C++ extension srgan_trt._pixels; everything else about the package is in pyproject.toml."""

from __future__ import annotations

from pathlib import Path

import pybind11
from pybind11.setup_helpers import Pybind11Extension
from setuptools import setup

# No one reads the floating-point exception flags or errno, and without them the loops turn into vector code.
_FLAGS = [
    "-O3",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-fno-fast-math",
    "-ffp-contract=off",
    "-fno-trapping-math",
    "-fno-math-errno",
]

setup(
    ext_modules=[
        Pybind11Extension(
            "srgan_trt._pixels",
            sorted(str(path) for path in Path("csrc").glob("*.cpp")),
            depends=sorted(str(path) for path in Path("csrc").glob("*.h")),
            # pybind11's headers as system headers: -Werror is for our code, not theirs.
            extra_compile_args=[*_FLAGS, "-isystem", pybind11.get_include()],
            cxx_std=17,
        )
    ]
)
