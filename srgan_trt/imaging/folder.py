"""Folders of pictures, as training, evaluation and calibration take them: 8-bit RGB arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import PictureError
from .decode import decode
from .sources import Source, expand


def find_pictures(folder: Path, option: str) -> list[Source]:
    """The pictures in `folder`, to the bottom, sorted; `option` is the one that named it.

    Raises PictureError if it is not a folder, holds no pictures, or cannot be read.
    """
    if not folder.is_dir():
        raise PictureError(f"{folder} is not a folder: {option} names a folder of pictures")
    sources = expand([folder])
    for source in sources:
        source.read()  # raises what `expand` found wrong
    return sources


def read_rgb(file: Path, *, multiple: int = 1) -> NDArray[np.uint8]:
    """A picture file as uint8 (H, W, 3), cropped at the lower right to a `multiple`. Raises PictureError."""
    picture = decode(file)
    pixels = picture.pixels
    if pixels.dtype != np.uint8:
        pixels = np.round(pixels / 257.0).astype(np.uint8)
    if pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    height, width = (side // multiple * multiple for side in pixels.shape[:2])
    if height == 0 or width == 0:
        raise PictureError(f"{file} is smaller than {multiple} pixels: use larger pictures")
    return np.ascontiguousarray(pixels[:height, :width])
