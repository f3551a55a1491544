"""Discriminators against the paper's figure 4 and the seed package's layers, and against Keras 2's arithmetic."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from srgan_trt.models.discriminator import paper_discriminator, patch_discriminator
from srgan_trt.models.losses import discriminator_loss

from .conftest import noise, randomise

COFFEE = Path(__file__).resolve().parents[2] / "examples" / "coffee.jpg"
KINDS: dict[str, Callable[..., Any]] = {"paper": paper_discriminator, "patch": patch_discriminator}


@pytest.fixture(params=KINDS)
def small(request: pytest.FixtureRequest, keras3: Any) -> Callable[..., Any]:
    """Makes a discriminator of 48 x 48 pixels with few filters."""

    def make(**options: Any) -> Any:
        if request.param == "paper":
            options["crop"] = 48
        return KINDS[request.param](filters=4, **options)

    return make


def kinds(model: Any) -> list[str]:
    return [type(layer).__name__ for layer in model.layers]


def test_the_papers_layers(keras3: Any) -> None:
    model = paper_discriminator()
    block = ["Conv2D", "BatchNormalization", "LeakyReLU"]
    ends = ["Flatten", "Dense", "LeakyReLU", "Dense", "Activation"]
    assert kinds(model) == ["InputLayer", "Conv2D", "LeakyReLU", *7 * block, *ends]
    convs = [layer for layer in model.layers if type(layer).__name__ == "Conv2D"]
    assert [layer.filters for layer in convs] == [64, 64, 128, 128, 256, 256, 512, 512]
    assert [layer.strides for layer in convs] == 4 * [(1, 1), (2, 2)]
    assert {layer.kernel_size for layer in convs} == {(3, 3)}
    assert [layer.units for layer in model.layers if type(layer).__name__ == "Dense"] == [1024, 1]
    assert {layer.negative_slope for layer in model.layers if type(layer).__name__ == "LeakyReLU"} == {0.2}
    assert (model.input_shape, model.output_shape) == ((None, 96, 96, 3), (None, 1))


def test_the_papers_weights_counted(keras3: Any) -> None:
    channels = [3, 64, 64, 128, 128, 256, 256, 512, 512]
    convs = sum(9 * before * after + after for before, after in itertools.pairwise(channels))
    norms = 4 * sum(channels[2:])
    dense = (6 * 6 * 512 + 1) * 1024 + 1024 + 1
    assert paper_discriminator().count_params() == convs + norms + dense == 23_569_217
    assert paper_discriminator(batch_norm=False).count_params() == convs + dense


def test_the_fully_convolutional_one(keras3: Any) -> None:
    model = patch_discriminator()
    block = ["Conv2D", "LeakyReLU", "BatchNormalization"]
    assert kinds(model) == [
        *["InputLayer", "Conv2D", "LeakyReLU"], *7 * block, *["Dense", "LeakyReLU", "Dense", "Activation"],
    ]  # fmt: skip
    paper = paper_discriminator().count_params()
    assert model.count_params() == paper - (6 * 6 - 1) * 512 * 1024
    assert model(noise(256, 256, low=-1)).shape == (1, 16, 16, 1)
    assert model(noise(40, 81, low=-1)).shape == (1, 3, 6, 1)


def test_a_place_of_the_map_sees_61_pixels(keras3: Any) -> None:
    model = randomise(patch_discriminator(filters=2, batch_norm=False, logits=True))
    batch = noise(256, 256, low=-1)
    before = np.asarray(model(batch))[0, 8, 8, 0]
    changed = []
    for row in range(256):
        touched = batch.copy()
        touched[:, row] += 0.5
        changed.append(np.asarray(model(touched))[0, 8, 8, 0] != before)
    (rows,) = np.nonzero(changed)
    assert rows[-1] - rows[0] + 1 == 61


def test_probabilities_are_the_sigmoid_of_logits(small: Callable[..., Any]) -> None:
    model, bare = randomise(small(), spread=0.1), small(logits=True)
    bare.set_weights(model.get_weights())
    batch = np.concatenate([noise(48, 48, low=-1, seed=seed) for seed in range(3)])
    logits, probabilities = (np.asarray(each(batch, training=False)) for each in (bare, model))
    np.testing.assert_allclose(probabilities, 1 / (1 + np.exp(-logits)), rtol=1e-5)
    assert np.ptp(logits) > 0.01


def test_the_arithmetic_is_keras_2s(small: Callable[..., Any], keras2: Any) -> None:
    """The same layers, written out and run by the other Keras."""
    model = randomise(small(), spread=0.3)
    layers, paper = keras2.layers, "paper" in model.name
    reference = keras2.Sequential([keras2.Input((48, 48, 3))])
    for index, (channels, stride) in enumerate([(4, 1), (4, 2), (8, 1), (8, 2), (16, 1), (16, 2), (32, 1), (32, 2)]):
        reference.add(layers.Conv2D(channels, 3, stride, padding="same"))
        after = [layers.BatchNormalization(momentum=0.8)] if index else []
        for layer in [*after, layers.LeakyReLU(0.2)] if paper else [layers.LeakyReLU(0.2), *after]:
            reference.add(layer)
    if paper:
        reference.add(layers.Flatten())
    for layer in (layers.Dense(64), layers.LeakyReLU(0.2), layers.Dense(1, activation="sigmoid")):
        reference.add(layer)
    reference.set_weights(model.get_weights())
    batch = noise(48, 48, low=-1)
    np.testing.assert_allclose(model(batch, training=False), reference(batch, training=False), rtol=1e-4, atol=1e-6)


def test_a_saved_one_is_the_same_without_our_code(small: Callable[..., Any], keras3: Any, tmp_path: Path) -> None:
    model = randomise(small())
    model.save(tmp_path / "discriminator.keras")
    again = keras3.models.load_model(tmp_path / "discriminator.keras", safe_mode=True)
    batch = noise(48, 48, low=-1)
    np.testing.assert_array_equal(again(batch, training=False), model(batch, training=False))
    modules = {type(layer).__module__.partition(".")[0] for layer in again.layers}
    assert modules == {"keras"}


def test_bfloat16_keeps_weights_and_result_in_float32(small: Callable[..., Any]) -> None:
    exact = randomise(small())
    coarse = small(precision="bf16")
    coarse.set_weights(exact.get_weights())
    assert {variable.dtype for variable in coarse.variables} == {"float32"}
    batch = noise(48, 48, low=-1)
    result = coarse(batch, training=False)
    assert result.dtype == "float32"
    np.testing.assert_allclose(result, exact(batch, training=False), atol=0.02)


def test_it_learns_to_tell_blurred_from_sharp(small: Callable[..., Any], keras3: Any, tf: Any) -> None:
    keras3.utils.set_random_seed(4)
    with Image.open(COFFEE) as image:
        sharp, blurred = (
            np.asarray(each)[:288, :480] / np.float32(127.5) - 1
            for each in (image.convert("RGB"), image.convert("RGB").filter(ImageFilter.GaussianBlur(2)))
        )
    real, made = (
        tf.constant(picture.reshape(6, 48, 10, 48, 3).transpose(0, 2, 1, 3, 4).reshape(60, 48, 48, 3))
        for picture in (sharp, blurred)
    )
    model = small(logits=True)
    optimizer = keras3.optimizers.Adam(3e-3)

    @tf.function
    def step() -> Any:
        with tf.GradientTape() as tape:
            loss = discriminator_loss(model(real, training=True), model(made, training=True))
        weights = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return loss

    losses = [float(step()) for _ in range(30)]
    assert losses[0] > 1
    assert losses[-1] < 0.7


def test_a_crop_of_no_pixels_is_refused() -> None:
    with pytest.raises(ValueError, match="crop is at least 1 pixel, not 0"):
        paper_discriminator(crop=0)
