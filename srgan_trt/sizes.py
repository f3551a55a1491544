"""The size that a user asks for, and a picture brought to it: by the network once or twice, then reduced."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np

from .errors import PictureError, SrganTrtError
from .imaging.picture import Picture, Samples
from .imaging.resize import resize, resize_rows, rows_needed
from .spec import NetworkSpec

MOST_SCALE = 16
_TRIED = (320, 480)
_STRIP_PIXELS = 1 << 25
"""Of the network's picture that are held at once where the result is smaller than that."""

Progress: TypeAlias = Callable[[int, int], None]
"""Called with (tiles done, tiles in all) of the current picture, from any thread, one call at a time. It may not use
the Upscaler that calls it."""
Box: TypeAlias = int | tuple[int | None, int | None]
"""The longer side; or (width, height) of what the result fits into, either of them None for any."""
Run: TypeAlias = Callable[[Samples, Samples, Progress | None], tuple[str, ...]]
"""Fills the second with the network's picture of the first; returns what is to be said about it."""


@dataclass(frozen=True, slots=True)
class Size:
    """What is asked for: a ``scale`` from 1 to 16, or a ``box``; the aspect is kept, rounded to the nearest pixel.

    Raises SrganTrtError if it is both, neither, or out of range.
    """

    scale: float | None = None
    box: Box | None = None
    even: bool = False
    """Whether sides are rounded to even numbers, as films have them; but for one that is asked for itself."""

    def __post_init__(self) -> None:
        if (self.scale is None) == (self.box is None):
            raise SrganTrtError(f"scale {self.scale} and size {self.box}: give one of them")
        if self.scale is not None and not 1 <= self.scale <= MOST_SCALE:
            raise SrganTrtError(f"a scale of {self.scale} is not taken: give one from 1 to {MOST_SCALE}")
        sides = self.box if isinstance(self.box, tuple) else (self.box, self.box)
        given = [side for side in sides if side is not None]
        if self.box is not None and (len(sides) != 2 or not given or any(side < 1 for side in given)):
            raise SrganTrtError(
                f"a size of {self.box} is none: give (width, height), from 1 pixel on, or the longer side"
            )

    @property
    def label(self) -> str:
        """What the names of results end in: x2, w1920, h1080, max1920, fit1920x1080."""
        if self.scale is not None:
            return f"x{self.scale:g}"
        if not isinstance(self.box, tuple):
            return f"max{self.box}"
        width, height = self.box
        return f"w{width}" if height is None else f"h{height}" if width is None else f"fit{width}x{height}"

    def of(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) of the result of a picture of this size, at least one pixel each."""
        if self.scale is not None:
            factor = Fraction(str(self.scale))
        else:
            wide, high = self.box if isinstance(self.box, tuple) else (self.box, self.box)
            factor = min(Fraction(most, side) for most, side in ((wide, width), (high, height)) if most is not None)
        asked = self.box if isinstance(self.box, tuple) else (self.box,)
        wanted = []
        for side in (width, height):
            step = 2 if self.even and side * factor not in asked else 1
            # Python rounds halves to even
            wanted.append(step * max(1, math.floor(side * factor / step + Fraction(1, 2))))
        return wanted[0], wanted[1]


def result_label(size: Size | None, spec: NetworkSpec) -> str:
    """What the names of results end in; size: None is the network's own."""
    return f"x{spec.scale}" if size is None else size.label


@dataclass(frozen=True, slots=True)
class Target:
    """The size of a result, and how it is reached."""

    width: int
    height: int
    passes: int
    """How often the picture goes through the network: 0 to 2."""

    @property
    def note(self) -> tuple[str, ...]:
        return () if self.passes else ("is as large as asked for, or larger: the network was left out",)


def size_of(scale: float | None, size: Any) -> Size | None:
    """What a caller asks for; None for nothing. Raises SrganTrtError as `Size` does."""
    if scale is None and size is None:
        return None
    return Size(scale, tuple(size) if isinstance(size, list) else size)


def target_of(size: Size | None, width: int, height: int, spec: NetworkSpec, *, max_pixels: int) -> Target:
    """How a picture of `width` x `height` becomes `size`; None is the network's own.

    Raises PictureError if that is beyond twice the network, or more pixels than `max_pixels` and than the network
    makes by itself.
    """
    if size is None:
        return Target(width * spec.scale, height * spec.scale, 1)
    wide, high = size.of(width, height)
    if wide * high > max(max_pixels, width * height * spec.scale**2):
        raise PictureError(
            f"{wide:,} x {high:,} = {wide * high / 1e6:,.1f} million pixels were asked for, more than the limit of "
            f"{max_pixels / 1e6:,.1f} million: ask for less, or raise it with --max-pixels (max_pixels=)"
        )
    if (wide, high) == (width * spec.scale, height * spec.scale):
        return Target(wide, high, 1)
    # A side of few pixels is rounded by more than its share: the longer one tells.
    factor = max(wide, high) / max(width, height)
    if factor <= 1:
        return Target(wide, high, 0)
    if factor <= spec.scale:
        return Target(wide, high, 1)
    if spec.scale > 1 and factor <= spec.scale**2:
        return Target(wide, high, 2)
    raise PictureError(
        f"{wide:,} x {high:,} pixels are {factor:.3g} times its {width:,} x {height:,}, the network makes "
        f"x{spec.scale} and, run twice, x{spec.scale**2}: ask for less, or upscale the result again"
    )


def enlarge(
    picture: Picture, target: Target, spec: NetworkSpec, *, halo: int | None, run: Run, progress: Progress | None
) -> Picture:
    """`picture` at the target's size: colours by the network, transparency bicubic. Notes say what is to be said.

    Where the result is smaller than the network's picture, that is made and reduced in strips, `halo` input pixels
    of context around each (None: there are no strips): memory beyond picture, result, and between two passes the first
    one's result, is bounded. progress: called with (done, in all), in tiles where the network runs once for the
    picture, else in its input pixels.
    """
    pixels, notes = _enlarged(picture.pixels, target, spec, halo, run, progress)
    alpha = picture.alpha
    return dataclasses.replace(
        picture,
        pixels=pixels,
        alpha=None if alpha is None else resize(alpha[:, :, None], target.height, target.width)[:, :, 0],
        metadata=picture.metadata.scaled(target.width / picture.width, target.height / picture.height),
        notes=tuple(dict.fromkeys(picture.notes + target.note + notes)),
    )


def _enlarged(
    image: Samples, target: Target, spec: NetworkSpec, halo: int | None, run: Run, progress: Progress | None
) -> tuple[Samples, tuple[str, ...]]:
    notes: tuple[str, ...] = ()
    height, width, channels = image.shape
    if target.passes == 0:
        return resize(image, target.height, target.width), notes
    if target.passes == 2:
        whole, second = height * width, height * width * spec.scale**2
        image, notes = _native(image, spec.scale, run, part_of(progress, 0, whole, whole + second))
        progress = part_of(progress, whole, second, whole + second)
        height, width, _ = image.shape
    if (height * spec.scale, width * spec.scale) == (target.height, target.width):
        result, said = _native(image, spec.scale, run, progress)
        return result, notes + said
    result = _new(target.height, target.width, channels, image.dtype)
    source = height * spec.scale
    cut = strips(target, height, width, spec, halo)
    total = sum(end - begin for _, _, begin, end in cut)
    done = 0
    for top, bottom, begin, end in cut:
        share = (end - begin) * width
        through = progress if len(cut) == 1 else part_of(progress, done * width, share, total * width)
        rows, said = _native(image[begin:end], spec.scale, run, through)
        first = begin * spec.scale
        resize_rows(rows, result[top:bottom], first=first, source=source, top=top, target=target.height)
        done += end - begin
        notes += said
    return result, notes


def _new(height: int, width: int, channels: int, dtype: Any) -> Samples:
    """An array of a result, not filled yet. Raises PictureError where memory is short."""
    try:
        return np.empty((height, width, channels), dtype)
    except MemoryError:
        gigabytes = height * width * channels * np.dtype(dtype).itemsize / 1e9
        raise PictureError(
            f"the result of {width} x {height} pixels needs {gigabytes:.0f} GB of memory: cut the picture into parts"
        ) from None


def network_inputs(
    target: Target, height: int, width: int, spec: NetworkSpec, halo: int | None
) -> list[tuple[int, int]]:
    """(height, width) of everything that the network is given for a picture of `height` x `width`."""
    inputs = [(height, width)] * (target.passes == 2)
    if target.passes == 2:
        height, width = height * spec.scale, width * spec.scale
    if (height * spec.scale, width * spec.scale) == (target.height, target.width):
        return [*inputs, (height, width)]
    if target.passes:
        inputs += [(end - begin, width) for _, _, begin, end in strips(target, height, width, spec, halo)]
    return inputs


def working_pixels(target: Target, width: int, height: int, spec: NetworkSpec) -> int:
    """Pixels that are in memory at most while a picture of `width` x `height` is enlarged, itself included."""
    native = width * height * spec.scale**2
    result = target.width * target.height
    if target.passes == 2:
        return width * height + native + result + min(native * spec.scale**2, _STRIP_PIXELS)
    return width * height + result + (min(native, _STRIP_PIXELS) if target.passes and result != native else 0)


def _native(image: Samples, scale: int, run: Run, progress: Progress | None) -> tuple[Samples, tuple[str, ...]]:
    height, width, channels = image.shape
    out = _new(height * scale, width * scale, channels, image.dtype)
    return out, run(image, out, progress)


def strips(
    target: Target, height: int, width: int, spec: NetworkSpec, halo: int | None, *, most: int | None = None
) -> list[tuple[int, int, int, int]]:
    """(top, bottom, begin, end): rows [top, bottom) of the result are made of rows [begin, end) of the network's input,
    of which it makes about `most` pixels (None: a bounded number); one strip if `halo` is None.

    All inputs have the same height, about, so that tiles of few shapes are compiled.
    """
    count = 1 if halo is None else -(-height * width * spec.scale**2 // (most or _STRIP_PIXELS))
    edges = [target.height * number // count for number in range(count + 1)]
    cut = []
    for top, bottom in pairwise(edges):
        first, last = rows_needed(top, bottom, source=height * spec.scale, target=target.height)
        begin = max(0, first // spec.scale - (halo or 0)) // spec.multiple * spec.multiple
        cut.append((top, bottom, begin, min(height, -(-last // spec.scale) + (halo or 0))))
    tallest = max(end - begin for _, _, begin, end in cut)
    return [
        (top, bottom, max(0, min(begin, height - tallest)) // spec.multiple * spec.multiple, end)
        if end == height
        else (top, bottom, begin, min(height, begin + tallest))
        for top, bottom, begin, end in cut
    ]


def tried_part(height: int, width: int) -> tuple[slice, slice]:
    """The rows and columns in the middle of a picture by which its speed and its bytes are measured."""
    high, wide = min(height, _TRIED[0]), min(width, _TRIED[1])
    top, left = (height - high) // 2, (width - wide) // 2
    return slice(top, top + high), slice(left, left + wide)


def part_of(progress: Progress | None, before: int, share: int, total: int) -> Progress | None:
    """What tells `progress` of a part of the work, `share` of `total`, that comes after `before` of it."""
    if progress is None:
        return None
    return lambda done, of: progress(before + share * done // of, total)
