"""Pictures overlap as far as allowed, fail alone, and come out in order."""

from __future__ import annotations

import _thread
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srgan_trt import scheduler
from srgan_trt.errors import StoppedError
from srgan_trt.imaging.sources import Job, expand, plan_outputs
from srgan_trt.scheduler import run_jobs
from srgan_trt.upscaler import Upscaler

from .command_line import files, load, save_noise
from .handmade import differences, expected, small_plan


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upscaler]:
    with Upscaler(small_plan(tmp_path_factory.mktemp("plan")), precision="fp32") as up:
        yield up


def jobs_of(folder: Path, count: int) -> list[Job]:
    for i in range(count):
        save_noise(folder / f"in/{i}.png", 10 + i, 20 - i, seed=i)
    return plan_outputs(expand([str(folder / "in")]), output=str(folder / "out"), format=None, label="x4")


class Gauge:
    """How many pictures are between the start of their reading and the end of their writing."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = self.most = 0
        self._lock = threading.Lock()
        read, write = scheduler._read, scheduler._write

        def counted_read(*arguments: Any) -> Any:
            with self._lock:
                self.now += 1
                self.most = max(self.most, self.now)
            return read(*arguments)

        def counted_write(*arguments: Any) -> Any:
            time.sleep(0.05)
            result = write(*arguments)
            with self._lock:
                self.now -= 1
            return result

        monkeypatch.setattr(scheduler, "_read", counted_read)
        monkeypatch.setattr(scheduler, "_write", counted_write)


@pytest.mark.parametrize("max_concurrency", [1, 2, 3, 4])
def test_as_many_are_in_the_works_as_allowed(
    up: Upscaler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, max_concurrency: int
) -> None:
    gauge = Gauge(monkeypatch)
    outcomes = list(run_jobs(jobs_of(tmp_path, 8), up, max_concurrency=max_concurrency))
    assert gauge.most == max_concurrency
    assert gauge.now == 0
    assert [outcome.job.source.relative.name for outcome in outcomes] == [f"{i}.png" for i in range(8)]
    assert len(files(tmp_path / "out")) == 8


def test_large_pictures_go_one_by_one(up: Upscaler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where two of them with their results are more than the memory that is given to them."""
    monkeypatch.setattr(scheduler, "_memory_budget", lambda: 10 * 20 * 3 * 17)
    gauge = Gauge(monkeypatch)
    assert len(list(run_jobs(jobs_of(tmp_path, 4), up))) == 4
    assert gauge.most == 1


def test_an_outcome_tells_what_was_done(up: Upscaler, tmp_path: Path) -> None:
    [one] = run_jobs(jobs_of(tmp_path, 1), up)
    assert (one.error, one.notes) == (None, ())
    assert (one.size, one.enlarged, one.precision) == ((20, 10), (80, 40), "fp32")
    assert min(one.reading, one.network, one.writing) > 0
    np.testing.assert_array_equal(load(tmp_path / "out/0_x4.png"), expected(up.plan, load(tmp_path / "in/0.png")))


def test_a_failure_is_an_outcome_among_others(up: Upscaler, tmp_path: Path) -> None:
    jobs = jobs_of(tmp_path, 4)
    (tmp_path / "in/1.png").write_text("no picture at all, though its name says so")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/2_x4.png").mkdir()
    outcomes = {outcome.job.source.relative.name: outcome for outcome in run_jobs(jobs, up)}
    assert [name for name, outcome in sorted(outcomes.items()) if outcome.error is None] == ["0.png", "3.png"]
    assert "text file" in str(outcomes["1.png"].error)
    assert "is a folder" in str(outcomes["2.png"].error)
    assert files(tmp_path / "out") == ["0_x4.png", "3_x4.png"]


def test_progress_grows_to_the_number_of_pictures(up: Upscaler, tmp_path: Path) -> None:
    seen: list[float] = []
    list(run_jobs(jobs_of(tmp_path, 3), up, progress=lambda job, through: seen.append(through)))
    assert seen == sorted(seen)
    assert seen[-1] == 3


def test_stopping_in_the_middle_leaves_whole_files_only(
    up: Upscaler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Gauge(monkeypatch)
    outcomes = run_jobs(jobs_of(tmp_path, 6), up, max_concurrency=3)
    next(outcomes)
    outcomes.close()  # type: ignore[attr-defined]
    written = files(tmp_path / "out")
    assert 1 <= len(written) < 6
    assert not [name for name in written if name.endswith(".part")]
    for name in written:
        assert load(tmp_path / "out" / name).ndim == 3


def test_an_error_of_ours_is_not_hidden(up: Upscaler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any, **options: Any) -> Any:
        raise AssertionError("a mistake in the program")

    monkeypatch.setattr(scheduler, "encode", broken)
    for max_concurrency in (1, 3):
        with pytest.raises(AssertionError, match="a mistake"):
            list(run_jobs(jobs_of(tmp_path, 3), up, max_concurrency=max_concurrency))


class TestADeviceThatTakesTwoAtOnce:
    @pytest.fixture
    def pair(self, up: Upscaler) -> Iterator[Upscaler]:
        class Two(Upscaler):
            """Goes on only once two pictures are in it: the CPU's pipeline makes them take turns after that."""

            met = threading.Barrier(2, timeout=20)
            max_concurrency = property(lambda self: 2)

            def upscale_picture(self, picture: Any, **options: Any) -> Any:
                self.met.wait()
                return super().upscale_picture(picture, **options)

        with Two(up.plan, precision="fp32") as two:
            yield two

    def test_gets_two(self, pair: Upscaler, tmp_path: Path) -> None:
        seen: list[float] = []
        outcomes = list(run_jobs(jobs_of(tmp_path, 6), pair, progress=lambda job, through: seen.append(through)))
        assert [(outcome.job.source.relative.name, outcome.error) for outcome in outcomes] == [
            (f"{i}.png", None) for i in range(6)
        ]
        for i in range(6):
            wanted = expected(pair.plan, load(tmp_path / f"in/{i}.png"))
            assert differences(load(tmp_path / f"out/{i}_x4.png"), wanted).max() <= 1
        assert seen == sorted(seen)
        assert seen[-1] == 6

    def test_gives_both_up_at_once(self, pair: Upscaler, tmp_path: Path) -> None:
        """As Ctrl-C does, which comes up in the main thread while the pictures are in others."""
        stops: list[threading.Event] = []
        begun = threading.Barrier(3, timeout=20)

        class Endless(type(pair)):  # type: ignore[misc]
            def upscale_picture(self, picture: Any, *, stop: threading.Event, **options: Any) -> Any:
                stops.append(stop)
                begun.wait()
                assert stop.wait(20)
                raise StoppedError("given up")

        pair.__class__ = Endless
        outcomes = run_jobs(jobs_of(tmp_path, 4), pair)
        interrupt = threading.Timer(0, lambda: (begun.wait(), _thread.interrupt_main()))
        interrupt.start()
        with pytest.raises(KeyboardInterrupt):
            list(outcomes)
        assert [stop.is_set() for stop in stops] == [True, True]
        assert files(tmp_path / "out") == []

    def test_gets_no_more_than_the_user_allows(self, up: Upscaler, tmp_path: Path) -> None:
        class Two(Upscaler):
            max_concurrency = property(lambda self: 2)
            inside = most = 0

            def upscale_picture(self, picture: Any, **options: Any) -> Any:
                Two.inside += 1
                Two.most = max(Two.most, Two.inside)
                result = super().upscale_picture(picture, **options)
                Two.inside -= 1
                return result

        with Two(up.plan, precision="fp32") as two:
            assert len(list(run_jobs(jobs_of(tmp_path, 4), two, max_concurrency=1))) == 4
        assert Two.most == 1
