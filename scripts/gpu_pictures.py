"""Pictures on a GPU: how far they are from the CPU's, how long they take, and what the GPU does meanwhile."""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from srgan_trt import Upscaler
from srgan_trt.cli.sample_image import photo
from srgan_trt.errors import ModelError
from srgan_trt.resolve import open_plan

SECONDS = 4.0
_MODEL = "srgan-fast-x4"
_LITTLE = 400_000_000
"""Bytes of the GPU's memory in which a picture goes through in smaller batches and bands."""


def measure(model: str, precision: str, *, sizes: tuple[tuple[int, int], ...]) -> dict[str, Any]:
    """One model on the GPU: how long it takes to open (its engine is built then), how far its picture is from the
    CPU's in fp32, and milliseconds for each size, pixels of the host in, pixels of the host out, beside the CPU's."""
    found: dict[str, Any] = {"model": model, "precision": precision}
    with tempfile.TemporaryDirectory() as folder:
        plan: str | Path = model
        if precision == "int8":
            from srgan_trt.compiler.conversion import convert_plan

            try:
                plan = convert_plan(open_plan(model), Path(folder) / "int8.onnx", precision="int8").path
            except ModelError as error:  # that int8 costs this model too much was found on the CPU: nothing failed
                return {**found, "refused": str(error)}
        return {**found, **_compared(plan, model, precision, sizes)}


def _compared(plan: str | Path, model: str, precision: str, sizes: tuple[tuple[int, int], ...]) -> dict[str, Any]:
    image, begin = photo(320, 480), time.perf_counter()
    with Upscaler(plan, device="cuda", precision=precision) as there:
        large = there(image)
        found: dict[str, Any] = {"first_seconds": round(time.perf_counter() - begin, 2), "times": []}
        found |= {"engine": there.info["engine"], "notes": there.info["notes"]}
        with Upscaler(model, device="cpu", precision="fp32") as here:
            found |= _apart(large, here(image))
        with Upscaler(model, device="cpu") as here:
            for width, height in sizes:
                picture = photo(height, width)
                gpu_ms, cpu_ms = _median_ms(lambda: there(picture)), _median_ms(lambda: here(picture))  # noqa: B023
                found["times"].append({"width": width, "height": height, "gpu_ms": gpu_ms, "cpu_ms": cpu_ms})
                found["times"][-1]["cpu_precision"] = here.info["precision"]
    return found


def agreement(engine: str, precision: str, *, model: Any = _MODEL, large: tuple[int, int] = (700, 500)) -> Any:
    """How far pictures are from onnxruntime's on the CPU in fp32, and whether they are the same when several threads
    make them at once, and when memory is short. large: width and height of those that threads make."""
    plan = open_plan(model)
    found: dict[str, Any] = {"model": str(model), "precision": precision, "pictures": []}
    with Upscaler(plan, device="cuda", engine=engine, precision=precision) as up:
        for width, height in ((1, 1), (53, 37), (410, 300)):
            image = photo(height, width)
            found["pictures"].append({"width": width, "height": height, **_apart(up(image), _reference(plan, image))})
        found["engine"] = up.info["engine"]
        images = [np.roll(photo(large[1], large[0]), 9 * shift, axis=1) for shift in range(6)]
        alone = [up(image) for image in images]
        with ThreadPoolExecutor(4) as pool:
            found["same_by_threads"] = all(map(np.array_equal, pool.map(up, images), alone))
        found["notes"] = up.info["notes"]
    with Upscaler(plan, device="cuda", engine=engine, precision=precision, max_vram=_LITTLE) as up:
        found["in_little_memory"] = _apart(up(images[0]), alone[0])
    return found


def arrays(engine: str, *, model: Any = _MODEL) -> dict[str, str]:
    """What became of an array on the GPU, by library: "the same picture", "not installed", or what went wrong."""
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # JAX would take three quarters of the GPU
    image = photo(90, 120)

    def cupy() -> Any:
        import cupy

        return cupy.asarray(image), cupy.asnumpy

    def torch() -> Any:
        import torch

        return torch.from_numpy(image).cuda(), lambda there: there.cpu().numpy()

    def jax() -> Any:
        import jax

        return jax.device_put(image), np.asarray

    found = {}
    with Upscaler(model, device="cuda", engine=engine) as up:
        here = up(image)
        for make in (cupy, torch, jax):
            try:
                there, back = make()
                large = up(there)
                same = type(large) is type(there) and np.array_equal(back(large), here)
                found[make.__name__] = "the same picture" if same else f"another picture, a {type(large).__name__}"
            except ImportError:
                found[make.__name__] = "not installed"
            except Exception as error:  # whatever one library raises, the next is tried
                found[make.__name__] = f"{type(error).__name__}: {error}"[:300]
    return found


def times(
    engine: str,
    precision: str,
    *,
    sizes: tuple[tuple[int, int], ...],
    model: Any = _MODEL,
    seconds: float = 1.0,
    to_gpu: Callable[[Any], Any] | None = None,
) -> dict[str, Any]:
    """Milliseconds of a picture for each size: from the host to the host, from an array on the GPU to one, and where as
    many threads make pictures as gain from it. to_gpu: makes that array of NumPy's; a tensor of PyTorch if not given.
    """
    found: dict[str, Any] = {"model": str(model), "precision": precision, "times": []}
    with Upscaler(model, device="cuda", engine=engine, precision=precision) as up:
        found["engine"] = up.info["engine"]
        for width, height in sizes:
            image = photo(height, width)
            there, count = (to_gpu or _tensor)(image), up.max_concurrency
            with ThreadPoolExecutor(count) as pool:
                together = _median_ms(lambda: list(pool.map(up, [image] * 2 * count)), seconds)  # noqa: B023
            found["times"].append({
                "width": width, "height": height,
                "host_ms": _median_ms(lambda: up(image), seconds),  # noqa: B023
                "gpu_ms": _median_ms(lambda: up(there), seconds),  # noqa: B023
                "together_ms": round(together / 2 / count, 3),
            })  # fmt: skip
    return found


def timeline(
    engine: str,
    precision: str,
    *,
    size: tuple[int, int] = (1920, 1080),
    model: Any = _MODEL,
    seconds: float = 1.0,
    to_gpu: Callable[[Any], Any] | None = None,
    trace: Callable[[Callable[[], Any]], list[dict[str, Any]]] | None = None,
) -> dict[str, Any]:
    """What the GPU does while pictures are made; milliseconds of a picture. trace: runs work and gives its Chrome
    trace; what CUPTI tells PyTorch's profiler if not given."""
    found: dict[str, Any] = {"model": str(model), "precision": precision, "width": size[0], "height": size[1]}
    image, found["ways"] = photo(size[1], size[0]), []
    with Upscaler(model, device="cuda", engine=engine, precision=precision) as up:
        there, count = (to_gpu or _tensor)(image), up.max_concurrency
        found["engine"] = up.info["engine"]
        with ThreadPoolExecutor(count) as pool:
            ways: list[tuple[str, int, Callable[[], Any]]] = [
                ("host to host", 1, lambda: up(image)),
                ("on the GPU", 1, lambda: up(there)),
                (f"host to host, {count} threads", 2 * count, lambda: list(pool.map(up, [image] * 2 * count))),
            ]
            for name, pictures, work in ways:
                wall = _median_ms(work, seconds) / pictures
                found["ways"].append(
                    {"way": name, "wall_ms": round(wall, 3), **time_spent(spans((trace or _profiled)(work)), pictures)}
                )
    return found


def _tensor(image: Any) -> Any:
    import torch

    return torch.from_numpy(image).cuda()


def _profiled(work: Callable[[], Any]) -> list[dict[str, Any]]:
    import torch

    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        work()
    with tempfile.TemporaryDirectory() as folder:
        profile.export_chrome_trace(str(path := Path(folder) / "trace.json"))
        found: list[dict[str, Any]] = json.loads(path.read_text("utf-8"))["traceEvents"]
    return found


_Spans = list[tuple[float, float]]


def spans(events: list[dict[str, Any]]) -> dict[str, _Spans]:
    """When the GPU did what, in milliseconds, from a Chrome trace: "network", "pixels" (our kernels), "up", "down" and
    "other" (copies on the GPU, fills)."""
    found: dict[str, _Spans] = {kind: [] for kind in ("network", "pixels", "up", "down", "other")}
    for event in events:
        category, name = event.get("cat"), event.get("name", "")
        if category == "kernel":
            kind = "pixels" if name.startswith(("pack_", "unpack_")) else "network"
        elif category in ("gpu_memcpy", "gpu_memset"):
            kind = "up" if "HtoD" in name else "down" if "DtoH" in name else "other"
        else:
            continue
        found[kind].append((event["ts"] / 1e3, (event["ts"] + event["dur"]) / 1e3))
    return found


def time_spent(found: dict[str, _Spans], pictures: int) -> dict[str, float]:
    """Milliseconds of a picture in which the GPU did each, from its first work to its last, in which it did nothing;
    and the share of the copies' time in which kernels ran, too. Raises ValueError if it did nothing at all."""
    everything = _union([each for kind in found.values() for each in kind])
    if not everything:
        raise ValueError("the profiler saw no work on the GPU")
    kernels, copies = _union(found["network"] + found["pixels"]), _union(found["up"] + found["down"])
    whole = everything[-1][1] - everything[0][0]
    lengths = {kind: _length(_union(each)) for kind, each in found.items()}
    lengths |= {"span": whole, "idle": whole - _length(everything)}
    both = _length(kernels) + _length(copies) - _length(_union(kernels + copies))
    shares = {"copies_overlapped": round(both / _length(copies), 3)} if copies else {}
    return {f"{kind}_ms": round(length / pictures, 3) for kind, length in lengths.items()} | shares


def _union(several: _Spans) -> _Spans:
    joined: _Spans = []
    for begin, end in sorted(several):
        if joined and begin <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((begin, end))
    return joined


def _length(several: _Spans) -> float:
    return sum(end - begin for begin, end in several)


def _reference(plan: Any, image: Any) -> Any:
    """The whole picture by onnxruntime in fp32, and the CPU's pixel kernels."""
    import onnx

    from srgan_trt import pixels
    from srgan_trt.compiler.reference import ReferenceRunner

    spec, (height, width, _) = plan.spec, image.shape
    (low, high), (out_low, out_high) = spec.input_range, spec.output_range
    small = np.empty((3, height, width), np.float32)
    pixels.pack(image, small, y=0, x=0, scale=(high - low) / 255, bias=low)
    (result,) = ReferenceRunner(onnx.load(str(plan.path)))(small[None])
    large = np.empty((height * spec.scale, width * spec.scale, 3), np.uint8)
    scale, out = 255 / (out_high - out_low), dict(zip(("height", "width"), large.shape[:2], strict=True))
    pixels.unpack(
        result, large, shuffle=spec.shuffle, scale=scale, bias=-out_low * scale, top=0, left=0, y=0, x=0, **out
    )
    return large


def _apart(one: Any, other: Any) -> dict[str, Any]:
    """{"psnr_db", "levels"}: None dB where they are the same."""
    apart = one.astype(np.float64) - other
    error = float(np.mean(apart**2))
    decibels = None if error == 0 else round(float(10 * np.log10(255**2 / error)), 2)
    return {"psnr_db": decibels, "levels": int(np.abs(apart).max())}


def _median_ms(work: Callable[[], Any], seconds: float | None = None) -> float:
    work()
    found: list[float] = []
    while len(found) < 3 or (sum(found) < (SECONDS if seconds is None else seconds) and len(found) < 200):
        begin = time.perf_counter()
        work()
        found.append(time.perf_counter() - begin)
    return round(statistics.median(found) * 1e3, 3)
