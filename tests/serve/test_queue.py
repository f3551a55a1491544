"""Whose turn it is, who has to wait, and what is forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from srgan_trt.serve import queue as module
from srgan_trt.serve.job import Job
from srgan_trt.serve.metrics import Metrics
from srgan_trt.serve.models import Models
from srgan_trt.serve.options import Options
from srgan_trt.serve.queue import Queue
from srgan_trt.serve.refusal import Refusal
from srgan_trt.serve.settings import Settings

from .service import NEAREST, png

FOREIGN = "203.0.113.7"
PLACES = 7
"""Three in the works, four that wait."""


@pytest.fixture(scope="module")
def models(nearest: Path) -> Iterator[Models]:
    with Models([str(nearest)]) as found:
        yield found


def job(owner: str = "127.0.0.1", *, kept: bool = False, side: int = 12) -> Job:
    content = png(side, side)
    return Job(picture=content, options=Options(model=NEAREST), width=side, height=side, owner=owner, kept=kept)


def run(models: Models, story: Callable[[Queue], Coroutine[Any, Any, None]]) -> None:
    async def told() -> None:
        queue = Queue(models, Settings(queue=4), Metrics())
        try:
            await story(queue)
        finally:
            await queue.close()

    asyncio.run(told())


def test_each_is_done_and_in_order(models: Models) -> None:
    async def story(queue: Queue) -> None:
        jobs = [job() for _ in range(PLACES)]
        for each in jobs:
            queue.add(each)
        assert (queue.running, queue.waiting) == (3, 4)
        assert [queue.position(each) for each in jobs] == [0, 0, 0, 3, 4, 5, 6]
        with pytest.raises(Refusal) as refused:
            queue.add(job())
        assert refused.value.code == "queue_full"
        assert refused.value.retry_after is not None
        await asyncio.gather(*(each.over() for each in jobs))
        assert [each.state for each in jobs] == ["done"] * PLACES

    run(models, story)


def test_one_client_does_not_take_all_places(models: Models) -> None:
    async def story(queue: Queue) -> None:
        for _ in range(PLACES // 2):
            queue.add(job(FOREIGN))
        with pytest.raises(Refusal) as refused:
            queue.add(job(FOREIGN))
        assert refused.value.status == 429
        queue.add(job("203.0.113.8"))

    run(models, story)


def test_one_that_waits_is_given_up_at_once(models: Models) -> None:
    async def story(queue: Queue) -> None:
        jobs = [job() for _ in range(5)]
        for each in jobs:
            queue.add(each)
        queue.cancel(jobs[4])
        assert (jobs[4].state, queue.waiting) == ("cancelled", 1)
        await asyncio.gather(*(each.over() for each in jobs))
        assert [each.state for each in jobs[:4]] == ["done"] * 4

    run(models, story)


def test_pictures_that_fill_the_memory_are_done_one_by_one(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    one = 100 * 100 * 4 * 5
    monkeypatch.setattr(module, "memory_bytes", lambda: 3 * one)

    async def story(queue: Queue) -> None:
        jobs = [job(side=100) for _ in range(3)]
        for each in jobs:
            queue.add(each)
        assert (queue.running, queue.waiting) == (1, 2)
        with pytest.raises(Refusal) as refused:
            queue.add(job(side=150))
        assert refused.value.code == "too_many_pixels"
        await asyncio.gather(*(each.over() for each in jobs))

    run(models, story)


def test_results_are_forgotten_in_time_and_the_oldest_where_there_are_too_many(
    models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(queue: Queue) -> None:
        first, second = job(kept=True), job(kept=True)
        for each in (first, second):
            queue.add(each)
            await each.over()
            assert queue.find(each.id) is each
        assert first.result is not None
        monkeypatch.setattr(queue, "_memory", 8 * len(first.result.content))
        with pytest.raises(Refusal, match="no longer kept"):
            queue.find(first.id)
        assert queue.find(second.id) is second
        monkeypatch.setattr(module, "_KEPT_SECONDS", 0.0)
        with pytest.raises(Refusal, match="no longer kept"):
            queue.find(second.id)

    run(models, story)
