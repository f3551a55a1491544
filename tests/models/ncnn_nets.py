"""ncnn files made by hand, and what their layers give, by NumPy alone."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
FP16 = 0x01306B47


def stored(array: Floats, tag: int | None = 0) -> bytes:
    """An array as a .bin has it: behind a tag, padded to whole words; tag None: plain float32."""
    if tag is None:
        return array.astype("<f4").tobytes()
    data = array.astype("<f2" if tag == FP16 else "<f4").tobytes()
    return struct.pack("<I", tag) + data + b"\0" * (-len(data) % 4)


def write_net(path: Path, lines: list[str], weights: bytes = b"", *, blobs: int | None = None) -> Path:
    """Writes `path` and its .bin; the Input layer, which gives the blob "in", is put before `lines`."""
    layers = ["Input input 0 1 in", *lines]
    made = blobs if blobs is not None else sum(int(line.split()[3]) for line in layers)
    path.write_text("\n".join(["7767517", f"{len(layers)} {made}", *layers]) + "\n")
    path.with_suffix(".bin").write_bytes(weights)
    return path


def random(*shape: int, seed: int = 5) -> Floats:
    return np.random.default_rng(seed).normal(0, 0.3, shape).astype(np.float32)


def conv(
    x: Floats,
    weight: Floats,
    bias: Floats | None = None,
    *,
    stride: int = 1,
    dilation: int = 1,
    pads: tuple[int, int, int, int] = (0, 0, 0, 0),
) -> Floats:
    """x (C, H, W), weight (O, C, K, L), pads top, left, bottom, right -> (O, H', W'), added up in float64."""
    top, left, bottom, right = pads
    x = np.pad(x, ((0, 0), (top, bottom), (left, right)))
    rows, columns = ((size - 1) * dilation + 1 for size in weight.shape[2:])
    height, width = (x.shape[1] - rows) // stride + 1, (x.shape[2] - columns) // stride + 1
    total = np.zeros((len(weight), height, width))
    for y, z in np.ndindex(*weight.shape[2:]):
        part = x[:, y * dilation :, z * dilation :][:, ::stride, ::stride][:, :height, :width]
        total += np.einsum("oc,chw->ohw", weight[:, :, y, z].astype(np.float64), part)
    return (total if bias is None else total + bias[:, None, None]).astype(np.float32)


def deconv(
    x: Floats, weight: Floats, bias: Floats, *, stride: int, pads: tuple[int, int, int, int] = (0, 0, 0, 0)
) -> Floats:
    """x (C, H, W), weight (O, C, K, L) -> (O, H', W'): every pixel leaves its kernel, the border is cut off."""
    top, left, bottom, right = pads
    (_, height, width), (rows, columns) = x.shape, weight.shape[2:]
    whole = np.zeros((len(weight), (height - 1) * stride + rows, (width - 1) * stride + columns))
    for y, z in np.ndindex(height, width):
        place = whole[:, y * stride : y * stride + rows, z * stride : z * stride + columns]
        place += np.einsum("ockl,c->okl", weight.astype(np.float64), x[:, y, z])
    cut = whole[:, top : whole.shape[1] - bottom, left : whole.shape[2] - right]
    return (cut + bias[:, None, None]).astype(np.float32)


def resized(x: Floats, factor: float, kind: str) -> Floats:
    """x (C, H, W) by "nearest", "linear" or "cubic" (a = -0.75), pixels as areas, borders repeated, no antialiasing."""
    for axis in (1, 2):
        length = x.shape[axis]
        matrix = np.zeros((int(length * factor), length))
        for target, row in enumerate(matrix):
            place = (target + 0.5) / factor - 0.5
            first = int(np.floor(place))
            for tap in range(first - 1, first + 3):
                row[min(max(tap, 0), length - 1)] += _influence(abs(place - tap), kind)
            if kind == "nearest":
                row[:] = np.arange(length) == int(target / factor)
        x = np.moveaxis(np.tensordot(matrix, x, (1, axis)), 0, axis)
    return x.astype(np.float32)


def _influence(distance: float, kind: str, a: float = -0.75) -> float:
    if kind != "cubic":
        return max(0.0, 1 - distance)
    if distance <= 1:
        return (a + 2) * distance**3 - (a + 3) * distance**2 + 1
    return a * (distance**3 - 5 * distance**2 + 8 * distance - 4) if distance < 2 else 0.0


def shuffled(x: Floats, factor: int, *, colours_first: bool) -> Floats:
    """Pixel shuffle; colours_first: channel c*r*r + a*r + b as PyTorch, else (a*r + b)*C + c as TensorFlow."""
    count, height, width = len(x) // factor**2, *x.shape[1:]
    shape = (count, factor, factor) if colours_first else (factor, factor, count)
    parts = x.reshape(*shape, height, width)
    order = (0, 3, 1, 4, 2) if colours_first else (2, 3, 0, 4, 1)
    return parts.transpose(order).reshape(count, height * factor, width * factor)
