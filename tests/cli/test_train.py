"""`srgan-trt train`, as users run it: on a folder of photos, stopped, resumed, and refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from srgan_trt import Upscaler
from srgan_trt.training.checkpoint import load_checkpoint

from ..command_line import Command, files
from ..handmade import small_plan
from ..training.photos import photo_folder

SMALL = ("--blocks", "1", "--filters", "8", "--no-batch-norm", "--batch", "2", "--crop", "32", "--recipe", "tail.toml")


@pytest.fixture
def hr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("tail.toml").write_text("tail_kernel = 3\n")
    return photo_folder(tmp_path / "hr", count=5, side=64)


def test_a_folder_of_photos_becomes_a_generator(command: Command, hr: Path) -> None:
    done = command("train", "--hr", hr, "--steps", "6", *SMALL)
    assert done.status == 0
    assert done.out.splitlines() == ["training/generator.h5: next 'srgan-trt build training/generator.h5'"]
    assert "1 of 5 pictures are held back for validation: --val names others" in done.err
    assert any(line.startswith("4 pictures to train on, 1 to validate on; arithmetic in ") for line in done.err)
    made = files(Path("training"))
    for name in ("checkpoint.npz", "generator.h5", "training.csv", "validation.csv", "curves.png", "panels.png"):
        assert name in made
    assert not [name for name in made if "part" in name]
    manifest = json.loads(Path("training/manifest.json").read_text())
    assert len(manifest) == 4
    assert manifest[0].keys() == {"name", "sha256"}
    with Upscaler("training/generator.h5") as up:
        assert up(np.zeros((5, 6, 3), np.uint8)).shape == (20, 24, 3)


def test_it_goes_on_where_it_stopped_with_its_own_settings(command: Command, hr: Path) -> None:
    assert command("train", "--hr", hr, "--steps", "4", "--out", "run", *SMALL).status == 0
    again = command("train", "--hr", hr, "--out", "run", *SMALL)
    assert again.status == 1
    assert again.err[-1] == (
        "srgan-trt: run holds a training already: go on with it by --resume, or name another --out"
    )
    other = command("train", "--hr", hr, "--out", "run", "--resume", "--filters", "16")
    assert other.status == 1
    assert "the training in run has filters 8, not 16: leave it out" in other.err[-1]
    assert command("train", "--hr", hr, "--out", "run", "--resume", "--steps", "7").status == 0
    assert load_checkpoint(Path("run/checkpoint.npz"))[1]["step"] == 7


def test_a_folder_that_changed_in_between_is_said(command: Command, hr: Path) -> None:
    command("train", "--hr", hr, "--steps", "2", *SMALL)
    (hr / "photo0.png").unlink()
    done = command("train", "--hr", hr, "--steps", "4", "--resume")
    assert done.status == 0
    assert any("the pictures are not those that the training began with" in line for line in done.err)


def test_pictures_to_validate_on_are_those_named(command: Command, hr: Path, tmp_path: Path) -> None:
    val = photo_folder(tmp_path / "val", count=3, side=96)
    done = command("train", "--hr", hr, "--val", val, "--steps", "2", *SMALL)
    assert done.status == 0
    assert any(line.startswith("5 pictures to train on, 3 to validate on") for line in done.err)


def test_a_teacher_is_any_model_of_that_scale(command: Command, hr: Path, tmp_path: Path) -> None:
    plan = small_plan(tmp_path)
    done = command("train", "--hr", hr, "--teacher", plan.path, "--steps", "2", *SMALL)
    assert done.status == 0
    assert "training/pictures/train/teacher.bin" in [f"training/{name}" for name in files(Path("training"))]
    done = command("train", "--hr", hr, "--teacher", plan.path, "--scale", "2", "--out", "x2", *SMALL)
    assert done.status == 1
    assert done.err[-1].endswith("enlarges by 4, scale is 2")


def test_it_begins_with_another_generator_and_takes_its_sizes(command: Command, hr: Path) -> None:
    command("train", "--hr", hr, "--steps", "2", "--out", "first", *SMALL)
    begin = ("train", "--hr", hr, "--init", "first/generator.h5", "--steps", "2", "--batch", "2", "--crop", "32")
    assert command(*begin, "--out", "second").status == 0
    recipe = json.loads(Path("second/recipe.json").read_text())
    assert (recipe["blocks"], recipe["filters"], recipe["tail_kernel"], recipe["batch_norm"]) == (1, 8, 3, False)
    done = command(*begin, "--out", "third", "--blocks", "3")
    assert done.status == 1
    assert "first/generator.h5 has blocks 1, not 3: leave it out" in done.err[-1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--hr", "empty"), "no pictures"),
        (("--hr", "nowhere"), "nowhere is not a folder: --hr names a folder of pictures"),
        (("--hr", "hr", "--crop", "512"), "none of 4 pictures is readable and at least 512 pixels on both sides"),
        (("--hr", "hr", "--crop", "50"), "crop 50 is not a multiple of the scale: use 48"),
        (("--hr", "hr", "--init", "absent.h5"), "absent.h5"),
        (("--hr", "hr", "--teacher", "absent"), "there is no model absent"),
        (("--hr", "hr", "--resume"), "training holds no training to resume: leave --resume out"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(command: Command, hr: Path, arguments: tuple[str, ...], said: str) -> None:
    Path("empty").mkdir()
    done = command("train", *arguments)
    assert done.status == 1
    assert said in done.err[-1]
    assert not Path("training/generator.h5").exists()


def test_a_recipe_file_is_overruled_by_options(command: Command, hr: Path) -> None:
    Path("own.json").write_text('{"crop": 50, "steps": 3, "blocks": null}')
    begin = ("train", "--hr", hr, "--recipe", "own.json")
    assert "crop 50 is not a multiple of the scale" in command(*begin).err[-1]
    assert "at least 512 pixels on both sides" in command(*begin, "--crop", "512").err[-1]
    Path("own.json").write_text('{"crop": 48, "step": 3}')
    done = command(*begin)
    assert (done.status, len(done.err)) == (1, 1)
    assert done.err[0].startswith("srgan-trt: own.json: there is no setting step: use stage, arch, blocks, ")


def test_a_training_is_repeated_by_its_recipe(command: Command, hr: Path) -> None:
    command("train", "--hr", hr, "--steps", "2", "--out", "first", *SMALL)
    assert command("train", "--hr", hr, "--recipe", "first/recipe.json", "--out", "second").status == 0
    first, second = (load_checkpoint(Path(out) / "checkpoint.npz")[0] for out in ("first", "second"))
    for name, array in first.items():
        np.testing.assert_array_equal(second[name], array, err_msg=name)


def test_a_new_process_learns_the_same_to_the_last_bit(hr: Path) -> None:
    arguments = (sys.executable, "-m", "srgan_trt", "train", "--hr", str(hr), "--steps", "40", "--precision", "fp32")
    for out in ("here", "there"):
        subprocess.run([*arguments, *SMALL, "--out", out], check=True, capture_output=True)
    here, there = (load_checkpoint(Path(out) / "checkpoint.npz")[0] for out in ("here", "there"))
    for name, array in here.items():
        np.testing.assert_array_equal(there[name], array, err_msg=name)


def test_ctrl_c_keeps_what_was_learnt(hr: Path) -> None:
    arguments = ["train", "--hr", str(hr), "--steps", "1000000", "--out", "run", *SMALL]
    with subprocess.Popen(
        [sys.executable, "-m", "srgan_trt", *arguments],
        stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    ) as process:  # fmt: skip
        wait_for_rows(Path("run/training.csv"), process)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopping after this step" in err
    assert "stopped: 'srgan-trt train ... --resume' goes on from run" in err
    assert "Traceback" not in err
    step = load_checkpoint(Path("run/checkpoint.npz"))[1]["step"]
    assert step >= 100
    more = ["train", "--hr", str(hr), "--steps", str(step + 2), "--out", "run", "--resume"]
    subprocess.run([sys.executable, "-m", "srgan_trt", *more], check=True, capture_output=True)
    assert load_checkpoint(Path("run/checkpoint.npz"))[1]["step"] == step + 2


def wait_for_rows(path: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if path.is_file() and len(path.read_text().splitlines()) > 1:
            return
        time.sleep(0.1)
    raise AssertionError(f"the training wrote no row: {process.poll()}")
