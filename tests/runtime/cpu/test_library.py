"""OpenVINO does nothing beside its work: no network, no process, no file in HOME, no handler of the root logger."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_WATCHED = """
import logging, sys
def watch(event, arguments):
    if event in ("socket.getaddrinfo", "socket.connect", "os.fork", "subprocess.Popen", "os.posix_spawn"):
        print("SEEN", event, arguments)
sys.addaudithook(watch)
import numpy, srgan_trt
srgan_trt.upscale(numpy.zeros((8, 8, 3), numpy.uint8), device="cpu")
import openvino, openvino_telemetry
print("handlers", logging.getLogger().handlers, openvino_telemetry.Telemetry.__name__)
"""


def test_a_picture_asks_no_server_starts_no_process_and_leaves_nothing_in_home(tmp_path: Path) -> None:
    pytest.importorskip("openvino_telemetry")
    home = tmp_path / "home"
    home.mkdir()
    env = {name: value for name, value in os.environ.items() if name != "CI"}
    env |= {"HOME": str(home), "SRGAN_TRT_CACHE": str(tmp_path / "cache")}
    done = subprocess.run([sys.executable, "-c", _WATCHED], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "handlers [] Telemetry\n"  # and who wants telemetry may import it
    assert list(home.rglob("*")) == []


_FORKED = """
import multiprocessing, numpy, srgan_trt
picture = numpy.zeros((8, 8, 3), numpy.uint8)
def work(queue):
    queue.put(srgan_trt.upscale(picture, device="cpu").shape)
with srgan_trt.Upscaler(device="cpu") as up:
    up(picture)
context = multiprocessing.get_context("fork")
queue = context.Queue()
process = context.Process(target=work, args=(queue,), daemon=True)
process.start()
print(queue.get(timeout=30))
"""


def test_a_process_forked_after_close_works() -> None:
    done = subprocess.run([sys.executable, "-c", _FORKED], capture_output=True, text=True, check=False)
    assert done.stdout == "(32, 32, 3)\n", done.stderr
