"""What one picture at a time needs of a GPU: memory on both sides of the bus, a stream for copies, slots for batches.

A band of the picture: one copy up (picture and table of tiles), batches that take turns in the slots, so that pack,
network and unpack of neighbours overlap, and copies down of what each batch has finished; before the last of them four
bytes for each tile that say how many of its values were not finite. The copies' stream and the slots' streams wait for
each other by events; the host waits for pieces of the canvas only.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...imaging.tiles import Tile
from ...spec import NetworkSpec
from ..pipeline import Schedule
from .canvas_download import CanvasDownload, Piece
from .device import bindings, checked, core, cuda_errors
from .engine_pool import EnginePool, SharedEngine
from .image_buffers import InputImage, OutputImage
from .kernels import BandKernels, PixelKernels
from .launch_geometry import TILE_JOB
from .memory import DeviceBuffer, DeviceMemory, HostBuffer, copy, quietly
from .network import NetworkSlot
from .tiling import Band, job_table

if TYPE_CHECKING:
    from numpy.typing import NDArray

SLOTS = 2
"""While one batch is in the network, the next one is packed and the one before unpacked."""
_ALIGNMENT = 256
"""Of the table behind the picture: as cuMemAlloc's."""


@dataclass(slots=True)
class _Placed:
    """A band on the GPU: address and shape of its picture and canvas, and where its rows begin."""

    band: Band
    source: tuple[int, tuple[int, int, int]]
    canvas: tuple[int, tuple[int, int, int]]
    top: int
    keep_top: int


class PictureWorker:
    """Bands of one picture after another. Not for two threads at once; the GPU's context must be current.

    `synchronize` must follow a `run` that raised, before anything else.
    """

    def __init__(
        self, number: int, memory: DeviceMemory, engines: EnginePool, kernels: PixelKernels, spec: NetworkSpec
    ) -> None:
        """number: of the GPU. Raises DeviceError."""
        self._number, self._memory, self._engines, self._kernels, self._spec = number, memory, engines, kernels, spec
        self._slots: dict[SharedEngine, list[NetworkSlot]] = {}
        with cuda_errors():
            device = core().Device(number)
            self._copies = device.create_stream()
            self._event = device.create_event()
        self._upload = DeviceBuffer(memory, self._copies)
        self._canvas = DeviceBuffer(memory, self._copies)
        self._counts = DeviceBuffer(memory, self._copies)
        self._staged_upload, self._staged_counts = HostBuffer(), HostBuffer()
        self._down = CanvasDownload(number, self._copies, spec.scale)

    def wait_for(self, event: Any) -> None:
        """The next `run` comes after an event of the caller (CUevent), None for none. Raises DeviceError."""
        if event is not None:
            checked(bindings().cuStreamWaitEvent(self._copies.handle, event, 0))

    def prepare(self, shared: SharedEngine, schedule: Schedule) -> None:
        """Makes the slots of an engine, which this worker then holds, with memory for the schedule's batches. Takes
        `shared` over, even if it raises.

        Raises DeviceMemoryError, DeviceError.
        """
        if shared in self._slots:
            self._engines.release(shared)
        else:
            self._slots[shared] = self._made(shared)
        tiles = schedule.tiles
        batch = min(schedule.batch, shared.engine.settings.batch, len(tiles.tiles))
        for slot in self._slots[shared][: -(-len(tiles.tiles) // batch)]:  # one run needs one slot
            slot.prepare(batch, tiles.tile_height, tiles.tile_width)

    def _made(self, shared: SharedEngine) -> list[NetworkSlot]:
        made: list[NetworkSlot] = []
        try:
            for _ in range(SLOTS):
                made.append(NetworkSlot(self._number, self._memory, shared, self._spec))
        except BaseException:
            for slot in made:
                slot.close()
            self._engines.release(shared)
            raise
        return made

    def release_slots(self) -> bool:
        """Closes the slots of all engines; False if there were none. Nothing may be running."""
        held = bool(self._slots)
        with ExitStack() as stack:
            while self._slots:
                shared, slots = self._slots.popitem()
                stack.callback(self._engines.release, shared)
                for slot in slots:
                    stack.callback(slot.close)
        return held

    def reserved(self) -> int:
        """Bytes on the GPU for pictures and canvases."""
        return self._upload.size + self._canvas.size

    def release(self) -> bool:
        """Gives back all memory, of both sides; False if there was none. Nothing may be running."""
        held = bool(self._slots) or self.reserved() > 0
        with ExitStack() as stack:
            for staged in (self._staged_upload, self._staged_counts):
                stack.callback(staged.close)
            stack.callback(self._down.release)
            stack.callback(quietly, self._copies.sync)
            for buffer in (self._upload, self._canvas, self._counts):
                stack.callback(buffer.close)
            stack.callback(self.release_slots)
        return held

    def reserve(self, source: InputImage, target: OutputImage, bands: Sequence[Band], batch: int) -> None:
        """Memory for the largest of `bands`. Raises DeviceMemoryError, DeviceError."""
        rows = max(len(band.tiles) for band in bands) + batch
        table = rows * TILE_JOB.itemsize
        uploads = max(source.bytes(band) for band in bands)
        canvas = max(target.bytes(band) for band in bands)
        self._upload.reserve(_aligned(uploads) + table)
        self._counts.reserve(4 * rows)
        self._staged_counts.reserve(4 * rows)
        self._staged_upload.reserve(_aligned(uploads if source.staged else 0) + table)
        if canvas:
            self._canvas.reserve(canvas)
        if canvas and target.staged:
            self._down.reserve(canvas)

    def run(
        self,
        shared: SharedEngine,
        band: Band,
        source: InputImage,
        target: OutputImage,
        schedule: Schedule,
        *,
        wide: Callable[[], SharedEngine | None] | None,
        done: Callable[[int], None],
    ) -> int:
        """One band through the network; memory is reserved and `shared` prepared.

        wide: prepares and gives the engine for tiles whose values are not finite, if there is one; None where another
        would not help.
        done: told how many more tiles are done. Returns how many values were not finite. Raises DeviceError.
        """
        placed = self._place(band, source, target)
        picture = source.bytes(band)
        self._down.begin(band, target, placed.canvas[0])
        first = source if picture else None
        counts = self._pass(shared, placed, band.tiles, schedule, target.dtype, picture, first, done)
        bad = [tile for tile, count in zip(band.tiles, counts, strict=True) if count]
        better = wide() if bad and wide is not None else None
        if better is not None:
            counts = self._pass(better, placed, bad, schedule, target.dtype, picture, None, lambda _: None)
        return int(counts.sum())

    def synchronize(self) -> None:
        """Waits for whatever still runs, so that memory may be used again or freed; says nothing about errors."""
        for stream in [self._copies, *(slot.stream for slots in self._slots.values() for slot in slots)]:
            quietly(stream.sync)

    def close(self) -> None:
        """Frees everything. Nothing may be running."""
        with ExitStack() as stack:
            stack.callback(quietly, self._copies.close)
            stack.callback(quietly, self._event.close)
            stack.callback(self._down.close)
            stack.callback(self.release)

    def _place(self, band: Band, source: InputImage, target: OutputImage) -> _Placed:
        """Where picture and canvas of the band lie: in our memory, or all of it where the caller has it on the GPU."""
        upload = int(self._upload.reserve(0).handle)
        canvas = int(self._canvas.reserve(0).handle) if target.bytes(band) else 0
        return _Placed(
            band,
            source.placed(band, upload),
            target.placed(band, canvas),
            top=band.top if source.bytes(band) else 0,
            keep_top=band.keep_top if target.bytes(band) else 0,
        )

    def _pass(
        self,
        shared: SharedEngine,
        placed: _Placed,
        chosen: Sequence[Tile],
        schedule: Schedule,
        dtype: np.dtype[Any],
        picture: int,
        source: InputImage | None,
        done: Callable[[int], None],
    ) -> NDArray[np.uint32]:
        """The chosen tiles from the picture to the canvas, both on the GPU, and down; returns each tile's count of
        values that were not finite. source: whose band is sent up before; None where it is there already."""
        batch = min(schedule.batch, shared.engine.settings.batch, len(chosen))
        batches = -(-len(chosen) // batch)
        rows, tile = batches * batch, (schedule.tiles.tile_height, schedule.tiles.tile_width)
        jobs = job_table(chosen, rows=rows, scale=self._spec.scale, top=placed.top, keep_top=placed.keep_top)
        table = self._send(placed.band, source, jobs, picture)
        counts = int(self._counts.reserve(4 * rows).handle)
        kernels = BandKernels(
            self._kernels,
            self._spec,
            dtype=dtype,
            element=shared.engine.element,
            tile=tile,
            jobs=jobs,
            batch=batch,
            source=placed.source,
            canvas=placed.canvas,
            table=table,
            not_finite=counts,
        )
        slots = self._slots[shared][: schedule.streams]
        for slot in slots[:batches]:
            with cuda_errors():
                slot.stream.wait(self._event)
        ahead: deque[tuple[list[tuple[Any, Piece | None]], int]] = deque()
        for first in range(0, len(chosen), batch):
            slot = slots[first // batch % len(slots)]
            if len(ahead) == 2 * len(slots):
                self._land(ahead, done)
            slot.prepare(batch, *tile)
            kernels.pack(slot.stream, first, slot.address("input"))
            slot.enqueue(batch, *tile)
            kernels.unpack(slot.stream, first, slot.address("output"))
            last, part = first + batch >= len(chosen), chosen[first : first + batch]
            with cuda_errors():
                self._copies.wait(slot.record())
                if last:
                    copy(self._copies, self._staged_counts.reserve(4 * rows), counts, 4 * rows)
                ahead.append((self._down.enqueue(part, last=last), len(part)))
        while ahead:
            self._land(ahead, done)
        return self._staged_counts.view((rows,), np.uint32)[: len(chosen)].copy()

    def _land(self, ahead: deque[tuple[list[tuple[Any, Piece | None]], int]], done: Callable[[int], None]) -> None:
        """Waits for the oldest batch, whose tiles are the caller's then."""
        pieces, count = ahead.popleft()
        for event, piece in pieces:
            self._down.land(event, piece)
        done(count)

    def _send(self, band: Band, source: InputImage | None, jobs: NDArray[np.void], picture: int) -> int:
        """Picture and table in one copy; returns the table's address. `self._event` comes after it."""
        upload = self._upload.reserve(0)
        where = _aligned(picture)
        address = int(upload.handle)
        staged_picture = source is not None and source.staged
        begin = 0 if staged_picture else where
        size = where + jobs.nbytes - begin
        staged = self._staged_upload.reserve(size)
        if source is not None and source.staged:
            self._staged_upload.view(source.shape(band), source.dtype)[...] = source.rows(band)
        self._staged_upload.view(jobs.shape, jobs.dtype, offset=where - begin)[...] = jobs
        with cuda_errors():
            if source is not None and not source.staged:
                source.copy_between_contexts(self._copies, band, address, out=False)
            copy(self._copies, address + begin, staged, size)
            self._counts.reserve(4 * len(jobs)).fill(0, stream=self._copies)
            self._copies.record(self._event)
        return address + where


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
