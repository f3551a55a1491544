"""Times the pixel kernels: one thread, in memory, best and median of several runs.

    python benchmarks/kernels.py [--repeat N] [--json FILE]

A 480x320 picture, x4, in one piece (1920x1280 out, too large for the caches), and one 96x96 tile of it, as the
runtime runs them. `network` is what the rest takes at least: 5.1 ms for a 64x64 tile of the paper's generator in int8
(two cores with AMX), the fastest network measured, scaled to the area.

Measured on two cores of an AMD EPYC (family 26), g++ 12, AVX2, uint8 RGB, the network ending in a shuffle by 2:
whole picture pack 0.04 ms + unpack 2.6 ms; tile pack 0.004 ms + unpack 0.10 ms: 1 to 1.5 % of the network. Without AVX2
(what remains is fmaf of the C library): 1.1 + 23 ms, and without FMA in the CPU 10 + 200 ms, where the network takes
many seconds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srgan_trt import _pixels, _pixels_numpy

SETS = {name: module for module in (_pixels, _pixels_numpy) for name in module.instruction_sets()}
"""The extension's, the fastest first, and what installations without it have."""
SCALE = 4
SIZES = {"tile 96x96": (96, 96), "picture 480x320": (320, 480)}
FASTEST_NETWORK_MS_PER_PIXEL = 5.1 / (64 * 64)


def milliseconds(work: Callable[[], object], repeat: int) -> tuple[float, float]:
    """Best and median time of `repeat` calls."""
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        work()
        times.append((time.perf_counter() - start) * 1e3)
    return min(times), statistics.median(times)


def measure(
    height: int,
    width: int,
    dtype: type[np.uint8] | type[np.uint16],
    channels: int,
    shuffle: int,
    instruction_set: str,
    repeat: int,
) -> dict[str, float]:
    kernels = SETS[instruction_set]
    rng = np.random.default_rng(0)
    highest = np.iinfo(dtype).max
    image: NDArray[Any] = rng.integers(0, highest, (height, width, channels), dtype, endpoint=True)
    tensor_in = np.empty((3, height, width), np.float32)
    out_height, out_width = height * SCALE, width * SCALE
    tensor_out = rng.normal(0, 0.5, (3 * shuffle**2, out_height // shuffle, out_width // shuffle)).astype(np.float32)
    out: NDArray[Any] = np.zeros((out_height, out_width, channels), dtype)
    pack = milliseconds(
        lambda: kernels.pack(image, tensor_in, y=0, x=0, scale=2 / highest, bias=-1, instruction_set=instruction_set),
        repeat,
    )
    unpack = milliseconds(
        lambda: kernels.unpack(
            tensor_out,
            out,
            shuffle=shuffle,
            top=0,
            left=0,
            y=0,
            x=0,
            height=out_height,
            width=out_width,
            scale=highest / 2,
            bias=highest / 2,
            instruction_set=instruction_set,
        ),
        repeat,
    )
    network = FASTEST_NETWORK_MS_PER_PIXEL * height * width
    return {
        "pack": pack[0],
        "pack_median": pack[1],
        "unpack": unpack[0],
        "unpack_median": unpack[1],
        "share_of_network": (pack[1] + unpack[1]) / network,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=9, help="runs of each kernel (default 9)")
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    options = parser.parse_args()
    rows = []
    print(
        f"{'':16} {'levels':7} {'colours':>7} {'shuffle':>7} {'set':9} {'pack ms':>8} {'unpack ms':>9} "
        f"{'of network':>10}"
    )
    for label, (height, width) in SIZES.items():
        for dtype in (np.uint8, np.uint16):
            for channels in (3, 1):
                for shuffle in (1, 2, 4):
                    for instruction_set in SETS:
                        row = measure(height, width, dtype, channels, shuffle, instruction_set, options.repeat)
                        names = (label, dtype.__name__, channels, shuffle, instruction_set)
                        # The network's time is of a CPU with AMX, which never runs the slower sets.
                        fastest = instruction_set == next(iter(SETS))
                        share = f"{row['share_of_network']:10.1%}" if fastest else f"{'-':>10}"
                        print(
                            f"{label:16} {dtype.__name__:7} {channels:7} {shuffle:7} {instruction_set:9} "
                            f"{row['pack']:8.3f} {row['unpack']:9.3f} {share}"
                        )
                        keys = ("size", "levels", "channels", "shuffle", "instruction_set")
                        rows.append(dict(zip(keys, names, strict=True)) | row)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
