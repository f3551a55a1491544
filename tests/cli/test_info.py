"""`srgan-trt info` and what `build` prints."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from srgan_trt.cli.info import _with_sensitivities, describe_file
from srgan_trt.models import packaged as registry
from srgan_trt.resolve import resolve
from srgan_trt.runtime.cpu import processor
from srgan_trt.runtime.cpu.processor import Cpu

from ..handmade import small_plan
from ..shipped import ship, ship_int8


def test_columns_stay_apart_however_long_a_range_is_named(tmp_path: Path) -> None:
    layer = {"number": 0, "shape": "3 to 64, 9 x 9", "fidelity": 50.0, "won": 0.1, "int8": True}
    layers = [layer | {"range": "percentile 99.999 x 1.24"}, layer | {"range": "entropy"}]
    plan = dataclasses.replace(small_plan(tmp_path), report={"int8": {"layers": layers, "time": "modelled"}})
    head, long, short, _ = _with_sensitivities("text", plan).splitlines()[2:]
    assert long.endswith("percentile 99.999 x 1.24  int8")
    assert head.index("precision") == long.index("int8") == short.index("int8")


@pytest.mark.parametrize(
    ("kind", "precision", "why"),
    [
        (
            "AVX512-VNNI",
            "int8 and bf16",
            "int8 is at least 1.42 times as fast as the next best on CPUs with AVX512-VNNI",
        ),
        (None, "bf16", "int8 is left out: this CPU has, or tells of, none of AMX, "),
    ],
)
def test_what_a_model_with_two_plans_runs_in_is_told_and_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str | None, precision: str, why: str
) -> None:
    monkeypatch.setattr(registry, "SHIPPED", tmp_path)
    cpu = Cpu("a CPU", "2026.4.1", ("BF16", "FP32"), 2, kind)
    monkeypatch.setattr(processor, "find_cpu", lambda: cpu)
    plan = ship(tmp_path)
    twin = ship_int8(plan)
    told = " ".join(describe_file(resolve(plan.path)).split())
    assert f"runs in {precision} on this CPU (a CPU), by OpenVINO 2026.4.1" in told
    assert f"int8 plan {twin.path} (" in told
    assert why in told
