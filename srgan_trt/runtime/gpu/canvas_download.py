"""The canvas on its way to the host, in pieces: finished tiles go down while later ones are computed.

Each piece is copied to page-locked memory, and from there to the caller's array, while the next one is on the bus.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...imaging.tiles import Tile
from .device import core, cuda_errors
from .image_buffers import OutputImage
from .memory import HostBuffer, copy_rectangle, quietly
from .tiling import Band

if TYPE_CHECKING:
    from numpy.typing import NDArray

PIECE = 1 << 24
"""Bytes of a piece, at most: a millisecond of the bus. The whole of a small picture is one, with one wait."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A rectangle of a picture's canvas, in output pixels."""

    top: int
    left: int
    height: int
    width: int


def pieces_of(tiles: Sequence[Tile], *, scale: int, pixel_bytes: int, most: int = PIECE) -> list[Piece]:
    """What `tiles`, some in reading order, keep: neighbours of a row as one piece, in parts of at most `most` bytes, or
    of one row. pixel_bytes: of the canvas."""
    rows: list[list[Tile]] = []
    for tile in tiles:
        before = rows[-1][-1] if rows else None
        if before and (before.keep_y, before.keep_x + before.keep_width) == (tile.keep_y, tile.keep_x):
            rows[-1].append(tile)
        else:
            rows.append([tile])
    found = []
    for row in rows:
        top, end = row[0].keep_y * scale, (row[0].keep_y + row[0].keep_height) * scale
        left, right = row[0].keep_x * scale, (row[-1].keep_x + row[-1].keep_width) * scale
        count = -(-(end - top) // max(1, most // ((right - left) * pixel_bytes)))
        step = -(-(end - top) // count)
        found += [Piece(y, left, min(step, end - y), right - left) for y in range(top, end, step)]
    return found


class CanvasDownload:
    """Canvases of one picture after another, by one stream."""

    def __init__(self, number: int, stream: Any, scale: int) -> None:
        """number: of the GPU. stream: for the copies."""
        self._number, self._stream, self._scale = number, stream, scale
        self._staged = HostBuffer()
        self._events: list[Any] = []
        self._free: list[Any] = []

    def reserve(self, size: int) -> None:
        """Page-locked memory for canvases of `size` bytes. Raises DeviceMemoryError, DeviceError."""
        self._staged.reserve(size)

    def begin(self, band: Band, target: OutputImage, canvas: int) -> None:
        """What follows is of this band, whose canvas is at the address `canvas` on the GPU. Nothing may be on its way
        that `land` was not called for, unless the stream was waited for."""
        self._band, self._target, self._canvas = band, target, canvas
        self._free = list(self._events)

    def enqueue(self, tiles: Sequence[Tile], *, last: bool) -> list[tuple[Any, Piece | None]]:
        """Copies what `tiles` keep, which the stream has waited for; `last` ones of the band. `land` is due for each
        that is returned, in order."""
        band, target = self._band, self._target
        size = target.bytes(band)
        if size and not target.staged and last:
            # On the GPU, where copies of rectangles may be refused, and nothing is gained by them.
            target.copy_between_contexts(self._stream, band, self._canvas, out=True)
        if not (size and target.staged):
            return [(self._recorded(), None)]
        _, width, channels = target.shape(band)
        pixel = channels * target.dtype.itemsize
        found: list[tuple[Any, Piece | None]] = []
        for piece in pieces_of(tiles, scale=self._scale, pixel_bytes=pixel):
            offset = ((piece.top - band.keep_top * self._scale) * width + piece.left) * pixel
            copy_rectangle(
                self._stream,
                self._staged.address + offset,
                self._canvas + offset,
                rows=piece.height,
                row_bytes=piece.width * pixel,
                pitch=width * pixel,
            )
            found.append((self._recorded(), piece))
        return found

    def land(self, event: Any, piece: Piece | None) -> None:
        """Waits for one of `enqueue`'s and fills its part of the caller's array. Raises DeviceError."""
        with cuda_errors():
            event.sync()
        self._free.append(event)
        if piece is None:
            return
        canvas: NDArray[Any] = self._staged.view(self._target.shape(self._band), self._target.dtype)
        top = piece.top - self._band.keep_top * self._scale
        part = slice(top, top + piece.height), slice(piece.left, piece.left + piece.width)
        self._target.rows(self._band)[part] = canvas[part]

    def release(self) -> None:
        """Gives the memory back; nothing may be on its way."""
        self._staged.close()

    def close(self) -> None:
        """Frees everything; nothing may be on its way."""
        self._staged.close()
        for event in self._events:
            quietly(event.close)

    def _recorded(self) -> Any:
        with cuda_errors():
            if not self._free:
                options = core().EventOptions(blocking_sync=True)
                self._events.append(core().Device(self._number).create_event(options))
                self._free.append(self._events[-1])
            event = self._free.pop()
            self._stream.record(event)
        return event
