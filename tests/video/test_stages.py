"""Reading, the network and writing run at the same time, in order; an error in one ends all."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from typing import Any

import numpy as np
import pytest

from srgan_trt.video.read import Frame
from srgan_trt.video.stages import convey

COUNT = 20


def frames(*, fail_at: int | None = None, repeats: bool = False) -> Generator[Frame]:
    for number in range(COUNT):
        if number == fail_at:
            raise ValueError("reading")
        yield Frame(pts=number, pixels=np.full((2, 2, 3), number, np.uint8), repeat=repeats and number % 2 == 1)


def no_thread_is_left() -> bool:
    return not any(thread.name.startswith("srgan-trt-") for thread in threading.enumerate())


@pytest.mark.parametrize("at_once", [1, 3])
def test_frames_come_out_in_order(at_once: int) -> None:
    written: list[tuple[int, int]] = []
    waits = iter([0.01, 0.0] * COUNT)

    def enlarge(pixels: Any) -> Any:
        time.sleep(next(waits))
        return pixels + 100

    convey(frames(), enlarge, lambda frame, large: written.append((frame.pts, int(large[0, 0, 0]))), at_once=at_once)
    assert written == [(number, number + 100) for number in range(COUNT)]
    assert no_thread_is_left()


def test_the_stages_overlap() -> None:
    """Frame 2 is read, 1 enlarged and 0 written at the same time, and so on: each waits for the other two."""
    all_three = threading.Barrier(3, timeout=30)

    def reading() -> Generator[Frame]:
        for frame in frames():
            if frame.pts >= 2:
                all_three.wait()
            yield frame

    def enlarge(pixels: Any) -> Any:
        if 1 <= pixels[0, 0, 0] < COUNT - 1:
            all_three.wait()
        return pixels

    def write(frame: Frame, large: Any) -> None:
        if frame.pts < COUNT - 2:
            all_three.wait()

    assert 0 < convey(reading(), enlarge, write, at_once=1) <= 1


def test_a_slow_writer_holds_the_reader_back() -> None:
    ahead: list[int] = []
    read: list[int] = []
    written: list[int] = []

    def reading() -> Generator[Frame]:
        for frame in frames():
            read.append(frame.pts)
            yield frame

    def write(frame: Frame, large: Any) -> None:
        time.sleep(0.01)
        ahead.append(len(read) - len(written))
        written.append(frame.pts)

    convey(reading(), lambda pixels: pixels, write, at_once=1)
    assert max(ahead) <= 4 + 4 + 4  # two queues, and one in each hand


def test_repeats_are_computed_once() -> None:
    computed: list[int] = []
    written: list[int] = []
    convey(
        frames(repeats=True),
        lambda pixels: computed.append(int(pixels[0, 0, 0])) or pixels,
        lambda frame, large: written.append(int(large[0, 0, 0])),
        at_once=2,
    )
    assert computed == list(range(0, COUNT, 2))
    assert written == [number // 2 * 2 for number in range(COUNT)]


@pytest.mark.parametrize("stage", ["reading", "network", "writing"])
@pytest.mark.parametrize("at_once", [1, 3])
def test_an_error_in_one_stage_ends_all(stage: str, at_once: int) -> None:
    def enlarge(pixels: Any) -> Any:
        if stage == "network" and pixels[0, 0, 0] == 5:
            raise ValueError("network")
        return pixels

    def write(frame: Frame, large: Any) -> None:
        if stage == "writing" and frame.pts == 5:
            raise ValueError("writing")

    with pytest.raises(ValueError, match=stage):
        convey(frames(fail_at=5 if stage == "reading" else None), enlarge, write, at_once=at_once)
    assert no_thread_is_left()
