"""The command line, run as users run it."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from srgan_trt.cli.main import main

from .handmade import noise


class Done(NamedTuple):
    status: int
    out: str
    """Standard output, as text."""
    err: list[str]
    """Lines of standard error."""
    raw: bytes
    """Standard output, as it is."""


class Command:
    """`srgan-trt` in this process."""

    def __init__(self, capture: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capture = capture
        self._monkeypatch = monkeypatch

    def __call__(self, *arguments: str | Path, stdin: bytes = b"") -> Done:
        self._monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        self._capture.readouterr()
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as end:
            status = int(str(end.code))
        captured = self._capture.readouterr()
        err = captured.err.decode()
        assert "Traceback" not in err
        return Done(status, captured.out.decode("utf-8", "replace"), err.splitlines(), captured.out)


def save_noise(path: Path, height: int = 12, width: int = 17, *, seed: int = 0) -> NDArray[Any]:
    """Writes a picture of noise and returns its pixels."""
    pixels = noise(height, width, seed=seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


def load(path: Path) -> NDArray[Any]:
    with Image.open(path) as image:
        return np.asarray(image)


def files(folder: Path) -> list[str]:
    """Everything below `folder`, hidden files too."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def rows(text: str) -> dict[str, str]:
    """A printed table by its labels; rows without one belong to the label above."""
    found: dict[str, str] = {}
    label = ""
    for line in text.split("\n\n")[0].splitlines():
        label = line[:12].strip() or label
        found[label] = f"{found[label]}\n{line[12:]}" if label in found else line[12:]
    return found
