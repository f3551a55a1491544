"""All that is settled before a film is made: what it is, how it is encoded, what is copied, what is said of it."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from .._version import __version__
from ..errors import VideoError
from ..imaging.encode import check_target
from ..sizes import Size, result_label
from ..upscaler import Upscaler
from . import encoding as encoders
from .encoding import Encoding
from .join import Kept, choose_streams
from .library import FORMATS, library
from .options import VideoOptions
from .probe import VideoFacts, probe
from .work import Job, Work, source_hash

_LONGEST, _SHORTEST, _SEGMENT_PIXELS = 250, 48, 20_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Film:
    """A film and how it becomes another one."""

    source: Path
    target: Path
    options: VideoOptions
    facts: VideoFacts
    settings: Encoding
    kept: Kept
    job: Job
    size: Size | None
    """Of the result, with even sides, which 4:2:0 needs; None is the network's own."""
    frames: int
    """How many there will be; about, unless `counted`."""
    notes: tuple[str, ...]
    """What a user should know before the work."""

    @property
    def start(self) -> Fraction | None:
        """Seconds."""
        return _seconds(self.options.start)

    @property
    def end(self) -> Fraction | None:
        return _seconds(self.options.end)

    @property
    def counted(self) -> bool:
        return self.facts.counted and self.start is None and self.end is None

    @property
    def deinterlace(self) -> bool:
        return self.options.deinterlace == "auto"

    @property
    def segment(self) -> int:
        """Frames of a segment."""
        by_size = _SEGMENT_PIXELS // (self.facts.width * self.facts.height)
        return self.options.segment or max(_SHORTEST, min(_LONGEST, by_size))


def prepare(up: Upscaler, source: Path, target: Path, options: VideoOptions, *, overwrite: bool) -> Film:
    """Looks at a film and settles how it becomes `target`; nothing is written.

    Raises VideoError if it cannot be read or so written, PictureError if the target exists and not `overwrite`, and
    what `up` raises.
    """
    if target.suffix.lower() not in FORMATS:
        raise VideoError(f"{target} does not end as a film that is written: end it in {', '.join(FORMATS)}")
    if not source.is_file():
        raise VideoError(f"{source} does not exist: check the name")
    target = target.absolute()
    if os.path.realpath(target) == os.path.realpath(source):
        raise VideoError(f"{source} would be replaced while it is read: name another output")
    facts = probe(source, hdr=options.hdr)
    size = None if options.size is None else dataclasses.replace(options.size, even=True)
    settings = _encoding(up, facts, target, options, size)
    job = _job(up, source, settings, options)
    if not Work(target, job).joined.exists():
        check_target(target, overwrite=overwrite)
    kept = choose_streams(facts, target, audio=options.audio)
    return Film(
        source=source,
        target=target,
        options=options,
        facts=facts,
        settings=settings,
        kept=kept,
        job=job,
        size=size,
        frames=_total(facts, options),
        notes=(*facts.notes, *_said_of(facts, settings, options, target), *kept.notes),
    )


def _encoding(up: Upscaler, facts: VideoFacts, target: Path, options: VideoOptions, size: Size | None) -> Encoding:
    codec = options.codec or encoders.default_codec(target)
    found = encoders.encoder(codec, target)
    to = up.target(size, *facts.upright)
    width, height = to.width, to.height
    settings = Encoding(
        codec=codec,
        options=encoders.quality_options(found, crf=options.crf, preset=options.preset),
        pixel_format=encoders.pixel_format(found, bits=facts.bits, size=(width, height)),
        width=width,
        height=height,
        aspect=facts.upright_aspect,
        time_base=facts.time_base,
        rate=facts.rate,
        colour=encoders.limited(facts.colour, codec),
    )
    encoders.check_encoder(settings)
    return settings


def _job(up: Upscaler, source: Path, settings: Encoding, options: VideoOptions) -> Job:
    versions = f"{__version__} {library().__version__}"
    network = f"{up.plan.body_hash} {up.info['precision']} {up.info['halo']} {up.info['denoise']} {versions}"
    network += "".join(f" {name}" for name in ("tta", "color_fix") if up.info[name])
    # All else of the encoding follows from these, the film and the network; sound is copied at the end.
    given = dataclasses.asdict(options) | {"codec": settings.codec}
    del given["resume"], given["audio"]
    given["size"] = result_label(options.size, up.spec)
    return Job(source=source_hash(source), network=network, settings={k: str(v) for k, v in given.items()})


def _said_of(facts: VideoFacts, settings: Encoding, options: VideoOptions, target: Path) -> Iterator[str]:
    if facts.colour.assumed:
        matrix = "BT.709" if facts.colour.matrix == 1 else "BT.601"
        yield f"its colours are untagged: {matrix} was assumed, and is written"
    if facts.interlaced and options.deinterlace == "auto":
        yield "interlaced: bwdif makes whole frames of it"
    elif facts.interlaced:
        yield "interlaced, and left so: lines will show where something moves"
    if settings.colour != facts.colour:
        yield f"{settings.codec} has no full range: levels were made 16..235"
    if facts.bits > 8 and not settings.pixel_format.endswith("le"):
        yield f"{settings.codec} has 8 bits: the film's others were left out"
    if target.suffix.lower() in (".mkv", ".webm") and 1000 % facts.time_base.denominator:
        yield f"{target.suffix} counts thousandths of a second: times are rounded to them"


def _total(facts: VideoFacts, options: VideoOptions) -> int:
    begin = math.floor((options.start or 0) * facts.rate)
    last = facts.frames if options.end is None else min(facts.frames, math.ceil(options.end * facts.rate))
    return max(1, last - begin)


def _seconds(value: float | None) -> Fraction | None:
    return None if value is None else Fraction(value).limit_denominator(1_000_000)
