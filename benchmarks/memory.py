"""How much memory a picture takes: peak of a fresh process, against the picture's size.

    python benchmarks/memory.py [--size WIDTHxHEIGHT ...] [--most-rival PIXELS] [--json FILE]

Resident memory (VmHWM) of opening the network and one picture, ours and rivals', on the paper's network; the picture
and its result are in it. A GPU's memory is not measured here: `make gpu-check` reports it. Draws a plot, too.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import machine
import numpy as np
from isolation import in_fresh_process

from srgan_trt import build

_ROOT = Path(__file__).resolve().parents[1]
_SIZES = ("64x64", "240x160", "480x320", "960x640", "1920x1280", "3840x2560")
_MOST_RIVAL = 480 * 320
NAMES = ("srgan-trt fp32", "OpenVINO fp32, unmodified export", "Keras predict")


def peak_bytes(name: str, folder: Path, *, height: int, width: int) -> int:
    """Of a process that opens the network and enlarges one picture of noise; it must be a fresh one."""
    from baselines import Plans, all_entrants
    from generators import GENERATORS

    plans = Plans(folder / "paper.plan.onnx")
    entrants = all_entrants(GENERATORS["paper"](folder), plans, height=height, width=width)
    (entrant,) = (each for each in entrants if each.name == name)
    picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    result = entrant.open()(picture)
    assert result.shape == (4 * height, 4 * width, 3)
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    for name in dict.fromkeys(row["name"] for row in rows):
        points = [(row["width"] * row["height"] / 1e6, row["peak_gb"]) for row in rows if row["name"] == name]
        axes.plot(*zip(*points, strict=True), marker="o", label=name)
    axes.set(xscale="log", yscale="log", xlabel="input, megapixels", ylabel="peak memory of the process, GB")
    axes.set_title("Memory against the size of the picture, the paper's network, x4")
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", action="append", metavar="WxH", help=f"default: {', '.join(_SIZES)}")
    parser.add_argument("--most-rival", type=int, default=_MOST_RIVAL, metavar="PIXELS", help="largest picture that "
                        "rivals get, whose memory grows with it (default: %(default)s)")  # fmt: skip
    parser.add_argument("--json", type=Path, default=_ROOT / "benchmarks" / "results" / "latest-memory.json")
    options = parser.parse_args()
    found: dict[str, Any] = {"machine": machine.facts(), "rows": []}
    print(machine.describe(found["machine"]), end="\n\n", flush=True)
    print(f"| input | {' | '.join(NAMES)} |\n|---|{'---:|' * len(NAMES)}")
    with tempfile.TemporaryDirectory(prefix="srgan-trt-bench-") as name:
        folder = Path(name)
        os.environ["SRGAN_TRT_CACHE"] = str(folder / "cache")
        from generators import GENERATORS

        generator = GENERATORS["paper"](folder)
        build(
            generator.file,
            out=folder / "paper.plan.onnx",
            input_range=generator.input_range,
            output_range=generator.output_range,
        )
        for size in options.size or _SIZES:
            width, height = map(int, size.split("x"))
            cells = []
            for who in NAMES:
                if who != NAMES[0] and width * height > options.most_rival:
                    cells.append("")
                    continue
                generator.export(height, width) if who == NAMES[1] else None
                peak = in_fresh_process(partial(peak_bytes, who, folder, height=height, width=width))
                row = {"name": who, "width": width, "height": height, "peak_gb": round(peak / 1e9, 3)}
                found["rows"].append(row)
                cells.append(f"{row['peak_gb']:.2f} GB")
            print(f"| {size} | {' | '.join(cells)} |", flush=True)
    options.json.write_text(json.dumps(found, indent=1) + "\n")
    plot(found["rows"], options.json.with_suffix(".png"))


if __name__ == "__main__":
    main()
