"""The clients that docs/serving.md shows do what it says, as they stand there."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from .service import Service, png, service

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/serving.md").read_text("utf-8")


@pytest.fixture(scope="module")
def running() -> Iterator[Service]:
    with service("--model", "srgan-photo-x4") as found:
        yield found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "photo.jpg").write_bytes(png(24, 32))
    return tmp_path


def shown(language: str, running: Service) -> str:
    (block,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert "http://127.0.0.1:7000" in block
    return str(block).replace("http://127.0.0.1:7000", running.url)


def run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


@pytest.mark.skipif(shutil.which("curl") is None, reason="apt install curl")
def test_curl(running: Service, folder: Path) -> None:
    run(["sh", "-c", shown("sh", running)], folder)
    assert size(folder / "photo_x4.png") == (128, 96)


def test_python(running: Service, folder: Path) -> None:
    run([sys.executable, "-c", shown("python", running)], folder)
    assert size(folder / "photo_x4.webp") == (128, 96)


@pytest.mark.skipif(shutil.which("node") is None, reason="apt install nodejs")
def test_javascript(running: Service, folder: Path) -> None:
    (folder / "client.mjs").write_text(shown("js", running))
    said = run(["node", "client.mjs"], folder)
    assert said.splitlines()[-1].startswith("done ")
    assert size(folder / "photo_x4.jpg") == (128, 96)


def test_the_app_for_gradio_is_python() -> None:
    ast.parse((ROOT / "examples/gradio_app.py").read_text("utf-8"))
