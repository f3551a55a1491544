"""Every rival on the same weights and the same photo in one go: do they agree, and how long does each take?

    python benchmarks/run.py [--only paper|seed] [--size WIDTHxHEIGHT] [--rounds N] [--budget SECONDS] [--json FILE]
                             [--plans FOLDER] [--tune SECONDS] [--rival NAME ...]

Ours are tuned first, as `srgan-trt tune` does; by how much that won is in the JSON. Whole calls are timed, uint8
picture in to uint8 picture out, one after the other, in interleaved rounds after a warm-up; a cold start is opening
and one call with nothing compiled before. Large pictures are timed in pairs with ours, since all rivals together
would not fit into memory. What bf16 and int8 cost is measured against the truth on other pictures (drop.py); the
practical limit is of this machine (limits.py). Prints Markdown and writes JSON with the machine's facts; rivals that
this machine cannot run are named with the reason. Exit status 1 if a rival's picture is not that of Keras: fp32 at
most 1 level apart (or 60 dB), bf16 and fp16 at least 45 dB; int8 at least 30 dB, and judged by its drop (what others
make of int8 may fail that: it is their result). Close other programs; all of it takes about an hour on two cores,
most of it Keras's and the gate's of int8.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import kernel_share
import machine
import numpy as np
import peak_rate
import quality_loss
import start_up
import tuned
from baselines import KERAS, OPENVINO_BF16, Plans, absent, all_entrants, has_bf16
from formatting import shown
from generators import GENERATORS, Generator
from isolation import in_fresh_process, measure_group
from peak_rate import Chain
from PIL import Image, ImageOps
from timing import summary

from srgan_trt import build, load_plan
from srgan_trt.cache import cache_folder
from srgan_trt.errors import ModelError

_ROOT = Path(__file__).resolve().parents[1]
_PHOTO = _ROOT / "examples" / "coffee.jpg"
_SIZES = ((64, 64), (480, 320))
_TOGETHER = 128 * 128
"""Input pixels up to which all rivals are held open together."""


def measure(
    generator: Generator,
    folder: Path,
    plans: Plans,
    image: Any,
    *,
    chains: list[Chain],
    rounds: int,
    budget: float,
    only: list[str] | None = None,
) -> dict[str, Any]:
    """All rivals on one picture, and in the same rounds the chains of convolutions that the practical limit is of.

    Small pictures: TensorFlow's in the same rounds, and all others; ours in both. Large ones, where a rival holds
    gigabytes: each in rounds with ours alone. They are compared with one another through ours.
    """
    height, width, _ = image.shape
    *entrants, last = all_entrants(generator, plans, height=height, width=width)
    left_out = {each.name: "left out" for each in entrants if only is not None and not _is_named(each.name, only)}
    entrants = [each for each in entrants if each.name not in left_out]
    others, ours = [entrant.name for entrant in entrants], last.name
    generator.export(height, width)
    if height * width <= _TOGETHER:
        kinds = [[each.name for each in entrants if each.tensorflow is kind] for kind in (True, False)]
        groups = [[*names, ours] for names in kinds]
    else:
        groups = [[other, ours] for other in others]
    found: dict[str, dict[str, Any]] = {}
    seconds: dict[str, list[float]] = {name: [] for name in (*others, ours)}
    steps: dict[Chain, list[float]] = {chain: [] for chain in chains}
    relative: dict[str, float] = {ours: 1.0}
    missing = left_out | absent(generator, plans)
    reference, peak, share = None, 0, budget / len(groups)
    for names in groups:  # which may grow
        # what ours keeps compiled would make its cold start a warm one
        shutil.rmtree(cache_folder() / "openvino", ignore_errors=True)
        try:
            work = partial(measure_group, generator.name, folder, plans, image, names)
            group = in_fresh_process(partial(work, chains=chains, rounds=rounds, budget=share))
        except BrokenProcessPool:
            rivals = [name for name in names if name != ours]
            if len(rivals) > 1:
                groups += [[rival, ours] for rival in rivals]  # each alone, to find out which one it was
            else:
                missing[rivals[0]] = "crashes on a picture of this size"
            continue
        missing |= group.failed
        if KERAS in group.failed or ours in group.failed:
            sys.exit(f"{generator.name}: {group.failed}")
        anchor = float(np.median(group.measured[-1].seconds))
        for chain, taken in group.chains.items():
            steps[chain] += taken
        for rival in group.measured:
            reference = rival.picture if reference is None else reference
            facts = {
                "name": rival.name,
                "precision": rival.precision,
                "first_ms": round(rival.first * 1e3, 1),
                "cold_ms": round((rival.opening + rival.first) * 1e3, 1),
            }
            found.setdefault(rival.name, facts | agreement(rival.picture, reference, rival.precision))
            seconds[rival.name] += rival.seconds
            relative.setdefault(rival.name, float(np.median(rival.seconds)) / anchor)
            peak = max(peak, rival.peak_memory)
    for name, entry in found.items():
        entry |= summary(seconds[name])
        entry["relative"] = round(relative[name], 4)
        entry["times_keras_predict"] = round(relative[KERAS] / relative[name], 2)
        if OPENVINO_BF16 in relative:
            entry["times_openvino_bf16"] = round(relative[OPENVINO_BF16] / relative[name], 2)
    return {
        "network": generator.name,
        "width": width,
        "height": height,
        "rounds": len(seconds[KERAS]),
        "rivals": [found[name] for name in (*others, ours) if name in found],
        "rates": {chain.precision: round(chain.macs / float(np.median(taken))) for chain, taken in steps.items()},
        "missing": missing,
        "kernels": kernel_share.measure(
            load_plan(plans.fp32), image, precision="bf16" if has_bf16() else "fp32", rounds=rounds, budget=budget / 10
        ),
        "peak_memory_gb": round(peak / 1e9, 2),
    }


def add_limits(case: dict[str, Any], plans: Plans) -> None:
    """The practical limit of each of ours on the CPU, and the share of it that was reached."""
    files = {f"srgan-trt {precision}": plans.fp32 for precision in ("fp32", "bf16")}
    if plans.int8 is not None:
        files["srgan-trt int8"] = plans.int8
    entries = {entry["name"]: entry for entry in case["rivals"]}
    files = {name: file for name, file in files.items() if name in entries}
    case["limits"] = peak_rate.measure(files, pixels=case["width"] * case["height"], of=case["rates"])
    for name, limit in case["limits"].items():
        entries[name]["share_of_limit"] = round(limit["limit_ms"] / entries[name]["median_ms"], 3)


def build_plans(generator: Generator, folder: Path) -> Plans:
    """Plans in fp32 and, if the gate lets it pass, in int8; those that are in `folder` already are taken."""
    wide, narrow = folder / f"{generator.name}.plan.onnx", folder / f"{generator.name}.int8.plan.onnx"
    settings: dict[str, Any] = {"input_range": generator.input_range, "output_range": generator.output_range}
    if not wide.exists():
        build(generator.file, out=wide, **settings)
    refused = ""
    if not narrow.exists():
        print(f"  quantising {generator.name} ...", file=sys.stderr, flush=True)
        try:
            build(generator.file, out=narrow, precision="int8", **settings)
        except ModelError as error:
            refused = str(error)
    return Plans(wide, None if refused else narrow, refused)


def agreement(picture: Any, reference: Any, precision: str) -> dict[str, Any]:
    """How far two uint8 pictures are apart: PSNR over all channels in dB (None: identical), and levels at most."""
    if picture.shape != reference.shape or picture.dtype != np.uint8:
        return {"psnr_db": 0.0, "levels": 255, "agrees": False}
    apart = np.abs(picture.astype(np.int16) - reference)
    error, most = float(np.mean(np.square(apart, dtype=np.float64))), int(apart.max())
    psnr = None if error == 0 else round(float(10 * np.log10(255**2 / error)), 2)
    least = {"bf16": 45, "fp16": 45, "int8": 30}.get(precision, 60)
    agrees = psnr is None or most <= 1 or psnr >= least
    return {"psnr_db": psnr, "levels": most, "agrees": agrees}


def print_case(case: dict[str, Any]) -> None:
    print(f"\n### {case['network']}, {case['width']}x{case['height']}, {case['rounds']} rounds\n")
    print(
        "| | median ms | quartiles | least | cold start | x Keras predict | x OpenVINO bf16 "
        "| from Keras: dB, levels | dB lost to the truth | of the limit |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    for entry in case["rivals"]:
        low, high = entry["quartiles_ms"]
        psnr = "identical" if entry["psnr_db"] is None else f"{entry['psnr_db']:.1f}, {entry['levels']}"
        cells = [
            entry["name"],
            shown(entry["median_ms"]),
            f"{shown(low)} to {shown(high)}",
            shown(entry["least_ms"]),
            f"{entry['cold_ms'] / 1e3:.1f} s",
            shown(entry["times_keras_predict"]),
            shown(entry["times_openvino_bf16"]) if "times_openvino_bf16" in entry else "",
            f"{psnr}{'' if entry['agrees'] else ' DISAGREES'}",
            f"{entry['drop_db']:.3f}" if entry.get("drop_db") is not None else "",
            f"{entry['share_of_limit']:.0%}" if "share_of_limit" in entry else "",
        ]
        print(f"| {' | '.join(cells)} |")
    for name, reason in case["missing"].items():
        print(f"\nnot measured: {name} ({reason})")
    kernel = case["kernels"]
    pack, network, unpack = (shown(kernel[name]["median_ms"]) for name in ("pack", "network", "unpack"))
    print(
        f"\npack {pack} ms and unpack {unpack} ms on one core are {kernel['share_of_network']:.1%} of the network's "
        f"{network} ms ({kernel['precision']}, all cores). Peak memory of the hungriest process: "
        f"{case['peak_memory_gb']} GB."
    )


def _is_named(name: str, wanted: list[str]) -> bool:
    """Whether it is one of the wanted, Keras predict or one of ours: without those there is nothing to compare."""
    return name == KERAS or name.startswith("srgan-trt") or any(part in name for part in wanted)


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
    parser.add_argument("--plans", type=Path, metavar="FOLDER", help="where our plans are kept, and taken from if they "
                        "are there (default: made anew)")  # fmt: skip
    parser.add_argument("--tune", type=float, default=20, metavar="SECONDS", help="for each of ours (default: 20)")
    parser.add_argument("--rival", action="append", metavar="NAME", help="only rivals with this in their names, Keras "
                        "predict and ours (default: all)")  # fmt: skip
    parser.add_argument("--json", type=Path, default=_ROOT / "benchmarks" / "results" / "latest.json")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds is at least 1")
    options.json.parent.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {"machine": machine.facts(), "results": []}
    print(machine.describe(found["machine"]), flush=True)
    rates = peak_rate.rates()
    chains = peak_rate.fastest(rates)
    for precision, chain in chains.items():
        print(f"3x3 convolutions in {precision}: {rates[chain] / 1e9:.0f} GMAC/s ({chain.name})", flush=True)
    found["rates"] = [asdict(chain) | {"macs_per_second": round(rate)} for chain, rate in rates.items()]
    with Image.open(_PHOTO) as opened, tempfile.TemporaryDirectory(prefix="srgan-trt-bench-") as name:
        photo, folder = opened.convert("RGB"), Path(name)
        plans_folder = options.plans or folder
        plans_folder.mkdir(parents=True, exist_ok=True)
        os.environ["SRGAN_TRT_CACHE"] = str(folder / "cache")
        for network in [options.only] if options.only else list(GENERATORS):
            generator = GENERATORS[network](folder)
            plans = build_plans(generator, plans_folder)
            found.setdefault("tuned", {})[network] = tuned.tune(plans, seconds=options.tune)
            quality = quality_loss.measure(network, folder, plans)
            found.setdefault("drops", {})[network] = quality
            for size in options.size or _SIZES:
                image = np.asarray(ImageOps.fit(photo, size, Image.Resampling.LANCZOS))
                case = measure(
                    generator,
                    folder,
                    plans,
                    image,
                    chains=list(chains.values()),
                    rounds=options.rounds,
                    budget=options.budget,
                    only=options.rival,
                )
                for entry in case["rivals"]:
                    entry["drop_db"] = quality["drops"].get(entry["name"])
                case["missing"] |= quality["failed"]
                add_limits(case, plans)
                found["results"].append(case)
                print_case(case)
                sys.stdout.flush()
                options.json.write_text(json.dumps(found, indent=1) + "\n")  # so much of it is kept, come what may
            if network == "paper":
                found["start_up"] = start_up.measure(photo, generator.file, folder)
                print_start_up(found["start_up"])
    options.json.write_text(json.dumps(found, indent=1) + "\n")
    print(f"\nwritten: {options.json}", file=sys.stderr)
    apart = [
        f"{case['network']} {entry['name']}"
        for case in found["results"]
        for entry in case["rivals"]
        if not entry["agrees"] and (entry["precision"] != "int8" or entry["name"].startswith("srgan-trt"))
    ]
    if apart:
        sys.exit(f"pictures differ from Keras's: {', '.join(apart)}")


if __name__ == "__main__":
    main()
