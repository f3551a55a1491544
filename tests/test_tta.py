"""`tta`: the mean of eight runs, whatever the picture's kind, in strips that do not show; closer to the truth."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from srgan_trt import tta
from srgan_trt.compiler.plan import Plan
from srgan_trt.errors import PictureError
from srgan_trt.quality.metrics import psnr
from srgan_trt.sizes import Target
from srgan_trt.tta import TIMES, tta_inputs, tta_pixels
from srgan_trt.upscaler import Upscaler

from .handmade import differences, noise, small_plan, small_spec


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return small_plan(tmp_path_factory.mktemp("plan"))


@pytest.fixture(scope="module")
def once(plan: Plan) -> Iterator[Upscaler]:
    with Upscaler(plan, exact=True) as up:
        yield up


@pytest.fixture(scope="module")
def eight(plan: Plan) -> Iterator[Upscaler]:
    with Upscaler(plan, exact=True, tta=True) as up:
        yield up


def mean(up: Upscaler, image: NDArray[Any]) -> NDArray[Any]:
    """By Pillow's names of the eight."""
    quarter, back_again = Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_270
    ways = [None, *Image.Transpose]
    back = {quarter: back_again, back_again: quarter}
    results = []
    for way in ways:
        turned = Image.fromarray(image) if way is None else Image.fromarray(image).transpose(way)
        large = Image.fromarray(up(np.asarray(turned)))
        results.append(np.asarray(large if way is None else large.transpose(back.get(way, way)), np.float64))
    return np.floor(np.mean(results, axis=0) + 0.5).astype(np.uint8)


def test_is_the_mean_of_the_eight_turns_and_mirrors(once: Upscaler, eight: Upscaler) -> None:
    image = noise(13, 22)
    np.testing.assert_array_equal(eight(image), mean(once, image))


def test_turns_of_a_picture_give_the_same_turned(eight: Upscaler) -> None:
    image = noise(12, 9)
    np.testing.assert_array_equal(eight(np.rot90(image)), np.rot90(eight(image)))


def test_strips_do_not_show(eight: Upscaler, monkeypatch: pytest.MonkeyPatch) -> None:
    image = noise(50, 16)
    whole = eight(image)
    monkeypatch.setattr(tta, "_STRIP_PIXELS", 3000)
    assert len(tta_inputs(50, 16, eight.spec, halo=eight.spec.halo)) > 3 * TIMES
    seen: list[tuple[int, int]] = []
    cut = eight(image, progress=lambda done, total: seen.append((done, total)))
    np.testing.assert_array_equal(cut, whole)
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1]


def test_16_bits_gray_alpha_and_sizes(once: Upscaler, eight: Upscaler) -> None:
    deep = noise(11, 14, dtype=np.uint16)
    result = eight(deep)
    assert result.dtype == np.uint16
    shallow = eight((deep >> 8).astype(np.uint8))
    assert differences((result >> 8).astype(np.uint8), shallow).max() <= 6
    clear = noise(11, 14, 4)
    np.testing.assert_array_equal(eight(clear)[:, :, 3], once(clear)[:, :, 3])
    assert eight(noise(11, 14, 1)[:, :, 0], scale=2).shape == (22, 28)
    assert eight(noise(5, 4), scale=12).shape == (60, 48, 3)


def test_tiles_and_memory_are_told(eight: Upscaler, once: Upscaler) -> None:
    options: Any = {"channels": 3, "dtype": np.uint8}
    assert len(eight.schedules(20, 30, **options)) == TIMES * len(once.schedules(20, 30, **options))
    assert eight.info["tta"] is True
    target = Target(120, 80, 1)
    assert eight.working_pixels(target, 30, 20) == once.working_pixels(target, 30, 20) + 3 * 120 * 80
    assert tta_pixels(Target(40_000, 40_000, 1), 10_000, 10_000, small_spec()) == 3 << 24


def test_is_closer_to_the_truth(shared_images: Path) -> None:
    """All of Set5 by srresnet-photo-x4: 30.01 -> 30.24 dB (docs/pictures.md)."""
    small, large = (
        np.asarray(Image.open(next((shared_images / "test" / "Set5" / kind).glob("img_005*"))).convert("RGB"))
        for kind in ("LRx4", "HR")
    )
    found = []
    for each in (False, True):
        with Upscaler("srresnet-photo-x4", precision="fp32", tta=each) as up:
            result = up(small)
        found.append(psnr(large[: result.shape[0], : result.shape[1]], result, border=4))
    assert found[1] > found[0] + 0.1


def test_an_array_on_a_gpu_is_refused(eight: Upscaler) -> None:
    class Device:
        def __init__(self) -> None:
            self.__cuda_array_interface__ = {"shape": (4, 4, 3), "typestr": "|u1", "data": (1, False), "version": 3}

    with pytest.raises(PictureError, match="leave scale, size, tta and color_fix out"):
        eight(Device())
