"""How the service behaves: under load, towards clients that hang up or dawdle, and at its end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from .service import Service, pixels, png, service

SLOW = "/v1/upscale?denoise=off"
"""With the picture below and the default model: a second or more of the network."""


@pytest.fixture(scope="module")
def picture() -> bytes:
    return png(640, 800)


@pytest.fixture(scope="module")
def busy() -> Iterator[Service]:
    """With a real model and one place to wait."""
    with service("--model", "srgan-photo-x4", "--queue", "1") as running:
        yield running


def wait_until(what: str, service: Service, value: float, *, within: float = 30) -> float:
    """Seconds until a number is that."""
    begin = time.perf_counter()
    while service.metric(what) != value:
        assert time.perf_counter() - begin < within, what
        time.sleep(0.01)
    return time.perf_counter() - begin


def head(length: int, target: str = SLOW) -> bytes:
    return f"POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n".encode()


class TestClients:
    def test_who_hangs_up_frees_the_network(self, busy: Service, picture: bytes) -> None:
        with busy.connect() as connection:
            connection.sendall(head(len(picture)) + picture)
            wait_until("srgan_trt_running", busy, 1)
            time.sleep(0.5)
            assert busy.metric("srgan_trt_running") == 1
        seconds = wait_until("srgan_trt_running", busy, 0)
        print(f"free after {seconds:.3f} s")
        assert seconds < 1.5  # 0.3 on a machine that has nothing else to do: docs/serving.md
        assert busy.post(SLOW, png()).status_code == 200

    def test_a_job_is_given_up(self, busy: Service, picture: bytes) -> None:
        name = busy.post("/v1/jobs?denoise=off", picture).json()["id"]
        wait_until("srgan_trt_running", busy, 1)
        assert busy.get(f"/v1/jobs/{name}/result").json()["code"] == "not_ready"
        told = busy.events(name)
        assert next(told)["state"] == "running"
        assert busy.delete(f"/v1/jobs/{name}").status_code == 204
        assert list(told)[-1]["state"] == "cancelled"
        assert busy.get(f"/v1/jobs/{name}").status_code == 404
        wait_until("srgan_trt_running", busy, 0)

    def test_a_full_queue_says_when_to_come_again(self, busy: Service) -> None:
        """Three in the works, one waits: the others are told so at once, and none is lost."""
        medium = png(160, 200)
        with ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(lambda _: busy.post(SLOW, medium), range(12)))
        codes = [answer.status_code for answer in answers]
        assert set(codes) == {200, 503}
        assert codes.count(200) >= 4
        for answer in answers:
            if answer.status_code == 503:
                assert answer.json()["code"] == "queue_full"
                assert 1 <= int(answer.headers["Retry-After"]) <= 60
            else:
                assert pixels(answer.content).shape == (640, 800, 3)

    def test_half_a_body_is_no_picture(self, busy: Service, picture: bytes) -> None:
        for _ in range(5):
            with busy.connect() as connection:
                connection.sendall(head(len(picture)) + picture[: len(picture) // 2])
        assert busy.post(SLOW, png()).status_code == 200
        assert busy.metric("srgan_trt_running") == 0

    def test_many_idle_connections_keep_nobody_out(self, busy: Service) -> None:
        with contextlib.ExitStack() as stack:
            for _ in range(600):
                stack.enter_context(busy.connect())
            assert busy.post(SLOW, png()).status_code == 200

    def test_who_says_nothing_or_half_a_head_is_closed(self, busy: Service) -> None:
        with busy.connect() as silent, busy.connect() as half:
            half.sendall(head(10)[:30])
            begin = time.perf_counter()
            for connection in (silent, half):
                with contextlib.suppress(ConnectionResetError):
                    assert connection.recv(1) == b""
            assert 5 < time.perf_counter() - begin < 25

    def test_clients_that_dawdle_and_pictures_that_take_long(self, picture: bytes) -> None:
        with service("--model", "srgan-photo-x4", "--timeout", "1") as running:
            with running.connect() as connection:
                connection.sendall(head(len(picture)) + picture[:1000])
                answer = connection.makefile("rb").read()
                assert b" 408 " in answer.split(b"\r\n")[0]
                assert b"slow_upload" in answer
            answer = running.post(SLOW, png(1600, 2000))
            assert (answer.status_code, answer.json()["code"]) == (503, "too_slow")
            wait_until("srgan_trt_running", running, 0)
            assert running.post(SLOW, png()).status_code == 200


class TestTheEnd:
    @pytest.mark.parametrize("signal", [15, 2])
    def test_what_runs_is_finished_and_what_comes_is_refused(self, picture: bytes, signal: int) -> None:
        with service("--model", "srgan-photo-x4") as running, ThreadPoolExecutor(1) as pool:
            answer = pool.submit(running.post, SLOW, picture)
            wait_until("srgan_trt_running", running, 1)
            running.process.send_signal(signal)
            time.sleep(0.5)
            with pytest.raises(requests.ConnectionError):
                running.get("/healthz")
            assert answer.result().status_code == 200
            assert running.process.wait(30) == 0
            assert not any("Traceback" in line for line in running.said)

    def test_nothing_is_left_behind(self, tmp_path: Path, picture: bytes) -> None:
        """Not even by kill -9 in the middle of it."""
        with service("--model", "srgan-photo-x4", environment={"TMPDIR": str(tmp_path)}) as running:
            running.post(SLOW, files={"file": ("a.png", png())})
            assert not list(tmp_path.iterdir())
            with ThreadPoolExecutor(1) as pool:
                answer = pool.submit(running.post, SLOW, picture)
                wait_until("srgan_trt_running", running, 1)
                assert running.end(9) == -9
                assert isinstance(answer.exception(), requests.ConnectionError)
            assert not list(tmp_path.iterdir())


class TestTheCommand:
    def test_wrong_starts_are_told_in_a_line(self, nearest: Path, tmp_path: Path) -> None:
        from srgan_trt.cli.main import main

        with service("--model", nearest) as running:
            assert main(["serve", "--model", str(nearest), "--port", str(running.port)]) == 1
        assert main(["serve", "--host", "0.0.0.0"]) == 1
        assert main(["serve", "--model", "no-such-model"]) == 1
        (tmp_path / "nearest.onnx").write_bytes(nearest.read_bytes())
        assert main(["serve", "--model", str(nearest), "--model", str(tmp_path / "nearest.onnx")]) == 1
        for wrong in (["--port", "99999"], ["--max-bytes", "much"], ["--queue", "-1"], ["--timeout", "0"]):
            with pytest.raises(SystemExit):
                main(["serve", *wrong])
