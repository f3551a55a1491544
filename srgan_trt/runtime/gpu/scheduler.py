"""Which tiles and batches a GPU's pictures go through in, by the network's own count of what it keeps in memory."""

from __future__ import annotations

import dataclasses
import logging
import threading
from typing import TYPE_CHECKING

import numpy as np

from ...compiler.live_memory import NetworkMemory, network_memory
from ...imaging.tiles import TilePlan, plan_tiles
from ..pipeline import Schedule, given_tile
from .tiling import (
    batch_size,
    choose_tile,
    engine_side,
    even_batches,
    even_step,
    largest_engine,
    seam_step,
)
from .worker import SLOTS
from .worker_pool import MAX_WORKERS

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from ...compiler.plan import Plan
    from ..tuning import TilingConfig
    from .device import Gpu

_log = logging.getLogger(__name__)

_SMALLEST_TILE = 32
_HALF = 2
"""Bytes of a float16 value."""


class Scheduler:
    """What fits into a GPU's memory, and less after each time that it did not. For any thread.

    element, of all methods: bytes of a value in the network.
    """

    def __init__(self, plan: Plan, gpu: Gpu, *, largest: tuple[int, int] | None, available: int) -> None:
        """largest: (height, width) of the tile of an engine that was built before; None if any may be built.
        available: bytes on the GPU that may be taken.

        The engine's size does not depend on `available`, so that it is built once.
        """
        self._spec, self._gpu, self._largest = plan.spec, gpu, largest
        # An engine file does not tell its network's; where it does not fit, tiles become smaller.
        network = NetworkMemory(0, 0) if plan.engine else network_memory(plan)
        values = 3 * (1 + plan.spec.scale**2) + network.live
        self._engine_limit = min((largest_engine(plan.spec, network, memory=gpu.memory), *(largest or ())))
        self.batch = batch_size(self._engine_limit**2, gpu.multiprocessors)
        """The most tiles at once that engines are built for."""
        self._halves = int(available / (MAX_WORKERS * SLOTS * _HALF * values))
        """Input pixels that a batch of a float16 network may have."""
        self._lock = threading.Lock()

    def schedule(
        self,
        height: int,
        width: int,
        *,
        halo: int | None,
        dtype: DTypeLike,
        channels: int,
        tile: int | None,
        element: int,
        config: TilingConfig | None = None,
    ) -> Schedule:
        """See Pipeline.schedule. config: what was tuned, where it counts.

        Raises DeviceError if the halo leaves nothing of the largest tiles that there is an engine for.
        """
        spec, multiple, context = self._spec, self._spec.multiple, halo or 0
        with self._lock:
            limit, pixels = self._engine_limit, self._pixels(element)
        if config is not None:
            limit = min(limit, config.max_tile)
        chosen, exactly = given_tile(spec, height, width, halo=halo, tile=tile), spec.fixed_shape is not None
        if chosen is None:
            chosen, exactly = choose_tile(
                height, width, halo=context, multiple=multiple, limit=limit, pixels=pixels, engine=self._largest
            )
        tiles = plan_tiles(
            height,
            width,
            tile=chosen,
            halo=context,
            fixed=exactly,
            multiple=multiple,
            even=even_step(multiple),
            align=seam_step(spec.scale * channels * np.dtype(dtype).itemsize),
            largest=self._largest,
        )
        filling = min(self.batch, batch_size(tiles.tile_area, self._gpu.multiprocessors))
        most = min(filling if config is None else config.batch, pixels // tiles.tile_area)
        return Schedule(tiles, SLOTS, even_batches(len(tiles.tiles), max(1, most)))

    def fitting(self, schedule: Schedule, *, element: int) -> Schedule:
        """The same, with batches no larger than memory does for now."""
        with self._lock:
            return dataclasses.replace(schedule, batch=self._batch(schedule, element))

    def engine_size(self, schedule: Schedule, config: TilingConfig | None) -> tuple[tuple[int, int], int, bool]:
        """(height, width) of the tile, and the batch, that an engine for this schedule is built for; and whether a
        larger one does not do. config: what was tuned, whose engine takes what fits into it."""
        tiles = schedule.tiles
        if config is not None:
            side = config.max_tile // self._spec.multiple * self._spec.multiple
            if max(tiles.tile_height, tiles.tile_width) <= side and schedule.batch <= config.batch:
                return (side, side), config.batch, True
        return self.engine_tile(tiles), self.batch, False

    def engine_tile(self, tiles: TilePlan) -> tuple[int, int]:
        """(height, width) of the tile that an engine for these tiles is built for, if nothing was tuned."""
        with self._lock:
            limit = self._engine_limit
        tallest, widest = self._largest or (None, None)
        return self._spec.fixed_shape or (
            engine_side(tiles.tile_height, limit, self._spec.multiple, tallest),
            engine_side(tiles.tile_width, limit, self._spec.multiple, widest),
        )

    def shrink(self, schedule: Schedule, *, element: int, engine: bool) -> bool:
        """Takes half of what did not fit from now on; False if only smaller tiles do. engine: whether it was built."""
        area = schedule.tiles.tile_area
        with self._lock:
            before = self._batch(schedule, element)
            self._halves = max(_SMALLEST_TILE**2, min(self._halves, before * area * element // _HALF) // 2)
            after = self._pixels(element) // area
            if not engine:
                self._engine_limit = max(_SMALLEST_TILE, self._engine_limit // 2)
        if not 1 <= after < before:
            return False
        _log.warning("GPU memory is short: batches of at most %d tiles from now on", after)
        return True

    def _pixels(self, element: int) -> int:
        return self._halves * _HALF // element

    def _batch(self, schedule: Schedule, element: int) -> int:
        return max(1, min(schedule.batch, self._pixels(element) // schedule.tiles.tile_area))
