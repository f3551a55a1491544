"""onnxruntime on foreign graphs, with a limit of memory and of time."""

from __future__ import annotations

import functools
import logging
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx

SECONDS = 300.0
"""That one run may take."""
_MOST_MEMORY = 4 << 30
"""Bytes of all runs: what ``check_work`` allows, and the weights."""

log = logging.getLogger(__name__)


class Session:
    """An ONNX model on the CPU in float32. Raises what onnxruntime raises, which has no base but Exception."""

    def __init__(self, model: onnx.ModelProto, *, optimise: bool = True) -> None:
        import onnxruntime

        _bound_memory()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        if not optimise:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.add_session_config_entry("session.use_env_allocators", "1")
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name

    def run(self, batch: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """All outputs for ``batch``."""
        import onnxruntime

        options = onnxruntime.RunOptions()
        options.log_severity_level = 4
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        clock = threading.Timer(SECONDS, setattr, (options, "terminate", True))
        clock.daemon = True
        clock.start()
        try:
            results: list[NDArray[np.float32]] = self._session.run(None, {self._input: batch}, options)
        finally:
            clock.cancel()
        return results


@functools.cache
def _bound_memory() -> None:
    """One pool of memory for all sessions of this process that ask for it, with an end."""
    import onnxruntime as ort

    where: Any = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    settings = ort.OrtArenaCfg({"max_mem": _MOST_MEMORY, "arena_extend_strategy": 1})
    try:
        ort.create_and_register_allocator(where, settings)
    # The program that we are part of has set up a pool of its own, and with it its limit. No class of errors is public.
    except Exception as error:
        log.debug("onnxruntime keeps the pool of memory that it has: %s", error)
