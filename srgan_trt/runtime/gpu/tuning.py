"""What a GPU leaves to be found out by trying: the size of tiles and their batches, and where PReLUs are done."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from ...cache import read_record, write_record
from ...errors import DeviceError, DeviceLostError, ModelError
from ..tuning import DEFAULT, Setting, TilingConfig, Tuning, search, tuning_file
from .tiling import KEPT
from .worker import SLOTS

if TYPE_CHECKING:
    from pathlib import Path

    from ...compiler.plan import Plan
    from .device import Gpu
    from .interfaces import EngineSource

_log = logging.getLogger(__name__)

TILINGS = (TilingConfig(512, SLOTS), TilingConfig(384, SLOTS, 2), TilingConfig(256, SLOTS, 4), TilingConfig(768, SLOTS))
"""In the order in which they are tried. Activations of small tiles stay in a GPU's L2 cache; their halos cost work."""
_RUNS_BEFORE = 2
"""Of a shape, before it is timed: TensorRT runs it, then its graph is captured."""


class GpuTunings:
    """What was found for a plan on a GPU, by precision. For any thread."""

    def __init__(self, plan: Plan, source: EngineSource, gpu: Gpu) -> None:
        self._plan, self._source, self._gpu = plan, source, gpu
        self._found: dict[str, Tuning | None] = {}
        self._lock = threading.Lock()

    def find(self, precision: str) -> Tuning | None:
        """None if this was not tuned."""
        with self._lock:
            if precision not in self._found:
                self._found[precision] = read_record(self._path(precision), Tuning)
            return self._found[precision]

    def best(self, precision: str) -> Setting:
        """The default where this was not tuned."""
        found = self.find(precision)
        return DEFAULT if found is None else found.best

    def search(self, precision: str, run: Callable[[Setting], None], *, size: tuple[int, int], budget: float) -> Tuning:
        """Finds the fastest setting, and keeps it. Each needs an engine of its own: where building one takes minutes,
        so does a trial.

        run: upscales a picture of `size` (height, width); budget: seconds, about. Raises DeviceError if there is
        nothing to choose, or what `run` raises of the default.
        """
        tilings, forms = self._candidates(precision)
        if not tilings and not forms:
            raise DeviceError(f"{self._plan.spec.name} leaves nothing to tune: its engine runs in one way only")
        found = search(tilings, partial(_seconds_of, run), size=size, budget=budget, forms=forms)
        write_record(self._path(precision), found)
        with self._lock:
            self._found[precision] = found
        return found

    def _candidates(self, precision: str) -> tuple[list[TilingConfig], list[Setting]]:
        spec = self._plan.spec
        fixed = self._source.largest_tile is not None or spec.fixed_shape is not None or spec.halo is None
        least = 2 * spec.default_halo + KEPT
        tilings = [] if fixed else [config for config in TILINGS if config.max_tile >= least]
        _, *others = self._source.prelus(precision)
        return tilings, [Setting(prelu=prelu) for prelu in others]

    def _path(self, precision: str) -> Path:
        gpu, spec = self._gpu, self._plan.spec
        facts = [self._source.name, gpu.name, list(gpu.compute_capability), precision, spec.default_halo]
        return tuning_file([self._plan.body_hash, *facts])


def _seconds_of(run: Callable[[Setting], None], setting: Setting) -> float:
    """That one run takes, once its engine and its graphs are there; infinity where they cannot be had."""
    try:
        for _ in range(_RUNS_BEFORE):
            run(setting)
        begin = time.perf_counter()
        run(setting)
        return time.perf_counter() - begin
    except DeviceLostError:
        raise
    except (DeviceError, ModelError) as error:
        if setting == DEFAULT:
            raise
        _log.warning("%s", error)
        return math.inf
