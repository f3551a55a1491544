"""The seam between pictures and devices: what every device's engine can do."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from ..imaging.tiles import TilePlan
from ..spec import NetworkSpec

if TYPE_CHECKING:
    from threading import Event

    import numpy as np
    from numpy.typing import DTypeLike, NDArray

    from .tuning import Tuning

    Image = NDArray[np.uint8] | NDArray[np.uint16]


class Pipeline(Protocol):
    """A plan on a device. Every method may be called from several threads; `close` frees the device's memory."""

    @property
    def spec(self) -> NetworkSpec: ...

    @property
    def info(self) -> dict[str, Any]:
        """device, engine, precision, streams, notes: facts for people, in words and numbers."""

    @property
    def at_once(self) -> int:
        """Runs that gain from being under way at the same time; more of them wait for their turn."""

    def preferred_tile(self, height: int, width: int, *, halo: int | None, dtype: DTypeLike) -> tuple[int, int]:
        """(height, width) of the tile that is fastest here and keeps memory flat.

        halo: input pixels of context between tiles; None where the network needs the whole picture.
        dtype: of the picture, uint8 or uint16.
        """

    def run(
        self,
        image: Image,
        out: Image,
        tiles: TilePlan,
        *,
        progress: Callable[[int], None] | None = None,
        stop: Event | None = None,
    ) -> int:
        """Fills `out` with the network's picture of `image`.

        image: (H, W, C) uint8 or uint16, C = 3 (RGB) or 1 (gray), C-contiguous.
        out: same dtype and C, (H*scale, W*scale, C), C-contiguous.
        tiles: of a picture of H x W.
        progress: called with the number of tiles done so far, from any thread, one call at a time; what it raises ends
        the run.
        stop: ends the run when it is set, within a tile on a CPU and after one on a GPU.

        Returns how many of the network's values were not finite (they became 0). Raises StoppedError after `stop`,
        DeviceError if the device fails or the pipeline was closed, TypeError or ValueError if an array is not as above.
        """

    def for_images_on(self, gpu: int) -> DevicePipeline | None:
        """What takes images in the memory of the GPU of that number as they are; None if nothing here does."""

    def tune(self, image: NDArray[np.uint8], *, seconds: float) -> Tuning:
        """Finds out by trying how the network runs best here; the result is kept for this plan, machine and precision.

        image: (H, W, 3), what is upscaled again and again. Takes about `seconds`. Raises DeviceError if there is
        nothing to choose, or the device fails.
        """

    def tuning(self) -> Tuning | None:
        """What `tune` found, for 8-bit pictures; None if it was not asked yet."""

    def close(self) -> None:
        """Frees what the pipeline holds; calling it again does nothing."""


class DevicePipeline(Pipeline, Protocol):
    """A pipeline on a GPU, whose pictures may be there already."""

    def run(
        self,
        image: Any,
        out: Any,
        tiles: TilePlan,
        *,
        progress: Callable[[int], None] | None = None,
        stop: Event | None = None,
        stream: int | None = None,
    ) -> int:
        """See Pipeline. `image` and `out` may each be a DeviceImage (runtime/gpu/device_array.py).

        stream: handle of a stream; our work comes after what is on it now. None: there is nothing to wait for.
        """
