"""Films: frames a second beside two other ways with the same network, the network's share of the time, and flicker.

    python benchmarks/video.py [--model NAME ...] [--size WIDTHxHEIGHT] [--frames N] [--rounds N] [--json FILE]

The rivals are ways, not programs, so that only the way differs: "files" is that of video2x before version 6 (ffmpeg
writes PNGs, they are upscaled as a folder, ffmpeg joins them), "pipes" that of Real-ESRGAN's inference script (one loop
reads a raw frame from ffmpeg, upscales it, writes it to another ffmpeg). All have the model open already, and the same
encoder settings; best of the rounds, which take turns. Processor seconds, children included, tell the work apart from
what else the machine does. Flicker: the mean difference between neighbouring frames of a still scene with noise, over
that of the input: what makes it larger shimmers. Needs Debian's ffmpeg.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import subprocess
import tempfile
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from timing import timed

from srgan_trt import Upscaler
from srgan_trt.imaging.sources import expand, plan_outputs
from srgan_trt.models.registry import DEFAULT_MODEL
from srgan_trt.scheduler import run_jobs
from srgan_trt.video.convert import convert
from srgan_trt.video.library import library
from srgan_trt.video.options import VideoOptions
from srgan_trt.video.steady import steadied

_PHOTO = Path(__file__).resolve().parents[1] / "examples" / "coffee.jpg"
_MODELS = ("srresnet-photo-x4", "srgan-photo-x4")
_NOISE = 4.0
"""Levels of 255, standard deviation."""
Pixels = NDArray[np.uint8]


def clip(path: Path, *, size: tuple[int, int], frames: int) -> None:
    """A window that moves over the photo, 25 frames a second."""
    width, height = size
    with Image.open(_PHOTO) as opened:
        photo = np.asarray(opened.convert("RGB"))
    av = library()
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"crf": "17"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(frames):
            moved = np.roll(photo, (-number, -2 * number), axis=(0, 1))[:height, :width]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(moved), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def by_files(up: Upscaler, film: Path, folder: Path, out: Path) -> None:
    """Every frame as a PNG, small and large."""
    (folder / "small").mkdir()
    _ffmpeg("-i", film, folder / "small" / "%06d.png")
    jobs = plan_outputs(
        expand([folder / "small"]), output=f"{folder / 'large'}/", format="png", label=f"x{up.spec.scale}"
    )
    for outcome in run_jobs(jobs, up):
        assert outcome.error is None, outcome.error
    pattern = folder / "large" / f"%06d_x{up.spec.scale}.png"
    _ffmpeg("-framerate", 25, "-i", pattern, *_encoder(), out)


def by_pipes(up: Upscaler, film: Path, size: tuple[int, int], out: Path) -> None:
    """One loop for all."""
    width, height = size
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24"]
    wide = f"{width * up.spec.scale}x{height * up.spec.scale}"
    reader = subprocess.Popen(["ffmpeg", "-v", "error", "-i", str(film), *raw, "-"], stdout=subprocess.PIPE)
    command = ["ffmpeg", "-v", "error", "-y", *raw, "-s", wide, "-r", "25", "-i", "-", *_encoder(), str(out)]
    writer = subprocess.Popen(command, stdin=subprocess.PIPE)
    assert reader.stdout is not None
    assert writer.stdin is not None
    while data := reader.stdout.read(width * height * 3):
        writer.stdin.write(up(np.frombuffer(data, np.uint8).reshape(height, width, 3)).tobytes())
    writer.stdin.close()
    if reader.wait() or writer.wait():
        raise SystemExit("ffmpeg failed: see above")


def _encoder() -> list[str]:
    return ["-c:v", "libx264", "-crf", "17", "-preset", "medium", "-pix_fmt", "yuv420p"]


def _ffmpeg(*words: object) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-y", *map(str, words)], check=True)


def speeds(up: Upscaler, *, size: tuple[int, int], frames: int, rounds: int) -> dict[str, dict[str, float]]:
    """Frames a second and processor seconds a frame of each way, and the network's share of our time."""
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as name:
        film = Path(name) / "film.mp4"
        clip(film, size=size, frames=frames)
        for number in range(rounds):
            folder = Path(name) / str(number)
            folder.mkdir()
            ways: dict[str, Callable[[], Any]] = {
                "ours": partial(convert, up, film, folder / "ours.mp4", VideoOptions()),
                "files": partial(by_files, up, film, folder, folder / "files.mp4"),
                "pipes": partial(by_pipes, up, film, size, folder / "pipes.mp4"),
            }
            for way, work in ways.items():
                before = _processor()
                seconds, result = timed(work)
                of = found.setdefault(way, {"frames a second": 0.0, "processor seconds a frame": 1e9})
                of["frames a second"] = max(of["frames a second"], frames / seconds)
                spent = (_processor() - before) / frames
                of["processor seconds a frame"] = min(of["processor seconds a frame"], spent)
                if way == "ours":
                    of["network's share"] = max(of.get("network's share", 0.0), result.busy)
    return found


def _processor() -> float:
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def flicker(enlarge: Any, *, size: tuple[int, int], frames: int = 12, steady: bool = False) -> float:
    """How much of a still scene's noise is left, or is made more, between neighbouring frames.

    steady: by the filter of --steady, of which the first half of the frames is left out: it begins without a past.
    """
    width, height = size
    with Image.open(_PHOTO) as opened:
        still = np.asarray(opened.convert("RGB"))[:height, :width].astype(np.float64)
    noise = np.random.default_rng(0)
    small = [
        np.clip(np.rint(still + noise.normal(0, _NOISE, still.shape)), 0, 255).astype(np.uint8) for _ in range(frames)
    ]
    given, state = small, None
    if steady:
        given = []
        for frame in small:
            state = steadied(state, frame)
            given.append(state.pixels)
        given = given[frames // 2 :]
    return _change([enlarge(frame) for frame in given]) / _change(small)


def _change(frames: list[Pixels]) -> float:
    pairs = itertools.pairwise(frames)
    return float(np.mean([abs(a.astype(np.int16) - b.astype(np.int16)).mean() for a, b in pairs]))


def bicubic(pixels: Pixels) -> Pixels:
    height, width = pixels.shape[:2]
    return np.asarray(Image.fromarray(pixels).resize((4 * width, 4 * height), Image.Resampling.BICUBIC))


def main() -> None:
    parser = argparse.ArgumentParser(description="Speed and flicker of films.")
    parser.add_argument("--model", nargs="+", default=_MODELS)
    parser.add_argument("--size", default="160x120")
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    width, height = map(int, args.size.split("x"))
    size = (width, height)
    report: dict[str, Any] = {"size": args.size, "frames": args.frames, "flicker": {}}
    report["flicker"]["bicubic"] = flicker(bicubic, size=size)
    for model in args.model:
        with Upscaler(model) as up:
            up(np.zeros((height, width, 3), np.uint8))
            report["flicker"][model] = flicker(up, size=size)
            report["flicker"][f"{model} --steady"] = flicker(up, size=size, steady=True)
            if model == DEFAULT_MODEL:
                report["speed"] = speeds(up, size=size, frames=args.frames, rounds=args.rounds)
                report["precision"] = up.info["precision"]
    print(json.dumps(report, indent=1))
    if args.json is not None:
        args.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
