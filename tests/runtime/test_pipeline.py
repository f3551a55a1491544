"""A picture in tiles, in smaller ones where memory is short: on the CPU, with a memory that says so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from srgan_trt.compiler.plan import Plan
from srgan_trt.errors import DeviceMemoryError
from srgan_trt.runtime.cpu.openvino import CpuPipeline
from srgan_trt.runtime.pipeline import Schedule, given_tile, run_in_tiles

from ..handmade import HALO, differences, expected, noise, small_plan, small_spec


class Short(CpuPipeline):
    """Has memory for tiles of `fitting` pixels a side (0: for none), which it learns by trying one that is larger."""

    fitting = 20
    learnt = False

    def schedule(self, height: int, width: int, *, tile: int | None = None, **options: Any) -> Schedule:
        if tile is None and self.learnt:
            tile = self.fitting or None
        return super().schedule(height, width, tile=tile, **options)

    def run(self, image: Any, out: Any, schedule: Schedule, **options: Any) -> int:
        if schedule.tiles.tile_height > self.fitting:
            self.learnt = True
            raise DeviceMemoryError("no memory left")
        return super().run(image, out, schedule, **options)


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return small_plan(tmp_path_factory.mktemp("plan"))


@pytest.fixture
def short(plan: Plan) -> Iterator[Short]:
    pipeline = Short(plan, precision="fp32")
    yield pipeline
    pipeline.close()


@pytest.mark.parametrize("tile", [None, 30])
def test_where_memory_is_short_tiles_get_smaller(
    plan: Plan, short: Short, tile: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    image, out, seen = noise(40, 44), np.zeros((160, 176, 3), np.uint8), list[tuple[int, int]]()
    tiles, not_finite = run_in_tiles(
        short, image, out, halo=HALO, tile=tile, progress=lambda done, total: seen.append((done, total))
    )
    assert max(tiles.tile_height, tiles.tile_width) <= 20
    assert differences(out, expected(plan, image)).max() <= 1
    assert not_finite == 0
    assert seen == [(done, len(tiles.tiles)) for done in range(1, len(tiles.tiles) + 1)]
    assert "going on with tiles of" in caplog.text


def test_where_no_tile_is_smaller_the_shortage_comes_out(short: Short) -> None:
    short.fitting = 0
    image, out = noise(40, 44), np.zeros((160, 176, 3), np.uint8)
    with pytest.raises(DeviceMemoryError):
        run_in_tiles(short, image, out, halo=None)


def test_where_the_device_has_no_choice_of_tiles() -> None:
    free, fixed = small_spec(), small_spec(fixed_shape=(24, 32))
    assert given_tile(fixed, 100, 200, halo=HALO, tile=None) == (24, 32)
    assert given_tile(free, 100, 200, halo=HALO, tile=64) == (64, 64)
    assert given_tile(free, 100, 200, halo=None, tile=None) == (100, 200)
    assert given_tile(free, 100, 200, halo=HALO, tile=None) is None
