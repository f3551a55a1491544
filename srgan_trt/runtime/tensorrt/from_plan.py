"""From a plan to an engine with its header, and to an engine file."""

from __future__ import annotations

import hashlib
import logging
import math
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from ...compiler.live_memory import network_memory
from ...errors import DeviceError, ModelError, PlanError
from ..gpu.device import core, current, find_gpu
from ..gpu.interfaces import EngineSettings
from ..gpu.tiling import batch_size, largest_engine
from .build import Progress, build_engine, targets
from .driver import driver_version
from .file import EngineHeader, is_engine, write_engine
from .library import Library, find_library
from .timings import keep_timings, known_timings

if TYPE_CHECKING:
    from ...compiler.fp16 import Float32Layer
    from ...compiler.plan import Plan
    from ...spec import Prelu
    from ..gpu.device import Gpu

_log = logging.getLogger(__name__)

PRECISIONS = ("fp32", "fp16", "int8")
_MULTIPROCESSORS = 64
"""Of a GPU of which nothing is known: between an RTX 3060's 28 and an RTX 4090's 128."""


def network_of(
    plan: Plan, precision: str, *, prelu: Prelu = "inside", turing: bool = False
) -> tuple[bytes, tuple[Float32Layer, ...]]:
    """The ONNX network to build in "fp32", "fp16" or, of an int8 plan, "int8"; and the layers of it that are meant to
    stay in float32. prelu: see spec.Prelu; turing: for such a GPU, which rounds its sums twice as often.

    Its ends are float16 in "fp16" and, if float16 does for what int8 leaves, in "int8"; else float32. Raises PlanError
    if the plan has no such network, ModelError if float16 does not do for it.
    """
    if precision not in PRECISIONS:
        raise DeviceError(f"a GPU computes in {', '.join(PRECISIONS)}, not in {precision!r}: use one of them")
    if (precision == "int8") != (plan.spec.precision == "int8"):
        raise PlanError(
            f"{plan.path} is a plan in {plan.spec.precision}, an engine in {precision} was asked for: name another plan"
        )
    if precision == "fp16":
        from ...compiler.fp16 import fp16_network
        from ...compiler.half_sums import CHUNK, TURING_CHUNK

        half = fp16_network(plan, prelu=prelu, chunk=TURING_CHUNK if turing else CHUNK)
        _log.info(
            "%s in fp16: %.1f dB from its fp32 pictures, %.1f dB where sums are in fp16, too",
            plan.spec.name, half.fidelity, half.half_sums,
        )  # fmt: skip
        return half.data, half.float32
    if precision == "int8":
        from ...compiler.int8.fp16_rest import with_fp16_activations

        try:
            return with_fp16_activations(plan), ()
        except ModelError as error:
            _log.warning("the layers that are not in int8 stay in fp32: %s", error)
        return plan.network(), ()
    from ...compiler import graph
    from ...compiler.slopes import single_network

    data: bytes = graph.to_proto(single_network(plan, prelu)).SerializeToString()
    return data, ()


def is_turing(capability: tuple[int, int] | None) -> bool:
    """Whether it is a Turing GPU's (or a Volta's); None, for all from Ampere on, is not."""
    return capability is not None and capability < (8, 0)


def assemble_engine(
    plan: Plan,
    settings: EngineSettings,
    *,
    library: Library,
    gpu: Gpu | None,
    network: tuple[bytes, tuple[Float32Layer, ...]] | None = None,
    progress: Progress | None = None,
) -> tuple[EngineHeader, bytes]:
    """Builds an engine of `plan`; returns its header and TensorRT's bytes. What TensorRT measures is kept for its next
    build on this GPU.

    gpu: whose context is current, None where there is none. network: what `network_of` gave, None to ask it.
    Raises what `network_of` and `build_engine` raise.
    """
    data, float32 = network or network_of(
        plan, settings.precision, prelu=settings.prelu, turing=is_turing(settings.compute_capability)
    )
    earlier = None if gpu is None or library.builds_for_others else known_timings(library, gpu)
    built = build_engine(
        data,
        settings,
        library=library,
        multiple=plan.spec.multiple,
        progress=progress,
        timing_cache=earlier,
    )
    if gpu is not None and built.timing_cache is not None and built.timing_cache != earlier:
        keep_timings(library, gpu, built.timing_cache)
    here = () if gpu is None else (gpu.compute_capability,)
    header = EngineHeader(
        spec=plan.spec,
        plan_hash=plan.body_hash,
        flavour=library.flavour,
        library=library.version,
        compute_capabilities=built.compute_capabilities or here,
        gpu=None if gpu is None else gpu.name,
        cuda=None if gpu is None else gpu.driver,
        driver=None if gpu is None else driver_version(),
        settings=settings,
        element=built.element.name,
        layers=built.layers,
        unreported=built.unreported,
        float32=float32,
        engine_bytes=len(built.data),
        engine_sha256=hashlib.sha256(built.data).hexdigest(),
        self_test=plan.self_test,
    )
    return header, built.data


def build_engine_file(
    plan: Plan,
    out: str | Path,
    *,
    target: str,
    precision: str | None = None,
    tile: int | None = None,
    batch: int | None = None,
    compute_capability: tuple[int, int] | None = None,
    prelu: Prelu = "inside",
    gpu_id: int | None = None,
    progress: Progress | None = None,
) -> EngineHeader:
    """Builds an engine of `plan` into the file `out`, which is written whole or not at all; returns its header.

    Args:
        target: "tensorrt-rtx", which needs no GPU, or "tensorrt", which builds on the GPU that it builds for.
        precision: "fp32" or "fp16"; None is fp16, and int8 for an int8 plan.
        tile: Side of the largest tile, in input pixels; None is what suits the network.
        batch: The most tiles at once; None is what suits the GPU.
        compute_capability: Of the GPU to build for, (8, 9); None is that of the GPU `gpu_id`.
        gpu_id: Of this machine's GPUs the one to build for, as CUDA counts; None is the first for "tensorrt", and all
            from Ampere on, wherever they are, for "tensorrt-rtx".
        prelu: See spec.Prelu.
        progress: See build.Progress.

    Raises PlanError if `out` cannot be written or the plan has no such network, DeviceError if it cannot be built so,
    MissingPackageError without the package `target`.
    """
    from ...compiler.plan import check_target

    out = Path(out)
    library = find_library(target)
    check_target(out, source=plan.path, kind="engine", is_ours=is_engine)
    precision = precision or ("int8" if plan.spec.precision == "int8" else "fp16")
    library.check_precision(precision)
    if batch is not None and batch < 1:
        raise DeviceError(f"a batch of {batch} is none: use --batch 1 or more")
    named = _named(library, gpu_id, compute_capability)
    gpu = None if library.builds_for_others else named
    size = _tile(plan, tile, memory=math.inf if named is None else named.memory)
    settings = EngineSettings(
        precision=precision,
        tile=size,
        batch=batch or batch_size(size[0] * size[1], _MULTIPROCESSORS if named is None else named.multiprocessors),
        compute_capability=compute_capability if named is None else named.compute_capability,
        prelu=prelu,
    )
    with nullcontext() if gpu is None else current(core().Device(gpu.number)):
        header, data = assemble_engine(plan, settings, library=library, gpu=gpu, progress=progress)
    write_engine(out, header, data)
    return header


def incompatibility(
    *, target: str, compute_capability: tuple[int, int] | None = None, gpu_id: int | None = None
) -> str | None:
    """Why an engine that `build_engine_file` builds with these options does not run on this machine's GPU `gpu_id`
    (None: the first), in words; None if it does. Raises what `build_engine_file` raises of these options."""
    library = find_library(target)
    here = _named(library, gpu_id, compute_capability) or find_gpu(0)
    built_for = targets(library, compute_capability if gpu_id is None else here.compute_capability)
    if not built_for or here.compute_capability in built_for:
        return None
    *most, last = (f"{major}.{minor}" for major, minor in built_for)
    others = f"{', '.join(most)} or {last}" if most else last
    return f"the {here.name} here has {'.'.join(map(str, here.compute_capability))}, not {others}"


def _named(library: Library, gpu_id: int | None, compute_capability: tuple[int, int] | None) -> Gpu | None:
    """The GPU of this machine to build for; None if none of them is meant. Raises DeviceError if it is not there, or
    has another compute capability than is asked for."""
    if gpu_id is None and library.builds_for_others:
        return None
    gpu = find_gpu(gpu_id or 0)
    if compute_capability in (None, gpu.compute_capability):
        return gpu
    capability = ".".join(map(str, gpu.compute_capability))
    if library.builds_for_others:
        raise DeviceError(
            f"GPU {gpu_id} ({gpu.name}) has compute capability {capability}: leave --gpu-id or --compute-capability out"
        )
    raise DeviceError(
        f"{library} builds for the GPU that is there, a {gpu.name} of compute capability {capability}: leave "
        "--compute-capability out, or use --target tensorrt-rtx"
    )


def _tile(plan: Plan, side: int | None, *, memory: float) -> tuple[int, int]:
    spec = plan.spec
    if spec.fixed_shape is not None:
        if side is not None and spec.fixed_shape != (side, side):
            height, width = spec.fixed_shape
            raise DeviceError(f"{spec.name} takes tiles of {width} x {height} pixels only: leave --tile out")
        return spec.fixed_shape
    multiple = spec.multiple
    if side is None:
        side = -(-largest_engine(spec, network_memory(plan), memory=memory) // multiple) * multiple
    if side < 1 or side % multiple:
        raise DeviceError(f"tiles of {spec.name} are multiples of {multiple} pixels: use another --tile than {side}")
    return side, side
