"""A plan compiled by OpenVINO, and the workers that take a picture through it tile by tile."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...cache import read_checksummed, write_checksummed
from ...errors import DeviceError, StoppedError
from ...imaging.tiles import Tile, TilePlan
from ...pixels import pack, unpack
from ...spec import NetworkSpec
from ...threads import result_of
from ..pipeline import NETWORK_THREADS
from ..self_test import run_self_test
from .memory import live_values

if TYPE_CHECKING:
    import openvino
    from numpy.typing import NDArray

    from ...compiler.plan import Plan
    from ..pipeline import Image

_log = logging.getLogger(__name__)

_GLANCE = 20
"""Milliseconds between two looks at whether a run is to be stopped."""
_PATIENCE = 0.1
"""Seconds after Ctrl-C for those who are unpacking a tile."""
_LONG = 1e10
"""Multiply-accumulates of a run from which on it is watched, though nobody but Ctrl-C may stop it: some 10 to 500 ms.
Watching a run costs a change of threads, which shorter ones would feel."""


class CompiledPlan:
    """A plan compiled for one precision, one number of streams and one lowering, with its requests."""

    def __init__(
        self,
        core: openvino.Core,
        plan: Plan,
        settings: dict[str, Any],
        cached: Path,
        *,
        streams: int,
        lowering: str | None = None,
        like: CompiledPlan | None = None,
    ) -> None:
        """settings: OpenVINO's, by name. cached: where the compiled network is kept between processes.
        lowering: of the sub-pixel convolutions (compiler/lowerings.py); None as they are.
        like: the same but for the number of streams, if there is one: OpenVINO reads in what it compiled sooner than
        it compiles, which takes longest in int8.

        Raises DeviceError if OpenVINO cannot take the plan or the plan's self-test fails, ModelError
        if it cannot be brought into `lowering`.
        """
        self.pixel_values = 0.0
        """Values per input pixel that must be in memory at the same time."""
        self._streams = streams
        self._lowering = lowering
        self._requests: list[openvino.InferRequest] = []
        self._used = False
        self._cached = cached
        loaded = self._load(core, settings, cached)
        self.from_cache = loaded is not None
        """Whether it was compiled at an earlier start."""
        again = self._load(core, settings, like._cached) if loaded is None and like is not None else None
        self._compiled = loaded or again or self._compile(core, plan, settings)
        if loaded is None:
            self._check(plan)
            self._keep(cached, None if again is None else like)

    def _load(self, core: openvino.Core, settings: dict[str, Any], cached: Path) -> openvino.CompiledModel | None:
        # OpenVINO's own CACHE_DIR maps the weights into memory unchecked: a damaged file gives damaged pictures.
        sealed = read_checksummed(cached)
        if sealed is None:
            return None
        self.pixel_values = float(np.frombuffer(sealed[:8], np.float64)[0])
        try:
            return core.import_model(sealed[8:], "CPU", settings)
        except RuntimeError as error:
            _log.warning("OpenVINO does not take the cached %s (%s): compiling again", cached, _first_line(error))
            return None

    def _compile(self, core: openvino.Core, plan: Plan, settings: dict[str, Any]) -> openvino.CompiledModel:
        network: Any = plan.network()
        if self._lowering is not None:
            from ...compiler.conversion import relowered_network  # here: graphs take half a second to import

            network = relowered_network(plan, self._lowering)
        try:
            model = core.read_model(network)
            compiled = core.compile_model(model, "CPU", settings)
            self.pixel_values = live_values(model, plan.spec)  # gives the model, a copy of which was compiled, one size
        except RuntimeError as error:
            raise DeviceError(f"OpenVINO cannot run the plan {plan.path}: {_first_line(error)}") from error
        return compiled

    def _check(self, plan: Plan) -> None:
        """Raises DeviceError if the plan's self-test fails."""
        if plan.self_test is None:
            return

        def run(picture: NDArray[np.uint8], result: NDArray[np.uint8], whole: TilePlan) -> None:
            self.run(picture, result, whole, plan.spec, None)
            self.release()

        run_self_test(plan.self_test, plan.spec, run, what=f"the plan {plan.path}, run by OpenVINO on this CPU,")

    def _keep(self, cached: Path, like: CompiledPlan | None) -> None:
        """Writes the compiled network, or what it was read from: OpenVINO 2026.4 does not import what it exported of a
        network that it imported."""
        if like is None:
            write_checksummed(
                cached, np.float64(self.pixel_values).tobytes() + self._compiled.export_model().getvalue()
            )
        elif (sealed := read_checksummed(like._cached)) is not None:
            write_checksummed(cached, sealed)

    def release(self) -> None:
        """Gives back the memory of activations; the next run takes it again."""
        if self._used:
            self._requests.clear()
            self._compiled.release_memory()
            self._used = False

    def run(
        self,
        image: Image,
        out: Image,
        tiles: TilePlan,
        spec: NetworkSpec,
        progress: Callable[[int], None] | None,
        *,
        batch: int = 1,
        stop: threading.Event | None = None,
    ) -> int:
        """As `Pipeline.run`, `batch` tiles in one run of the network. Raises DeviceError if OpenVINO fails.

        What interrupts the caller, Ctrl-C too, ends the work as `stop` does.
        """
        self._used = True
        workers = min(-(-len(tiles.tiles) // batch), 2 * self._streams)
        while len(self._requests) < workers:
            self._requests.append(self._compiled.create_infer_request())
        queue = _Queue(tiles.tiles, progress, stop)
        jobs = [
            lambda request=request: _work(request, queue, image, out, tiles, spec, batch)
            for request in self._requests[:workers]
        ]
        try:
            if workers == 1:
                return jobs[0]()
            return self._in_threads(jobs, queue)
        except RuntimeError as error:
            if isinstance(error, DeviceError):
                raise
            raise DeviceError(f"OpenVINO failed on {spec.name}: {_first_line(error)}") from error

    def _in_threads(self, jobs: Sequence[Callable[[], int]], queue: _Queue) -> int:
        pool = ThreadPoolExecutor(len(jobs), thread_name_prefix=NETWORK_THREADS)
        futures: list[Future[int]] = []
        patient = True
        try:
            futures.extend(pool.submit(job) for job in jobs)
            return sum(result_of(future) for future in futures)
        except (KeyboardInterrupt, SystemExit):
            # Their layers may take a second more. Whoever is at one is left to it, and touches no picture after that.
            patient = False
            queue.stop()
            wait(futures, timeout=_PATIENCE)
            raise
        finally:
            queue.stop()
            pool.shutdown(wait=patient)


class _Queue:
    """Tiles for several workers, how many are done, and whether the rest is wanted."""

    def __init__(
        self, tiles: tuple[Tile, ...], progress: Callable[[int], None] | None, stop: threading.Event | None
    ) -> None:
        self._tiles: Iterator[Tile] = iter(tiles)
        self._progress = progress
        self._done = count(1)
        self._lock = threading.Lock()
        self._stop = stop
        self.given_up = False
        """Whether the run has ended, but for those who are still at a tile."""

    def take(self, most: int) -> list[Tile]:
        with self._lock:
            return list(islice(self._tiles, most))

    def done(self) -> None:
        if self._progress is not None:
            with self._lock:
                self._progress(next(self._done))

    def stop(self) -> None:
        self.given_up = True
        with self._lock:
            self._tiles = iter(())

    @property
    def may_be_cancelled(self) -> bool:
        return self._stop is not None

    @property
    def cancelled(self) -> bool:
        """Whether the caller wants no more of it."""
        return self._stop is not None and self._stop.is_set()

    @property
    def stopped(self) -> bool:
        """Whether that, or a worker failed."""
        return self.given_up or self.cancelled


def _work(
    request: openvino.InferRequest,
    queue: _Queue,
    image: Image,
    out: Image,
    tiles: TilePlan,
    spec: NetworkSpec,
    batch: int,
) -> int:
    """Takes tiles until there are none; returns how many values were not finite."""
    import openvino

    levels = float(np.iinfo(image.dtype).max)
    watched = queue.may_be_cancelled or spec.macs * tiles.tile_height * tiles.tile_width * batch > _LONG
    (in_low, in_high), (out_low, out_high) = spec.input_range, spec.output_range
    in_scale, out_scale = (in_high - in_low) / levels, levels / (out_high - out_low)
    tensors: NDArray[np.float32] = np.empty((batch, 3, tiles.tile_height, tiles.tile_width), np.float32)
    scale, grid = spec.scale, spec.scale // spec.shuffle
    expected = (3 * spec.shuffle**2, tiles.tile_height * grid, tiles.tile_width * grid)
    not_finite = bound = 0
    try:
        while taken := queue.take(batch):
            if len(taken) != bound:
                bound = len(taken)
                request.set_input_tensor(openvino.Tensor(tensors[:bound], shared_memory=True))
            for tensor, tile in zip(tensors, taken, strict=False):
                pack(image, tensor, y=tile.y, x=tile.x, scale=in_scale, bias=in_low)
            if not watched:
                request.infer(share_outputs=True)
            elif not _infer(request, queue, spec.name):
                break
            if queue.given_up:
                break  # whose picture it was may have it back by now
            results = request.get_output_tensor().data
            if results.shape != (bound, *expected):
                promised = (bound, *expected)
                raise DeviceError(
                    f"{spec.name} gave {results.shape} where its spec promises {promised}: build the plan again"
                )
            for result, tile in zip(results, taken, strict=True):
                not_finite += unpack(
                    result,
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


def _infer(request: openvino.InferRequest, queue: _Queue, name: str) -> bool:
    """Runs the network; False if another worker failed meanwhile. OpenVINO looks between two layers.

    Raises StoppedError soon after `stop` was set.
    """
    request.start_async()
    ended = False
    try:
        while not (ended := request.wait_for(_GLANCE)) and not queue.stopped:
            pass
    finally:  # Ctrl-C in the main thread comes up here, too
        if not ended:
            request.cancel()
            with contextlib.suppress(RuntimeError):  # which says that it was cancelled
                request.wait()
    if queue.cancelled:
        raise StoppedError(f"{name}: the picture was given up")
    if ended:
        request.wait()  # raises what went wrong
    return ended


def _first_line(error: BaseException) -> str:
    """OpenVINO's messages begin with source positions; the last line that says something is the cause."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__
