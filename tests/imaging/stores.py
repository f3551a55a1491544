"""A bucket of a real S3 server on this machine (moto's), and a server before it that fails as it is told."""

from __future__ import annotations

import http.client
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from srgan_trt.imaging import addresses

Failure = Callable[[str, str], int | None]
"""(method, path) of a request -> the status to answer instead, or None."""
_LOGIN = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "hunter2secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
_CODES = {403: "AccessDenied", 503: "SlowDown", 500: "InternalError"}


class Store:
    """One bucket. `fails` is asked of every request."""

    def __init__(self, upstream: int) -> None:
        self.fails: Failure = lambda method, path: None
        self.requests: list[tuple[str, str]] = []
        store = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                store.requests.append((self.command, self.path))
                if (status := store.fails(self.command, self.path)) is not None:
                    code = _CODES[status]
                    self._answer(status, {}, f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode())
                    return
                connection = http.client.HTTPConnection("127.0.0.1", upstream, timeout=30)
                connection.request(self.command, self.path, body, dict(self.headers))
                answer = connection.getresponse()
                headers = {name: value for name, value in answer.getheaders() if name.lower() not in _HOP}
                self._answer(answer.status, headers, answer.read(), length=answer.getheader("Content-Length"))
                connection.close()

            def _answer(self, status: int, headers: dict[str, str], body: bytes, length: str | None = None) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", length if self.command == "HEAD" and length else str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = handle_any

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


_HOP = {"connection", "transfer-encoding", "content-length", "date", "server"}


@contextmanager
def bucket(name: str = "pictures") -> Iterator[tuple[Store, Any]]:
    """(store, boto3's client of the server behind it); the environment leads s3:// addresses to the store."""
    import boto3
    import s3fs
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    store = Store(port)
    before = dict(os.environ)
    addresses._store.cache_clear()  # those of another server, if a test had one before
    s3fs.S3FileSystem.clear_instance_cache()
    os.environ |= {**_LOGIN, "AWS_ENDPOINT_URL": store.endpoint}
    try:
        client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}")
        client.create_bucket(Bucket=name)
        yield store, client
    finally:
        os.environ.clear()
        os.environ.update(before)
        store.close()
        server.stop()
