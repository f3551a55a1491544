"""Settings of a training: what is refused, and that they come from files and come back from their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from srgan_trt.errors import TrainingError
from srgan_trt.training.recipe import Recipe, read_settings, setting_types


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


TOML = """
stage = "gan"  # settings that are not named are as they are without a file
content_layers = ["block2_conv2"]
content_weight = 1
batch_norm = false
"""


def test_a_file_of_settings_is_toml_or_json(tmp_path: Path) -> None:
    (tmp_path / "gan.toml").write_text(TOML)
    (tmp_path / "gan.json").write_text('{"stage": "gan", "content_layers": ["block2_conv2"], "blocks": null}')
    given = read_settings(tmp_path / "gan.toml")
    assert given == {"stage": "gan", "content_layers": ("block2_conv2",), "content_weight": 1.0, "batch_norm": False}
    assert isinstance(given["content_weight"], float)
    assert read_settings(tmp_path / "gan.json") == {"stage": "gan", "content_layers": ("block2_conv2",)}
    Recipe(**given)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not a recipe in TOML or JSON"),
        ("[1, 2]", "is not a recipe: name settings"),
        ('{"learning-rate": 1e-4}', "there is no setting learning-rate: use stage, arch"),
        ('{"steps": "many"}', "steps is a whole number, not many"),
        ('{"steps": true}', "steps is a whole number, not True"),
        ('{"steps": null}', "steps is a whole number, not None"),
        ('{"batch_norm": "no"}', "batch_norm is true or false, not no"),
        ('{"content_layers": "block5_conv2"}', "content_layers is a list, not block5_conv2"),
        ('{"init": 3}', "init is a text, not 3"),
        ('{"loss": "l2"}', "loss is one of l1, mse, not l2"),
        ('{"seed": -1}', "seed is a whole number >= 0, not -1"),
    ],
)
def test_what_a_file_of_settings_cannot_hold_names_the_file_and_the_key(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "own.json"
    path.write_text(text)
    with pytest.raises(TrainingError) as raised:
        read_settings(path)
    assert str(raised.value).startswith(f"{path}")
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_toml_that_is_none_and_a_file_that_is_not_there_are_said(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text("steps =\n")
    for name in ("own.toml", "absent.toml"):
        with pytest.raises(TrainingError, match=name):
            read_settings(tmp_path / name)


def test_every_setting_has_help() -> None:
    for name in setting_types():
        assert Recipe.__dataclass_fields__[name].metadata["help"]


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
        ({"stage": "both"}, "stage is one of pixel, gan, not both"),
        ({"scale": 3}, "scale is one of 2, 4, not 3"),
        ({"crop": 98}, "crop 98 is not a multiple of the scale: use 96"),
        ({"block_weight": 0.1, "crop": 32}, "crop 32 is too small to see blocks of JPEGs in it: use 36, or leave"),
        ({"stage": "gan", "crop": 28}, "crop 28 is too small for VGG and a discriminator: use 32"),
        ({"pixel_weight": -1.0}, "pixel_weight is a number >= 0.0, not -1.0"),
        ({"discriminator_filters": 0}, "discriminator_filters is a whole number >= 1, not 0"),
        ({"batch": 0}, "batch is a whole number >= 1, not 0"),
        ({"blocks": 0}, "blocks is a whole number >= 1, not 0"),
        ({"degrade": "web"}, "degrade is one of none, real, not web"),
        ({"degrade": "real", "teacher": "srresnet-x4"}, "a teacher learns from clean pictures"),
        ({"arch": "compact", "tail_kernel": 9}, "tail_kernel is not a size of the architecture compact"),
        ({"arch": "paper", "upsampling_filters": 9}, "upsampling_filters is not a size of the architecture paper"),
        ({"ema": 1.0}, "ema is a number < 1.0, not 1.0"),
        ({"teacher_weight": 1.5}, "teacher_weight is a number <= 1.0, not 1.5"),
        ({"learning_rate": 0.0}, "learning_rate is a number > 0.0"),
        ({"learning_rate": float("nan")}, "learning_rate is a number > 0.0"),
    ],
)
def test_what_makes_no_sense_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(TrainingError, match=said.replace(".", r"\.")):
        Recipe(**settings)
