"""Files in, files out: how many pixels a second `srgan-trt upscale` writes, start-up included, and where the time goes.

    python benchmarks/throughput.py [--model NAME ...] [--photos N] [--large WIDTHxHEIGHT] [--keras N] [--json FILE]

A folder of 480x320 JPEGs to PNGs by the command, in a fresh process; start-up is that of one picture of 8x8 pixels. One
large picture likewise. Reading, network and writing are the command's own clocks in a second run (they overlap, so they
add up to more than the whole). The rival: Pillow, Keras predict and Pillow in a loop, on the paper's network.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import machine
import numpy as np
from formatting import shown
from PIL import Image
from timing import timed

from srgan_trt import Upscaler
from srgan_trt.imaging.sources import expand, plan_outputs
from srgan_trt.resolve import open_plan
from srgan_trt.scheduler import run_jobs

_ROOT = Path(__file__).resolve().parents[1]
_PHOTO = _ROOT / "examples" / "coffee.jpg"
_MODELS = ("srgan-photo-x4", "srresnet-photo-x4", "srgan-x4")


def photos(folder: Path, count: int) -> list[Path]:
    """`count` different JPEGs of 480x320: the photo shifted, mirrored and turned upside down."""
    folder.mkdir()
    with Image.open(_PHOTO) as opened:
        photo = np.asarray(opened.convert("RGB"))
    made = []
    for number in range(count):
        picture = np.roll(photo, 17 * number, axis=number % 2)[:: 1 - 2 * (number % 2), :: 1 - 2 * (number // 2 % 2)]
        made.append(folder / f"photo{number:03}.jpg")
        Image.fromarray(np.ascontiguousarray(picture)).save(made[-1], quality=92)
    return made


def by_command(source: Path, out: Path, model: str) -> float:
    """Seconds of the whole process."""
    program = Path(sysconfig.get_path("scripts")) / "srgan-trt"
    command = [str(program), "upscale", str(source), "--model", model, "-o", f"{out}/", "--quiet"]
    seconds, _ = timed(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL))
    return seconds


def clocks(source: Path, out: Path, model: str) -> dict[str, float]:
    """Seconds of reading, network and writing, summed over the pictures, and of all of it."""
    scale = open_plan(model).spec.scale
    jobs = plan_outputs(expand([source]), output=f"{out}/", format=None, label=f"x{scale}")
    with Upscaler(model) as up:
        up(np.zeros((8, 8, 3), np.uint8))
        begin = time.perf_counter()
        outcomes = list(run_jobs(jobs, up))
        whole = time.perf_counter() - begin
    failed = [outcome.error for outcome in outcomes if outcome.error]
    if failed:
        sys.exit(f"{source}: {failed[0]}")
    return {
        "reading": sum(outcome.reading for outcome in outcomes),
        "network": sum(outcome.network for outcome in outcomes),
        "writing": sum(outcome.writing for outcome in outcomes),
        "whole": whole,
    }


def by_keras(files: list[Path], out: Path) -> float:
    """Seconds of the loop, once the model is loaded and has seen one picture."""
    from generators import paper
    from keras_baselines import Predict

    out.mkdir()
    predict = Predict(paper(out))

    def one(file: Path) -> None:
        with Image.open(file) as opened:
            picture = np.asarray(opened.convert("RGB"))
        Image.fromarray(predict(picture)).save(out / f"{file.stem}.png")

    def every() -> None:
        for file in files:
            one(file)

    one(files[0])
    return timed(every)[0]


def measure(model: str, folder: Path, files: list[Path], large: Path) -> dict[str, Any]:
    """Of one model: the folder and the large picture."""
    tiny = folder / "tiny.png"
    Image.new("RGB", (8, 8)).save(tiny)
    scale = open_plan(model).spec.scale
    by_command(tiny, folder / f"{model}-warm", model)
    start = by_command(tiny, folder / f"{model}-tiny", model)
    seconds = by_command(files[0].parent, folder / f"{model}-out", model)
    written = list((folder / f"{model}-out").rglob("*.png"))
    if len(written) != len(files):
        sys.exit(f"{model}: {len(written)} pictures came of {len(files)}")
    with Image.open(large) as opened:
        pixels = opened.width * opened.height * scale**2
    one = by_command(large, folder / f"{model}-large", model)
    folder_pixels = len(files) * 480 * 320 * scale**2
    return {
        "model": model,
        "start_s": round(start, 3),
        "folder_s": round(seconds, 3),
        "folder_megapixels": folder_pixels / 1e6,
        "folder_megapixels_a_second": round(folder_pixels / 1e6 / seconds, 3),
        "large_s": round(one, 3),
        "large_megapixels": pixels / 1e6,
        "large_megapixels_a_second": round(pixels / 1e6 / one, 3),
        "clocks_s": {
            name: round(value, 3) for name, value in clocks(files[0].parent, folder / f"{model}-again", model).items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", help=f"default: {', '.join(_MODELS)}")
    parser.add_argument("--photos", type=int, default=12, help="in the folder (default: %(default)s)")
    parser.add_argument("--large", default="1500x1000", metavar="WxH", help="default: %(default)s")
    parser.add_argument("--keras", type=int, default=3, metavar="N", help="photos of the rival; 0 leaves it out")
    parser.add_argument("--json", type=Path, default=_ROOT / "benchmarks" / "results" / "latest-throughput.json")
    options = parser.parse_args()
    width, height = map(int, options.large.split("x"))
    found: dict[str, Any] = {
        "machine": machine.facts(),
        "photos": options.photos,
        "large": [width, height],
        "models": [],
    }
    print(machine.describe(found["machine"]), end="\n\n", flush=True)
    print(
        "| files to files | start-up s | folder s | megapixels/s | large s | megapixels/s | reading, network, writing |"
    )
    print("|---|---:|---:|---:|---:|---:|---|")
    with tempfile.TemporaryDirectory(prefix="srgan-trt-bench-") as name:
        folder = Path(name)
        files = photos(folder / "photos", options.photos)
        large = folder / "large.jpg"
        with Image.open(_PHOTO) as opened:
            opened.resize((width, height), Image.Resampling.LANCZOS).save(large, quality=92)
        for model in options.model or _MODELS:
            row = measure(model, folder, files, large)
            found["models"].append(row)
            parts = [shown(row["clocks_s"][part]) for part in ("reading", "network", "writing")]
            cells = [row["model"], row["start_s"], row["folder_s"], row["folder_megapixels_a_second"], row["large_s"]]
            cells += [row["large_megapixels_a_second"], f"{', '.join(parts)} s of {shown(row['clocks_s']['whole'])}"]
            print(f"| {' | '.join(map(str, cells))} |", flush=True)
        if options.keras:
            seconds = by_keras(files[: options.keras], folder / "keras")
            rate = options.keras * 480 * 320 * 16 / 1e6 / seconds
            found["keras"] = {"photos": options.keras, "s": round(seconds, 3), "megapixels_a_second": round(rate, 3)}
            print(f"| Keras predict in a loop (srgan-x4) | | {shown(seconds)} for {options.keras} | {rate:.3f} | | | |")
    options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
