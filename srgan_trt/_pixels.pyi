"""Pixel kernels on the CPU: images to network tensors and back (sources in csrc/).

Both functions release the GIL, use one thread, keep no state, and may run in several threads at once on one image as
long as the regions written do not overlap. Every array must be C-contiguous, aligned, in native byte order and of
exactly the dtype given; nothing is converted or copied. A wrong kind of argument raises TypeError, a wrong value
ValueError; the message names the argument. An output is untouched if an error is raised.

``scale`` and ``bias`` are rounded to float32; ``fmaf`` is the fused multiply-add, rounded once. Results are the same
bit for bit whatever the instruction set.
"""

import numpy as np
from numpy.typing import NDArray

def instruction_sets() -> tuple[str, ...]:
    """The instruction sets that the kernels can use on this CPU, the fastest (and default) first.

    ``"avx2"`` (AVX2 and FMA, x86-64 only), ``"baseline"`` (what every CPU of the architecture has; always there).
    """

def pack(
    image: NDArray[np.uint8] | NDArray[np.uint16],
    tensor: NDArray[np.float32],
    *,
    y: int,
    x: int,
    scale: float,
    bias: float,
    instruction_set: str | None = None,
) -> None:
    """Copies a window of a picture into a network's input.

    image: ``(H, W, 3)`` or ``(H, W, 1)``, levels 0..255 or 0..65535; may be read-only. One channel is
    repeated into three.
    tensor: ``(3, h, w)``, overwritten with ``fmaf(level, scale, bias)``.
    y, x: the window's origin in the picture, in pixels; may be negative or beyond the picture. Coordinates outside the
    picture are clamped to it: its border is repeated.
    """

def unpack(
    tensor: NDArray[np.float32],
    image: NDArray[np.uint8] | NDArray[np.uint16],
    *,
    shuffle: int,
    top: int,
    left: int,
    y: int,
    x: int,
    height: int,
    width: int,
    scale: float,
    bias: float,
    instruction_set: str | None = None,
) -> int:
    """Copies a region of a network's output into a picture: shuffle, scale, clip, round and crop in one pass.

    tensor: ``(3*r*r, h, w)`` with ``r = shuffle``; may be read-only. Channel ``(a*r + b)*3 + c`` is colour ``c`` of the
    pixel in row ``a``, column ``b`` of each r x r block of the ``(h*r, w*r)`` picture P.
    image: ``(H, W, 3)`` or ``(H, W, 1)``; ``image[y:y+height, x:x+width]`` is overwritten with
    ``P[top:top+height, left:left+width]``, as ``fmaf(value, scale, bias)`` clipped to 0..255 or 0..65535 and rounded
    half to even; NaN becomes 0. One channel stores the BT.601 luma of the three clipped colours, rounded once.
    top, left, y, x, height, width: in output pixels; the region must not be empty nor leave the tensor or the image.

    Returns how many of the region's values (three a pixel) were NaN or infinite.
    """
