"""Every rival on the same weights and the same photo in one go: do they agree, and how long does each take?

    python benchmarks/run.py [--only paper|seed] [--size WIDTHxHEIGHT] [--rounds N] [--budget SECONDS] [--json FILE]

Whole calls are timed, uint8 picture in to uint8 picture out, in one process, one after the other, in interleaved
rounds after a warm-up; large pictures in pairs with ours, since all rivals together would not fit into memory. Prints
Markdown and writes JSON with the machine's facts. Exit status 1 if a rival's picture is not that of Keras: fp32 at most
1 level apart (or 60 dB), bf16 at least 45 dB. Close other programs; all of it takes a quarter of an hour on two cores,
most of it Keras's.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import kernel_share
import machine
import numpy as np
import start_up
from generators import GENERATORS, Generator
from groups import measure_group
from PIL import Image, ImageOps
from rivals import KERAS, OPENVINO_BF16, all_entrants, has_bf16
from timing import shown, summary

from srgan_trt import build, load_plan

_ROOT = Path(__file__).resolve().parents[1]
_PHOTO = _ROOT / "examples" / "coffee.jpg"
_SIZES = ((64, 64), (480, 320))
_TOGETHER = 128 * 128
"""Input pixels up to which all rivals are held open together."""


def measure(
    generator: Generator, folder: Path, plan_file: Path, image: Any, *, rounds: int, budget: float
) -> dict[str, Any]:
    """All rivals on one picture.

    Small pictures: all in the same rounds. Large ones, where a rival holds gigabytes: each in rounds with ours alone,
    and compared with the others through ours.
    """
    height, width, _ = image.shape
    *others, ours = [entrant.name for entrant in all_entrants(generator, plan_file, height=height, width=width)]
    groups = [[*others, ours]] if height * width <= _TOGETHER else [[other, ours] for other in others]
    found: dict[str, dict[str, Any]] = {}
    seconds: dict[str, list[float]] = {name: [] for name in (*others, ours)}
    relative: dict[str, float] = {ours: 1.0}
    reference, peak = None, 0
    for names in groups:
        group = measure_group(
            generator.name, folder, plan_file, image, names, rounds=rounds, budget=budget / len(groups)
        )
        anchor = float(np.median(group[-1].seconds))
        for rival in group:
            reference = rival.picture if reference is None else reference
            facts = {"name": rival.name, "precision": rival.precision, "first_ms": round(rival.first * 1e3, 1)}
            found.setdefault(rival.name, facts | agreement(rival.picture, reference, rival.precision))
            seconds[rival.name] += rival.seconds
            relative.setdefault(rival.name, float(np.median(rival.seconds)) / anchor)
            peak = max(peak, rival.peak_memory)
    for name, entry in found.items():
        entry |= summary(seconds[name])
        entry["times_keras_predict"] = round(relative[KERAS] / relative[name], 2)
        if OPENVINO_BF16 in relative:
            entry["times_openvino_bf16"] = round(relative[OPENVINO_BF16] / relative[name], 2)
    return {
        "network": generator.name,
        "width": width,
        "height": height,
        "rounds": len(seconds[KERAS]),
        "rivals": [found[name] for name in (*others, ours)],
        "kernels": kernel_share.measure(
            load_plan(plan_file), image, precision="bf16" if has_bf16() else "fp32", rounds=rounds, budget=budget / 10
        ),
        "peak_memory_gb": round(peak / 1e9, 2),
    }


def agreement(picture: Any, reference: Any, precision: str) -> dict[str, Any]:
    """How far two uint8 pictures are apart: PSNR over all channels in dB (None: identical), and levels at most."""
    if picture.shape != reference.shape or picture.dtype != np.uint8:
        return {"psnr_db": 0.0, "levels": 255, "agrees": False}
    apart = np.abs(picture.astype(np.int16) - reference)
    error, most = float(np.mean(np.square(apart, dtype=np.float64))), int(apart.max())
    psnr = None if error == 0 else round(float(10 * np.log10(255**2 / error)), 2)
    agrees = psnr is None or (psnr >= 45 if precision == "bf16" else most <= 1 or psnr >= 60)
    return {"psnr_db": psnr, "levels": most, "agrees": agrees}


def print_case(case: dict[str, Any]) -> None:
    print(f"\n### {case['network']}, {case['width']}x{case['height']}, {case['rounds']} rounds\n")
    print("| | median ms | quartiles | least | x Keras predict | x OpenVINO bf16 | against Keras: dB, levels |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for entry in case["rivals"]:
        low, high = entry["quartiles_ms"]
        psnr = "identical" if entry["psnr_db"] is None else f"{entry['psnr_db']:.1f}, {entry['levels']}"
        print(
            f"| {entry['name']} | {shown(entry['median_ms'])} | {shown(low)} to {shown(high)} "
            f"| {shown(entry['least_ms'])} | {shown(entry['times_keras_predict'])} "
            f"| {shown(entry['times_openvino_bf16']) if 'times_openvino_bf16' in entry else ''} "
            f"| {psnr}{'' if entry['agrees'] else ' DISAGREES'} |"
        )
    kernel = case["kernels"]
    pack, network, unpack = (shown(kernel[name]["median_ms"]) for name in ("pack", "network", "unpack"))
    print(
        f"\npack {pack} ms and unpack {unpack} ms on one core are {kernel['share_of_network']:.1%} of the network's "
        f"{network} ms ({kernel['precision']}, all cores). Peak memory of the hungriest process: "
        f"{case['peak_memory_gb']} GB."
    )


def print_start_up(found: dict[str, Any]) -> None:
    print("\n### Start-up, fresh processes\n\n| | median ms | quartiles |\n|---|---:|---:|")
    for name, entry in found.items():
        low, high = entry["quartiles_ms"]
        print(f"| `{name}` | {shown(entry['median_ms'])} | {shown(low)} to {shown(high)} |")


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    return int(width), int(height)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=sorted(GENERATORS), help="one network (default: both)")
    parser.add_argument("--size", type=_size, action="append", metavar="WxH", help="default: 64x64 and 480x320")
    parser.add_argument("--rounds", type=int, default=30, help="at most (default: %(default)s)")
    parser.add_argument("--budget", type=float, default=120, help="seconds a network and size may take once 3 rounds "
                        "are done, warm-up not counted (default: %(default)s)")  # fmt: skip
    parser.add_argument("--json", type=Path, default=_ROOT / "benchmarks" / "results" / "latest.json")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds is at least 1")
    found: dict[str, Any] = {"machine": machine.facts(), "results": []}
    print(machine.describe(found["machine"]), flush=True)
    with Image.open(_PHOTO) as opened, tempfile.TemporaryDirectory(prefix="srgan-trt-bench-") as name:
        photo, folder = opened.convert("RGB"), Path(name)
        os.environ["SRGAN_TRT_CACHE"] = str(folder / "cache")
        for network in [options.only] if options.only else list(GENERATORS):
            generator = GENERATORS[network](folder)
            plan_file = folder / f"{network}.plan.onnx"
            build(
                generator.file,
                out=plan_file,
                input_range=generator.input_range,
                output_range=generator.output_range,
            )
            for size in options.size or _SIZES:
                image = np.asarray(ImageOps.fit(photo, size, Image.Resampling.LANCZOS))
                case = measure(generator, folder, plan_file, image, rounds=options.rounds, budget=options.budget)
                found["results"].append(case)
                print_case(case)
                sys.stdout.flush()
            if network == "paper":
                found["start_up"] = start_up.measure(photo, generator.file, folder)
                print_start_up(found["start_up"])
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(found, indent=1) + "\n")
    print(f"\nwritten: {options.json}", file=sys.stderr)
    apart = [f"{c['network']} {r['name']}" for c in found["results"] for r in c["rivals"] if not r["agrees"]]
    if apart:
        sys.exit(f"pictures differ from Keras's: {', '.join(apart)}")


if __name__ == "__main__":
    main()
