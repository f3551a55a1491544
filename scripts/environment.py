#!/usr/bin/env python3
"""Makes .venv with this package (editable, so that edits count) and what a make target needs, pinned.

Usage: python3 scripts/environment.py [EXTRA...] [-r REQUIREMENTS]

Called again it compares content hashes and returns at once if nothing changed: a change of csrc/ or setup.py
builds the extension again, one of the pins or of pyproject.toml installs again, another Python or a moved checkout
starts afresh. With SRGAN_TRT_WERROR=1 in the environment the extension compiles without warnings, or nothing is
installed. Standard library only; parses on old Pythons, to tell their users what is missing.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
BIN = VENV / "bin"
_STATE = VENV / "installed.json"
_OLDEST = (3, 11)


def ensure(extras: list[str], requirements: list[str]) -> bool:
    """Makes .venv hold `extras` of this package and the files of `requirements`; False if it already did.

    Exits with a message where Python, its headers, or a C++ compiler are missing, or pip fails.
    """
    python, sources = _python_key(), _hash(_sources())
    state = _state()
    # Once compiled without warnings is enough.
    strict = state.get("strict", False) or os.environ.get("SRGAN_TRT_WERROR") == "1"
    if state.get("python") != python:
        state = {}
    wanted = sorted({*state.get("extras", []), *extras})
    files = sorted({*state.get("requirements", []), *requirements})
    key = {
        "python": python,
        "sources": sources,
        "strict": strict,
        "pins": _hash(_pins(files)),
        "extras": wanted,
        "requirements": files,
    }
    if state == key:
        return False
    _check_machine()
    if not state:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=True, stdin=subprocess.DEVNULL)
    # Without the note, a broken-off install is taken up again.
    _STATE.unlink(missing_ok=True)
    if state.get("sources") != sources or state.get("strict") != strict:
        _extension().unlink(missing_ok=True)
    print(f"installing into {VENV.name}: srgan-trt[{','.join(wanted)}] {' '.join(files)}".rstrip(), flush=True)
    command = [str(BIN / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["-c", "constraints.txt", "-e", f".[{','.join(wanted)}]"]
    for file in files:
        command += ["-r", file]
    # The build, too, is by the tested setuptools and pybind11; pip before 25.3 knows the first name only.
    pins = dict.fromkeys(("PIP_CONSTRAINT", "PIP_BUILD_CONSTRAINT"), str(ROOT / "constraints.txt"))
    result = subprocess.run(command, cwd=ROOT, env={**os.environ, **pins}, stdin=subprocess.DEVNULL, check=False)
    if result.returncode:
        sys.exit("pip could not install what is needed: see its message above")
    _STATE.write_text(json.dumps(key, indent=1) + "\n")
    return True


def _check_machine() -> None:
    """Exits with every piece that is missing and the Debian package that holds it."""
    wanted = []
    if importlib.util.find_spec("ensurepip") is None:
        wanted.append(("Python's venv module", "python3-venv"))
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        wanted.append(("Python's headers", "python3-dev"))
    if shutil.which(os.environ.get("CXX", "g++").split()[0]) is None:
        wanted.append(("a C++ compiler", "g++"))
    if wanted:
        what = ", ".join(piece for piece, _ in wanted)
        packages = " ".join(package for _, package in wanted)
        sys.exit(f"{sys.executable} lacks {what}. On Debian or Ubuntu: sudo apt install {packages}")


def _python_key() -> str:
    """Changes with the interpreter that .venv is made of, and with the place of the checkout."""
    return f"{sys.version} {os.path.realpath(sys.executable)} {ROOT}"


def _sources() -> list[Path]:
    return [ROOT / "setup.py", *sorted((ROOT / "csrc").glob("*.cpp")), *sorted((ROOT / "csrc").glob("*.h"))]


def _pins(requirements: list[str]) -> list[Path]:
    return [ROOT / "pyproject.toml", ROOT / "constraints.txt", *(ROOT / name for name in requirements)]


def _extension() -> Path:
    return ROOT / "srgan_trt" / f"_pixels{sysconfig.get_config_var('EXT_SUFFIX')}"


def _hash(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        content = file.read_bytes()
        digest.update(f"{file.name} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def _state() -> dict[str, Any]:
    """What the last complete run installed; empty if there is none, or the extension was deleted since."""
    if not (_STATE.is_file() and (BIN / "python").exists() and _extension().is_file()):
        return {}
    try:
        return dict(json.loads(_STATE.read_text()))
    except ValueError:
        return {}


def check_python() -> None:
    """Exits, with what to do, if this Python is too old."""
    if sys.version_info < _OLDEST:
        version = ".".join(map(str, sys.version_info[:3]))
        sys.exit(f"Python 3.11 or newer is needed, {sys.executable} is {version}: try make PYTHON=python3.11 ...")


def main() -> None:
    check_python()
    parser = argparse.ArgumentParser(description="Makes .venv with this package and what a make target needs.")
    parser.add_argument("extras", nargs="*", help="extras of pyproject.toml")
    parser.add_argument("-r", "--requirements", action="append", default=[], help="file, relative to the checkout")
    arguments = parser.parse_args()
    start = time.perf_counter()
    changed = ensure(arguments.extras, arguments.requirements)
    print(f"{VENV.name} {'made' if changed else 'is up to date'} ({time.perf_counter() - start:.1f} s)", flush=True)


if __name__ == "__main__":
    main()
