"""What a caller calls an image -> Picture: paths, addresses, bytes, open files, Pillow images, NumPy arrays."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import PictureError, one_line
from ..urls import is_url, redact_url
from .decode import MAX_PIXELS, decode, stand_upright
from .picture import Picture, from_array, from_pil

_CHANNELS = ("band", "channel", "c", "rgb", "colour", "color")
"""What people call the axis of the channels, without the plural's s."""


def picture_of(image: Any, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """The picture that `image` is: a path or an http(s) address, the bytes of a file, a file that is open for reading
    them, a Pillow image, or an array as `from_array` takes it. Upright, as its EXIF says.

    Raises PictureError if it is of another kind, or cannot be read.
    """
    if isinstance(image, np.ndarray):
        return from_array(image)
    if isinstance(image, str | os.PathLike):
        return read_picture(image, max_pixels=max_pixels)
    if isinstance(image, bytes | bytearray | memoryview):
        return decode(bytes(image), max_pixels=max_pixels)
    if hasattr(image, "read"):
        return _from_file(image, max_pixels)
    from PIL import Image

    if isinstance(image, Image.Image):
        return stand_upright(from_pil(image))
    raise PictureError(
        "an image is a path, bytes, an open file, a Pillow image, a NumPy array or a list of these, not "
        f"{type(image).__name__}"
    )


def unlabelled(image: Any) -> tuple[NDArray[Any], Callable[[NDArray[Any]], Any]] | None:
    """Of an array whose axes have names (xarray's): its levels, channels last as the names say, and what makes such an
    array of larger ones, without coordinates. None for other images."""
    if not hasattr(image, "dims") or not hasattr(image, "__array__"):
        return None
    named = [axis for axis, name in enumerate(image.dims) if str(name).lower().removesuffix("s") in _CHANNELS]
    channels = named[0] if len(named) == 1 else -1

    def labelled(values: NDArray[Any]) -> Any:
        values = np.moveaxis(values, -1, channels) if named else values
        return type(image)(values, dims=image.dims, name=image.name, attrs=image.attrs)

    values = np.asarray(image)
    return (np.moveaxis(values, channels, -1) if named else values), labelled


def _from_file(file: Any, max_pixels: int) -> Picture:
    name = getattr(file, "name", None)
    name = name if isinstance(name, str) else "the open file"
    try:
        data = file.read()
    except (OSError, ValueError) as error:  # ValueError: it is closed, or its text is none
        raise PictureError(f"{name} cannot be read ({one_line(error)}): open it with mode 'rb'") from error
    if not isinstance(data, bytes):
        raise PictureError(f"{name} is open for {type(data).__name__}, not bytes: open it with mode 'rb'")
    return decode(data, name=name, max_pixels=max_pixels)


def read_picture(name: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> Picture:
    """The picture of a path or an http(s) address. Raises PictureError if it cannot be had."""
    text = os.fspath(name)
    if is_url(text):
        from .download import download

        return decode(download(text), name=redact_url(text), max_pixels=max_pixels)
    return decode(Path(text), max_pixels=max_pixels)
