"""A training from nothing begins at a network that interpolates."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from srgan_trt.models.generator import ARCHITECTURES
from srgan_trt.models.keras3 import import_keras
from srgan_trt.quality.bicubic import enlarge, shrink
from srgan_trt.quality.metrics import psnr
from srgan_trt.training.initialisation import begin_as_interpolation

from .photos import PHOTO


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize(
    ("arch", "options"),
    [(arch, {"batch_norm": norm}) for arch in ("paper", "superresolution-gans") for norm in (False, True)]
    + [("compact", {})],
)
def test_it_is_near_the_interpolated_picture_from_the_first_step(
    arch: str, scale: int, options: dict[str, bool]
) -> None:
    import_keras("draw weights").utils.set_random_seed(0)
    architecture = ARCHITECTURES[arch]
    model = architecture.make(blocks=4, filters=16, scale=scale, **options)
    hr = np.asarray(Image.open(PHOTO))[100:260, 200:360]
    low, high = architecture.input_range
    lr = shrink(hr, scale)

    def distance() -> float:
        output = np.asarray(model(lr[None].astype(np.float32) / 255 * (high - low) + low))[0]
        black, white = architecture.output_range
        levels = np.rint(np.clip((output - black) * 255 / (white - black), 0, 255)).astype(np.uint8)
        return psnr(levels, hr, border=scale)

    drawn = distance()
    begin_as_interpolation(model, architecture, scale)
    assert distance() > psnr(enlarge(lr, scale), hr, border=scale) - 8
    assert distance() > drawn + 5


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_only_the_three_channels_are_set_the_others_stay_random(arch: str) -> None:
    model = ARCHITECTURES[arch].make(blocks=2, filters=16)
    before = [variable.numpy() for variable in model.trainable_variables]
    begin_as_interpolation(model, ARCHITECTURES[arch], 4)
    head = before[0].shape
    after = model.trainable_variables[0].numpy()
    assert head == after.shape
    np.testing.assert_array_equal(after[..., 3:], before[0][..., 3:])
