"""`srgan-trt tune`: what it tells, and that upscaling goes on giving the same picture."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from srgan_trt.cli.main import main
from srgan_trt.cli.sample_image import photo
from srgan_trt.cli.tune import describe_tuning
from srgan_trt.runtime.tuning import DEFAULT, Setting, TilingConfig, Trial, Tuning

from ..handmade import HALO, differences, expected, small_plan


def test_it_tunes_and_info_tells_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SRGAN_TRT_CACHE", str(tmp_path / "cache"))
    plan = small_plan(tmp_path, default_halo=HALO)
    assert main(["info", str(plan.path)]) == 0
    assert "not on this machine: srgan-trt tune" in capsys.readouterr().out
    assert main(["tune", str(plan.path), "--precision", "fp32", "--seconds", "1", "--device", "cpu"]) == 0
    told = capsys.readouterr().out
    assert re.search(r"in fp32, a picture of \d+ x \d+:", told)
    assert "default" in told
    assert main(["info", str(plan.path)]) == 0
    assert "tuned       in fp32: " in capsys.readouterr().out

    from srgan_trt import Upscaler

    with Upscaler(plan, precision="fp32") as up:
        image = photo(150, 200)
        assert differences(up(image), expected(plan, image)).max() <= 1


def test_the_table_is_sorted_and_says_what_follows() -> None:
    best = Setting(TilingConfig(96, 2, 4), "dense")
    trials = (Trial(DEFAULT, 20.0, 5), Trial(best, 10.0, 5), Trial(Setting(TilingConfig(64, 2)), 15.0, 1))
    won = Tuning(best=best, gain=2.0, size=(320, 480), trials=trials, date="2026-01-01")
    lines = describe_tuning(won, name="net", precision="bf16").splitlines()
    told = "at most 96, 2 at once in batches of 4, convolutions dense"
    assert [line.split("  ")[0] for line in lines[2:5]] == [told, "at most 64, 2 at once", "default"]
    assert lines[-1] == f"{told}: 2.00 times as fast as the default, from now on"
    stays = Tuning(best=DEFAULT, gain=1.0, size=(320, 480), trials=trials[:1], date="2026-01-01")
    assert "it stays" in describe_tuning(stays, name="net", precision="bf16")


def test_the_photo_is_repeated_to_any_size() -> None:
    large = photo(320, 480)
    assert large.shape == (320, 480, 3)
    assert large.dtype == np.uint8
    np.testing.assert_array_equal(large[:128, :128], photo())
    np.testing.assert_array_equal(large[128:256, 256:384], photo())
