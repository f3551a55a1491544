"""`upscale_video`, for Python."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..sizes import result_label, size_of
from ..upscaler import Upscaler
from .convert import convert
from .library import library
from .options import Progress, VideoOptions, default_target

if TYPE_CHECKING:
    from ..compiler.plan import Plan
    from ..sizes import Box

_log = logging.getLogger(__name__)


def upscale_video(
    path: str | os.PathLike[str],
    *,
    output: str | os.PathLike[str] | None = None,
    scale: float | None = None,
    size: Box | None = None,
    overwrite: bool = False,
    model: str | os.PathLike[str] | Plan | None = None,
    sha256: str | None = None,
    device: str = "auto",
    precision: str | None = None,
    tile: int | None = None,
    halo: int | None = None,
    max_vram: int | None = None,
    threads: int | None = None,
    denoise: str | int | None = None,
    texture: float | None = None,
    tta: bool = False,
    color_fix: bool = False,
    codec: str | None = None,
    crf: int | None = None,
    preset: str | None = None,
    start: float | None = None,
    end: float | None = None,
    deinterlace: str = "auto",
    hdr: str = "refuse",
    audio: bool = True,
    resume: bool = True,
    segment: int | None = None,
    steady: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Upscales a film: every frame by the network; sound, subtitles, chapters and attachments are copied.

    The same call again goes on where the last was broken off, by whatever. Notes go to the log.

    Args:
        path: A film that FFmpeg reads.
        output: Where to, ending in .mkv, .mp4, .mov or .webm; None is `movie_x4.mp4` beside `movie.mp4`.
        scale, size: As calling an `Upscaler` takes them, rounded to even sides; None is what the network makes.
        overwrite: Whether `output` may exist.
        model, sha256, device, precision, tile, halo, max_vram, threads, denoise, texture, tta, color_fix: As `Upscaler`
            takes them. A GAN invents texture anew in every frame, which shimmers.
        codec: FFmpeg's name of the encoder; None is libx264, for .webm libsvtav1.
        crf, preset: The encoder's; None is 17 for libx264, 18 for libx265, 22 for libsvtav1, 24 for libvpx-vp9.
        start, end: Seconds from the film's beginning; the result begins at 0.
        deinterlace: "auto" makes whole frames of an interlaced film, "off" leaves them.
        hdr: "refuse", or "keep" to treat PQ or HLG levels as a picture's.
        audio: Whether sound is copied.
        resume: Whether what an earlier call left is gone on with; else it is removed.
        segment: Frames that are lost at most when the program is killed; None is 48 to 250, by their size.
        steady: Average noise over time where nothing moves, before the network: still scenes do not shimmer.
        progress: Called with (frames done, about how many in all), from a thread.

    Returns:
        The path of the result.

    Raises:
        VideoError: The film cannot be read, an option does not fit it, the output cannot hold it, the disk is full, or
            an earlier call was of another film or other options.
        SrganTrtError: What `Upscaler` raises.
    """
    options = VideoOptions(
        codec=codec,
        crf=crf,
        preset=preset,
        start=start,
        end=end,
        deinterlace=deinterlace,
        hdr=hdr,
        audio=audio,
        resume=resume,
        segment=segment,
        size=size_of(scale, size),
        steady=steady,
    )
    library()
    with Upscaler(
        model,
        sha256=sha256,
        device=device,
        precision=precision,
        tile=tile,
        halo=halo,
        max_vram=max_vram,
        threads=threads,
        denoise=denoise,
        texture=texture,
        tta=tta,
        color_fix=color_fix,
    ) as up:
        source = Path(path)
        label = result_label(options.size, up.spec)
        target = default_target(source, label) if output is None else Path(output)

        def say(note: str) -> None:
            _log.warning("%s: %s", source, note)

        return convert(up, source, target, options, overwrite=overwrite, progress=progress, say=say).target
