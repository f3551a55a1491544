"""How the CPU runtime's choices were measured: shapes, streams, tile sizes, start and memory.

    python benchmarks/cpu_tiles.py [paper|seed] [--precision bf16|fp32] [--seconds 1.0]

Rates are in thousands of input pixels a second, halo not discounted: the network alone, without pack and
unpack, but for the last table. Takes about half a minute on two cores; close other programs.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import networks
import numpy as np
import openvino

from srgan_trt.compiler.plan import Plan
from srgan_trt.machine import usable_cores
from srgan_trt.runtime.cpu.openvino import CpuPipeline

SHAPES = ((64, 64), (96, 96), (128, 128), (192, 192), (320, 260), (320, 480))
PICTURES = ((64, 64), (320, 480), (720, 960))


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


def settings(precision: str, streams: int, *, pinned: bool = False) -> dict[str, Any]:
    hint = {"fp32": "f32", "bf16": "bf16"}[precision]
    return {
        "NUM_STREAMS": streams,
        "INFERENCE_NUM_THREADS": usable_cores(),
        "INFERENCE_PRECISION_HINT": hint,
        "ENABLE_CPU_PINNING": pinned,
    }


def rate(compiled: openvino.CompiledModel, shape: tuple[int, int], streams: int, seconds: float) -> tuple[float, float]:
    """(first run in seconds, thousands of pixels a second) with one busy thread per stream."""
    requests = [compiled.create_infer_request() for _ in range(streams)]
    for request in requests:
        request.set_input_tensor(openvino.Tensor(np.random.default_rng(0).random((1, 3, *shape), np.float32)))
    first, _ = timed(requests[0].infer)
    runs = [0] * streams
    for request in requests:
        request.infer()
    end = time.perf_counter() + seconds

    def work(i: int) -> None:
        while time.perf_counter() < end:
            requests[i].infer()
            runs[i] += 1

    threads = [threading.Thread(target=work, args=(i,)) for i in range(streams)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return first, sum(runs) * shape[0] * shape[1] / (time.perf_counter() - started) / 1e3


def compare_shapes(plan: Plan, precision: str, seconds: float) -> None:
    core, cores = openvino.Core(), usable_cores()
    print("\n| tile | streams | free size: compile, first, rate | one shape: compile, first, rate | pinned: rate |")
    print("|---|---|---|---|---|")
    for streams in dict.fromkeys((1, cores)):
        compiling, free = timed(lambda: core.compile_model(str(plan.path), "CPU", settings(precision, streams)))  # noqa: B023
        pinned = core.compile_model(str(plan.path), "CPU", settings(precision, streams, pinned=True))
        for shape in SHAPES:
            model = core.read_model(str(plan.path))
            model.reshape([1, 3, *shape])
            compiling_fixed, fixed = timed(lambda: core.compile_model(model, "CPU", settings(precision, streams)))  # noqa: B023
            cells = []
            for seconds_to_compile, compiled in ((compiling, free), (compiling_fixed, fixed)):
                first, pixels = rate(compiled, shape, streams, seconds)
                cells.append(f"{seconds_to_compile * 1e3:.0f} ms, {first * 1e3:.0f} ms, {pixels:.0f}")
            cells.append(f"{rate(pinned, shape, streams, seconds)[1]:.0f}")
            print(f"| {shape[1]}x{shape[0]} | {streams} | {' | '.join(cells)} |", flush=True)


def compare_pictures(plan: Plan, precision: str) -> None:
    os.environ["SRGAN_TRT_CACHE"] = str(plan.path.parent / "cache")
    first, pipeline = timed(lambda: CpuPipeline(plan, precision=precision))
    pipeline.close()
    again, pipeline = timed(lambda: CpuPipeline(plan, precision=precision))
    print(f"\nopening: {first * 1e3:.0f} ms, again from the cache: {again * 1e3:.0f} ms")
    print("\n| picture | tiles | streams | uint8 in to uint8 out | thousand pixels/s | peak memory |")
    print("|---|---|---|---|---|---|")
    for height, width in PICTURES:
        image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
        out = np.zeros((height * 4, width * 4, 3), np.uint8)
        schedule = pipeline.schedule(height, width, halo=plan.spec.default_halo, dtype=image.dtype)
        tiles = schedule.tiles
        seconds = min(timed(lambda: pipeline.run(image, out, schedule))[0] for _ in range(2))  # noqa: B023
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(
            f"| {width}x{height} | {len(tiles.tiles)} of {tiles.tile_width}x{tiles.tile_height} "
            f"| {pipeline.info['streams']} | {seconds * 1e3:.0f} ms | {height * width / seconds / 1e3:.0f} "
            f"| {peak:.2f} GB |",
            flush=True,
        )
    pipeline.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", nargs="?", default="paper", choices=("paper", "seed"))
    parser.add_argument("--precision", default="bf16", choices=("bf16", "fp32"))
    parser.add_argument("--seconds", type=float, default=0.5, help="of each measurement")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        plan = getattr(networks, options.network)(Path(folder) / "plan.onnx")
        name = openvino.Core().get_property("CPU", "FULL_DEVICE_NAME")
        print(f"{options.network}, {options.precision}, {usable_cores()} cores, {name}")
        compare_pictures(plan, options.precision)
        compare_shapes(plan, options.precision, options.seconds)


if __name__ == "__main__":
    main()
