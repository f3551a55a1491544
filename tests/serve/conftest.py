"""A service for the tests of its routes."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from .service import Service, save_models, service

if not all(map(find_spec, ("starlette", "uvicorn", "python_multipart"))):
    collect_ignore_glob = ["test_*.py"]  # pip install ".[serve]"


@pytest.fixture(scope="session")
def nearest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_models(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="module")
def served(nearest: Path) -> Iterator[Service]:
    """With the model that repeats pixels; small limits."""
    with service("--model", nearest, "--max-bytes", "256K", "--max-pixels", "40K", "--queue", "2") as running:
        yield running
