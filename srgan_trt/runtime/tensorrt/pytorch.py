"""Engines by PyTorch: no build, any shape, any NVIDIA GPU that PyTorch knows, sums in float32.

For machines without TensorRT, and an honest rival where it is. The network's tensors are the pipeline's own memory, on
the pipeline's own streams; what lies between them comes from a PyTorch pool of each context, so that a CUDA graph keeps
what it refers to.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import DeviceError, DeviceMemoryError, missing
from .from_plan import network_of

if TYPE_CHECKING:
    from ...compiler.plan import Plan
    from ...spec import Prelu
    from ..gpu.device import Gpu
    from ..gpu.interfaces import EngineSettings

_SMALL = 256
"""Bytes of scratch memory that a context says it takes: it uses none."""
_SETTINGS = threading.Lock()
"""Of PyTorch's settings, which are the whole process's."""


class TorchSource:
    """An `EngineSource` of one plan."""

    largest_tile = None

    def __init__(self, plan: Plan) -> None:
        """Raises MissingPackageError without PyTorch."""
        self._plan, self.name = plan, f"PyTorch {_torch().__version__}"

    def prelus(self, precision: str) -> tuple[Prelu, ...]:
        """See EngineSource."""
        return ("apart",)

    def open(self, settings: EngineSettings, gpu: Gpu) -> TorchEngine:
        """See EngineSource. Raises DeviceError for int8, or if PyTorch does not run on `gpu` or has no such node."""
        import onnx

        if settings.precision == "int8":
            raise DeviceError("PyTorch computes in fp16 and fp32 here, not in int8: use the plan in fp32")
        torch = _torch()
        if not torch.cuda.is_available():
            raise DeviceError(f"{self.name} was built without CUDA or finds no GPU: install one for CUDA")
        network, _ = network_of(self._plan, settings.precision, prelu="apart")
        return TorchEngine(
            TorchNetwork(onnx.ModelProto.FromString(network), f"cuda:{gpu.number}"), settings, self._plan
        )


class TorchNetwork:
    """An ONNX network, node by node, on maps that are channels last."""

    def __init__(self, model: Any, device: str) -> None:
        """Raises DeviceError for a node that is not known here."""
        from onnx import helper, numpy_helper

        torch = _torch()
        self.source, self.result = model.graph.input[0].name, model.graph.output[0].name
        self._constants: dict[str, Any] = {}
        for tensor in model.graph.initializer:
            value = torch.from_numpy(numpy_helper.to_array(tensor).copy()).to(device)
            if value.ndim == 4:
                value = value.contiguous(memory_format=torch.channels_last)
            self._constants[tensor.name] = value
        self._steps: list[tuple[Callable[..., Any], list[str], str]] = []
        for node in model.graph.node:
            if node.op_type not in _OPERATIONS:
                raise DeviceError(f"PyTorch has no {node.op_type} here ({node.name}): use TensorRT or --device cpu")
            told = SimpleNamespace(**{each.name: helper.get_attribute_value(each) for each in node.attribute})
            self._steps.append((_OPERATIONS[node.op_type](torch, told), list(node.input), node.output[0]))

    def __call__(self, batch: Any) -> Any:
        """(N, 3, h, w) in, (N, C, H, W) out, both of the network's own type."""
        values = self._constants | {self.source: batch.contiguous(memory_format=_torch().channels_last)}
        for step, names, given in self._steps:
            values[given] = step(*(values[name] if name else None for name in names))
        return values[self.result]


class TorchEngine:
    """See Engine."""

    device_bytes = _SMALL

    def __init__(self, network: TorchNetwork, settings: EngineSettings, plan: Plan) -> None:
        self.settings, self.network, self._spec = settings, network, plan.spec
        self.element: np.dtype[Any] = np.dtype(np.float32 if settings.precision == "fp32" else np.float16)

    def create_execution_context(self) -> TorchContext:
        return TorchContext(self)

    def close(self) -> None:
        """PyTorch frees all with the last reference."""

    def given(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The shape of "output" for that of "input"."""
        count, _, height, width = shape
        grid = self._spec.scale // self._spec.shuffle
        return (count, 3 * self._spec.shuffle**2, height * grid, width * grid)


class TorchContext:
    """What the pipeline calls of TensorRT's IExecutionContext."""

    def __init__(self, engine: TorchEngine) -> None:
        self._engine, self._addresses = engine, dict[str, int]()
        self._shape: tuple[int, ...] | None = None
        self._pool = _torch().cuda.MemPool()

    def set_input_shape(self, name: str, shape: Sequence[int]) -> bool:
        self._shape = tuple(shape)
        return name == "input"

    def update_device_memory_size_for_shapes(self) -> int:
        return _SMALL

    def set_device_memory(self, address: int, size: int) -> None:
        """Is not used."""

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        return name in ("input", "output")

    def execute_async_v3(self, stream_handle: int) -> bool:
        torch = _torch()
        if self._shape is None or len(self._addresses) < 2:
            return False
        shapes = {"input": self._shape, "output": self._engine.given(self._shape)}
        stream = torch.cuda.ExternalStream(stream_handle)
        try:
            with exact(), torch.inference_mode(), torch.cuda.stream(stream), torch.cuda.use_mem_pool(self._pool):
                tensors = {
                    name: _lent(self._addresses[name], shape, self._engine.element) for name, shape in shapes.items()
                }
                tensors["output"].copy_(self._engine.network(tensors["input"]))
        except torch.OutOfMemoryError as error:
            raise DeviceMemoryError("the GPU has no memory left for PyTorch: use a smaller tile or batch") from error
        return True


@contextmanager
def exact() -> Iterator[None]:
    """Inside, PyTorch's convolutions are by the same algorithm each time, and those in float32 in all of float32 (no
    TF32). One thread at a time, since the settings are the process's; they are as they were afterwards."""
    cudnn = _torch().backends.cudnn
    wanted = ((cudnn, "benchmark", False), (cudnn, "deterministic", True), (cudnn.conv, "fp32_precision", "ieee"))
    with _SETTINGS:
        before = [getattr(holder, name) for holder, name, _ in wanted]
        try:
            for holder, name, value in wanted:
                setattr(holder, name, value)
            yield
        finally:
            for (holder, name, _), value in zip(wanted, before, strict=True):
                setattr(holder, name, value)


def _lent(address: int, shape: tuple[int, ...], element: np.dtype[Any]) -> Any:
    """The pipeline's memory as a tensor."""
    facts = {"data": (address, False), "shape": shape, "typestr": element.str, "strides": None, "version": 3}
    return _torch().as_tensor(SimpleNamespace(__cuda_array_interface__=facts), device="cuda")


def _torch() -> Any:
    try:
        import torch
    except ModuleNotFoundError:
        raise missing("torch", "torch", "run networks by PyTorch") from None
    return torch


def _conv(torch: Any, told: Any) -> Callable[..., Any]:
    functional, (top, left, bottom, right) = torch.nn.functional, getattr(told, "pads", (0, 0, 0, 0))
    options = {
        "stride": list(getattr(told, "strides", (1, 1))),
        "dilation": list(getattr(told, "dilations", (1, 1))),
        "groups": getattr(told, "group", 1),
    }
    even = (top, left) == (bottom, right)

    def apply(x: Any, weight: Any, bias: Any = None) -> Any:
        moved = x if even else functional.pad(x, (left, right, top, bottom))
        return functional.conv2d(moved, weight, bias, padding=[top, left] if even else [0, 0], **options)

    return apply


def _transposed(torch: Any, told: Any) -> Callable[..., Any]:
    top, left, bottom, right = getattr(told, "pads", (0, 0, 0, 0))
    more = getattr(told, "output_padding", (0, 0))

    def apply(x: Any, weight: Any, bias: Any = None) -> Any:
        wide = torch.nn.functional.conv_transpose2d(
            x, weight, bias, stride=list(told.strides), groups=getattr(told, "group", 1), output_padding=list(more)
        )
        return wide[:, :, top : wide.shape[2] - bottom, left : wide.shape[3] - right]

    return apply


def _shuffle(torch: Any, told: Any) -> Callable[..., Any]:
    block = told.blocksize

    def apply(x: Any) -> Any:
        if getattr(told, "mode", b"DCR") == b"CRD":
            return torch.nn.functional.pixel_shuffle(x, block)
        count, channels, height, width = x.shape
        parts = x.reshape(count, block, block, channels // block**2, height, width).permute(0, 3, 4, 1, 5, 2)
        made = parts.reshape(count, channels // block**2, height * block, width * block)
        return made.contiguous(memory_format=torch.channels_last)

    return apply


def _cast(torch: Any, told: Any) -> Callable[..., Any]:
    kinds = {1: torch.float32, 10: torch.float16, 6: torch.int32, 7: torch.int64}
    return lambda x: x.to(kinds[told.to])


def _resize(torch: Any, told: Any) -> Callable[..., Any]:
    if getattr(told, "mode", b"nearest") != b"nearest":
        raise DeviceError("PyTorch enlarges by repetition only here: use TensorRT or --device cpu")

    def apply(x: Any, roi: Any, scales: Any, sizes: Any = None) -> Any:
        sides = [int(side) for side in sizes[2:]] if sizes is not None else None
        factors = None if sides is not None else [float(factor) for factor in scales[2:]]
        return torch.nn.functional.interpolate(x, size=sides, scale_factor=factors, mode="nearest")

    return apply


_OPERATIONS: Mapping[str, Callable[[Any, Any], Callable[..., Any]]] = {
    "Conv": _conv,
    "ConvTranspose": _transposed,
    "DepthToSpace": _shuffle,
    "Resize": _resize,
    "Cast": _cast,
    "PRelu": lambda torch, told: lambda x, slope: torch.nn.functional.prelu(x, slope.reshape(-1)),
    "LeakyRelu": lambda torch, told: lambda x: torch.nn.functional.leaky_relu(x, getattr(told, "alpha", 0.01)),
    "Relu": lambda torch, told: torch.relu,
    "Tanh": lambda torch, told: torch.tanh,
    "Sigmoid": lambda torch, told: torch.sigmoid,
    "Clip": lambda torch, told: lambda x, low=None, high=None: torch.clamp(x, low, high),
    "Concat": lambda torch, told: lambda *parts: torch.cat(parts, told.axis),
    "Add": lambda torch, told: torch.add,
    "Sub": lambda torch, told: torch.sub,
    "Mul": lambda torch, told: torch.mul,
    "Div": lambda torch, told: torch.div,
}
"""By ONNX's operator: makes the function of (PyTorch, attributes)."""
