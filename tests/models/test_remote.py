"""Models from a real web server on this machine: fetched once, opened only if they are what was asked for."""

from __future__ import annotations

import hashlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import numpy as np
import onnx
import pytest

from srgan_trt import cache
from srgan_trt.errors import ModelError, SrganTrtError
from srgan_trt.models import remote
from srgan_trt.models.registry import find_model
from srgan_trt.oneshot import upscale
from srgan_trt.resolve import open_plan
from srgan_trt.upscaler import Upscaler

from ..handmade import nearest_model, noise, small_plan
from ..web_server import BODY, Answer, Server, answer, redirect

HASH = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the test's own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("SRGAN_TRT_CACHE", str(folder))
    return folder


def kept(folder: Path) -> list[str]:
    """Files in the cache, but for locks."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"]
    return sorted(path.relative_to(folder).as_posix() for path in paths)


def failure(url: str, sha256: str | None = HASH) -> str:
    with pytest.raises(ModelError) as raised:
        find_model(url, sha256=sha256)
    assert "\n" not in str(raised.value)
    return str(raised.value)


class TestFetching:
    def test_a_model_is_fetched_once(self, server: Server, folder: Path) -> None:
        server.answers["/models/x4.h5"] = answer()
        first = find_model(f"{server.base}/models/x4.h5", sha256=HASH)
        assert first.read_bytes() == BODY
        assert find_model(f"{server.base}/models/x4.h5", sha256=HASH.upper()) == first
        assert find_model(f"{server.base}/models/x4.h5", sha256=f"sha256:{HASH}") == first
        assert len(server.headers) == 1
        assert kept(folder) == [f"models/{HASH}/x4.h5"]
        assert server.headers[0]["User-Agent"].startswith("srgan-trt/")
        assert server.headers[0]["Accept-Encoding"] == "identity"

    def test_a_kept_model_needs_no_network(self, server: Server) -> None:
        server.answers["/x4.h5"] = answer()
        path = find_model(f"{server.base}/x4.h5", sha256=HASH)
        server.close()
        assert find_model(f"{server.base}/x4.h5", sha256=HASH) == path

    def test_a_kept_model_that_was_changed_is_fetched_again(
        self, server: Server, caplog: pytest.LogCaptureFixture
    ) -> None:
        server.answers["/x4.h5"] = answer()
        path = find_model(f"{server.base}/x4.h5", sha256=HASH)
        path.write_bytes(BODY[:-1] + b"?")
        assert find_model(f"{server.base}/x4.h5", sha256=HASH).read_bytes() == BODY
        assert len(server.headers) == 2
        assert "is damaged: fetching it again" in caplog.text

    def test_a_disk_that_does_not_take_it_costs_nothing_but_the_next_start(
        self, server: Server, folder: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """As a full one: that it fails shows only when the file is written."""

        def too_late(handler: BaseHTTPRequestHandler) -> None:
            (folder / "models" / HASH / "x4.h5").mkdir(exist_ok=True)
            answer()(handler)

        server.answers["/x4.h5"] = too_late
        path = find_model(f"{server.base}/x4.h5", sha256=HASH)
        assert path.read_bytes() == BODY
        assert folder not in path.parents
        assert "nothing is kept for the next start" in caplog.text
        path.unlink()  # other tests run in this process, too

    def test_redirects_are_followed_to_an_end(self, server: Server) -> None:
        server.answers["/latest.h5"] = redirect("/v2")
        server.answers["/v2"] = redirect(f"{server.base}/v2.1.h5")
        server.answers["/v2.1.h5"] = answer()
        path = find_model(f"{server.base}/latest.h5", sha256=HASH)
        assert (path.name, path.read_bytes()) == ("latest.h5", BODY)

    def test_the_name_stays_in_the_folder(self, server: Server, folder: Path) -> None:
        server.answers["/..%2F..%2F..%2Fescaped.h5"] = answer()
        server.answers["/a/.."] = answer()
        server.answers["/get?file=../../x.h5"] = answer()
        for end in ("/..%2F..%2F..%2Fescaped.h5", "/a/%2e%2e", "/get?file=../../x.h5"):
            assert find_model(f"{server.base}{end}", sha256=HASH).parent == folder / "models" / HASH
        assert kept(folder.parent) == [
            f"cache/models/{HASH}/{name}" for name in ("download.onnx", "escaped.h5", "get.onnx")
        ]

    def test_processes_at_the_same_time_fetch_once(self, server: Server) -> None:
        def slowly(handler: BaseHTTPRequestHandler) -> None:
            time.sleep(0.5)
            answer()(handler)

        server.answers["/x4.h5"] = slowly
        program = (
            "from srgan_trt.models.registry import find_model;"
            f"print(find_model('{server.base}/x4.h5', sha256='{HASH}').stat().st_size)"
        )
        running = [
            subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            for _ in range(3)
        ]
        ends = [process.communicate(timeout=60) for process in running]
        assert ends == [(f"{len(BODY)}\n".encode(), b"")] * 3
        assert len(server.headers) == 1

    def test_without_a_writable_cache_it_is_for_this_process(
        self, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        (tmp_path / "file").write_text("in the way")
        monkeypatch.setenv("SRGAN_TRT_CACHE", str(tmp_path / "file" / "cache"))
        cache._warn_once.cache_clear()
        server.answers["/x4.h5"] = answer()
        for _ in range(2):
            assert find_model(f"{server.base}/x4.h5", sha256=HASH).read_bytes() == BODY
        assert len(server.headers) == 1
        assert "cannot write to the cache folder" in caplog.text


class TestRefusals:
    def test_without_a_checksum_nothing_is_fetched(self, server: Server, folder: Path) -> None:
        text = failure(f"{server.base}/x4.h5?key=secret", None)
        assert text == (
            f"{server.base}/x4.h5 is not fetched without its checksum: give --sha256 (in Python sha256=) as its "
            "publisher states it"
        )
        assert not server.headers
        assert not folder.exists()

    @pytest.mark.parametrize("text", ["", "abc", HASH[:-1], HASH + "0", "g" * 64, f"md5:{HASH}"])
    def test_what_is_no_checksum_is_said_before_anything_is_fetched(self, server: Server, text: str) -> None:
        assert failure(f"{server.base}/x4.h5", text) == f"{text!r} is not a sha256: that has 64 hexadecimal digits"
        assert not server.headers

    def test_a_file_with_another_checksum_is_not_kept(self, server: Server, folder: Path) -> None:
        server.answers["/x4.h5?key=secret"] = answer()
        text = failure(f"{server.base}/x4.h5?key=secret", "ab" * 32)
        assert text == (
            f"{server.base}/x4.h5 sent another file than the one asked for: {len(BODY):,} bytes whose sha256 begins "
            f"with {HASH[:12]}, not abababababab; nothing of it is kept"
        )
        assert not kept(folder)

    @pytest.mark.parametrize(
        ("code", "text"),
        [
            (404, "answered 404 Not Found: check the address"),
            (403, "answered 403 Forbidden: it needs a login: download it yourself"),
            (503, "answered 503 Service Unavailable: try again later"),
        ],
    )
    def test_refusals_are_said(self, server: Server, folder: Path, code: int, text: str) -> None:
        server.answers["/x4.h5?key=secret"] = answer(code, b"no")
        assert failure(f"{server.base}/x4.h5?key=secret") == f"{server.base}/x4.h5 {text}"
        assert not kept(folder)

    def test_web_pages_are_said(self, server: Server, folder: Path) -> None:
        server.answers["/blob/x4.h5"] = answer(body=b"\n<!DOCTYPE html><html>" + BODY, **{"Content-Type": "text/html"})
        assert failure(f"{server.base}/blob/x4.h5") == (
            f"{server.base}/blob/x4.h5 is a web page, not a model: give the address of the model itself"
        )
        assert not kept(folder)

    def test_a_download_that_breaks_off_is_said(self, server: Server, folder: Path) -> None:
        server.answers["/x4.h5"] = answer(**{"Content-Length": str(len(BODY) + 1)})
        assert failure(f"{server.base}/x4.h5") == (
            f"{server.base}/x4.h5 broke off after {len(BODY):,} bytes: try again"
        )
        assert not kept(folder)

    def test_an_answer_without_end_ends(self, server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def endless(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(200)
            handler.end_headers()
            while True:
                handler.wfile.write(bytes(1 << 16))

        monkeypatch.setattr(remote, "MAX_BYTES", 2_000_000)
        server.answers["/x4.h5"] = endless
        assert failure(f"{server.base}/x4.h5") == (
            f"{server.base}/x4.h5 sends more than the 2 MB that are fetched: download it yourself and give the file"
        )
        assert not kept(folder)

    @pytest.mark.parametrize("where", ["before", "within"])
    def test_silence_ends(self, server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
        def silent(handler: BaseHTTPRequestHandler) -> None:
            if where == "within":
                handler.send_response(200)
                handler.send_header("Content-Length", "1000")
                handler.end_headers()
                handler.wfile.write(b"begin")
                handler.wfile.flush()
            time.sleep(1)

        monkeypatch.setattr(remote, "TIMEOUT", 0.2)
        server.answers["/x4.h5"] = silent
        assert failure(f"{server.base}/x4.h5").endswith("did not answer for 0.2 seconds: try again later")
        assert not kept(folder)

    def test_a_server_that_drips_ends_too(self, server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def drip(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(200)
            handler.end_headers()
            for _ in range(40):
                handler.wfile.write(b"x")
                handler.wfile.flush()
                time.sleep(0.05)

        monkeypatch.setattr(remote, "TOTAL_TIMEOUT", 0.4)
        server.answers["/x4.h5"] = drip
        assert "took longer than 0.4 seconds: try again" in failure(f"{server.base}/x4.h5")
        assert not kept(folder)

    def test_redirects_end_and_leave_http_for_nothing(self, server: Server, folder: Path) -> None:
        server.answers["/loop"] = redirect("/loop")
        assert failure(f"{server.base}/loop") == (
            f"{server.base}/loop redirects endlessly: give the address it should end at"
        )
        for location in ("file:///etc/passwd?key=secret", "ftp://127.0.0.1/a", "data:text/plain,x"):
            server.answers["/a"] = redirect(location)
            assert failure(f"{server.base}/a") == f"{server.base}/a leads to what is not an http or https address"
        assert not kept(folder)

    def test_servers_that_are_not_there_are_said(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        assert failure(f"http://me:secret@127.0.0.1:{port}/a.h5?key=secret") == (
            f"http://127.0.0.1:{port}/a.h5 cannot be fetched (Connection refused): check the address and the network"
        )
        assert failure("http://no-such-host.invalid/a.h5?key=secret").startswith(
            "http://no-such-host.invalid/a.h5 cannot be fetched ("
        )
        for url in ("http:///a.h5", "https://", "http://[broken/a?key=secret"):
            text = failure(url)
            assert "is not a whole address: give one like" in text
            assert "secret" not in text

    def test_a_server_that_speaks_no_http_is_said(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:

            def speak() -> None:
                connection, _ = listening.accept()
                with connection:
                    connection.recv(1000)
                    connection.sendall(b"SSH-2.0-OpenSSH\r\n\r\n")

            threading.Thread(target=speak, daemon=True).start()
            port = listening.getsockname()[1]
            assert "cannot be fetched (" in failure(f"http://127.0.0.1:{port}/a.h5")

    def test_a_login_goes_to_its_own_host_only_and_into_no_message(self, server: Server) -> None:
        other = Server()
        try:
            other.answers["/b"] = answer()
            server.answers["/a.h5"] = redirect(f"{other.base.replace('127.0.0.1', 'localhost')}/b")
            server.answers["/absent.h5?key=secret"] = answer(404, b"")
            with_login = server.base.replace("http://", "http://user:s%40cret@")
            assert find_model(f"{with_login}/a.h5", sha256=HASH).read_bytes() == BODY
            assert server.headers[0]["Authorization"] == "Basic dXNlcjpzQGNyZXQ="
            assert "Authorization" not in other.headers[0]
            text = failure(f"{with_login}/absent.h5?key=secret", "ab" * 32)
            assert text.startswith(f"{server.base}/absent.h5 answered 404")
            assert "cret" not in text
        finally:
            other.close()

    def test_nothing_is_said_beside_the_log(
        self, server: Server, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("INFO")
        server.answers["/x4.h5?key=secret"] = answer()
        find_model(f"{server.base}/x4.h5?key=secret", sha256=HASH)
        assert capfd.readouterr() == ("", "")
        assert f"fetching {server.base}/x4.h5" in caplog.text
        assert "secret" not in "".join(r.getMessage() for r in caplog.records if r.name.startswith("srgan_trt"))

    def test_other_kinds_of_addresses_are_said(self) -> None:
        assert failure("ftp://user:secret@host/x4.h5") == (
            "ftp://host/x4.h5 is not an http or https address: only these can be fetched"
        )


class TestLocalFiles:
    def test_a_checksum_holds_for_them_too(self, tmp_path: Path) -> None:
        path = tmp_path / "x4.h5"
        path.write_bytes(BODY)
        assert find_model(path, sha256=HASH) == path
        assert failure(str(path), "ab" * 32) == (
            f"{path} is another file than the one asked for: its sha256 begins with {HASH[:12]}, not abababababab"
        )
        assert "not a sha256" in failure(str(path), "abc")

    def test_a_folder_has_none(self, tmp_path: Path) -> None:
        assert "is a folder, which has no checksum of its own: leave --sha256 out" in failure(str(tmp_path))

    def test_a_file_that_cannot_be_read(self, tmp_path: Path) -> None:
        path = tmp_path / "x4.h5"
        path.symlink_to(tmp_path / "nowhere")
        assert failure(str(path)) == f"cannot read the model {path}: No such file or directory"


def serve(server: Server, path: Path) -> tuple[str, str]:
    """Address and checksum of a file."""
    content = path.read_bytes()
    server.answers[f"/{path.name}"] = file_answer(content)
    return f"{server.base}/{path.name}", hashlib.sha256(content).hexdigest()


def file_answer(content: bytes) -> Answer:
    return answer(body=content, **{"Content-Type": "application/octet-stream"})


class TestUpscaling:
    def test_a_plan_from_the_web_runs_as_its_file_does(self, server: Server, tmp_path: Path) -> None:
        plan, image = small_plan(tmp_path), noise(12, 17)
        url, sha256 = serve(server, plan.path)
        here = upscale(image, model=plan.path, precision="fp32")
        np.testing.assert_array_equal(upscale(image, model=url, sha256=sha256, precision="fp32"), here)
        with Upscaler(url, sha256=sha256, precision="fp32") as up:
            np.testing.assert_array_equal(up(image), here)
        assert len(server.headers) == 1

    def test_of_a_model_from_the_web_a_plan_is_built(self, server: Server, tmp_path: Path) -> None:
        path = tmp_path / "nearest.onnx"
        onnx.save(nearest_model(), path)
        url, sha256 = serve(server, path)
        plan = open_plan(url, sha256=sha256)
        assert (plan.spec.name, plan.spec.scale, plan.spec.source_hash) == ("nearest.onnx", 2, sha256)
        assert open_plan(url, sha256=sha256).path == plan.path

    def test_it_is_as_safe_as_a_local_file(self, server: Server, tmp_path: Path) -> None:
        """A plan whose bytes were changed is refused although its checksum was given."""
        plan = small_plan(tmp_path)
        data = bytearray(plan.path.read_bytes())
        data[300] ^= 1
        plan.path.write_bytes(data)
        url, sha256 = serve(server, plan.path)
        with pytest.raises(SrganTrtError, match="build"):
            open_plan(url, sha256=sha256)

    def test_an_open_plan_comes_too_late(self, tmp_path: Path) -> None:
        with pytest.raises(SrganTrtError, match="is open already: its checksum comes too late"):
            open_plan(small_plan(tmp_path), sha256=HASH)
