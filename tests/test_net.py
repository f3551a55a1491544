"""Where addresses may lead; what downloads have in common is in imaging/test_download.py and models/test_remote.py."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import pytest

from srgan_trt.errors import ModelError, PictureError, SrganTrtError
from srgan_trt.net import fetch, is_public

from .web_server import BODY, Server, answer, redirect


@pytest.fixture
def outside() -> Iterator[Server]:
    """Stands for a server on the internet."""
    running = Server()
    yield running
    running.close()


@pytest.fixture
def inside() -> Iterator[Server]:
    running = Server("127.0.0.2")
    yield running
    running.close()


def fetched(url: str, error: type[SrganTrtError] = PictureError) -> bytes:
    data = bytearray()
    fetch(
        url,
        data.extend,
        what="picture",
        error=error,
        max_bytes=1 << 20,
        idle_timeout=5,
        total_timeout=5,
        is_public=lambda address: address == "127.0.0.1",
    )
    return bytes(data)


@pytest.mark.parametrize("error", [PictureError, ModelError])
def test_nobody_outside_leads_inside(outside: Server, inside: Server, error: type[SrganTrtError]) -> None:
    outside.answers["/a"] = redirect("/b")
    outside.answers["/b"] = redirect(f"{inside.base}/secret?key=secret")
    with pytest.raises(error, match=r"/a leads to 127\.0\.0\.2, which is not on the internet") as raised:
        fetched(f"{outside.base}/a", error)
    assert "secret" not in str(raised.value)
    assert not inside.headers


def test_from_inside_all_ways_are_open(outside: Server, inside: Server) -> None:
    inside.answers["/a"] = redirect(f"{outside.base}/b")
    outside.answers["/b"] = redirect(f"{inside.base}/c")
    inside.answers["/c"] = answer()
    assert fetched(f"{inside.base}/a") == BODY


def test_what_a_redirect_says_beside_is_not_read(outside: Server) -> None:
    def endless(handler: BaseHTTPRequestHandler) -> None:
        redirect("/b")(handler)
        while True:
            handler.wfile.write(bytes(1 << 16))

    outside.answers["/a"] = endless
    outside.answers["/b"] = answer()
    assert fetched(f"{outside.base}/a") == BODY


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.215.14", True),
        ("2606:2800:21f::1", True),
        *((address, False) for address in ("127.0.0.1", "::1", "10.1.2.3", "192.168.0.1", "172.16.0.1")),
        *((address, False) for address in ("169.254.169.254", "fe80::1%eth0", "fd00::1", "0.0.0.0")),
        *((address, False) for address in ("::ffff:127.0.0.1", "100.64.0.1")),
    ],
)
def test_public_addresses(address: str, public: bool) -> None:
    assert is_public(address) is public
