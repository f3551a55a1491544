"""What is asked for a film, and what became of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from ..errors import VideoError
from ..imaging.sources import film_suffix
from ..sizes import Size

Progress: TypeAlias = Callable[[int, int], None]
"""Called with (frames done, about how many in all), from a thread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoOptions:
    """How a film is read and written; see `upscale_video`."""

    codec: str | None = None
    crf: int | None = None
    preset: str | None = None
    start: float | None = None
    end: float | None = None
    deinterlace: str = "auto"
    hdr: str = "refuse"
    audio: bool = True
    resume: bool = True
    segment: int | None = None
    size: Size | None = None
    steady: bool = False

    def __post_init__(self) -> None:
        for name, value, known in (
            ("deinterlace", self.deinterlace, ("auto", "off")),
            ("hdr", self.hdr, ("refuse", "keep")),
        ):
            if value not in known:
                raise VideoError(f"{name} is {' or '.join(known)}, not {value!r}")
        if (self.start or 0) < 0 or (self.end is not None and self.end <= (self.start or 0)):
            raise VideoError("start and end are seconds from the film's beginning, the end after the start")


@dataclass(slots=True, kw_only=True)
class VideoResult:
    """What became of a film."""

    target: Path
    size: tuple[int, int]
    enlarged: tuple[int, int]
    frames: int = 0
    repeats: int = 0
    """Frames equal to those before, which were computed once."""
    resumed: int = 0
    """Frames that an earlier run had made."""
    busy: float = 0.0
    """Share of the time that the network was at work, 0..1."""
    notes: list[str] = field(default_factory=list)


def default_target(source: Path, label: str) -> Path:
    """`movie_x4.mp4` beside `movie.mp4`; `.mkv` where the container is not written. label: "x4"."""
    return source.with_name(f"{source.stem}_{label}{film_suffix(source)}")
