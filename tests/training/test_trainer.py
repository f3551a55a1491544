"""A training: what it leaves in its folder, that it can stop anywhere, and that it never keeps what is broken."""

from __future__ import annotations

import csv
import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from srgan_trt.errors import ModelError, TrainingError
from srgan_trt.imaging.folder import find_pictures
from srgan_trt.models.weights_only import known_generator
from srgan_trt.quality.bicubic import enlarge
from srgan_trt.quality.metrics import psnr, ssim
from srgan_trt.training.checkpoint import load_checkpoint
from srgan_trt.training.pictures import PictureSet, prepare
from srgan_trt.training.recipe import Recipe
from srgan_trt.training.trainer import CHECKPOINT, GENERATOR, Progress, Trainer

from .photos import photo_folder

TINY = Recipe(
    blocks=1, filters=8, tail_kernel=3, batch_norm=False, steps=12, batch=2, crop=32, learning_rate=1e-3, seed=3
)  # fmt: skip


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> PictureSet:
    folder = photo_folder(tmp_path_factory.mktemp("photos") / "hr", count=4, side=64)
    files = find_pictures(folder, "--hr")
    return prepare(
        files, folder.parent / "out", scale=4, smallest=32,
        teacher=lambda lr: enlarge(lr, 4), teacher_name="bicubic",
    )  # fmt: skip


def run(pictures: PictureSet, out: Path, recipe: Recipe = TINY, *, resume: bool = False, **options: Any) -> Trainer:
    out.mkdir(exist_ok=True)
    trainer = Trainer(recipe, pictures, pictures, out=out, resume=resume)
    trainer.run(**{"validate_every": 5, **options})
    return trainer


def after(steps: int) -> Callable[[], bool]:
    """A `stop` that says so after that many steps."""
    calls = iter(range(1, 1_000_000))
    return lambda: next(calls) >= steps


def test_it_learns(pictures: PictureSet, tmp_path: Path) -> None:
    run(pictures, tmp_path, dataclasses.replace(TINY, steps=250), validate_every=50)
    rows = table(tmp_path / "validation.csv")
    assert [int(row["step"]) for row in rows] == [0, 50, 100, 150, 200, 250]
    assert float(rows[-1]["psnr"]) > float(rows[0]["psnr"]) + 0.5
    assert float(rows[-1]["ssim"]) > float(rows[0]["ssim"])


@pytest.mark.parametrize(
    "recipe",
    [
        TINY,
        dataclasses.replace(TINY, arch="superresolution-gans", batch_norm=True, scale=2),
        dataclasses.replace(TINY, stage="gan", content_layers=("block1_conv2",), discriminator_filters=4),
    ],
    ids=["pixel", "seed", "gan"],
)
def test_a_resumed_training_ends_as_an_unbroken_one(pictures: PictureSet, tmp_path: Path, recipe: Recipe) -> None:
    if recipe.scale == 2:
        pictures = prepared_at_2(tmp_path)
    run(pictures, tmp_path / "whole", recipe)
    broken = Trainer(recipe, pictures, pictures, out=made(tmp_path / "broken"))
    assert not broken.run(validate_every=5, stop=after(7))
    assert load_checkpoint(tmp_path / "broken" / CHECKPOINT)[1]["step"] == 7
    run(pictures, tmp_path / "broken", recipe, resume=True)

    whole, facts = load_checkpoint(tmp_path / "whole" / CHECKPOINT)
    again, _ = load_checkpoint(tmp_path / "broken" / CHECKPOINT)
    assert facts["step"] == 12
    assert whole.keys() == again.keys()
    for name, array in whole.items():
        np.testing.assert_array_equal(again[name], array, err_msg=name)
    for name in ("training.csv", "validation.csv"):
        assert but_for_times(table(tmp_path / "broken" / name)) == but_for_times(table(tmp_path / "whole" / name))


def test_the_generator_that_comes_out_is_what_was_validated(pictures: PictureSet, tmp_path: Path) -> None:
    """Read back from its file, in another framework's hands, it gives the pictures that were scored."""
    trainer = run(pictures, tmp_path)
    model = known_generator(tmp_path / GENERATOR).build()
    scores = []
    for lr, hr in zip(pictures.lr, pictures.hr, strict=True):
        sr = np.asarray(model(lr[None].astype(np.float32) / 255))[0]
        sr = np.rint(np.clip((sr + 1) * 127.5, 0, 255)).astype(np.uint8)
        assert np.abs(sr.astype(int) - trainer.upscale(lr)).max() <= 1
        scores.append((psnr(sr, hr, border=4), ssim(sr, hr, border=4)))
    last = table(tmp_path / "validation.csv")[-1]
    assert float(last["psnr"]) == pytest.approx(np.mean([score[0] for score in scores]), abs=1e-2)
    assert float(last["ssim"]) == pytest.approx(np.mean([score[1] for score in scores]), abs=1e-3)
    assert Image.open(tmp_path / "panels.png").size[0] > 100
    assert Image.open(tmp_path / "curves.png").size[0] > 100


def test_a_plan_is_built_of_what_comes_out(pictures: PictureSet, tmp_path: Path) -> None:
    from srgan_trt import Upscaler

    trainer = run(pictures, tmp_path)
    with Upscaler(tmp_path / GENERATOR, precision="fp32") as up:
        lr = np.asarray(pictures.lr[0])
        assert np.abs(up(lr).astype(int) - trainer.upscale(lr)).max() <= 1


def test_it_saves_the_running_average(pictures: PictureSet, tmp_path: Path) -> None:
    out = made(tmp_path / "none")
    run(pictures, out, dataclasses.replace(TINY, ema=0.0))
    arrays, _ = load_checkpoint(out / CHECKPOINT)
    assert arrays["average/0000"].any()
    np.testing.assert_array_equal(arrays["average/0000"], arrays["generator/0000"])
    out = made(tmp_path / "some")
    run(pictures, out)
    arrays, _ = load_checkpoint(out / CHECKPOINT)
    assert not np.array_equal(arrays["average/0000"], arrays["generator/0000"])


def test_the_teacher_changes_what_is_learnt_by_its_weight(pictures: PictureSet, tmp_path: Path) -> None:
    weights = {}
    for name, changes in {
        "alone": {},
        "unheard": {"teacher": "bicubic", "teacher_weight": 0.0},
        "heard": {"teacher": "bicubic", "teacher_weight": 1.0},
    }.items():
        run(pictures, tmp_path / name, dataclasses.replace(TINY, **changes))
        weights[name] = load_checkpoint(tmp_path / name / CHECKPOINT)[0]["generator/0000"]
    np.testing.assert_array_equal(weights["alone"], weights["unheard"])
    assert not np.array_equal(weights["alone"], weights["heard"])


def test_it_goes_on_from_another_generator(pictures: PictureSet, tmp_path: Path) -> None:
    run(pictures, tmp_path / "first")
    first = known_generator(tmp_path / "first" / GENERATOR)
    recipe = dataclasses.replace(TINY, init=str(tmp_path / "first" / GENERATOR), learning_rate=1e-12, steps=1)
    trainer = run(pictures, tmp_path / "second", recipe)
    for theirs, ours in zip(first.build().get_weights(), load_average(tmp_path / "second"), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-9)
    assert trainer.recipe.steps == 1


def test_losses_that_are_no_numbers_stop_it_and_the_last_good_checkpoint_stays(
    pictures: PictureSet, tmp_path: Path
) -> None:
    run(pictures, tmp_path, dataclasses.replace(TINY, steps=30), stop=after(4))
    good = (tmp_path / CHECKPOINT).read_bytes()
    wild = dataclasses.replace(TINY, steps=30, learning_rate=1e30)
    with pytest.raises(TrainingError, match=r"no longer finite at step .* last good checkpoint is kept, .* --resume"):
        run(pictures, tmp_path, wild, resume=True)
    assert (tmp_path / CHECKPOINT).read_bytes() == good
    run(pictures, tmp_path, dataclasses.replace(TINY, steps=6), resume=True)


def test_progress_tells_the_steps_the_time_left_and_the_waiting(pictures: PictureSet, tmp_path: Path) -> None:
    seen: list[Progress] = []
    run(pictures, tmp_path, progress=seen.append)
    assert [each.step for each in seen] == list(range(1, 13))
    assert seen[-1].seconds_left == 0
    assert all(each.seconds_left > 0 and 0 <= each.waiting <= 1 for each in seen[:-1])
    assert seen[-1].psnr is not None


def test_what_cannot_be_resumed_is_said(pictures: PictureSet, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no checkpoint"):
        Trainer(TINY, pictures, pictures, out=tmp_path, resume=True)
    run(pictures, tmp_path)
    with pytest.raises(TrainingError, match=r"complete at step 12: pass more --steps"):
        Trainer(TINY, pictures, pictures, out=tmp_path, resume=True)
    with pytest.raises(TrainingError, match="of another network"):
        Trainer(dataclasses.replace(TINY, filters=12, steps=20), pictures, pictures, out=tmp_path, resume=True)
    with pytest.raises(TrainingError, match="of another network"):
        Trainer(dataclasses.replace(TINY, blocks=2, steps=20), pictures, pictures, out=tmp_path, resume=True)


def test_what_is_no_generator_cannot_begin_a_training(pictures: PictureSet, tmp_path: Path) -> None:
    (tmp_path / "no.h5").write_bytes(b"nothing")
    with pytest.raises(ModelError, match=r"no\.h5"):
        Trainer(dataclasses.replace(TINY, init=str(tmp_path / "no.h5")), pictures, pictures, out=tmp_path)


def test_bf16_learns_too(pictures: PictureSet, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        run(pictures, tmp_path, dataclasses.replace(TINY, precision="bf16", steps=60))
    rows = table(tmp_path / "validation.csv")
    assert float(rows[-1]["psnr"]) > float(rows[0]["psnr"])
    assert load_checkpoint(tmp_path / CHECKPOINT)[0]["generator/0000"].dtype == np.float32


def prepared_at_2(tmp_path: Path) -> PictureSet:
    folder = photo_folder(tmp_path / "hr", count=4, side=64)
    return prepare(find_pictures(folder, "--hr"), tmp_path / "x2", scale=2, smallest=32)


def table(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def but_for_times(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    times = ("seconds_per_step", "data_loading_share")
    return [{name: value for name, value in row.items() if name not in times} for row in rows]


def load_average(out: Path) -> list[np.ndarray]:
    arrays, _ = load_checkpoint(out / CHECKPOINT)
    return [arrays[name] for name in sorted(arrays) if name.startswith("average/")]


def made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
