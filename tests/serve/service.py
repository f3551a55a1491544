"""A real service on a port of this machine, with networks that are made on the spot."""

from __future__ import annotations

import contextlib
import io
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import requests
from PIL import Image

from ..handmade import nearest_model, noise

NEAREST = "nearest"
"""The model that repeats every pixel twice both ways: its result is known."""


def save_models(folder: Path) -> Path:
    """The file of a model that repeats every pixel twice."""
    path = folder / f"{NEAREST}.onnx"
    onnx.save(nearest_model(), path)
    return path


def png(height: int = 12, width: int = 17, *, seed: int = 0) -> bytes:
    file = io.BytesIO()
    Image.fromarray(noise(height, width, seed=seed)).save(file, "PNG")
    return file.getvalue()


def pixels(content: bytes) -> Any:
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image)


@dataclass
class Service:
    """`srgan-trt serve` in a process of its own."""

    process: subprocess.Popen[str]
    url: str
    said: list[str] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    def get(self, path: str, **options: Any) -> requests.Response:
        return requests.get(self.url + path, timeout=60, **options)

    def post(self, path: str, data: Any = None, **options: Any) -> requests.Response:
        return requests.post(self.url + path, data, timeout=60, **options)

    def delete(self, path: str, **options: Any) -> requests.Response:
        return requests.delete(self.url + path, timeout=60, **options)

    def events(self, job: str) -> Iterator[dict[str, Any]]:
        with self.get(f"/v1/jobs/{job}/events", stream=True) as answer:
            assert answer.headers["Content-Type"].startswith("text/event-stream")
            for line in answer.iter_lines(decode_unicode=True):
                if line.startswith("data: "):
                    yield json.loads(line[6:])

    def metric(self, name: str) -> float:
        lines = self.get("/metrics").text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def end(self, number: int = signal.SIGTERM, *, within: float = 30) -> int:
        self.process.send_signal(number)
        return self.process.wait(within)


@contextlib.contextmanager
def service(*options: str | Path, environment: dict[str, str] | None = None) -> Iterator[Service]:
    """Runs the command on a free port; ends it, if it was not."""
    command = [sys.executable, "-m", "srgan_trt", "serve", "--port", "0", *map(str, options)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, **(environment or {})}
    )
    assert process.stdout is not None
    lines: queue.Queue[str] = queue.Queue()
    found = Service(process, "")

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            found.said.append(line)
            lines.put(line)
        lines.put("")

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        while " at http://" not in (line := lines.get(timeout=120)):
            assert line, found.said
        found.url = line.split(" at ")[1].split("/ ")[0]
        yield found
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        reader.join(10)
        process.stdout.close()
