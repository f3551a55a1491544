"""How long a user waits before anything is computed: importing the package, and one small photo by command line."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from PIL import Image
from timing import summary, timed

_IMPORT = "import time; t = time.perf_counter(); import srgan_trt; print(time.perf_counter() - t)"


def measure(photo: Image.Image, model: Path, folder: Path, *, runs: int = 5) -> dict[str, Any]:
    """`import srgan_trt` in a fresh interpreter (imports alone, and with the interpreter's own start), and
    `srgan-trt upscale` of a 64x64 photo, its plan and compiled network in the cache. Wall times of processes.
    """
    environment = {**os.environ, "SRGAN_TRT_CACHE": str(folder / "start-up-cache")}
    small = folder / "small.png"
    photo.resize((64, 64)).save(small)
    program = Path(sysconfig.get_path("scripts")) / "srgan-trt"
    upscale = [str(program), "upscale", str(small), "--model", str(model), "-o", str(folder / "large.png")]

    def run(command: list[str]) -> str:
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout

    run([*upscale, "--overwrite"])
    imports, interpreters, upscales = [], [], []
    for _ in range(runs):
        seconds, printed = timed(lambda: run([sys.executable, "-c", _IMPORT]))
        interpreters.append(seconds)
        imports.append(float(printed))
        upscales.append(timed(lambda: run([*upscale, "--overwrite"]))[0])
    return {
        "import srgan_trt": summary(imports),
        "python -c 'import srgan_trt'": summary(interpreters),
        "srgan-trt upscale small.png": summary(upscales),
    }
