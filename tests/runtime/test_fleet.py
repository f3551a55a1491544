"""Several devices as one. Here each device is the CPU: what counts is who gets which picture."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srgan_trt.compiler.plan import Plan
from srgan_trt.errors import DeviceError
from srgan_trt.imaging.tiles import plan_tiles
from srgan_trt.runtime.cpu.openvino import CpuPipeline
from srgan_trt.runtime.fleet import Fleet

from ..handmade import differences, expected, noise, small_plan


class Watched(CpuPipeline):
    """Counts its runs, and holds each until `gate` is open."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan, precision="fp32")
        self.runs: list[int] = []
        self.gate = threading.Event()
        self.entered = threading.Semaphore(0)
        self.gate.set()

    def run(self, image: Any, out: Any, tiles: Any, **options: Any) -> int:
        self.runs.append(tiles.height)
        self.entered.release()
        assert self.gate.wait(20)
        return super().run(image, out, tiles, **options)


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return small_plan(tmp_path_factory.mktemp("plan"))


@pytest.fixture
def devices(plan: Plan) -> Iterator[list[Watched]]:
    devices = [Watched(plan), Watched(plan)]
    yield devices
    for device in devices:
        device.gate.set()
        device.close()


def run(fleet: Fleet, height: int) -> Any:
    image = noise(height, 8, 3)
    scale = fleet.spec.scale
    out = np.empty((height * scale, 8 * scale, 3), np.uint8)
    fleet.run(image, out, plan_tiles(height, 8, tile=(64, 64), halo=fleet.spec.default_halo))
    return image, out


def test_a_picture_is_what_one_device_makes_of_it(plan: Plan, devices: list[Watched]) -> None:
    image, out = run(Fleet(devices), 9)
    assert differences(out, expected(plan, image)).max() <= 1


def test_each_picture_goes_where_the_least_is_to_do(devices: list[Watched]) -> None:
    fleet = Fleet(devices)
    first, second = devices
    first.gate.clear()
    second.gate.clear()
    with ThreadPoolExecutor(4) as pool:
        work = [pool.submit(run, fleet, 30)]
        assert first.entered.acquire(timeout=20)
        for height in (10, 15):  # 25 rows are still less than 30
            work.append(pool.submit(run, fleet, height))
            assert second.entered.acquire(timeout=20)
        second.gate.set()
        for each in work[1:]:
            each.result(20)
        work.append(pool.submit(run, fleet, 5))
        work[-1].result(20)
        first.gate.set()
        work[0].result(20)
    assert (first.runs, second.runs) == ([30], [10, 15, 5])


def test_a_failed_run_is_off_the_books(devices: list[Watched]) -> None:
    fleet = Fleet(devices)
    devices[0].close()
    with pytest.raises(DeviceError, match="closed"):
        run(fleet, 30)
    with pytest.raises(DeviceError, match="closed"):
        run(fleet, 5)
    assert [device.runs for device in devices] == [[30, 5], []]


def test_its_facts_are_those_of_all(devices: list[Watched]) -> None:
    fleet = Fleet(devices)
    assert fleet.at_once == 2
    assert fleet.info["name"] == ", ".join([devices[0].info["name"]] * 2)
    assert fleet.info["notes"] == devices[0].info["notes"]
    sizes = [device.preferred_tile(100, 300, halo=4, dtype=np.uint8) for device in devices]
    assert fleet.preferred_tile(100, 300, halo=4, dtype=np.uint8) in sizes


def test_closing_closes_all(devices: list[Watched], tmp_path: Path) -> None:
    fleet = Fleet(devices)
    fleet.close()
    fleet.close()
    for device in devices:
        with pytest.raises(DeviceError, match="closed"):
            run(Fleet([device]), 5)
