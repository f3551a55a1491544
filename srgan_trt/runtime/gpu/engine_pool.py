"""The engines that a pipeline has open, each shared by all execution contexts that need one like it."""

from __future__ import annotations

import dataclasses
import threading
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from ...errors import DeviceError
from .interfaces import Engine, EngineSettings, EngineSource

if TYPE_CHECKING:
    from ...spec import Prelu
    from .device import Gpu


@runtime_checkable
class HasDiagnostics(Protocol):
    """An engine that knows why a call of its contexts failed, because its library says so apart from the call."""

    def check(self, doing: str) -> None:
        """Raises DeviceError, DeviceMemoryError for want of memory, if the library has said anything since the last
        check; doing: what was tried, after "cannot"."""


@runtime_checkable
class KnowsShapes(Protocol):
    """An engine to which not all shapes (windows, height, width) that it takes are the same."""

    def profile(self, shape: tuple[int, int, int]) -> int | None:
        """TensorRT's optimisation profile that suits the shape best; None where the engine has one for all."""

    def first_run(self, shape: tuple[int, int, int]) -> AbstractContextManager[None]:
        """Inside, a context runs that shape for the first time, when the library may compile kernels, for seconds."""


class SharedEngine:
    """An engine and how many hold it; made by `EnginePool.take`, given back by `release`."""

    def __init__(self, engine: Engine, *, prelu: Prelu | None = None) -> None:
        """prelu: as it was asked for."""
        self.engine = engine
        self._prelu = prelu
        self.holders = 0
        self.capturable = True
        """Whether CUDA graphs of it can be made; True until one could not."""

    def suits(self, tile: tuple[int, int], batch: int, prelu: Prelu | None, exactly: bool) -> bool:
        """Whether it is what `EnginePool.take` was asked for."""
        settings = self.engine.settings
        same = not exactly or (settings.tile, settings.batch) == (tile, batch)
        return same and self._prelu == prelu and _fits(settings, tile)

    def check(self, doing: str) -> None:
        """See HasDiagnostics; does nothing where the engine has nothing to say."""
        if isinstance(self.engine, HasDiagnostics):
            self.engine.check(doing)

    def profile(self, shape: tuple[int, int, int]) -> int | None:
        """See KnowsShapes."""
        return self.engine.profile(shape) if isinstance(self.engine, KnowsShapes) else None

    def first_run(self, shape: tuple[int, int, int]) -> AbstractContextManager[None]:
        """See KnowsShapes; does nothing where the engine compiles nothing."""
        return self.engine.first_run(shape) if isinstance(self.engine, KnowsShapes) else nullcontext()


class EnginePool:
    """One open engine for each precision: the last one asked for. One that is replaced closes with its last holder."""

    def __init__(self, source: EngineSource, gpu: Gpu) -> None:
        self._source, self._gpu = source, gpu
        self._open: dict[str, SharedEngine] = {}
        self._lock = threading.Lock()

    def take(
        self, precision: str, tile: tuple[int, int], batch: int, *, prelu: Prelu | None = None, exactly: bool = False
    ) -> SharedEngine:
        """An engine for tiles of at most `tile` (height, width). One that is made is for at most `batch` of them at
        once, one that was built before may be for fewer.

        prelu: where it does PReLUs; None is the source's default. exactly: one for larger tiles, or another batch, does
        not do.

        May build one, which takes minutes; other threads wait. The GPU's context must be current. Raises DeviceError.
        """
        with self._lock:
            shared = self._open.get(precision)
            if shared is None or not shared.suits(tile, batch, prelu, exactly):
                self._drop(precision)
                capability = self._gpu.compute_capability
                settings = EngineSettings(precision=precision, tile=tile, batch=batch, compute_capability=capability)
                if prelu is not None:
                    settings = dataclasses.replace(settings, prelu=prelu)
                shared = SharedEngine(self._source.open(settings, self._gpu), prelu=prelu)
                if not _fits(shared.engine.settings, tile):
                    shared.engine.close()
                    raise DeviceError(
                        f"the engine is for {shared.engine.settings}, not for tiles of {tile[1]} x {tile[0]} pixels: "
                        "build it again"
                    )
                shared.holders = 1
                self._open[precision] = shared
            shared.holders += 1
            return shared

    def release(self, shared: SharedEngine) -> None:
        """Gives back what `take` gave."""
        with self._lock:
            self._release(shared)

    @property
    def empty(self) -> bool:
        """Whether no engine could be opened yet."""
        with self._lock:
            return not self._open

    def close(self) -> None:
        """Closes the engines that nobody holds, the others with their last holder. `take` opens new ones."""
        with self._lock, ExitStack() as stack:
            for precision in list(self._open):
                stack.callback(self._drop, precision)

    def _drop(self, precision: str) -> None:
        shared = self._open.pop(precision, None)
        if shared is not None:
            self._release(shared)

    def _release(self, shared: SharedEngine) -> None:
        shared.holders -= 1
        if shared.holders == 0:
            shared.engine.close()


def _fits(settings: EngineSettings, tile: tuple[int, int]) -> bool:
    return settings.tile[0] >= tile[0] and settings.tile[1] >= tile[1]
