"""Where a plan's time goes on the CPU: OpenVINO's own clock, layer by layer, against the rate that it could have.

    python benchmarks/layer_profile.py [--model NAME] [--precision fp32|bf16] [--size WIDTHxHEIGHT] [--rounds N]
                                       [--json FILE]

Rates are multiply-accumulates a second; `of the rate` compares with the best 3x3 convolutions of the layer's precision,
measured in the same run (limits.py). The last lines are what the practical limit loses, and to what.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import machine
import numpy as np
import openvino
import peak_rate
from baselines import has_bf16
from formatting import shown

from srgan_trt.resolve import open_plan

_ROOT = Path(__file__).resolve().parents[1]


def profile(file: Path, *, precision: str, height: int, width: int, rounds: int) -> list[dict[str, Any]]:
    """Layers as executed, in order: name, kind, kernel, shape, median milliseconds, multiply-accumulates."""
    core = openvino.Core()
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
        "PERF_COUNT": True,
    }
    compiled = core.compile_model(str(file), "CPU", settings)
    request = compiled.create_infer_request()
    batch = np.random.default_rng(0).uniform(0, 1, (1, 3, height, width)).astype(np.float32)
    request.infer([batch])
    times: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        request.infer([batch])
        for each in request.profiling_info:
            times[each.node_name].append(each.real_time.total_seconds() * 1e3)
    macs = _macs(file)
    rows = []
    for operation in compiled.get_runtime_model().get_ordered_ops():
        facts = {key: value.astype(str) for key, value in operation.get_rt_info().items()}
        name = operation.get_friendly_name()
        if name not in times or facts["layerType"] in ("Input", "Output", "Const", "Constant"):
            continue
        # "conv/BiasAdd/WithoutBiases,relu": a convolution loses its bias to the layer that takes it up
        parts = facts.get("originalLayersNames", name).split(",")
        made_of = {part.strip().removesuffix("/WithoutBiases") for part in parts} & macs.keys()
        rows.append(
            {
                "name": name,
                "kind": facts["layerType"],
                "kernel": facts["primitiveType"],
                "shape": str(operation.output(0).get_partial_shape()),
                "ms": float(np.median(times[name])),
                "macs": sum(macs[each] for each in made_of) * height * width,
            }
        )
    return rows


def _macs(file: Path) -> dict[str, float]:
    """Multiply-accumulates per input pixel of each layer that has some, by its name."""
    return {node.name or "": float(layer.macs) for node, layer in peak_rate.layers_of(file).items()}


def precision_of(row: dict[str, Any]) -> str:
    """What the kernel computed in, by its name."""
    kernel = row["kernel"].lower()
    return next((name for ending, name in (("i8", "int8"), ("bf16", "bf16")) if kernel.endswith(ending)), "fp32")


def summed(rows: list[dict[str, Any]], rates: dict[str, float]) -> dict[str, Any]:
    """All layers, the least time of their work, and what takes the rest: slower convolutions, and everything else."""
    total = sum(row["ms"] for row in rows)
    least = sum(row["macs"] / rates[precision_of(row)] * 1e3 for row in rows)
    others = sum(row["ms"] for row in rows if not row["macs"])
    return {
        "total_ms": total,
        "limit_ms": least,
        "share_of_limit": least / total,
        "lost_in_convolutions_ms": total - least - others,
        "lost_in_other_layers_ms": others,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a name, a plan or a model file (default: as upscale's)")
    parser.add_argument("--precision", choices=("fp32", "bf16"), help="of what the plan does not have in int8")
    parser.add_argument("--size", default="128x128", metavar="WxH", help="of the window (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path, default=_ROOT / "benchmarks" / "results" / "latest-profile.json")
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    precision = options.precision or ("bf16" if has_bf16() else "fp32")
    plan = open_plan(options.model)
    facts = machine.facts()
    print(machine.describe(facts), end="\n\n", flush=True)
    every = peak_rate.rates()
    rates = {name: every[chain] for name, chain in peak_rate.fastest(every).items()}
    rows = profile(plan.path, precision=precision, height=height, width=width, rounds=options.rounds)
    found = summed(rows, rates)
    print(f"{plan.spec.name}, {width}x{height}, {plan.spec.precision} plan, the rest in {precision}\n")
    print(
        "| layer | kind | kernel | output | ms | share | GMAC/s | of the rate |\n|---|---|---|---|---:|---:|---:|---:|"
    )
    for row in rows:
        rate = row["macs"] / (row["ms"] / 1e3) if row["macs"] and row["ms"] else 0.0
        cells = [row["name"], row["kind"], row["kernel"], row["shape"].replace(",", " x "), shown(row["ms"])]
        cells += [f"{row['ms'] / found['total_ms']:.1%}", f"{rate / 1e9:.0f}" if rate else ""]
        cells += [f"{rate / rates[precision_of(row)]:.0%}" if rate else ""]
        print(f"| {' | '.join(cells)} |")
    print(
        f"\n{shown(found['total_ms'])} ms, of which {shown(found['limit_ms'])} ({found['share_of_limit']:.0%}) are the "
        f"practical limit, {shown(found['lost_in_convolutions_ms'])} are lost in convolutions below the best rate, "
        f"{shown(found['lost_in_other_layers_ms'])} in other layers"
    )
    content: dict[str, Any] = {"machine": facts, "model": plan.spec.name, "precision": [plan.spec.precision, precision]}
    content |= {"width": width, "height": height, "rates": rates, "layers": rows, **found}
    options.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
