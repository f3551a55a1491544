"""compare(): two versions of one picture, to look at: a sheet, a page with a slider, or shown by a notebook."""

from __future__ import annotations

import base64
import html
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .errors import PictureError
from .imaging.comparison import compare as sheet_of
from .imaging.encode import encode_to, on_white, picture_file
from .imaging.picture import Picture, reduced
from .imaging.reading import picture_of
from .imaging.resize import resize

if TYPE_CHECKING:
    from PIL import Image

_LARGEST = 2000
"""Pixels of the longer side in a page."""
_QUALITY = 92
# Its parts find one another by their places, not by names: a notebook may show several.
_SLIDER = """<div style="position:relative;width:{width}px;max-width:100%;font:14px sans-serif">
<div style="display:flex;justify-content:space-between"><span>{first}</span><span>{second}</span></div>
<div style="position:relative;line-height:0">
<img alt="{second}" src="{after}" style="width:100%">
<img alt="{first}" src="{before}" style="width:100%;position:absolute;left:0;top:0;clip-path:inset(0 50% 0 0)">
</div>
<input type="range" min="0" max="100" value="50" step="0.1" aria-label="{first} or {second}" style="width:100%;margin:0"
oninput="this.previousElementSibling.lastElementChild.style.clipPath='inset(0 '+(100-this.value)+'% 0 0)'">
</div>"""
_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{first} and {second}</title>
<body style="margin:16px">
{slider}
</body></html>
"""


class Comparison:
    """Two pictures of one size. A notebook shows it, with a slider; `save` writes it."""

    def __init__(self, first: NDArray[np.uint8], second: NDArray[np.uint8], names: tuple[str, str]) -> None:
        """first, second: uint8 (H, W, 3)."""
        self._pictures = (first, second)
        self._names = names

    def sheet(self) -> Image.Image:
        """Side by side, and below the part where they differ most, four times as large; mode RGB."""
        return sheet_of(*self._pictures, names=self._names)

    def page(self) -> str:
        """HTML with a slider between the two, in one piece: it needs no other file. Longer sides than 2,000 pixels are
        made smaller."""
        first, second = (html.escape(name) for name in self._names)
        return _PAGE.format(first=first, second=second, slider=self._repr_html_())

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Writes the sheet to a path that ends in .png, or the page to one that ends in .html; returns the path.

        Raises PictureError if it ends in something else, exists and is not to be overwritten, or cannot be written.
        """
        target = Path(path)
        if target.suffix.lower() not in (".png", ".html"):
            raise PictureError(f"{target} is no name for a comparison: end it in .png or .html")
        if target.suffix.lower() == ".html":
            data = self.page().encode()
        else:
            stream = io.BytesIO()
            self.sheet().save(stream, "PNG")
            data = stream.getvalue()
        with picture_file(target, overwrite=overwrite) as file:
            file.write(data)
        return target

    def _repr_html_(self) -> str:
        before, after = (_address(picture) for picture in self._pictures)
        first, second = (html.escape(name) for name in self._names)
        width = _shown(self._pictures[0])[1]
        return _SLIDER.format(first=first, second=second, before=before, after=after, width=width)


def compare(first: Any, second: Any, *, names: tuple[str, str] = ("before", "after")) -> Comparison:
    """Two versions of one picture, as `Upscaler` takes them: paths, Pillow images, arrays.

    The smaller one is enlarged by bicubic to the size of the other; 16 bits are shown in 8, transparency on white.

    Args:
        first: The picture on the left, as a rule the original.
        second: The picture on the right, as a rule the result.
        names: What they are called.

    Returns:
        A Comparison: a notebook shows it with a slider, `save("x.png")` writes both side by side with a magnified part,
        `save("x.html")` a page with the slider.

    Raises:
        PictureError: A picture cannot be read.
    """
    return compare_pictures(picture_of(first), picture_of(second), names=names)


def compare_pictures(first: Picture, second: Picture, *, names: tuple[str, str]) -> Comparison:
    """The same of decoded pictures."""
    arrays = [_shown_pixels(picture) for picture in (first, second)]
    largest = max(arrays, key=lambda array: array.shape[0] * array.shape[1])
    height, width = largest.shape[:2]
    same = [array if array.shape == largest.shape else resize(array, height, width) for array in arrays]
    return Comparison(same[0], same[1], names)


def _shown_pixels(picture: Picture) -> NDArray[np.uint8]:
    picture = reduced(picture)
    pixels = picture.pixels if picture.alpha is None else on_white(picture.pixels, picture.alpha)
    return pixels if pixels.shape[2] == 3 else np.repeat(pixels, 3, axis=2)


def _shown(picture: NDArray[np.uint8]) -> tuple[int, int]:
    """(height, width) in a page."""
    height, width = picture.shape[:2]
    times = min(1.0, _LARGEST / max(height, width))
    return max(1, round(height * times)), max(1, round(width * times))


def _address(picture: NDArray[np.uint8]) -> str:
    size = _shown(picture)
    stream = io.BytesIO()
    pixels = picture if picture.shape[:2] == size else resize(picture, *size)
    encode_to(Picture(pixels=pixels), stream, format="jpg", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"
