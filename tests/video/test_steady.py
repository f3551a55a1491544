"""`steady`: still parts are averaged over time, what moves goes through, and a broken-off job goes on to the same."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from srgan_trt.errors import VideoError
from srgan_trt.upscaler import Upscaler
from srgan_trt.video.convert import convert
from srgan_trt.video.options import VideoOptions
from srgan_trt.video.steady import Steadied, steadied
from srgan_trt.video.work import folder_of

from .films import film, moving, planes

PHOTO = Path(__file__).resolve().parents[2] / "examples" / "coffee.jpg"
STEADY = VideoOptions(codec="ffv1", segment=4, steady=True)


def scene(count: int, *, noise: float, step: int = 0, dtype: Any = np.uint8) -> list[NDArray[Any]]:
    """A window on the photo that moves by `step` pixels a frame, with noise of so many levels."""
    rng = np.random.default_rng(3)
    unit = np.iinfo(dtype).max // 255
    with Image.open(PHOTO) as opened:
        photo = np.asarray(opened.convert("RGB"), np.float64)
    frames = []
    for number in range(count):
        left = 40 + step * number
        clean = photo[60:180, left : left + 160]
        noisy = np.clip(np.rint(clean + rng.normal(0, noise, clean.shape)), 0, 255)
        frames.append((noisy * unit).astype(dtype))
    return frames


def filtered(frames: list[NDArray[Any]]) -> list[NDArray[Any]]:
    found, state = [], None
    for frame in frames:
        state = steadied(state, frame)
        found.append(state.pixels)
    return found


def change(frames: list[NDArray[Any]]) -> float:
    return float(np.mean([np.abs(a.astype(float) - b).mean() for a, b in itertools.pairwise(frames)]))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_still_scene_with_noise_is_held_still(dtype: Any) -> None:
    noisy, clean = scene(12, noise=4, dtype=dtype), scene(1, noise=0, dtype=dtype)[0].astype(float)
    held = filtered(noisy)
    assert held[0].dtype == dtype
    assert change(held[-4:]) < 0.25 * change(noisy[-4:])
    assert np.abs(held[-1] - clean).mean() < 0.5 * np.abs(noisy[-1] - clean).mean()


def test_what_moves_without_noise_is_left_as_it_is() -> None:
    """All but the flattest parts: no detail is lost."""
    clean = scene(8, noise=0, step=3)
    for before, after in zip(clean, filtered(clean), strict=True):
        apart = np.abs(before.astype(int) - after)
        assert np.sqrt(np.square(apart).mean()) < 0.6
        assert (apart > 2).mean() < 0.01


def test_a_part_that_moves_before_a_still_one_leaves_no_trace() -> None:
    frames = scene(10, noise=2)
    clean = scene(1, noise=0)[0]
    for number, frame in enumerate(frames):
        frame[40:70, 10 + 12 * number : 30 + 12 * number] = (250, 20, 20)
    last = filtered(frames)[-1].astype(int)
    where = slice(10 + 12 * 8, 30 + 12 * 8)  # where it was one frame ago
    apart = np.abs(last - clean)[40:70, where][:, :8]
    assert apart.mean() < 4, "the background, new, with its noise"
    np.testing.assert_array_equal(frames[-1][45:65, 122:134], last[45:65, 122:134])


def test_a_new_scene_begins_anew() -> None:
    frames = [*scene(6, noise=3), *[255 - frame for frame in scene(1, noise=3)]]
    assert np.abs(filtered(frames)[-1].astype(int) - frames[-1]).mean() < 0.2


def test_the_same_frame_again_changes_nothing() -> None:
    first, second = scene(2, noise=3)
    state = steadied(steadied(None, first), second)
    assert steadied(state, second.copy()) is state


def test_what_it_knows_is_kept() -> None:
    first, second = scene(2, noise=3)
    state = steadied(None, first)
    again = Steadied.from_bytes(state.to_bytes())
    np.testing.assert_array_equal(steadied(again, second).pixels, steadied(state, second).pixels)


def test_a_broken_off_film_goes_on_to_the_same_frames(tmp_path: Path, repeating: Upscaler) -> None:
    source = film(tmp_path / "a.mkv", moving(14))
    convert(repeating, source, tmp_path / "whole.mkv", STEADY)

    def stop(done: int, total: int | None) -> None:
        if done == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(repeating, source, tmp_path / "b.mkv", STEADY, progress=stop)
    assert convert(repeating, source, tmp_path / "b.mkv", STEADY).resumed == 8
    for one, other in zip(planes(tmp_path / "whole.mkv"), planes(tmp_path / "b.mkv"), strict=True):
        np.testing.assert_array_equal(one[0], other[0])
    assert not folder_of(tmp_path / "b.mkv").exists()


def test_a_damaged_filter_is_said(tmp_path: Path, repeating: Upscaler) -> None:
    source = film(tmp_path / "a.mkv", moving(9))

    def stop(done: int, total: int | None) -> None:
        if done == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(repeating, source, tmp_path / "b.mkv", STEADY, progress=stop)
    (state,) = folder_of(tmp_path / "b.mkv").glob("*.npz")
    state.write_bytes(b"nothing")
    with pytest.raises(VideoError, match=r"is damaged: --no-resume starts .*b\.mkv anew"):
        convert(repeating, source, tmp_path / "b.mkv", STEADY)
    with pytest.raises(VideoError, match="that was with steady True: --no-resume"):
        convert(repeating, source, tmp_path / "b.mkv", dataclasses.replace(STEADY, steady=False))
