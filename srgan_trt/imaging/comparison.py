"""Two enlargements of one picture side by side, with the part where they differ most, magnified."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

_WIDEST = 800
"""Pixels of a whole picture on the sheet."""
_PART = 200
"""Side of the magnified part, in pixels of the enlargements, at most."""
_TIMES = 4
_SEARCHED = 2048
"""Rows and columns of larger pictures that are searched for it: memory stays small."""
_GAP, _LINE, _TEXT = 16, 30, 18
_BACKGROUND, _INK, _FRAME = (255, 255, 255), (32, 32, 32), (255, 64, 0)


def compare(
    first: NDArray[np.uint8], second: NDArray[np.uint8], *, names: tuple[str, str] = ("first", "second")
) -> Image.Image:
    """A sheet, mode RGB, of two pictures of one size: uint8 RGB (H, W, 3). `names` stand above them.

    Above are the whole pictures, made smaller where they are wider than 800 pixels; below what the frame in them holds,
    where they differ most, four times as large, each pixel as it is. Raises ValueError for arrays of other kinds.
    """
    from PIL import Image, ImageDraw, ImageFont

    for array in (first, second):
        if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
            raise ValueError(f"an array of {array.dtype}, {array.shape}, is not shown: give uint8 (height, width, 3)")
    if first.shape != second.shape:
        raise ValueError(f"pictures of {first.shape} and {second.shape} are not compared: give two of one size")
    height, width, _ = first.shape
    whole = (min(width, _WIDEST), max(1, round(height * min(1, _WIDEST / width))))
    left, top, across, down = _most_different(first, second)
    column = max(whole[0], across * _TIMES)
    sheet = Image.new("RGB", (3 * _GAP + 2 * column, _LINE + whole[1] + 2 * _GAP + down * _TIMES), _BACKGROUND)
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(_TEXT)
    shrunk = whole[0] / width
    frame = [round(value * shrunk) for value in (left, top, left + across, top + down)]
    for number, (array, name) in enumerate(zip((first, second), names, strict=True)):
        x = _GAP + number * (column + _GAP)
        pen.text((x, 4), name, _INK, font)
        picture = Image.fromarray(array)
        sheet.paste(picture.resize(whole, Image.Resampling.LANCZOS), (x, _LINE))
        place = (x + frame[0], _LINE + frame[1], x + frame[2] - 1, _LINE + frame[3] - 1)
        pen.rectangle(place, outline=_FRAME, width=2)
        part = picture.crop((left, top, left + across, top + down))
        large = part.resize((across * _TIMES, down * _TIMES), Image.Resampling.NEAREST)
        sheet.paste(large, (x, _LINE + whole[1] + _GAP))
    return sheet


def heaviest_window(weights: NDArray[Any], height: int, width: int) -> tuple[int, int]:
    """(top, left) of the window of `height` x `width` with the largest sum of `weights`, an array (H, W) at least as
    large; the first of several."""
    # Sums over all windows, from one table of sums from the corner.
    table = np.pad(weights.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    sums = table[height:, width:] - table[:-height, width:] - table[height:, :-width] + table[:-height, :-width]
    top, left = np.unravel_index(sums.argmax(), sums.shape)
    return int(top), int(left)


def _most_different(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """(left, top, width, height) of the window with the largest sum of differences."""
    height, width, _ = first.shape
    down, across = min(_PART, height), min(_PART, width)
    step = -(-max(height, width) // _SEARCHED)
    apart = np.abs(first[::step, ::step].astype(np.int32) - second[::step, ::step]).sum(axis=2, dtype=np.int64)
    top, left = heaviest_window(apart, -(-down // step), -(-across // step))
    return min(left * step, width - across), min(top * step, height - down), across, down
