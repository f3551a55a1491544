"""What a caller calls an image -> Picture: paths, addresses, Pillow images, NumPy arrays."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import PictureError
from ..urls import is_url, redact_url
from .decode import MAX_PIXELS, decode
from .picture import Picture, from_array, from_pil


def picture_of(image: Any, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """The picture that `image` is: a path or an http(s) address, a Pillow image, or an array as `from_array` takes it.

    Raises PictureError if it is of another kind, or cannot be read.
    """
    if isinstance(image, np.ndarray):
        if image.dtype.kind in "fb":
            raise PictureError(
                f"arrays of {image.dtype} are not taken: make levels of them, "
                "for values of 0..1 by (image * 255).round().astype(numpy.uint8)"
            )
        return from_array(image)
    if isinstance(image, str | os.PathLike):
        return read_picture(image, max_pixels=max_pixels)
    from PIL import Image

    if isinstance(image, Image.Image):
        return from_pil(image)
    raise PictureError(
        f"an image is a path, a Pillow image, a NumPy array or a list of these, not {type(image).__name__}"
    )


def read_picture(name: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> Picture:
    """The picture of a path or an http(s) address. Raises PictureError if it cannot be had."""
    text = os.fspath(name)
    if is_url(text):
        from .download import download

        return decode(download(text), name=redact_url(text), max_pixels=max_pixels)
    return decode(Path(text), max_pixels=max_pixels)
