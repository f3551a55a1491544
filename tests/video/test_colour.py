"""Matrix, range and depth: right to two levels of 255, by the formulas of the standards, and tagged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from srgan_trt.upscaler import Upscaler
from srgan_trt.video.convert import convert
from srgan_trt.video.options import VideoOptions
from srgan_trt.video.probe import probe
from srgan_trt.video.read import read_frames

from .films import ffprobe, film, needs_ffprobe, patches, planes, to_rgb, to_yuv

NAMES = {1: "bt709", 5: "bt470bg", 6: "smpte170m", 9: "bt2020nc"}


def middles(picture: np.ndarray, side: int) -> np.ndarray:
    """The middle of each patch of the given side: beyond the reach of halved chroma."""
    return picture[side // 2 :: side, side // 2 :: side]


@pytest.mark.parametrize("matrix", NAMES, ids=NAMES.get)
@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("bits", [8, 10])
def test_what_is_read_is_the_colour_that_was_meant(tmp_path: Path, matrix: int, full: bool, bits: int) -> None:
    source = film(tmp_path / "a.mkv", [patches()], matrix=matrix, full=full, bits=bits)
    (frame,) = read_frames(probe(source))
    assert frame.pixels.dtype == (np.uint8 if bits == 8 else np.uint16)
    found = frame.pixels / np.iinfo(frame.pixels.dtype).max
    stored = to_rgb(to_yuv(patches(), matrix, full=full, bits=bits), matrix, full=full, bits=bits)
    assert abs(middles(found, 8) - middles(stored, 8)).max() <= 2 / 255


@needs_ffprobe
@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov"])
@pytest.mark.parametrize("matrix", NAMES, ids=NAMES.get)
@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("bits", [8, 10])
def test_the_result_has_the_colours_the_bits_and_the_tags_of_the_source(
    tmp_path: Path, repeating: Upscaler, suffix: str, matrix: int, full: bool, bits: int
) -> None:
    source = film(tmp_path / "a.mkv", [patches()], matrix=matrix, full=full, bits=bits)
    convert(repeating, source, tmp_path / f"b{suffix}", VideoOptions(crf=0, preset="ultrafast"))
    (made,) = planes(tmp_path / f"b{suffix}")
    deep = made[0].dtype != np.uint8
    assert deep == (bits == 10)
    luma, blueness, redness = made
    found = to_rgb(
        (middles(luma, 32), middles(blueness, 16), middles(redness, 16)), matrix, full=full, bits=10 if deep else 8
    )
    stored = to_rgb(to_yuv(patches(), matrix, full=full, bits=bits), matrix, full=full, bits=bits)
    assert abs(found - middles(stored, 8)).max() <= 2 / 255
    (stream,) = ffprobe(tmp_path / f"b{suffix}", "stream=color_space,color_range,color_transfer,color_primaries")[
        "streams"
    ]
    assert stream["color_space"] == NAMES[matrix]
    assert stream["color_range"] == ("pc" if full else "tv")
    assert stream["color_transfer"] == {1: "bt709", 9: "bt2020-10"}.get(matrix, "smpte170m")
    assert stream["color_primaries"] == {1: "bt709", 9: "bt2020"}.get(matrix, "smpte170m")


def test_ten_bits_keep_every_level_of_a_dark_ramp(tmp_path: Path) -> None:
    ramp = np.broadcast_to(np.arange(64)[None, :, None] / 1023, (48, 64, 3))
    (frame,) = read_frames(probe(film(tmp_path / "a.mkv", [ramp], full=True, bits=10)))
    assert len(np.unique(frame.pixels[0, :, 1])) == 64


@pytest.mark.parametrize(("lines", "matrix", "primaries"), [(480, 5, 6), (576, 5, 5), (720, 1, 1)])
def test_what_is_untagged_is_taken_as_players_take_it_and_said(
    tmp_path: Path, lines: int, matrix: int, primaries: int
) -> None:
    flat = np.full((lines, 64, 3), 0.5)
    colour = probe(film(tmp_path / "a.mkv", [flat], tagged=False, codec="libx264")).colour
    assert (colour.matrix, colour.primaries, colour.full, colour.assumed) == (matrix, primaries, False, True)


@needs_ffprobe
def test_a_dvd_made_larger_is_not_taken_for_hd(tmp_path: Path, repeating: Upscaler) -> None:
    """576 lines become 2304, where players would take BT.709."""
    source = film(tmp_path / "a.mkv", [np.full((576, 64, 3), 0.5)], tagged=False, codec="libx264")
    result = convert(repeating, source, tmp_path / "b.mkv", VideoOptions(preset="ultrafast"))
    assert "its colours are untagged: BT.601 was assumed, and is written" in result.notes
    (stream,) = ffprobe(tmp_path / "b.mkv", "stream=color_space,color_range,color_primaries")["streams"]
    assert stream == {"color_space": "bt470bg", "color_range": "tv", "color_primaries": "bt470bg"}


def test_prores_has_no_full_range_and_that_is_said(tmp_path: Path, repeating: Upscaler) -> None:
    source = film(tmp_path / "a.mkv", [patches()], full=True)
    result = convert(repeating, source, tmp_path / "b.mov", VideoOptions(codec="prores_ks"))
    assert "prores_ks has no full range: levels were made 16..235" in result.notes
    ((luma, blueness, redness),) = planes(tmp_path / "b.mov")
    found = to_rgb((middles(luma, 32), blueness[16::32, 8::16], redness[16::32, 8::16]), 1, full=False, bits=10)
    assert abs(found - middles(patches(), 8)).max() <= 4 / 255
