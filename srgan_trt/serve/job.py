"""One picture on its way through the service."""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Literal

from .options import MEDIA_TYPES, Options
from .refusal import Refusal

State = Literal["waiting", "running", "done", "failed", "cancelled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """An enlarged picture, as a file."""

    content: bytes
    format: str
    width: int
    height: int
    label: str
    """What was made of the picture: x4, w1920."""
    denoised: int | None
    notes: tuple[str, ...]
    seconds: dict[str, float]
    """By step: read, network, write."""

    @property
    def media_type(self) -> str:
        return MEDIA_TYPES[self.format]


@dataclass(eq=False, kw_only=True)
class Job:
    """Owned by the event loop: threads see `picture`, `options` and `stop` only."""

    picture: bytes
    options: Options
    width: int
    height: int
    owner: str
    """The client's address."""
    kept: bool = False
    """Whether the result waits to be fetched."""
    id: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    state: State = "waiting"
    done: int = 0
    total: int = 0
    """Tiles."""
    result: Result | None = None
    refusal: Refusal | None = None
    created: float = field(default_factory=time.monotonic)
    ended: float | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_over(self) -> bool:
        return self.ended is not None

    def change(self, **values: Any) -> None:
        """Sets attributes, and tells those who wait for it."""
        for name, value in values.items():
            setattr(self, name, value)
        self._changed.set()
        self._changed = asyncio.Event()

    def end(self, state: State, *, result: Result | None = None, refusal: Refusal | None = None) -> None:
        self.picture = b""
        self.change(state=state, result=result, refusal=refusal, ended=time.monotonic())

    async def changed(self) -> None:
        await self._changed.wait()

    async def over(self) -> None:
        while not self.is_over:
            await self.changed()

    def facts(self, *, position: int) -> dict[str, Any]:
        """position: how many are before it, if it waits."""
        facts: dict[str, Any] = {
            "id": self.id,
            "state": self.state,
            "position": position,
            "done": self.done,
            "total": self.total,
            "width": self.width,
            "height": self.height,
            **self.options.facts(),
        }
        if self.refusal is not None:
            facts |= self.refusal.facts()
        if (result := self.result) is not None:
            facts["result"] = {
                "bytes": len(result.content),
                "type": result.media_type,
                "width": result.width,
                "height": result.height,
                "denoised": result.denoised,
                "notes": list(result.notes),
                "seconds": result.seconds,
            }
        return facts
