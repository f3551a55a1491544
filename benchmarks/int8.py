"""What int8 costs and wins, network by network: against fp32, against the truth, and in time.

    python benchmarks/int8.py [--model NAME_OR_FILE ...] [--bsd N] [--plans FOLDER] [--rounds N] [--times-only]
        [--json FILE]

Every network is built in fp32 and, if the gate lets it pass, in int8 with the built-in calibration pictures; the plans
that come with this package are taken as they are. Both run on Set5 and BSD100, which nothing was calibrated with
(pictures.py says where they are looked for). Fidelity is the PSNR of all colours, int8 against fp32, the mean over the
pictures; the JSON also has the worst picture's and that of the mean squared error over all (which one artefact of the
exact network decides). The drop is luma PSNR against the truth, fp32's less int8's, the mean over the pictures. Times
are of a 480x320 photo, whole calls in interleaved rounds, against the highest precision of 8-bit pictures here (bf16
where the CPU has it), and fp32 beside them; --rounds 0 leaves them out, --times-only all else: what
srgan_trt/runtime/cpu/measured.py needs of a kind of CPU. "cores_ms" is the time of all cores, which other work on the
machine moves less.
Exit status 1 if a plan that passed its gate loses more than 0.1 dB or keeps less than 45 dB of fidelity.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import machine
import numpy as np
from baselines import has_bf16
from pictures import SHARED, truths
from PIL import Image
from timing import interleaved, summary

from srgan_trt import Upscaler, build, load_plan
from srgan_trt.compiler.conversion import convert_plan
from srgan_trt.errors import SrganTrtError
from srgan_trt.quality.bicubic import shrink
from srgan_trt.quality.metrics import psnr
from srgan_trt.resolve import open_plan

_ROOT = Path(__file__).resolve().parents[1]
_NAMES = ("srgan-photo-x4", "srresnet-photo-x4", "srgan-x4", "srresnet-x4")
_SETS = ("Set5", "BSD100")
MOST_DROP, LEAST_FIDELITY = 0.1, 45.0


def plans_of(model: str, folder: Path) -> tuple[Path, Path]:
    """The plan in fp32 and the one in int8; those that are in `folder` already are taken.

    Raises SrganTrtError where there can be none.
    """
    stem = Path(model).name
    wide, narrow = folder / f"{stem}.plan.onnx", folder / f"{stem}.int8.plan.onnx"
    if not wide.exists():
        if model in _NAMES:
            wide.write_bytes(open_plan(model).path.read_bytes())
        else:
            build(model, out=wide)
    int8_plan = open_plan(model).int8 if model in _NAMES else None
    if not narrow.exists() and int8_plan is not None:
        narrow.write_bytes(int8_plan.path.read_bytes())
    if not narrow.exists():
        print(f"  quantising {stem} ...", end="", file=sys.stderr, flush=True)
        begin = time.perf_counter()
        convert_plan(load_plan(wide), narrow, precision="int8")
        print(f" {time.perf_counter() - begin:.0f} s", file=sys.stderr, flush=True)
    return wide, narrow


def compare(wide: Path, narrow: Path, name: str, *, scale: int, most: int | None) -> dict[str, Any]:
    """Fidelity and drop on a set of pictures, in dB, and of how many."""
    errors, drops = [], []
    with Upscaler(wide, device="cpu", precision="fp32") as exact, Upscaler(narrow, device="cpu") as levels:
        for truth in truths(name, scale=scale, most=most):
            low = shrink(truth, scale)
            right, mine = exact(low), levels(low)
            errors.append(float(np.mean(np.square(right.astype(np.float64) - mine))))
            drops.append(psnr(truth, right, border=scale) - psnr(truth, mine, border=scale))
    fidelity = 10 * np.log10(255**2 / np.maximum(errors, 1e-10))
    return {
        "pictures": len(errors),
        "fidelity_db": round(float(fidelity.mean()), 2),
        "least_fidelity_db": round(float(fidelity.min()), 2),
        "pooled_fidelity_db": round(float(10 * np.log10(255**2 / max(float(np.mean(errors)), 1e-10))), 2),
        "drop_db": round(float(np.mean(drops)), 4),
        "most_drop_db": round(float(np.max(drops)), 4),
    }


def speed(wide: Path, narrow: Path, *, rounds: int) -> dict[str, Any]:
    """Milliseconds of a 480x320 photo, and how many times as fast as the highest precision int8 is."""
    with Image.open(_ROOT / "examples" / "coffee.jpg") as opened:
        photo = np.asarray(opened.convert("RGB").crop((0, 0, 480, 320)))
    with ExitStack() as stack:
        open_up = partial(Upscaler, device="cpu")
        exact, levels = stack.enter_context(open_up(wide)), stack.enter_context(open_up(narrow))
        ups = [exact, levels]
        if exact.info["precision"] != "fp32":
            ups.append(stack.enter_context(open_up(wide, precision="fp32")))
        for up in ups:
            up(photo)
        cores: list[list[float]] = [[] for _ in ups]

        def call(up: Upscaler, spent: list[float]) -> None:
            begin = time.process_time()
            up(photo)
            spent.append(time.process_time() - begin)

        jobs = [partial(call, up, spent) for up, spent in zip(ups, cores, strict=True)]
        times = interleaved(jobs, rounds=rounds, budget=120)
        ratio = float(np.median(np.array(times[0]) / np.array(times[1])))
        found = {"against": exact.info["precision"], "times": round(ratio, 3)}
        names = ("high", "int8", "fp32")[: len(ups)]
        return found | {
            name: {**summary(each), "cores_ms": round(float(np.median(spent)) * 1e3, 3)}
            for name, each, spent in zip(names, times, cores, strict=True)
        }


def measure(model: str, folder: Path, *, sets: Sequence[str], bsd: int, rounds: int) -> dict[str, Any]:
    row: dict[str, Any] = {"model": Path(model).name}
    try:
        wide, narrow = plans_of(model, folder)
    except SrganTrtError as error:
        return row | {"refused": str(error)}
    plan = load_plan(narrow)
    facts = plan.report["int8"]
    row |= {
        "convolutions": [sum(layer["int8"] for layer in facts["layers"]), len(facts["layers"])],
        "gate": facts["gate"],
        "stayed_high": [f"{each['number']} ({each['shape']})" for each in facts["layers"] if not each["int8"]],
    }
    for name in sets:
        row[name] = compare(wide, narrow, name, scale=plan.spec.scale, most=bsd if name == "BSD100" else None)
    if rounds:
        row["speed"] = speed(wide, narrow, rounds=rounds)
    return row


def cells(row: dict[str, Any]) -> list[str]:
    if "refused" in row:
        return [row["model"], "", "", "", f"refused: {row['refused']}"]
    inside, of = row["convolutions"]
    fidelity = " / ".join(f"{row[name]['fidelity_db']:.1f}" for name in _SETS if name in row)
    drop = " / ".join(f"{row[name]['drop_db']:.3f}" for name in _SETS if name in row)
    times = f"{row['speed']['times']:.2f} x {row['speed']['against']}" if "speed" in row else ""
    return [row["model"], f"{inside} of {of}", fidelity, drop, times]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", help="a name or a model file (default: those that have a name)")
    parser.add_argument("--bsd", type=int, default=100, metavar="N", help="pictures of BSD100 (default: all)")
    parser.add_argument("--plans", type=Path, metavar="FOLDER", help="where plans are kept (default: made anew)")
    parser.add_argument("--rounds", type=int, default=9, help="of the timing; 0: none (default: %(default)s)")
    parser.add_argument("--times-only", action="store_true", help="no pictures to compare")
    parser.add_argument("--json", type=Path, default=_ROOT / "benchmarks" / "results" / "latest-int8.json")
    options = parser.parse_args()
    sets = () if options.times_only else _SETS
    if sets and not truths("Set5", scale=4, most=1):
        print(f"no pictures under {SHARED}: set SRGAN_TRT_SHARED", file=sys.stderr)
        sys.exit(2)
    found: dict[str, Any] = {"machine": machine.facts(), "high": "bf16" if has_bf16() else "fp32", "rows": []}
    print(machine.describe(found["machine"]), end="\n\n", flush=True)
    print(f"| | in int8 | dB from fp32: {' / '.join(_SETS)} | dB lost to the truth | time |\n|---|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory(prefix="srgan-trt-bench-") as name:
        folder = options.plans or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        for model in options.model or _NAMES:
            row = measure(model, folder, sets=sets, bsd=options.bsd, rounds=options.rounds)
            found["rows"].append(row)
            print(f"| {' | '.join(cells(row))} |", flush=True)
            options.json.write_text(json.dumps(found, indent=1) + "\n")
    bad = [
        row["model"]
        for row in found["rows"]
        for each in _SETS
        if each in row and (row[each]["drop_db"] > MOST_DROP or row[each]["fidelity_db"] < LEAST_FIDELITY)
    ]
    if bad:
        sys.exit(f"passed the gate, and should not have: {', '.join(dict.fromkeys(bad))}")


if __name__ == "__main__":
    main()
