"""What `upscale` says when it has ended: a line for people, facts for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..scheduler import Outcome


def facts(outcome: Outcome) -> dict[str, Any]:
    """Of a picture that came out, as its event has them."""
    return {
        "size": list(outcome.size),
        "enlarged": list(outcome.enlarged),
        "precision": outcome.precision,
        "denoised": outcome.denoised,
        "seconds": {part: round(getattr(outcome, part), 3) for part in ("reading", "network", "writing")},
    }


def summary(done: Sequence[Outcome], *, asked: int, seconds: float, opening: float, device: str) -> str:
    """One line: how many pictures of those asked for, their pixels, the time each part took, device and precision.

    The parts of several pictures overlap, so their seconds may add up to more than the whole.
    """
    if len(done) == asked == 1:
        [one] = done
        target = "standard output" if one.job.target == "-" else one.job.target
        what = f"{one.job.source.name} ({_size(one.size)}) -> {target} ({_size(one.enlarged)})"
    else:
        count = pictures(len(done)) if len(done) == asked else f"{len(done)} of {asked} pictures"
        before, after = _megapixels(one.size for one in done), _megapixels(one.enlarged for one in done)
        what = f"{count}, {before} -> {after} megapixels"
    reading, network, writing = (
        sum(getattr(outcome, part) for outcome in done) for part in ("reading", "network", "writing")
    )
    parts = f"model {opening:.2f}, reading {reading:.2f}, network {network:.2f}, writing {writing:.2f}"
    precisions = " and ".join(sorted({outcome.precision for outcome in done}))
    return f"{what} in {seconds:.2f} s ({parts}), {device}, {precisions}{_denoised(done)}"


def _denoised(done: Sequence[Outcome]) -> str:
    """At which levels noise was taken away, and of how many pictures where it was not all."""
    levels = Counter(outcome.denoised for outcome in done if outcome.denoised is not None)
    if not levels:
        return ""
    if levels.total() == len(done) and len(levels) == 1:
        return f", denoised at level {next(iter(levels))}"
    return ", denoised " + " and ".join(f"{count} at level {level}" for level, count in sorted(levels.items()))


def pictures(count: int) -> str:
    return "1 picture" if count == 1 else f"{count} pictures"


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


def _megapixels(sizes: Iterable[tuple[int, int]]) -> str:
    return f"{sum(width * height for width, height in sizes) / 1e6:.2f}"
