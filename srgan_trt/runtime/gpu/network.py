"""One execution context with its stream and its tensors: a slot in which a batch of windows becomes pictures."""

from __future__ import annotations

import logging
import math
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from ...errors import DeviceError, DeviceMemoryError
from ...spec import NetworkSpec
from .device import core, cuda_errors
from .memory import DeviceMemory, quietly

if TYPE_CHECKING:
    from .engines import SharedEngine

_log = logging.getLogger(__name__)

_IN_FLIGHT = 2
"""Batches of a slot that the host may be ahead of the GPU: one runs while the next one waits."""


class NetworkSlot:
    """Batches of one shape at a time, in the order of `stream`.

    The first batch of a shape is enqueued by TensorRT, which settles whatever a new shape changes; the second is
    captured into a CUDA graph, and the graph is launched from then on (TensorRT developer guide, "CUDA Graphs": enqueue
    once after a change of shapes before capturing; one execution context for each captured graph).
    """

    def __init__(self, number: int, memory: DeviceMemory, shared: SharedEngine, spec: NetworkSpec) -> None:
        """number: of the GPU. Raises DeviceMemoryError, DeviceError; nothing is held then."""
        engine = shared.engine
        self.element = engine.element
        self._shared = shared
        self._name = spec.name
        self._tile, self._batch = engine.settings.tile, engine.settings.batch
        self._shape: tuple[int, int, int] | None = None
        self._graph: Any = None
        self._next_event = 0
        grid = spec.scale // spec.shuffle
        pixels = self._batch * math.prod(self._tile) * self.element.itemsize
        sizes = {"input": pixels * 3, "output": pixels * 3 * spec.shuffle**2 * grid**2}
        with ExitStack() as stack, cuda_errors():
            device = core().Device(number)
            self.stream = device.create_stream()
            stack.callback(quietly, self.stream.close)
            options = core().EventOptions(blocking_sync=True)
            self._events = [device.create_event(options) for _ in range(_IN_FLIGHT)]
            for event in self._events:
                stack.callback(quietly, event.close)
            memory.claim(engine.device_bytes)
            stack.callback(memory.unclaim, engine.device_bytes)
            self._context = engine.create_execution_context()
            if self._context is None:
                raise DeviceMemoryError(
                    f"TensorRT made no execution context for {spec.name}, mostly for want of GPU memory "
                    f"({engine.device_bytes / 1e6:.0f} MB): use a smaller tile or batch"
                )
            stack.callback(self._forget_context)
            self.tensors = {}
            for name, size in sizes.items():
                self.tensors[name] = buffer = memory.allocate(size, self.stream)
                stack.callback(memory.free, buffer, self.stream)
                self._accepted(self._context.set_tensor_address(name, int(buffer.handle)), f"the address of {name}")
            self._stack = stack.pop_all()

    def enqueue(self, count: int, height: int, width: int) -> None:
        """Puts the network on the stream, from ``tensors["input"]`` to ``tensors["output"]``, for `count` windows.

        Raises DeviceError if TensorRT refuses.
        """
        shape = (count, height, width)
        if count > self._batch or height > self._tile[0] or width > self._tile[1]:
            raise DeviceError(f"{shape} is no shape of an engine for {self._batch} windows of {self._tile}")
        if self._graph is None and shape == self._shape and self._shared.capturable:
            self._graph = self._capture()
        if self._graph is not None and shape == self._shape:
            with cuda_errors():
                self._graph.launch(self.stream)
            return
        if shape != self._shape:
            self._forget_graph()
            self._shape = None
            self._accepted(self._context.set_input_shape("input", (count, 3, height, width)), f"the shape {shape}")
        self._execute()
        self._shape = shape

    def record(self) -> Any:
        """An event at this point of the stream; every second one is the same object."""
        event = self._events[self._next_event % _IN_FLIGHT]
        self._next_event += 1
        with cuda_errors():
            self.stream.record(event)
        return event

    def close(self) -> None:
        """Frees all; nothing may be running."""
        self._stack.close()

    def _execute(self) -> None:
        with cuda_errors():
            self._accepted(self._context.execute_async_v3(int(self.stream.handle)), "the batch")

    def _capture(self) -> Any:
        """The network as a CUDA graph; None, and not tried again, where it cannot be captured."""
        capturable = getattr(self._context, "is_stream_capturable", None)
        try:
            if capturable is not None and not capturable(int(self.stream.handle)):
                raise DeviceError("TensorRT says that this network cannot be captured")
            return self._captured()
        except DeviceMemoryError:
            raise
        except DeviceError as error:
            first, self._shared.capturable = self._shared.capturable, False
            self._shape = None  # the context is told its shape anew: who knows how far it got
            if first:
                _log.warning("%s runs without CUDA graphs, somewhat slower: %s", self._name, error)
            return None

    def _captured(self) -> Any:
        with cuda_errors():
            builder = self.stream.create_graph_builder()
            try:
                # Other threads may allocate meanwhile, and this one has to free what it holds if the end of the
                # capture fails.
                builder.begin_building(mode="relaxed")
                try:
                    self._execute()
                finally:
                    builder.end_building()
                return builder.complete()
            finally:
                quietly(builder.close)

    def _accepted(self, answer: bool, what: str) -> None:
        if not answer:
            raise DeviceError(f"TensorRT did not take {what} for {self._name}: see its messages in the log")

    def _forget_graph(self) -> None:
        if self._graph is not None:
            gone, self._graph = self._graph, None
            quietly(gone.close)

    def _forget_context(self) -> None:
        self._forget_graph()
        self._context = None  # TensorRT frees it with its last reference
