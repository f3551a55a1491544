"""What TensorRT-RTX makes of networks: kernels by kind and bytes per pixel, and the times to be expected of them.

    python -m benchmarks.layer_lists srgan-photo-x4 srgan-x4 [--out lists.json]

No GPU is needed, and nothing is measured: a kernel takes as long as its operations take at 60 % of the peak of
accelerators.py (40 % where it has 32 channels or fewer, which fill no tensor core's tile), or its bytes at 85 % of the
memory's bandwidth, whichever is longer. TensorRT-RTX knows no Hopper: an H100 is reckoned with an RTX 4090's list.
SRVGG, of the same kind, reaches 46 % of an RTX 4090's peak (vs-mlrt, v15.4).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
from peaks import ACCELERATORS, Accelerator

from srgan_trt.compiler import graph
from srgan_trt.compiler.plan import Plan
from srgan_trt.compiler.precision import to_fp16
from srgan_trt.compiler.slopes import single_network
from srgan_trt.resolve import open_plan
from srgan_trt.runtime.gpu.interfaces import EngineSettings
from srgan_trt.runtime.tensorrt.build import build_engine
from srgan_trt.runtime.tensorrt.grid import pixel_grid
from srgan_trt.runtime.tensorrt.layers import BuiltLayer
from srgan_trt.spec import Prelu

GPUS = (75, 86, 89, 120)
SIZES = {"480x320": 480 * 320, "1920x1080": 1920 * 1080}
_SIDE = 128
_BUSY, _BUSY_NARROW, _MEMORY = 0.6, 0.4, 0.85
_NARROW = 32


@dataclass(frozen=True, slots=True)
class LayerList:
    """An engine's kernels, and what its convolutions have to do."""

    layers: tuple[BuiltLayer, ...]
    work: dict[str, tuple[float, int]]
    """By name of a convolution: operations for each pixel of the picture, and its channels."""

    @property
    def kernels(self) -> list[BuiltLayer]:
        return [layer for layer in self.layers if layer.is_kernel]

    @property
    def others(self) -> int:
        """Kernels that are not convolutions."""
        return sum(layer.filters is None for layer in self.kernels)

    @property
    def pixel_bytes(self) -> float:
        return sum(layer.pixel_bytes or 0.0 for layer in self.kernels)

    def milliseconds(self, gpu: Accelerator, pixels: int) -> float:
        """Expected, not measured, for pictures of that many pixels in one piece."""
        total = 0.0
        for layer in self.kernels:
            found = [self.work[name] for name in layer.made_of if name in self.work]
            narrow = min((channels for _, channels in found), default=0) <= _NARROW
            rate = gpu.fp16_tflops * 1e12 * (_BUSY_NARROW if narrow else _BUSY)
            moved = (layer.pixel_bytes or 0.0) / (gpu.bandwidth * 1e9 * _MEMORY)
            total += max(sum(operations for operations, _ in found) / rate, moved)
        return total * pixels * 1e3

    def row(self) -> dict[str, Any]:
        return {
            "kernels": dict(Counter(layer.kind for layer in self.kernels)),
            "no convolutions": self.others,
            "types": dict(Counter(f"{layer.reads}->{layer.gives}" for layer in self.kernels)),
            "formats": dict(Counter(layer.format for layer in self.kernels)),
            "bytes per pixel": round(self.pixel_bytes),
        }


def layer_list(plan: Plan, precision: str, architecture: int, prelu: Prelu = "inside") -> LayerList:
    """Of an engine in "fp32" or "fp16", without the search for layers that float16 does not do for, which takes long:
    tests/tensorrt/test_networks.py has it.

    architecture: 89 for compute capability 8.9.
    """
    model = single_network(plan, prelu)
    if precision == "fp16":
        graph.infer_shapes(model)
        to_fp16(model, io_type=ir.DataType.FLOAT16)
    network = graph.to_proto(model)
    side = -(-_SIDE // plan.spec.multiple) * plan.spec.multiple
    settings = EngineSettings(
        precision=precision,
        tile=plan.spec.fixed_shape or (side, side),
        batch=4,
        compute_capability=divmod(architecture, 10),
    )
    built = build_engine(network.SerializeToString(), settings, multiple=plan.spec.multiple)
    return LayerList(built.layers, convolution_work(network, multiple=plan.spec.multiple))


def convolution_work(network: onnx.ModelProto, *, multiple: int) -> dict[str, tuple[float, int]]:
    """By name of a convolution as TensorRT has it: operations for each pixel of the picture, and its channels."""
    grid = pixel_grid(network, multiple=multiple)
    shapes = {tensor.name: tuple(tensor.dims) for tensor in network.graph.initializer}
    found = {}
    for index, node in enumerate(network.graph.node):
        name = node.name or f"{node.op_type}_{index}"
        if node.op_type in ("Conv", "ConvTranspose") and name in grid and node.input[1] in shapes:
            shape = shapes[node.input[1]]
            strides = next((each.ints for each in node.attribute if each.name == "strides"), (1, 1))
            # A transposed convolution multiplies at the pixels that it reads.
            area = grid[name] / (strides[0] * strides[1] if node.op_type == "ConvTranspose" else 1)
            found[name] = (2.0 * shape[0] * shape[1] * shape[2] * shape[3] * area, min(shape[:2]))
    return found


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="names or plans")
    parser.add_argument("--out", type=Path, help="write the lists there, as JSON")
    options = parser.parse_args(arguments)
    gpus = [gpu for gpu in ACCELERATORS if gpu.name in ("RTX 4090", "H100")]
    answer: dict[str, Any] = {}
    for model in options.models:
        plan = open_plan(model)
        for precision in ("fp16", "fp32"):
            for architecture in GPUS:
                for prelu in ("apart", "inside"):
                    found = layer_list(plan, precision, architecture, prelu)
                    key = f"{plan.spec.name} {precision} {architecture} PReLU {prelu}"
                    answer[key] = found.row()
                    print(key, json.dumps(answer[key]), flush=True)
                    if (precision, architecture) == ("fp16", 89):
                        times = {
                            f"{gpu.name} {size}": round(found.milliseconds(gpu, pixels), 2)
                            for gpu in gpus
                            for size, pixels in SIZES.items()
                        }
                        answer[f"{key} expected ms"] = times
                        print(f"  expected ms: {times}", flush=True)
    if options.out is not None:
        options.out.write_text(json.dumps(answer, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
