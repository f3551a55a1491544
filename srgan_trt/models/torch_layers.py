"""PyTorch's layers as ONNX, with weights taken by name: what torch_networks.py is written with."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import numpy as np

from ..errors import ModelError
from .graph_writer import Blob, NodeWriter
from .stored_tensor import Floats

_BATCH_NORM_EPSILON = 1e-5
"""PyTorch's default."""


class Layers:
    """Appends layers to a graph one after the other; each method returns what the layer gives.

    All of them raise ModelError, which begins with the array's name, if that is missing or has another shape.
    """

    def __init__(self, arrays: Mapping[str, Floats], writer: NodeWriter) -> None:
        self.arrays, self._writer = arrays, writer
        self.taken: set[str] = set()
        """Names of the arrays that some layer has."""

    def take(self, name: str, *shape: int | None) -> Floats:
        """The array ``name``; sides that are None may have any length."""
        array = self.arrays.get(name)
        if array is None:
            raise ModelError(f"{name} is missing")
        fits = len(shape) == array.ndim and all(
            side in (None, have) for side, have in zip(shape, array.shape, strict=True)
        )
        if not fits:
            wanted = "x".join("?" if side is None else str(side) for side in shape)
            raise ModelError(f"{name} has the shape {'x'.join(map(str, array.shape)) or 'of a number'}, not {wanted}")
        self.taken.add(name)
        return array

    def count(self, pattern: str, *, first: int = 0) -> int:
        """How many arrays there are in a row of the name ``pattern``, whose {} is a number from ``first`` on."""
        return next(number for number in itertools.count() if pattern.format(first + number) not in self.arrays)

    def conv(self, x: Blob, name: str, channels: int | None = None) -> Blob:
        """A convolution of an odd square kernel, padded so that the size stays; to ``channels``, None for any."""
        weight = self.take(f"{name}.weight", channels, x.channels, None, None)
        bias = self.take(f"{name}.bias", weight.shape[0]) if f"{name}.bias" in self.arrays else None
        return self.conv_of(x, name, weight, bias)

    def conv_of(self, x: Blob, name: str, weight: Floats, bias: Floats | None, *, stride: int = 1) -> Blob:
        """The same with weights that were computed; of a stride, one that leaves a ``stride``-th of the size."""
        size = weight.shape[2]
        if weight.shape[3] != size or size // stride % 2 == 0:
            raise ModelError(f"{name} has a kernel of {size}x{weight.shape[3]}: an odd square one belongs there")
        tensors = [self._writer.constant(array) for array in (weight, bias) if array is not None]
        tensor = self._writer.node(
            "Conv", x.tensor, *tensors,
            kernel_shape=[size, size], strides=[stride] * 2, pads=[(size - stride) // 2] * 4,
        )  # fmt: skip
        return Blob(tensor, weight.shape[0], x.height // stride, x.width // stride)

    def unshuffled_conv(self, x: Blob, name: str) -> Blob:
        """A convolution behind a pixel unshuffle, whose factor its input channels tell: both are one of a stride.

        Channel c*r*r + a*r + b of the unshuffled picture is colour c of row a, column b of each r x r block.
        """
        weight = self.take(f"{name}.weight", None, None, None, None)
        factor = math.isqrt(weight.shape[1] // x.channels)
        if factor < 2:
            return self.conv(x, name)
        filters, size = weight.shape[0], weight.shape[2]
        weight = self.take(f"{name}.weight", None, x.channels * factor**2, size, size)
        blocks = weight.reshape(filters, x.channels, factor, factor, size, size).transpose(0, 1, 4, 2, 5, 3)
        wide = blocks.reshape(filters, x.channels, size * factor, size * factor)
        bias = self.take(f"{name}.bias", filters) if f"{name}.bias" in self.arrays else None
        return self.conv_of(x, name, wide, bias, stride=factor)

    def batch_norm(self, x: Blob, name: str) -> Blob:
        parts = [self.take(f"{name}.{part}", x.channels) for part in ("weight", "bias", "running_mean", "running_var")]
        tensors = [self._writer.constant(part) for part in parts]
        return self._as(x, self._writer.node("BatchNormalization", x.tensor, *tensors, epsilon=_BATCH_NORM_EPSILON))

    def prelu(self, x: Blob, name: str) -> Blob:
        """With one slope for each channel, or one for all."""
        slopes = self.take(f"{name}.weight", None)
        if len(slopes) not in (1, x.channels):
            raise ModelError(f"{name}.weight has {len(slopes)} slopes for {x.channels} channels")
        return self._as(x, self._writer.node("PRelu", x.tensor, self._writer.constant(slopes.reshape(-1, 1, 1))))

    def leaky_relu(self, x: Blob, slope: float) -> Blob:
        return self._as(x, self._writer.node("LeakyRelu", x.tensor, alpha=slope))

    def apply(self, operator: str, x: Blob) -> Blob:
        """An ONNX operator of one tensor, on each value."""
        return self._as(x, self._writer.node(operator, x.tensor))

    def combine(self, operator: str, x: Blob, y: Blob) -> Blob:
        """Add or Mul, of two blobs of one shape."""
        if x.shown != y.shown:
            raise ModelError(f"its maps do not fit: {x.shown} and {y.shown}")
        return self._as(x, self._writer.node(operator, x.tensor, y.tensor))

    def by_constant(self, operator: str, x: Blob, *values: float) -> Blob:
        """Add or Mul, of a value for all channels or one for each."""
        constant = np.array(values, np.float32).reshape(-1, 1, 1)
        return self._as(x, self._writer.node(operator, x.tensor, self._writer.constant(constant)))

    def concat(self, *blobs: Blob) -> Blob:
        tensor = self._writer.node("Concat", *(blob.tensor for blob in blobs), axis=1)
        return Blob(tensor, sum(blob.channels for blob in blobs), blobs[0].height, blobs[0].width)

    def shuffle(self, x: Blob, factor: int) -> Blob:
        """PyTorch's pixel shuffle."""
        if factor == 1:
            return x
        tensor = self._writer.node("DepthToSpace", x.tensor, blocksize=factor, mode="CRD")
        return Blob(tensor, x.channels // factor**2, x.height * factor, x.width * factor)

    def enlarge(self, x: Blob, factor: int, mode: str = "nearest") -> Blob:
        """By repeating pixels, or between their centres ("linear")."""
        if factor == 1:
            return x
        how = (
            {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
            if mode == "nearest"
            else {"mode": mode, "coordinate_transformation_mode": "half_pixel"}
        )
        scales = self._writer.constant(np.array([1, 1, factor, factor], np.float32))
        tensor = self._writer.node("Resize", x.tensor, "", scales, **how)
        return Blob(tensor, x.channels, x.height * factor, x.width * factor)

    def _as(self, x: Blob, tensor: str) -> Blob:
        return Blob(tensor, x.channels, x.height, x.width)


def shuffle_factor(name: str, channels: int, colours: int) -> int:
    """r of channels = colours * r * r. Raises ModelError, which begins with ``name``, if there is none."""
    factor = math.isqrt(channels // colours)
    if factor < 1 or colours * factor**2 != channels:
        raise ModelError(f"{name} gives {channels} channels: no pixel shuffle makes {colours} of them")
    return factor
