"""Several devices as one. Here each device is the CPU: what counts is who gets which picture."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srgan_trt.compiler.plan import Plan
from srgan_trt.errors import DeviceError, DeviceLostError, DeviceMemoryError, PlanError
from srgan_trt.runtime.cpu.openvino import CpuPipeline
from srgan_trt.runtime.multi_device import MultiDevicePipeline
from srgan_trt.runtime.pipeline import Schedule

from ..handmade import differences, expected, noise, scheduled, small_plan


class Watched(CpuPipeline):
    """Counts its runs, and holds each until `gate` is open."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan, precision="fp32")
        self.runs: list[int] = []
        self.gate = threading.Event()
        self.entered = threading.Semaphore(0)
        self.gate.set()
        self.failures: list[Exception] = []
        """What its next runs raise; the last again and again."""

    def run(self, image: Any, out: Any, schedule: Any, **options: Any) -> int:
        self.runs.append(schedule.tiles.height)
        self.entered.release()
        assert self.gate.wait(20)
        if self.failures:
            raise self.failures[0] if len(self.failures) == 1 else self.failures.pop(0)
        return super().run(image, out, schedule, **options)


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


def run(fleet: MultiDevicePipeline, height: int) -> Any:
    image = noise(height, 8, 3)
    scale = fleet.spec.scale
    out = np.empty((height * scale, 8 * scale, 3), np.uint8)
    fleet.run(image, out, scheduled(fleet, image, tile=64))
    return image, out


def test_a_picture_is_what_one_device_makes_of_it(plan: Plan, devices: list[Watched]) -> None:
    image, out = run(MultiDevicePipeline(devices), 9)
    assert differences(out, expected(plan, image)).max() <= 1


def test_each_picture_goes_where_the_least_is_to_do(devices: list[Watched]) -> None:
    fleet = MultiDevicePipeline(devices)
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
    fleet = MultiDevicePipeline(devices)
    devices[0].failures = [PlanError("damaged")]
    for height in (30, 5):
        with pytest.raises(PlanError):
            run(fleet, height)
    assert [device.runs for device in devices] == [[30, 5], []]


class TestFailures:
    @pytest.mark.parametrize("failure", [DeviceLostError("LAUNCH_FAILED"), DeviceError("TensorRT does not like it")])
    def test_a_device_that_failed_gets_no_more_pictures(
        self, plan: Plan, devices: list[Watched], failure: DeviceError, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Or it would get them all: nobody has less to do than one that fails at once."""
        fleet = MultiDevicePipeline(devices)
        first, second = devices
        first.failures = [failure]
        for height in (9, 12, 15):
            image, out = run(fleet, height)
            assert differences(out, expected(plan, image)).max() <= 1
        assert (first.runs, second.runs) == ([9], [9, 12, 15])
        (said,) = [record for record in caplog.records if record.levelno == logging.WARNING]
        assert str(failure) in said.getMessage()
        assert str(failure) in " ".join(fleet.info["notes"])
        assert fleet.max_concurrency == 1
        assert fleet.info["name"] == second.info["name"]

    def test_when_none_is_left_the_failure_comes_out(self, devices: list[Watched]) -> None:
        fleet = MultiDevicePipeline(devices)
        for device in devices:
            device.failures = [DeviceLostError("LAUNCH_FAILED")]
        for _ in range(2):
            with pytest.raises(DeviceLostError, match="LAUNCH_FAILED"):
                run(fleet, 9)
        assert [len(device.runs) for device in devices] == [1, 1]
        assert fleet.info["name"]

    def test_what_all_refuse_is_the_picture_s_fault(self, plan: Plan, devices: list[Watched]) -> None:
        """An engine of fp16, say, and a picture of 16 bits."""
        fleet = MultiDevicePipeline(devices)
        for device in devices:
            device.failures = [DeviceError("no engine for this one")]
        with pytest.raises(DeviceError, match="no engine for this one"):
            run(fleet, 9)
        for device in devices:
            device.failures = []
        assert fleet.max_concurrency == 2
        image, out = run(fleet, 12)
        assert differences(out, expected(plan, image)).max() <= 1

    def test_want_of_memory_is_answered_with_smaller_tiles_not_by_another_device(self, devices: list[Watched]) -> None:
        fleet = MultiDevicePipeline(devices)
        devices[0].failures = [DeviceMemoryError("no memory left")]
        with pytest.raises(DeviceMemoryError):
            run(fleet, 9)
        assert (fleet.max_concurrency, devices[1].runs) == (2, [])

    def test_threads_that_meet_the_failure_at_once_all_get_their_pictures(
        self, devices: list[Watched], caplog: pytest.LogCaptureFixture
    ) -> None:
        fleet = MultiDevicePipeline(devices)
        first, second = devices
        first.failures = [DeviceLostError("LAUNCH_FAILED")]
        second.gate.clear()
        with ThreadPoolExecutor(4) as pool:
            work = [pool.submit(run, fleet, height) for height in (9, 10, 11, 12)]
            second.gate.set()
            for each in work:
                each.result(20)
        assert sorted(second.runs) == [9, 10, 11, 12]
        assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 1


class TestLastResort:
    def test_it_is_opened_when_all_others_failed(self, plan: Plan, devices: list[Watched]) -> None:
        first, spare = devices
        opened: list[Watched] = []

        def fallback() -> Watched:
            opened.append(spare)
            return spare

        fleet = MultiDevicePipeline([first], fallback=fallback)
        run(fleet, 9)
        assert not opened
        first.failures = [DeviceError("TensorRT does not like this GPU")]
        for height in (10, 11):
            image, out = run(fleet, height)
            assert differences(out, expected(plan, image)).max() <= 1
        assert (first.runs, spare.runs, len(opened)) == ([9, 10], [10, 11], 1)
        (note, *_) = fleet.info["notes"]
        assert "TensorRT does not like this GPU" in note
        assert note.startswith(f"the {spare.info['name']} runs this, not the {first.info['name']} (cpu): ")

    def test_if_it_cannot_be_opened_the_first_failure_comes_out(self, devices: list[Watched]) -> None:
        def fallback() -> Watched:
            raise DeviceError("a CPU knows no fp16")

        fleet = MultiDevicePipeline(devices[:1], fallback=fallback)
        devices[0].failures = [DeviceError("TensorRT does not like this GPU")]
        with pytest.raises(DeviceError, match="TensorRT does not like this GPU"):
            run(fleet, 9)

    def test_a_closed_fleet_opens_nothing(self, devices: list[Watched]) -> None:
        fleet = MultiDevicePipeline(devices[:1], fallback=lambda: pytest.fail("it was opened"))
        fleet.close()
        with pytest.raises(DeviceError, match="closed"):
            run(fleet, 9)


def test_its_facts_are_those_of_all(devices: list[Watched]) -> None:
    fleet = MultiDevicePipeline(devices)
    assert fleet.max_concurrency == 2
    assert fleet.info["name"] == ", ".join([devices[0].info["name"]] * 2)
    assert fleet.info["notes"] == devices[0].info["notes"]


def test_its_tiles_are_the_smallest_that_a_device_wants(
    devices: list[Watched], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = devices
    image = noise(60, 60)
    whole, tiled = scheduled(first, image), scheduled(first, image, tile=20)
    monkeypatch.setattr(first, "schedule", lambda *_, **__: replace(whole, batch=4))
    monkeypatch.setattr(second, "schedule", lambda *_, **__: replace(tiled, streams=3))
    assert scheduled(MultiDevicePipeline(devices), image) == Schedule(tiled.tiles, streams=3, batch=4)


def test_closing_closes_all(devices: list[Watched], tmp_path: Path) -> None:
    fleet = MultiDevicePipeline(devices)
    fleet.close()
    fleet.close()
    for device in devices:
        with pytest.raises(DeviceError, match="closed"):
            run(MultiDevicePipeline([device]), 5)
