"""Plans on an NVIDIA GPU: picture up, tiles packed, TensorRT's network, levels unpacked, picture down.

The GPU's memory is taken as it is needed and kept until `close`, or until it is short: then pictures go through in
bands, one at a time, in smaller batches, and at last in smaller tiles, all of them by the same engine.
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
from ..pipeline import Schedule, check_arrays
from ..self_test import run_self_test
from ..tuning import DEFAULT, Setting
from .device import core, current, find_gpu
from .engine_pool import EnginePool, SharedEngine
from .image_buffers import InputImage, OutputImage, after_caller
from .interfaces import EngineSource
from .kernels import PixelKernels
from .memory import DeviceMemory
from .scheduler import Scheduler
from .tiling import Band, largest_band, plan_bands
from .tuning import GpuTunings
from .worker import SLOTS, PictureWorker
from .worker_pool import MAX_WORKERS, WorkerPool, closed

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    from ...compiler.plan import Plan
    from ..tuning import TilingConfig, Tuning

_log = logging.getLogger(__name__)

PRECISIONS = ("fp16", "fp32", "int8")
_WIDE = "fp32"
_LARGEST_BAND = 1 << 29
"""Bytes of picture and canvas at once: as much page-locked memory of the host is a fair share."""
_OTHER_PLAN = "use the plan in fp32 that it was made of, or the model's file"
"""What to do where an int8 plan does not do; it holds no network in another precision."""


class GpuPipeline:
    """A `Pipeline` (see runtime/pipeline.py) on one NVIDIA GPU.

    Two pictures are under way at once: one is copied while the other computes; further threads wait. 8-bit pictures run
    in fp16, 16-bit ones in fp32. A tile whose values are not all finite in fp16 runs again in fp32. An int8 plan has
    int8 only, for 16-bit pictures, too, which is noted; before the first picture it runs the plan's self-test.
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
        self._self_test, self._self_test_lock = plan.self_test, threading.Lock()
        """None once an engine passed it."""
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
        self._tunings = GpuTunings(plan, source, self.gpu)
        self._engines = EnginePool(source, self.gpu)
        with current(gpu_id), ExitStack() as stack:
            self._memory = DeviceMemory(gpu_id, max_vram)
            stack.callback(self._memory.close)
            available = self._memory.available()
            self._scheduler = Scheduler(plan, self.gpu, largest=source.largest_tile, available=available)
            self._kernels = PixelKernels(self.gpu)
            stack.pop_all()
        self._workers = WorkerPool(lambda: PictureWorker(gpu_id, self._memory, self._engines, self._kernels, self.spec))
        self.info: dict[str, Any] = {
            "device": f"cuda:{gpu_id}",
            "name": self.gpu.name,
            "engine": source.name,
            "precision": self._precision,
            "streams": MAX_WORKERS,
            "notes": [],
        }

    @property
    def max_concurrency(self) -> int:
        """See Pipeline."""
        return self._workers.limit

    def schedule(
        self, height: int, width: int, *, halo: int | None, dtype: DTypeLike, channels: int = 3, tile: int | None = None
    ) -> Schedule:
        """See Pipeline. After a DeviceMemoryError of `run` its tiles are smaller. They may be some pixels larger than
        `tile`: the kernels move 16 bytes at a time.

        Raises DeviceError if the halo leaves nothing of the largest tiles that there is an engine for.
        """
        usual = halo == self.spec.default_halo and tile is None
        config = self._setting(self._precision_for(np.dtype(dtype))).tiling if usual else None
        return self._schedule((height, width, channels), config, halo=halo, dtype=dtype, tile=tile)

    def run(
        self,
        image: Any,
        out: Any,
        schedule: Schedule,
        *,
        progress: Callable[[int], None] | None = None,
        stop: threading.Event | None = None,
        stream: int | None = None,
    ) -> int:
        """See Pipeline. `image` and `out` may each be a DeviceImage (runtime/gpu/device_array.py) instead of an array.

        stream: the handle of the CUDA stream on which the caller made and uses device images; our work comes after what
        is on it now. None: there is nothing to wait for. Everything is done when this returns.

        Raises DeviceMemoryError, a DeviceError, if the memory does not do for tiles as large as these; DeviceError if
        the plan's own picture comes out as another one.
        """
        return self._upscaled(image, out, schedule, _Progress(progress, stop), stream=stream)

    def _upscaled(
        self,
        image: Any,
        out: Any,
        schedule: Schedule,
        report: _Progress,
        *,
        stream: int | None = None,
        setting: Setting | None = None,
    ) -> int:
        """See `run`. setting: to be measured; None: what was tuned."""
        tiles = schedule.tiles
        check_arrays(image, out, tiles, self.spec.scale)
        with current(self.gpu.number) as before, after_caller(stream, before) as event:
            source, target = InputImage(image, 1), OutputImage(out, self.spec.scale)
            freed = False
            while True:
                with self._workers.borrow() as worker:
                    self._check_alive()
                    try:
                        worker.wait_for(event)
                        self._verify_self_test(worker)
                        return self._run(worker, source, target, schedule, report, setting)
                    except DeviceMemoryError as error:
                        worker.synchronize()
                        # Memory that earlier pictures needed may be all that is in the way, but once only.
                        again, freed = worker.release() and not freed, True
                        shortage = str(error)  # the error itself would keep alive what its traceback names
                    except DeviceLostError as error:
                        with self._lock:
                            self._failure = str(error)
                        worker.synchronize()
                        raise
                    except BaseException:
                        worker.synchronize()
                        raise
                if not again:
                    self._give_way(shortage, schedule, self._precision_for(source.dtype))

    def pipeline_on(self, gpu: int) -> GpuPipeline | None:
        """See Pipeline."""
        return self if gpu == self.gpu.number else None

    def tune(self, image: NDArray[np.uint8], *, seconds: float) -> Tuning:
        """See Pipeline. Where building an engine takes minutes, so does each trial."""
        height, width, channels = image.shape
        out = np.empty((height * self.spec.scale, width * self.spec.scale, channels), np.uint8)

        def run(setting: Setting) -> None:
            schedule = self._schedule(image.shape, setting.tiling, halo=self.spec.usual_halo, dtype=np.uint8)
            self._upscaled(image, out, schedule, _Progress(None), setting=setting)

        return self._tunings.search(self._precision, run, size=(height, width), budget=seconds)

    def tuning(self) -> Tuning | None:
        """See Pipeline."""
        return self._tunings.find(self._precision)

    def close(self) -> None:
        """See Pipeline. Waits for runs of other threads."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        try:
            self._workers.drain()
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
            stack.callback(self._workers.close)

    def _schedule(
        self,
        shape: tuple[int, ...],
        config: TilingConfig | None,
        *,
        halo: int | None,
        dtype: DTypeLike,
        tile: int | None = None,
    ) -> Schedule:
        """shape: of the picture. config: as it is tuned, or tried; None where that does not count."""
        height, width, channels = shape
        element = _element(self._precision_for(np.dtype(dtype)))
        return self._scheduler.schedule(
            height, width, halo=halo, dtype=dtype, channels=channels, tile=tile, element=element, config=config
        )

    def _run(
        self,
        worker: PictureWorker,
        source: InputImage,
        target: OutputImage,
        schedule: Schedule,
        report: _Progress,
        setting: Setting | None = None,
    ) -> int:
        precision = self._precision_for(source.dtype)
        schedule = self._scheduler.fitting(schedule, element=_element(precision))
        try:
            shared = self._prepared(worker, precision, schedule, setting)
        except ModelError as error:
            if precision == self._wide or not self._chosen_here:
                raise
            self._note(f"{precision} does not do for it, so it runs in {self._wide}: {error}")
            precision = self._precision = self._wide
            shared = self._prepared(worker, precision, schedule)
        bands = self._bands(worker, source, target, schedule)
        self.info["precision"] = precision
        if source.dtype.itemsize > 1 and shared.engine.element == np.float16:
            self._note(f"16-bit pictures go through {precision} with 11 of their bits: {_OTHER_PLAN}")
        report.restart()

        def better() -> SharedEngine | None:
            if self._quantised:
                self._note(f"values are not finite in {precision}, all that this plan has: {_OTHER_PLAN}")
                return None
            try:
                found = self._prepared(worker, self._wide, schedule)
            except (DeviceMemoryError, DeviceLostError):
                raise
            except SrganTrtError as error:
                self._note(f"values are not finite in {precision}, and there is no engine in {self._wide}: {error}")
                return None
            self._note(f"values that are not finite in {precision}: these tiles run again in {self._wide}")
            return found

        again = None if precision == self._wide and not self._quantised else better
        return sum(worker.run(shared, band, source, target, schedule, wide=again, done=report.more) for band in bands)

    def _verify_self_test(self, worker: PictureWorker) -> None:
        """Runs the plan's own picture, if it has one and no picture was run yet; other threads wait for that.

        Its tile is small, but the engine is the one that most pictures have. Raises DeviceError if it comes out as
        another picture than was proven.
        """
        with self._self_test_lock:
            if self._self_test is None:
                return

            def run(picture: Any, result: Any, whole: TilePlan) -> None:
                images = InputImage(picture, 1), OutputImage(result, self.spec.scale)
                self._run(worker, *images, Schedule(whole, SLOTS), _Progress(None))

            run_self_test(self._self_test, self.spec, run, what=f"{self._what} on the {self.gpu.name},")
            self._self_test = None

    def _precision_for(self, dtype: np.dtype[Any]) -> str:
        return self._wide if dtype.itemsize > 1 else self._precision

    def _setting(self, precision: str) -> Setting:
        """What was tuned, which is for 8-bit pictures."""
        return self._tunings.best(precision) if precision == self._precision else DEFAULT

    def _prepared(
        self, worker: PictureWorker, precision: str, schedule: Schedule, setting: Setting | None = None
    ) -> SharedEngine:
        """An engine for these tiles, with slots in the worker."""
        setting = setting or self._setting(precision)
        tile, batch, exactly = self._scheduler.engine_size(schedule, setting.tiling)

        def take() -> SharedEngine:
            shared = self._engines.take(precision, tile, batch, prelu=setting.prelu, exactly=exactly)
            worker.prepare(shared, schedule)
            return shared

        try:
            return take()
        except DeviceMemoryError:
            # Slots of another precision may be all that is in the way.
            if not worker.release_slots():
                raise
        return take()

    def _bands(self, worker: PictureWorker, source: InputImage, target: OutputImage, schedule: Schedule) -> list[Band]:
        """As few as may be, with memory for them reserved in the worker."""
        tiles, batch = schedule.tiles, schedule.batch
        rows = {"row_bytes": source.row_bytes, "kept_row_bytes": target.row_bytes}
        limit = min(_LARGEST_BAND, (self._memory.available() + worker.reserved()) // self._workers.limit)
        while True:
            bands = plan_bands(tiles, **rows, limit=limit)
            try:
                worker.reserve(source, target, bands, batch)
            except DeviceMemoryError:
                limit = largest_band(bands, **rows) // 2
                if len(plan_bands(tiles, **rows, limit=limit)) == len(bands):
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

    def _give_way(self, shortage: str, schedule: Schedule, precision: str) -> None:
        """Takes less memory from now on. Raises DeviceMemoryError if only smaller tiles can."""
        if self._workers.shrink():
            _log.warning("GPU memory is short: one picture at a time from now on")
            return
        if self._scheduler.shrink(schedule, element=_element(precision), engine=not self._engines.empty):
            return
        size = f"{schedule.tiles.tile_width} x {schedule.tiles.tile_height}"
        raise DeviceMemoryError(f"tiles of {size} pixels do not fit into the GPU's memory ({shortage})")

    def _note(self, note: str) -> None:
        """Says it once, in the log and in `info`."""
        with self._lock:
            if note in self.info["notes"]:
                return
            self.info["notes"].append(note)
        _log.warning("%s: %s", self.spec.name, note)


def _element(precision: str) -> int:
    """Bytes of a value in a network of that precision."""
    return 4 if precision == "fp32" else 2


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
