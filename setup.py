"""The C++ extension srgan_trt._pixels and the CUDA kernels; everything else is in pyproject.toml."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pybind11
from pybind11.setup_helpers import Pybind11Extension, build_ext
from setuptools import setup

# For developers and CI: warnings are errors, and so is a failure to compile, which users get over (see below).
_STRICT = os.environ.get("SRGAN_TRT_WERROR") == "1"

# No one reads the floating-point exception flags or errno, and without them the loops turn into vector code.
_FLAGS = [
    "-O3",
    "-Wall",
    "-Wextra",
    *(["-Werror"] if _STRICT else []),
    "-fno-fast-math",
    "-ffp-contract=off",
    "-fno-trapping-math",
    "-fno-math-errno",
]


class BuildKernels(build_ext):
    """The extension, and beside it the source of the CUDA kernels."""

    def run(self) -> None:
        super().run()
        extension = Path(self.get_ext_fullpath("srgan_trt._pixels"))
        if not extension.is_file():
            print(
                "warning: srgan_trt._pixels could not be compiled (see above): NumPy does its work, more slowly. "
                "To have it, install a C++ compiler and Python's headers, then install this package again",
                file=sys.stderr,
            )
        if not self.inplace:  # a checkout has it already
            folder = extension.parent / "csrc"
            folder.mkdir(parents=True, exist_ok=True)
            for path in [*Path("csrc").glob("*.cu"), *Path("csrc").glob("*.h")]:
                shutil.copyfile(path, folder / path.name)


setup(
    cmdclass={"build_ext": BuildKernels},
    ext_modules=[
        Pybind11Extension(
            "srgan_trt._pixels",
            sorted(str(path) for path in Path("csrc").glob("*.cpp")),
            depends=sorted(str(path) for path in Path("csrc").glob("*.h")),
            # pybind11's headers as system headers: warnings are for our code, not theirs.
            extra_compile_args=[*_FLAGS, "-isystem", pybind11.get_include()],
            cxx_std=17,
            optional=not _STRICT,  # srgan_trt/pixels.py falls back to NumPy
        )
    ],
)
