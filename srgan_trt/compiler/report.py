"""What the compiler found and proved, as a plan keeps it for people: the types that `plan.load_plan` holds it to."""

from __future__ import annotations

from typing import NotRequired, TypedDict

Pair = tuple[float, float]


class Report(TypedDict, total=False):
    """All of it; see `compiler.build`, where it is made."""

    kind: str
    """Of the file that the plan was built from."""
    notes: list[str]
    ranges: Ranges
    shift: tuple[float, float, float]
    """Levels of 255 by which the mean red, green and blue of the test picture grow."""
    rewrites: list[Rewrite]
    macs_before: float
    macs_after: float
    """Multiply-accumulates per input pixel, before and after the rewrites."""
    difference: float | None
    """Of the plan from the file, as a fraction of the output's range; None for no bound."""
    int8: Int8


class Ranges(TypedDict):
    """A `value_range.RangeFinding`; None for what is not a number."""

    input_range: Pair
    output_range: Pair
    consistency: float | None
    runner_up: float | None
    alike: list[tuple[Pair, Pair]]
    given: tuple[bool, bool]


class Rewrite(TypedDict):
    """A `verify.RewriteCheck`."""

    rewrite: str
    count: int
    difference: float | None
    kept: bool


class Int8(TypedDict):
    """What became int8, and why (`int8.selection`)."""

    layers: list[Int8Layer]
    sums: int
    won: float
    time: str
    max_drop: float
    min_fidelity: float
    gate: Gate
    pictures: str


class Int8Layer(TypedDict):
    """A convolution."""

    number: int
    name: str
    shape: str
    fidelity: float
    won: float
    range: str
    int8: bool


class Gate(TypedDict):
    """An `int8.gate.Verdict`."""

    fidelity: float
    hard: float
    drop: float
    most_drop: float
    shift: tuple[float, float, float]
    flat: NotRequired[float]
    """Not looked at when older plans were built."""
    levels: tuple[int, int]
    step: Pair
    seam: Pair
