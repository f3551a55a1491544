"""The two films that everybody has: a phone's clip and an old DVD, made to those facts, frame by frame."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path

import numpy as np

from srgan_trt.upscaler import Upscaler
from srgan_trt.video.convert import convert
from srgan_trt.video.options import VideoOptions
from srgan_trt.video.probe import probe
from srgan_trt.video.read import read_frames

from .films import add_video, av, encode, ffprobe, moving, needs_ffprobe, packets, times
from .test_streams import add_sound

COUNT = 12


@needs_ffprobe
def test_a_phone_s_clip(tmp_path: Path, repeating: Upscaler) -> None:
    """HEVC in 10 bits, on its side, of a varying rate, with AAC."""
    source, target = tmp_path / "phone.mov", tmp_path / "large.mov"
    ticks = [0, 20, 41, 60, 79, 100, 122, 140, 161, 179, 201, 220]
    base = Fraction(1, 600)
    with av.open(str(source), "w", options={"movie_timescale": "600"}) as out:
        stream = add_video(
            out, codec="libx265", bits=10, base=base, options={"x265-params": "log-level=none", "crf": "1"}
        )
        stream.codec_context.max_b_frames = 2
        stream.set_display_rotation(-90)
        audio = out.add_stream("aac", rate=48000)
        audio.layout = "stereo"
        encode(out, stream, moving(COUNT), ticks, base=base, bits=10)
        add_sound(out, audio, 0)
    result = convert(repeating, source, target, VideoOptions(codec="libx265", crf=1))
    assert (result.size, result.enlarged, result.frames) == ((48, 64), (192, 256), COUNT)
    assert times(target) == [tick * base for tick in ticks]
    assert packets(target, "audio") == packets(source, "audio")
    (video, _) = ffprobe(target, "stream=codec_name,pix_fmt,color_space:stream_side_data=rotation")["streams"]
    assert video == {"codec_name": "hevc", "pix_fmt": "yuv420p10le", "color_space": "bt709"}
    small = [frame.pixels for frame in read_frames(probe(source))]
    large = [frame.pixels[2::4, 2::4] for frame in read_frames(probe(target))]
    for number, found in enumerate(large):
        # One frame is not another: the bar is somewhere else.
        apart = [abs(found / 65535 - other / 65535).mean() for other in small]
        assert int(np.argmin(apart)) == number
        assert apart[number] < 4 / 255  # of colours that halved chroma smears


@needs_ffprobe
def test_an_old_dvd(tmp_path: Path, repeating: Upscaler) -> None:
    """MPEG-2 in a program stream whose clock starts anywhere: interlaced, anamorphic, untagged, with AC-3."""
    source, target = tmp_path / "dvd.vob", tmp_path / "large.mkv"
    with av.open(str(source), "w", format="vob") as out:
        stream = add_video(
            out,
            codec="mpeg2video",
            base=Fraction(1, 25),
            tags=None,
            options={"flags": "+ilme+ildct", "alternate_scan": "1", "bf": "2", "q": "2"},
            size=(64, 576),
        )
        stream.codec_context.sample_aspect_ratio = Fraction(12, 1)  # 4:3, as few pixels as there are
        audio = out.add_stream("ac3", rate=48000)
        audio.layout = "stereo"
        tall = [np.repeat(picture, 12, axis=0) for picture in moving(COUNT)]
        encode(out, stream, tall, list(range(COUNT)), base=Fraction(1, 25))
        add_sound(out, audio, 0)
    with av.open(str(source)) as film:
        assert film.start_time > 0
    result = convert(repeating, source, target, VideoOptions(preset="ultrafast", crf=10))
    assert "interlaced: bwdif makes whole frames of it" in result.notes
    assert "its colours are untagged: BT.601 was assumed, and is written" in result.notes
    assert result.frames == COUNT
    assert packets(target, "audio") == packets(source, "audio")
    command = ["ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "frame=pts_time", "-of", "csv=p=0"]
    shown = subprocess.run([*command, str(target)], capture_output=True, text=True, check=True).stdout.split()
    gaps = np.diff([float(text.strip(",")) for text in shown])
    assert abs(gaps - 0.04).max() <= 0.0011
    (video, sound) = ffprobe(target, "stream=codec_name,sample_aspect_ratio,color_space,color_primaries,field_order")[
        "streams"
    ]
    assert (video["sample_aspect_ratio"], video["color_space"]) == ("12:1", "bt470bg")
    assert video.get("field_order", "progressive") in ("progressive", "unknown")
    assert sound["codec_name"] == "ac3"

    def gap(path: Path) -> float:
        """From the first picture to the first sound."""
        starts = []
        for kind in ("video", "audio"):
            with av.open(str(path)) as film:
                stream = getattr(film.streams, kind)[0]
                starts.append(min(p.pts * p.time_base for p in film.demux(stream) if p.pts is not None))
        return float(starts[1] - starts[0])

    assert abs(gap(target) - gap(source)) <= 0.002
