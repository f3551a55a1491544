#!/usr/bin/env python3
"""What a GPU's tiles cost: the network's work over the picture's, and how many shapes sizes of photos need.

    python -m benchmarks.gpu_windows [srresnet-photo-x4 srgan-x4 ...]

By counting: no GPU is needed. Each new shape of tiles costs TensorRT-RTX a compilation, TensorRT a graph.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from srgan_trt.resolve import open_plan
from srgan_trt.runtime.gpu.device import Gpu
from srgan_trt.runtime.gpu.scheduler import Scheduler
from srgan_trt.runtime.pipeline import Schedule

PHOTOS = (
    "480x320 640x480 800x600 1024x768 1280x720 1280x960 1600x1200 1920x1080 1080x1920 2048x1536 2560x1440 2592x1944 "
    "3000x2000 3264x2448 3840x2160 4000x3000 4032x3024 3024x4032 5184x3456 6000x4000"
).split()
"""Of cameras, phones and screens."""
SHOWN = ("480x320", "1920x1080", "1080x1920", "4032x3024")
GPU = Gpu(0, "24 GB", (8, 9), "13.0", 24 * 10**9, 128)
"""An RTX 4090."""


def schedules(model: str, sizes: Iterable[str], *, gpu: Gpu = GPU) -> dict[str, Schedule]:
    """By size, "WxH"."""
    plan = open_plan(model)
    scheduler = Scheduler(plan, gpu, largest=None, available=gpu.memory)
    options: dict[str, Any] = {
        "halo": plan.spec.default_halo,
        "dtype": np.uint8,
        "channels": 3,
        "tile": None,
        "element": 2,
    }
    found = {}
    for size in sizes:
        width, height = map(int, size.split("x"))
        found[size] = scheduler.schedule(height, width, **options)
    return found


def shapes(made: Iterable[Schedule]) -> set[tuple[int, int, int]]:
    """(tiles at once, height, width) of all runs."""
    return {(each.batch, each.tiles.tile_height, each.tiles.tile_width) for each in made}


def main(models: Sequence[str]) -> None:
    for model in models or ("srresnet-photo-x4", "srgan-x4"):
        made = schedules(model, PHOTOS)
        mean = sum(each.work for each in made.values()) / len(made)
        print(
            f"{model}: {len(shapes(made.values()))} shapes for {len(PHOTOS)} sizes, {mean:.2f} of their work on average"
        )
        for size in SHOWN:
            print(f"  {size}: {made[size]}")


if __name__ == "__main__":
    main(sys.argv[1:])
