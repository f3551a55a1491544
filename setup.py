"""The C++ extension srgan_trt._pixels and the CUDA kernels; everything else is in pyproject.toml."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pybind11
from pybind11.setup_helpers import Pybind11Extension, build_ext
from setuptools import setup

sys.path.insert(0, "csrc")
import fatbin  # csrc/fatbin.py

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


class BuildKernels(build_ext):
    """The extension, and beside it the CUDA kernels: their source, and a fatbin where there is nvcc."""

    def run(self) -> None:
        super().run()
        folder = Path(self.get_ext_fullpath("srgan_trt._pixels")).parent / "csrc"
        if not self.inplace:  # a checkout has its source already
            folder.mkdir(parents=True, exist_ok=True)
            for name in fatbin.FILES:
                shutil.copyfile(Path("csrc", name), folder / name)
        print(fatbin.build(folder, fatbin.find_nvcc()))


setup(
    cmdclass={"build_ext": BuildKernels},
    ext_modules=[
        Pybind11Extension(
            "srgan_trt._pixels",
            sorted(str(path) for path in Path("csrc").glob("*.cpp")),
            depends=sorted(str(path) for path in Path("csrc").glob("*.h")),
            # pybind11's headers as system headers: -Werror is for our code, not theirs.
            extra_compile_args=[*_FLAGS, "-isystem", pybind11.get_include()],
            cxx_std=17,
        )
    ],
)
