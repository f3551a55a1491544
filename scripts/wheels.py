#!/usr/bin/env python3
"""Makes dist/: an sdist and, for every Python here, a wheel; then tries each of them where there is no compiler.

Usage: python3 scripts/wheels.py [PYTHON...]    interpreters, 3.11 or newer (default: all on PATH and of pyenv)

The wheels run on every Linux with glibc 2.28, like those of OpenVINO and onnxruntime, whatever this machine has: zig's
C++ compiler, itself a wheel, links against that glibc. So no container is needed. On other systems and processors
.github/workflows/wheels.yml does the work.

Each wheel is built from the sdist, held to its promise by auditwheel, and installed into a bare environment whose PATH
has no compiler; there it upscales the demo's photo. So does the sdist, without the C++ extension then. All the pictures
must be the same, byte for byte. Standard library only; everything else goes into build/wheels/.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"
WORK = ROOT / "build" / "wheels"
_REQUIREMENTS = ROOT / "scripts" / "wheels-requirements.txt"
_CONSTRAINTS = ROOT / "constraints.txt"
_PHOTO = ROOT / "examples" / "coffee.jpg"
_GLIBC = "2.28"
_PYTHONS = ("python3.11", "python3.12", "python3.13", "python3.14")
_COMPILERS = ("cc", "c++", "gcc", "g++", "clang", "clang++")
_PROBE = """
import json
from pathlib import Path
from srgan_trt import __file__ as file, pixels
print(json.dumps({"folder": str(Path(file).parent), "sets": pixels.instruction_sets()}))
"""
_SYMBOLS = """
import io, sys, zipfile
from elftools.elf.elffile import ELFFile
with zipfile.ZipFile(sys.argv[1]) as wheel:
    (name,) = [name for name in wheel.namelist() if name.endswith(".so")]
    print(ELFFile(io.BytesIO(wheel.read(name))).get_section_by_name(".symtab") is not None)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pythons", nargs="*", help="interpreters to make wheels for")
    options = parser.parse_args()
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"):
        sys.exit("wheels are made here for Linux on x86-64 and aarch64: for others see .github/workflows/wheels.yml")
    pythons = [_interpreter(name) for name in options.pythons] or _pythons()
    if not pythons:
        sys.exit(f"no Python to make wheels for: none of {', '.join(_PYTHONS)} is on PATH or in pyenv")
    shutil.rmtree(DIST, ignore_errors=True)
    tools = _tools()
    sdist = _make_sdist(tools)
    pictures: dict[str, str] = {}
    for python in pythons:
        wheel = _make_wheel(tools, python, sdist)
        pictures[wheel.name] = _try(python, wheel, extension=True)
    pictures[sdist.name] = _try(pythons[0], sdist, extension=False)
    if len(set(pictures.values())) != 1:
        sys.exit(f"the pictures differ: {json.dumps(pictures, indent=1)}")
    print(f"{len(pictures)} files in {DIST.name}/, whose pictures are the same byte for byte")


def _pythons() -> list[Path]:
    """One interpreter for each minor version."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    found = []
    for name in _PYTHONS:
        version = name.removeprefix("python")
        places = [*(path / "bin" / name for path in sorted(pyenv.glob(f"{version}.*"))), shutil.which(name)]
        usable = [Path(place) for place in places if place and _runs(Path(place))]
        found += usable[:1]
    return found


def _runs(python: Path) -> bool:
    """Whether it is there and can make environments; pyenv's stand-ins for versions that are not there cannot."""
    done = subprocess.run([python, "-c", "import ensurepip, venv"], capture_output=True, check=False)
    return done.returncode == 0


def _interpreter(name: str) -> Path:
    path = shutil.which(name)
    if path is None or not _runs(Path(path)):
        sys.exit(f"{name} is not a Python that can make environments (python3-venv)")
    return Path(path)


def _tools() -> Path:
    """An environment with the pinned tools; kept until the pins change. Returns its Python."""
    folder, note = WORK / "tools", WORK / "tools.txt"
    if not (note.is_file() and note.read_text() == _REQUIREMENTS.read_text()):
        python = _environment(Path(sys.executable), folder)
        print("installing the tools: zig's compiler alone takes 400 MB", flush=True)
        _run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", _REQUIREMENTS])
        note.write_text(_REQUIREMENTS.read_text())
    return folder / "bin" / "python"


def _environment(python: Path, folder: Path) -> Path:
    """A new environment without anything but pip. Returns its Python."""
    _run([python, "-m", "venv", "--clear", folder])
    return folder / "bin" / "python"


def _make_sdist(tools: Path) -> Path:
    _run([tools, "-m", "build", "--sdist", "--outdir", DIST, ROOT], quiet=True, environment=_pinned())
    (sdist,) = DIST.glob("*.tar.gz")
    print(f"{sdist.name}: {_megabytes(sdist)}", flush=True)
    return sdist


def _make_wheel(tools: Path, python: Path, sdist: Path) -> Path:
    """Compiles for _GLIBC, strips, has auditwheel check and name it. Exits if it would not run where it says."""
    raw = WORK / "raw"
    shutil.rmtree(raw, ignore_errors=True)
    target = f"{platform.machine()}-linux-gnu.{_GLIBC}"
    zig = {
        name: shlex.join([str(tools), "-m", "ziglang", command, "-target", target])
        for name, command in (("CC", "cc"), ("CXX", "c++"))
    }
    environment = {
        **_pinned(),
        **zig,
        "LDFLAGS": "-Wl,-s",
        "NVCC": "none",  # the CUDA kernels go along as source, whatever this machine has
        "SRGAN_TRT_WERROR": "1",  # without it the wheel might come out without the extension
        "ZIG_GLOBAL_CACHE_DIR": str(WORK / "zig"),
        "ZIG_LOCAL_CACHE_DIR": str(WORK / "zig"),
    }
    builder = _environment(python, WORK / "builder")
    begin = time.perf_counter()
    _run(
        [builder, "-m", "pip", "wheel", "--disable-pip-version-check", "--no-deps", "-w", raw, sdist],
        quiet=True, environment=environment,
    )  # fmt: skip
    (made,) = raw.glob("*.whl")
    tag = f"manylinux_{_GLIBC.replace('.', '_')}_{platform.machine()}"
    with_patchelf = {"PATH": os.pathsep.join([str(tools.parent), os.environ["PATH"]])}
    before = {*DIST.glob("*.whl")}
    _run(
        [tools, "-m", "auditwheel", "repair", "--plat", tag, "--wheel-dir", DIST, made],
        quiet=True, environment=with_patchelf,
    )  # fmt: skip
    (wheel,) = {*DIST.glob("*.whl")} - before
    shown = " ".join(_run([tools, "-m", "auditwheel", "show", wheel], quiet=True, environment=with_patchelf).split())
    found = re.search(r'following platform tag: "manylinux_(\d+)_(\d+)_', shown)
    if found is None or (int(found[1]), int(found[2])) > tuple(map(int, _GLIBC.split("."))):
        sys.exit(f"{wheel.name} would not run with glibc {_GLIBC}: {shown}")
    if _run([tools, "-c", _SYMBOLS, wheel], quiet=True).strip() != "False":
        sys.exit(f"the extension in {wheel.name} is not stripped")
    print(
        f"{wheel.name}: {_megabytes(wheel)}, {_extension_size(wheel)} of it compiled, for glibc {found[1]}.{found[2]}, "
        f"built in {time.perf_counter() - begin:.0f} s",
        flush=True,
    )
    return wheel


def _try(python: Path, file: Path, *, extension: bool) -> str:
    """Installs a wheel or sdist where there is no compiler, and upscales a photo. Returns a hash of the picture.

    Exits if the C++ extension is there and should not be or the other way round, or does not see what this CPU can do.
    """
    home = WORK / "trial"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    inside = _environment(python, home / "venv")
    environment = _without_compiler(inside.parent, home)
    pip = [inside, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-input"]
    begin = time.perf_counter()
    _run([*pip, "-c", _CONSTRAINTS, file], cwd=home, quiet=True, environment=environment)
    installed = time.perf_counter()
    _run([*pip, "--force-reinstall", "--no-deps", file], cwd=home, quiet=True, environment=environment)
    again = time.perf_counter()
    probe: dict[str, Any] = json.loads(
        _run([inside, "-c", _PROBE], cwd=home, quiet=True, environment=environment).splitlines()[-1]
    )
    if not Path(probe["folder"]).is_relative_to(home):
        sys.exit(f"{file.name} was not tried, but {probe['folder']}")
    if probe["sets"] != (_instruction_sets() if extension else ["numpy"]):
        sys.exit(f"{file.name} packs pixels with {', '.join(probe['sets'])}")
    picture = home / "picture.png"
    begin_upscale = time.perf_counter()
    _run([inside.parent / "srgan-trt", "upscale", _PHOTO, "-o", picture], cwd=home, quiet=True, environment=environment)
    print(
        f"  {python.name}, no compiler: installed in {installed - begin:.0f} s with all it needs, in "
        f"{again - installed:.1f} s by itself; {' and '.join(probe['sets'])}; a photo in "
        f"{time.perf_counter() - begin_upscale:.1f} s",
        flush=True,
    )
    return hashlib.sha256(picture.read_bytes()).hexdigest()


def _instruction_sets() -> list[str]:
    """What the extension should say of this CPU, by what the system says of it."""
    flags = re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    fast = flags is not None and {"avx2", "fma"} <= set(flags[1].split())
    return ["avx2", "baseline"] if fast else ["baseline"]


def _pinned() -> dict[str, str]:
    """So that pip builds with the tested setuptools and pybind11; the first is the name in pip before 25.3."""
    return {"PIP_CONSTRAINT": str(_CONSTRAINTS), "PIP_BUILD_CONSTRAINT": str(_CONSTRAINTS)}


def _without_compiler(folder: Path, home: Path) -> dict[str, str]:
    """The variables of a machine that has nothing but the environment in `folder`."""
    found = [name for name in _COMPILERS if shutil.which(name, path=str(folder))]
    if found:
        sys.exit(f"{folder} holds compilers: {', '.join(found)}")
    return {"PATH": str(folder), "SRGAN_TRT_CACHE": str(home / "cache")}


def _run(
    command: list[Any], *, quiet: bool = False, cwd: Path | None = None, environment: Mapping[str, str] | None = None
) -> str:
    """Its standard output if `quiet`; what it says is shown if it fails, and this program ends."""
    mine = {
        name: value
        for name, value in os.environ.items()
        if name not in ("CC", "CXX", "CFLAGS", "CXXFLAGS", "LDFLAGS", "PYTHONPATH", "VIRTUAL_ENV")
        and not name.startswith(("SRGAN_TRT_", "ZIG_"))
    }
    words = [str(word) for word in command]
    done = subprocess.run(
        words, cwd=cwd, env=mine | dict(environment or {}), stdin=subprocess.DEVNULL, text=True, check=False,
        stdout=subprocess.PIPE if quiet else None, stderr=subprocess.STDOUT if quiet else None,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{done.stdout or ''}\nfailed: {shlex.join(words)}")
    return done.stdout or ""


def _megabytes(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.2f} MB"


def _extension_size(wheel: Path) -> str:
    with zipfile.ZipFile(wheel) as content:
        (extension,) = [entry for entry in content.infolist() if entry.filename.endswith(".so")]
    return f"{extension.file_size / 1e6:.2f} MB"


if __name__ == "__main__":
    main()
