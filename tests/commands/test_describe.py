"""`srgan-trt info` and what `build` prints."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from srgan_trt.commands.describe import _with_sensitivities

from ..handmade import small_plan


def test_columns_stay_apart_however_long_a_range_is_named(tmp_path: Path) -> None:
    layer = {"number": 0, "shape": "3 to 64, 9 x 9", "fidelity": 50.0, "won": 0.1, "int8": True}
    layers = [layer | {"range": "percentile 99.999 x 1.24"}, layer | {"range": "entropy"}]
    plan = dataclasses.replace(small_plan(tmp_path), report={"int8": {"layers": layers, "time": "modelled"}})
    head, long, short, _ = _with_sensitivities("text", plan).splitlines()[2:]
    assert long.endswith("percentile 99.999 x 1.24  int8")
    assert head.index("precision") == long.index("int8") == short.index("int8")
