"""uvicorn, with what it does not limit by itself: connections that say nothing, and readers that do not read."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from typing import ClassVar

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ..errors import SrganTrtError
from .app import application
from .models import Models
from .settings import Settings

_MOST_CONNECTIONS = 512
_HEAD_SECONDS = 10.0
"""For the head of a request, and between two requests."""
_READ_SECONDS = 30.0
"""That a client may take nothing of what it is sent."""
_HEAD_BYTES = 16 << 10


class _Connection(H11Protocol):
    """Closed where it is idle or does not read; the longest idle one makes room where there are too many."""

    _idle: ClassVar[dict[_Connection, None]] = {}
    """Those without a request under way, the longest idle first."""
    _clock: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._idle[self] = None
        self._allow(_HEAD_SECONDS)
        if len(self.connections) > _MOST_CONNECTIONS:
            longest = next(iter(self._idle))
            del self._idle[longest]
            longest.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        self._idle.pop(self, None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self._is_free():
            self._idle.pop(self, None)
            self._disarm()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._is_free():
            self._idle[self] = None
            self._allow(_HEAD_SECONDS)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._allow(_READ_SECONDS)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._disarm()

    def _is_free(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _allow(self, seconds: float) -> None:
        self._disarm()
        self._clock = self.loop.call_later(seconds, self.transport.abort)

    def _disarm(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None


def serve(models: Models, settings: Settings, *, listening: Callable[[str], None]) -> None:
    """Answers requests until SIGTERM or Ctrl-C, then finishes what is in the works.

    listening: called with the address, once there is one. Raises SrganTrtError if it cannot be had.
    """
    for library in ("uvicorn", "python_multipart"):  # damaged requests are the clients' affair
        logging.getLogger(library).setLevel(logging.ERROR)
    sock = _socket(settings)
    config = uvicorn.Config(
        application(models, settings),
        http=_Connection,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=int(_HEAD_SECONDS),
        timeout_graceful_shutdown=int(settings.timeout) + 10,
        h11_max_incomplete_event_size=_HEAD_BYTES,
        backlog=1024,
    )
    host, port = sock.getsockname()[:2]
    with contextlib.closing(sock), _quiet_signals():
        listening(f"http://{f'[{host}]' if ':' in host else host}:{port}/")
        uvicorn.Server(config).run(sockets=[sock])


def _socket(settings: Settings) -> socket.socket:
    """Bound, and listening: so the address is known, and who comes early waits."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind, protocol)
    except OSError as error:
        raise SrganTrtError(
            f"{settings.host} is not an address here ({error.strerror}): name another --host"
        ) from error
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(1024)
    except OSError as error:
        sock.close()
        raise SrganTrtError(
            f"cannot listen on {settings.host}, port {settings.port} ({error.strerror}): name another with --port"
        ) from error
    return sock


@contextlib.contextmanager
def _quiet_signals() -> Iterator[None]:
    """uvicorn raises the signals that ended it once more, for the handlers that were there before: to end is what was
    asked for, and no error."""
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
