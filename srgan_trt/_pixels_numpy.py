"""What _pixels.pyi describes, in NumPy: for installations whose C++ extension could not be compiled.

Results and errors are those of the extension, bit for bit and word for word. Only `instruction_set` has names of its
own, and the interpreter's lock is let go only inside NumPy. Choose between the two through pixels.py.

An exact fused multiply-add is slow in NumPy, so nearly all values go another way. Levels are few: pack looks them up in
a table. unpack computes in plain float32, whose error is bounded, and computes again exactly only what lies so close to
the border between two levels that the error could matter (some 0.01 % of 8-bit, 4 % of 16-bit values).
"""

from __future__ import annotations

import operator
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float32]

_BLOCK = 1 << 18
"""Values that unpack takes in one go: few enough for what NumPy makes of them to stay in the caches."""
_LARGEST_SHUFFLE = 1024
_INSTRUCTION_SET = "numpy"
_LUMA = (0.299, 0.587, 0.114)
"""BT.601's weights of red, green and blue."""


def instruction_sets() -> tuple[str, ...]:
    """``("numpy",)``: NumPy chooses the instructions by itself."""
    return (_INSTRUCTION_SET,)


def pack(
    image: NDArray[np.uint8] | NDArray[np.uint16],
    tensor: _Floats,
    *,
    y: int,
    x: int,
    scale: float,
    bias: float,
    instruction_set: str | None = None,
) -> None:
    """Copies a window of a picture into a network's input (see _pixels.pyi)."""
    picture = _checked_image(image, writable=False)
    planes = _checked_tensor(tensor, writable=True, channels=3)
    y, x = _integer(y, "y"), _integer(x, "x")
    factor, offset = _finite(scale, "scale"), _finite(bias, "bias")
    _check_instruction_set(instruction_set)
    height, width, channels = picture.shape
    rows = _clamped(y, planes.shape[1], height)
    columns = _clamped(x, planes.shape[2], width)
    window = picture[rows][:, columns]
    values = _value_table(picture.dtype.char, factor, offset)
    for colour, plane in enumerate(planes[:channels]):
        np.take(values, window[..., colour], out=plane, mode="clip")  # "raise" would copy `out`
    planes[channels:] = planes[0]


def unpack(
    tensor: _Floats,
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
    """Copies a region of a network's output into a picture (see _pixels.pyi).

    Returns how many values were not finite.
    """
    r = _integer(shuffle, "shuffle", 1)
    if r > _LARGEST_SHUFFLE:
        raise ValueError(f"shuffle must be at most {_LARGEST_SHUFFLE}, it is {r}")
    planes = _checked_tensor(tensor, writable=False, channels=3 * r * r, meaning=" (3 * shuffle * shuffle)")
    picture = _checked_image(image, writable=True)
    top, left, y, x = (_integer(value, name, 0) for value, name in ((top, "top"), (left, "left"), (y, "y"), (x, "x")))
    height, width = _integer(height, "height", 1), _integer(width, "width", 1)
    _check_region("top", top, "height", height, planes.shape[1] * r, "shuffled tensor")
    _check_region("left", left, "width", width, planes.shape[2] * r, "shuffled tensor")
    _check_region("y", y, "height", height, picture.shape[0], "image")
    _check_region("x", x, "width", width, picture.shape[1], "image")
    factor, offset = _finite(scale, "scale"), _finite(bias, "bias")
    _check_instruction_set(instruction_set)

    out = picture[y : y + height, x : x + width]
    first, last = left // r, -(-(left + width) // r)
    inside = slice(left - first * r, left - first * r + width)
    step = max(1, _BLOCK // (planes.shape[0] * (last - first)))
    not_finite = 0
    for row in range(top // r, -(-(top + height) // r), step):
        end = min(row + step, -(-(top + height) // r))
        values = planes[:, row:end, first:last].reshape(r, r, 3, end - row, last - first)
        # Of the block's rows in the picture, those that are asked for.
        begin, stop = max(row * r, top), min(end * r, top + height)
        wanted = slice(begin - row * r, stop - row * r), inside
        levels = _levels(values, out.dtype, picture.shape[2], factor, offset)
        out[begin - top : stop - top] = _shuffled(levels)[wanted]
        finite = np.isfinite(values)
        if not finite.all():
            not_finite += int(np.count_nonzero(~_shuffled(finite)[wanted]))
    return not_finite


@lru_cache(maxsize=16)
def _value_table(level_type: str, scale: np.float32, bias: np.float32) -> _Floats:
    """The network value of every level of a dtype, given by its character."""
    return _fused(np.arange(np.iinfo(level_type).max + 1, dtype=np.float32), scale, bias)


def _levels(
    values: _Floats, dtype: np.dtype[Any], channels: int, scale: np.float32, bias: np.float32
) -> NDArray[np.unsignedinteger[Any]]:
    """Levels of network values: (r, r, 3, h, w) -> (r, r, `channels`, h, w)."""
    highest = float(np.iinfo(dtype).max)
    # Rounding errors, each at most half a unit of the 24th bit: of the product, which is no larger than a level and the
    # bias together where a level comes out; of the sum; and of the exact result.
    error = (4 * highest + abs(float(bias))) * 2.0**-24
    with np.errstate(all="ignore"):
        positions = values * scale
        positions += bias
        _clip(positions, highest)
        if channels == 1:
            # Three products and two sums here, three roundings there.
            error += 8 * highest * 2.0**-24
            red, green, blue = (positions[:, :, colour] * np.float32(_LUMA[colour]) for colour in range(3))
            positions = (red + (green + blue))[:, :, None]
        rounded = np.rint(positions)
        positions -= rounded
        doubtful = np.abs(positions, out=positions) > 0.5 - error
    if doubtful.any():
        places = np.unravel_index(np.flatnonzero(doubtful), doubtful.shape)  # ten times as fast as np.nonzero
        if channels == 1:
            colours = values.transpose(2, 0, 1, 3, 4)[:, places[0], places[1], places[3], places[4]]
            exact = _luma(_positions(colours, highest, scale, bias), highest)
        else:
            exact = _positions(values[places], highest, scale, bias)
        rounded[places] = np.rint(exact)
    levels: NDArray[np.unsignedinteger[Any]] = rounded.astype(dtype)
    return levels


def _positions(values: _Floats, highest: float, scale: np.float32, bias: np.float32) -> _Floats:
    """Network values -> positions on the scale of levels, exactly, clipped and not yet rounded."""
    return _clip(_fused(values, scale, bias), highest)


def _luma(positions: _Floats, highest: float) -> _Floats:
    """(3, n) clipped positions -> (n,): pixel_math.h's order of rounding."""
    red, green, blue = positions
    weights = [np.float32(weight) for weight in _LUMA]
    return np.minimum(_fused(red, weights[0], _fused(green, weights[1], weights[2] * blue)), np.float32(highest))


def _clip(positions: _Floats, highest: float) -> _Floats:
    """To 0..highest, in place; NaN becomes 0."""
    np.clip(positions, np.float32(0), np.float32(highest), out=positions)  # three times as fast as fmax and fmin
    if np.isnan(positions.max()):
        positions[np.isnan(positions)] = 0
    return positions


def _fused(a: _Floats, b: np.float32, c: _Floats | np.float32) -> _Floats:
    """``a*b + c`` rounded once, as fmaf.

    float64 holds the product exactly, but not the sum, and rounding that again to float32 may go wrong at a tie. A sum
    rounded to odd is never a tie (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums: proved algorithms
    using rounding to odd", 2008); its error is Knuth's two-sum.
    """
    with np.errstate(all="ignore"):
        product = a.astype(np.float64) * np.float64(b)
        addend = np.asarray(c, np.float64)
        total = product + addend
        part = total - product
        error = (product - (total - part)) + (addend - part)
        even = (total.view(np.int64) & 1) == 0
        # NaN and infinite sums have an error of NaN, which is neither above 0 nor below.
        total = np.where(even & (error > 0), np.nextafter(total, np.inf), total)
        total = np.where(even & (error < 0), np.nextafter(total, -np.inf), total)
        return total.astype(np.float32)


def _shuffled(planes: NDArray[Any]) -> NDArray[Any]:
    """(r, r, channels, h, w) -> (h*r, w*r, channels). Plane by plane: faster than one transposition."""
    r, _, channels, height, width = planes.shape
    picture = np.empty((height * r, width * r, channels), planes.dtype)
    for a in range(r):
        for b in range(r):
            for channel in range(channels):
                picture[a::r, b::r, channel] = planes[a, b, channel]
    return picture


def _clamped(origin: int, length: int, available: int) -> slice | NDArray[np.intp]:
    """Indices of `length` rows or columns from `origin` on; those outside repeat the first or last."""
    if 0 <= origin <= available - length:
        return slice(origin, origin + length)
    # A window however far away sees the border only, and int64 is not left.
    nearest = min(max(origin, -length), available)
    return np.clip(np.arange(nearest, nearest + length), 0, available - 1)


def _checked_image(image: Any, *, writable: bool) -> NDArray[Any]:
    array = _checked_array(image, "image", "(height, width, 3 or 1)", (np.uint8, np.uint16), writable=writable)
    if array.shape[2] not in (1, 3):
        raise ValueError(f"image must have 3 channels or 1 as its last dimension, not shape {array.shape}")
    return array


def _checked_tensor(tensor: Any, *, writable: bool, channels: int, meaning: str = "") -> NDArray[Any]:
    array = _checked_array(tensor, "tensor", "(channels, height, width)", (np.float32,), writable=writable)
    if array.shape[0] != channels:
        raise ValueError(
            f"tensor must have {channels} channels{meaning} as its first dimension, not shape {array.shape}"
        )
    return array


def _checked_array(
    array: Any, name: str, layout: str, dtypes: tuple[type[np.generic], ...], *, writable: bool
) -> NDArray[Any]:
    """The array as a plain one, on the same memory. Raises TypeError and ValueError as csrc/arguments.cpp."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name} must be a NumPy array {layout}, not {type(array).__name__}")
    if array.dtype not in dtypes:
        wanted = " or ".join(dtype.__name__ for dtype in dtypes)
        raise TypeError(f"{name} must be of dtype {wanted} in native byte order, not {array.dtype!r}")
    if array.ndim != 3:
        raise ValueError(f"{name} must have 3 dimensions {layout}, not shape {array.shape}")
    if array.size == 0:
        raise ValueError(f"{name} must not be empty, its shape is {array.shape}")
    if not array.flags.c_contiguous:
        raise ValueError(f"{name} must be C-contiguous: pass numpy.ascontiguousarray({name})")
    if not array.flags.aligned:
        raise ValueError(f"{name} must be aligned in memory: pass {name}.copy()")
    if writable and not array.flags.writeable:
        raise ValueError(f"{name} must be writable, it is written to")
    return np.asarray(array)


def _integer(value: Any, name: str, lowest: int | None = None) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, not {type(value).__name__}") from None
    if not -(2**63) <= number < 2**63:
        raise ValueError(f"{name} must fit in 64 bits, it is {number}")
    if lowest is not None and number < lowest:
        raise ValueError(f"{name} must be at least {lowest}, it is {number}")
    return number


def _finite(value: Any, name: str) -> np.float32:
    try:
        if isinstance(value, (str, bytes, bytearray)):
            raise TypeError("float() would read text")
        number = float(value)
    except (TypeError, OverflowError):
        raise TypeError(f"{name} must be a number, not {type(value).__name__}") from None
    if not abs(number) <= float(np.finfo(np.float32).max):
        raise ValueError(f"{name} must be finite as float32, it is {value}")
    return np.float32(number)


def _check_instruction_set(name: Any) -> None:
    if name is not None and name != _INSTRUCTION_SET:
        raise ValueError(f"instruction_set must be None or one of {_INSTRUCTION_SET}, not {name!r}")


def _check_region(start_name: str, start: int, length_name: str, length: int, available: int, what: str) -> None:
    if start + length > available:
        raise ValueError(
            f"{start_name} and {length_name} must stay inside the {what}: {start_name} {start} and "
            f"{length_name} {length} leave its {available} pixels"
        )
