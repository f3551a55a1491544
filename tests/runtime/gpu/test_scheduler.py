"""What a GPU's pictures cost in work, shapes and memory: by counting."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from gpu_windows import GPU, PHOTOS, schedules, shapes

from srgan_trt.compiler.live_memory import network_memory
from srgan_trt.compiler.plan import Plan
from srgan_trt.resolve import open_plan
from srgan_trt.runtime.gpu.scheduler import Scheduler
from srgan_trt.runtime.pipeline import Schedule
from tests import handmade

MODELS = ["srresnet-photo-x4", "srgan-x4"]


@pytest.mark.parametrize("model", MODELS)
def test_work_over_the_picture_s(model: str) -> None:
    made = schedules(model, ["480x320", "1920x1080"])
    assert made["480x320"].work <= 1.05
    assert made["1920x1080"].work <= 1.08
    assert len(made["1920x1080"].tiles.tiles) >= 4  # so that the first goes down while the last is computed


@pytest.mark.parametrize("model", MODELS)
def test_twenty_sizes_of_photos_need_eight_shapes(model: str) -> None:
    assert len(PHOTOS) == 20
    assert len(shapes(schedules(model, PHOTOS).values())) <= 8


@pytest.mark.parametrize("gigabytes", [2, 4, 8, 24])
def test_tiles_fit_into_the_memory_by_the_plan_s_own_count(gigabytes: int) -> None:
    """Two pictures at once, each in two slots."""
    gpu = dataclasses.replace(GPU, memory=gigabytes * 10**9)
    values = network_memory(open_plan("srgan-x4")).live
    for made in schedules("srgan-x4", PHOTOS, gpu=gpu).values():
        assert 4 * made.batch * made.tiles.tile_area * values * 2 <= gpu.memory


def test_the_engine_does_not_depend_on_what_is_free_at_the_moment() -> None:
    plan = open_plan("srgan-x4")
    tiles = {
        Scheduler(plan, GPU, largest=None, available=free).engine_tile(scheduled(plan, free).tiles)
        for free in (10**9, 24 * 10**9)
    }
    assert tiles == {(1024, 1024)}


def scheduled(plan: Plan, available: int, *, dtype: type = np.uint8, element: int = 2) -> Schedule:
    scheduler = Scheduler(plan, GPU, largest=None, available=available)
    return scheduler.schedule(768, 1024, halo=16, dtype=dtype, channels=3, tile=None, element=element)


def test_float32_takes_twice_the_memory() -> None:
    plan = open_plan("srgan-x4")
    assert scheduled(plan, 10 * 10**9).tiles.tile_area == 768 * 1024
    assert scheduled(plan, 10 * 10**9, dtype=np.uint16, element=4).tiles.tile_area < 768 * 1024


def test_live_memory_of_a_network_is_counted(tmp_path: Path) -> None:
    """x4: 8 maps, PReLU in place, 16 maps that become 4 of twice the size, from which 12 of that size are made."""
    found = network_memory(handmade.small_plan(tmp_path))
    assert (found.live, found.largest) == (16 + 48, 48)


def test_what_did_not_fit_is_halved(tmp_path: Path) -> None:
    gpu = dataclasses.replace(GPU, memory=10**9, multiprocessors=4096)
    scheduler = Scheduler(handmade.small_plan(tmp_path), gpu, largest=None, available=10**9)
    options = {"halo": 4, "dtype": np.uint8, "channels": 3, "element": 2}
    small = scheduler.schedule(200, 200, tile=40, **options)
    assert small.batch > 2
    assert scheduler.shrink(small, element=2, engine=True)
    assert scheduler.fitting(small, element=2).batch == small.batch // 2
    large = scheduler.schedule(200, 200, tile=None, **options)
    while scheduler.shrink(large, element=2, engine=True):
        pass
    assert scheduler.schedule(200, 200, tile=None, **options).tiles.tile_area < large.tiles.tile_area
