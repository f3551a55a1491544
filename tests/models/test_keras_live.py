"""A plan of a model that a program holds, without a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import srgan_trt
from srgan_trt.compiler.plan import Plan
from srgan_trt.errors import ModelError, PlanError

from ..handmade import expected
from ..handmade import noise as picture
from .conftest import randomise

RANGES = {"input_range": (0, 1), "output_range": (0, 1)}


def enlarger(keras: Any) -> Any:
    layers = keras.layers
    image = keras.Input(shape=(None, None, 3))
    x = layers.Conv2D(6, 3, padding="same", activation="relu")(image)
    x = layers.UpSampling2D(2)(layers.BatchNormalization()(x))
    return randomise(keras.Model(image, layers.Conv2D(3, 3, padding="same", activation="sigmoid")(x), name="enlarger"))


def check(model: Any, plan: Plan) -> None:
    """The plan gives what the model gives."""
    image = picture(11, 9)
    result = np.asarray(model(image[None].astype(np.float32) / 255, training=False))[0] * 255
    assert np.abs(expected(plan, image) - result).max() < 0.51


def test_a_model_of_either_keras(keras: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = enlarger(keras)
    plan = srgan_trt.build(model, **RANGES)
    assert plan.path == Path("enlarger.plan.onnx")
    assert (plan.spec.name, plan.spec.scale, plan.spec.fixed_shape) == ("enlarger", 2, None)
    assert plan.report["kind"] == ("Keras 3 model" if keras.__name__ == "keras" else "Keras 2 (tf_keras) model")
    check(model, plan)
    again = srgan_trt.build(model, out=tmp_path / "again.onnx", **RANGES)
    assert again.spec.source_hash == plan.spec.source_hash
    model.set_weights([weight * 0.9 for weight in model.get_weights()])
    other = srgan_trt.build(model, out=tmp_path / "other.onnx", **RANGES)
    assert other.spec.source_hash != plan.spec.source_hash
    check(model, other)


def test_a_class_of_the_authors_own(keras: Any, tmp_path: Path) -> None:
    inner = enlarger(keras)

    class Generator(keras.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(name="mine")
            self.parts = inner.layers[1:]

        def call(self, image: Any, training: bool = False) -> Any:
            for part in self.parts:
                image = part(image)
            return image

    model = Generator()
    model(np.zeros((1, 8, 8, 3), np.float32))
    check(model, srgan_trt.build(model, out=tmp_path / "mine.onnx", **RANGES))


def test_a_training_model_with_one_generator_in_it(keras3: Any, tmp_path: Path) -> None:
    class Gan(keras3.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(name="gan")
            self.generator = enlarger(keras3)

        def call(self, image: Any) -> Any:
            return self.generator(image)

    model = Gan()
    plan = srgan_trt.build(model, out=tmp_path / "gan.onnx", **RANGES)
    check(model.generator, plan)
    assert any("'enlarger' is the generator" in note for note in plan.report["notes"])


def test_what_is_no_generator_is_refused(keras3: Any, tmp_path: Path) -> None:
    classifier = keras3.Sequential([keras3.layers.Input((8, 8, 3)), keras3.layers.Flatten(), keras3.layers.Dense(2)])
    with pytest.raises(ModelError, match="it is a classifier"):
        srgan_trt.build(classifier, out=tmp_path / "no.onnx")

    class Broken(keras3.Model):  # type: ignore[misc]
        def call(self, image: Any) -> Any:
            raise RuntimeError("only for training")

    with pytest.raises(ModelError, match=r"^broken does not take a batch of RGB pictures of any size: [ -~]+$"):
        srgan_trt.build(Broken(), out=tmp_path / "no.onnx")


def test_options_of_files_and_places_that_cannot_be_written_are_refused_first(keras3: Any, tmp_path: Path) -> None:
    model = enlarger(keras3)
    with pytest.raises(ModelError, match="trust_model, arch: of files only, and enlarger is open already"):
        srgan_trt.build(model, out=tmp_path / "no.onnx", trust_model=True, arch="paper")
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(PlanError, match="which would be lost"):
        srgan_trt.build(model, out=tmp_path / "mine.txt")
    with pytest.raises(ModelError, match="int is neither the path of a model file nor a model of Keras"):
        srgan_trt.build(7, out=tmp_path / "no.onnx")
