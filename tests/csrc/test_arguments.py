"""Whatever is passed, the kernels work on it as it is or name the argument that is wrong; they never crash or copy."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from .kernels import MODULES

_pixels: ModuleType = MODULES[0]
"""The implementation under test: the fixture puts each of them here."""


@pytest.fixture(params=MODULES, ids=lambda module: module.__name__.rpartition(".")[2], autouse=True)
def _implementation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "_pixels", request.param)


def pack(**changed: Any) -> None:
    arguments: dict[str, Any] = {
        "image": np.zeros((4, 5, 3), np.uint8),
        "tensor": np.full((3, 2, 2), 7, np.float32),
        "y": 0,
        "x": 0,
        "scale": 1.0,
        "bias": 0.0,
    } | changed
    _pixels.pack(arguments.pop("image"), arguments.pop("tensor"), **arguments)


def unpack(**changed: Any) -> int:
    arguments: dict[str, Any] = {
        "tensor": np.zeros((12, 2, 3), np.float32),
        "image": np.full((8, 9, 3), 7, np.uint8),
        "shuffle": 2,
        "top": 0,
        "left": 0,
        "y": 0,
        "x": 0,
        "height": 4,
        "width": 6,
        "scale": 1.0,
        "bias": 0.0,
    } | changed
    return _pixels.unpack(arguments.pop("tensor"), arguments.pop("image"), **arguments)


def read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def misaligned(shape: tuple[int, ...], dtype: type) -> np.ndarray:
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.zeros(size + 1, np.uint8)[1:].view(dtype).reshape(shape)


IMAGES: list[tuple[Any, type[Exception], str]] = [
    (None, TypeError, "image must be a NumPy array .* not NoneType"),
    ([[[1, 2, 3]]], TypeError, "image must be a NumPy array .* not list"),
    (b"123", TypeError, "image must be a NumPy array .* not bytes"),
    (np.zeros((4, 5, 3), np.float32), TypeError, "image must be of dtype uint8 or uint16 .*float32"),
    (np.zeros((4, 5, 3), np.int8), TypeError, "image must be of dtype uint8 or uint16 .*int8"),
    (np.zeros((4, 5, 3), np.int16), TypeError, "image must be of dtype uint8 or uint16 .*int16"),
    (np.zeros((4, 5, 3), bool), TypeError, "image must be of dtype uint8 or uint16 .*bool"),
    (np.zeros((4, 5, 3), object), TypeError, "image must be of dtype uint8 or uint16"),
    (np.zeros((4, 5, 3), ">u2"), TypeError, "image must be of dtype uint8 or uint16 in native byte order, not .*>u2"),
    (np.zeros((4, 5), np.uint8), ValueError, r"image must have 3 dimensions .* not shape \(4, 5\)"),
    (np.zeros((1, 4, 5, 3), np.uint8), ValueError, r"image must have 3 dimensions .* not shape \(1, 4, 5, 3\)"),
    (np.zeros((), np.uint8), ValueError, r"image must have 3 dimensions .* not shape \(\)"),
    (np.zeros((8, 9, 4), np.uint8), ValueError, r"image must have 3 channels or 1 .* not shape \(8, 9, 4\)"),
    (np.zeros((8, 9, 2), np.uint8), ValueError, r"image must have 3 channels or 1 .* not shape \(8, 9, 2\)"),
    (np.zeros((0, 5, 3), np.uint8), ValueError, r"image must not be empty, its shape is \(0, 5, 3\)"),
    (np.zeros((4, 0, 3), np.uint8), ValueError, "image must not be empty"),
    (np.zeros((8, 9, 0), np.uint8), ValueError, "image must not be empty"),
    (np.zeros((8, 18, 3), np.uint8)[:, ::2], ValueError, "image must be C-contiguous: pass numpy.ascontiguousarray"),
    (np.zeros((8, 18, 3), np.uint8)[:, :9], ValueError, "image must be C-contiguous"),
    (np.zeros((8, 9, 3), np.uint8)[::-1], ValueError, "image must be C-contiguous"),
    (np.zeros((3, 8, 9), np.uint8).transpose(1, 2, 0), ValueError, "image must be C-contiguous"),
    (np.broadcast_to(np.uint8(1), (8, 9, 3)), ValueError, "image must be C-contiguous"),
    (misaligned((8, 9, 3), np.uint16), ValueError, "image must be aligned"),
]


@pytest.mark.parametrize(("image", "error", "message"), IMAGES)
@pytest.mark.parametrize("call", [pack, unpack])
def test_wrong_images(call: Any, image: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(image=image)


TENSORS: list[tuple[Any, type[Exception], str]] = [
    (None, TypeError, "tensor must be a NumPy array"),
    (np.zeros((3, 2, 2), np.float64), TypeError, "tensor must be of dtype float32 .*float64"),
    (np.zeros((3, 2, 2), np.float16), TypeError, "tensor must be of dtype float32 .*float16"),
    (np.zeros((3, 2, 2), np.uint8), TypeError, "tensor must be of dtype float32 .*uint8"),
    (np.zeros((3, 2, 2), ">f4"), TypeError, "tensor must be of dtype float32 in native byte order"),
    (np.zeros((1, 3, 2, 2), np.float32), ValueError, r"tensor must have 3 dimensions .* not shape \(1, 3, 2, 2\)"),
    (np.zeros((3, 0, 2), np.float32), ValueError, "tensor must not be empty"),
    (np.zeros((2, 2, 3), np.float32).transpose(2, 0, 1), ValueError, "tensor must be C-contiguous"),
    (misaligned((3, 2, 2), np.float32), ValueError, "tensor must be aligned"),
]


@pytest.mark.parametrize(("tensor", "error", "message"), TENSORS)
@pytest.mark.parametrize("call", [pack, unpack])
def test_wrong_tensors(call: Any, tensor: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(tensor=tensor)


def test_wrong_channels() -> None:
    with pytest.raises(ValueError, match=r"tensor must have 3 channels .* not shape \(12, 2, 2\)"):
        pack(tensor=np.zeros((12, 2, 2), np.float32))
    with pytest.raises(ValueError, match=r"tensor must have 12 channels \(3 \* shuffle \* shuffle\)"):
        unpack(tensor=np.zeros((3, 2, 2), np.float32))
    with pytest.raises(ValueError, match="tensor must have 27 channels"):
        unpack(shuffle=3)


def test_read_only_outputs() -> None:
    with pytest.raises(ValueError, match="tensor must be writable"):
        pack(tensor=read_only(np.zeros((3, 2, 2), np.float32)))
    with pytest.raises(ValueError, match="image must be writable"):
        unpack(image=read_only(np.zeros((8, 9, 3), np.uint8)))


def test_read_only_inputs_are_fine() -> None:
    pack(image=read_only(np.zeros((4, 5, 3), np.uint8)))
    assert unpack(tensor=read_only(np.zeros((12, 2, 3), np.float32))) == 0


@pytest.mark.parametrize("call", [pack, unpack])
@pytest.mark.parametrize("name", ["scale", "bias"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e39, -1e300])
def test_not_finite_factors(call: Any, name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} must be finite as float32"):
        call(**{name: value})


@pytest.mark.parametrize("call", [pack, unpack])
@pytest.mark.parametrize("name", ["scale", "bias"])
@pytest.mark.parametrize("value", [None, "1", 1j, np.zeros(2)])
def test_factors_of_another_type(call: Any, name: str, value: object) -> None:
    with pytest.raises(TypeError, match=f"{name} must be a number, not {type(value).__name__}"):
        call(**{name: value})


@pytest.mark.parametrize(
    ("call", "names"), [(pack, ["y", "x"]), (unpack, ["shuffle", "top", "left", "y", "x", "height", "width"])]
)
def test_integers_of_another_type(call: Any, names: list[str]) -> None:
    for name in names:
        for value in (1.0, "1", None, np.float32(1)):
            with pytest.raises(TypeError, match=f"{name} must be an integer, not {type(value).__name__}"):
                call(**{name: value})
        with pytest.raises(ValueError, match=f"{name} must fit in 64 bits"):
            call(**{name: 2**64})


def test_numpy_numbers_are_numbers() -> None:
    pack(y=np.int32(1), x=np.uint8(1), scale=np.float32(1), bias=np.int64(0))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"shuffle": 0}, "shuffle must be at least 1, it is 0"),
        ({"shuffle": -2}, "shuffle must be at least 1"),
        ({"shuffle": 2**40}, "shuffle must be at most"),
        ({"top": -1}, "top must be at least 0, it is -1"),
        ({"left": -1}, "left must be at least 0"),
        ({"y": -1}, "y must be at least 0"),
        ({"x": -1}, "x must be at least 0"),
        ({"height": 0}, "height must be at least 1"),
        ({"width": -(2**63)}, "width must be at least 1"),
        ({"top": 1}, "top and height must stay inside the shuffled tensor: top 1 and height 4 leave its 4 pixels"),
        ({"left": 1}, "left and width must stay inside the shuffled tensor"),
        ({"height": 5}, "top and height must stay inside the shuffled tensor"),
        ({"width": 2**63 - 1}, "left and width must stay inside the shuffled tensor"),
        ({"top": 2**63 - 1}, "top and height must stay inside the shuffled tensor"),
        ({"y": 5}, "y and height must stay inside the image: y 5 and height 4 leave its 8 pixels"),
        ({"x": 4}, "x and width must stay inside the image"),
        ({"x": 2**63 - 1}, "x and width must stay inside the image"),
        ({"image": np.zeros((3, 9, 3), np.uint8)}, "y and height must stay inside the image"),
    ],
)
def test_regions_that_leave(changed: dict[str, Any], message: str) -> None:
    image = np.full((8, 9, 3), 7, np.uint8)
    with pytest.raises(ValueError, match=message):
        unpack(**({"image": image} | changed))
    assert (image == 7).all()


@pytest.mark.parametrize("call", [pack, unpack])
@pytest.mark.parametrize("value", ["sse9", "", 2, b"avx2"])
def test_unknown_instruction_sets(call: Any, value: object) -> None:
    with pytest.raises(ValueError, match=r"instruction_set must be None or one of .*(baseline|numpy), not"):
        call(instruction_set=value)


def test_missing_and_unknown_arguments() -> None:
    image, tensor = np.zeros((4, 5, 3), np.uint8), np.zeros((3, 2, 2), np.float32)
    with pytest.raises(TypeError):
        _pixels.pack(image, tensor)
    with pytest.raises(TypeError):
        pack(gamma=2.2)
    with pytest.raises(TypeError):
        _pixels.pack(image, tensor, 0, 0, 1.0, 0.0)


def test_an_image_subclass_and_a_dtype_with_metadata_are_taken_as_they_are() -> None:
    pack(image=np.zeros((4, 5, 3), np.dtype(np.uint8, metadata={"made": "by a test"})))
    pack(image=np.zeros((4, 5, 3), np.uint8).view(np.ma.MaskedArray))
