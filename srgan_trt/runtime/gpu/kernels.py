"""The kernels pack and unpack on a GPU: loaded, and launched with the arguments of csrc/pack.cu and csrc/unpack.cu."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ...spec import NetworkSpec
from .device import bindings, checked, core, cuda_errors
from .kernel_code import compile_kernels
from .launch_geometry import LaunchGeometry, kernel_name, pack_launch, unpack_launch
from .memory import quietly

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .device import Gpu


class PixelKernels:
    """All kernels for one GPU, whose context must be current."""

    def __init__(self, gpu: Gpu) -> None:
        """Raises DeviceError; MissingPackageError where they must be compiled and NVRTC is not installed."""
        cuda, code = core(), compile_kernels(gpu.compute_capability)
        # Not cuda.core's ObjectCode: version 1.2 keeps what it loaded until the process ends.
        self._library = checked(bindings().cuLibraryLoadData(code, [], [], 0, [], [], 0))
        self._kernel = cuda.Kernel.from_handle
        self._launch = cuda.launch
        self._config = cuda.LaunchConfig
        self._kernels: dict[str, Any] = {}

    def kernel(self, name: str) -> Any:
        if name not in self._kernels:
            handle = checked(bindings().cuLibraryGetKernel(self._library, name.encode()))
            with cuda_errors():
                self._kernels[name] = self._kernel(int(handle))
        return self._kernels[name]

    def close(self) -> None:
        """Unloads them; none may be running."""
        self._kernels.clear()
        quietly(lambda: checked(bindings().cuLibraryUnload(self._library)))

    def launch(self, stream: Any, name: str, geometry: LaunchGeometry, *arguments: Any) -> None:
        """arguments: addresses as int, other values as NumPy scalars of the kernel's types."""
        kernel = self.kernel(name)
        with cuda_errors():
            self._launch(stream, self._config(grid=geometry.grid, block=geometry.block), kernel, *arguments)


class BandKernels:
    """The launches for the batches of one band: what they have in common is worked out once."""

    def __init__(
        self,
        kernels: PixelKernels,
        spec: NetworkSpec,
        *,
        dtype: np.dtype[Any],
        element: np.dtype[Any],
        tile: tuple[int, int],
        jobs: NDArray[np.void],
        batch: int,
        source: tuple[int, tuple[int, int, int]],
        canvas: tuple[int, tuple[int, int, int]],
        table: int,
        not_finite: int,
    ) -> None:
        """
        source, canvas: address and shape (H, W, C) of the picture and the canvas on the GPU, levels of `dtype`.
        jobs: the table, which lies on the GPU at `table`; not_finite: address of as many uint32.
        tile: height and width; batch: tiles in each launch; element: of the network's tensors.
        """
        self._kernels = kernels
        height, width = tile
        levels = float(np.iinfo(dtype).max)
        (low, high), (out_low, out_high) = spec.input_range, spec.output_range
        out_scale = levels / (out_high - out_low)
        self._pack = kernel_name("pack", dtype, element)
        self._pack_geometry = pack_launch(height, width, count=batch)
        self._pack_head = (source[0], *map(np.int32, source[1]), table)
        self._pack_tail = (*map(np.int32, tile), np.float32((high - low) / levels), np.float32(low))
        grid = spec.scale // spec.shuffle
        tensor = (height * grid, width * grid)
        self._unpack = kernel_name("unpack", element, dtype)
        self._unpack_geometry = unpack_launch(
            *tensor,
            out_height=int(jobs["out_height"].max()),
            shuffle=spec.shuffle,
            channels=canvas[1][2],
            count=batch,
        )
        self._unpack_head = (*map(np.int32, tensor), np.int32(spec.shuffle), table)
        self._unpack_tail = (
            canvas[0],
            *map(np.int32, canvas[1]),
            np.float32(out_scale),
            np.float32(-out_low * out_scale),
            not_finite,
        )

    def pack(self, stream: Any, first: int, tensor: int) -> None:
        """Windows of jobs `first` and following -> the network's input at address `tensor`."""
        arguments = (*self._pack_head, np.int32(first), tensor, *self._pack_tail)
        self._kernels.launch(stream, self._pack, self._pack_geometry, *arguments)

    def unpack(self, stream: Any, first: int, tensor: int) -> None:
        """The network's output at address `tensor` -> the canvas, by jobs `first` and following."""
        arguments = (tensor, *self._unpack_head, np.int32(first), *self._unpack_tail)
        self._kernels.launch(stream, self._unpack, self._unpack_geometry, *arguments)
