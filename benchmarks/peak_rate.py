"""The practical limit: a network's operations at the rate of OpenVINO's own 3x3 convolutions on this machine.

A network of nothing but such convolutions could not be faster; what ours misses of it are layers with few channels,
activations, borders of tiles, and getting pictures in and out. A machine that others share is not equally fast from
minute to minute: run.py times the fastest chain of each precision again in every round, beside what is held against it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from baselines import has_bf16
from exported_baselines import compiled
from onnx import TensorProto, helper, numpy_helper
from timing import interleaved

from srgan_trt import load_plan
from srgan_trt.compiler import graph
from srgan_trt.compiler.analysis import work

_LAYERS = 4
_CHANNELS = (64, 128, 256)
_SIDES = (64, 128)


@dataclass(frozen=True)
class Chain:
    """Convolutions of 3x3, all of as many channels, on a square map."""

    precision: str
    channels: int
    side: int

    @property
    def name(self) -> str:
        return f"{self.channels} channels, {self.side}x{self.side}"

    @property
    def macs(self) -> float:
        """Multiply-accumulates of one run."""
        return _LAYERS * 9.0 * self.channels**2 * self.side**2

    def open(self) -> Callable[[], Any]:
        """What runs it once."""
        network = _network(self.channels, int8=self.precision == "int8")
        model = compiled(network.SerializeToString(), "fp32" if self.precision == "int8" else self.precision)
        batch = np.random.default_rng(0).normal(0, 1, (1, self.channels, self.side, self.side)).astype(np.float32)
        request = model.create_infer_request()
        return lambda: request.infer([batch], share_inputs=True)


def rates(*, rounds: int = 7) -> dict[Chain, float]:
    """Multiply-accumulates a second of each chain, in every precision that this CPU computes in."""
    found: dict[Chain, float] = {}
    for precision in ("fp32", *(["bf16"] if has_bf16() else []), "int8"):
        chains = [Chain(precision, channels, side) for channels in _CHANNELS for side in _SIDES]
        jobs = [chain.open() for chain in chains]
        for job in jobs:
            job()
        seconds = interleaved(jobs, rounds=rounds, budget=60)
        found |= {chain: chain.macs / float(np.median(taken)) for chain, taken in zip(chains, seconds, strict=True)}
    return found


def fastest(found: dict[Chain, float]) -> dict[str, Chain]:
    """The fastest chain of each precision."""
    return {chain.precision: chain for chain in sorted(found, key=lambda chain: found[chain])}


def measure(plans: dict[str, Path], *, pixels: int, of: dict[str, float]) -> dict[str, Any]:
    """For our entrants by name: least milliseconds of the network as exported and as rewritten, `pixels` input pixels.

    plans: The file that each runs, by its name, which ends with its precision. of: Multiply-accumulates a second of
    each precision.
    """
    found = {}
    for name, file in plans.items():
        precision = name.split()[-1]
        report = load_plan(file).report
        high = "bf16" if precision == "int8" and has_bf16() else "fp32" if precision == "int8" else precision
        levels, floats = _macs(file)
        rewritten = levels / of["int8"] + floats / of[high]
        found[name] = {
            "exported_ms": round(report["macs_before"] / of[precision] * pixels * 1e3, 2),
            "limit_ms": round(rewritten * pixels * 1e3, 2),
            "int8_share": round(levels / (levels + floats), 3),
        }
    return found


def layers_of(file: Path) -> dict[Any, Any]:
    """What each node of a plan that multiplies has to do (`compiler.analysis.work`)."""
    stored = onnx.load(str(file))
    del stored.metadata_props[:]
    model = graph.from_proto(stored)
    graph.infer_shapes(model)
    return dict(work(model))


def _macs(file: Path) -> tuple[float, float]:
    """Multiply-accumulates of a plan per input pixel: in int8, and not."""
    levels = floats = 0.0
    for node, layer in layers_of(file).items():
        weight = node.inputs[1] if len(node.inputs) > 1 else None
        maker = None if weight is None else weight.producer()
        if maker is not None and maker.op_type == "DequantizeLinear":
            levels += float(layer.macs)
        else:
            floats += float(layer.macs)
    return levels, floats


def _network(channels: int, *, int8: bool) -> onnx.ModelProto:
    """Convolutions of 3x3 with ReLU after each; in int8, with levels between them."""
    random = np.random.default_rng(1)
    constants = [
        numpy_helper.from_array(np.array(0.05, np.float32), "scale"),
        numpy_helper.from_array(np.array(0, np.int8), "zero"),
        numpy_helper.from_array(np.full(channels, 0.01, np.float32), "scales"),
        numpy_helper.from_array(np.zeros(channels, np.int8), "zeros"),
    ]
    nodes, value = [], "input"
    for number in range(_LAYERS):
        shape = (channels, channels, 3, 3)
        if int8:
            weight = random.integers(-60, 60, shape).astype(np.int8)
            nodes += [
                helper.make_node("QuantizeLinear", [value, "scale", "zero"], [f"q{number}"]),
                helper.make_node("DequantizeLinear", [f"q{number}", "scale", "zero"], [f"d{number}"]),
                helper.make_node("DequantizeLinear", [f"w{number}", "scales", "zeros"], [f"v{number}"], axis=0),
            ]
            value, filters = f"d{number}", f"v{number}"
        else:
            weight = random.normal(0, 0.05, shape).astype(np.float32)
            filters = f"w{number}"
        constants.append(numpy_helper.from_array(weight, f"w{number}"))
        nodes.append(helper.make_node("Conv", [value, filters], [f"c{number}"], pads=[1] * 4))
        value = "output" if number == _LAYERS - 1 else f"r{number}"
        nodes.append(helper.make_node("Relu", [f"c{number}"], [value]))
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, None, None])
        for name in ("input", "output")
    ]
    body = helper.make_graph(nodes, "chain", ends[:1], ends[1:], constants)
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
