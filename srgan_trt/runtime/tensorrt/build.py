"""From a network to TensorRT's bytes.

Strongly typed: the precision of every layer is the network's own (TensorRT 11 and RTX know nothing else), and what was
really built is read back and checked. TensorRT-RTX builds without a GPU, for any that it knows; TensorRT for the one
whose context is current.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import DeviceError
from .grid import pixel_grid
from .layers import BuiltLayer, check_layers, from_inspector, from_log, unreported
from .library import Library, Messages, find_library, need_gpu

if TYPE_CHECKING:
    from ..gpu.interfaces import EngineSettings

_log = logging.getLogger(__name__)

Progress = Callable[[str, float], None]
"""Called with what TensorRT is at, in its words, and how much of the build is done (0..1), from any thread."""

PORTABLE = ((8, 0), (8, 6), (8, 9), (12, 0))
"""What TensorRT-RTX builds for where no compute capability is named: all from Ampere on, but not Turing, which would
cost the others speed (TensorRT-RTX documentation, "CPU-Only AOT")."""
_UNLISTED = ((8, 0),)
"""Of these, what NVIDIA's support matrices of TensorRT-RTX 1.0 to 1.5 do not list."""
_SMALL = 128
"""Side of the largest window that TensorRT chooses kernels for apart: those for a batch of large ones are too many
blocks at once for the GPU, or too few, where one small picture is all."""


@dataclass(frozen=True, slots=True)
class BuiltEngine:
    """What a build gives."""

    data: bytes
    """TensorRT's own serialised engine."""
    element: np.dtype[Any]
    """float16 or float32, of "input" and "output"."""
    layers: tuple[BuiltLayer, ...]
    unreported: int
    """Of how many convolutions TensorRT did not tell the type."""
    compute_capabilities: tuple[tuple[int, int], ...]
    """Of the GPUs that it runs on; empty for TensorRT, which builds for the GPU that is there."""
    timing_cache: bytes | None
    """TensorRT's measurements of kernels, to build faster the next time; None where it makes none."""
    seconds: float


def build_engine(
    network: bytes,
    settings: EngineSettings,
    *,
    library: Library | None = None,
    multiple: int = 1,
    progress: Progress | None = None,
    timing_cache: bytes | None = None,
) -> BuiltEngine:
    """Builds `network`, a serialised ONNX model with "input" (N, 3, h, w) and "output", both float16 or both float32.

    It runs on any size from `multiple` and any batch from 1 up to those of `settings`, or on the network's own.

    Args:
        settings: `precision` is what the network is in: "fp32" is checked to be nothing less (no TF32), others not to
            have become fp32.
        library: None is what is installed.
        multiple: Sides of tiles are multiples of this.
        progress: Called while it builds; if it raises, the build stops and its exception comes out.
        timing_cache: Of an earlier build; one that does not fit is not used.

    Raises DeviceError if TensorRT refuses or the precision is not as asked for, DeviceMemoryError if memory does not
    do, MissingPackageError without TensorRT.
    """
    import onnx

    library = library or find_library()
    if not library.builds_for_others:
        need_gpu(f"{library} builds engines only for the GPU that is there (--target tensorrt-rtx needs none)")
    trt = library.module
    began = time.monotonic()
    messages = Messages(library, verbose=True)
    builder = trt.Builder(messages.native)
    messages.check("start")
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    definition = builder.create_network(0 if flag is None else 1 << int(flag))
    parser = trt.OnnxParser(definition, messages.native)
    _parse(parser, network, messages)
    element = _element(trt, definition)
    for tensor in (definition.get_input(0), definition.get_output(0)):
        tensor.allowed_formats = 1 << int(trt.TensorFormat.LINEAR)  # what our kernels write and read
    config = builder.create_builder_config()
    for batch, tile in _optimised_for(library, definition, settings, multiple):
        config.add_optimization_profile(_profile(builder, definition, batch, tile, multiple))
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    # TF32 has float16's mantissa: 16-bit pictures and the second try of overflown ones want all of float32.
    config.clear_flag(trt.BuilderFlag.TF32)
    if hasattr(trt.BuilderFlag, "REQUIRE_USER_ALLOCATION"):
        # TensorRT-RTX allocates while it runs, which a CUDA graph cannot capture, unless it is told not to (release
        # notes of 1.2).
        config.set_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)
    config.max_aux_streams = 0  # a chain gains nothing from them, and its branches' memory could not be shared
    capabilities = targets(library, settings.compute_capability)
    _set_targets(library, config, capabilities)
    messages.check("take the settings of the build")
    cache = _timing_cache(library, config, timing_cache, messages)
    monitor, monitor_failure = _monitor(trt, progress)
    if monitor is not None:
        config.progress_monitor = monitor
    messages.check("take the settings of the build")
    serialised = builder.build_serialized_network(definition, config)
    if monitor_failure:
        raise monitor_failure[0]
    messages.check("build the network", failed=serialised is None)
    data = bytes(serialised)
    # The inspector of TensorRT tells all layers, and its log, whose lines no documentation promises, perhaps some.
    model = onnx.ModelProto.FromString(network)
    grid = pixel_grid(model, multiple=multiple)
    layers = _inspected(library, data, grid) or from_log(messages.lines, grid)
    check_layers(layers, model, precision=settings.precision)
    unknown = unreported(layers, model)
    if unknown:
        _log.warning("%s does not tell in which type it built %d of the network's convolutions", library, unknown)
    kept = None if cache is None else bytes(cache.serialize())
    return BuiltEngine(data, element, layers, unknown, capabilities, kept, time.monotonic() - began)


def _parse(parser: Any, network: bytes, messages: Messages) -> None:
    if parser.parse(network):
        messages.check("take the network")
        return
    said = []
    for index in range(parser.num_errors):
        error = parser.get_error(index)
        name = getattr(error, "node_name", lambda: "")() or f"node {error.node()}"
        operator = getattr(error, "node_operator", lambda: "")()
        said.append(f"{name} ({operator}): {error.desc()}" if operator else str(error.desc()))
    # The parser's own words name the node; those in the log repeat them, and what followed.
    messages.errors[:0] = said[:1]
    messages.check("take the network", failed=True)


def _element(trt: Any, definition: Any) -> np.dtype[Any]:
    tensors: dict[str, Any] = {}
    for count, get in ((definition.num_inputs, definition.get_input), (definition.num_outputs, definition.get_output)):
        tensors |= {get(index).name: get(index).dtype for index in range(count)}
    for kind, element in ((trt.float16, np.float16), (trt.float32, np.float32)):
        if tensors == {"input": kind, "output": kind}:
            return np.dtype(element)
    raise DeviceError(
        f"the network's tensors are {', '.join(f'{name} ({kind.name})' for name, kind in tensors.items())}, not input "
        "and output in one float type: build its plan again"
    )


def _optimised_for(
    library: Library, definition: Any, settings: EngineSettings, multiple: int
) -> list[tuple[int, tuple[int, int]]]:
    """The batches and tiles that the engine is optimised for, the largest first. TensorRT-RTX, which compiles for each
    shape when it comes, needs no more than one."""
    sides = tuple(definition.get_input(0).shape)
    if any(own not in (-1, asked) for own, asked in zip(sides[2:], settings.tile, strict=True)):
        raise DeviceError(
            f"the network takes tiles of {sides[3]} x {sides[2]} pixels only, not of {settings.tile[1]} x "
            f"{settings.tile[0]}: leave --tile out"
        )
    found = [(settings.batch, settings.tile)]
    height, width = (max(multiple, min(side, _SMALL) // multiple * multiple) for side in settings.tile)
    if not library.builds_for_others and -1 in sides[2:] and (1, (height, width)) != found[0]:
        found.append((1, (height, width)))
    return found


def _profile(builder: Any, definition: Any, batch: int, tile: tuple[int, int], multiple: int) -> Any:
    """Sizes from the smallest to `batch` of `tile`, which is what it is optimised for; the network's own sides where
    those are fixed."""
    sides = tuple(definition.get_input(0).shape)
    largest, smallest = (batch, 3, *tile), (1, 3, multiple, multiple)
    profile = builder.create_optimization_profile()
    low, high = (
        tuple(own if own > 0 else free for own, free in zip(sides, frees, strict=True)) for frees in (smallest, largest)
    )
    profile.set_shape("input", low, high, high)
    return profile


def targets(library: Library, wanted: tuple[int, int] | None) -> tuple[tuple[int, int], ...]:
    """The compute capabilities that an engine is built for if `wanted` is asked for, None being all that suit; empty
    for a library that builds for the GPU that is there. Raises DeviceError if it does not build for that."""
    if not library.builds_for_others:
        return ()
    known = _known(library)
    if wanted is None:
        return tuple(each for each in PORTABLE if each in known)
    if wanted not in known:
        raise DeviceError(
            f"{library} does not build for compute capability {wanted[0]}.{wanted[1]}, only for "
            f"{', '.join(f'{a}.{b}' for a, b in sorted(known))}: install tensorrt on the machine with that GPU"
        )
    return (wanted,)


def _known(library: Library) -> dict[tuple[int, int], Any]:
    """TensorRT-RTX's names of the compute capabilities that it builds for."""
    members = library.module.ComputeCapability.__members__
    return {divmod(int(name[2:]), 10): member for name, member in members.items() if name.startswith("SM")}


def _set_targets(library: Library, config: Any, capabilities: tuple[tuple[int, int], ...]) -> None:
    """Says which GPUs the engine is for."""
    if not capabilities:
        return
    if set(capabilities) <= set(_UNLISTED):
        _log.warning(
            "%s builds for A100, which NVIDIA's support matrices of it do not list: use tensorrt there", library
        )
    known = _known(library)
    config.num_compute_capabilities = len(capabilities)
    for index, target in enumerate(capabilities):
        config.set_compute_capability(known[target], index)


def _timing_cache(library: Library, config: Any, earlier: bytes | None, messages: Messages) -> Any:
    """TensorRT's timing cache, filled from an earlier one if that fits; None where there is none, as for TensorRT-RTX,
    which measures nothing."""
    if library.builds_for_others:
        return None
    for content in (earlier, b""):
        if content is None:
            continue
        cache = config.create_timing_cache(content)
        taken = cache is not None and config.set_timing_cache(cache, False)
        messages.forget()
        if taken:
            return cache
    return None


def _inspected(library: Library, data: bytes, grid: dict[str, float]) -> tuple[BuiltLayer, ...]:
    """The layers, by the engine inspector; none of TensorRT-RTX, whose engine only a GPU could load."""
    if library.builds_for_others:
        return ()
    messages = Messages(library)
    engine = library.runtime(messages).deserialize_cuda_engine(data)
    messages.check("load the engine that it built", failed=engine is None)
    inspector = engine.create_engine_inspector()
    told = inspector.get_engine_information(library.module.LayerInformationFormat.JSON)
    return from_inspector(told or "", grid)


def _monitor(trt: Any, progress: Progress | None) -> tuple[Any, list[BaseException]]:
    """An IProgressMonitor that calls `progress`, and the list that its exception goes to; or a Ctrl-C, which Python
    sees only when it is called."""
    failure: list[BaseException] = []
    if not hasattr(trt, "IProgressMonitor"):
        return None, failure
    state = BuildProgress()

    def tell(step: Callable[[], None]) -> bool:
        try:
            step()
            if progress is not None:
                progress(*state.now())
        except BaseException as error:  # comes out of build_engine: TensorRT's threads could not let it through
            failure.append(error)
        return not failure

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            tell(lambda: state.begin(name, parent, steps))

        def phase_finish(self, name: str) -> None:
            tell(lambda: state.finish(name))

        def step_complete(self, name: str, step: int) -> bool:
            return tell(lambda: state.step(name, step))

    return Monitor(), failure


class BuildProgress:
    """How far a build is, from phases that are steps of other phases; never less than it was."""

    def __init__(self) -> None:
        self._phases: dict[str, tuple[str | None, int, int]] = {}  # name: parent, steps, steps done
        self._reached = 0.0
        self._latest = ""
        self._lock = threading.Lock()

    def begin(self, name: str, parent: str | None, steps: int) -> None:
        with self._lock:
            self._phases[name] = (parent, max(1, steps), 0)
            self._latest = name

    def step(self, name: str, step: int) -> None:
        with self._lock:
            if name in self._phases:
                parent, steps, _ = self._phases[name]
                self._phases[name] = (parent, steps, min(step + 1, steps))

    def finish(self, name: str) -> None:
        with self._lock:
            parent, _, _ = self._phases.pop(name, (None, 1, 0))
            if parent is None:
                self._reached = 1.0

    def now(self) -> tuple[str, float]:
        """The phase that began last, and the part of the whole that is done."""
        with self._lock:
            tops = [name for name, (parent, _, _) in self._phases.items() if parent is None]
            if tops:
                self._reached = max(self._reached, min(1.0, self._part(tops[0])))
            return self._latest, self._reached

    def _part(self, name: str) -> float:
        _, steps, done = self._phases[name]
        inner = [self._part(child) for child, (parent, _, _) in self._phases.items() if parent == name]
        return (done + max(inner, default=0.0) * (done < steps)) / steps
