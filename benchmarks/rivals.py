"""The ways to run one generator on one picture, all of the same kind: uint8 (H, W, 3) in, uint8 (4H, 4W, 3) out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from generators import Generator, Range
from numpy.typing import NDArray

from srgan_trt import Upscaler, load_plan

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

    from srgan_trt.compiler.plan import Plan

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]

KERAS = "Keras predict"
OPENVINO_BF16 = "OpenVINO bf16, unmodified export"


class Rival(Protocol):
    def __call__(self, image: Image) -> Image: ...


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


@dataclass
class KerasPredict:
    """As SuperResolution-GANs 0.0.3 does it: normalise, a batch of one, `model.predict`, back to levels."""

    generator: Generator

    def __call__(self, image: Image) -> Image:
        batch = np.expand_dims(to_network(image, self.generator.input_range), 0)
        return to_levels(self.generator.model.predict(batch, verbose=0)[0], self.generator.output_range)


@dataclass
class KerasPredictOnBatch:
    """The same without the data pipeline that `predict` sets up around each call."""

    generator: Generator

    def __call__(self, image: Image) -> Image:
        batch = np.expand_dims(to_network(image, self.generator.input_range), 0)
        return to_levels(self.generator.model.predict_on_batch(batch)[0], self.generator.output_range)


class _Exported:
    """A rival that takes the ONNX export: planes in, planes out."""

    def __init__(self, generator: Generator) -> None:
        self._ranges = generator.input_range, generator.output_range

    def __call__(self, image: Image) -> Image:
        planes = np.ascontiguousarray(to_network(image, self._ranges[0]).transpose(2, 0, 1)[None])
        levels = to_levels(self._infer(planes)[0], self._ranges[1])
        return np.ascontiguousarray(levels.transpose(1, 2, 0))

    def _infer(self, planes: Floats) -> Floats:
        raise NotImplementedError


class OnnxRuntime(_Exported):
    def __init__(self, generator: Generator, export: onnx.ModelProto) -> None:
        import onnxruntime

        super().__init__(generator)
        self._session = onnxruntime.InferenceSession(export.SerializeToString(), providers=["CPUExecutionProvider"])

    def _infer(self, planes: Floats) -> Floats:
        result: Floats = self._session.run(None, {"input": planes})[0]
        return result


class OpenVino(_Exported):
    def __init__(self, generator: Generator, export: onnx.ModelProto, *, precision: str) -> None:
        super().__init__(generator)
        self._network = compiled(export.SerializeToString(), precision)

    def _infer(self, planes: Floats) -> Floats:
        result: Floats = self._network(planes)[0]
        return result


class Ours:
    """srgan-trt, all defaults but the precision."""

    def __init__(self, plan: Plan, *, precision: str) -> None:
        self._upscaler = Upscaler(plan, precision=precision)

    def __call__(self, image: Image) -> Image:
        result: Image = self._upscaler(image)
        return result


def compiled(network: bytes | Path, precision: str) -> Any:
    """An OpenVINO network on all cores, for one picture at a time."""
    import openvino

    core = openvino.Core()
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision]}
    return core.compile_model(core.read_model(network), "CPU", settings)


def has_bf16() -> bool:
    """True if this CPU computes in bfloat16."""
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@dataclass(frozen=True)
class Entrant:
    """A rival that is opened only while it is measured: all of them at once would not fit into memory."""

    name: str
    precision: str
    open: Callable[[], Rival]


def all_entrants(generator: Generator, plan_file: Path, *, height: int, width: int) -> list[Entrant]:
    """Keras first (its picture is the reference), ours last; bf16 only where the CPU has it."""
    from srgan_trt.models.opening import open_network

    @cache
    def export() -> onnx.ModelProto:
        return open_network(generator.file).export(height, width)

    plan = load_plan(plan_file)
    precisions = ("fp32", "bf16") if has_bf16() else ("fp32",)
    entrants = [
        Entrant(KERAS, "fp32", lambda: KerasPredict(generator)),
        Entrant("Keras predict_on_batch", "fp32", lambda: KerasPredictOnBatch(generator)),
        Entrant("onnxruntime fp32, unmodified export", "fp32", lambda: OnnxRuntime(generator, export())),
    ]
    for precision in precisions:
        name = OPENVINO_BF16 if precision == "bf16" else f"OpenVINO {precision}, unmodified export"
        entrants.append(
            Entrant(name, precision, lambda precision=precision: OpenVino(generator, export(), precision=precision))
        )
    for precision in precisions:
        entrants.append(Entrant(f"srgan-trt {precision}", precision, partial(Ours, plan, precision=precision)))
    return entrants
