"""Animated GIF, PNG and WebP stay animated: composed, with durations, loops and transparency, by reading them back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from srgan_trt.errors import PictureError
from srgan_trt.upscaler import Upscaler
from srgan_trt.video.animation import is_animated, upscale_animation

DURATIONS = [30, 60, 90]
LIMIT = 10_000_000


def pictures(*, alpha: bool) -> list[NDArray[np.uint8]]:
    """A square that moves over one colour, or over nothing; in colours that a palette holds."""
    frames = []
    for index in range(3):
        frame = np.zeros((20, 24, 4), np.uint8)
        frame[...] = (200, 40, 90, 0 if alpha else 255)
        frame[4:12, 3 * index : 3 * index + 8] = (10, 250, 30 + index, 255)
        frames.append(frame)
    return frames


def save(path: Path, frames: list[NDArray[np.uint8]], **options: Any) -> Path:
    images = [Image.fromarray(frame) for frame in frames]
    options = {"duration": DURATIONS, "loop": 3} | options
    if path.suffix == ".webp":
        options["lossless"] = True
    if path.suffix == ".gif":
        options["disposal"] = 2
    images[0].save(path, save_all=True, append_images=images[1:], **options)
    return path


def read(path: Path) -> tuple[list[NDArray[np.uint8]], list[float], Any]:
    frames, durations = [], []
    with Image.open(path) as image:
        for index in range(image.n_frames):
            image.seek(index)
            image.load()
            frames.append(np.asarray(image.convert("RGBA")))
            durations.append(image.info["duration"])
        return frames, durations, image.info.get("loop")


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp"])
@pytest.mark.parametrize("alpha", [False, True], ids=["opaque", "transparent"])
def test_every_frame_is_enlarged_and_shown_as_long(
    tmp_path: Path, repeating: Upscaler, suffix: str, alpha: bool
) -> None:
    source = save(tmp_path / f"a{suffix}", pictures(alpha=alpha))
    assert is_animated(source)
    made = upscale_animation(repeating, source, tmp_path / "b.png", format="png", max_pixels=LIMIT)
    assert (made.frames, made.size, made.repeats) == (3, (24, 20), 0)
    frames, durations, loop = read(tmp_path / "b.png")
    assert (durations, loop) == (DURATIONS, 3)
    for small, large in zip(read(source)[0], frames, strict=True):
        expected = np.repeat(np.repeat(small, 4, axis=0), 4, axis=1).astype(int)
        if not alpha:
            assert abs(large - expected).max() <= 1
        solid = (small[..., 3] == 255).repeat(4, 0).repeat(4, 1)
        inside = solid & (large[..., 3] == 255)
        assert inside.any()
        assert abs(large[inside] - expected[inside]).max() <= 1
        # Bicubic alpha rings at most two input pixels beside an edge.
        assert abs(large[..., 3] - expected[..., 3]).mean() < 12


@pytest.mark.parametrize("alpha", [False, True], ids=["opaque", "transparent"])
def test_webp_keeps_the_transparency(tmp_path: Path, repeating: Upscaler, alpha: bool) -> None:
    source = save(tmp_path / "a.gif", pictures(alpha=alpha))
    upscale_animation(repeating, source, tmp_path / "b.webp", format="webp", max_pixels=LIMIT)
    frames, durations, loop = read(tmp_path / "b.webp")
    assert (len(frames), durations, loop) == (3, DURATIONS, 3)
    assert (frames[0][..., 3].min() == 255) != alpha


def test_a_gif_that_does_not_loop_is_shown_once(tmp_path: Path, repeating: Upscaler) -> None:
    source = save(tmp_path / "a.gif", pictures(alpha=False), loop=None)
    upscale_animation(repeating, source, tmp_path / "b.png", format="png", max_pixels=LIMIT)
    assert read(tmp_path / "b.png")[2] == 1


def test_a_still_picture_before_the_animation_is_no_frame_of_it(tmp_path: Path, repeating: Upscaler) -> None:
    source = save(tmp_path / "a.png", pictures(alpha=False), default_image=True, duration=DURATIONS[:2])
    assert upscale_animation(repeating, source, tmp_path / "b.png", format="png", max_pixels=LIMIT).frames == 2


def test_still_pictures_are_not_animated(tmp_path: Path) -> None:
    for name in ("a.png", "a.gif", "a.webp"):
        Image.fromarray(pictures(alpha=False)[0]).save(tmp_path / name)
        assert not is_animated(tmp_path / name)
    (tmp_path / "b.gif").write_bytes(b"GIF89a")
    assert not is_animated(tmp_path / "b.gif")


def test_what_is_damaged_or_too_large_is_said(tmp_path: Path, repeating: Upscaler) -> None:
    noise = [np.random.default_rng(i).integers(0, 255, (40, 40, 4), np.uint8) for i in range(3)]
    source = save(tmp_path / "a.png", noise)
    with pytest.raises(PictureError, match=r"has 40 x 40 = 0\.0 million pixels in a frame, more than the limit"):
        upscale_animation(repeating, source, tmp_path / "b.png", format="png", max_pixels=1000)
    source.write_bytes(source.read_bytes()[:-4000])
    with pytest.raises(PictureError, match="cannot be read: "):
        upscale_animation(repeating, source, tmp_path / "b.png", format="png", max_pixels=LIMIT)
    assert not (tmp_path / "b.png").exists()
