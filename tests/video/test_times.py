"""When each frame is shown: to the tick, whatever the rate."""

from __future__ import annotations

import itertools
import random
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from srgan_trt.upscaler import Upscaler
from srgan_trt.video.convert import convert
from srgan_trt.video.options import VideoOptions
from srgan_trt.video.probe import probe
from srgan_trt.video.read import read_frames

from .films import add_video, av, encode, ffprobe, film, moving, needs_ffprobe, times

FAST = VideoOptions(preset="ultrafast", crf=30)
COUNT = 12


def uneven(seed: int = 1, begin: int = 0) -> list[int]:
    """Ticks of a film whose rate varies."""
    steps = random.Random(seed)
    ticks = [begin]
    while len(ticks) < COUNT:
        ticks.append(ticks[-1] + steps.randint(900, 9000))
    return ticks


@pytest.mark.parametrize("codec", ["libx264", "libx265", "prores_ks", "ffv1", "libsvtav1", "libvpx-vp9"])
def test_a_varying_rate_is_kept_to_the_tick(tmp_path: Path, repeating: Upscaler, codec: str) -> None:
    suffix = ".mov" if codec == "prores_ks" else ".mp4"
    # Encoders may have frames out of order: so has this source.
    source = film(tmp_path / "a.mp4", moving(COUNT), pts=uneven(begin=7001), codec="libx264", options={"bf": "3"})
    assert times(source) == [Fraction(tick, 90000) for tick in uneven(begin=7001)]
    convert(repeating, source, tmp_path / f"b{suffix}", VideoOptions(codec=codec, segment=5))
    assert times(tmp_path / f"b{suffix}") == times(source)


@needs_ffprobe
@pytest.mark.parametrize("base", [Fraction(1, 90000), Fraction(1001, 30000), Fraction(1, 12800), Fraction(1, 1000)])
def test_an_independent_reader_sees_the_same_times(tmp_path: Path, repeating: Upscaler, base: Fraction) -> None:
    ticks = [0, 1, 3, 4, 8, 9]
    source = film(tmp_path / "a.mp4", moving(6), pts=ticks, base=base)
    convert(repeating, source, tmp_path / "b.mp4", FAST)
    (stream,) = ffprobe(tmp_path / "b.mp4", "stream=time_base")["streams"]
    frames = ffprobe(tmp_path / "b.mp4", "frame=pts", "-select_streams", "v")["frames"]
    assert [frame["pts"] * Fraction(stream["time_base"]) for frame in frames] == [tick * base for tick in ticks]


def test_matroska_counts_thousandths_and_that_is_said(tmp_path: Path, repeating: Upscaler) -> None:
    source = film(tmp_path / "a.mp4", moving(COUNT), pts=uneven())
    result = convert(repeating, source, tmp_path / "b.mkv", FAST)
    assert ".mkv counts thousandths of a second: times are rounded to them" in result.notes
    apart = [abs(a - b) for a, b in zip(times(tmp_path / "b.mkv"), times(source), strict=True)]
    assert max(apart) <= Fraction(1, 2000)


def test_a_part_begins_at_zero_and_ends_before_its_end(tmp_path: Path, repeating: Upscaler) -> None:
    source = film(tmp_path / "a.mp4", moving(COUNT))  # 25 frames a second
    convert(repeating, source, tmp_path / "b.mp4", VideoOptions(preset="ultrafast", start=0.12, end=0.24))
    assert times(tmp_path / "b.mp4") == [Fraction(0), Fraction(1, 25), Fraction(2, 25)]


@pytest.mark.parametrize("codec", ["ffv1", "libx264"])
@pytest.mark.parametrize("after", [None, 3600 * 5, 3600 * 6 + 1])
def test_going_on_gives_the_frames_that_follow(tmp_path: Path, codec: str, after: int | None) -> None:
    source = film(tmp_path / "a.mp4", moving(COUNT), codec=codec, options={"g": "4"})
    whole = {frame.pts: frame.pixels for frame in read_frames(probe(source))}
    rest = {frame.pts: frame.pixels for frame in read_frames(probe(source), after=after)}
    assert list(rest) == [pts for pts in whole if after is None or pts > after]
    assert all(np.array_equal(rest[pts], whole[pts]) for pts in rest)


def test_a_stream_without_times_gets_those_of_its_rate(tmp_path: Path) -> None:
    """A bare H.264 stream, as cameras and encoders write it."""
    source = tmp_path / "a.h264"
    with av.open(str(source), "w", format="h264") as out:
        stream = add_video(out, codec="libx264", options={"bf": "2"})
        encode(out, stream, moving(COUNT), list(range(0, 3600 * COUNT, 3600)), base=Fraction(1, 90000))
    ticks = [frame.pts for frame in read_frames(probe(source))]
    assert len(ticks) == COUNT
    assert len({b - a for a, b in itertools.pairwise(ticks)}) == 1


def test_avi_with_frames_out_of_order_keeps_their_order(tmp_path: Path) -> None:
    pictures = moving(COUNT)
    source = film(
        tmp_path / "a.avi", pictures, pts=list(range(COUNT)), base=Fraction(1, 25), codec="mpeg4", options={"bf": "2"}
    )
    frames = list(read_frames(probe(source)))
    assert len(frames) == COUNT
    nearest = [int(np.argmin([abs(f.pixels / 255 - other).mean() for other in pictures])) for f in frames]
    assert nearest == list(range(COUNT))


def test_a_film_that_was_cut_off_gives_what_is_there_and_says_so(tmp_path: Path, repeating: Upscaler) -> None:
    source = film(tmp_path / "a.mkv", moving(COUNT), codec="libx264", options={"g": "3"})
    data = source.read_bytes()
    source.write_bytes(data[: len(data) * 2 // 3])
    result = convert(repeating, source, tmp_path / "b.mp4", FAST)
    assert 3 <= result.frames < COUNT
    assert len(times(tmp_path / "b.mp4")) == result.frames
