"""Execution contexts with one stream and one set of tensors: a slot in which a batch of tiles becomes pictures."""

from __future__ import annotations

import logging
import math
from collections import OrderedDict
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...errors import DeviceError, DeviceMemoryError
from ...spec import NetworkSpec
from .device import core, cuda_errors
from .memory import DeviceBuffer, DeviceMemory, quietly

if TYPE_CHECKING:
    from .engine_pool import SharedEngine

_log = logging.getLogger(__name__)

_IN_FLIGHT = 2
"""Batches of a slot that the host may be ahead of the GPU: one runs while the next one waits."""
_SHAPES = 8
"""Whose graphs a slot keeps: those of pictures of some sizes that come in turns, and of their last, smaller batches."""

_Shape = tuple[int, int, int]
"""Windows, height, width."""


@dataclass(slots=True)
class _Shaped:
    """An execution context that is told one shape, and what became of it."""

    context: Any
    ran: bool = False
    graph: Any = None
    retry: bool = False
    """Whether the next run may be refused once."""


class NetworkSlot:
    """Batches of any shape that the engine takes, in the order of `stream`.

    The first batch of a shape is enqueued by TensorRT, which settles whatever a new shape changes; the second is
    captured into a CUDA graph, and the graph is launched from then on. Each of the shapes used last has its graph and,
    because a graph is worth nothing once its context is told another shape, its context (TensorRT developer guide,
    "CUDA Graphs": enqueue once after a change of shapes before capturing; one execution context for each captured
    graph, which share memory). One at a time of them works, so one piece of memory does for all.
    """

    def __init__(self, number: int, memory: DeviceMemory, shared: SharedEngine, spec: NetworkSpec) -> None:
        """number: of the GPU. Raises DeviceError; nothing is held then."""
        engine = shared.engine
        self.element = engine.element
        self._shared = shared
        self._name = spec.name
        self._tile, self._batch = engine.settings.tile, engine.settings.batch
        self._shapes: OrderedDict[_Shape, _Shaped] = OrderedDict()
        self._next_event = 0
        values_of = {"input": 3, "output": 3 * spec.scale**2}
        self._pixel_bytes = {name: values * self.element.itemsize for name, values in values_of.items()}
        with ExitStack() as stack, cuda_errors():
            device = core().Device(number)
            self.stream = device.create_stream()
            stack.callback(quietly, self.stream.close)
            stack.callback(quietly, self.stream.sync)  # memory is free when the stream gets there
            options = core().EventOptions(blocking_sync=True)
            self._events = [device.create_event(options) for _ in range(_IN_FLIGHT)]
            for event in self._events:
                stack.callback(quietly, event.close)
            self._tensors = {name: DeviceBuffer(memory, self.stream) for name in values_of}
            self._scratch = DeviceBuffer(memory, self.stream)
            for buffer in (*self._tensors.values(), self._scratch):
                stack.callback(buffer.close)
            stack.callback(self._forget)
            self._stack = stack.pop_all()

    def address(self, name: str) -> int:
        """Of the tensor "input" or "output", for the shape prepared last and smaller ones."""
        return int(self._tensors[name].reserve(0).handle)

    def prepare(self, count: int, height: int, width: int) -> None:
        """Has memory and a context for batches of `count` tiles; what is running may have to end first.

        Raises DeviceError if TensorRT refuses, DeviceMemoryError for want of memory.
        """
        shape = (count, height, width)
        if count > self._batch or height > self._tile[0] or width > self._tile[1]:
            raise DeviceError(f"{shape} is not a shape of an engine for {self._batch} tiles of {self._tile}")
        if shape not in self._shapes:
            self._shapes[shape] = self._shaped(shape)
        self._shapes.move_to_end(shape)

    def enqueue(self, count: int, height: int, width: int) -> None:
        """Puts the network on the stream, from "input" to "output", for a shape that is prepared.

        Raises DeviceError if TensorRT refuses, DeviceMemoryError for want of memory.
        """
        shape = (count, height, width)
        shaped = self._shapes[shape]
        if shaped.graph is None and shaped.ran and self._shared.capturable:
            shaped.graph = self._capture(shaped, shape)
        if shaped.graph is not None:
            with cuda_errors():
                shaped.graph.launch(self.stream)
            return
        with nullcontext() if shaped.ran else self._shared.first_run(shape):
            try:
                self._execute(shaped.context)
            except DeviceMemoryError:
                raise
            except DeviceError:
                if not shaped.retry:
                    raise
                self._execute(shaped.context)
        shaped.ran, shaped.retry = True, False

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

    def _shaped(self, shape: _Shape) -> _Shaped:
        """A context for one shape, in the place of the one that was used longest ago where there are many."""
        if len(self._shapes) >= _SHAPES:
            with cuda_errors():
                self.stream.sync()  # it may be at work
            self._forget(most=_SHAPES - 1)
        return _Shaped(self._context(shape))

    def _context(self, shape: _Shape) -> Any:
        """A context that is told `shape`. The slot's memory grows to what the largest shape so far takes, not to what
        the engine's largest would; whatever refers to the smaller one is forgotten."""
        with cuda_errors():
            context = self._shared.engine.create_execution_context()
        if context is None:
            self._shared.check(f"make an execution context for {self._name}")
            raise DeviceMemoryError(
                f"TensorRT made no execution context for {self._name}, mostly for want of GPU memory "
                f"({self._shared.engine.device_bytes / 1e6:.0f} MB): use a smaller tile or batch"
            )
        with cuda_errors():
            if (profile := self._shared.profile(shape)) is not None:
                taken = context.set_optimization_profile_async(profile, int(self.stream.handle))
                self._accepted(taken, f"its profile {profile}")
            self._tell(context, shape)
            pixels = math.prod(shape)
            needed = {self._tensors[name]: pixels * size for name, size in self._pixel_bytes.items()}
            needed[self._scratch] = max(1, int(context.update_device_memory_size_for_shapes()))
            if any(size > buffer.size for buffer, size in needed.items()):
                self.stream.sync()
                self._forget()
            for buffer, size in needed.items():
                buffer.reserve(size)
            for name in self._tensors:
                self._accepted(context.set_tensor_address(name, self.address(name)), f"the address of {name}")
            scratch = self._scratch.reserve(0)
            context.set_device_memory(int(scratch.handle), scratch.size)
        return context

    def _tell(self, context: Any, shape: _Shape) -> None:
        count, height, width = shape
        self._accepted(context.set_input_shape("input", (count, 3, height, width)), f"the shape {shape}")

    def _execute(self, context: Any) -> None:
        with cuda_errors():
            self._accepted(context.execute_async_v3(int(self.stream.handle)), "the batch")

    def _capture(self, shaped: _Shaped, shape: _Shape) -> Any:
        """The network as a CUDA graph; None, and not tried again, where it cannot be captured."""
        with cuda_errors():
            self.stream.sync()  # what the first run of a shape left to do on the side is done
        capturable = getattr(shaped.context, "is_stream_capturable", None)
        try:
            if capturable is not None and not capturable(int(self.stream.handle)):
                raise DeviceError("TensorRT says that this network cannot be captured")
            return self._captured(shaped.context)
        except DeviceMemoryError:
            raise
        except DeviceError as error:
            first, self._shared.capturable = self._shared.capturable, False
            if first:
                _log.warning("%s runs without CUDA graphs, somewhat slower: %s", self._name, error)
            # A new one: who knows how far it got. CUDA's error may still be what its first launch sees.
            shaped.context, shaped.retry = self._context(shape), True
            return None

    def _captured(self, context: Any) -> Any:
        with cuda_errors():
            builder = self.stream.create_graph_builder()
            try:
                # Other threads may allocate meanwhile, and this one has to free what it holds if the end of the
                # capture fails.
                builder.begin_building(mode="relaxed")
                try:
                    self._execute(context)
                finally:
                    builder.end_building()
                return builder.complete()
            finally:
                quietly(builder.close)

    def _accepted(self, answer: bool, what: str) -> None:
        if not answer:
            self._shared.check(f"take {what} for {self._name}")
            raise DeviceError(f"TensorRT did not take {what} for {self._name} and gave no reason: use --device cpu")

    def _forget(self, *, most: int = 0) -> None:
        """Frees graphs and contexts but for the `most` used last."""
        while len(self._shapes) > most:
            _, gone = self._shapes.popitem(last=False)
            if gone.graph is not None:
                quietly(gone.graph.close)
            # TensorRT frees the context with its last reference, after its graph.
            gone.graph = gone.context = None
