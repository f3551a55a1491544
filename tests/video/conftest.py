"""An open Upscaler that repeats every pixel: what comes out is known."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from srgan_trt.upscaler import Upscaler

from ..shipped import ship


@pytest.fixture(scope="session")
def repeating(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upscaler]:
    with Upscaler(ship(tmp_path_factory.mktemp("nearest")), precision="fp32", threads=2) as up:
        yield up
