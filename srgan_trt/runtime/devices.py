"""Which device runs a plan."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DeviceError, MissingPackageError, pip_command

if TYPE_CHECKING:
    from ..compiler.plan import Plan
    from .gpu.interfaces import EngineSource
    from .pipeline import Pipeline
    from .tuning import Tuning

_log = logging.getLogger(__name__)

DEVICES = "auto, cpu, cuda, cuda:1 or cuda:0,1"
"""What `open_pipeline` takes, for messages: numbers are the driver's, several share the pictures."""

_GPU = re.compile(r"(?:cuda|gpu)(?::(?P<numbers>\d+(?:,\d+)*))?")
_CPU_ONLY = ("bf16",)
"""Precisions that only the CPU's engine has."""
ENGINES = ("tensorrt", "tensorrt-rtx", "torch")
"""What runs networks on a GPU."""


def open_pipeline(
    plan: Plan,
    *,
    device: str = "auto",
    precision: str | None = None,
    engine: str | None = None,
    max_vram: int | None = None,
    threads: int | None = None,
    build_progress: Callable[[str, float], None] | None = None,
) -> Pipeline:
    """A pipeline that runs `plan`; close it, or use it in a `with` of `contextlib.closing`.

    device: "cpu"; "cuda" for the first NVIDIA GPU, "cuda:1" for another, "cuda:0,1" for several; "auto" for the first
    GPU if there is one that works, else the CPU: a GPU that is there and does not work is logged. Some show only at the
    first picture, when the engine is built, that they do not.
    precision: of the device's arithmetic: "fp32", "bf16" (CPU), "fp16" (GPU), "int8" for a plan that is in it or has a
    int8 plan that is, or None for the fastest that keeps the picture's levels.
    max_vram: bytes of each GPU's memory that may be used; None for what is free.
    threads: the most of the CPU's that compute; None for all that this process may use (see machine.py).
    engine: of `ENGINES`, what runs the network on a GPU; None for the TensorRT that is installed.
    build_progress: called while an engine is built for a GPU, with what is being done and how much is done (0..1), from
    any thread.

    Raises DeviceError if the device or the precision is not to be had, MissingPackageError for a GPU without the
    packages that it needs.
    """
    if engine not in (None, *ENGINES):
        raise DeviceError(f"there is no engine {engine!r}: use one of {', '.join(ENGINES)}")
    name = device.lower().replace(" ", "")
    if engine is not None and (plan.engine or name == "cpu"):
        raise DeviceError(f"engine {engine} runs plans and models on a GPU: leave it out, or name those")
    if match := _GPU.fullmatch(name):
        numbers = [int(number) for number in (match["numbers"] or "0").split(",")]
        return _on_gpus(plan, numbers, precision, engine, max_vram, build_progress)
    if name not in ("auto", "cpu"):
        raise DeviceError(f"there is no device {device!r}: use one of {DEVICES}")
    notes = []
    if plan.engine:
        if name == "cpu":
            raise DeviceError(
                f"{plan.path} is an engine for NVIDIA GPUs: name the plan or model that it was built from"
            )
        _check_packages()
        return _on_gpus(plan, [0], precision, engine, max_vram, build_progress)
    if name == "auto" and precision not in _CPU_ONLY and (names := nvidia_gpus()):
        from .multi_device import MultiDevicePipeline

        try:
            if engine is None:
                _check_packages()
            first = _on_gpus(plan, [0], precision, engine, max_vram, build_progress)
            return MultiDevicePipeline([first], fallback=lambda: _on_the_cpu(plan, precision, threads))
        except (DeviceError, MissingPackageError) as error:
            notes.append(f"the CPU runs this, not the {names[0]}: {error}")
            _log.warning("%s", notes[0])
    elif engine is not None:
        notes.append(f"the CPU runs this without {engine}, which is for GPUs: the driver lists none that can")
        _log.warning("%s", notes[0])
    pipeline = _on_the_cpu(plan, precision, threads)
    pipeline.info["notes"] = [*notes, *pipeline.info["notes"]]
    return pipeline


def engine_plan(path: Path, *, trust_model: bool = False) -> Plan:
    """The plan that stands for an engine file of `srgan-trt build --target`, which only GPUs run.

    trust_model: that whoever built it is trusted: an engine holds code. Raises PlanError if it is damaged, DeviceError
    if it is not trusted.
    """
    from .tensorrt.cache import EngineOnDisk

    return EngineOnDisk(path, trust_model=trust_model).plan


def build_engine_file(plan: Plan, out: Path, *, target: str, **options: Any) -> None:
    """Builds an engine of `plan` into the file `out`; see runtime.engines.from_plan.build_engine_file."""
    from .tensorrt.from_plan import build_engine_file

    build_engine_file(plan, out, target=target, **options)


def timing_blocker(
    *, target: str, compute_capability: tuple[int, int] | None = None, gpu_id: int | None = None
) -> str | None:
    """Why an engine that `build_engine_file` builds with these options cannot be timed on this machine, in words; None
    if it can. Raises what `build_engine_file` raises of these options."""
    names = nvidia_gpus()
    if not names:
        return "none is here"
    if mend := gpu_packages():
        return f"the {names[0]} here runs none until you {mend}"
    from .tensorrt.from_plan import incompatibility

    return incompatibility(target=target, compute_capability=compute_capability, gpu_id=gpu_id)


def int8_blocker(target: str) -> str | None:
    """Why `build_engine_file` builds none in int8 for this target, in words; None if it does. Raises what that raises
    of a target."""
    from .tensorrt.library import find_library

    try:
        find_library(target).check_precision("int8")
    except DeviceError as error:
        return str(error)
    return None


def describe_engine(path: Path) -> tuple[list[tuple[str, str]], str]:
    """What an engine file says of itself, as rows of label and text, and the table of its layers as they were built.

    Raises PlanError if it is not an engine, or damaged.
    """
    from .tensorrt.file import describe_engine, layer_table, read_header

    header = read_header(path)
    return list(describe_engine(header, path)), layer_table(header)


def is_engine(path: Path) -> bool:
    """Whether the file `path` is an engine."""
    from .tensorrt.file import is_engine

    return is_engine(path)


def gpu_packages() -> str | None:
    """None if a GPU can be used as far as packages go; else the pip command that mends it."""
    if find_spec("cuda") is None or find_spec("cuda.core") is None:
        return pip_command("tensorrt")
    if find_spec("tensorrt") is None and find_spec("tensorrt_rtx") is None:
        return f"{pip_command('tensorrt')}, or {pip_command('tensorrt-rtx')} for GeForce and RTX"
    return None


def cpu_facts() -> dict[str, Any]:
    """What runs plans on the CPU: name, cores, engine, capabilities (of the engine, in its words), precision (what
    8-bit pictures run in unless asked for otherwise, but for what a plan has in int8), int8 (the instructions for that,
    or None).

    Raises DeviceError if OpenVINO cannot be loaded or finds no CPU that it can use.
    """
    from .cpu.processor import choose_precision, find_cpu

    cpu = find_cpu()
    return {
        "name": cpu.name,
        "cores": cpu.cores,
        "engine": f"OpenVINO {cpu.engine.split('-')[0]}",
        "capabilities": list(cpu.capabilities),
        "precision": choose_precision(None, cpu.has_bf16)[0],
        "int8": cpu.kind,
    }


def cpu_choice(plan: Plan) -> tuple[str, tuple[str, ...]]:
    """What 8-bit pictures run in with `plan` on this machine's CPU unless asked for otherwise, and what is to be said
    about it. Raises DeviceError as `cpu_facts`."""
    from .cpu.choice import choose
    from .cpu.processor import find_cpu

    choice = choose(None, plan, find_cpu())
    return choice.narrow.name, choice.notes


def cpu_tunings(plan: Plan) -> dict[str, Tuning]:
    """What `Pipeline.tune` found for `plan` on this machine's CPU, by precision. Raises DeviceError as `cpu_facts`."""
    from .cpu.choice import Way
    from .cpu.processor import PRECISIONS, find_cpu, load_tuning

    cpu = find_cpu()
    ways = [Way(each, precision) for each in (plan, plan.int8) if each is not None for precision in PRECISIONS]
    found = ((way.name, load_tuning(way.plan, cpu, precision=way.arithmetic)) for way in ways)
    return {name: tuning for name, tuning in found if tuning is not None}


def nvidia_gpus() -> list[str] | None:
    """Names of the NVIDIA GPUs that the driver (CUDA driver API) lists; None where there is no driver.

    Needs no package of NVIDIA's.
    """
    import ctypes

    try:
        driver = ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return None
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return []
    names = []
    for number in range(count.value):
        device, name = ctypes.c_int(0), ctypes.create_string_buffer(256)
        if driver.cuDeviceGet(ctypes.byref(device), number) == 0 and driver.cuDeviceGetName(name, 256, device) == 0:
            names.append(name.value.decode("utf-8", "replace"))
    return names


def openvino_ir(network: bytes, *, fp16: bool) -> tuple[bytes, bytes]:
    """What the .xml and the .bin hold of `network`, serialised ONNX, as OpenVINO keeps networks; fp16: its weights.

    Raises DeviceError if OpenVINO cannot be loaded.
    """
    from .cpu.ir_file import openvino_ir as made

    return made(network, fp16=fp16)


def _on_the_cpu(plan: Plan, precision: str | None, threads: int | None) -> Pipeline:
    from .cpu.openvino import CpuPipeline

    return CpuPipeline(plan, precision=precision, threads=threads)


def _on_gpus(
    plan: Plan,
    numbers: list[int],
    precision: str | None,
    engine: str | None,
    max_vram: int | None,
    build_progress: Callable[[str, float], None] | None,
) -> Pipeline:
    if len(set(numbers)) != len(numbers):
        raise DeviceError(f"cuda:{','.join(map(str, numbers))} names a GPU twice: name each once")
    from .gpu.pipeline import GpuPipeline
    from .multi_device import MultiDevicePipeline
    from .tensorrt.cache import EngineCache, EngineOnDisk
    from .tensorrt.library import find_library

    if precision == "int8" and plan.int8 is not None:
        plan = plan.int8
    source: EngineSource
    if plan.engine:
        # Trust was a matter of opening it.
        source = EngineOnDisk(plan.path, trust_model=True)
        precision = precision or source.header.settings.precision
    elif engine == "torch":
        from .tensorrt.pytorch import TorchSource

        source = TorchSource(plan)
    else:
        library = None if engine is None else find_library(engine)
        source = EngineCache(plan, library=library, progress=build_progress)
    opened: list[Pipeline] = []
    try:
        for number in numbers:
            opened.append(GpuPipeline(plan, source=source, precision=precision, gpu_id=number, max_vram=max_vram))
    except BaseException:
        for pipeline in opened:
            pipeline.close()
        raise
    return opened[0] if len(opened) == 1 else MultiDevicePipeline(opened)


def _check_packages() -> None:
    if mend := gpu_packages():
        other = "; or name the engine torch (--engine torch), as PyTorch is here" if find_spec("torch") else ""
        raise MissingPackageError(f"TensorRT and cuda-core are needed to use it: {mend}{other}")
