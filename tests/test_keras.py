"""A callback in `model.fit`: the plan that is left is that of the best epoch."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import srgan_trt
from srgan_trt.compiler.plan import load_plan
from srgan_trt.errors import ModelError, PlanError

from .handmade import expected

pytest.importorskip("tf2onnx", reason="the [keras] extra is not installed")
keras = pytest.importorskip("keras")
tf_keras = pytest.importorskip("tf_keras")

RANGES = {"input_range": (0, 1), "output_range": (0, 1)}
PICTURES = np.zeros((2, 8, 8, 3), np.float32)


def enlarger(library: Any) -> Any:
    """Repeats pixels; what it adds to them tells its plans apart."""
    image = library.Input(shape=(None, None, 3))
    x = library.layers.Conv2D(3, 1)(library.layers.UpSampling2D(2)(image))
    model = library.Model(image, x)
    brighten(model, 0)
    model.compile("sgd", "mse")
    return model


def brighten(model: Any, levels: float) -> None:
    model.set_weights([np.eye(3, dtype=np.float32)[None, None], np.full(3, levels / 255, np.float32)])


def brightness(path: Path) -> int:
    """What the plan makes of black."""
    return int(expected(load_plan(path), np.zeros((8, 8, 3), np.uint8))[4, 4, 0])


def fit(library: Any, model: Any, scores: Sequence[float], *callbacks: Any) -> None:
    """A training whose epochs have these scores; each leaves the model brighter by 10 levels."""

    def score(epoch: int, logs: dict[str, float]) -> None:
        logs["val_psnr"] = scores[epoch]
        brighten(model, 10 * (epoch + 1))

    scoring = library.callbacks.LambdaCallback(on_epoch_end=score)
    data = np.zeros((2, 16, 16, 3), np.float32)
    model.fit(PICTURES, data, epochs=len(scores), callbacks=[scoring, *callbacks], verbose=0)


@pytest.fixture
def build_plan() -> Callable[..., Any]:
    from srgan_trt.keras import BuildPlan

    return BuildPlan


@pytest.mark.parametrize("library", [keras, tf_keras], ids=["keras 3", "tf_keras"])
def test_the_plan_is_of_the_best_epoch(library: Any, build_plan: Callable[..., Any], tmp_path: Path) -> None:
    out = tmp_path / "best.plan.onnx"
    callback = build_plan(out, monitor="val_psnr", **RANGES)
    fit(library, enlarger(library), [20.0, 30.0, float("nan"), 25.0], callback)
    assert brightness(out) == 20
    assert callback.best == 30.0
    assert callback.plan.path == out


def test_lower_is_better_where_it_is_said_or_a_loss(build_plan: Callable[..., Any], tmp_path: Path) -> None:
    model = enlarger(keras)
    said = build_plan(tmp_path / "said.onnx", monitor="val_psnr", mode="min", **RANGES)
    loss = build_plan(tmp_path / "loss.onnx", monitor="loss", **RANGES)
    fit(keras, model, [20.0, 10.0], said, loss)
    assert (said.best, brightness(tmp_path / "said.onnx")) == (10.0, 20)
    assert loss.best == 0.0


def test_the_generator_may_be_another_model(build_plan: Callable[..., Any], tmp_path: Path) -> None:
    generator, trained = enlarger(keras), enlarger(keras)
    fit(keras, trained, [1.0], build_plan(tmp_path / "a.onnx", monitor="val_psnr", model=generator, **RANGES))
    assert brightness(tmp_path / "a.onnx") == 0


def test_a_figure_that_is_never_there_is_warned_of_and_fails_at_the_end(
    build_plan: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "srgan_trt")
    with pytest.raises(
        ModelError, match=r"ended without a plan .*: epoch 2: it has no figure 'val_ssim': give monitor"
    ):
        fit(keras, enlarger(keras), [1.0, 2.0], build_plan(tmp_path / "a.onnx", monitor="val_ssim"))
    assert "no plan of epoch 1: it has no figure 'val_ssim': give monitor one of loss, val_psnr" in caplog.text
    assert not (tmp_path / "a.onnx").exists()


def test_an_epoch_without_a_plan_does_not_end_the_training(build_plan: Callable[..., Any], tmp_path: Path) -> None:
    model = enlarger(keras)
    callback = build_plan(tmp_path / "a.onnx", monitor="val_psnr", **RANGES)

    def diverge(epoch: int, logs: Any) -> None:
        if epoch == 1:
            brighten(model, np.nan)

    fit(keras, model, [1.0, 2.0, 1.5], keras.callbacks.LambdaCallback(on_epoch_end=diverge), callback)
    assert (callback.best, brightness(tmp_path / "a.onnx")) == (1.5, 30)


def test_what_cannot_work_is_refused_before_the_first_epoch(build_plan: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="precison"):
        build_plan(tmp_path / "a.onnx", precison="fp16")
    with pytest.raises(ModelError, match="arch, trust_model: of files only"):
        build_plan(tmp_path / "a.onnx", trust_model=True, arch="paper")
    with pytest.raises(ModelError, match="there is no mode 'best'"):
        build_plan(tmp_path / "a.onnx", mode="best")
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(PlanError, match="which would be lost"):
        fit(keras, enlarger(keras), [1.0], build_plan(tmp_path / "mine.txt", monitor="val_psnr"))


def test_the_example_of_the_docs_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[1] / "docs/python.md").read_text("utf-8")
    (example,) = re.findall(r"^```python\n(from srgan_trt\.keras .*?)^```", page, re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    model = enlarger(keras)

    def psnr(truth: Any, result: Any) -> Any:
        return -keras.ops.mean(keras.ops.square(truth - result))

    model.compile("sgd", "mse", metrics=[psnr])
    pairs = _pairs()
    names = {"srgan_trt": srgan_trt, "model": model, "pictures": pairs, "others": pairs}
    exec(example.replace("epochs=50", "epochs=1"), names)
    assert {path.name for path in tmp_path.iterdir()} == {"best.plan.onnx", "last.plan.onnx"}


def _pairs() -> Any:
    import tensorflow

    small = np.random.default_rng(0).random((2, 8, 8, 3), np.float32)
    return tensorflow.data.Dataset.from_tensors((small, small.repeat(2, axis=1).repeat(2, axis=2)))
