"""The Python interface of SuperResolution-GANs 0.0.3, which this project grew from."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import PictureError, missing

if TYPE_CHECKING:
    from numpy.typing import NDArray


def SRGAN_predict(
    lr_image_path: str | os.PathLike[str], model_path: str | os.PathLike[str] | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Upscales one picture.

    The original resized every picture to 64 x 64 first, and gave 256 x 256 back; here the picture keeps its size.

    Args:
        lr_image_path: A file or an http(s) address. Gray becomes RGB; transparency is left out.
        model_path: A plan, a Keras or ONNX file (built once, then cached), the name of a packaged generator, or None
            for the packaged default.

    Returns:
        (LR_img, SR_img): float32 RGB in [-1, 1], (H, W, 3) and (H*scale, W*scale, 3), without a batch axis.

    Raises:
        SrganTrtError: What `srgan_trt.upscale` raises.
    """
    from .imaging.reading import read_picture
    from .upscaler import Upscaler

    picture = read_picture(lr_image_path)
    pixels = picture.pixels if picture.channels == 3 else np.repeat(picture.pixels, 3, axis=2)
    with Upscaler(model_path) as up:
        return _signed(pixels), _signed(up(pixels))


def show_image(img: Any) -> None:
    """Shows a picture with matplotlib.

    Args:
        img: As `SRGAN_predict` returns them, float (H, W, 3), (H, W, 1) or (H, W) in [-1, 1]; uint8 or uint16; a batch
            of one of these; or a Pillow image.

    Raises:
        MissingPackageError: matplotlib is not installed.
        PictureError: `img` is none of these.
    """
    levels = _displayable(img)
    try:
        from matplotlib import pyplot
    except ImportError:
        raise missing("matplotlib", "plot", "show a picture") from None
    _, axes = pyplot.subplots(figsize=(6, 6))
    axes.imshow(levels, cmap="gray", vmin=0, vmax=1)
    axes.set_axis_off()
    pyplot.show()


def _signed(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """Levels as float32 from -1 (black) to 1 (white)."""
    middle = np.float32(np.iinfo(pixels.dtype).max / 2)
    return pixels.astype(np.float32) / middle - np.float32(1)


def _displayable(img: Any) -> NDArray[Any]:
    """`img` as (H, W), (H, W, 3) or (H, W, 4), from 0 to 1."""
    array = np.asarray(img)
    if array.ndim == 4 and array.shape[0] == 1:
        array = array[0]
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise PictureError(f"an array of shape {array.shape} is not a picture: give (H, W, 3) or (H, W)")
    if array.dtype.kind == "u":
        return array / np.iinfo(array.dtype).max
    if array.dtype.kind != "f":
        raise PictureError(f"an array of {array.dtype} is not a picture: give floats in [-1, 1], uint8 or uint16")
    shown: NDArray[Any] = np.clip((array.astype(np.float64) + 1) / 2, 0, 1)
    return shown
