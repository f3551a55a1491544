"""The queue: who may come in, whose turn it is, and what became of whom. Everything here runs in the event loop."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import secrets
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from ..errors import DeviceLostError, SrganTrtError, StoppedError
from ..machine import memory_bytes
from .job import Job, Result, State
from .metrics import Metrics
from .models import Models
from .refusal import Refusal, internal, refusal_of
from .settings import Settings
from .work import work

_BESIDE = 2
"""Pictures in the works beside those in the network: one is read, one written."""
_PIXEL_BYTES = 4
_KEPT_SECONDS = 600.0
"""That the result of a job waits to be fetched."""
_log = logging.getLogger(__name__)


class Queue:
    """Jobs that wait, those in the works, and results that wait to be fetched."""

    def __init__(self, models: Models, settings: Settings, metrics: Metrics) -> None:
        self._models = models
        self._settings = settings
        self._metrics = metrics
        self._most = models.max_concurrency + _BESIDE
        self._threads = ThreadPoolExecutor(self._most, thread_name_prefix="srgan-trt-serve")
        self._network = threading.Semaphore(models.max_concurrency)
        self._waiting: deque[Job] = deque()
        self._running: dict[Job, asyncio.Task[None]] = {}
        self._kept: OrderedDict[str, Job] = OrderedDict()
        self._memory = memory_bytes()
        self._mean = 1.0
        """Seconds of the network for a picture, by the last ones."""
        self.failure: str | None = None
        """Why the device is lost."""

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def kept_bytes(self) -> int:
        return sum(len(job.result.content) for job in self._kept.values() if job.result is not None)

    def check_room(self, owner: str) -> None:
        """Raises Refusal if a picture of `owner` cannot come in now."""
        if self.failure is not None:
            raise Refusal("device", f"the device is lost: {self.failure}", retry_after=60)
        places = self._most + self._settings.queue
        if self.waiting + self.running >= places:
            wait = self._mean * (self.waiting + self.running) / self._models.max_concurrency / 2
            raise Refusal("queue_full", f"{places} pictures are before yours: try again", retry_after=min(60, wait))
        held = sum(job.owner == owner for job in (*self._waiting, *self._running))
        if held >= max(1, places // 2) and not _is_loopback(owner):
            text = f"{held} pictures of yours are being worked on: wait for them"
            raise Refusal("too_many_of_yours", text, retry_after=min(60, self._mean * held))

    def add(self, job: Job) -> None:
        """Raises Refusal if there is no room, or the picture would not fit into memory."""
        self.check_room(job.owner)
        if (needed := self._bytes(job)) > self._memory // 2:
            text = f"the picture needs about {needed / 1e9:.1f} GB of memory: give a smaller one, or parts of it"
            raise Refusal("too_many_pixels", text)
        if job.kept:
            self._forget()
            self._kept[job.id] = job
        self._waiting.append(job)
        self._start()

    def find(self, name: str) -> Job:
        """Raises Refusal for an id that there is not."""
        self._forget()
        found = self._kept.get(name)
        # Looked up by hash: what an attacker could time is not the id.
        if found is None or not secrets.compare_digest(found.id, name):
            raise Refusal("no_job", "there is no such job, or its result is no longer kept: send the picture again")
        return found

    def position(self, job: Job) -> int:
        """How many jobs are before one that waits; else 0."""
        if job.state != "waiting":
            return 0
        return self.running + self._waiting.index(job)

    def cancel(self, job: Job, reason: Refusal | None = None) -> None:
        """Gives a job up, and what it made; the network is free within a part of a second."""
        self._kept.pop(job.id, None)
        if job.is_over:
            return
        job.stop.set()
        if job in self._running:
            job.refusal = reason
            return
        self._waiting.remove(job)
        self._end(job, "cancelled", refusal=Refusal("cancelled", "the picture was given up"))

    async def close(self) -> None:
        """Ends jobs that nobody can fetch any more, and waits for what is in the works. Nothing may come after it."""
        for job in [job for job in (*self._waiting, *self._running) if job.kept]:
            self.cancel(job)
        while self._running:
            await asyncio.wait(list(self._running.values()))
        self._threads.shutdown()

    def _start(self) -> None:
        """Begins jobs while there is room for them: at least one, whatever it takes."""
        while self._waiting and len(self._running) < self._most:
            taken = sum(self._bytes(job) for job in self._running)
            if self._running and taken + self._bytes(self._waiting[0]) > self._memory // 4:
                return
            job = self._waiting.popleft()
            job.change(state="running")
            self._running[job] = asyncio.create_task(self._run(job))

    async def _run(self, job: Job) -> None:
        loop = asyncio.get_running_loop()
        too_slow = Refusal("too_slow", f"the picture took more than {self._settings.timeout:g} s", retry_after=60)
        clock = loop.call_later(self._settings.timeout, lambda: self.cancel(job, too_slow))

        def progress(done: int, total: int) -> None:
            loop.call_soon_threadsafe(partial(job.change, done=done, total=total))

        task: Callable[[], Result] = partial(
            work,
            job.picture,
            job.options,
            self._models,
            network=self._network,
            stop=job.stop,
            progress=progress,
            max_pixels=self._settings.max_pixels,
        )
        state: State = "failed"
        result: Result | None = None
        try:
            result = await loop.run_in_executor(self._threads, task)
            state, refusal = "done", None
            self._mean = 0.8 * self._mean + 0.2 * result.seconds["network"]
        except (SrganTrtError, MemoryError) as error:
            refusal = job.refusal or refusal_of(error)
            if isinstance(error, StoppedError):
                state = "cancelled"
            if isinstance(error, DeviceLostError):
                self.failure = str(error)
                _log.error("the device is lost: %s", error)
        except Exception as error:
            refusal = internal(error)
        finally:
            clock.cancel()
            self._running.pop(job, None)
        self._end(job, state, result=result, refusal=refusal)
        self._start()

    def _end(self, job: Job, state: State, *, result: Result | None = None, refusal: Refusal | None = None) -> None:
        job.end(state, result=result, refusal=refusal)
        self._metrics.picture(job)
        self._forget()

    def _forget(self) -> None:
        """Results that nobody fetched in time, and the oldest where they take too much memory."""
        now = time.monotonic()
        for job in list(self._kept.values()):
            if job.ended is not None and now - job.ended > _KEPT_SECONDS:
                del self._kept[job.id]
        ended = [job for job in self._kept.values() if job.is_over]
        while len(ended) > 1 and self.kept_bytes > self._memory // 8:
            del self._kept[ended.pop(0).id]

    def _bytes(self, job: Job) -> int:
        up = self._models[job.options.model]
        return (
            up.working_pixels(up.target(job.options.size, job.width, job.height), job.width, job.height) * _PIXEL_BYTES
        )


def _is_loopback(address: str) -> bool:
    """The machine's own users, or a proxy that speaks for many."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
