"""The tiles that the GPU pipeline chooses for a picture in full HD, through the kernels: 16 bytes at a time, and
hardly more bytes than there must be."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from srgan_trt.imaging.tiles import TilePlan, plan_tiles
from srgan_trt.runtime.gpu.tiling import choose_tile, even_step, job_table, seam_step

from ..cuda_host import kernels

HEIGHT, WIDTH = 1080, 1920
SCALE = SHUFFLE = 4
NETWORKS = [10, 16]
"""Halos, of small networks and of srgan-x4."""


def planned(halo: int, channels: int, itemsize: int) -> TilePlan:
    """As the pipeline comes to them."""
    tile, exactly = choose_tile(HEIGHT, WIDTH, halo=halo, multiple=1, limit=1024, pixels=1 << 20)
    align = seam_step(SCALE * channels * itemsize)
    return plan_tiles(HEIGHT, WIDTH, tile=tile, halo=halo, fixed=exactly, even=even_step(1), align=align)


def some(tiles: TilePlan) -> NDArray[np.void]:
    """Jobs of the tiles at the picture's corners."""
    columns = len({tile.x for tile in tiles.tiles})
    chosen = [tiles.tiles[i] for i in (0, columns - 1, -columns, -1)]
    return job_table(chosen, rows=len(chosen), scale=SCALE, top=0, keep_top=0)


@pytest.mark.parametrize("halo", NETWORKS)
@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("level", [np.uint8, np.uint16])
def test_pack(halo: int, channels: int, level: type) -> None:
    tiles = planned(halo, channels, np.dtype(level).itemsize)
    image = kernels.on_sector((HEIGHT, WIDTH, channels), level)
    tensor = kernels.on_sector((1, 3, tiles.tile_height, tiles.tile_width), np.float16)
    jobs = some(tiles)
    least, total = 0, 0
    for index in range(len(jobs)):
        counts = kernels.moved(lambda index=index: kernels.pack(image, jobs, tensor, first=index))
        assert counts.narrow == 0
        least += tiles.tile_height * tiles.tile_width * (channels * image.itemsize + 3 * tensor.itemsize)
        total += 32 * (counts.sectors_read + counts.sectors_written)
    assert least <= total <= 1.1 * least


@pytest.mark.parametrize("halo", NETWORKS)
@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("level", [np.uint8, np.uint16])
def test_unpack(halo: int, channels: int, level: type) -> None:
    """Tiles cropped to what is kept of them, all of them."""
    tiles = planned(halo, channels, np.dtype(level).itemsize)
    canvas = kernels.on_sector((HEIGHT * SCALE, WIDTH * SCALE, channels), level)
    grid = SCALE // SHUFFLE
    tensor = kernels.on_sector((1, 3 * SHUFFLE**2, tiles.tile_height * grid, tiles.tile_width * grid), np.float16)
    jobs = some(tiles)
    least, total = 0, 0
    for index, job in enumerate(jobs):
        counts = kernels.moved(lambda index=index: kernels.unpack(tensor, jobs, canvas, shuffle=SHUFFLE, first=index))
        assert counts.narrow == 0
        pixels = int(job["out_height"]) * int(job["out_width"])
        least += pixels * (3 * tensor.itemsize + channels * canvas.itemsize)
        total += 32 * (counts.sectors_read + counts.sectors_written)
    assert least <= total <= 1.1 * least
