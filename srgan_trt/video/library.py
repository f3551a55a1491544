"""PyAV, opened for what this package reads and writes; what FFmpeg says, as our errors."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

from ..errors import SrganTrtError, VideoError, missing

FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
"""What is written, by suffix, and FFmpeg's name of it."""
_READ = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,h264,hevc,obu,ivf,nut,dv,mxf,m4v,"
    "yuv4mpegpipe"
)
"""FFmpeg's names of what is read: films, no play lists, which name other files."""


def library() -> Any:
    """The module `av`. Raises MissingPackageError without it."""
    try:
        import av
        import av.filter
        import av.video.reformatter
    except ImportError:
        raise missing("av", "video", "read a video") from None
    return av


def open_video(path: Path) -> Any:
    """The file as an input container of PyAV. Raises VideoError if it is none that is read."""
    av = library()
    options = {"protocol_whitelist": "file", "format_whitelist": _READ}
    try:
        # Absolute, or a name like "concat:..." were a protocol.
        return av.open(os.path.abspath(path), options=options, metadata_errors="replace")
    except (av.error.FFmpegError, OSError) as error:
        raise VideoError(f"{path} cannot be read as a video: {said(error)}: check the file") from error


def said(error: BaseException) -> str:
    """What FFmpeg says, without numbers and names."""
    return str(getattr(error, "strerror", None) or error).split("\n")[0]


def fraction(rational: Any) -> Fraction | None:
    """A rational of PyAV, of any version; None where it is not known, or is 0."""
    return Fraction(rational.numerator, rational.denominator) if rational and rational.denominator else None


@contextmanager
def writing(target: Path, *, kept: str) -> Iterator[None]:
    """Errors of FFmpeg and of the disk as one of ours. kept: what is said to go on after it."""
    av = library()
    try:
        yield
    except (av.error.FFmpegError, OSError) as error:
        if isinstance(error, SrganTrtError):
            raise
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            raise VideoError(
                f"cannot write {target}: the disk of {target.parent} is full: make room; {kept}"
            ) from error
        raise VideoError(f"cannot write {target}: {said(error)}; {kept}") from error
