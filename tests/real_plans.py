"""Plans of other people's generators, each built once for all tests and all their processes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from srgan_trt import build
from srgan_trt.cache import build_lock
from srgan_trt.compiler.plan import Plan, load_plan

LEVELS = (0.0, 255.0)
GIVEN: dict[str, dict[str, Any]] = {"ned_x4.keras": {"input_range": LEVELS, "output_range": LEVELS}}
"""Ranges of a file whose pictures are too bad to tell them."""


def real_plan(models: Path, name: str, factory: pytest.TempPathFactory) -> Plan:
    """That of ../shared/models' file `name`, in the folder of this run of pytest."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "real-plans"
    with build_lock(folder / f"{name}.plan.onnx") as place:
        return load_plan(place) if place.exists() else build(models / name, out=place, **GIVEN.get(name, {}))
