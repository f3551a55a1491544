"""Several devices as one: each picture goes to the one with the least to do, and to another if that one fails."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import DeviceError, DeviceLostError, DeviceMemoryError, SrganTrtError
from ..spec import NetworkSpec
from .pipeline import Schedule

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import DTypeLike, NDArray

    from .pipeline import DevicePipeline, Image, Pipeline
    from .tuning import Tuning

_log = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class _Member:
    pipeline: Pipeline
    pixels: int = 0
    """Of input, under way."""
    failure: str | None = None
    """Why it gets no more pictures."""

    @property
    def name(self) -> str:
        return str(self.pipeline.info["name"])


class MultiDevicePipeline:
    """A `Pipeline` (see runtime/pipeline.py) over pipelines of the same plan, each on a device of its own.

    A picture is never divided: what wins time is several pictures at once. A device that fails gets no more of them,
    which is logged and among the notes of `info`; the picture goes to another.
    """

    def __init__(self, pipelines: Sequence[Pipeline], *, fallback: Callable[[], Pipeline] | None = None) -> None:
        """Takes the pipelines over: `close` closes them. otherwise: opens one more where all others failed."""
        self._members = [_Member(pipeline) for pipeline in pipelines]
        self._fallback = fallback
        self._notes: list[str] = []
        self._closed = False
        self._lock = threading.Lock()

    @property
    def spec(self) -> NetworkSpec:
        """See Pipeline."""
        return self._members[0].pipeline.spec

    @property
    def max_concurrency(self) -> int:
        """See Pipeline."""
        return sum(pipeline.max_concurrency for pipeline in self._working())

    @property
    def info(self) -> dict[str, Any]:
        """The facts of the first device that works; name: of all that do; notes: each once."""
        infos = [pipeline.info for pipeline in self._working()]
        with self._lock:
            notes = dict.fromkeys([*self._notes, *(note for info in infos for note in info["notes"])])
        return {**infos[0], "name": ", ".join(str(info["name"]) for info in infos), "notes": list(notes)}

    def schedule(
        self, height: int, width: int, *, halo: int | None, dtype: DTypeLike, channels: int = 3, tile: int | None = None
    ) -> Schedule:
        """See Pipeline: the smallest tiles that a device prefers, because it is not known yet which one gets the
        picture, and the most streams and batches, of which each takes what it can."""
        options: Any = {"halo": halo, "dtype": dtype, "channels": channels, "tile": tile}
        made = [pipeline.schedule(height, width, **options) for pipeline in self._working()]
        tiles = min((each.tiles for each in made), key=lambda tiles: tiles.tile_area)
        return Schedule(tiles, max(each.streams for each in made), max(each.batch for each in made))

    def run(
        self,
        image: Image,
        out: Image,
        schedule: Schedule,
        *,
        progress: Callable[[int], None] | None = None,
        stop: threading.Event | None = None,
    ) -> int:
        """See Pipeline. Raises the first device's error if all of them fail."""
        pixels = schedule.tiles.height * schedule.tiles.width
        refused: dict[_Member, DeviceError] = {}
        while True:
            member = self._take(pixels, refused)
            try:
                not_finite = member.pipeline.run(image, out, schedule, progress=progress, stop=stop)
            except DeviceMemoryError:
                raise  # smaller tiles may do
            except DeviceError as error:
                if self._closed:
                    raise
                refused[member] = error
                if isinstance(error, DeviceLostError):
                    self._leave_out(member, error)
            else:
                # What only some refuse is their fault; what all refuse may be the picture's.
                for each, reason in refused.items():
                    self._leave_out(each, reason)
                return not_finite
            finally:
                with self._lock:
                    member.pixels -= pixels

    def pipeline_on(self, gpu: int) -> DevicePipeline | None:
        """See Pipeline."""
        found = (pipeline.pipeline_on(gpu) for pipeline in self._working())
        return next((pipeline for pipeline in found if pipeline is not None), None)

    def tune(self, image: NDArray[np.uint8], *, seconds: float) -> Tuning:
        """See Pipeline."""
        return self._working()[0].tune(image, seconds=seconds)

    def tuning(self) -> Tuning | None:
        """See Pipeline."""
        return self._working()[0].tuning()

    def close(self) -> None:
        """See Pipeline. Closes all of them, even if one fails to."""
        with self._lock:
            self._closed = True
            members = list(self._members)
        with ExitStack() as stack:
            for member in members:
                stack.callback(member.pipeline.close)

    def _working(self) -> list[Pipeline]:
        """Those that did not fail, or all if none is left."""
        with self._lock:
            members = [member for member in self._members if member.failure is None] or self._members
            return [member.pipeline for member in members]

    def _take(self, pixels: int, refused: dict[_Member, DeviceError]) -> _Member:
        """The one with the least to do of those that may take the picture, with the picture on its books."""
        with self._lock:
            members = self._candidates(refused)
            if not members and self._fallback is not None and not self._closed:
                try:
                    self._members.append(_Member(self._fallback()))
                except SrganTrtError as error:
                    raise self._first_failure(refused) from error
                self._fallback = None
                members = self._candidates(refused)
            if not members:
                raise self._first_failure(refused)
            chosen = min(members, key=lambda member: member.pixels)
            chosen.pixels += pixels
            return chosen

    def _candidates(self, refused: Collection[_Member]) -> list[_Member]:
        return [member for member in self._members if member.failure is None and member not in refused]

    def _first_failure(self, refused: dict[_Member, DeviceError]) -> DeviceError:
        if refused:
            return next(iter(refused.values()))
        return DeviceLostError(next(member.failure for member in self._members if member.failure is not None))

    def _leave_out(self, member: _Member, error: DeviceError) -> None:
        with self._lock:
            if member.failure is not None:
                return
            member.failure = str(error)
            name = f"{member.name} ({member.pipeline.info['device']})"
            others = [each.name for each in self._members if each.failure is None]
            note = f"the {name} gets no more pictures: {error}"
            if others:
                verb = "runs" if len(others) == 1 else "run"
                note = f"the {', '.join(others)} {verb} this, not the {name}: {error}"
            self._notes.append(note)
        _log.warning("%s", note)
