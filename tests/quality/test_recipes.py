"""Recipes of known damage: step by step what Pillow does, and everything that is not a recipe."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from srgan_trt.errors import SrganTrtError
from srgan_trt.quality.bicubic import shrink
from srgan_trt.quality.recipes import RECIPES, find_recipe

from ..training.photos import PHOTO


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return np.asarray(Image.open(PHOTO).convert("RGB"))[:128, :160]


def test_clean_is_the_fields_bicubic_without_loss(photo: np.ndarray) -> None:
    content, suffix = RECIPES["clean"].file(photo, scale=4, seed=0)
    assert suffix == ".png"
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(content))), shrink(photo, 4))


def test_web_is_area_sharpened_jpeg_75(photo: np.ndarray) -> None:
    content, suffix = RECIPES["web"].file(photo, scale=4, seed=0)
    small = Image.fromarray(photo).resize((40, 32), Image.Resampling.BOX).filter(ImageFilter.UnsharpMask(1, 70, 0))
    file = io.BytesIO()
    small.save(file, "JPEG", quality=75)
    assert (content, suffix) == (file.getvalue(), ".jpg")


def test_phone_is_noisy_by_its_seed(photo: np.ndarray) -> None:
    first, again, other = (RECIPES["phone"].file(photo, scale=4, seed=seed)[0] for seed in (1, 1, 2))
    assert first == again != other
    tables = Image.open(io.BytesIO(first)).quantization  # type: ignore[attr-defined]
    assert tables[0][0] == round(16 * 0.8)  # IJG's table at quality 60


def test_a_recipe_of_ones_own(photo: np.ndarray, tmp_path: Path) -> None:
    steps = [{"step": "blur", "sigma": 0.5}, {"step": "reduce", "filter": "lanczos"}, {"step": "webp", "quality": 30}]
    (tmp_path / "mine.json").write_text(json.dumps({"steps": steps}))
    recipe = find_recipe(str(tmp_path / "mine.json"))
    assert recipe.name == "mine"
    content, suffix = recipe.file(photo, scale=4, seed=0)
    assert suffix == ".webp"
    assert Image.open(io.BytesIO(content)).size == (40, 32)


REDUCE = {"step": "reduce", "filter": "area"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is not JSON"),
        ("[]", 'it is not {"steps": \\[...\\]}'),
        ('{"steps": [], "more": 1}', "it is not"),
        ('{"steps": []}', "it reduces 0 times"),
        (json.dumps({"steps": [REDUCE, REDUCE]}), "it reduces 2 times"),
        (json.dumps({"steps": [REDUCE, {"step": "melt"}]}), 'step 2: "step" is one of reduce, blur'),
        (json.dumps({"steps": [REDUCE, {"step": "jpeg"}]}), "step 2: jpeg needs quality"),
        (json.dumps({"steps": [REDUCE, {"step": "jpeg", "quality": 101}]}), "quality is a number in 1..100, not 101"),
        (json.dumps({"steps": [REDUCE, {"step": "jpeg", "quality": "90"}]}), "quality is a number"),
        (json.dumps({"steps": [REDUCE, {"step": "noise", "level": 1, "size": 2}]}), "noise has no size"),
        (json.dumps({"steps": [{"step": "reduce", "filter": "box"}]}), "filter is one of area"),
    ],
)
def test_what_is_no_recipe_is_said_in_one_line(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "mine.json").write_text(content)
    with pytest.raises(SrganTrtError, match=said) as caught:
        find_recipe(str(tmp_path / "mine.json"))
    assert "mine.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_names_and_missing_files_are_said(tmp_path: Path) -> None:
    with pytest.raises(SrganTrtError, match="--degrade weather is not a recipe: choose clean, web, phone"):
        find_recipe("weather")
    with pytest.raises(SrganTrtError, match="cannot read the recipe"):
        find_recipe(str(tmp_path / "none.json"))
