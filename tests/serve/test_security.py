"""Bombs, names, tokens and damaged requests: refused in time, and cheap."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srgan_trt.imaging.png import SIGNATURE

from .service import Service, png, service

SECRET = "0123456789abcdef"
ORIGIN = "https://pictures.example"


@pytest.fixture(scope="module")
def guarded(nearest: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """With a token, and another site that may use it."""
    file = tmp_path_factory.mktemp("token") / "token"
    file.write_text(SECRET)
    with service("--model", nearest, "--token-file", file, "--allow-origin", ORIGIN) as running:
        yield running


def bomb(width: int, height: int) -> bytes:
    """A PNG of one colour: gigabytes of pixels in a few kilobytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    packer = zlib.compressobj(9)
    row = bytes(1 + 3 * width)
    rows = b"".join(packer.compress(row) for _ in range(min(height, 2000)))
    return SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", rows + packer.flush()) + chunk(b"IEND", b"")


class TestBombs:
    def test_many_pixels_in_few_bytes_cost_no_memory(self, served: Service) -> None:
        content = bomb(30_000, 30_000)
        assert len(content) < 250_000
        before = served.metric("srgan_trt_resident_bytes")
        for _ in range(3):
            assert served.post("/v1/upscale", content).json()["code"] == "too_many_pixels"
        assert served.metric("srgan_trt_resident_bytes") - before < 50e6

    def test_sizes_in_the_headers_of_other_formats(self, served: Service) -> None:
        size = 30_000
        heads = {
            "GIF": b"GIF89a" + struct.pack("<HHBBB", size, size, 0, 0, 0),
            "BMP": b"BM"
            + struct.pack("<IHHI", 0, 0, 0, 54)
            + struct.pack("<IiiHHIIiiII", 40, size, size, 1, 24, *[0] * 6),
            "WEBP": b"RIFF\0\1\0\0WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + (size - 1).to_bytes(3, "little") * 2,
        }
        for name, head in heads.items():
            code = served.post("/v1/upscale", head + bytes(64)).json()["code"]
            assert code in ("too_many_pixels", "bad_picture"), name

    def test_text_that_unpacks_to_much(self, served: Service) -> None:
        """In a PNG's own chunks: 64 MB of text in 64 KB."""
        content = b"Comment\0\0" + zlib.compress(bytes(64 << 20), 9)
        chunk = struct.pack(">I", len(content)) + b"zTXt" + content + struct.pack(">I", zlib.crc32(b"zTXt" + content))
        before = served.metric("srgan_trt_resident_bytes")
        assert served.post("/v1/upscale", png()[:33] + chunk + png()[33:]).status_code in (200, 400)
        assert served.metric("srgan_trt_resident_bytes") - before < 50e6


class TestDoors:
    def test_nothing_without_the_token(self, guarded: Service) -> None:
        job = "/v1/jobs/some"
        for path in ("/v1/models", "/metrics", job, f"{job}/events", f"{job}/result", "/nothing"):
            answer = guarded.get(path)
            assert (answer.status_code, answer.json()["code"]) == (401, "no_token")
            assert answer.headers["WWW-Authenticate"] == "Bearer"
        for value in ("", "Bearer", f"Bearer {SECRET}x", f"Basic {SECRET}", SECRET, f"Bearer {SECRET} {SECRET}"):
            assert guarded.post("/v1/upscale", png(), headers={"Authorization": value}).status_code == 401
        assert guarded.post("/v1/upscale", png(), headers={"Authorization": f"Bearer {SECRET}"}).status_code == 200

    def test_the_page_and_health_need_none(self, guarded: Service) -> None:
        for path in ("/", "/page/app.js", "/healthz", "/readyz", "/openapi.json"):
            assert guarded.get(path).status_code == 200

    def test_the_token_is_nowhere_in_answers(self, guarded: Service) -> None:
        shown = {"Authorization": f"Bearer {SECRET}"}
        for path in ("/", "/v1/models", "/metrics", "/openapi.json", f"/v1/jobs/{SECRET}"):
            assert SECRET not in guarded.get(path, headers=shown).text

    def test_names_and_sites(self, served: Service) -> None:
        """A page elsewhere that gave its name our address, and one that sends a form."""
        assert served.get("/", headers={"Host": "evil.example"}).json()["code"] == "wrong_host"
        answer = served.post("/v1/upscale", png(), headers={"Origin": "https://evil.example"})
        assert (answer.status_code, answer.json()["code"]) == (403, "wrong_origin")
        assert served.post("/v1/upscale", png(), headers={"Origin": "null"}).status_code == 403
        assert served.post("/v1/upscale", png(), headers={"Origin": served.url}).status_code == 200

    def test_other_sites_are_allowed_by_name_only(self, served: Service, guarded: Service) -> None:
        import requests

        assert "Access-Control-Allow-Origin" not in served.get("/healthz").headers
        asked = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
        answer = requests.options(guarded.url + "/v1/upscale", headers=asked, timeout=60)
        assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (204, ORIGIN)
        assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]
        answer = requests.options(served.url + "/v1/upscale", headers=asked, timeout=60)
        assert answer.status_code == 403

    def test_every_answer_has_its_headers(self, served: Service) -> None:
        for answer in (served.get("/"), served.get("/nothing"), served.post("/v1/upscale", png())):
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert "Server" not in answer.headers

    def test_the_page_has_nothing_inline_and_nothing_foreign(self, served: Service) -> None:
        html = served.get("/").text
        for word in ("<style", "style=", "onclick", "onload", "javascript:", "http://", "https://", "<script>"):
            assert word not in html
        for name in ("app.js", "choices.js", "parts.js", "service.js", "viewer.js", "zip.js", "style.css"):
            text = served.get(f"/page/{name}").text.replace("http://www.w3.org/2000/svg", "")
            assert "http://" not in text
            assert "https://" not in text
            assert "innerHTML" not in text

    def test_no_page_is_none(self, nearest: Path) -> None:
        with service("--model", nearest, "--no-page") as running:
            assert running.get("/").status_code == 404
            assert running.get("/page/app.js").status_code == 404
            assert running.get("/readyz").status_code == 200


class TestDamage:
    @settings(max_examples=60, deadline=None)
    @given(data=st.data())
    def test_damaged_forms(self, served: Service, data: st.DataObject) -> None:
        content = bytearray(
            b'--x\r\nContent-Disposition: form-data; name="format"\r\n\r\njpg\r\n'
            b'--x\r\nContent-Disposition: form-data; name="file"; filename="../../a.png"\r\n\r\n'
            + png()
            + b"\r\n--x--\r\n"
        )
        for _ in range(data.draw(st.integers(0, 5))):
            at = data.draw(st.integers(0, len(content) - 1))
            if data.draw(st.booleans()):
                del content[at : at + data.draw(st.integers(1, 40))]
            else:
                content[at : at + 1] = data.draw(st.binary(max_size=20))
            content = content or bytearray(b"x")
        answer = served.post("/v1/upscale", bytes(content), headers={"Content-Type": "multipart/form-data; boundary=x"})
        assert answer.status_code in (200, 400, 413, 415, 422)

    @settings(max_examples=60, deadline=None)
    @given(head=st.binary(min_size=1, max_size=300))
    def test_damaged_heads(self, served: Service, head: bytes) -> None:
        for start in (b"", b"POST /v1/upscale HTTP/1.1\r\nHost: localhost\r\n"):
            with served.connect() as connection:
                connection.sendall(start + head + b"\r\n\r\n")
                connection.settimeout(0.2)
                try:
                    answer = connection.recv(1000)
                except (TimeoutError, ConnectionResetError):
                    continue
                assert not answer or answer.split()[1][:1] in (b"2", b"3", b"4")
        assert served.get("/healthz").status_code == 200

    def test_a_head_that_is_too_long(self, served: Service) -> None:
        with served.connect() as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"x" * 20_000)
            assert connection.recv(1000).startswith(b"HTTP/1.1 400 ")
