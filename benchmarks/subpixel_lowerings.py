"""Which lowering of the sub-pixel convolution is fastest, on the seed's generator: two enlargements to 256 channels.

    python benchmarks/subpixel_lowerings.py [--rounds N] [--size N ...]

unmodified   the export as it is
phases       one 2x2 convolution per phase, Concat, shuffle
dense        one 3x3 convolution for all phases, zeros included
shifted      one 2x2 convolution for all phases on the map padded by one more, each phase cut out at its own offset
transposed   one 4x4 transposed convolution of stride 2
Each with the tail rewritten where its shuffle allows that; OpenVINO in bf16 and fp32, network only, interleaved.
"""

from __future__ import annotations

import argparse
import functools
import os
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import openvino
from timing import interleaved, summary

from srgan_trt.compiler import graph
from srgan_trt.compiler.analysis import macs_per_pixel, receptive_field
from srgan_trt.compiler.batch_norm import fold_batch_norm
from srgan_trt.compiler.canonicalise import canonicalise
from srgan_trt.compiler.dynamic_shape import make_dynamic
from srgan_trt.compiler.lowerings import LOWERINGS
from srgan_trt.compiler.subpixel import rewrite_subpixel
from srgan_trt.compiler.tail import detach_shuffle, sink_shuffles
from srgan_trt.models.generator import superresolution_gans_generator
from srgan_trt.models.loader import open_network

KINDS = ("unmodified", *LOWERINGS, "chosen")


def network(file: Path, lowering: str) -> Any:
    """The seed's generator with its enlargements in ``lowering``, as a free-size ONNX model."""
    model = graph.from_proto(open_network(file).export(48, 64))
    model.graph.inputs[0].name, model.graph.outputs[0].name = graph.INPUT, graph.OUTPUT
    canonicalise(model)
    assert not make_dynamic(model)
    if lowering != "unmodified":
        fold_batch_norm(model)
        rewrite_subpixel(model, lowering=None if lowering == "chosen" else lowering)  # type: ignore[arg-type]
        sink_shuffles(model)
        detach_shuffle(model, scale=int(receptive_field(model).scale))
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--size", type=int, nargs="+", default=[64, 128])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "seed.keras"
        superresolution_gans_generator().save(file)
        models = {lowering: network(file, lowering) for lowering in KINDS}
    core = openvino.Core()
    print("| size | precision | " + " | ".join(KINDS) + " |")
    print("|---|---|" + "---:|" * len(KINDS))
    print(
        "| MMAC per pixel | | " + " | ".join(f"{macs_per_pixel(model) / 1e6:.2f}" for model in models.values()) + " |"
    )
    for size in arguments.size:
        batch = np.random.default_rng(0).uniform(-1, 1, (1, 3, size, size)).astype(np.float32)
        for precision in ("bf16", "f32"):
            calls = []
            for model in models.values():
                read = core.read_model(graph.to_proto(model).SerializeToString())
                compiled = core.compile_model(read, "CPU", {"INFERENCE_PRECISION_HINT": precision})
                request = compiled.create_infer_request()
                request.infer({0: batch})
                calls.append(functools.partial(request.infer, {0: batch}))
            times = interleaved(calls, rounds=arguments.rounds, budget=120)
            medians = " | ".join(f"{summary(seconds)['median_ms']:.1f}" for seconds in times)
            print(f"| {size}x{size}, ms | {precision} | {medians} |", flush=True)


if __name__ == "__main__":
    main()
