"""One file from an http or https address, by requests, within limits of time and size."""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from ._version import __version__
from .errors import SrganTrtError
from .urls import redact_url

_MAX_REDIRECTS = 10
_CHUNK = 1 << 16


def is_public(address: str) -> bool:
    """Whether an IP address is one of the open internet: not this machine's, not a local network's."""
    return ipaddress.ip_address(address.partition("%")[0]).is_global


def fetch(
    url: str,
    receive: Callable[[bytes], object],
    *,
    what: str,
    error: type[SrganTrtError],
    max_bytes: int,
    idle_timeout: float,
    total_timeout: float,
    is_public: Callable[[str], bool] = is_public,
) -> None:
    """Hands `receive`, part by part, the bytes that `url` answers to a GET.

    Only http and https are followed, through at most 10 redirects, and from a public address to public ones only: who
    answers there must not make this machine ask what only it can reach. A user name and password in the address go to
    its own host only, and into no message; neither does its query.

    Args:
        what: "picture" or "model", for messages.
        error: Class of what is raised.
        max_bytes: Most that the answer may have.
        idle_timeout: Seconds that the server may be silent.
        total_timeout: Seconds for all of it.
        is_public: Tells of an IP address that was connected to.

    Raises `error`, in one line, if the answer is no success or a web page, breaks off, or exceeds a limit; what
    `receive` raises goes through.
    """
    name = redact_url(url)
    watch = _Watch(total_timeout, is_public)
    size = 0
    # Packed transfers would be unpacked on arrival: sizes and checksums are those of the file.
    headers = {"User-Agent": f"srgan-trt/{__version__}", "Accept": "*/*", "Accept-Encoding": "identity"}
    try:
        with watch, requests.Session() as session:
            session.max_redirects = _MAX_REDIRECTS
            for scheme in ("http://", "https://"):
                session.mount(scheme, _Adapter(watch))
            with session.get(url, headers=headers, stream=True, timeout=min(idle_timeout, total_timeout)) as response:
                _check_answer(response, what, max_bytes)
                for part in response.iter_content(_CHUNK):
                    if not size and part[:512].lstrip().lower().startswith((b"<!doctype html", b"<html")):
                        raise _Refused(_web_page(what))
                    size += len(part)
                    if size > max_bytes:
                        raise _Refused(f"sends more than {_limit(max_bytes)}")
                    receive(part)
            watch.check()
    except (requests.RequestException, _Refused, UnicodeError) as cause:
        if watch.expired:
            said = f"took longer than {total_timeout:g} seconds: try again, or give a file that you downloaded"
        elif isinstance(cause, _Refused):
            said = str(cause)
        else:
            said = _in_words(cause, size, what, idle_timeout)
        raise error(f"{name} {said}") from None


class _Refused(Exception):
    """Why an answer is not taken: what stands after the address in the message."""


class _Watch:
    """Cuts the connection when the whole download has taken too long, and refuses one that leads inside from outside;
    single reads have timeouts of their own."""

    def __init__(self, seconds: float, is_public: Callable[[str], bool]) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True
        self._is_public = is_public
        self._began_outside: bool | None = None
        self.expired = False

    def __enter__(self) -> _Watch:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def follow(self, connection: socket.socket) -> None:
        """Raises _Refused if `connection`, on which nothing was asked yet, is one not to be used.

        Asking the connection itself, not the name server, leaves no moment in which a name could change its address.
        """
        address = connection.getpeername()[0]
        outside = self._is_public(address)
        if self._began_outside is None:
            self._began_outside = outside
        elif self._began_outside and not outside:
            raise _Refused(f"leads to {address}, which is not on the internet: give that address itself")
        with self._lock:
            self._socket = connection
        if self.expired:
            self._cut()

    def check(self) -> None:
        """Raises _Refused if the time is over: a connection that was cut may look like one that ended."""
        if self.expired:
            raise _Refused

    def _cut(self) -> None:
        self.expired = True
        with self._lock:
            if self._socket is not None:
                try:
                    self._socket.shutdown(socket.SHUT_RDWR)
                except OSError:
                    # It was closed from the other side in the meantime.
                    self._socket = None


class _Adapter(HTTPAdapter):
    """Shows every new connection to the watch."""

    def __init__(self, watch: _Watch) -> None:
        self._watch = watch
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self._follow(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
        manager = super().proxy_manager_for(*args, **options)
        self._follow(manager)
        return manager

    def send(self, *args: Any, **options: Any) -> requests.Response:
        response = super().send(*args, **options)
        if response.is_redirect:
            response.raw.close()  # requests would read all that a redirect says beside where it leads
        return response

    def _follow(self, manager: Any) -> None:
        manager.pool_classes_by_scheme = {
            scheme: _watched(pool, self._watch) for scheme, pool in manager.pool_classes_by_scheme.items()
        }


def _watched(pool: type[Any], watch: _Watch) -> type[Any]:
    """A pool of urllib3's whose connections `watch` follows."""
    if getattr(pool, "watched", False):
        return pool

    base: Any = pool.ConnectionCls

    class Connection(base):  # type: ignore[misc]
        def connect(self) -> None:
            super().connect()
            watch.follow(self.sock)

    return type(pool.__name__, (pool,), {"ConnectionCls": Connection, "watched": True})


def _check_answer(response: requests.Response, what: str, max_bytes: int) -> None:
    if response.status_code >= 300:
        raise _Refused(_status(response.status_code, response.reason))
    if response.headers.get("Content-Type", "").partition(";")[0] in ("text/html", "application/xhtml+xml"):
        raise _Refused(_web_page(what))
    stated = response.headers.get("Content-Length", "")
    if stated.isdecimal() and int(stated) > max_bytes:
        raise _Refused(f"is {int(stated) / 1e6:,.0f} MB, more than {_limit(max_bytes)}")


def _web_page(what: str) -> str:
    return f"is a web page, not a {what}: give the address of the {what} itself"


def _limit(max_bytes: int) -> str:
    return f"the {max_bytes / 1e6:,.0f} MB that are fetched: download it yourself and give the file"


def _status(code: int, reason: str | None) -> str:
    mend = "it needs a login: download it yourself" if code in (401, 403, 407) else "check the address"
    if code >= 500 or code == 429:
        mend = "try again later"
    return f"answered {code} {' '.join((reason or '').split())}".rstrip() + f": {mend}"


def _in_words(error: Exception, size: int, what: str, idle_timeout: float) -> str:
    """After `size` bytes. The text of requests' own errors holds the whole address, secrets and all."""
    causes = list(_causes(error))
    if isinstance(error, requests.TooManyRedirects):
        return "redirects endlessly: give the address it should end at"
    if isinstance(error, requests.exceptions.InvalidSchema):
        return "leads to what is not an http or https address"
    if isinstance(error, requests.exceptions.InvalidURL | UnicodeError):
        return f"is not a whole address: give one like https://host/{'photo.jpg' if what == 'picture' else 'model.h5'}"
    if isinstance(error, requests.Timeout) or any(isinstance(cause, TimeoutError) for cause in causes):
        return f"did not answer for {idle_timeout:g} seconds: try again later"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        # urllib3 counts what had come, those bytes too that were on their way to us.
        counts = [count for cause in causes if isinstance(count := getattr(cause, "partial", None), int)]
        return f"broke off after {(counts or [size])[0]:,} bytes: try again"
    reasons = [cause.strerror for cause in causes if isinstance(cause, OSError) and isinstance(cause.strerror, str)]
    reason = reasons[-1] if reasons else type(causes[-1]).__name__
    return f"cannot be fetched ({reason}): check the address and the network"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, then what led to it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
