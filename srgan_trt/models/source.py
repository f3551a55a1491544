"""SourceNetwork: a generator opened from somebody's file, whatever wrote it (seam 1 of docs/architecture.md)."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError

if TYPE_CHECKING:
    import onnx

CHANNELS = (3, 1)
"""Of the pictures that networks work on: RGB, or luma alone."""
LARGEST_SCALE = 16
"""Of the networks that are planned: none that is known is above 8."""


class SourceNetwork(Protocol):
    """A generator, opened and checked: pictures of 3 channels in and out, or of 1 (luma), nothing else."""

    name: str
    """The file's name, without its folder."""
    kind: str
    """What the file is, for people: "Keras 2 .h5", "Keras 3 .keras", "SavedModel", "ONNX", "ncnn .param", ..."""
    source_hash: str
    """sha256 of the file; of all files in order for a SavedModel or an ncnn ``.param``."""
    channels: int
    """Of its pictures: 3, RGB; or 1, luma, which the compiler gives its colours back (compiler/luma.py)."""
    fixed_shape: tuple[int, int] | None
    """(height, width) that the file insists on, None if free."""
    notes: list[str]
    """What was assumed or replaced, in words for the user."""
    input_range: tuple[float, float] | None
    """Network values of level 0 and of the highest level where the file's kind tells them, else None."""
    output_range: tuple[float, float] | None
    """The same for the output."""
    stripped: frozenset[str]
    """Ends ("input", "output") whose range mapping was left out: ranges there are not the file's own."""

    def export(self, height: int, width: int) -> onnx.ModelProto:
        """The network as a static graph, opset 18.

        Input "input" float32 (1, channels, height, width), output "output" float32 (1, channels, H, W), which may lack
        a border where nothing is padded. ``fixed_shape`` stands in for ``height, width`` where the file insists on its
        own size.

        Raises:
            ModelError: something in the network has no ONNX counterpart, or its output is not a picture.
        """

    def predict(self, batch: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """float32 NHWC in, NHWC out, computed by the framework that wrote the file; None where there is none."""


def check_input(name: str, shape: tuple[int | None, ...]) -> int:
    """Channels of ``shape`` (NHWC, None = free). Raises ModelError unless it is a batch of RGB or luma pictures."""
    if len(shape) != 4:
        raise ModelError(
            f"{name} takes a tensor of rank {len(shape)}, not a batch of pictures: it is not a super-resolver"
        )
    if shape[3] not in CHANNELS:
        raise ModelError(
            f"{name} takes {shape[3] or 'any number of'} channels, not the 3 of an RGB picture, or the 1 of its luma"
        )
    return shape[3]


def check_output(name: str, shape: tuple[int | None, ...], *, channels: int) -> None:
    """Raises ModelError unless ``shape`` (NHWC, None = free) is a batch of pictures of ``channels``."""
    if len(shape) == 2:
        raise ModelError(
            f"{name} gives {shape[1]} numbers a picture: it is a classifier (or a discriminator), not a generator"
        )
    if len(shape) != 4:
        raise ModelError(f"{name} gives a tensor of rank {len(shape)}, not a picture: it is not a super-resolver")
    if shape[3] not in (channels, None):
        raise ModelError(f"{name} gives {shape[3]} channels, not the {channels} that it takes")


def fixed_size(height: int | None, width: int | None, notes: list[str]) -> tuple[int, int] | None:
    """``SourceNetwork.fixed_shape``: None if both are free; a single free one is set to the other, and noted."""
    if height is None and width is None:
        return None
    if height is None or width is None:
        notes.append(f"its {'width' if height is None else 'height'} is fixed: the other side is taken as equal")
    return (height or width or 0, width or height or 0)


def check_scale(name: str, size: tuple[int, int], output: tuple[int, int]) -> int:
    """The scale between two (height, width), of which the second may lack as many rows as columns.

    A network without padding gives that much less. Of a square, which does not tell, it is the least scale that holds
    the output. Raises ModelError unless it is one whole number of 1 or more.
    """
    (height, width), (out_height, out_width) = size, output
    shown = f"{width}x{height} to {out_width}x{out_height}"
    scale = Fraction(-(-out_height // height))
    if height != width:
        scale = Fraction(out_width - out_height, width - height)
    missing = {scale * height - out_height, scale * width - out_width}
    if scale < 1:
        raise ModelError(f"{name} makes pictures smaller ({shown}): it is no super-resolver")
    if scale.denominator != 1 or len(missing) > 1 or min(missing) < 0:
        raise ModelError(f"{name} takes {shown}: that is not a whole scale (x1, x2, x3, x4, ...)")
    if scale > LARGEST_SCALE:
        raise ModelError(f"{name} takes {shown}: scales above x{LARGEST_SCALE} are not supported")
    return int(scale)
