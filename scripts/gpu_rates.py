"""How fast the pixel kernels are: their bytes a second beside those of a copy on the same GPU."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np


def kernel_rates(*, pack_side: int = 8192, unpack_side: int = 2048, repeats: int = 20) -> list[dict[str, Any]]:
    """Gigabytes a second of pack and unpack in fp16 on square pictures in tiles of 256, and their share of what a copy
    on the GPU reaches in the same run.

    Each moves 604 MB, several times the largest cache, in launches that a CUDA graph holds: neither the cache nor
    Python is what is timed. GPU memory: 0.6 GB at once.
    """
    from srgan_trt.imaging.tiles import plan_tiles
    from srgan_trt.resolve import open_plan
    from srgan_trt.runtime.gpu.device import bindings, checked, core, current, find_gpu
    from srgan_trt.runtime.gpu.kernels import BandKernels, PixelKernels
    from srgan_trt.runtime.gpu.tiling import job_table

    driver, gpu, spec = bindings(), find_gpu(0), open_plan("srgan-fast-x4").spec
    element = np.dtype(np.float16)

    def memory(stack: ExitStack, size: int, content: Any = None) -> int:
        address = int(checked(driver.cuMemAlloc(size)))
        stack.callback(driver.cuMemFree, address)
        if content is not None:
            content = np.resize(content, size // content.itemsize)  # random all over: zeros would take less power
            checked(driver.cuMemcpyHtoD(address, content.ctypes.data, content.nbytes))
        return address

    def band(stack: ExitStack, side: int, *, picture: int = 0, canvas: int = 0) -> Any:
        tiles = plan_tiles(side, side, tile=(256, 256), halo=0)
        jobs = job_table(tiles.tiles, rows=len(tiles.tiles), scale=spec.scale, top=0, keep_top=0)
        return BandKernels(
            kernels, spec, dtype=np.dtype(np.uint8), element=element, jobs=jobs, batch=len(tiles.tiles),
            tile=(tiles.tile_height, tiles.tile_width), source=(picture, (side, side, 3)),
            canvas=(canvas, (side * spec.scale, side * spec.scale, 3)),
            table=memory(stack, jobs.nbytes, jobs.view(np.uint8)), not_finite=memory(stack, 4 * len(jobs)),
        )  # fmt: skip

    def seconds(work: Callable[[], Any]) -> float:
        builder = stream.create_graph_builder()
        builder.begin_building(mode="relaxed")
        for _ in range(repeats):
            work()
        graph = builder.end_building().complete()
        options = core().EventOptions(timing_enabled=True)
        begin, end = device.create_event(options), device.create_event(options)
        times = []
        for _ in range(6):
            stream.record(begin)
            graph.launch(stream)
            stream.record(end)
            end.sync()
            times.append((end - begin) / 1e3 / repeats)
        for each in (graph, builder, begin, end):
            each.close()
        return statistics.median(times[1:])  # the first loads the code

    rng = np.random.default_rng(1)
    levels, values = rng.integers(0, 256, 1 << 20, np.uint8), rng.random(1 << 20, np.float32).astype(element)
    sizes = {"picture": 3 * pack_side**2, "canvas": 3 * (unpack_side * spec.scale) ** 2}
    found: list[dict[str, Any]] = []

    def enter(name: str, moved: int, work: Callable[[], Any]) -> None:
        found.append({"name": name, "gigabytes_per_second": round(moved / seconds(work) / 1e9, 1)})

    with current(gpu.number), ExitStack() as whole:
        device = core().Device(gpu.number)
        kernels, stream = PixelKernels(gpu), device.create_stream()
        whole.callback(kernels.close)
        whole.callback(stream.close)
        with ExitStack() as stack:
            half = 3 * sizes["canvas"] // 2
            source, to = memory(stack, half, levels), memory(stack, half)
            enter("copy on the GPU", 2 * half, lambda: checked(driver.cuMemcpyAsync(to, source, half, stream.handle)))
        with ExitStack() as stack:
            packed = memory(stack, element.itemsize * sizes["picture"])
            packing = band(stack, pack_side, picture=memory(stack, sizes["picture"], levels))
            enter("pack", 3 * sizes["picture"], lambda: packing.pack(stream, 0, packed))
        with ExitStack() as stack:
            result = memory(stack, element.itemsize * sizes["canvas"], values)
            unpacking = band(stack, unpack_side, canvas=memory(stack, sizes["canvas"]))
            enter("unpack", 3 * sizes["canvas"], lambda: unpacking.unpack(stream, 0, result))
    for entry in found:
        entry["share_of_copy"] = round(entry["gigabytes_per_second"] / found[0]["gigabytes_per_second"], 3)
    return found
