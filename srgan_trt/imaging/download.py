"""A picture from an http or https address, within limits of time and size."""

from __future__ import annotations

import base64
import http.client
import socket
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from .._version import __version__
from ..errors import PictureError
from ..urls import redact_url

MAX_BYTES = 256 << 20
_MAX_REDIRECTS = 10


def download(
    url: str, *, max_bytes: int = MAX_BYTES, idle_timeout: float = 20.0, total_timeout: float = 300.0
) -> bytes:
    """What ``url`` answers to a GET. Raises PictureError, in one line, if that is no success, is a web page, stays
    silent for ``idle_timeout`` seconds, takes longer than ``total_timeout``, or is larger than ``max_bytes``.

    Only http and https are followed, through at most 10 redirects. A user name and password in the address go to its
    own host only, and into no message; neither does its query.
    """
    name = redact_url(url)
    watch = _Watch(total_timeout)
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        _HTTPHandler(watch),
        _HTTPSHandler(watch),
        urllib.request.HTTPDefaultErrorHandler(),
        _RedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    try:
        with watch, opener.open(_request(url, name), timeout=min(idle_timeout, total_timeout)) as response:
            data = _body(response, name, max_bytes, watch)
    except PictureError:
        raise
    except urllib.error.HTTPError as error:
        error.close()
        raise _refused(error, name) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        if watch.expired:
            raise PictureError(
                f"{name} took longer than {total_timeout:g} seconds: try again, or give a file that you downloaded"
            ) from None
        raise _failed(error, name, idle_timeout) from None
    return data


class _Watch:
    """Cuts the connection when the whole download has taken too long; single reads have timeouts of their own."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True
        self.expired = False

    def __enter__(self) -> _Watch:
        self._end = time.monotonic() + self._seconds
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def follow(self, connection: socket.socket) -> None:
        with self._lock:
            self._socket = connection
        if self.expired:
            self._cut()

    def check(self) -> None:
        if self.expired:
            raise TimeoutError

    def _cut(self) -> None:
        self.expired = True
        with self._lock:
            if self._socket is not None:
                try:
                    self._socket.shutdown(socket.SHUT_RDWR)
                except OSError:
                    # It was closed from the other side in the meantime.
                    self._socket = None


def _watched(base: type[http.client.HTTPConnection], watch: _Watch) -> type[http.client.HTTPConnection]:
    class Watched(base):  # type: ignore[valid-type, misc]
        def connect(self) -> None:
            super().connect()
            watch.follow(self.sock)

    return Watched


class _HTTPHandler(urllib.request.HTTPHandler):
    def __init__(self, watch: _Watch) -> None:
        super().__init__()
        self._connection = _watched(http.client.HTTPConnection, watch)

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._connection, req)


class _HTTPSHandler(urllib.request.HTTPSHandler):
    def __init__(self, watch: _Watch) -> None:
        super().__init__()
        self._connection = _watched(http.client.HTTPSConnection, watch)
        self._verified = ssl.create_default_context()

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._connection, req, context=self._verified)


class _RedirectHandler(urllib.request.HTTPRedirectHandler):
    max_redirections = _MAX_REDIRECTS

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if _leaves_http(newurl):
            # The base class lets ftp through, and ends like this for all the others.
            raise urllib.error.HTTPError(newurl, code, msg, headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _request(url: str, name: str) -> urllib.request.Request:
    try:
        parts = urllib.parse.urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host:
        raise PictureError(f"{name} names no host: give an address like https://host/photo.jpg")
    try:
        host = host.encode("idna").decode("ascii")
    except UnicodeError:
        raise PictureError(f"{name} has an impossible host name: check it") from None
    # Spaces and letters beyond ASCII, as people copy them, are written the way HTTP wants them.
    host = f"[{host}]" if ":" in host else host
    location = host if port is None else f"{host}:{port}"
    path = urllib.parse.quote(parts.path, safe="/%:@!$&'()*+,;=~")
    query = urllib.parse.quote(parts.query, safe="/%:@!$&'()*+,;=~?[]")
    request = urllib.request.Request(urllib.parse.urlunsplit((parts.scheme, location, path, query, "")))
    request.add_header("User-Agent", f"srgan-trt/{__version__}")
    request.add_header("Accept", "image/*,*/*;q=0.5")
    if parts.username is not None:
        pair = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
        # 'Unredirected' headers are not sent on to where a redirect leads.
        request.add_unredirected_header("Authorization", "Basic " + base64.b64encode(pair.encode()).decode())
    return request


def _body(response: http.client.HTTPResponse, name: str, max_bytes: int, watch: _Watch) -> bytes:
    kind = response.headers.get_content_type()
    if kind in ("text/html", "application/xhtml+xml"):
        raise PictureError(f"{name} is a web page, not a picture: give the address of the picture itself")
    stated = response.headers.get("Content-Length", "")
    expected = int(stated) if stated.isdecimal() else None
    if expected is not None and expected > max_bytes:
        raise _too_large(name, max_bytes, expected)
    data = bytearray()
    # read1 returns what one packet brought: a server that drips is noticed by the watch, not waited for.
    while part := response.read1(1 << 16):
        watch.check()
        data += part
        if len(data) > max_bytes:
            raise _too_large(name, max_bytes, None)
    watch.check()
    if expected is not None and len(data) < expected:
        raise PictureError(f"{name} broke off after {len(data):,} of {expected:,} bytes: try again")
    return bytes(data)


def _too_large(name: str, max_bytes: int, size: int | None) -> PictureError:
    what = f"is {size / 1e6:,.0f} MB, more than" if size is not None else "sends more than"
    return PictureError(
        f"{name} {what} the {max_bytes / 1e6:,.0f} MB that are fetched: download it yourself and give the file"
    )


def _leaves_http(url: str) -> bool:
    return urllib.parse.urlsplit(url).scheme not in ("", "http", "https")


def _refused(error: urllib.error.HTTPError, name: str) -> PictureError:
    reason = " ".join(str(error.reason).split())
    if 300 <= error.code < 400 and _leaves_http(location := error.headers.get("Location", "")):
        return PictureError(f"{name} leads to {redact_url(location)}, which is not an http or https address")
    if 300 <= error.code < 400:
        return PictureError(f"{name} redirects endlessly or nowhere ({error.code}): give the address it should end at")
    mend = "it needs a login: download it yourself" if error.code in (401, 403, 407) else "check the address"
    if error.code >= 500 or error.code == 429:
        mend = "try again later"
    return PictureError(f"{name} answered {error.code} {reason}".rstrip() + f": {mend}")


def _failed(error: Exception, name: str, idle_timeout: float) -> PictureError:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, TimeoutError):
        return PictureError(f"{name} did not answer for {idle_timeout:g} seconds: try again later")
    text = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
    return PictureError(f"{name} cannot be fetched ({' '.join(str(text).split())}): check the address and the network")
