"""`srgan-trt mix`, and `upscale --texture`, `--tta` and `--color-fix`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from srgan_trt.compiler.plan import Plan, load_plan
from srgan_trt.models import registry

from ..command_line import Command, files, load, save_noise
from ..handmade import dense_plan, small_plan
from ..shipped import ship

pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In the place of the package's own models: a pair."""
    folder = tmp_path_factory.mktemp("shipped")
    ship(folder, "pixel-x4", gan="gan-x4")
    ship(folder, "gan-x4")
    return folder


@pytest.fixture
def shipped(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(registry, "SHIPPED", folder)
    return folder


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return small_plan(tmp_path_factory.mktemp("plan"))


class TestMix:
    def test_two_plans_become_one(self, command: Command, shipped: Path) -> None:
        done = command("mix", "pixel-x4", "gan-x4", "--texture", "0.4", "-o", "mixed.plan.onnx")
        assert (done.status, done.err) == (0, [])
        assert "pixel-x4+gan-x4@0.4: mix of two plans" in done.out
        assert "weights 0.6 of pixel-x4.onnx, 0.4 of gan-x4.onnx" in done.out
        assert "shifted by +0.0 red, +0.0 green, +0.0 blue" in done.out
        assert load_plan("mixed.plan.onnx").spec.precision == "fp32"

    def test_what_cannot_be_mixed_is_said_in_one_line(self, command: Command, plan: Plan) -> None:
        other = dense_plan(Path())
        done = command("mix", plan.path, other.path, "--texture", "0.4", "-o", "mixed.plan.onnx")
        assert (done.status, len(done.err)) == (1, 1)
        assert "cannot be mixed: they are networks of another topology" in done.err[0]
        assert files(Path()) == ["dense.onnx"]

    def test_a_texture_out_of_range(self, command: Command) -> None:
        done = command("mix", "a", "b", "--texture", "1.5", "-o", "c")
        assert done.status == 2
        assert "'1.5' is not a number from 0 to 1" in done.err[-1]


class TestTexture:
    def test_the_named_models_mix_runs(self, command: Command, shipped: Path) -> None:
        image = save_noise(Path("photo.png"), 12, 9)
        done = command("upscale", "photo.png", "--model", "gan-x4", "--texture", "0.4", "--json")
        assert done.status == 0
        assert json.loads(done.out.splitlines()[0])["event"] in ("note", "start")
        assert '"model": "pixel-x4+gan-x4@0.4"' in done.out
        np.testing.assert_array_equal(load(Path("photo_x4.png")), image.repeat(4, axis=0).repeat(4, axis=1))

    def test_no_partner_is_one_line_before_the_work(self, command: Command, plan: Plan) -> None:
        save_noise(Path("photo.png"))
        shutil.copy(plan.path, "own.onnx")
        for model, why in (("own.onnx", "own.onnx is a file"), ("realesrgan-x4plus", "has none")):
            done = command("upscale", "photo.png", "--model", model, "--texture", "0.4")
            assert (done.status, len(done.err)) == (1, 1)
            assert why in done.err[0]
            assert "srresnet-photo-x4, srgan-photo-x4" in done.err[0]
        done = command("upscale", "photo.png", "--texture", "0.4", "--arch", "paper")
        assert done.err == [
            "srgan-trt: --arch: not with --texture, which is between two models of this package: leave it out"
        ]
        assert files(Path()) == ["own.onnx", "photo.png"]


class TestTta:
    def test_says_what_it_costs(self, command: Command, plan: Plan) -> None:
        save_noise(Path("photo.png"), 12, 9)
        done = command("upscale", "photo.png", "--model", plan.path, "--tta")
        assert done.status == 0
        assert done.err == ["--tta: the network runs 8 times for each picture, which takes 8 times as long"]

    def test_a_dry_run_knows(self, command: Command, plan: Plan) -> None:
        save_noise(Path("photo.png"), 60, 50)
        tiles, memory = [], []
        for options in ([], ["--tta"]):
            done = command("upscale", "photo.png", "--model", plan.path, "--dry-run", "--json", *options)
            told = json.loads(done.out.splitlines()[-1])
            tiles.append(told["tiles"])
            memory.append(told["memory_bytes"])
        assert tiles == [1, 8]


def test_colours_are_brought_back(command: Command, plan: Plan) -> None:
    """By a network of random weights, which makes anything of them."""
    image = save_noise(Path("photo.png"), 40, 32)
    apart = []
    for name, options in (("off.png", []), ("on.png", ["--color-fix"])):
        assert command("upscale", "photo.png", "-o", name, "--model", plan.path, *options).status == 0
        apart.append(np.abs(load(Path(name)).mean(axis=(0, 1)) - image.mean(axis=(0, 1))).max())
    assert apart[1] < 0.25 * apart[0]
