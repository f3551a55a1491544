"""The seam between the GPU pipeline and what runs a network on a GPU: engines, and where they come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ...codec import Count
from ...spec import Prelu

if TYPE_CHECKING:
    import numpy as np

    from .device import Gpu


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """What an engine is built for."""

    precision: str
    """ "fp32", "fp16" or "int8"."""
    tile: tuple[Count, Count]
    """Height and width of the largest tile, in input pixels."""
    batch: Count
    """The most tiles at once."""
    prelu: Prelu = "inside"
    """Where PReLUs are done: both give the same pictures, and only a GPU tells which is faster there."""
    compute_capability: tuple[int, int] | None = None
    """Of the GPU to build for; None is the one that is here."""


class Engine(Protocol):
    """A network on a GPU; its tensors are "input" (N, 3, h, w) and "output" (N, 3*r*r, h*scale/r, w*scale/r)."""

    @property
    def settings(self) -> EngineSettings: ...

    @property
    def element(self) -> np.dtype[Any]:
        """float16 or float32, of both tensors."""

    @property
    def device_bytes(self) -> int:
        """Device memory that an execution context takes at most."""

    def create_execution_context(self) -> Any:
        """TensorRT's IExecutionContext, or None if it could not make one: what is used of it is
        set_input_shape(name, shape) -> bool, set_optimization_profile_async(index, stream handle) -> bool where
        there are several, update_device_memory_size_for_shapes() -> bytes that this shape takes,
        set_device_memory(address, bytes),
        set_tensor_address(name, address) -> bool, execute_async_v3(stream handle) -> bool."""

    def close(self) -> None:
        """Frees the engine; its contexts must be gone."""


class EngineSource(Protocol):
    """Builds engines of one plan, or takes them from where they are kept."""

    @property
    def name(self) -> str:
        """What its engines are of, for people: "TensorRT-RTX 1.7.1.116"."""

    @property
    def largest_tile(self) -> tuple[int, int] | None:
        """(height, width) of the largest tiles that it has engines for; None if it builds them for any."""

    def prelus(self, precision: str) -> tuple[Prelu, ...]:
        """Where its engines of this precision can do PReLUs, the default first."""

    def open(self, settings: EngineSettings, gpu: Gpu) -> Engine:
        """The engine for these settings on `gpu`, whose context is current in this thread.

        Raises DeviceError if there can be none, DeviceMemoryError if the GPU's memory does not do.
        """
