"""Generators are found in what is saved around them: a class of the author's own, a combined GAN, copies for GPUs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srgan_trt.errors import ModelError
from srgan_trt.models.loader import open_network
from srgan_trt.models.wrapped import as_functional

from .conftest import noise, run_onnx


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.getLogger("absl").setLevel(logging.ERROR)
    yield
    logging.getLogger("absl").setLevel(logging.NOTSET)


def _generator(keras: Any, *, size: int | None = 16, name: str = "generator") -> Any:
    layers = keras.layers
    x = picture = layers.Input((size, size, 3))
    x = layers.UpSampling2D(2)(layers.Conv2D(4, 3, padding="same", activation="relu")(x))
    return keras.Model(picture, layers.Conv2D(3, 3, padding="same")(x), name=name)


def _discriminator(keras: Any) -> Any:
    layers = keras.layers
    picture = layers.Input((32, 32, 3))
    return keras.Model(
        picture, layers.Dense(1)(layers.Flatten()(layers.Conv2D(2, 3, strides=4)(picture))), name="judge"
    )


@pytest.mark.parametrize("name", ["trainer.h5", "trainer.keras"])
def test_a_class_around_a_functional_graph(keras: Any, tmp_path: Path, name: str) -> None:
    saved = tmp_path / name

    class Trainer(keras.Model):  # type: ignore[misc]
        def train_step(self, data: Any) -> Any:
            return {}

    inner = _generator(keras, size=None)
    model = Trainer(inner.input, inner.output)
    expected = np.asarray(model(noise(8, 8)))
    model.save(saved)
    network = open_network(saved)
    assert any("its class Trainer is opened as the functional model in it" in note for note in network.notes)
    np.testing.assert_allclose(run_onnx(network.export(8, 8), noise(8, 8)), expected, atol=1e-5)


def test_a_class_that_the_user_gives_stays() -> None:
    graph = {"layers": [], "input_layers": [], "output_layers": [], "name": "t", "extra": 1}
    config = {"class_name": "mine>Trainer", "module": "mine", "registered_name": "mine>Trainer", "config": graph}
    assert as_functional(config, given=frozenset({"Trainer"})) == (config, [])
    opened, notes = as_functional(config)
    assert (opened["class_name"], opened["module"], len(notes)) == ("Functional", "keras.src.models.functional", 1)
    assert "extra" not in opened["config"]


@pytest.mark.parametrize("outputs", [1, 2])
def test_the_generator_of_a_combined_gan(keras: Any, tmp_path: Path, outputs: int) -> None:
    generator, judge = _generator(keras), _discriminator(keras)
    low = keras.layers.Input((16, 16, 3))
    high = generator(low)
    keras.Model(low, [judge(high), high][:outputs]).save(tmp_path / "gan.h5")
    network = open_network(tmp_path / "gan.h5")
    assert any("its layer 'generator' is the generator" in note for note in network.notes)
    batch = noise(16, 16)
    np.testing.assert_allclose(run_onnx(network.export(16, 16), batch), np.asarray(generator(batch)), atol=1e-5)


def test_several_generators_are_named(keras: Any, tmp_path: Path) -> None:
    one, other = _generator(keras, name="there"), _generator(keras, size=32, name="back")
    low = keras.layers.Input((16, 16, 3))
    keras.Model(low, [one(low), other(one(low))]).save(tmp_path / "two.h5")
    with pytest.raises(ModelError, match=r"several are in it: .* --layer there or --layer back$"):
        open_network(tmp_path / "two.h5")
    network = open_network(tmp_path / "two.h5", layer="back")
    batch = noise(32, 32)
    np.testing.assert_allclose(run_onnx(network.export(32, 32), batch), np.asarray(other(batch)), atol=1e-5)
    with pytest.raises(ModelError, match=r"has no layer 'sideways': --layer takes one of .*there, back"):
        open_network(tmp_path / "two.h5", layer="sideways")


def test_of_several_pictures_the_one_that_is_named(keras: Any, tmp_path: Path) -> None:
    """LapSRN gives x2 and x4."""
    layers = keras.layers
    low = layers.Input((None, None, 3))
    twice = layers.UpSampling2D(2, name="twice")(low)
    keras.Model(low, [twice, layers.UpSampling2D(2, name="four_times")(twice)]).save(tmp_path / "pyramid.h5")
    with pytest.raises(ModelError, match=r"has 2 outputs: .* --layer NAME \(twice, four_times\)"):
        open_network(tmp_path / "pyramid.h5")
    batch = noise(8, 8)
    for name, scale in (("twice", 2), ("four_times", 4)):
        result = run_onnx(open_network(tmp_path / "pyramid.h5", layer=name).export(8, 8), batch)
        np.testing.assert_array_equal(result, batch.repeat(scale, 1).repeat(scale, 2))


def test_copies_for_several_gpus(keras2: Any, tmp_path: Path) -> None:
    """As Keras 2's multi_gpu_model saved them: slices of the batch, the model on each, and all together again."""
    layers, generator = keras2.layers, _generator(keras2)
    low = layers.Input((16, 16, 3))
    parts = []
    for number in range(2):
        cut = layers.Lambda(lambda x, i, parts: x[i::parts], arguments={"i": number, "parts": 2}, name=f"part_{number}")
        parts.append(generator(cut(low)))
    keras2.Model(low, layers.Concatenate(axis=0)(parts)).save(tmp_path / "gpus.h5")
    network = open_network(tmp_path / "gpus.h5")
    assert any("its layer 'generator' is the generator" in note for note in network.notes)
    batch = noise(16, 16)
    np.testing.assert_allclose(run_onnx(network.export(16, 16), batch), np.asarray(generator(batch)), atol=1e-5)


def _my_activation(x: Any) -> Any:
    return x * 0.5


def test_an_activation_of_the_author_s_own_is_named(keras: Any, tmp_path: Path) -> None:
    layers = keras.layers
    picture = layers.Input((8, 8, 3))
    keras.Model(picture, layers.Conv2D(3, 3, padding="same", activation=_my_activation)(picture)).save(
        tmp_path / "a.h5"
    )
    with pytest.raises(ModelError, match=r"_my_activation.*--custom-objects"):
        open_network(tmp_path / "a.h5")
    (tmp_path / "mine.py").write_text("def _my_activation(x):\n    return x * 0.5\n")


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_a_lambda_for_an_activation(keras: Any, tmp_path: Path, suffix: str) -> None:
    """Named; run on trust; or a function of the user's in its place."""
    layers, path = keras.layers, tmp_path / f"model{suffix}"
    model = keras.Sequential([
        layers.Input((None, None, 3)), layers.Conv2D(3, 3, padding="same", activation=lambda x: x * 0.5, name="odd"),
    ])  # fmt: skip
    model.save(path)
    with pytest.raises(ModelError, match=r"layer 'odd' is a lambda, .*--trust-model .*--custom-objects .*odd\(x\)"):
        open_network(path)
    batch = noise(8, 8)
    trusted = open_network(path, trust_model=True)
    assert any("runs the bytecode in the file" in note for note in trusted.notes)
    np.testing.assert_allclose(run_onnx(trusted.export(8, 8), batch), np.asarray(model(batch)), atol=1e-5)
    (tmp_path / "mine.py").write_text("def odd(x):\n    return x * 2.0\n")
    given = open_network(path, custom_objects=tmp_path / "mine.py")
    assert any("the function odd of the custom objects" in note for note in given.notes)
    np.testing.assert_allclose(run_onnx(given.export(8, 8), batch), np.asarray(model(batch)) * 4, atol=1e-5)
