"""What a film is reckoned to take, against what it takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from srgan_trt.errors import VideoError
from srgan_trt.upscaler import Upscaler
from srgan_trt.video.convert import convert
from srgan_trt.video.estimate import Estimate, estimate
from srgan_trt.video.options import VideoOptions
from srgan_trt.video.prepare import prepare
from srgan_trt.video.probe import probe

from .films import film, moving

COUNT = 30


def reckoned(up: Upscaler, source: Path, options: VideoOptions) -> Estimate:
    return estimate(up, prepare(up, source, source.with_name("big.mkv"), options, overwrite=False))


@pytest.mark.parametrize("codec", ["libx264", "ffv1"])
def test_bytes_are_near_the_truth_and_no_file_is_made(tmp_path: Path, repeating: Upscaler, codec: str) -> None:
    source, options = film(tmp_path / "a.mkv", moving(COUNT)), VideoOptions(codec=codec)
    found = reckoned(repeating, source, options)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mkv"]
    convert(repeating, source, tmp_path / "big.mkv", options)
    written = (tmp_path / "big.mkv").stat().st_size
    assert 0.5 < found.disk_bytes / written < 2
    assert found.room_bytes == pytest.approx(2 * found.disk_bytes, rel=0.01)
    assert found.seconds > 0
    assert found.memory_bytes > 256 * 192 * 3


def test_the_middle_of_a_large_frame_stands_for_it(tmp_path: Path, repeating: Upscaler) -> None:
    small = np.random.default_rng(0).uniform(0, 1, (320, 480, 3))
    frames = [np.tile(small, (2, 2, 1)) for _ in range(2)]
    source = film(tmp_path / "a.mkv", frames, codec="libx264", options={"crf": "10", "preset": "ultrafast"})
    options = VideoOptions(codec="ffv1")
    found = reckoned(repeating, source, options)
    convert(repeating, source, tmp_path / "big.mkv", options)
    assert 0.7 < found.disk_bytes / (tmp_path / "big.mkv").stat().st_size < 1.5


def test_frames_of_a_bare_stream_are_counted_and_of_others_reckoned(tmp_path: Path) -> None:
    told = film(tmp_path / "a.mp4", moving(8), codec="libx264")
    bare = film(tmp_path / "a.h264", moving(8), codec="libx264")
    by_length = film(tmp_path / "a.mkv", moving(8))
    found = [(probe(path).frames, probe(path).counted) for path in (told, bare, by_length)]
    assert found == [(8, True), (8, True), (8, False)]


def test_a_film_that_was_begun_is_reckoned_for_the_rest(tmp_path: Path, repeating: Upscaler) -> None:
    source, options = film(tmp_path / "a.mkv", moving(COUNT)), VideoOptions(codec="ffv1", segment=5)

    def progress(done: int, total: int) -> None:
        if done == 18:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(repeating, source, tmp_path / "big.mkv", options, progress=progress)
    found = reckoned(repeating, source, options)
    assert (found.frames, found.resumed) == (COUNT, 15)
    with pytest.raises(VideoError, match="was begun before, but that was with codec ffv1"):
        reckoned(repeating, source, VideoOptions(codec="libx264", segment=5))


@pytest.mark.parametrize("name", ["a.avi", "a.ts", "a.h264", "a.mkv"])
def test_films_of_any_container_are_tried(tmp_path: Path, repeating: Upscaler, name: str) -> None:
    source = film(tmp_path / name, moving(COUNT), codec="libx264")
    assert reckoned(repeating, source, VideoOptions(preset="ultrafast", steady=True)).disk_bytes > 1000


def test_a_size_is_reckoned_at_that_size(tmp_path: Path, repeating: Upscaler) -> None:
    from srgan_trt.sizes import Size

    source = film(tmp_path / "a.mkv", moving(8))
    whole, half = (reckoned(repeating, source, VideoOptions(codec="ffv1", size=size)) for size in (None, Size(scale=2)))
    assert half.disk_bytes < whole.disk_bytes
    assert half.memory_bytes < whole.memory_bytes
