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

from .films import av, ffprobe, film, needs_ffprobe, patches, planes, to_rgb, to_yuv

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


@pytest.mark.parametrize(
    ("codec", "form", "suffix"),
    [
        ("ffv1", "yuv444p", ".mkv"),
        ("ffv1", "yuv422p10le", ".mkv"),
        ("ffv1", "bgr0", ".mkv"),
        ("ffv1", "gbrp10le", ".mkv"),
        ("ffv1", "bgra", ".mkv"),
        ("ffv1", "yuva444p", ".mkv"),
        ("qtrle", "rgb24", ".mov"),
        ("png", "rgb24", ".mov"),
        ("mjpeg", "yuvj444p", ".avi"),
        ("prores_ks", "yuv444p10le", ".mov"),
    ],
)
def test_pixels_of_every_kind_are_read_right(tmp_path: Path, codec: str, form: str, suffix: str) -> None:
    """RGB films, JPEGs in an AVI as old cameras made them, and what editors write."""
    source, rgb = tmp_path / f"a{suffix}", np.rint(patches() * 255).astype(np.uint8)
    with av.open(str(source), "w") as out:
        stream = out.add_stream(codec, rate=25, options={"q": "1"} if codec == "mjpeg" else {})
        stream.width, stream.height, stream.pix_fmt = 64, 48, form
        full = form.startswith("yuvj")
        frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
        frame = frame.reformat(
            format=form, dst_colorspace=5, src_color_range=2, dst_color_range=2 if full or "yuv" not in form else 1
        )
        if form.startswith("yuv"):
            stream.codec_context.colorspace, stream.codec_context.color_range = 5, 1 + full
        frame.pts = 0
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    (found,) = read_frames(probe(source))
    levels = found.pixels / np.iinfo(found.pixels.dtype).max * 255
    assert abs(middles(levels, 8) - middles(rgb, 8)).max() <= (6 if codec in ("mjpeg", "prores_ks") else 3)


def test_gray_films_are_read_in_gray(tmp_path: Path) -> None:
    source, ramp = tmp_path / "a.mkv", np.tile(np.arange(64, dtype=np.uint8) * 4, (48, 1))
    with av.open(str(source), "w") as out:
        stream = out.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "gray"
        stream.codec_context.color_range = 2
        frame = av.VideoFrame.from_ndarray(ramp, format="gray")
        frame.color_range, frame.pts = 2, 0
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    (found,) = read_frames(probe(source))
    assert abs(found.pixels.astype(int) - ramp[..., None]).max() <= 1
