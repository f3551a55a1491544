"""An engine whose network onnxruntime runs, in stream order, on the addresses that it was given.

Device memory of the stand-in driver is host memory, so a host function on the stream can read and write it: that is
what `execute_async_v3` puts there, and what a CUDA graph captures. What TensorRT would refuse or get wrong is refused,
or noted in `Script.violations`, which a test asserts to be empty.
"""

from __future__ import annotations

import ctypes
import dataclasses
import math
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from srgan_trt.errors import DeviceError, SrganTrtError
from srgan_trt.runtime.gpu.device import Gpu, bindings
from srgan_trt.runtime.gpu.interfaces import EngineSettings
from srgan_trt.runtime.tensorrt.library import Library, Messages
from srgan_trt.spec import Prelu

_ALIGNMENT = 256
_HOST_FUNCTION = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_KEPT: list[Any] = []
"""Host functions must outlive the graphs that hold them; the process is short."""
_LOCK = threading.Lock()


class _Logger:
    def __init__(self) -> None: ...


_LIBRARY = Library("tensorrt-rtx", "double", SimpleNamespace(ILogger=_Logger))


@dataclass
class Script:
    """What is to go wrong, and what did."""

    nan: frozenset[int] = frozenset()
    """Runs of fp16 networks, counted from 0, whose first window comes out with a NaN and an infinity."""
    refuse: frozenset[int] = frozenset()
    """Calls of execute_async_v3, counted from 0, that return False."""
    contextless: bool = False
    """create_execution_context returns None."""
    says: str = ""
    """What is logged where a call is refused or returns None; "" is nothing."""
    uncapturable: bool = False
    """execute_async_v3 returns False during a capture."""
    seconds: float = 0.0
    """That a run takes at least."""
    absent: dict[str, SrganTrtError] = field(default_factory=dict)
    """Precisions that there is no engine in, and the error."""
    context_bytes: int = 4096
    """Device memory of a context for each 4096 pixels in a batch."""
    violations: list[str] = field(default_factory=list)
    opened: list[EngineSettings] = field(default_factory=list)
    shapes: list[tuple[int, ...]] = field(default_factory=list)
    """Of each run's input."""
    small: tuple[int, int, int] | None = None
    """Windows, height and width that the engine's second profile takes at most; None if it has one."""
    profiles: list[tuple[int, tuple[int, ...]]] = field(default_factory=list)
    """The profile and shape of each context that was told one."""
    first: list[tuple[int, ...]] = field(default_factory=list)
    """Windows, height and width of what was told to run for the first time."""
    captures: int = 0
    engines: int = 0
    """That are open."""
    contexts: int = 0
    """That are alive."""
    most_contexts: int = 0
    """That ever were."""
    at_work: set[int] = field(default_factory=set)
    """Memory of the contexts that run."""
    enqueued: int = 0
    fp16_runs: int = 0


class SourceDouble:
    """An `EngineSource` of one plan; fp16 is computed in float32 and rounded at both ends.

    largest_tile: of an engine file, which has no other tiles.
    """

    def __init__(
        self,
        plan: Path,
        script: Script | None = None,
        *,
        fixed_shape: tuple[int, int] | None = None,
        largest_tile: tuple[int, int] | None = None,
    ) -> None:
        self.script = Script() if script is None else script
        self.largest_tile = largest_tile
        self.fixed_shape = fixed_shape
        self._plan = plan
        self._session: Any = None
        self.name = "onnxruntime in TensorRT's place"

    def prelus(self, precision: str) -> tuple[Prelu, ...]:
        return ("inside", "apart") if self.largest_tile is None else ("inside",)

    def open(self, settings: EngineSettings, gpu: Gpu) -> EngineDouble:
        if settings.precision in self.script.absent:
            raise self.script.absent[settings.precision]
        if self.largest_tile is not None:
            # As EngineOnDisk: there is one engine, which is as it is.
            if any(asked > own for asked, own in zip(settings.tile, self.largest_tile, strict=True)):
                raise DeviceError(f"the engine takes tiles of at most {self.largest_tile}, not {settings.tile}")
            settings = dataclasses.replace(settings, tile=self.largest_tile)
        self.script.opened.append(settings)
        return EngineDouble(settings, self.session(), self.script, self.fixed_shape)

    def session(self) -> Any:
        """onnxruntime's, opened once."""
        if self._session is None:
            import onnxruntime

            options = onnxruntime.SessionOptions()
            # The session must have no threads of its own, or a process that holds it cannot be forked.
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            self._session = onnxruntime.InferenceSession(str(self._plan), options, providers=["CPUExecutionProvider"])
        return self._session


class EngineDouble:
    """An `Engine`."""

    def __init__(
        self, settings: EngineSettings, session: Any, script: Script, fixed_shape: tuple[int, int] | None
    ) -> None:
        self.settings = settings
        self.element = np.dtype(np.float32 if settings.precision == "fp32" else np.float16)
        self.device_bytes = max(1, script.context_bytes * settings.batch * math.prod(settings.tile) // 4096)
        self._session, self._script, self._fixed_shape = session, script, fixed_shape
        self._alive = 0
        self._messages = Messages(_LIBRARY)
        script.engines += 1

    def create_execution_context(self) -> ContextDouble | None:
        if self._script.contextless:
            self._say()
            return None
        return ContextDouble(self, self._session, self._script, self._fixed_shape)

    def check(self, doing: str) -> None:
        self._messages.check(doing)

    def profile(self, shape: tuple[int, int, int]) -> int | None:
        small = self._script.small
        return None if small is None else int(all(side <= most for side, most in zip(shape, small, strict=True)))

    @contextmanager
    def first_run(self, shape: tuple[int, int, int]) -> Iterator[None]:
        self._script.first.append(shape)
        yield

    def _say(self) -> None:
        if self._script.says:
            self._messages._take("ERROR", self._script.says)

    def close(self) -> None:
        if self._alive:
            self._script.violations.append("an engine was closed before its contexts")
        self._script.engines -= 1


class ContextDouble:
    """An IExecutionContext: the methods of it that the pipeline calls."""

    def __init__(self, engine: EngineDouble, session: Any, script: Script, fixed_shape: tuple[int, int] | None) -> None:
        self._engine, self._session, self._script, self._fixed = engine, session, script, fixed_shape
        self._memory = 0
        self._profile = 0
        self._addresses: dict[str, int] = {}
        self._shape: tuple[int, ...] | None = None
        self._settled: tuple[int, ...] | None = None
        """Shape of the last run that was enqueued outside of a capture."""
        engine._alive += 1
        script.contexts += 1
        script.most_contexts = max(script.most_contexts, script.contexts)

    def __del__(self) -> None:
        self._engine._alive -= 1
        self._script.contexts -= 1

    def set_device_memory(self, memory: int, size: int) -> None:
        if memory % _ALIGNMENT or size < self.update_device_memory_size_for_shapes():
            self._violation(f"{size} bytes at {memory:x} are not memory for a context")
        self._memory = memory

    def update_device_memory_size_for_shapes(self) -> int:
        if self._shape is None:
            self._violation("memory was asked for before a shape was told")
            return self._engine.device_bytes
        count, _, height, width = self._shape
        return max(1, self._script.context_bytes * count * height * width // 4096)

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        """Before shapes and addresses, which it forgets."""
        if self._shape is not None or self._addresses or stream_handle == 0:
            self._violation(f"profile {profile_index} was chosen after shapes or addresses, or without a stream")
        self._profile = profile_index
        return self._script.small is not None and profile_index < 2

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        settings = self._engine.settings
        most = (settings.batch, 3, *settings.tile)
        if self._script.small is not None:
            self._script.profiles.append((self._profile, (shape[0], *shape[2:])))
            if self._profile == 1:
                most = (self._script.small[0], 3, *self._script.small[1:])
        fits = (
            name == "input" and len(shape) == 4 and all(1 <= n <= limit for n, limit in zip(shape, most, strict=True))
        )
        if not fits or shape[1] != 3 or (self._fixed is not None and tuple(shape[2:]) != self._fixed):
            return False
        self._shape = tuple(shape)
        return True

    def set_tensor_address(self, name: str, address: int) -> bool:
        if name not in ("input", "output") or address % _ALIGNMENT:
            return False
        self._addresses[name] = address
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        number, self._script.enqueued = self._script.enqueued, self._script.enqueued + 1
        shape = self._shape
        if shape is None or set(self._addresses) != {"input", "output"} or not self._memory:
            return False
        if number in self._script.refuse:
            self._engine._say()
            return False
        driver = bindings()
        status, capturing = driver.cuStreamIsCapturing(driver.CUstream(stream_handle))
        if int(status):
            return False
        if int(capturing):
            self._script.captures += 1
            if self._script.uncapturable:
                return False
            if self._settled != shape:
                self._violation(f"captured {shape} after {self._settled}, without a run in between")
        else:
            self._settled = shape
        addresses = dict(self._addresses)
        itself, script = weakref.ref(self), self._script

        def work(_: Any) -> None:
            context = itself()
            if context is None:
                script.violations.append("a context was gone before its work had run")
            else:
                context._run(shape, addresses)

        function = _HOST_FUNCTION(work)
        _KEPT.append(function)
        # Not by cuda.bindings: it wraps a host function in memory that it frees after the first call, replays or not.
        launch = ctypes.CDLL("libcuda.so.1").cuLaunchHostFunc
        return int(launch(ctypes.c_void_p(stream_handle), function, None)) == 0

    def _run(self, shape: tuple[int, ...], addresses: dict[str, int]) -> None:
        with _LOCK:
            busy = self._memory in self._script.at_work
            self._script.at_work.add(self._memory)
        if busy:
            self._violation("two runs at once in one context's memory")
            return
        try:
            self._compute(shape, addresses)
        except Exception as error:
            self._violation(f"{type(error).__name__}: {error}")
        finally:
            self._script.at_work.discard(self._memory)

    def _compute(self, shape: tuple[int, ...], addresses: dict[str, int]) -> None:
        script, element = self._script, self._engine.element
        time.sleep(script.seconds)
        script.shapes.append(shape)
        if self._shape != shape:
            self._violation(f"a graph of {shape} ran when the context had {self._shape}")
        (result,) = self._session.run(None, {"input": _array(addresses["input"], shape, element).astype(np.float32)})
        with np.errstate(over="ignore"):
            rounded = result.astype(element)
        if element == np.float16:
            number, script.fp16_runs = script.fp16_runs, script.fp16_runs + 1
            if number in script.nan:
                rounded[0, 0, rounded.shape[2] // 2, rounded.shape[3] // 2] = np.nan
                rounded[0, -1, rounded.shape[2] // 2, rounded.shape[3] // 2] = np.inf
        _array(addresses["output"], rounded.shape, element)[...] = rounded

    def _violation(self, what: str) -> None:
        self._script.violations.append(what)


def _array(address: int, shape: tuple[int, ...], element: np.dtype[Any]) -> np.ndarray:
    size = int(np.prod(shape)) * element.itemsize
    return np.frombuffer((ctypes.c_ubyte * size).from_address(address), element).reshape(shape)
