"""A job goes on after anything: killed at any moment, the disk full; and is refused where it cannot."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from srgan_trt.errors import VideoError
from srgan_trt.upscaler import Upscaler
from srgan_trt.video import convert as module
from srgan_trt.video.convert import convert
from srgan_trt.video.options import VideoOptions
from srgan_trt.video.work import Work, folder_of

from .films import film, moving, packets, times
from .test_streams import rich_film

FAST = VideoOptions(preset="ultrafast", crf=30, segment=4)
COUNT = 30

RUN = """
import sys
from pathlib import Path
from srgan_trt.upscaler import Upscaler
from srgan_trt.video.convert import convert
from srgan_trt.video.options import VideoOptions
with Upscaler(sys.argv[1], precision="fp32", threads=1) as up:
    print("open", flush=True)
    result = convert(up, Path(sys.argv[2]), Path(sys.argv[3]), VideoOptions(preset="ultrafast", crf=30, segment=4))
    print("resumed", result.resumed, flush=True)
"""


def start(up: Upscaler, source: Path, target: Path) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", RUN, str(up.plan.path), str(source), str(target)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_killed_at_random_moments_it_goes_on_to_the_same_film(tmp_path: Path, repeating: Upscaler) -> None:
    """Each of the twenty kills comes at another moment of the work; nothing is made twice but a segment each time."""
    count = 4 * COUNT
    source = film(tmp_path / "a.mp4", moving(count), pts=[i * 3600 + i % 3 for i in range(count)])
    convert(repeating, source, tmp_path / "whole.mp4", FAST)
    wait, killed, segments = random.Random(5), 0, 0
    for _ in range(20):
        run = start(repeating, source, tmp_path / "b.mp4")
        assert run.stdout is not None
        assert run.stdout.readline() == "open\n"
        time.sleep(wait.uniform(0, 0.5))
        run.send_signal(signal.SIGKILL)
        run.communicate()
        killed += run.returncode == -signal.SIGKILL
        now = len(list(folder_of(tmp_path / "b.mp4").glob("*.segment")))
        if (tmp_path / "b.mp4").exists():
            assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "b.mp4", "whole.mp4"]
            assert packets(tmp_path / "b.mp4", "video") == packets(tmp_path / "whole.mp4", "video")
            (tmp_path / "b.mp4").unlink()
            now = 0
        else:
            assert now >= segments
        segments = now
    assert killed >= 10
    if not (tmp_path / "b.mp4").exists():
        result = convert(repeating, source, tmp_path / "b.mp4", FAST)
        assert result.frames == count
    assert packets(tmp_path / "b.mp4", "video") == packets(tmp_path / "whole.mp4", "video")
    assert times(tmp_path / "b.mp4") == times(source)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "b.mp4", "whole.mp4"]


class Killed(BaseException):
    """As if the program ended here."""


@pytest.mark.parametrize("moment", ["os.replace", "shutil.rmtree"])
@pytest.mark.parametrize("number", range(4))
def test_killed_between_any_two_steps_of_the_end(
    tmp_path: Path, repeating: Upscaler, monkeypatch: pytest.MonkeyPatch, moment: str, number: int
) -> None:
    source, target = film(tmp_path / "a.mp4", moving(8)), tmp_path / "b.mp4"
    library, name = moment.split(".")
    owner = {"os": os, "shutil": shutil}[library]
    real, calls = getattr(owner, name), iter(range(99))

    def step(*arguments: object, **options: object) -> object:
        if next(calls) == number:
            raise Killed
        return real(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, step)
        with contextlib.suppress(Killed):
            convert(repeating, source, target, FAST)
    if not target.exists():
        convert(repeating, source, target, FAST)
    assert len(times(target)) == 8
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "b.mp4"]


def interrupted(up: Upscaler, source: Path, target: Path, monkeypatch: pytest.MonkeyPatch, *, at: int = 10) -> None:
    """A run that is broken off after `at` frames."""

    def progress(done: int, total: int | None) -> None:
        if done == at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(up, source, target, FAST, progress=progress)
    assert not any(thread.name.startswith("srgan-trt-") for thread in threading.enumerate())


def test_going_on_says_after_what(tmp_path: Path, repeating: Upscaler, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = film(tmp_path / "a.mkv", moving(COUNT)), tmp_path / "b.mkv"
    interrupted(repeating, source, target, monkeypatch)
    result = convert(repeating, source, target, FAST)
    assert (result.resumed, result.frames) == (8, COUNT)
    assert "going on after 8 frames of an earlier run" in result.notes
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mkv", "b.mkv"]


def test_what_was_begun_for_another_film_or_otherwise_is_not_gone_on_with(
    tmp_path: Path, repeating: Upscaler, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = film(tmp_path / "a.mkv", moving(COUNT)), tmp_path / "b.mkv"
    interrupted(repeating, source, target, monkeypatch)
    with pytest.raises(VideoError, match="was begun before, but that was with crf 30: --no-resume"):
        convert(repeating, source, target, dataclasses.replace(FAST, crf=31))
    film(source, moving(COUNT - 1))
    with pytest.raises(
        VideoError, match="was begun before, but the film has changed since: --no-resume starts it anew"
    ):
        convert(repeating, source, target, FAST)
    result = convert(repeating, source, target, dataclasses.replace(FAST, resume=False))
    assert (result.resumed, result.frames) == (0, COUNT - 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mkv", "b.mkv"]


def test_a_whole_film_of_other_options_is_not_left_lying(
    tmp_path: Path, repeating: Upscaler, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = film(tmp_path / "a.mkv", moving(8)), tmp_path / "b.mkv"
    with monkeypatch.context() as patch:
        patch.setattr(Work, "place", lambda work: _kill())
        with contextlib.suppress(Killed):
            convert(repeating, source, target, FAST)
    others = dataclasses.replace(FAST, crf=31)
    with pytest.raises(VideoError, match="was made before, with other options, and is"):
        convert(repeating, source, target, others)
    convert(repeating, source, target, dataclasses.replace(others, resume=False))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mkv", "b.mkv"]


def _kill() -> None:
    raise Killed


def test_a_film_that_changes_while_it_is_read_is_said(tmp_path: Path, repeating: Upscaler) -> None:
    source, target = film(tmp_path / "a.mkv", moving(8)), tmp_path / "b.mkv"

    def progress(done: int, total: int | None) -> None:
        if done == 5:
            os.utime(source, (1, 1))

    with pytest.raises(VideoError, match="changed while it was read: --no-resume starts"):
        convert(repeating, source, target, FAST, progress=progress)
    assert not target.exists()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 5 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=5m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no disk can be mounted here: only root can")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False)


def leave(disk: Path, free: int) -> Path:
    """A file that leaves so many bytes of the disk free."""
    filler = disk / "filler"
    filler.write_bytes(bytes(shutil.disk_usage(disk).free - free))
    return filler


def test_a_disk_that_gets_full_keeps_what_is_done(tmp_path: Path, disk: Path, repeating: Upscaler) -> None:
    source = film(tmp_path / "a.mkv", moving(COUNT))
    options = VideoOptions(codec="ffv1", segment=2)

    def progress(done: int, total: int) -> None:
        if done == 9:
            leave(disk, 8192)

    with pytest.raises(VideoError) as raised:
        convert(repeating, source, disk / "b.mkv", options, progress=progress)
    assert "is full: make room; what is done is kept: run it again to go on" in str(raised.value)
    assert not (disk / "b.mkv").exists()
    kept = list(folder_of(disk / "b.mkv").glob("*.segment"))
    assert kept
    (disk / "filler").unlink()
    result = convert(repeating, source, disk / "b.mkv", options)
    assert (result.resumed, result.frames) == (2 * len(kept), COUNT)


def test_a_disk_that_is_too_small_is_refused_before_the_work(tmp_path: Path, disk: Path, repeating: Upscaler) -> None:
    source, options = film(tmp_path / "a.mkv", moving(COUNT)), VideoOptions(codec="ffv1")
    leave(disk, 40_000)
    with pytest.raises(VideoError) as raised:
        convert(repeating, source, disk / "b.mkv", options, progress=_stop)
    assert re.search(
        r"b.mkv needs about [\d.]+ MB on the disk while its parts are joined, and 0.0 MB are free in .*: make room, "
        "name an output on another disk, or ask for less with --end, a smaller size or a higher --crf$",
        str(raised.value),
    )
    assert [path.name for path in disk.iterdir()] == ["filler"]


def test_a_film_begun_before_needs_room_for_the_rest_and_the_result(
    tmp_path: Path, disk: Path, repeating: Upscaler
) -> None:
    """Parts and result lie on one disk, and parts that are there need no more room."""
    source, options = film(tmp_path / "a.mkv", moving(COUNT)), VideoOptions(codec="ffv1", segment=5)

    def progress(done: int, total: int) -> None:
        if done == COUNT - 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(repeating, source, disk / "b.mkv", options, progress=progress)
    made = sum(path.stat().st_size for path in folder_of(disk / "b.mkv").glob("*.segment"))
    leave(disk, made // 3)
    with pytest.raises(VideoError, match="on the disk while its parts are joined"):
        convert(repeating, source, disk / "b.mkv", options)
    (disk / "filler").unlink()
    leave(disk, 2 * made)
    assert convert(repeating, source, disk / "b.mkv", options).resumed == COUNT - 5


def test_a_disk_that_may_be_too_small_is_said(
    tmp_path: Path, repeating: Upscaler, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(module, "check_room", lambda *film: None)
        convert(repeating, film(tmp_path / "a.mkv"), tmp_path / "whole.mkv", FAST)
    size = (tmp_path / "whole.mkv").stat().st_size
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=int(1.4 * size)))
    said: list[str] = []
    convert(repeating, tmp_path / "a.mkv", tmp_path / "b.mkv", FAST, say=said.append)
    assert "on the disk while its parts are joined, and" in said[-1]


def test_two_runs_do_not_write_the_same_film(tmp_path: Path, repeating: Upscaler) -> None:
    source, target = film(tmp_path / "a.mkv", moving(8)), tmp_path / "b.mkv"
    said: list[str] = []

    def progress(done: int, total: int | None) -> None:
        if done == 3:
            with pytest.raises(VideoError) as raised:
                convert(repeating, source, target, FAST)
            said.append(str(raised.value))

    convert(repeating, source, target, FAST, progress=progress)
    assert said == [f"another run is at {target}: wait for it, or name another output"]


def _stop(done: int, total: int) -> None:
    raise KeyboardInterrupt


def test_streams_are_copied_after_going_on_too(
    tmp_path: Path, repeating: Upscaler, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = rich_film(tmp_path / "a.mkv"), tmp_path / "b.mkv"
    interrupted(repeating, source, target, monkeypatch, at=6)
    convert(repeating, source, target, FAST)
    assert packets(target, "audio") == packets(source, "audio")
    assert times(target) == times(source)
