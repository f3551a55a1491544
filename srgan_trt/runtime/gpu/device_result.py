"""Memory for a result on the GPU: an array of the library that the picture is of, or one of ours.

PyTorch, CuPy, Numba and pycuda allocate it themselves, from their own pools and in their own contexts. Other libraries
that follow the array API standard (JAX, whose arrays cannot be written to) take over memory of ours by DLPack. Whatever
knows neither gets a `DeviceArray`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import cache
from importlib import import_module
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import DeviceError, DeviceMemoryError, one_line
from .device import bindings, checked, core, cuda_errors, current
from .device_array import Borrowed, DeviceImage, view

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Shape = tuple[int, ...]


class Result:
    """An array that is being made. `image` is where the pipeline writes; then `take` it."""

    def __init__(self, image: DeviceImage, take: Callable[[], Any]) -> None:
        self.image = image
        self.take = take
        """The array, of the picture's library where that can be. To be called once, when the image is complete."""


def new_result(picture: Borrowed, scale: int) -> Result:
    """Memory for `picture` enlarged `scale` times, on the same GPU, of the same type and as many axes.

    `Borrowed.stream` waits for it too: pools hand out memory that the caller's streams may still be using.

    Raises DeviceMemoryError if there is too little memory, DeviceError if the library or CUDA fails.
    """
    height, width, *channels = picture.shape
    shape = (height * scale, width * scale, *channels)
    dtype, number = picture.image.dtype, picture.image.device
    make = _maker(picture.array)
    if make is None:
        own = DeviceArray(shape, dtype, number)
        image, _ = view(own, picture.stream, told=True)
        return Result(image, lambda: _adopted(picture.array, own))
    try:
        made = make(picture.array, shape, dtype, number)
    except Exception as error:
        # Each library has errors of its own, and none of them is imported here.
        library, said = type(picture.array).__module__.partition(".")[0], one_line(error)
        if "MemoryError" in "".join(kind.__name__ for kind in type(error).__mro__):
            raise DeviceMemoryError(
                f"the GPU has no memory for a result of {shape[1]} x {shape[0]} pixels ({said}): cut the picture into "
                "parts, or free memory on it"
            ) from error
        raise DeviceError(
            f"{library} cannot make an array for the result ({said}): make its context current in this thread"
        ) from error
    image, _ = view(made, picture.stream)
    if image.device != number:
        raise DeviceError(
            f"the picture is on GPU {number}, and its library makes arrays on GPU {image.device} now: "
            "make the context of the picture current in this thread"
        )
    return Result(image, lambda: made)


def host_result(array: Any, result: NDArray[Any]) -> Any:
    """A result on the host as the library of `array`, which `as_host_array` took, would have it, without a copy; the
    NumPy array itself for libraries that are unknown."""
    if "torch" in _libraries(array):
        return import_module("torch").from_dlpack(result)
    return _adopted(array, result)


class DeviceArray:
    """An array in a GPU's memory, without gaps, that any library can take by DLPack or the CUDA Array Interface.

    Its work is done: there is no stream to wait for. `close` it, or drop it: the memory goes when it and whatever was
    made of it by DLPack are gone. What reads it by the CUDA Array Interface must keep it.
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any], device: int) -> None:
        """The contents are undefined. Raises DeviceMemoryError, DeviceError."""
        self.shape = shape
        self.dtype = np.dtype(dtype)
        self.device = device
        size = int(np.prod(shape, dtype=np.int64)) * self.dtype.itemsize
        utils = import_module("cuda.core.utils")
        with current(device), cuda_errors():
            buffer = _memory_resource()(device).allocate(size)
            self._view = utils.StridedMemoryView.from_buffer(buffer, shape, dtype=self.dtype)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (int(self._open().ptr), False),
            "strides": None,
            "stream": None,
            "version": 3,
        }

    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """See the array API standard. Raises BufferError for copies and other devices."""
        if copy:
            raise BufferError("this array is not copied by DLPack: take it as it is, and copy that")
        if dl_device is not None and tuple(dl_device) != self.__dlpack_device__():
            raise BufferError(f"this array is on device {self.__dlpack_device__()}, not {tuple(dl_device)}")
        return self._open().__dlpack__(stream=-1, max_version=max_version)

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, self.device  # kDLCUDA

    def close(self) -> None:
        """Gives the memory back, unless something made of it by DLPack still lives; calling it again does nothing."""
        self._view = None

    def __enter__(self) -> DeviceArray:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"DeviceArray(shape={self.shape}, dtype={self.dtype}, device={self.device})"

    def _open(self) -> Any:
        if self._view is None:
            raise DeviceError("this array was closed: upscale again")
        return self._view


@cache
def _memory_resource() -> Any:
    """A class of cuda.core: memory that is nobody's stream's, for arrays whose users we do not know.

    cuMemFree waits for what the GPU still does; a pool would hand the memory on while another library's work reads it.
    """
    cuda = core()

    class Plain(cuda.MemoryResource):  # type: ignore[misc, name-defined]
        is_device_accessible = True
        is_host_accessible = False

        def __init__(self, number: int) -> None:
            self._number = number

        @property
        def device_id(self) -> int:
            return self._number

        def allocate(self, size: int, *, stream: Any = None) -> Any:
            address = int(checked(bindings().cuMemAlloc(size)))
            try:
                return cuda.Buffer.from_handle(address, size, mr=self)
            except BaseException:
                bindings().cuMemFree(address)
                raise

        def deallocate(self, address: int, size: int, *, stream: Any = None) -> None:
            with ExitStack() as stack:
                # A GPU that failed may refuse even this; what is left is freed all the same.
                with suppress(DeviceError):
                    stack.enter_context(current(self._number))
                bindings().cuMemFree(int(address))

    return Plain


def _torch(array: Any, shape: Shape, dtype: np.dtype[Any], number: int) -> Any:
    return import_module("torch").empty(shape, dtype=array.dtype, device=array.device)


def _cupy(array: Any, shape: Shape, dtype: np.dtype[Any], number: int) -> Any:
    cupy = import_module("cupy")
    with cupy.cuda.Device(number):
        return cupy.empty(shape, dtype)


def _numba(array: Any, shape: Shape, dtype: np.dtype[Any], number: int) -> Any:
    cuda = import_module("numba.cuda")
    with cuda.gpus[number]:
        return cuda.device_array(shape, dtype)


def _pycuda(array: Any, shape: Shape, dtype: np.dtype[Any], number: int) -> Any:
    if import_module("pycuda.driver").Context.get_current() is None:
        # It would allocate in whatever context is the driver's, fail to note whose it is, and leak.
        raise RuntimeError("no context of pycuda is current")
    return import_module("pycuda.gpuarray").GPUArray(shape, dtype, allocator=array.allocator)


_MAKERS = {"torch": _torch, "cupy": _cupy, "numba": _numba, "pycuda": _pycuda}


def _maker(array: Any) -> Callable[[Any, Shape, np.dtype[Any], int], Any] | None:
    return next((_MAKERS[name] for name in _libraries(array) if name in _MAKERS), None)


def _libraries(array: Any) -> list[str]:
    """Top-level modules of an array's class and of what that is made of: a class of the caller's may be a tensor."""
    return [kind.__module__.partition(".")[0] for kind in type(array).__mro__]


def _adopted(array: Any, ours: Any) -> Any:
    """`ours`, taken over by the library of `array` if that follows the array API standard."""
    if not hasattr(array, "__array_namespace__"):
        return ours
    return array.__array_namespace__().from_dlpack(ours)
