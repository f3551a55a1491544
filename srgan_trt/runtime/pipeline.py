"""The seam between pictures and devices: what every device's engine can do."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import DeviceMemoryError
from ..imaging.tiles import TilePlan
from ..spec import NetworkSpec

if TYPE_CHECKING:
    from threading import Event

    import numpy as np
    from numpy.typing import DTypeLike, NDArray

    from .tuning import Tuning

    Image = NDArray[np.uint8] | NDArray[np.uint16]

_log = logging.getLogger(__name__)

NETWORK_THREADS = "srgan-trt-layers"
"""What the names of threads that run a network on the CPU begin with. After Ctrl-C they end with their layer."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """How a picture goes through a device."""

    tiles: TilePlan
    streams: int
    """The most runs of the network at once."""
    batch: int = 1
    """The most tiles in one run."""

    @property
    def work(self) -> float:
        """Pixels that the network computes for each pixel of the picture: halos, and places in the last batch that are
        empty, make it more than 1."""
        tiles = self.tiles
        runs = -(-len(tiles.tiles) // self.batch)
        return runs * min(self.batch, len(tiles.tiles)) * tiles.tile_area / (tiles.height * tiles.width)

    def __str__(self) -> str:
        tiles, many = self.tiles, len(self.tiles.tiles) > 1
        at_once = f" in batches of {self.batch}" if self.batch > 1 and many else ""
        size = f"{tiles.tile_width} x {tiles.tile_height}"
        return f"{len(tiles.tiles)} tile{'s' if many else ''} of {size}{at_once}, {self.work:.2f} of the picture's work"


class Pipeline(Protocol):
    """A plan on a device. Every method may be called from several threads; `close` frees the device's memory."""

    @property
    def spec(self) -> NetworkSpec: ...

    @property
    def info(self) -> dict[str, Any]:
        """device, engine, precision, streams, notes: facts for people, in words and numbers."""

    @property
    def max_concurrency(self) -> int:
        """Runs that gain from being under way at the same time; more of them wait for their turn."""

    def schedule(
        self, height: int, width: int, *, halo: int | None, dtype: DTypeLike, channels: int = 3, tile: int | None = None
    ) -> Schedule:
        """What is fastest here for a picture of `height` x `width` and keeps memory flat.

        halo: input pixels of context between tiles; None where the network needs the whole picture.
        dtype, channels: of the picture: uint8 or uint16, 3 (RGB) or 1 (gray).
        tile: side of the largest tile; None is the device's choice. A network of fixed size has tiles of that size.
        """

    def run(
        self,
        image: Image,
        out: Image,
        schedule: Schedule,
        *,
        progress: Callable[[int], None] | None = None,
        stop: Event | None = None,
    ) -> int:
        """Fills `out` with the network's picture of `image`.

        image: (H, W, C) uint8 or uint16, C = 3 (RGB) or 1 (gray), C-contiguous.
        out: same dtype and C, (H*scale, W*scale, C), C-contiguous.
        schedule: for a picture of H x W; of streams and batches the device takes less where its memory has become
        short, or where it is not the one that made the schedule.
        progress: called with the number of tiles done so far, from any thread, one call at a time; what it raises ends
        the run.
        stop: ends the run when it is set, within a tile on a CPU and after one on a GPU.

        Returns how many of the network's values were not finite (they became 0). Raises StoppedError after `stop`,
        DeviceError if the device fails or the pipeline was closed (DeviceMemoryError if smaller tiles may do),
        TypeError or ValueError if an array is not as above.
        """

    def pipeline_on(self, gpu: int) -> DevicePipeline | None:
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
        schedule: Schedule,
        *,
        progress: Callable[[int], None] | None = None,
        stop: Event | None = None,
        stream: int | None = None,
    ) -> int:
        """See Pipeline. `image` and `out` may each be a DeviceImage (runtime/gpu/device_array.py).

        stream: handle of a stream; our work comes after what is on it now. None: there is nothing to wait for.
        """


def given_tile(
    spec: NetworkSpec, height: int, width: int, *, halo: int | None, tile: int | None
) -> tuple[int, int] | None:
    """(height, width) of the largest tile where the device has no choice (see `Pipeline.schedule`), else None."""
    if spec.fixed_shape is not None:
        return spec.fixed_shape
    if tile is not None:
        return tile, tile
    return (height, width) if halo is None else None


def check_arrays(image: Any, out: Any, tiles: TilePlan, scale: int) -> None:
    """Raises TypeError or ValueError if they are not as `Pipeline.run` takes them."""
    if len(image.shape) != 3 or image.dtype not in ("uint8", "uint16") or image.shape[2] not in (1, 3):
        raise TypeError(f"image is {image.dtype} of shape {image.shape}, not uint8 or uint16 of (H, W, 1 or 3)")
    height, width, channels = image.shape
    if (tiles.height, tiles.width) != (height, width):
        raise ValueError(f"the tiles are of {tiles.height} x {tiles.width}, the image is {height} x {width}")
    wanted = (height * scale, width * scale, channels)
    if tuple(out.shape) != wanted or out.dtype != image.dtype:
        raise ValueError(f"out is {out.dtype} of {out.shape}, not {image.dtype} of {wanted}")


def run_in_tiles(
    pipeline: Pipeline,
    image: Any,
    out: Any,
    *,
    halo: int | None,
    tile: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> tuple[TilePlan, int]:
    """Fills `out` in tiles of at most `tile`, or in those that the device chooses where memory is short for them.

    progress: called with (tiles done, tiles in all); what it raises stops the run and is raised.
    options: for the pipeline's `run`, which it is like otherwise.
    Returns the tiles and how many values were not finite.
    """
    height, width, channels = image.shape
    plan = partial(pipeline.schedule, height, width, halo=halo, dtype=image.dtype, channels=channels)
    schedule = plan(tile=tile)
    while True:
        tiles = schedule.tiles
        told = None if progress is None else _Told(progress, len(tiles.tiles))
        _log.debug("%s: a picture of %d x %d pixels in %s", pipeline.spec.name, width, height, schedule)
        try:
            return tiles, pipeline.run(image, out, schedule, progress=told, **options)
        except Exception as error:
            if told is not None and told.raised is not None:
                raise told.raised from None  # not as the device's error, which it may have become on the way
            if not isinstance(error, DeviceMemoryError):
                raise
            schedule = plan()  # the device has learnt from it what fits
            smaller = schedule.tiles
            if smaller.tile_area >= tiles.tile_area:
                raise
            size = f"{smaller.tile_width} x {smaller.tile_height}"
            _log.warning("%s: %s; going on with tiles of %s", pipeline.spec.name, error, size)


class _Told:
    """`progress`, with how many tiles there are; what it raised. After that it is called no more."""

    def __init__(self, progress: Callable[[int, int], None], total: int) -> None:
        self._progress = progress
        self._total = total
        self.raised: BaseException | None = None

    def __call__(self, done: int) -> None:
        if self.raised is not None:
            raise self.raised
        try:
            self._progress(done, self._total)
        except BaseException as error:
            self.raised = error
            raise
