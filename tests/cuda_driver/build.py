"""The stand-in driver, compiled by g++ against NVIDIA's public cuda.h, which a wheel on PyPI carries.

Entry points that the stand-in does not write itself are generated: they return CUDA_ERROR_NOT_SUPPORTED, and the trace
names them. ``python -m tests.cuda_driver.build`` prints the folder that LD_LIBRARY_PATH must name.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
_FLAGS = [
    "-std=c++17",
    "-O1",
    "-g",
    "-shared",
    "-fPIC",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wno-deprecated-declarations",
    "-pthread",
]
_FLAGS += ["-fvisibility=hidden", "-D__CUDA_API_PUSH_VISIBILITY_DEFAULT", "-Wl,-soname,libcuda.so.1"]


def headers() -> Path | None:
    """The folder of cuda.h and cudaTypedefs.h, from the package nvidia-cuda-runtime; None where it is not installed."""
    try:
        files = importlib.metadata.files("nvidia-cuda-runtime") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    for file in files:
        if file.name == "cudaTypedefs.h":
            return Path(str(file.locate())).parent
    return None


def missing() -> str | None:
    """Why the stand-in cannot be built here, in words for a skipped test; None where it can."""
    if shutil.which("g++") is None:
        return "the stand-in driver needs g++"
    if headers() is None:
        return "the stand-in driver needs cuda.h: pip install nvidia-cuda-runtime"
    return None


@functools.cache
def library_folder() -> Path:
    """The folder of libcuda.so.1, compiled if these sources never were.

    Raises CalledProcessError, with the compiler's messages in its stderr.
    """
    include = headers()
    assert include is not None, missing()
    sources = sorted([*HERE.glob("*.cpp"), *HERE.glob("*.h"), Path(__file__)])
    digest = hashlib.sha256("".join(_FLAGS).encode())
    read = ("cuda.h", "cudaTypedefs.h", "cudaProfilerTypedefs.h")
    for source in [*sources, *(include / name for name in read)]:
        digest.update(source.name.encode() + source.read_bytes())
    parent = Path(tempfile.gettempdir()) / f"srgan-trt-cuda-driver-{os.getuid()}"
    parent.mkdir(mode=0o700, exist_ok=True)
    folder = parent / digest.hexdigest()[:32]
    if not folder.exists():
        with tempfile.TemporaryDirectory(dir=parent) as work:
            made = Path(work) / "made"
            made.mkdir()
            _compile(Path(work), include, made / "libcuda.so.1")
            try:
                os.replace(made, folder)
            except OSError:  # another process was faster: a folder that is not empty cannot be replaced
                assert folder.exists()
    return folder


def _compile(work: Path, include: Path, out: Path) -> None:
    implemented, rows, stubs = _entry_points(include)
    lines = ["template <class Add>", "void standin_rows(Add add) {"]
    for name, version, symbol in rows:
        if symbol in implemented:
            per_thread = f"reinterpret_cast<void*>(PerThread<{symbol}>::call)"
            lines.append(f'    add("{name}", {version}, reinterpret_cast<void*>({symbol}), {per_thread});')
    (work / "generated.inc").write_text("\n".join([*lines, "}", ""]))

    lines = ['extern "C" int standin_not_supported(const char* name);']
    for symbol in sorted(stubs):
        lines.append(f'extern "C" __attribute__((visibility("default"))) int {symbol}() {{')
        lines.append(f'    return standin_not_supported("{symbol}");\n}}')
    lines += ["void standin_stub_rows(void (*add)(const char*, int, void*)) {"]
    for name, version, symbol in rows:
        if symbol in stubs:
            lines.append(f'    add("{name}", {version}, reinterpret_cast<void*>({symbol}));')
    stub_file = work / "stubs.cpp"
    stub_file.write_text("\n".join([*lines, "}", ""]))

    command = ["g++", *_FLAGS, f"-I{HERE}", f"-I{work}", f"-isystem{include}"]
    command += [*map(str, sorted(HERE.glob("*.cpp"))), str(stub_file), "-ldl", "-o", str(out)]
    subprocess.run(command, check=True, capture_output=True, text=True)


def _entry_points(include: Path) -> tuple[set[str], list[tuple[str, int, str]], set[str]]:
    """What cuda.h declares: the symbols written here; (name, first CUDA version, symbol) of all; the symbols left."""
    header = (include / "cuda.h").read_text()
    typedefs = (include / "cudaTypedefs.h").read_text()
    profiler = (include / "cudaProfilerTypedefs.h").read_text()  # cudaProfiler.h itself is in another package
    renamed = dict(
        re.findall(r"^ *# *define +(cu[A-Z]\w+) +(?:__CUDA_API_PT[DS][SZ]\()?(cu[A-Z]\w+)\)?\s*$", header, re.M)
    )
    renamed = {name: symbol for name, symbol in renamed.items() if not re.search(r"_pt[ds][sz]$", symbol)}
    declared = set(re.findall(r"CUresult\s+CUDAAPI\s+(cu[A-Z]\w+)\s*\(", header)) | set(renamed) | set(renamed.values())
    declared |= set(re.findall(r"PFN_(cuProfiler\w+?)_v\d+\)", profiler))
    symbols = {symbol for symbol in declared if not re.search(r"_pt[ds][sz]$", symbol)}

    written: set[str] = set()
    for source in HERE.glob("*.cpp"):
        for name in re.findall(r"CUresult CUDAAPI (cu[A-Z]\w+)\(", source.read_text()):
            written.add(renamed.get(name, name))

    versions: dict[str, set[int]] = {}
    for name, version in re.findall(r"\(CUDAAPI \*PFN_(cu[A-Z]\w+?)_v(\d+)\)", typedefs):
        versions.setdefault(name, set()).add(int(version))
    rows: list[tuple[str, int, str]] = []
    for name, known in versions.items():
        # A name means one function after another: cuX, cuX_v2, ... The newest is the one that the header renames it to.
        variants = [each for each in [name, *(f"{name}_v{i}" for i in range(2, 9))] if each in symbols]
        newest = renamed.get(name, variants[-1] if variants else name)
        ordered = sorted(known)
        matched = variants if len(variants) == len(ordered) else [newest] * len(ordered)
        rows += [(name, version, symbol) for version, symbol in zip(ordered, matched, strict=True) if symbol in symbols]
    return written, rows, symbols - written


if __name__ == "__main__":
    print(library_folder())
