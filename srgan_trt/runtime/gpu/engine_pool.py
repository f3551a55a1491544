"""The engines that a pipeline has open, each shared by all execution contexts that need one like it."""

from __future__ import annotations

import logging
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from ...errors import DeviceError
from .interfaces import Engine, EngineSettings, EngineSource

if TYPE_CHECKING:
    from .device import Gpu

_log = logging.getLogger(__name__)


@runtime_checkable
class HasDiagnostics(Protocol):
    """An engine that knows why a call of its contexts failed, because its library says so apart from the call."""

    def check(self, doing: str) -> None:
        """Raises DeviceError, DeviceMemoryError for want of memory, if the library has said anything since the last
        check; doing: what was tried, after "cannot"."""


class SharedEngine:
    """An engine and how many hold it; made by `EnginePool.take`, given back by `release`."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.holders = 0
        self.capturable = True
        """Whether CUDA graphs of it can be made; True until one could not."""
        self._shapes: set[tuple[int, int, int]] = set()

    def announce(self, shape: tuple[int, int, int], name: str) -> None:
        """Says once of each shape (tiles, height, width) that it is new, before what may be a wait for its kernels."""
        if shape in self._shapes:
            return
        self._shapes.add(shape)
        count, height, width = shape
        _log.log(
            logging.INFO if self.engine.compiles else logging.DEBUG,
            "%s: kernels for tiles of %d x %d, %d at once: compiled or loaded now, once for each size",
            name, width, height, count,
        )  # fmt: skip

    def check(self, doing: str) -> None:
        """See Explains; does nothing where the engine has nothing to say."""
        if isinstance(self.engine, HasDiagnostics):
            self.engine.check(doing)


class EnginePool:
    """One open engine for each precision: the last one asked for. One that is replaced closes with its last holder."""

    def __init__(self, source: EngineSource, gpu: Gpu) -> None:
        self._source, self._gpu = source, gpu
        self._open: dict[str, SharedEngine] = {}
        self._lock = threading.Lock()

    def take(self, precision: str, tile: tuple[int, int], batch: int) -> SharedEngine:
        """An engine for tiles of at most `tile` (height, width). One that is made is for at most `batch` of them at
        once, one that was built before may be for fewer.

        May build one, which takes minutes; other threads wait. The GPU's context must be current. Raises DeviceError.
        """
        with self._lock:
            shared = self._open.get(precision)
            if shared is None or not _fits(shared.engine.settings, tile):
                self._drop(precision)
                settings = EngineSettings(
                    precision=precision, tile=tile, batch=batch, compute_capability=self._gpu.compute_capability
                )
                shared = SharedEngine(self._source.open(settings, self._gpu))
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
