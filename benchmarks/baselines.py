"""The ways to run one generator on one picture, all of the same kind: uint8 (H, W, 3) in, uint8 (4H, 4W, 3) out.

`all_entrants` lists those that this machine can run; `absent` names the others, each with the reason.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from srgan_trt import Upscaler
from srgan_trt.runtime.devices import nvidia_gpus

if TYPE_CHECKING:
    from pathlib import Path

    import onnx
    from generators import Generator, Range

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]

KERAS = "Keras predict"
OPENVINO_BF16 = "OpenVINO bf16, unmodified export"


class Rival(Protocol):
    def __call__(self, image: Image) -> Image: ...


@dataclass(frozen=True)
class Plans:
    """Our plans of one generator."""

    fp32: Path
    int8: Path | None = None
    refused: str = ""
    """Why there is none in int8."""


@dataclass(frozen=True)
class Entrant:
    """A rival that is opened only while it is measured: all of them at once would not fit into memory."""

    name: str
    precision: str
    open: Callable[[], Rival]
    packages: tuple[str, ...] = field(default=())
    """Modules without which it cannot be opened."""
    tensorflow: bool = False
    """Whether it imports TensorFlow."""
    gpu: bool = False
    """Whether it runs on an NVIDIA GPU."""
    cpu_has: bool = True
    """False where the CPU lacks its arithmetic."""

    def missing(self) -> str:
        """Why it cannot run here; empty if it can."""
        if not self.cpu_has:
            return f"this CPU has no {self.precision}"
        if self.gpu and not nvidia_gpus():
            return "no NVIDIA GPU here"
        absent = [name for name in self.packages if importlib.util.find_spec(name) is None]
        return f"not installed: {', '.join(absent)}" if absent else ""


def to_network(image: Image, values: Range) -> Floats:
    """Levels to the network's values, same shape."""
    low, high = values
    result = image.astype(np.float32)
    result *= (high - low) / 255
    result += low
    return result


def to_levels(values: Floats, of: Range) -> Image:
    """The network's values to levels, same shape; clipped and rounded."""
    low, high = of
    result = values - np.float32(low)
    result *= 255 / (high - low)
    np.clip(result, 0, 255, out=result)
    np.rint(result, out=result)
    return result.astype(np.uint8)


class Ours:
    """srgan-trt, all defaults but the precision."""

    def __init__(self, plan: Path, *, precision: str | None, device: str = "cpu") -> None:
        self._upscaler = Upscaler(plan, precision=precision, device=device)

    def __call__(self, image: Image) -> Image:
        result: Image = self._upscaler(image)
        return result


@cache
def has_bf16() -> bool:
    """True if this CPU computes in bfloat16."""
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def all_entrants(generator: Generator, plans: Plans, *, height: int, width: int) -> list[Entrant]:
    """Those that can run here: Keras first (its picture is the reference), ours last, our fastest kind at the end."""
    return [each for each in _listed(generator, plans, height=height, width=width) if not each.missing()]


def absent(generator: Generator, plans: Plans) -> dict[str, str]:
    """Those that cannot run here, each with the reason."""
    found = {each.name: each.missing() for each in _listed(generator, plans, height=64, width=64) if each.missing()}
    return found | ({"srgan-trt int8": plans.refused} if plans.int8 is None and plans.refused else {})


def _listed(generator: Generator, plans: Plans, *, height: int, width: int) -> list[Entrant]:
    import exported_baselines as exported
    import keras_baselines as keras
    import torch_baselines as torch

    def export() -> onnx.ModelProto:
        return generator.export(height, width)

    def openvino(precision: str) -> Rival:
        return exported.OpenVino(generator, export(), precision=precision)

    def onnxruntime(provider: str) -> Rival:
        return exported.OnnxRuntime(generator, export(), provider=provider)

    def pytorch(**options: Any) -> Rival:
        return torch.PyTorch(generator, export(), **options)

    entrants = [
        Entrant(KERAS, "fp32", lambda: keras.Predict(generator), tensorflow=True),
        Entrant("Keras predict_on_batch", "fp32", lambda: keras.PredictOnBatch(generator), tensorflow=True),
        Entrant("TensorFlow function with XLA", "fp32", lambda: keras.Xla(generator), tensorflow=True),
        Entrant("onnxruntime fp32, unmodified export", "fp32", lambda: exported.OnnxRuntime(generator, export())),
        Entrant("OpenVINO fp32, unmodified export", "fp32", lambda: openvino("fp32")),
        Entrant(OPENVINO_BF16, "bf16", lambda: openvino("bf16"), cpu_has=has_bf16()),
        Entrant(
            "OpenVINO int8 by NNCF, unmodified export",
            "int8",
            lambda: exported.OpenVinoByNncf(generator, height=height, width=width),
            ("nncf",),
        ),
        Entrant("PyTorch, eager", "fp32", pytorch, ("torch",)),
        Entrant("PyTorch, compiled", "fp32", lambda: pytorch(compiled=True), ("torch",)),
        Entrant("PyTorch, eager in bf16", "bf16", lambda: pytorch(bf16=True), ("torch",), cpu_has=has_bf16()),
        Entrant("ncnn", "fp16", lambda: exported.Ncnn(generator, export()), ("ncnn", "pnnx")),
    ]
    for provider, name in (("CUDAExecutionProvider", "CUDA"), ("TensorrtExecutionProvider", "TensorRT")):
        entrants.append(
            Entrant(
                f"onnxruntime, {name} provider",
                "fp32",
                partial(onnxruntime, provider),
                gpu=True,
            )
        )
    entrants.append(
        Entrant(
            "TensorRT fp16, unmodified export",
            "fp16",
            lambda: exported.TensorRt(generator, export(), plans.fp32),
            gpu=True,
        )
    )
    entrants.append(
        Entrant("srgan-trt fp16 on the GPU", "fp16", partial(Ours, plans.fp32, precision=None, device="cuda"), gpu=True)
    )
    entrants.append(Entrant("srgan-trt fp32", "fp32", partial(Ours, plans.fp32, precision="fp32")))
    entrants.append(Entrant("srgan-trt bf16", "bf16", partial(Ours, plans.fp32, precision="bf16"), cpu_has=has_bf16()))
    if plans.int8 is not None:
        entrants.append(Entrant("srgan-trt int8", "int8", partial(Ours, plans.int8, precision=None)))
    return entrants
