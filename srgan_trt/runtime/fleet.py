"""Several devices as one: each picture goes to the one with the least to do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from ..imaging.tiles import TilePlan
from ..spec import NetworkSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import DTypeLike, NDArray

    from .pipeline import DevicePipeline, Image, Pipeline
    from .tuning import Tuning


class Fleet:
    """A `Pipeline` (see runtime/pipeline.py) over pipelines of the same plan, each on a device of its own.

    A picture is never divided: what wins time is several pictures at once.
    """

    def __init__(self, pipelines: Sequence[Pipeline]) -> None:
        """Takes the pipelines over: `close` closes them."""
        self._pipelines = tuple(pipelines)
        self._pixels = [0] * len(self._pipelines)
        """Input pixels under way on each."""
        self._lock = threading.Lock()

    @property
    def spec(self) -> NetworkSpec:
        """See Pipeline."""
        return self._pipelines[0].spec

    @property
    def at_once(self) -> int:
        """See Pipeline."""
        return sum(pipeline.at_once for pipeline in self._pipelines)

    @property
    def info(self) -> dict[str, Any]:
        """The facts of the first device; name: of all of them; notes: each once."""
        infos = [pipeline.info for pipeline in self._pipelines]
        notes = dict.fromkeys(note for info in infos for note in info["notes"])
        return {**infos[0], "name": ", ".join(str(info["name"]) for info in infos), "notes": list(notes)}

    def preferred_tile(self, height: int, width: int, *, halo: int | None, dtype: DTypeLike) -> tuple[int, int]:
        """See Pipeline: the smallest that a device prefers, because it is not known yet which one gets the picture."""
        sizes = (pipeline.preferred_tile(height, width, halo=halo, dtype=dtype) for pipeline in self._pipelines)
        return min(sizes, key=lambda size: size[0] * size[1])

    def run(self, image: Image, out: Image, tiles: TilePlan, *, progress: Callable[[int], None] | None = None) -> int:
        """See Pipeline."""
        pixels = tiles.height * tiles.width
        with self._lock:
            chosen = min(range(len(self._pipelines)), key=self._pixels.__getitem__)
            self._pixels[chosen] += pixels
        try:
            return self._pipelines[chosen].run(image, out, tiles, progress=progress)
        finally:
            with self._lock:
                self._pixels[chosen] -= pixels

    def for_images_on(self, gpu: int) -> DevicePipeline | None:
        """See Pipeline."""
        found = (pipeline.for_images_on(gpu) for pipeline in self._pipelines)
        return next((pipeline for pipeline in found if pipeline is not None), None)

    def tune(self, image: NDArray[np.uint8], *, seconds: float) -> Tuning:
        """See Pipeline."""
        return self._pipelines[0].tune(image, seconds=seconds)

    def tuning(self) -> Tuning | None:
        """See Pipeline."""
        return self._pipelines[0].tuning()

    def close(self) -> None:
        """See Pipeline. Closes all of them, even if one fails to."""
        with ExitStack() as stack:
            for pipeline in self._pipelines:
                stack.callback(pipeline.close)
