"""An engine that TensorRT has loaded: the real `Engine` of runtime/engine.py."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...cache import read_checksummed, write_checksummed
from ...errors import DeviceError
from .library import Library, Messages

if TYPE_CHECKING:
    from ..gpu.interfaces import EngineSettings
    from .file import EngineHeader

_log = logging.getLogger(__name__)


class LoadedEngine:
    """See Engine. The GPU's context must be current in the thread that makes, uses or closes it."""

    def __init__(
        self,
        library: Library,
        header: EngineHeader,
        data: bytes,
        *,
        settings: EngineSettings | None = None,
        kernels: Path | None = None,
    ) -> None:
        """data: TensorRT's bytes, checked (file.read_engine, check_fit) and trusted.

        settings: what users of the engine see; None for the header's. kernels: where TensorRT-RTX's compiled kernels
        are kept between runs; None for nowhere.

        Raises DeviceError if there is no driver or TensorRT does not take the engine, DeviceMemoryError if the GPU's
        memory does not do.
        """
        self.settings = header.settings if settings is None else settings
        self.element: np.dtype[Any] = np.dtype(header.element)
        self._messages = Messages(library, aloud=True)
        self._runtime = library.runtime(self._messages)
        self._engine = self._runtime.deserialize_cuda_engine(data)
        self._messages.check("load the engine", failed=self._engine is None)
        linear = library.module.TensorFormat.LINEAR
        strange = [name for name in ("input", "output") if self._engine.get_tensor_format(name) != linear]
        if strange:
            raise DeviceError(f"the engine's {strange[0]} is not in rows (TensorFormat.LINEAR): build it again")
        self.device_bytes = int(self._engine.device_memory_size_v2)
        self._making = threading.Lock()
        """TensorRT promises threads no more than contexts of their own, and lanes make theirs at once."""
        self._compiles = hasattr(self._engine, "create_runtime_config")
        # All contexts of a slot work in one piece of memory, which the pipeline gives them.
        theirs = library.module.ExecutionContextAllocationStrategy.USER_MANAGED
        self._new_context: Callable[[], Any] = lambda: self._engine.create_execution_context(theirs)
        self._keep_kernels: Callable[[], None] = lambda: None
        if self._compiles:
            self._compile_ahead(library.module, kernels)

    def create_execution_context(self) -> Any:
        """See Engine. It has no device memory until `set_device_memory(address, at least device_bytes)`."""
        with self._making:
            return self._new_context()

    def check(self, doing: str) -> None:
        """Raises DeviceError (DeviceMemoryError for want of memory) with what TensorRT said since the last check, if it
        said anything: it answers False and logs why. doing: what was tried, after "cannot"."""
        self._messages.check(doing)

    def profile(self, shape: tuple[int, int, int]) -> int | None:
        """See KnowsShapes."""
        profiles: int = self._engine.num_optimization_profiles
        count, height, width = shape
        for index in range(profiles - 1, 0, -1):  # the smallest is the last
            _, _, (most, _, tallest, widest) = self._engine.get_tensor_profile_shape("input", index)
            if count <= most and height <= tallest and width <= widest:
                return index
        return 0 if profiles > 1 else None

    @contextmanager
    def first_run(self, shape: tuple[int, int, int]) -> Iterator[None]:
        """See KnowsShapes. TensorRT-RTX compiles while the caller waits (EAGER, see below): it is said, and kept at
        once, as not every process comes to `close`."""
        if self._compiles:
            count, height, width = shape
            _log.info(
                "TensorRT-RTX compiles its kernels for %d windows of %d x %d pixels, for seconds if it never did",
                count, width, height,
            )  # fmt: skip
        yield
        with self._making:
            self._keep_kernels()

    def close(self) -> None:
        """See Engine."""
        if self._engine is None:
            return
        try:
            self._keep_kernels()
        finally:
            # TensorRT frees them with their last references, in this order.
            self._new_context = self._keep_kernels = lambda: None
            self._engine = None
            self._runtime = None

    def _compile_ahead(self, trt: Any, kernels: Path | None) -> None:
        """TensorRT-RTX compiles kernels when a shape first runs, in the background, and runs slower ones meanwhile
        (its documentation, "Working with Dynamic Shapes"): a CUDA graph captured then would keep the slower ones."""
        config = self._engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
        strategy = getattr(trt, "DynamicShapesKernelSpecializationStrategy", None)
        if strategy is not None:
            config.dynamic_shapes_kernel_specialization_strategy = strategy.EAGER
        self._new_context = lambda: self._engine.create_execution_context(config)
        if kernels is None or not hasattr(config, "create_runtime_cache"):
            return
        cache = config.create_runtime_cache()
        earlier = read_checksummed(kernels)
        if earlier is not None and not cache.deserialize(earlier):
            _log.info("the kernels kept in %s are of another driver or GPU: they are compiled again", kernels)
        config.set_runtime_cache(cache)

        def keep() -> None:
            nonlocal earlier
            made = cache.serialize()
            if made is not None and bytes(made) != earlier:
                earlier = bytes(made)
                write_checksummed(kernels, earlier)

        self._keep_kernels = keep
