"""Tiny films made on the spot, and an independent reader of what became of them: Debian's ffprobe and ffmpeg."""

from __future__ import annotations

import json
import shutil
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

av = pytest.importorskip("av", reason='pip install ".[video]"')

WIDTH, HEIGHT = 64, 48
KR_KB = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}
"""Of the matrices of ITU-T H.273."""

needs_ffprobe = pytest.mark.skipif(shutil.which("ffprobe") is None, reason="no ffprobe here: apt install ffmpeg")


def to_yuv(rgb: NDArray[Any], matrix: int, *, full: bool, bits: int) -> tuple[NDArray[Any], ...]:
    """RGB (H, W, 3), 0..1, as Y, U, V of full resolution, by the formulas of BT.601, 709 and 2020."""
    kr, kb = KR_KB[matrix]
    red, green, blue = np.moveaxis(rgb, -1, 0)
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    blueness, redness = (blue - luma) / (2 * (1 - kb)), (red - luma) / (2 * (1 - kr))
    step, top = 1 << (bits - 8), (1 << bits) - 1
    planes = (
        (luma * top, blueness * top + 128 * step, redness * top + 128 * step)
        if full
        else ((219 * luma + 16) * step, (224 * blueness + 128) * step, (224 * redness + 128) * step)
    )
    kind = np.uint8 if bits == 8 else np.uint16
    return tuple(np.clip(np.rint(plane), 0, top).astype(kind) for plane in planes)


def to_rgb(planes: tuple[NDArray[Any], ...], matrix: int, *, full: bool, bits: int) -> NDArray[np.float64]:
    """The other way, for planes of full resolution."""
    kr, kb = KR_KB[matrix]
    step, top = 1 << (bits - 8), (1 << bits) - 1
    y, u, v = (plane.astype(np.float64) for plane in planes)
    luma = y / top if full else (y / step - 16) / 219
    u, v = (
        ((u - 128 * step) / top, (v - 128 * step) / top) if full else ((u / step - 128) / 224, (v / step - 128) / 224)
    )
    red, blue = luma + 2 * (1 - kr) * v, luma + 2 * (1 - kb) * u
    green = (luma - kr * red - kb * blue) / (1 - kr - kb)
    return np.clip(np.stack([red, green, blue], -1), 0, 1)


def patches(seed: int = 0) -> NDArray[np.float64]:
    """A picture of 8 x 6 flat squares of 8 pixels in colours that yuv holds, 0..1."""
    colours = np.random.default_rng(seed).uniform(0, 1, (HEIGHT // 8, WIDTH // 8, 3))
    return np.repeat(np.repeat(colours, 8, axis=0), 8, axis=1)


def yuv_frame(rgb: NDArray[Any], matrix: int = 1, *, full: bool = False, bits: int = 8) -> Any:
    """A tagged frame in 4:2:0."""
    y, u, v = to_yuv(rgb, matrix, full=full, bits=bits)
    flat = np.concatenate([y.ravel(), u[::2, ::2].ravel(), v[::2, ::2].ravel()])
    name = "yuv420p" if bits == 8 else "yuv420p10le"
    return av.VideoFrame.from_ndarray(flat.reshape(-1, y.shape[1]), format=name)


def moving(count: int) -> list[NDArray[np.float64]]:
    """Pictures that all differ: a bar goes over patches."""
    frames = []
    for index in range(count):
        picture = patches()
        picture[:, 3 * index % WIDTH : 3 * index % WIDTH + 4] = 1 - index / (count + 1)
        frames.append(picture)
    return frames


def add_video(
    out: Any,
    *,
    codec: str = "ffv1",
    bits: int = 8,
    tags: tuple[int, int, int, int] | None = (1, 1, 1, 1),
    base: Fraction = Fraction(1, 90000),
    options: dict[str, str] | None = None,
    size: tuple[int, int] = (WIDTH, HEIGHT),
) -> Any:
    """A stream. tags: matrix, primaries, transfer, range."""
    stream = out.add_stream(codec, rate=25, options=options or {})
    stream.width, stream.height = size
    stream.pix_fmt = "yuv420p" if bits == 8 else "yuv420p10le"
    stream.time_base = stream.codec_context.time_base = base
    if tags is not None:
        context = stream.codec_context
        context.colorspace, context.color_primaries, context.color_trc, context.color_range = tags
    return stream


def film(
    path: Path,
    frames: list[NDArray[np.float64]] | None = None,
    *,
    pts: list[int] | None = None,
    base: Fraction = Fraction(1, 90000),
    matrix: int = 1,
    full: bool = False,
    bits: int = 8,
    tagged: bool = True,
    **settings: Any,
) -> Path:
    """Writes a film of these pictures, lossless unless another codec is named."""
    frames = moving(8) if frames is None else frames
    pts = [index * 3600 for index in range(len(frames))] if pts is None else pts
    height, width = frames[0].shape[:2]
    # Or MP4 rounds when the first frame is shown to a thousandth of a second.
    options = {"movie_timescale": "90000"} if path.suffix in (".mp4", ".mov") else {}
    with av.open(str(path), "w", options=options) as out:
        tags = (matrix, {1: 1, 9: 9}.get(matrix, 6), {1: 1, 9: 14}.get(matrix, 6), 1 + full) if tagged else None
        stream = add_video(out, bits=bits, tags=tags, base=base, size=(width, height), **settings)
        encode(out, stream, frames, pts, base=base, matrix=matrix, full=full, bits=bits)
    return path


def encode(out: Any, stream: Any, frames: Any, pts: list[int], *, base: Fraction, **kind: Any) -> None:
    for picture, tick in zip(frames, pts, strict=True):
        frame = yuv_frame(picture, **kind)
        frame.pts, frame.time_base = tick, base
        out.mux(stream.encode(frame))
    out.mux(stream.encode(None))


def times(path: Path) -> list[Fraction]:
    """Of the frames, in seconds."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return [frame.pts * Fraction(stream.time_base) for frame in container.decode(stream)]


def planes(path: Path) -> list[tuple[NDArray[Any], ...]]:
    """Y, U, V of each frame as they are stored."""
    found = []
    with av.open(str(path)) as container:
        for frame in container.decode(container.streams.video[0]):
            kind = np.uint8 if frame.format.components[0].bits == 8 else "<u2"
            layers = []
            for plane in frame.planes:
                rows = np.frombuffer(plane, kind).reshape(plane.height, -1)
                layers.append(rows[:, : plane.width].copy())
            found.append(tuple(layers))
    return found


def packets(path: Path, kind: str) -> list[bytes]:
    """What the first stream of a kind holds."""
    with av.open(str(path)) as container:
        stream = getattr(container.streams, kind)[0]
        return [bytes(packet) for packet in container.demux(stream) if packet.size]


def ffprobe(path: Path, entries: str, *options: str) -> Any:
    """What Debian's ffprobe reads of it."""
    command = ["ffprobe", "-v", "error", *options, "-show_entries", entries, "-of", "json", str(path)]
    return json.loads(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)
