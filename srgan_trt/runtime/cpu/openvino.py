"""Plans on the CPU, by OpenVINO.

Measured on the networks of benchmarks/networks.py (benchmarks/cpu_tiles.py reproduces it): one model compiled
for free height and width is as fast as one per shape, and a new shape costs it some 10 ms, so one is compiled
per number of streams. Threads are not pinned to cores: it gains nothing on an idle machine and loses half
the speed beside another process.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...cache import cache_folder, read_sealed, write_sealed
from ...errors import DeviceError
from ...imaging.tiles import Tile, TilePlan, plan_tiles
from ...spec import NetworkSpec
from ..tuning import Cut, Tuning, search, write_tuning
from .memory import live_values, memory_bytes
from .processor import choose_precision, find_cpu, kept_tuning, known_tuning
from .schedule import best_streams, best_tile, candidate_cuts, tile_of

if TYPE_CHECKING:
    import openvino
    from numpy.typing import DTypeLike, NDArray

    from ...compiler.plan import Plan
    from ..pipeline import Image

_log = logging.getLogger(__name__)

_HINTS = {"fp32": "f32", "bf16": "bf16"}
_VALUE_BYTES = {"fp32": 4, "bf16": 2}
_ACTIVATION_BYTES = 1_050_000_000
"""Memory for activations, of all streams together: what the constant 1.5 GB leaves beside the libraries."""
_WORKSPACE = 1.3
"""Memory really used, as a multiple of the tensors that must live at the same time: reordered copies."""


class CpuPipeline:
    """A `Pipeline` (see runtime/pipeline.py) on all cores that this process may use.

    Runs of several threads follow one another, each on all cores: so memory is that of one run, and nothing
    is gained by sharing cores between pictures.
    """

    def __init__(self, plan: Plan, *, precision: str | None = None) -> None:
        """precision: of what the plan does not have in int8; "int8" for such a plan is None.

        Raises DeviceError if `precision` is not to be had here, or OpenVINO cannot take the plan.
        """
        import openvino

        self.spec: NetworkSpec = plan.spec
        self._plan = plan
        self._core = openvino.Core()
        self._lock = threading.Lock()
        self._engines: dict[tuple[str, int], _Engine] = {}
        self._closed = False
        self._cpu = find_cpu(self._core)
        self._cores = self._cpu.cores
        self._precision, self._wide_precision, notes = choose_precision(
            None if precision == self.spec.precision == "int8" else precision, self._cpu.has_bf16
        )
        self.info: dict[str, Any] = {
            "device": "cpu",
            "name": self._cpu.name,
            "engine": f"OpenVINO {self._cpu.engine.split('-')[0]}",
            "precision": self._shown(self._precision),
            "streams": self._cores,
            "notes": notes,
        }
        self._tunings: dict[str, Tuning | None] = {}
        self._pixel_values = self._engine(self._precision, 1).pixel_values

    @property
    def at_once(self) -> int:
        """See Pipeline."""
        return 1

    def preferred_tile(self, height: int, width: int, *, halo: int | None, dtype: DTypeLike) -> tuple[int, int]:
        """See Pipeline. Raises DeviceError if the network needs a whole picture that does not fit into memory."""
        if self.spec.fixed_shape is not None:
            return self.spec.fixed_shape
        precision = self._precision_for(np.dtype(dtype))
        if halo is None:
            needed = height * width * self._pixel_bytes(precision)
            if needed > _ACTIVATION_BYTES:
                _log.warning(
                    "%s needs the whole picture at once: about %.1f GB of memory for %d x %d pixels",
                    self.spec.name, needed / 1e9, width, height,
                )  # fmt: skip
            return height, width
        cut = self._cut(precision) if halo == self.spec.default_halo else None
        if cut is not None and (tile := tile_of(cut, height, width, halo=halo, multiple=self.spec.multiple)):
            return tile
        return best_tile(
            height, width, halo=halo, multiple=self.spec.multiple, cores=self._cores, limit=self._limit(precision)
        )

    def run(self, image: Image, out: Image, tiles: TilePlan, *, progress: Callable[[int], None] | None = None) -> int:
        """See Pipeline."""
        return self._run(image, out, tiles, progress, self._cut(self._precision_for(image.dtype)))

    def for_images_on(self, gpu: int) -> None:
        """See Pipeline."""
        return None

    def tune(self, image: NDArray[np.uint8], *, seconds: float) -> Tuning:
        """See Pipeline."""
        if self.spec.fixed_shape is not None or self.spec.halo is None:
            raise DeviceError(f"{self.spec.name} leaves nothing to tune: it is cut in one way only")
        height, width, _ = image.shape
        scale, halo, multiple = self.spec.scale, self.spec.default_halo, self.spec.multiple
        out = np.empty((height * scale, width * scale, 3), np.uint8)
        limit = self._limit(self._precision)

        def seconds_of(cut: Cut | None) -> float:
            tile = None if cut is None else tile_of(cut, height, width, halo=halo, multiple=multiple)
            tile = tile or best_tile(height, width, halo=halo, multiple=multiple, cores=self._cores, limit=limit)
            tiles = plan_tiles(height, width, tile=tile, halo=halo, multiple=multiple)
            start = time.perf_counter()
            self._run(image, out, tiles, None, cut)
            return time.perf_counter() - start

        cuts = [
            cut
            for cut in candidate_cuts(halo=halo, multiple=multiple, cores=self._cores, limit=limit)
            if tile_of(cut, height, width, halo=halo, multiple=multiple)
        ]
        tuning = search(cuts, seconds_of, size=(height, width), budget=seconds)
        write_tuning(kept_tuning(self._plan, self._cpu, precision=self._precision), tuning)
        self._tunings[self._precision] = tuning
        return tuning

    def tuning(self) -> Tuning | None:
        """See Pipeline."""
        return self._tuning(self._precision)

    def _run(
        self, image: Image, out: Image, tiles: TilePlan, progress: Callable[[int], None] | None, cut: Cut | None
    ) -> int:
        _check_arrays(image, out, tiles, self.spec.scale)
        area = tiles.tile_height * tiles.tile_width
        precision = self._precision_for(image.dtype)
        if cut is not None and max(tiles.tile_height, tiles.tile_width) <= cut.side and len(tiles.tiles) >= cut.streams:
            streams = cut.streams
        else:
            streams = best_streams(len(tiles.tiles), area, cores=self._cores, limit=self._limit(precision))
        needed = area * self._pixel_bytes(precision)
        if needed > memory_bytes():
            raise DeviceError(
                f"a tile of {tiles.tile_width} x {tiles.tile_height} pixels needs about {needed / 1e9:.0f} GB, this "
                f"machine has {memory_bytes() / 1e9:.0f}: use a smaller tile"
            )
        with self._lock:
            if self._closed:
                raise DeviceError("this pipeline was closed: open another one")
            engine = self._engine(precision, streams)
            for other in self._engines.values():
                if other is not engine:
                    other.release()
            self.info |= {"precision": self._shown(precision), "streams": streams}
            return engine.run(image, out, tiles, self.spec, progress)

    def close(self) -> None:
        """See Pipeline. Waits for a run of another thread."""
        with self._lock:
            self._closed = True
            self._engines.clear()

    def _cut(self, precision: str) -> Cut | None:
        tuning = self._tuning(precision)
        return None if tuning is None else tuning.cut

    def _tuning(self, precision: str) -> Tuning | None:
        if precision not in self._tunings:
            self._tunings[precision] = known_tuning(self._plan, self._cpu, precision=precision)
        return self._tunings[precision]

    def _precision_for(self, dtype: np.dtype[Any]) -> str:
        return self._wide_precision if dtype.itemsize > 1 else self._precision

    def _shown(self, precision: str) -> str:
        return f"int8 and {precision}" if self.spec.precision == "int8" else precision

    def _pixel_bytes(self, precision: str) -> float:
        # input and output of two workers a stream: one packs and unpacks while the other's tile is in the network
        tensors = 2 * 4 * 3 * (1 + self.spec.scale**2)
        return self._pixel_values * _VALUE_BYTES[precision] * _WORKSPACE + tensors

    def _limit(self, precision: str) -> int:
        """Input pixels in flight at once."""
        return int(min(_ACTIVATION_BYTES, memory_bytes() / 4) / self._pixel_bytes(precision))

    def _engine(self, precision: str, streams: int) -> _Engine:
        if (precision, streams) not in self._engines:
            settings = {
                "NUM_STREAMS": streams,
                "INFERENCE_NUM_THREADS": self._cores,
                "INFERENCE_PRECISION_HINT": _HINTS[precision],
                "ENABLE_CPU_PINNING": False,
            }
            if precision == "fp32":
                settings["EXECUTION_MODE_HINT"] = "ACCURACY"
            facts = json.dumps([self._plan.body_hash, self._cpu.key(), settings], sort_keys=True)
            cached = cache_folder() / "openvino" / f"{hashlib.sha256(facts.encode()).hexdigest()[:32]}.blob"
            self._engines[precision, streams] = _Engine(self._core, self._plan, settings, cached, streams)
        return self._engines[precision, streams]


class _Engine:
    """The plan compiled for one precision and one number of streams, with its requests."""

    def __init__(self, core: openvino.Core, plan: Plan, settings: dict[str, Any], cached: Path, streams: int) -> None:
        self.pixel_values = 0.0
        self._streams = streams
        self._compiled = self._load(core, settings, cached) or self._compile(core, plan, settings, cached)
        self._requests: list[openvino.InferRequest] = []
        self._used = False

    def _load(self, core: openvino.Core, settings: dict[str, Any], cached: Path) -> openvino.CompiledModel | None:
        # OpenVINO's own CACHE_DIR maps the weights into memory unchecked: a damaged file gives damaged pictures.
        sealed = read_sealed(cached)
        if sealed is None:
            return None
        self.pixel_values = float(np.frombuffer(sealed[:8], np.float64)[0])
        try:
            return core.import_model(sealed[8:], "CPU", settings)
        except RuntimeError as error:
            _log.warning("OpenVINO does not take the cached %s (%s): compiling again", cached, _first_line(error))
            return None

    def _compile(
        self, core: openvino.Core, plan: Plan, settings: dict[str, Any], cached: Path
    ) -> openvino.CompiledModel:
        try:
            compiled = core.compile_model(str(plan.path), "CPU", settings)
            self.pixel_values = live_values(core.read_model(str(plan.path)), plan.spec)
        except RuntimeError as error:
            raise DeviceError(f"OpenVINO cannot run the plan {plan.path}: {_first_line(error)}") from error
        exported = compiled.export_model()
        write_sealed(cached, np.float64(self.pixel_values).tobytes() + exported.getvalue())
        return compiled

    def release(self) -> None:
        """Gives back the memory of activations; the next run takes it again."""
        if self._used:
            self._requests.clear()
            self._compiled.release_memory()
            self._used = False

    def run(
        self, image: Image, out: Image, tiles: TilePlan, spec: NetworkSpec, progress: Callable[[int], None] | None
    ) -> int:
        self._used = True
        workers = min(len(tiles.tiles), 2 * self._streams)
        while len(self._requests) < workers:
            self._requests.append(self._compiled.create_infer_request())
        queue = _Queue(tiles.tiles, progress)
        jobs = [
            lambda request=request: _work(request, queue, image, out, tiles, spec)
            for request in self._requests[:workers]
        ]
        try:
            if workers == 1:
                return jobs[0]()
            with ThreadPoolExecutor(workers, thread_name_prefix="srgan-trt") as pool:
                futures = [pool.submit(job) for job in jobs]
                try:
                    return sum(future.result() for future in futures)
                finally:
                    queue.stop()
        except RuntimeError as error:
            if isinstance(error, DeviceError):
                raise
            raise DeviceError(f"OpenVINO failed on {spec.name}: {_first_line(error)}") from error


class _Queue:
    """Tiles for several workers, and how many are done."""

    def __init__(self, tiles: tuple[Tile, ...], progress: Callable[[int], None] | None) -> None:
        self._tiles: Iterator[Tile] = iter(tiles)
        self._progress = progress
        self._done = count(1)
        self._lock = threading.Lock()

    def next(self) -> Tile | None:
        with self._lock:
            return next(self._tiles, None)

    def done(self) -> None:
        if self._progress is not None:
            with self._lock:
                self._progress(next(self._done))

    def stop(self) -> None:
        with self._lock:
            self._tiles = iter(())


def _work(
    request: openvino.InferRequest, queue: _Queue, image: Image, out: Image, tiles: TilePlan, spec: NetworkSpec
) -> int:
    """Takes tiles until there are none; returns how many values were not finite."""
    import openvino

    from ..._pixels import pack, unpack

    levels = float(np.iinfo(image.dtype).max)
    (in_low, in_high), (out_low, out_high) = spec.input_range, spec.output_range
    in_scale, out_scale = (in_high - in_low) / levels, levels / (out_high - out_low)
    window: NDArray[np.float32] = np.empty((1, 3, tiles.tile_height, tiles.tile_width), np.float32)
    request.set_input_tensor(openvino.Tensor(window, shared_memory=True))
    scale, grid = spec.scale, spec.scale // spec.shuffle
    expected = (1, 3 * spec.shuffle**2, tiles.tile_height * grid, tiles.tile_width * grid)
    not_finite = 0
    try:
        while (tile := queue.next()) is not None:
            pack(image, window[0], y=tile.y, x=tile.x, scale=in_scale, bias=in_low)
            request.infer(share_outputs=True)
            result = request.get_output_tensor().data
            if result.shape != expected:
                raise DeviceError(
                    f"{spec.name} gave {result.shape} where its spec promises {expected}: build the plan again"
                )
            not_finite += unpack(
                result[0],
                out,
                shuffle=spec.shuffle,
                top=(tile.keep_y - tile.y) * scale,
                left=(tile.keep_x - tile.x) * scale,
                y=tile.keep_y * scale,
                x=tile.keep_x * scale,
                height=tile.keep_height * scale,
                width=tile.keep_width * scale,
                scale=out_scale,
                bias=-out_low * out_scale,
            )
            queue.done()
    except BaseException:
        queue.stop()
        raise
    return not_finite


def _check_arrays(image: Image, out: Image, tiles: TilePlan, scale: int) -> None:
    if image.ndim != 3 or image.dtype not in (np.uint8, np.uint16):
        raise TypeError(f"image is {image.dtype} of shape {image.shape}, not uint8 or uint16 of (H, W, C)")
    height, width, channels = image.shape
    if (tiles.height, tiles.width) != (height, width):
        raise ValueError(f"the tiles are of {tiles.height} x {tiles.width}, the image is {height} x {width}")
    if out.shape != (height * scale, width * scale, channels) or out.dtype != image.dtype:
        raise ValueError(
            f"out is {out.dtype} of {out.shape}, not {image.dtype} of {(height * scale, width * scale, channels)}"
        )


def _first_line(error: BaseException) -> str:
    """OpenVINO's messages begin with source positions; the last line that says something is the cause."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__
