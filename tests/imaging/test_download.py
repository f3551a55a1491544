"""Downloads against a real HTTP server on this machine: what it answers badly becomes one line."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import pytest

from srgan_trt.errors import PictureError
from srgan_trt.imaging.download import download

from ..web_server import BODY, Server, answer, redirect


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


def failure(url: str, **options: float) -> str:
    with pytest.raises(PictureError) as raised:
        download(url, **options)  # type: ignore[arg-type]
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_the_bytes_of_a_picture_come_back(server: Server) -> None:
    server.answers["/photo.png"] = answer()
    server.answers["/gr%C3%B6%C3%9Fe%201.png?a=b"] = answer()
    server.answers["/unknown-length"] = answer(Content_Length="", **{"Content-Length": ""})
    assert download(f"{server.base}/photo.png") == BODY
    assert download(f"{server.base}/größe 1.png?a=b#part") == BODY
    assert download(f"{server.base}/unknown-length") == BODY
    assert server.headers[0]["User-Agent"].startswith("srgan-trt/")


def test_redirects_are_followed_to_an_end(server: Server) -> None:
    server.answers["/a"] = redirect("/b")
    server.answers["/b"] = redirect(f"{server.base}/c")
    server.answers["/c"] = answer()
    assert download(f"{server.base}/a") == BODY


def test_endless_redirects_end(server: Server) -> None:
    server.answers["/loop"] = redirect("/loop")
    for step in range(30):
        server.answers[f"/{step}"] = redirect(f"/{step + 1}")
    assert failure(f"{server.base}/loop") == (
        f"{server.base}/loop redirects endlessly: give the address it should end at"
    )
    assert "redirects endlessly" in failure(f"{server.base}/0")


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://127.0.0.1/a", "data:text/plain,x"])
def test_redirects_leave_http_for_nothing(server: Server, location: str) -> None:
    server.answers["/a"] = redirect(location)
    assert "leads to what is not an http or https address" in failure(f"{server.base}/a")


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (404, "answered 404 Not Found: check the address"),
        (403, "answered 403 Forbidden: it needs a login: download it yourself"),
        (503, "answered 503 Service Unavailable: try again later"),
    ],
)
def test_refusals_are_said(server: Server, code: int, text: str) -> None:
    server.answers["/photo.png"] = answer(code, b"no", Content_Type="text/html")
    assert failure(f"{server.base}/photo.png") == f"{server.base}/photo.png {text}"


def test_web_pages_are_said(server: Server) -> None:
    server.answers["/photo"] = answer(200, b"<html>", **{"Content-Type": "text/html; charset=utf-8"})
    assert failure(f"{server.base}/photo") == (
        f"{server.base}/photo is a web page, not a picture: give the address of the picture itself"
    )


def test_ten_gigabytes_are_refused_by_the_header_and_by_count(server: Server) -> None:
    sent = [0]

    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while True:
            sent[0] += handler.wfile.write(bytes(1 << 16))

    server.answers["/stated"] = answer(200, b"", **{"Content-Length": str(10 << 30)})
    server.answers["/unstated"] = endless
    assert failure(f"{server.base}/stated") == (
        f"{server.base}/stated is 10,737 MB, more than the 268 MB that are fetched: "
        "download it yourself and give the file"
    )
    assert "sends more than the 2 MB that are fetched" in failure(f"{server.base}/unstated", max_bytes=2_000_000)
    assert sent[0] < 50_000_000


def test_silence_ends(server: Server) -> None:
    server.answers["/silent"] = lambda _: time.sleep(1.5)
    start = time.monotonic()
    assert "did not answer for 0.2 seconds: try again later" in failure(f"{server.base}/silent", idle_timeout=0.2)
    assert time.monotonic() - start < 1


@pytest.mark.parametrize("where", ["headers", "body"])
def test_a_server_that_drips_ends_too(server: Server, where: str) -> None:
    def drip(handler: BaseHTTPRequestHandler) -> None:
        if where == "body":
            handler.send_response(200)
            handler.send_header("Content-Length", "1000")
            handler.end_headers()
        for _ in range(40):
            handler.wfile.write(b"x")
            handler.wfile.flush()
            time.sleep(0.05)

    server.answers["/drip"] = drip
    start = time.monotonic()
    text = failure(f"{server.base}/drip", idle_timeout=5, total_timeout=0.4)
    assert "took longer than 0.4 seconds" in text
    assert time.monotonic() - start < 1.5


def test_a_download_that_breaks_off_is_said(server: Server) -> None:
    server.answers["/cut"] = answer(200, b"abc", **{"Content-Length": "1000"})
    assert "broke off after 3 bytes: try again" in failure(f"{server.base}/cut")


def test_servers_that_are_not_there_are_said() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert "cannot be fetched (Connection refused): check the address" in failure(f"http://127.0.0.1:{port}/a.png")
    assert "cannot be fetched" in failure("http://no-such-host.invalid/a.png")
    for url in ("http:///a.png", "http://host:port/a.png", "http://" + "a" * 80 + "ö.de/a.png"):
        assert failure(url).endswith("is not a whole address: give one like https://host/photo.jpg")


def test_a_server_that_speaks_no_http_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def speak() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"SSH-2.0-OpenSSH\r\n\r\n")

        threading.Thread(target=speak, daemon=True).start()
        port = listening.getsockname()[1]
        assert "cannot be fetched (" in failure(f"http://127.0.0.1:{port}/a.png")


def test_a_login_goes_to_its_own_host_only_and_into_no_message(server: Server) -> None:
    other = Server()
    try:
        other.answers["/b"] = answer()
        server.answers["/a"] = redirect(f"{other.base}/b")
        server.answers["/absent?key=secret"] = answer(404, b"")
        with_login = server.base.replace("http://", "http://user:s%40cret@")
        assert download(f"{with_login}/a") == BODY
        assert server.headers[0]["Authorization"] == "Basic dXNlcjpzQGNyZXQ="
        assert "Authorization" not in other.headers[0]
        text = failure(f"{with_login}/absent?key=secret")
        assert text.startswith(f"{server.base}/absent answered 404")
        assert "cret" not in text
    finally:
        other.close()
