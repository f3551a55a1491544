"""Plans on an NVIDIA GPU: picture up, windows packed, TensorRT's network, levels unpacked, picture down.

The GPU's memory is taken as it is needed and kept until `close`, or until it is short: then pictures go through in
bands, one at a time, in smaller batches, and at last in smaller windows.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import DeviceError, DeviceLostError, DeviceMemoryError, ModelError, SrganTrtError, StoppedError
from ...imaging.tiles import TilePlan
from ...spec import NetworkSpec
from ..holding import hold
from .device import core, current, find_gpu
from .ends import Source, Target, after_caller
from .engines import Engines, SharedEngine
from .interfaces import EngineSource
from .kernels import PixelKernels
from .lane import SLOTS, Lane
from .lanes import MOST_LANES, Lanes, closed
from .memory import DeviceMemory
from .schedule import (
    Band,
    batch_size,
    cut_bands,
    engine_side,
    even_windows,
    first_cut,
    gpu_tile,
    largest_band,
    tile_side,
)

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from ...compiler.plan import Plan
    from ..tuning import Tuning

_log = logging.getLogger(__name__)

PRECISIONS = ("fp16", "fp32", "int8")
_WIDE = "fp32"
_LARGEST_BAND = 1 << 29
"""Bytes of picture and canvas at once: as much page-locked memory of the host is a fair share."""
_SMALLEST_TILE = 32
_OTHER_PLAN = "use the plan in fp32 that it was made of, or the model's file"
"""What to do where an int8 plan does not do; it holds no network in another precision."""


class GpuPipeline:
    """A `Pipeline` (see runtime/pipeline.py) on one NVIDIA GPU.

    Two pictures are under way at once: one is copied while the other computes; further threads wait. 8-bit pictures run
    in fp16, 16-bit ones in fp32. A window whose values are not all finite in fp16 runs again in fp32. An int8 plan has
    int8 only, for 16-bit pictures, too, which is noted; before the first picture it is held to the one in the plan.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        source: EngineSource,
        precision: str | None = None,
        gpu_id: int = 0,
        max_vram: int | None = None,
    ) -> None:
        """
        Args:
            source: Where engines of `plan` come from.
            precision: "fp16", "fp32" or "int8"; None is fp16.
            gpu_id: As CUDA counts.
            max_vram: Bytes of the GPU's memory that may be taken; None is all that is free.

        Raises DeviceError if the GPU or the precision is not to be had, MissingPackageError without cuda-core.
        """
        self.spec: NetworkSpec = plan.spec
        self._witness, self._held_to_it = plan.witness, threading.Lock()
        """Until a first engine was held to it."""
        self._what = f"{plan.path}, run by {source.name},"
        self._quantised = plan.spec.precision == "int8"
        self._precision = ("int8" if self._quantised else "fp16") if precision is None else precision
        if self._precision not in PRECISIONS:
            raise DeviceError(f"precision {precision!r} is not to be had on a GPU: use one of {', '.join(PRECISIONS)}")
        core()
        self.gpu = find_gpu(gpu_id)
        self._wide = "int8" if self._quantised else _WIDE
        """For 16-bit pictures, and for tiles that are not finite: an int8 plan has no other network."""
        self._chosen_here = precision is None
        self._lock = threading.Lock()
        self._failure: str | None = None
        self._closed = False
        self._engines = Engines(source, self.gpu)
        self._largest = source.largest_tile
        with current(gpu_id), ExitStack() as stack:
            self._memory = DeviceMemory(gpu_id, max_vram)
            stack.callback(self._memory.close)
            self._tile_limit, self._batch = first_cut(
                min((tile_side(self.spec.default_halo), *(self._largest or ()))),
                self.gpu.multiprocessors,
                smallest=2 * self.spec.default_halo + _SMALLEST_TILE,
                pixel_bytes=SLOTS * 2 * 3 * (1 + self.spec.scale**2),  # two bytes for each value of both tensors
                limit=self._memory.available(),
            )
            self._kernels = PixelKernels(self.gpu)
            stack.pop_all()
        self._lanes = Lanes(lambda: Lane(gpu_id, self._memory, self._engines, self._kernels, self.spec))
        self.info: dict[str, Any] = {
            "device": f"cuda:{gpu_id}",
            "name": self.gpu.name,
            "engine": source.name,
            "precision": self._precision,
            "streams": MOST_LANES,
            "notes": [],
        }
        if self._kernels.note is not None:
            self._note(self._kernels.note)

    @property
    def at_once(self) -> int:
        """See Pipeline."""
        return self._lanes.limit

    def preferred_tile(self, height: int, width: int, *, halo: int | None, dtype: DTypeLike) -> tuple[int, int]:
        """See Pipeline. After a DeviceMemoryError of `run` it is smaller.

        Raises DeviceError if the halo leaves nothing of the largest windows that there is an engine for.
        """
        if self.spec.fixed_shape is not None:
            return self.spec.fixed_shape
        if halo is None:
            return height, width
        with self._lock:
            limit = self._tile_limit
        return gpu_tile(height, width, halo=halo, multiple=self.spec.multiple, limit=limit, largest=self._largest)

    def run(
        self,
        image: Any,
        out: Any,
        tiles: TilePlan,
        *,
        progress: Callable[[int], None] | None = None,
        stop: threading.Event | None = None,
        stream: int | None = None,
    ) -> int:
        """See Pipeline. `image` and `out` may each be a DeviceImage (runtime/gpu/device_array.py) instead of an array.
        The windows may be some pixels larger than those of `tiles`: see schedule.even_windows.

        stream: the handle of the CUDA stream on which the caller made and uses device images; our work comes after what
        is on it now. None: there is nothing to wait for. Everything is done when this returns.

        Raises DeviceMemoryError, a DeviceError, if the memory does not do for windows as large as these; DeviceError if
        the plan's own picture comes out as another one.
        """
        _check(image, out, tiles, self.spec.scale)
        tiles = self._even(tiles, image)
        report = _Progress(progress, stop)
        with current(self.gpu.number) as before, after_caller(stream, before) as event:
            source, target = Source(image, 1), Target(out, self.spec.scale)
            while True:
                with self._lanes.borrow() as lane:
                    self._check_alive()
                    try:
                        lane.follow(event)
                        self._hold_to_witness(lane)
                        return self._run(lane, source, target, tiles, report)
                    except DeviceMemoryError as error:
                        lane.settle()
                        lane.release()
                        shortage = str(error)  # the error itself would keep alive what its traceback names
                    except DeviceLostError as error:
                        with self._lock:
                            self._failure = str(error)
                        lane.settle()
                        raise
                    except BaseException:
                        lane.settle()
                        raise
                self._give_way(shortage, tiles)

    def for_images_on(self, gpu: int) -> GpuPipeline | None:
        """See Pipeline."""
        return self if gpu == self.gpu.number else None

    def tune(self, image: Any, *, seconds: float) -> Tuning:
        """See Pipeline. Raises DeviceError always: there is nothing to choose."""
        raise DeviceError("tuning is for CPUs: a GPU's windows are of the size that their engine is built for (--tile)")

    def tuning(self) -> None:
        """See Pipeline."""
        return None

    def close(self) -> None:
        """See Pipeline. Waits for runs of other threads."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        try:
            self._lanes.shut()
        except BaseException:  # Ctrl-C: what runs needs all of it, so that another call has to free it
            self._closed = False
            raise
        with ExitStack() as stack:
            # A GPU that failed may refuse even this; what is left is freed all the same.
            with suppress(DeviceError):
                stack.enter_context(current(self.gpu.number))
            # From the last to the first, each whatever becomes of the others.
            stack.callback(self._memory.close)
            stack.callback(self._kernels.close)
            stack.callback(self._engines.close)
            stack.callback(self._lanes.close)

    def _run(self, lane: Lane, source: Source, target: Target, tiles: TilePlan, report: _Progress) -> int:
        precision = self._wide if source.dtype.itemsize > 1 else self._precision
        try:
            shared = self._prepared(lane, precision, tiles)
        except ModelError as error:
            if precision == self._wide or not self._chosen_here:
                raise
            self._note(f"{precision} does not do for it, so it runs in {self._wide}: {error}")
            precision = self._precision = self._wide
            shared = self._prepared(lane, precision, tiles)
        bands = self._bands(lane, source, target, tiles, shared.engine.settings.batch)
        self.info["precision"] = precision
        if source.dtype.itemsize > 1 and shared.engine.element == np.float16:
            self._note(f"16-bit pictures go through {precision} with 11 of their bits: {_OTHER_PLAN}")
        report.restart()

        def wide() -> SharedEngine | None:
            if self._quantised:
                self._note(f"values are not finite in {precision}, all that this plan has: {_OTHER_PLAN}")
                return None
            try:
                better = self._prepared(lane, self._wide, tiles)
            except (DeviceMemoryError, DeviceLostError):
                raise
            except SrganTrtError as error:
                self._note(f"values are not finite in {precision}, and there is no engine in {self._wide}: {error}")
                return None
            self._note(f"values that are not finite in {precision}: these tiles run again in {self._wide}")
            return better

        again = None if precision == self._wide and not self._quantised else wide
        return sum(lane.run(shared, band, source, target, tiles, wide=again, done=report.more) for band in bands)

    def _hold_to_witness(self, lane: Lane) -> None:
        """Runs the plan's own picture, if it has one and no picture was run yet; other threads wait for that.

        Its window is small, but the engine is the one that most pictures have. Raises DeviceError if it comes out as
        another picture than was proven.
        """
        with self._held_to_it:
            if self._witness is None:
                return

            def run(picture: Any, result: Any, whole: TilePlan) -> None:
                ends = Source(picture, 1), Target(result, self.spec.scale)
                self._run(lane, *ends, self._even(whole, picture), _Progress(None))

            hold(self._witness, self.spec, run, what=f"{self._what} on the {self.gpu.name},")
            self._witness = None

    def _even(self, tiles: TilePlan, image: Any) -> TilePlan:
        if self.spec.fixed_shape is not None:
            return tiles
        pixel_bytes = self.spec.scale * image.shape[2] * np.dtype(image.dtype).itemsize
        return even_windows(tiles, multiple=self.spec.multiple, pixel_bytes=pixel_bytes, largest=self._largest)

    def _prepared(self, lane: Lane, precision: str, tiles: TilePlan) -> SharedEngine:
        """An engine for windows of these tiles, with slots in the lane."""
        height, width = tiles.tile_height, tiles.tile_width
        with self._lock:
            limit, batch = self._tile_limit, self._batch
        tallest, widest = self._largest or (None, None)
        tile = self.spec.fixed_shape or (
            engine_side(height, limit, self.spec.multiple, tallest),
            engine_side(width, limit, self.spec.multiple, widest),
        )
        batch = min(batch, batch_size(tile[0] * tile[1], self.gpu.multiprocessors))
        try:
            shared = self._engines.take(precision, tile, batch)
            lane.prepare(shared)
        except DeviceMemoryError:
            # Slots of another precision may be all that is in the way.
            if not lane.forget():
                raise
            shared = self._engines.take(precision, tile, batch)
            lane.prepare(shared)
        return shared

    def _bands(self, lane: Lane, source: Source, target: Target, tiles: TilePlan, batch: int) -> list[Band]:
        """As few as may be, with memory for them reserved in the lane."""
        rows = {"row_bytes": source.row_bytes, "kept_row_bytes": target.row_bytes}
        limit = min(_LARGEST_BAND, (self._memory.available() + lane.reserved()) // self._lanes.limit)
        while True:
            bands = cut_bands(tiles, **rows, limit=limit)
            try:
                lane.reserve(source, target, bands, batch)
            except DeviceMemoryError:
                limit = largest_band(bands, **rows) // 2
                if len(cut_bands(tiles, **rows, limit=limit)) == len(bands):
                    raise
                continue
            if len(bands) > 1:
                _log.info("a picture of %d x %d pixels in %d bands", tiles.width, tiles.height, len(bands))
            return bands

    def _check_alive(self) -> None:
        with self._lock:
            if self._closed:
                raise closed()
            if self._failure is not None:
                raise DeviceLostError(self._failure)

    def _give_way(self, shortage: str, tiles: TilePlan) -> None:
        """Takes less memory from now on. Raises DeviceMemoryError if only smaller windows can."""
        if self._lanes.give_way():
            _log.warning("GPU memory is short: one picture at a time from now on")
            return
        with self._lock:
            if self._batch > 1:
                self._batch //= 2
                _log.warning("GPU memory is short: batches of at most %d windows from now on", self._batch)
                return
            longest = max(tiles.tile_height, tiles.tile_width)
            self._tile_limit = max(_SMALLEST_TILE, min(self._tile_limit, longest) // 2)
        self._engines.close()  # smaller windows would fit into the engines that are too large
        raise DeviceMemoryError(
            f"windows of {tiles.tile_width} x {tiles.tile_height} pixels do not fit into the GPU's memory ({shortage})"
        )

    def _note(self, note: str) -> None:
        """Says it once, in the log and in `info`."""
        with self._lock:
            if note in self.info["notes"]:
                return
            self.info["notes"].append(note)
        _log.warning("%s: %s", self.spec.name, note)


class _Progress:
    """Tiles done, told to the caller; a picture that begins anew is not told of before it is further than it was."""

    def __init__(self, callback: Callable[[int], None] | None, stop: threading.Event | None = None) -> None:
        self._callback = callback
        self._stop = stop
        self._done = self._told = 0

    def restart(self) -> None:
        self._done = 0

    def more(self, count: int) -> None:
        if self._stop is not None and self._stop.is_set():
            raise StoppedError("the picture was given up")
        self._done += count
        if self._callback is not None and self._done > self._told:
            self._told = self._done
            self._callback(self._done)


def _check(image: Any, out: Any, tiles: TilePlan, scale: int) -> None:
    if len(image.shape) != 3 or np.dtype(image.dtype) not in (np.uint8, np.uint16) or image.shape[2] not in (1, 3):
        raise TypeError(f"image is {image.dtype} of shape {image.shape}, not uint8 or uint16 of (H, W, 1 or 3)")
    height, width, channels = image.shape
    if (tiles.height, tiles.width) != (height, width):
        raise ValueError(f"the tiles are of {tiles.height} x {tiles.width}, the image is {height} x {width}")
    wanted = (height * scale, width * scale, channels)
    if tuple(out.shape) != wanted or np.dtype(out.dtype) != np.dtype(image.dtype):
        raise ValueError(f"out is {out.dtype} of {out.shape}, not {image.dtype} of {wanted}")
