"""Films that lie on their side, are interlaced, anamorphic, HDR, repeat themselves, or are none."""

from __future__ import annotations

import dataclasses
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srgan_trt.errors import SrganTrtError, VideoError
from srgan_trt.upscaler import Upscaler
from srgan_trt.video import probe as probing
from srgan_trt.video.convert import convert
from srgan_trt.video.encoding import pixel_format
from srgan_trt.video.options import VideoOptions
from srgan_trt.video.probe import probe
from srgan_trt.video.read import read_frames

from .films import HEIGHT, WIDTH, add_video, av, encode, ffprobe, film, moving, needs_ffprobe, patches, times

FAST = VideoOptions(preset="ultrafast", crf=30)
TICKS = list(range(0, 12 * 3600, 3600))
BASE = Fraction(1, 90000)


@needs_ffprobe
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_a_phone_s_film_is_set_upright(tmp_path: Path, repeating: Upscaler, degrees: int) -> None:
    """As ffmpeg sets it, which is the reference."""
    source = tmp_path / "a.mp4"
    with av.open(str(source), "w") as out:
        stream = add_video(out, codec="libx264", options={"crf": "0"})
        stream.set_display_rotation(degrees)
        encode(out, stream, [patches()], [0], base=BASE)
    size = (WIDTH, HEIGHT) if degrees % 180 == 0 else (HEIGHT, WIDTH)
    command = ["ffmpeg", "-v", "error", "-i", str(source), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    upright = np.frombuffer(raw, np.uint8).reshape(size[1], size[0], 3).astype(int)
    (frame,) = read_frames(probe(source))
    assert frame.pixels.shape == upright.shape
    assert abs(frame.pixels[4::8, 4::8] - upright[4::8, 4::8]).max() <= 4  # its conversion is a rougher one
    result = convert(repeating, source, tmp_path / "b.mp4", FAST)
    assert result.enlarged == (4 * size[0], 4 * size[1])
    assert "side_data_list" not in ffprobe(tmp_path / "b.mp4", "stream_side_data=rotation")["streams"][0]


@needs_ffprobe
@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov"])
def test_pixels_that_are_not_square_stay_so(tmp_path: Path, repeating: Upscaler, suffix: str) -> None:
    source = tmp_path / "a.mkv"
    with av.open(str(source), "w") as out:
        stream = add_video(out, codec="libx264")
        stream.codec_context.sample_aspect_ratio = Fraction(64, 45)
        encode(out, stream, [patches()], [0], base=BASE)
    convert(repeating, source, tmp_path / f"b{suffix}", FAST)
    (stream,) = ffprobe(tmp_path / f"b{suffix}", "stream=sample_aspect_ratio")["streams"]
    assert stream == {"sample_aspect_ratio": "64:45"}


def interlaced(path: Path) -> Path:
    """A bar that moves between the fields."""
    with av.open(str(path), "w") as out:
        stream = add_video(out, codec="libx264", options={"crf": "0", "flags": "+ilme+ildct", "x264-params": "tff=1"})
        woven = []
        for index in range(12):
            picture = np.full((HEIGHT, WIDTH, 3), 0.2)
            picture[0::2, 4 * index : 4 * index + 8] = 0.8
            picture[1::2, 4 * index + 2 : 4 * index + 10] = 0.8
            woven.append(picture)
        encode(out, stream, woven, TICKS, base=BASE)
    return path


def combing(pixels: np.ndarray[Any, Any]) -> float:
    """How much neighbouring lines differ."""
    return float(abs(np.diff(pixels[..., 1].astype(int), axis=0)).mean())


def test_going_on_in_an_interlaced_film_gives_the_frames_that_follow(tmp_path: Path) -> None:
    """A filter looks at its neighbours: they must be there."""
    facts = probe(interlaced(tmp_path / "a.mkv"))
    whole = {frame.pts: frame.pixels for frame in read_frames(facts)}
    rest = {frame.pts: frame.pixels for frame in read_frames(facts, after=sorted(whole)[5])}
    assert list(rest) == sorted(whole)[6:]
    assert all(np.array_equal(rest[pts], whole[pts]) for pts in rest)


def test_interlaced_films_get_whole_frames(tmp_path: Path, repeating: Upscaler) -> None:
    facts = probe(interlaced(tmp_path / "a.mkv"))
    assert facts.interlaced
    whole, woven = (list(read_frames(facts, deinterlace=wanted)) for wanted in (True, False))
    assert [frame.pts for frame in whole] == [frame.pts for frame in woven]
    assert combing(whole[5].pixels) < combing(woven[5].pixels) / 4
    result = convert(repeating, facts.path, tmp_path / "b.mkv", FAST)
    assert "interlaced: bwdif makes whole frames of it" in result.notes
    left = convert(repeating, facts.path, tmp_path / "c.mkv", dataclasses.replace(FAST, deinterlace="off"))
    assert "interlaced, and left so: lines will show where something moves" in left.notes


def hdr(path: Path, transfer: int) -> Path:
    with av.open(str(path), "w") as out:
        options = {"x265-params": "log-level=none"}
        stream = add_video(out, codec="libx265", bits=10, tags=(9, 9, transfer, 1), options=options)
        stream.codec_context.max_b_frames = 0  # of a single frame libx265 tells a dts of chance otherwise
        encode(out, stream, [patches()], [0], base=BASE, bits=10, matrix=9)
    return path


@needs_ffprobe
@pytest.mark.parametrize(("transfer", "name"), [(16, "smpte2084"), (18, "arib-std-b67")])
def test_hdr_is_refused_or_kept_as_asked(tmp_path: Path, repeating: Upscaler, transfer: int, name: str) -> None:
    source = hdr(tmp_path / "a.mkv", transfer)
    with pytest.raises(VideoError, match="is HDR, and the networks were trained on SDR: --hdr keep"):
        convert(repeating, source, tmp_path / "b.mp4", FAST)
    result = convert(repeating, source, tmp_path / "b.mp4", dataclasses.replace(FAST, hdr="keep"))
    assert "HDR: its levels were treated as a picture's" in result.notes
    (stream,) = ffprobe(tmp_path / "b.mp4", "stream=pix_fmt,color_transfer,color_primaries,color_space")["streams"]
    assert stream == {
        "pix_fmt": "yuv420p10le",
        "color_transfer": name,
        "color_primaries": "bt2020",
        "color_space": "bt2020nc",
    }


def test_repeated_frames_are_computed_once(
    tmp_path: Path, repeating: Upscaler, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = moving(2)
    source = film(tmp_path / "a.mkv", [a, a, a, b, a, a])
    computed = []
    upscale = repeating.upscale_picture
    monkeypatch.setattr(repeating, "upscale_picture", lambda *what, **how: computed.append(1) or upscale(*what, **how))
    result = convert(repeating, source, tmp_path / "b.mkv", VideoOptions(codec="ffv1"))
    assert (result.frames, result.repeats, len(computed)) == (6, 3, 3)
    assert "3 of 6 frames were repeats, computed once" in result.notes
    (pictures,) = ([bytes(f.to_ndarray()) for f in av.open(str(tmp_path / "b.mkv")).decode(video=0)],)
    assert len(pictures) == 6
    assert pictures[0] == pictures[1] == pictures[2] == pictures[4] == pictures[5] != pictures[3]


def test_the_pixels_are_the_network_s(tmp_path: Path, repeating: Upscaler) -> None:
    source = film(tmp_path / "a.mkv", [patches(seed) for seed in range(3)], full=True)
    convert(repeating, source, tmp_path / "b.mkv", VideoOptions(codec="ffv1"))
    inputs = [frame.pixels for frame in read_frames(probe(source))]
    outputs = [frame.pixels for frame in read_frames(probe(tmp_path / "b.mkv"))]
    for small, large in zip(inputs, outputs, strict=True):
        middle = large[18::32, 18::32].astype(int)
        assert abs(middle - small[4::8, 4::8]).max() <= 3  # 8 bits of YUV have steps of up to 2 levels


def not_a_film(path: Path) -> Path:
    path.write_bytes(b"this is no film at all, however long it may be" * 50)
    return path


def only_sound(path: Path) -> Path:
    with av.open(str(path), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 2000), np.int16), format="s16", layout="stereo")
        frame.sample_rate, frame.pts = 48000, 0
        stream.layout = "stereo"
        out.mux(stream.encode(frame))
    return path


def play_list(path: Path) -> Path:
    """It names another file, as a hostile one might."""
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n/etc/passwd\n#EXT-X-ENDLIST\n")
    return path


def encrypted(path: Path) -> Path:
    key = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": "76a6c65c5ea762046bd749a2e632ccbb"}
    key["encryption_kid"] = "a7e61c373e219033c21091fa607bf3b8"
    with av.open(str(path), "w", options=key) as out:
        encode(out, add_video(out, codec="libx264"), moving(4), TICKS[:4], base=BASE)
    return path


def changing(path: Path) -> Path:
    """Frames of two sizes in one stream."""
    parts = []
    for number, side in enumerate((1, 2)):
        part = path.with_name(f"{number}.h264")
        with av.open(str(part), "w", format="h264") as out:
            stream = add_video(out, codec="libx264", size=(side * WIDTH, side * HEIGHT))
            pictures = [np.repeat(np.repeat(p, side, 0), side, 1) for p in moving(3)]
            encode(out, stream, pictures, TICKS[:3], base=BASE)
        parts.append(part.read_bytes())
    path.write_bytes(b"".join(parts))
    return path


def unknown(path: Path) -> Path:
    """Its codec has a name that nobody knows."""
    film(path)
    path.write_bytes(path.read_bytes().replace(b"V_FFV1", b"V_FFV9"))
    return path


@pytest.mark.parametrize(
    ("make", "name", "message"),
    [
        (not_a_film, "a.mp4", "cannot be read as a video: Invalid data found when processing input: check the file"),
        (play_list, "a.mp4", "cannot be read as a video: "),
        (only_sound, "a.mkv", "has no video stream: give a film, or upscale its cover as a picture"),
        (encrypted, "a.mp4", "is encrypted: decrypt it first"),
        (unknown, "a.mkv", "is in a codec that FFmpeg cannot decode here: convert it first"),
        (changing, "a.h264", "changes its frames from 64 x 48 to 128 x 96 at "),
    ],
)
def test_what_is_no_film_is_said_in_one_line(
    tmp_path: Path, repeating: Upscaler, make: Any, name: str, message: str
) -> None:
    source = make(tmp_path / name)
    with pytest.raises(VideoError) as raised:
        convert(repeating, source, tmp_path / "b.mkv", FAST)
    assert message in str(raised.value)
    assert str(source) in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        ("b.avi", {}, "does not end as a film that is written: end it in .mp4, .m4v, .mov, .mkv, .webm"),
        ("b.webm", {"codec": "libx264"}, ".webm cannot hold libx264: name the output .mkv, or another --codec"),
        ("b.mp4", {"codec": "libx266"}, "there is no video encoder libx266 here: try libx264"),
        ("b.mp4", {"codec": "aac"}, "there is no video encoder aac here"),
        ("b.mkv", {"codec": "ffv1", "crf": 20}, "ffv1 has no quality that --crf could set: leave it out"),
        ("b.mkv", {"codec": "ffv1", "preset": "slow"}, "ffv1 has no --preset: leave it out"),
        ("b.mkv", {"preset": "slowish"}, "libx264 does not take 256 x 192 in yuv420p with crf 17, preset slowish"),
        ("a.mkv", {}, "would be replaced while it is read: name another output"),
        ("b.mkv", {"start": 9.0}, "has no frames between --start and --end: check the times"),
    ],
)
def test_what_cannot_be_written_is_said_before_the_work(
    tmp_path: Path, repeating: Upscaler, target: str, options: Any, message: str
) -> None:
    source = film(tmp_path / "a.mkv")
    with pytest.raises(VideoError, match=message.replace("(", "\\(")):
        convert(repeating, source, tmp_path / target, VideoOptions(**options))
    assert [path.name for path in tmp_path.iterdir()] == ["a.mkv"]


def test_a_header_that_asks_for_too_much_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "MAX_PIXELS", 3000)
    with pytest.raises(VideoError, match="says that its frames are 64 x 48: at most 3000 pixels are taken"):
        probe(film(tmp_path / "a.mkv"))


def test_an_absurd_rate_is_not_the_encoder_s(tmp_path: Path, repeating: Upscaler) -> None:
    """Frames that follow each other by a tick."""
    source = film(tmp_path / "a.mp4", moving(6), pts=list(range(6)))
    assert 1 <= probe(source).rate <= 1000
    convert(repeating, source, tmp_path / "b.mp4", FAST)
    assert times(tmp_path / "b.mp4") == times(source)


@pytest.mark.parametrize(
    ("codec", "bits", "size", "name"),
    [
        ("libx264", 8, (64, 48), "yuv420p"),
        ("libx264", 16, (64, 48), "yuv420p10le"),
        ("libx264", 8, (63, 48), "yuv444p"),
        ("libx264", 8, (64, 47), "yuv422p"),
        ("prores_ks", 8, (64, 48), "yuv422p10le"),
        ("libsvtav1", 16, (64, 48), "yuv420p10le"),
    ],
)
def test_the_pixel_format_keeps_the_bits_and_takes_the_size(
    codec: str, bits: int, size: tuple[int, int], name: str
) -> None:
    assert pixel_format(av.Codec(codec, "w"), bits=bits, size=size) == name


def test_options_that_make_no_sense() -> None:
    with pytest.raises(VideoError, match="deinterlace is auto or off, not 'yes'"):
        VideoOptions(deinterlace="yes")
    with pytest.raises(VideoError, match="the end after the start"):
        VideoOptions(start=2, end=1)


def test_a_target_that_exists_is_kept(tmp_path: Path, repeating: Upscaler) -> None:
    source = film(tmp_path / "a.mkv")
    (tmp_path / "b.mkv").write_text("mine")
    with pytest.raises(SrganTrtError, match="exists: give --overwrite"):
        convert(repeating, source, tmp_path / "b.mkv", FAST)
    assert (tmp_path / "b.mkv").read_text() == "mine"
    convert(repeating, source, tmp_path / "b.mkv", FAST, overwrite=True)
    assert (tmp_path / "b.mkv").stat().st_size > 1000


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libsvtav1", "libvpx-vp9", "ffv1"])
def test_encoders_write_nothing_on_the_terminal(
    tmp_path: Path, repeating: Upscaler, capfd: pytest.CaptureFixture[str], codec: str
) -> None:
    convert(repeating, film(tmp_path / "a.mkv"), tmp_path / "b.mkv", VideoOptions(codec=codec))
    assert capfd.readouterr() == ("", "")


def test_webm_gets_a_codec_that_it_holds(tmp_path: Path, repeating: Upscaler) -> None:
    source = film(tmp_path / "a.webm", codec="libvpx-vp9")
    convert(repeating, source, tmp_path / "b.webm", VideoOptions())
    with av.open(str(tmp_path / "b.webm")) as out:
        assert out.streams.video[0].codec_context.codec.canonical_name == "av1"
    assert len(times(tmp_path / "b.webm")) == 8
