"""Deep networks against ncnn, who they were made for: Real-ESRGAN by name, on one photo, on the same cores.

    python benchmarks/deep.py [--model NAME] [--size WIDTHxHEIGHT] [--rounds N] [--precision P ...] [--json FILE]

Ours is `Upscaler` as anybody calls it, in each precision that is named (default: its own choice and fp32), tiled with
the plan's halo. ncnn is its Python package with its own settings, on the whole picture at once, which spares it halos
and seams and takes gigabytes (8 GB for 480x320). Whole calls are timed, uint8 picture in to uint8 picture out,
interleaved after a warm-up of each. Prints Markdown, writes JSON with the machine's facts, and ends with status 1 if a
picture of ours is not ncnn's: fp32 at most 1 level apart or 45 dB (ncnn keeps values in 16 bits between layers), bf16
at least 40 dB. Close other programs: ncnn's threads wait for each other. Needs the extra [real] and ncnn.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import machine
import numpy as np
from formatting import shown
from numpy.typing import NDArray
from PIL import Image, ImageOps
from timing import interleaved, summary, timed

from srgan_trt import Upscaler
from srgan_trt.models.files import ncnn_weights
from srgan_trt.models.ncnn_source import open_ncnn
from srgan_trt.models.registry import packaged
from srgan_trt.resolve import open_plan

_PHOTO = Path(__file__).resolve().parents[1] / "examples" / "coffee.jpg"
_LEAST = {"bf16": 40.0}
_ANY_OTHER = 45.0

Levels = NDArray[np.uint8]


class Ncnn:
    """A network in ncnn's own hands."""

    def __init__(self, param: Path) -> None:
        import ncnn

        self._ncnn = ncnn
        self._io_blobs = open_ncnn(param).io_blobs
        self._net = ncnn.Net()
        self._net.opt.num_threads = ncnn.get_physical_big_cpu_count()
        if self._net.load_param(str(param)) or self._net.load_model(str(ncnn_weights(param))):
            raise RuntimeError(f"ncnn does not take {param}")

    def __call__(self, image: Levels) -> Levels:
        """uint8 (H, W, 3) -> (H*scale, W*scale, 3)."""
        planes = np.ascontiguousarray(image.transpose(2, 0, 1), np.float32) / np.float32(255)
        source, result = self._io_blobs
        with self._net.create_extractor() as extractor:
            extractor.input(source, self._ncnn.Mat(planes).clone())
            status, values = extractor.extract(result)
            if status:
                raise RuntimeError(f"ncnn gives no picture of this size ({status}{', memory' * (status == -100)})")
            levels = np.rint(np.clip(np.array(values), 0, 1) * 255)
        picture: Levels = levels.astype(np.uint8).transpose(1, 2, 0)
        return picture


_FACTS = ("precision", "streams", "tile", "halo", "lowering")


def measure(
    name: str, image: Levels, *, precisions: Sequence[str | None], rounds: int, budget: float
) -> dict[str, Any]:
    """ncnn and ours in each of `precisions` (None: our choice) on one picture; budget: seconds for the rounds."""
    param = packaged(name)
    building, plan = timed(partial(open_plan, name))
    jobs: list[Callable[[], Any]] = []
    entries: list[dict[str, Any]] = []
    with ExitStack() as stack:
        opening, net = timed(partial(Ncnn, param))
        jobs.append(partial(net, image))
        first, reference = timed(jobs[-1])
        entries.append({"name": "ncnn", "precision": "its own", "opening_s": opening, "first_s": first})
        for precision in precisions:
            opening, up = timed(partial(Upscaler, plan, device="cpu", precision=precision))
            stack.enter_context(up)
            jobs.append(partial(up, image))
            first, picture = timed(jobs[-1])
            facts = {
                key: up.info[key] for key in ("precision", "streams", "tile", "halo", "lowering") if key in up.info
            }
            entries.append({"name": "ours", "opening_s": opening, "first_s": first} | facts)
            entries[-1] |= apart(picture, reference, facts["precision"])
        times = interleaved(jobs, rounds=rounds, budget=budget)
    for entry, seconds in zip(entries, times, strict=True):
        ratios = np.divide(times[0], seconds)
        entry |= summary(seconds) | {"times_ncnn": round(float(np.median(ratios)), 2)}
    height, width, _ = image.shape
    return {
        "network": name,
        "width": width,
        "height": height,
        "rounds": len(times[0]),
        "mmac": round(plan.spec.macs / 1e6, 3),
        "default_halo": plan.spec.default_halo,
        "plan_s": building,
        "entries": entries,
    }


def apart(picture: Levels, reference: Levels, precision: str) -> dict[str, Any]:
    """How far two pictures are apart: dB over all channels (None: identical), levels at most, and whether that will
    do."""
    if picture.shape != reference.shape:
        return {"psnr_db": 0.0, "levels": 255, "agrees": False}
    difference = np.abs(picture.astype(np.int16) - reference)
    error, most = float(np.mean(np.square(difference, dtype=np.float64))), int(difference.max())
    psnr = None if error == 0 else round(float(10 * np.log10(255**2 / error)), 2)
    return {
        "psnr_db": psnr,
        "levels": most,
        "agrees": psnr is None or most <= 1 or psnr >= _LEAST.get(precision, _ANY_OTHER),
    }


def table(case: dict[str, Any]) -> str:
    lines = [
        f"### {case['network']}, {case['width']}x{case['height']}, {case['rounds']} rounds",
        "",
        f"{case['mmac']} MMAC per pixel, halo {case['default_halo']}; plan opened (or built) in {case['plan_s']:.1f} s",
        "",
        "| | precision | median ms | least | x ncnn | from ncnn: dB, levels | GMAC/s |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    work = case["mmac"] * case["width"] * case["height"]
    for entry in case["entries"]:
        difference = f"{entry['psnr_db'] or 'identical'}, {entry['levels']}" if "levels" in entry else ""
        cells = [
            entry["name"], entry["precision"], shown(entry["median_ms"]), shown(entry["least_ms"]),
            f"{entry['times_ncnn']:.2f}", difference, f"{work / entry['median_ms']:,.0f}",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="realesrgan-x4plus", help="a name of Real-ESRGAN's")
    parser.add_argument("--size", default="480x320", help="of the photo, WIDTHxHEIGHT")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--budget", type=float, default=600.0, help="seconds of rounds, after which no more are begun")
    parser.add_argument("--precision", nargs="+", default=["auto", "fp32"], choices=("auto", "bf16", "fp32"))
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    width, height = map(int, arguments.size.split("x"))
    with Image.open(_PHOTO) as photo:
        image = np.asarray(ImageOps.fit(photo.convert("RGB"), (width, height), Image.Resampling.LANCZOS))
    facts = machine.facts()
    print(machine.describe(facts), flush=True)
    case = measure(
        arguments.model,
        image,
        precisions=[None if each == "auto" else each for each in arguments.precision],
        rounds=arguments.rounds,
        budget=arguments.budget,
    )
    print(f"\n{table(case)}")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps({"machine": facts, "cases": [case]}, indent=1) + "\n")
    if not all(entry.get("agrees", True) for entry in case["entries"]):
        sys.exit("a picture of ours is not that of ncnn")


if __name__ == "__main__":
    main()
