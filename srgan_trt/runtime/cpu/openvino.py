"""Plans on the CPU, by OpenVINO.

Measured on the networks of benchmarks/networks.py (benchmarks/cpu_tiles.py reproduces it): one model compiled
for free height and width is as fast as one per shape, and a new shape costs it some 10 ms, so one is compiled
per number of streams. Threads are not pinned to cores: it gains nothing on an idle machine and loses half
the speed beside another process.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ...cache import cache_folder, key_of, write_record
from ...errors import DeviceError, ModelError, OtherPictureError
from ...imaging.tiles import TilePlan, plan_tiles
from ...machine import memory_bytes
from ...pixels import NOTES as PIXEL_NOTES
from ...spec import NetworkSpec
from ..pipeline import Schedule, check_arrays, given_tile
from ..tuning import DEFAULT, Setting, TilingConfig, Tuning, search
from .choice import TRIAL_SECONDS, Verdict, Way, choose, compared, failed, keep, race
from .compiled import CompiledPlan
from .library import load_openvino
from .processor import find_cpu, load_tuning, tuning_path
from .tiling import best_streams, best_tile, candidate_tilings, tuned_tile

if TYPE_CHECKING:
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
_LEAST_PASSES = 24
"""Times that the picture is upscaled while tuning, where there is time for that."""
_LEAST_KEPT = 96
"""Pixels beside the halos of the picture that is tuned on, at least."""
_FP32 = "name a plan in fp32, or the model, to keep them all"
_TRIAL_SIZE = (240, 320)
"""(height, width) of what int8 is tried on."""


class CpuPipeline:
    """A `Pipeline` (see runtime/pipeline.py) on all cores that this process may use.

    Runs of several threads follow one another, each on all cores: so memory is that of one run, and nothing
    is gained by sharing cores between pictures.
    """

    def __init__(self, plan: Plan, *, precision: str | None = None, threads: int | None = None) -> None:
        """precision: "fp32" or "bf16", of what the plan does not have in int8; "int8" for a plan that is or has one
        in int8; None for the fastest that passes here (see choice.py). threads: the most that compute; None for all
        cores that this process may use.

        Raises DeviceError if `precision` is not to be had here, OpenVINO cannot take the plan, or gives another picture
        than the plan's self-test wants.
        """
        self.spec: NetworkSpec = plan.spec
        self._plan = plan
        self._core: Any = load_openvino().Core()
        self._lock = threading.Lock()
        self._engines: dict[tuple[str, str, str | None, int], CompiledPlan] = {}
        self._closed = False
        self._warned_of_int8 = False
        self._cpu = find_cpu(self._core)
        if threads is not None:
            if threads < 1:
                raise DeviceError(f"threads is at least 1, not {threads}")
            self._cpu = dataclasses.replace(self._cpu, cores=min(threads, self._cpu.cores))
        self._cores = self._cpu.cores
        self._choice = choose(precision, plan, self._cpu)
        self.info: dict[str, Any] = {
            "device": "cpu",
            "name": self._cpu.name,
            "engine": f"OpenVINO {self._cpu.engine.split('-')[0]}",
            "precision": self._choice.narrow.name,
            "streams": self._cores,
            "notes": [*PIXEL_NOTES, *self._choice.notes],
        }
        self._tunings: dict[tuple[str, str], Tuning | None] = {}
        engine = self._first_engine()
        self._pixel_values = engine.pixel_values
        if self._choice.candidate is not None and engine.from_cache:
            self._try(self._choice.candidate)

    @property
    def max_concurrency(self) -> int:
        """See Pipeline."""
        return 1

    def schedule(
        self, height: int, width: int, *, halo: int | None, dtype: DTypeLike, channels: int = 3, tile: int | None = None
    ) -> Schedule:
        """See Pipeline. What `tune` found counts where tile and halo are left to be chosen."""
        way = self._way_for(np.dtype(dtype))
        if halo is None and self.spec.fixed_shape is None:
            needed = height * width * self._pixel_bytes(way)
            if needed > _ACTIVATION_BYTES:
                _log.warning(
                    "%s needs the whole picture at once: about %.1f GB of memory for %d x %d pixels",
                    self.spec.name, needed / 1e9, width, height,
                )  # fmt: skip
        config = self._setting(way).tiling if halo == self.spec.default_halo else None
        return self._schedule((height, width), way, halo=halo, config=config, tile=tile)

    def run(
        self,
        image: Image,
        out: Image,
        schedule: Schedule,
        *,
        progress: Callable[[int], None] | None = None,
        stop: threading.Event | None = None,
    ) -> int:
        """See Pipeline. Raises DeviceError if a tile does not fit into this machine's memory."""
        return self._run(image, out, schedule, progress, stop=stop)

    def pipeline_on(self, gpu: int) -> None:
        """See Pipeline."""
        return None

    def tune(self, image: NDArray[np.uint8], *, seconds: float) -> Tuning:
        """See Pipeline."""
        from ...compiler.conversion import lowerings_of  # here: graphs take half a second to import

        way = self._choice.narrow
        lowerings = lowerings_of(way.plan)
        one_way = self.spec.fixed_shape is not None or self.spec.halo is None
        if one_way and not lowerings:
            raise DeviceError(f"{self.spec.name} leaves nothing to tune: it runs in one way only")
        image = self._affordable(image, seconds)
        height, width, _ = image.shape
        halo, multiple, limit = self.spec.default_halo, self.spec.multiple, self._limit(way)
        tilings = [
            config
            for config in candidate_tilings(halo=halo, multiple=multiple, cores=self._cores, limit=limit)
            if not one_way and tuned_tile(config, height, width, halo=halo, multiple=multiple)
        ]
        tuning = search(
            tilings,
            lambda setting: self._seconds_of(setting, image, way),
            size=(height, width),
            budget=seconds,
            forms=[Setting(lowering=lowering) for lowering in lowerings],
        )
        write_record(tuning_path(way.plan, self._cpu, precision=way.arithmetic), tuning)
        self._tunings[way.plan.body_hash, way.arithmetic] = tuning
        return tuning

    def _affordable(self, image: NDArray[np.uint8], seconds: float) -> NDArray[np.uint8]:
        """As much of `image` as is done in a part of the time there is for tuning, but not too little for tiles."""
        height, width, _ = image.shape
        small = image[: -(-height // 4), : -(-width // 4)]
        way = self._choice.narrow
        self._seconds_of(DEFAULT, small, way)
        whole = self._seconds_of(DEFAULT, small, way) * image.size / small.size
        part = seconds / _LEAST_PASSES / max(whole, 1e-9)
        side = min(1.0, part) ** 0.5
        least = (2 * self.spec.default_halo + _LEAST_KEPT, 2 * (2 * self.spec.default_halo + _LEAST_KEPT))
        rows, columns = (
            min(length, max(low, round(length * side))) for length, low in zip((height, width), least, strict=True)
        )
        return np.ascontiguousarray(image[:rows, :columns])

    def _seconds_of(self, setting: Setting, image: NDArray[np.uint8], way: Way) -> float:
        """That `image` takes so, compiling not counted; infinity where the plan cannot be lowered so, or
        OpenVINO does not do with that what it should."""
        height, width, _ = image.shape
        spec = self.spec
        out = np.empty((height * spec.scale, width * spec.scale, 3), np.uint8)
        schedule = self._schedule((height, width), way, halo=spec.usual_halo, config=setting.tiling)
        try:
            with self._lock:
                self._check_open()
                self._engine(way, schedule.streams, setting.lowering)
        except (DeviceError, ModelError) as error:
            _log.warning("%s", error)
            return math.inf
        start = time.perf_counter()
        self._run(np.ascontiguousarray(image), out, schedule, None, (way, setting.lowering))
        return time.perf_counter() - start

    def tuning(self) -> Tuning | None:
        """See Pipeline."""
        return self._tuning(self._choice.narrow)

    def _first_engine(self) -> CompiledPlan:
        """Of 8-bit pictures, on all cores: what is wrong with a plan shows here."""
        while True:
            way = self._choice.narrow
            try:
                return self._engine(way, 1, self._setting(way).lowering)
            except DeviceError as error:
                self._leave_int8(way, error)

    def _leave_int8(self, way: Way, error: DeviceError) -> None:
        """Goes on without int8, from now on; raises `error` where there is nothing else, or it was asked for."""
        choice = self._choice
        if way is not choice.candidate and (way is not choice.narrow or choice.otherwise is None):
            raise error
        # What else went wrong, memory for example, may be right the next time.
        self._decide(failed(error), way, for_good=isinstance(error, OtherPictureError))
        _log.warning("%s runs in %s here, not in int8: %s", self.spec.name, self._choice.narrow.name, error)

    def _decide(self, verdict: Verdict, int8: Way, *, for_good: bool = True) -> None:
        """Goes on as `verdict` says, now and, for good, at the next start."""
        if for_good:
            keep(verdict, self._plan, int8.plan, self._cpu)
        notes = [note for note in self.info["notes"] if note not in self._choice.notes]
        self._choice = choose(None, self._plan, self._cpu, verdict=verdict)
        self.info |= {"precision": self._choice.narrow.name, "notes": [*notes, *self._choice.notes]}

    def _try(self, candidate: Way) -> None:
        """Finds out whether 8-bit pictures should run in `candidate`, and keeps that for the next start."""
        until = time.perf_counter() + TRIAL_SECONDS
        image = np.random.default_rng(0).integers(0, 256, (*_TRIAL_SIZE, 3), np.uint8)
        try:
            self._engine(candidate, 1, None)
        except DeviceError as error:
            return self._leave_int8(candidate, error)
        ways = (self._choice.narrow, candidate)
        seconds = race({way.name: partial(self._seconds_of, DEFAULT, image, way) for way in ways}, until=until)
        self._decide(compared(seconds), candidate)

    def _run(
        self,
        image: Image,
        out: Image,
        schedule: Schedule,
        progress: Callable[[int], None] | None,
        tried: tuple[Way, str | None] | None = None,
        stop: threading.Event | None = None,
    ) -> int:
        """tried: way and lowering to be measured; None: what the picture's depth asks for."""
        tiles = schedule.tiles
        check_arrays(image, out, tiles, self.spec.scale)
        with self._lock:
            self._check_open()
            while True:
                way = self._way_for(image.dtype) if tried is None else tried[0]
                self._warn_of_int8(way, image.dtype)
                lowering = self._setting(way).lowering if tried is None else tried[1]
                fitting = max(1, self._limit(way) // tiles.tile_area)
                batch = min(schedule.batch, fitting)
                streams = min(schedule.streams, fitting // batch, self._cores)
                self._check_memory(tiles, batch, way)
                try:
                    engine = self._engine(way, streams, lowering)
                    break
                except DeviceError as error:
                    self._leave_int8(way, error)
            for other in self._engines.values():
                if other is not engine:
                    other.release()
            self.info |= {"precision": way.name, "streams": streams, "batch": batch}
            self.info.pop("lowering", None)
            if lowering is not None:
                self.info["lowering"] = lowering
            try:
                return engine.run(image, out, tiles, self.spec, progress, batch=batch, stop=stop)
            except BaseException:
                # After a cancelled run, OpenVINO 2026.4 gives a picture of the size that was before it a result of the
                # cancelled one's size, whatever request it goes through. Read in again it does not.
                self._engines = {key: other for key, other in self._engines.items() if other is not engine}
                raise

    def _warn_of_int8(self, way: Way, dtype: np.dtype[Any]) -> None:
        """Said once: a plan of int8 alone has nothing else for 16-bit pictures, nor for those that want fp32."""
        if way.plan.spec.precision == "int8" and dtype.itemsize > 1 and not self._warned_of_int8:
            self._warned_of_int8 = True
            _log.warning("%s is in int8: 16-bit pictures go through it with 8 of their bits; %s", self.spec.name, _FP32)

    def _check_open(self) -> None:
        if self._closed:
            raise DeviceError("this pipeline was closed: open another one")

    def _check_memory(self, tiles: TilePlan, batch: int, way: Way) -> None:
        needed = batch * tiles.tile_area * self._pixel_bytes(way)
        if needed > memory_bytes():
            raise DeviceError(
                f"a tile of {tiles.tile_width} x {tiles.tile_height} pixels needs about {needed / 1e9:.0f} GB, this "
                f"machine has {memory_bytes() / 1e9:.0f}: use a smaller tile"
            )

    def _schedule(
        self, size: tuple[int, int], way: Way, *, halo: int | None, config: TilingConfig | None, tile: int | None = None
    ) -> Schedule:
        """size: height and width of the picture. config: what was tuned, where it counts. See `schedule`."""
        spec, limit = self.spec, self._limit(way)
        fixed, multiple = spec.fixed_shape is not None, spec.multiple
        plan = partial(plan_tiles, *size, halo=halo or 0, fixed=fixed, multiple=multiple)
        largest = given_tile(spec, *size, halo=halo, tile=tile)
        if largest is None:
            assert halo is not None
            if config is not None and (tuned := tuned_tile(config, *size, halo=halo, multiple=multiple)):
                return Schedule(plan(tile=tuned), config.streams, config.batch)
            largest = best_tile(*size, halo=halo, multiple=multiple, cores=self._cores, limit=limit)
        tiles = plan(tile=largest)
        return Schedule(tiles, best_streams(len(tiles.tiles), tiles.tile_area, cores=self._cores, limit=limit))

    def close(self) -> None:
        """See Pipeline. Waits for a run of another thread."""
        with self._lock:
            self._closed = True
            self._engines.clear()
            self._core = None  # its threads end with it: a process forked later would wait for them

    def _setting(self, way: Way) -> Setting:
        tuning = self._tuning(way)
        return DEFAULT if tuning is None else tuning.best

    def _tuning(self, way: Way) -> Tuning | None:
        key = (way.plan.body_hash, way.arithmetic)
        if key not in self._tunings:
            self._tunings[key] = load_tuning(way.plan, self._cpu, precision=way.arithmetic)
        return self._tunings[key]

    def _way_for(self, dtype: np.dtype[Any]) -> Way:
        return self._choice.wide if dtype.itemsize > 1 else self._choice.narrow

    def _pixel_bytes(self, way: Way) -> float:
        # input and output of two workers a stream: one packs and unpacks while the other's tile is in the network
        tensors = 2 * 4 * 3 * (1 + self.spec.scale**2)
        return self._pixel_values * _VALUE_BYTES[way.arithmetic] * _WORKSPACE + tensors

    def _limit(self, way: Way) -> int:
        """Input pixels in flight at once."""
        return int(min(_ACTIVATION_BYTES, memory_bytes() / 4) / self._pixel_bytes(way))

    def _engine(self, way: Way, streams: int, lowering: str | None) -> CompiledPlan:
        plan, arithmetic = way.plan, way.arithmetic
        key = (plan.body_hash, arithmetic, lowering, streams)
        if key not in self._engines:
            settings = {
                "NUM_STREAMS": streams,
                "INFERENCE_NUM_THREADS": self._cores,
                "INFERENCE_PRECISION_HINT": _HINTS[arithmetic],
                "ENABLE_CPU_PINNING": False,
            }
            if arithmetic == "fp32":
                settings["EXECUTION_MODE_HINT"] = "ACCURACY"
            held = plan.self_test is not None
            facts = [plan.body_hash, held, self._cpu.key(), settings, lowering]
            cached = cache_folder() / "openvino" / f"{key_of(facts)}.blob"
            like = next((engine for other, engine in self._engines.items() if other[:3] == key[:3]), None)
            self._engines[key] = CompiledPlan(
                self._core, plan, settings, cached, streams=streams, lowering=lowering, like=like
            )
        return self._engines[key]
