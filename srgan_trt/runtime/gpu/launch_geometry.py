"""How the CUDA kernels of csrc/ are launched: their names, their table of tiles, their grids and blocks.

The numbers belong to csrc/pack.cu, csrc/unpack.cu and csrc/tile_job.h.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike

TILE_JOB = np.dtype(
    [(name, np.int32) for name in ("y", "x", "top", "left", "out_y", "out_x", "out_height", "out_width")]
)
"""One row of the table of tiles, 32 bytes; the fields' meanings are in csrc/tile_job.h."""

LARGEST_SHUFFLE = 256
"""What the unpack kernels' shared memory holds a tensor pixel of."""

_PACK_THREADS = 256
_PACK_COLUMNS_PER_LANE = 8
_UNPACK_THREADS = 128
_UNPACK_LEVELS_PER_LANE = 96
_LARGEST_GRID = 65535  # in y and z

_SHORT = {
    np.dtype(np.uint8): "u8",
    np.dtype(np.uint16): "u16",
    np.dtype(np.float16): "f16",
    np.dtype(np.float32): "f32",
}


@dataclass(frozen=True, slots=True)
class LaunchGeometry:
    """Blocks in the grid and threads in a block, each (x, y, z), as cuLaunchKernel takes them."""

    grid: tuple[int, int, int]
    block: tuple[int, int, int]


def kernel_name(operation: str, source: DTypeLike, target: DTypeLike) -> str:
    """``"pack_u8_f16"`` for ("pack", uint8, float16); "pack" or "unpack", uint8 or uint16, float16 or float32."""
    return f"{operation}_{_SHORT[np.dtype(source)]}_{_SHORT[np.dtype(target)]}"


def pack_launch(height: int, width: int, *, count: int) -> LaunchGeometry:
    """For pack kernels: `count` tiles of ``height x width`` pixels, one a block in z. All are at least 1.

    Raises ValueError for more than 65535 tiles.
    """
    # A width that is not a multiple of a sector's 16 float16 shifts rows by up to 15 columns.
    columns = width if width % 16 == 0 else width + 15
    return _launch(height, columns, lambda workers: workers * _PACK_COLUMNS_PER_LANE, _PACK_THREADS, count)


def unpack_launch(
    height: int, width: int, *, out_height: int, shuffle: int, channels: int, count: int
) -> LaunchGeometry:
    """For unpack kernels: `count` tiles, one a block in z.

    height, width: of the tensor. out_height: rows of the highest region among the tiles, in output pixels;
    0 where no region has any. channels: of the canvas, 3 or 1. All others are at least 1.
    Raises ValueError for more than 65535 tiles and a shuffle above `LARGEST_SHUFFLE`.
    """
    if shuffle > LARGEST_SHUFFLE:
        raise ValueError(f"the kernels shuffle by at most {LARGEST_SHUFFLE}, not {shuffle}")

    def pixels(workers: int) -> int:
        fit = workers * _UNPACK_LEVELS_PER_LANE // (shuffle * channels)
        return fit // 8 * 8 if fit > 8 else fit

    return _launch(min(out_height, height * shuffle), width, pixels, _UNPACK_THREADS, count)


def _launch(rows: int, columns: int, columns_of: Callable[[int], int], threads: int, count: int) -> LaunchGeometry:
    """A group of lanes a row: as few lanes as make a row in one go, so that few of them idle in narrow tiles."""
    if count > _LARGEST_GRID:
        raise ValueError(f"the kernels take at most {_LARGEST_GRID} tiles at once, not {count}")
    workers = next((workers for workers in (8, 16) if columns_of(workers) >= columns), 32)
    groups = threads // workers
    # Kernels stride over what a grid cut off here leaves. The driver refuses a grid of no blocks.
    grid = (-(-columns // columns_of(workers)), min(-(-max(1, rows) // groups), _LARGEST_GRID), count)
    return LaunchGeometry(grid, (workers, groups, 1))
