"""How much a picture lost when it was saved: by a JPEG's quantisation tables, or by a WebP's kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_LUMINANCE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)
"""Steps of quality 50 (ITU-T T.81, table K.1), which the Independent JPEG Group's library scales for the others."""


@dataclass(frozen=True, slots=True)
class Compression:
    """What a lossy file says about its loss."""

    codec: str
    """"JPEG" or "WebP"."""
    quality: int | None
    """1 to 100, as libjpeg counts: of the scaled standard table that is nearest; None where the file does not tell."""

    def __str__(self) -> str:
        return self.codec if self.quality is None else f"{self.codec} quality {self.quality}"


def jpeg_compression(tables: Mapping[int, Sequence[int]]) -> Compression | None:
    """Of a JPEG with these quantisation tables, 64 steps each in rows, luminance first; None without a whole one.

    Cameras and Photoshop have tables of their own: the quality is that of the standard table whose steps are nearest
    by ratio, which weighs fine and coarse ones alike.
    """
    found = np.array(tables.get(0, ()), float)
    if found.size != _LUMINANCE.size or found.min() < 1:
        return None
    distances = np.abs(np.log(_SCALED) - np.log(found)).sum(axis=1)
    # Several of the highest qualities have the same table of ones: the highest says what it is.
    return Compression("JPEG", 100 - int(np.argmin(distances[::-1])))


def _scaled(quality: int) -> NDArray[np.int64]:
    """The standard table as libjpeg's jpeg_set_quality makes it for baseline files."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    table: NDArray[np.int64] = np.clip((_LUMINANCE.ravel() * percent + 50) // 100, 1, 255)
    return table


_SCALED = np.stack([_scaled(quality) for quality in range(1, 101)]).astype(float)


def webp_compression(chunks: bytes) -> Compression | None:
    """Of a WebP file's first bytes, from its RIFF header on: lossy (a VP8 chunk, RFC 9649, section 2.5) or None.

    The quality is not told: VP8 has one step for each part of the picture, behind an arithmetic coder.
    """
    place = 12
    while place + 8 <= len(chunks):
        kind = chunks[place : place + 4]
        if kind in (b"VP8 ", b"VP8L"):
            return Compression("WebP", None) if kind == b"VP8 " else None
        size = int.from_bytes(chunks[place + 4 : place + 8], "little")
        place += 8 + size + size % 2
    return None
