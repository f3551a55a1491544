"""The pixel kernels' time against the network's own: what it costs to get pictures in and out."""

from __future__ import annotations

from typing import Any

import numpy as np
from exported_baselines import compiled
from numpy.typing import NDArray
from timing import interleaved, summary

from srgan_trt import pixels
from srgan_trt.compiler.plan import Plan


def measure(plan: Plan, image: NDArray[np.uint8], *, precision: str, rounds: int, budget: float) -> dict[str, Any]:
    """Pack and unpack of the whole picture on one core, and the plan's network on all cores, on the same arrays."""
    spec = plan.spec
    height, width, _ = image.shape
    network = compiled(plan.path, precision)
    tensor = np.empty((1, 3, height, width), np.float32)
    out = np.empty((height * spec.scale, width * spec.scale, 3), np.uint8)
    (low, high), (out_low, out_high) = spec.input_range, spec.output_range
    result: NDArray[np.float32] = np.empty(0, np.float32)

    def pack() -> None:
        pixels.pack(image, tensor[0], y=0, x=0, scale=(high - low) / 255, bias=low)

    def infer() -> None:
        nonlocal result
        result = network(tensor)[0]

    def unpack() -> None:
        gain = 255 / (out_high - out_low)
        pixels.unpack(
            result[0], out, shuffle=spec.shuffle, top=0, left=0, y=0, x=0,
            height=out.shape[0], width=out.shape[1], scale=gain, bias=-out_low * gain,
        )  # fmt: skip

    jobs = (pack, infer, unpack)
    for job in jobs:
        job()
    names = ("pack", "network", "unpack")
    times = interleaved(jobs, rounds=rounds, budget=budget)
    found: dict[str, Any] = {name: summary(seconds) for name, seconds in zip(names, times, strict=True)}
    ours = found["pack"]["median_ms"] + found["unpack"]["median_ms"]
    return {"precision": precision, "share_of_network": round(ours / found["network"]["median_ms"], 4), **found}
