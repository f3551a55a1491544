"""--model ADDRESS --sha256 HASH, as users type it."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import numpy as np
import onnx
import pytest

from srgan_trt.compiler.plan import load_plan

from ..command_line import Command, load, save_noise
from ..handmade import nearest_model, small_plan
from ..web_server import Server, answer, redirect


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SRGAN_TRT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


@pytest.fixture
def remote(server: Server) -> tuple[str, str]:
    """Address and checksum of a network that repeats every pixel twice."""
    onnx.save(nearest_model(), "source.onnx")
    content = Path("source.onnx").read_bytes()
    server.answers["/latest?key=secret"] = redirect("/nearest.onnx")
    server.answers["/nearest.onnx"] = answer(body=content)
    return f"{server.base}/nearest.onnx", hashlib.sha256(content).hexdigest()


def test_a_photo_by_a_model_from_the_web(command: Command, server: Server, remote: tuple[str, str]) -> None:
    url, sha256 = remote
    image = save_noise(Path("photo.png"), 12, 17)
    done = command("upscale", "photo.png", "--model", url, "--sha256", sha256, "--exact")
    assert done.status == 0
    assert done.err[0] == f"fetching {url}"
    np.testing.assert_array_equal(load(Path("photo_x2.png")), image.repeat(2, axis=0).repeat(2, axis=1))
    again = command("upscale", "photo.png", "--model", url, "--sha256", sha256, "--exact", "--overwrite")
    assert (again.status, again.err) == (0, [])
    assert len(server.headers) == 1


def test_its_ranges_can_be_named(command: Command, remote: tuple[str, str]) -> None:
    url, sha256 = remote
    image = save_noise(Path("photo.png"), 12, 17)
    ranges = ["--input-range=0,1", "--output-range=0,1"]
    assert command("upscale", "photo.png", "--model", url, "--sha256", sha256, *ranges, "--exact").status == 0
    np.testing.assert_array_equal(load(Path("photo_x2.png")), image.repeat(2, axis=0).repeat(2, axis=1))


def test_its_plan_is_built_into_the_current_folder(command: Command, server: Server, remote: tuple[str, str]) -> None:
    _, sha256 = remote
    done = command("build", f"{server.base}/latest?key=secret", "--sha256", sha256)
    assert done.status == 0
    assert load_plan(Path("latest.plan.onnx")).spec.source_hash == sha256
    assert "secret" not in done.out + "".join(done.err)


def test_info_tells_what_it_is(command: Command, remote: tuple[str, str]) -> None:
    url, sha256 = remote
    done = command("info", url, "--sha256", sha256)
    assert done.status == 0
    assert "nearest.onnx: ONNX, opset 18" in " ".join(done.out.split())


@pytest.mark.parametrize("arguments", [["upscale", "photo.png", "--model"], ["build"], ["info"]])
def test_what_is_wrong_is_said_in_one_line(
    command: Command, server: Server, remote: tuple[str, str], arguments: list[str]
) -> None:
    url, sha256 = remote
    save_noise(Path("photo.png"))
    server.answers["/none.h5"] = answer(404, b"")
    for options, message in [
        ([url], f"srgan-trt: {url} is not fetched without its checksum: give --sha256"),
        ([url, "--sha256", "abc"], "srgan-trt: 'abc' is not a sha256"),
        ([f"{server.base}/none.h5", "--sha256", sha256], f"srgan-trt: {server.base}/none.h5 answered 404 Not Found"),
        ([url, "--sha256", "0" * 64], f"srgan-trt: {url} sent another file than the one asked for"),
        (["source.onnx", "--sha256", "0" * 64], "srgan-trt: source.onnx is another file than the one asked for"),
    ]:
        done = command(*arguments, *options)
        said = [line for line in done.err if not line.startswith("fetching ")]
        assert (done.status, done.out, len(said)) == (1, "", 1)
        assert said[0].startswith(message)
    assert not list(Path().glob("*_x?.png"))


def test_a_local_plan_with_its_checksum(command: Command, tmp_path: Path) -> None:
    plan = small_plan(tmp_path)
    sha256 = hashlib.sha256(plan.path.read_bytes()).hexdigest()
    save_noise(Path("photo.png"))
    assert command("upscale", "photo.png", "--model", plan.path, "--sha256", sha256).status == 0


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_download_that_is_stopped_leaves_nothing(server: Server, number: signal.Signals, status: int) -> None:
    under_way, stopped = threading.Event(), threading.Event()

    def slow(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(bytes(1 << 20))
        under_way.set()
        stopped.wait(30)

    server.answers["/x4.h5"] = slow
    command = [sys.executable, "-m", "srgan_trt", "info", f"{server.base}/x4.h5", "--sha256", "0" * 64]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert under_way.wait(30)
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
        stopped.set()
    assert process.returncode == status
    assert "Traceback" not in err
    assert [path.suffix for path in Path("cache").rglob("*") if path.is_file()] == [".lock"]
