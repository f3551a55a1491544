"""Speed against quality: every model in every precision that this machine has, and bicubic; one table, one plot.

    python benchmarks/quality.py [--model NAME ...] [--plans FOLDER] [--rounds N] [--json FILE]

PSNR is the field's (luma, 4 pixels cut off) on Set5 (pictures.py says where it is looked for); speed is of a 480x320
photo, whole calls, in interleaved rounds.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import machine
import numpy as np
from baselines import has_bf16
from pictures import SHARED, truths
from PIL import Image
from timing import interleaved, summary

from srgan_trt import Upscaler, load_plan
from srgan_trt.compiler.conversion import convert_plan
from srgan_trt.errors import ModelError
from srgan_trt.quality.bicubic import enlarge, shrink
from srgan_trt.quality.metrics import psnr
from srgan_trt.resolve import open_plan

_ROOT = Path(__file__).resolve().parents[1]
_MODELS = ("srgan-photo-x4", "srresnet-photo-x4", "srgan-x4", "srresnet-x4")
_SCALE = 4


def entrants(model: str, folder: Path) -> dict[str, tuple[Path, str | None]]:
    """Plan file and precision by name: fp32, bf16 where the CPU has it, int8 where the gate lets it pass."""
    plan = open_plan(model)
    found: dict[str, tuple[Path, str | None]] = {f"{model} fp32": (plan.path, "fp32")}
    if has_bf16():
        found[f"{model} bf16"] = (plan.path, "bf16")
    narrow = folder / f"{model}.int8.plan.onnx"
    if not narrow.exists():
        print(f"  quantising {model} ...", file=sys.stderr, flush=True)
        try:
            convert_plan(load_plan(plan.path), narrow, precision="int8")
        except ModelError as error:
            print(f"{model} int8 is left out: {error}", file=sys.stderr)
            return found
    return found | {f"{model} int8": (narrow, None)}


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.6), layout="constrained")
    axes = figure.subplots()
    bf16 = any(row["name"].endswith(" bf16") for row in rows)
    for row in rows:
        precision = row["name"].split()[-1]
        marker, color = {"fp32": ("o", "C0"), "bf16": ("s", "C1"), "int8": ("^", "C2")}.get(precision, ("x", "k"))
        axes.plot(row["megapixels_a_second"], row["psnr_db"], marker, color=color)
        # The precisions of a model are side by side: every other name goes below.
        above = (4, -11) if precision == ("bf16" if bf16 else "int8") else (4, 4)
        axes.annotate(row["name"], (row["megapixels_a_second"], row["psnr_db"]), above, fontsize=7,
                      textcoords="offset points")  # fmt: skip
    axes.set(xscale="log", xlabel="output megapixels a second", ylabel="PSNR on Set5, dB")
    axes.margins(x=0.15)
    axes.grid(alpha=0.3, which="both")
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", help=f"default: {', '.join(_MODELS)}")
    parser.add_argument("--plans", type=Path, metavar="FOLDER", help="where int8 plans are kept (default: made anew)")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, default=_ROOT / "benchmarks" / "results" / "latest-quality.json")
    options = parser.parse_args()
    originals = truths("Set5", scale=_SCALE)
    if not originals:
        print(f"no pictures under {SHARED}: set SRGAN_TRT_SHARED", file=sys.stderr)
        sys.exit(2)
    small = [shrink(truth, _SCALE) for truth in originals]
    found: dict[str, Any] = {"machine": machine.facts(), "rows": []}
    print(machine.describe(found["machine"]), end="\n\n", flush=True)
    with Image.open(_ROOT / "examples" / "coffee.jpg") as opened:
        photo = np.asarray(opened.convert("RGB").crop((0, 0, 480, 320)))

    def row(name: str, scores: list[float], seconds: list[float]) -> None:
        rate = photo.shape[0] * photo.shape[1] * _SCALE**2 / 1e6 / float(np.median(seconds))
        found["rows"].append({"name": name, "psnr_db": round(float(np.mean(scores)), 3),
                              "megapixels_a_second": round(rate, 3), **summary(seconds)})  # fmt: skip
        print(f"| {name} | {np.mean(scores):.2f} | {np.median(seconds) * 1e3:,.0f} | {rate:.2f} |", flush=True)

    print("| | PSNR on Set5, dB | ms for 480x320 | output megapixels/s |\n|---|---:|---:|---:|")
    scores = [psnr(truth, enlarge(low, _SCALE), border=_SCALE) for truth, low in zip(originals, small, strict=True)]
    row("bicubic", scores, interleaved([lambda: enlarge(photo, _SCALE)], rounds=options.rounds, budget=60)[0])
    with tempfile.TemporaryDirectory(prefix="srgan-trt-bench-") as name:
        folder = options.plans or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        for model in options.model or _MODELS:
            ups = {name: Upscaler(path, precision=how) for name, (path, how) in entrants(model, folder).items()}
            for up in ups.values():
                up(photo)
            jobs = [partial(up, photo) for up in ups.values()]
            times = interleaved(jobs, rounds=options.rounds, budget=120)
            for (name, up), seconds in zip(ups.items(), times, strict=True):
                scores = [psnr(truth, up(low), border=_SCALE) for truth, low in zip(originals, small, strict=True)]
                row(name, scores, seconds)
                up.close()
    options.json.write_text(json.dumps(found, indent=1) + "\n")
    plot(found["rows"], options.json.with_suffix(".png"))


if __name__ == "__main__":
    main()
