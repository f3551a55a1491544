"""What else a film holds: sound, subtitles, chapters, attachments, titles; copied byte for byte, or said."""

from __future__ import annotations

import subprocess
import tracemalloc
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srgan_trt.upscaler import Upscaler
from srgan_trt.video.convert import convert
from srgan_trt.video.options import VideoOptions

from .films import add_video, av, encode, ffprobe, film, moving, needs_ffprobe, packets, times

FAST = VideoOptions(preset="ultrafast", crf=30)
LATE = 3744
"""Samples of 48000: sound that begins 78 ms after the picture."""


def rich_film(path: Path, *, sound: str = "ac3", late: int = LATE, font: bool = True) -> Path:
    """Pictures, late sound in French, a subtitle, chapters, and in Matroska a font."""
    with av.open(str(path), "w") as out:
        out.metadata["title"] = "A film"
        video = add_video(out)
        audio = out.add_stream(sound, rate=48000)
        audio.layout = "stereo"
        audio.metadata.update(language="fre", title="The commentary")
        matroska = path.suffix == ".mkv"
        text = out.add_mux_stream("subrip" if matroska else "mov_text")
        text.metadata["language"] = "ger"
        text.time_base = Fraction(1, 1000)
        if matroska and font:
            out.add_attachment("font.ttf", "application/x-truetype-font", b"not really a font" * 9)
        out.set_chapters(
            [
                {"id": 1, "start": 0, "end": 200, "time_base": Fraction(1, 1000), "metadata": {"title": "One"}},
                {"id": 2, "start": 200, "end": 480, "time_base": Fraction(1, 1000), "metadata": {"title": "Two"}},
            ]
        )
        encode(out, video, moving(12), list(range(0, 12 * 3600, 3600)), base=Fraction(1, 90000))
        add_sound(out, audio, late)
        packet = av.Packet(b"Hello" if matroska else b"\0\5Hello")
        packet.stream, packet.pts, packet.dts, packet.duration = text, 100, 100, 300
        packet.time_base = Fraction(1, 1000)
        out.mux(packet)
    return path


def add_sound(out: Any, stream: Any, late: int) -> None:
    fifo = av.AudioFifo()
    form = stream.codec_context.format.name
    noise = np.random.default_rng(0).integers(-9000, 9000, (1, 2 * 1536 * 12)).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(noise, format="s16", layout="stereo")
    frame.sample_rate = 48000
    for part in av.AudioResampler(format=form, layout="stereo", rate=48000).resample(frame):
        part.pts = None
        fifo.write(part)
    size, pts = stream.codec_context.frame_size or 1536, late
    while (part := fifo.read(size)) is not None:
        part.pts, part.time_base = pts, Fraction(1, 48000)
        pts += size
        out.mux(stream.encode(part))
    out.mux(stream.encode(None))


@needs_ffprobe
@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_everything_is_copied_byte_for_byte(tmp_path: Path, repeating: Upscaler, suffix: str) -> None:
    source, target = rich_film(tmp_path / f"a{suffix}"), tmp_path / f"b{suffix}"
    result = convert(repeating, source, target, FAST)
    assert result.notes == [] or suffix == ".mkv"
    for kind in ("audio", "subtitles"):
        # MP4 fills the time between subtitles with empty ones.
        before, after = ([data for data in packets(path, kind) if data != b"\0\0"] for path in (source, target))
        assert after == before
    before, after = (
        ffprobe(
            path, "format_tags=title:stream=codec_name,codec_type:stream_tags=language,title,filename", "-show_chapters"
        )
        for path in (source, target)
    )
    assert after["format"] == before["format"]
    found = [(c["start_time"], c["end_time"], c["tags"]["title"]) for c in after["chapters"]]
    assert found == [("0.000000", "0.200000", "One"), ("0.200000", "0.480000", "Two")]
    kinds = ("audio", "subtitle", "attachment")
    assert [s for s in after["streams"] if s["codec_type"] in kinds] == [
        s for s in before["streams"] if s["codec_type"] in kinds
    ]


@needs_ffprobe
@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov"])
def test_sound_that_begins_late_stays_late(tmp_path: Path, repeating: Upscaler, suffix: str) -> None:
    source, target = rich_film(tmp_path / "a.mp4"), tmp_path / f"b{suffix}"
    convert(repeating, source, target, FAST)

    def gap(path: Path) -> float:
        shown, heard = (
            ffprobe(path, "packet=pts_time", "-select_streams", kind)["packets"][0]["pts_time"] for kind in ("v", "a")
        )
        return float(heard) - float(shown)

    assert abs(gap(source) - LATE / 48000) < 0.008  # the encoder's own delay
    assert abs(gap(target) - gap(source)) <= 0.001


def test_what_the_container_cannot_hold_is_said_before_the_work(tmp_path: Path, repeating: Upscaler) -> None:
    source = rich_film(tmp_path / "a.mkv")
    result = convert(repeating, source, tmp_path / "b.mp4", FAST)
    assert ".mp4 cannot hold stream 2 (subtitle, subrip, ger): left out" in result.notes
    assert any(".mp4 cannot hold stream 3 (attachment" in note for note in result.notes)
    with av.open(str(tmp_path / "b.mp4")) as out:
        assert [stream.type for stream in out.streams] == [
            "video",
            "audio",
            "data",
        ]  # the last is MP4's names of chapters


def test_without_audio_there_is_none(tmp_path: Path, repeating: Upscaler) -> None:
    convert(repeating, rich_film(tmp_path / "a.mkv"), tmp_path / "b.mkv", VideoOptions(preset="ultrafast", audio=False))
    with av.open(str(tmp_path / "b.mkv")) as out:
        assert [stream.type for stream in out.streams] == ["video", "subtitle", "attachment"]


def test_a_part_takes_the_sound_and_the_chapters_of_its_time(tmp_path: Path, repeating: Upscaler) -> None:
    source = rich_film(tmp_path / "a.mkv", late=0)
    convert(repeating, source, tmp_path / "b.mkv", VideoOptions(preset="ultrafast", start=0.24, end=0.4))
    assert times(tmp_path / "b.mkv") == [Fraction(n, 25) for n in range(4)]
    with av.open(str(tmp_path / "b.mkv")) as out:
        assert [(c["metadata"]["title"], c["start"] * c["time_base"]) for c in out.chapters()] == [("Two", 0)]
        heard = [p.pts * p.time_base for p in out.demux(out.streams.audio[0]) if p.size]
    assert 0 <= heard[0] < Fraction(33, 1000)
    assert heard[-1] < Fraction(16, 100)
    copied = packets(tmp_path / "b.mkv", "audio")
    assert b"".join(copied) in b"".join(packets(source, "audio"))


def test_a_cover_is_not_the_film(tmp_path: Path, repeating: Upscaler) -> None:
    source = tmp_path / "a.mp4"
    with av.open(str(source), "w") as out:
        cover = out.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 32, 32, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        video = add_video(out)
        out.mux(cover.encode(av.VideoFrame(32, 32, "yuvj420p")))
        out.mux(cover.encode(None))
        encode(out, video, moving(4), list(range(0, 4 * 3600, 3600)), base=Fraction(1, 90000))
    result = convert(repeating, source, tmp_path / "b.mp4", FAST)
    assert result.size == (64, 48)
    with av.open(str(tmp_path / "b.mp4")) as out:
        dispositions = [bool(s.disposition & av.stream.Disposition.attached_pic) for s in out.streams.video]
    assert dispositions == [False, True]
    assert packets(tmp_path / "b.mp4", "video")


@needs_ffprobe
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_a_camera_s_transport_stream(tmp_path: Path, repeating: Upscaler, suffix: str) -> None:
    """Its clock starts at 1.4 s, and its AAC has a header in every packet, which other containers do not take."""
    source, target = tmp_path / "a.ts", tmp_path / f"b{suffix}"
    with av.open(str(source), "w") as out:
        video = add_video(out, codec="libx264", options={"bf": "2"})
        audio = out.add_stream("aac", rate=48000)
        audio.layout = "stereo"
        encode(out, video, moving(12), list(range(0, 12 * 3600, 3600)), base=Fraction(1, 90000))
        add_sound(out, audio, 0)
    convert(repeating, source, target, FAST)
    assert [data[7:] for data in packets(source, "audio")] == packets(target, "audio")
    apart = [a - b for a, b in zip(times(source), times(target), strict=True)]
    assert max(apart) - min(apart) <= Fraction(1, 1000)
    complaints = subprocess.run(
        ["ffmpeg", "-v", "warning", "-i", str(target), "-f", "null", "-"], capture_output=True, text=True, check=True
    )
    assert complaints.stderr == ""


def test_memory_is_flat(tmp_path: Path, repeating: Upscaler) -> None:
    """A film four times as long takes no more memory, but for what libraries keep."""
    used = []
    for count in (40, 160):
        source = film(tmp_path / f"{count}.mkv", moving(40) * (count // 40))
        tracemalloc.start()
        convert(repeating, source, tmp_path / f"{count}_large.mkv", FAST)
        used.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert used[1] < used[0] + 2 * 256 * 192 * 3
