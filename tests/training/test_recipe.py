"""Settings of a training: what is refused, and that they come back from their file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from srgan_trt.errors import TrainingError
from srgan_trt.training.recipe import Recipe


def test_the_defaults_are_the_papers() -> None:
    recipe = Recipe()
    assert recipe.sizes == {"scale": 4}  # the rest as the architecture has it
    assert recipe.degrade == "none"
    assert (recipe.batch, recipe.crop) == (16, 96)
    assert (recipe.content_weight, recipe.adversarial_weight) == (1.0, 1e-3)
    assert recipe.peak_rate == 1e-4
    assert Recipe(batch_norm=False).peak_rate == 1e-3
    assert Recipe(batch_norm=False, stage="gan").peak_rate == 1e-4
    assert Recipe(learning_rate=5e-5).peak_rate == 5e-5


def test_it_comes_back_from_its_file(tmp_path: Path) -> None:
    recipe = Recipe(stage="gan", content_layers=("block2_conv2", "block5_conv2"), learning_rate=2e-4, init="a.h5")
    recipe.save(tmp_path / "recipe.json")
    assert Recipe.load(tmp_path / "recipe.json") == recipe


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"stage": "pixel"}', '{"unknown": 1, "content_layers": null}'])
def test_a_damaged_file_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / "recipe.json").write_text(text)
    with pytest.raises(TrainingError, match=r"recipe\.json is damaged or of another version"):
        Recipe.load(tmp_path / "recipe.json")


def test_no_training_is_said(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="holds no training to resume"):
        Recipe.load(tmp_path / "recipe.json")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"stage": "both"}, "--stage is one of pixel, gan, not both"),
        ({"scale": 3}, "--scale is one of 2, 4, not 3"),
        ({"crop": 98}, "--crop 98 is not a multiple of the scale: use 96"),
        ({"stage": "gan", "crop": 28}, "--crop 28 is too small for VGG and a discriminator: use 32"),
        ({"pixel_weight": -1.0}, "--pixel-weight is a number from 0"),
        ({"discriminator_filters": 0}, "--discriminator-filters is at least 1"),
        ({"batch": 0}, "--batch is at least 1"),
        ({"blocks": 0}, "--blocks is at least 1, not 0"),
        ({"degrade": "web"}, "--degrade is one of none, real, not web"),
        ({"degrade": "real", "teacher": "srresnet-x4"}, "--teacher learns from clean pictures"),
        ({"arch": "compact", "tail_kernel": 9}, "--tail-kernel is not a size of the architecture compact"),
        ({"arch": "paper", "upsampling_filters": 9}, "--upsampling-filters is not a size of the architecture paper"),
        ({"ema": 1.0}, "--ema is in 0..1"),
        ({"teacher_weight": 1.5}, "--teacher-weight in 0..1"),
        ({"learning_rate": 0.0}, "--learning-rate is above 0"),
        ({"learning_rate": float("nan")}, "--learning-rate is above 0"),
    ],
)
def test_what_makes_no_sense_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(TrainingError, match=said.replace(".", r"\.")):
        Recipe(**settings)
