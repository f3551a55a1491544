"""Keras files of luma networks and of networks that do not pad, from the file to the picture, against Keras itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from srgan_trt import Upscaler, build

Floats = NDArray[np.float32]
RANGES: dict[str, Any] = {"input_range": (0, 1), "output_range": (0, 1)}


def picture(height: int, width: int, channels: int) -> Floats:
    """Smooth, as most of a photo is."""
    rows, columns = np.mgrid[:height, :width] / 9
    waves = [np.sin(rows + index) * np.cos(columns - index) * 0.3 + 0.5 for index in range(channels)]
    return np.stack(waves, axis=-1).astype(np.float32)


def passing(model: Any) -> Any:
    """The Keras model with weights that pass the picture on, and a little noise."""
    dice = np.random.default_rng(0)
    weights = []
    for weight in model.get_weights():
        new = dice.normal(0, 0.004, weight.shape).astype(np.float32)
        if weight.ndim == 4:
            height, width, inputs, outputs = weight.shape
            for output in range(outputs):
                new[height // 2, width // 2, output % inputs, output] += 1
        weights.append(new)
    model.set_weights(weights)
    return model


@pytest.mark.parametrize("name", ["luma.h5", "luma.keras"])
def test_a_luma_network(keras: Any, tmp_path: Path, name: str) -> None:
    layers = keras.layers
    low = layers.Input((None, None, 1))
    x = layers.Conv2D(4, 5, padding="same", activation="relu")(low)
    x = layers.Conv2DTranspose(1, 9, strides=3, padding="same", kernel_initializer="zeros")(x)
    model = keras.Model(low, layers.Add()([x, layers.UpSampling2D(3, interpolation="bilinear")(low)]))
    model.save(tmp_path / name)
    gray = picture(20, 24, 1)
    with Upscaler(build(tmp_path / name, **RANGES), device="cpu", exact=True) as up:
        assert (up.spec.scale, up.spec.fixed_shape) == (3, None)
        result = up(gray[..., 0])
    np.testing.assert_allclose(result, np.asarray(model(gray[None]))[0, ..., 0], atol=2 / 65535)


@pytest.mark.parametrize("size", [None, 33])
def test_srcnn_as_it_was_published(keras: Any, tmp_path: Path, size: int | None) -> None:
    """9-1-5 without padding on luma: 33x33 to 21x21, on pictures that were enlarged before."""
    layers = keras.layers
    x = low = layers.Input((size, size, 1))
    for channels, kernel in ((8, 9), (4, 1)):
        x = layers.Conv2D(channels, kernel, activation="relu")(x)
    model = passing(keras.Model(low, layers.Conv2D(1, 5)(x)))
    model.set_weights([weight / (1, 1, 1, 1, 4, 1)[index] for index, weight in enumerate(model.get_weights())])
    model.save(tmp_path / "srcnn.h5")
    gray = picture(33, 33, 1)
    with Upscaler(build(tmp_path / "srcnn.h5", **RANGES), device="cpu", exact=True) as up:
        assert up.spec.scale == 1
        result = up(gray[..., 0])
    expected = np.clip(np.asarray(model(gray[None]))[0, ..., 0], 0, 1)
    assert expected.shape == (21, 21)
    np.testing.assert_allclose(result[6:-6, 6:-6], expected, atol=2 / 65535)
    with Upscaler(build(tmp_path / "srcnn.h5", enlarge=2, **RANGES), device="cpu") as up:
        assert up(gray[..., 0]).shape == (66, 66)


def test_a_cropped_skip(keras: Any, tmp_path: Path) -> None:
    """waifu2x's and U-Nets' way: convolutions without padding, and a skip that is cut to their size."""
    layers = keras.layers
    low = layers.Input((None, None, 3))
    x = layers.Conv2D(3, 3)(layers.Conv2D(3, 3)(low))
    x = layers.Average()([x, layers.Cropping2D(2)(low)])
    model = passing(keras.Model(low, layers.UpSampling2D(2)(x)))
    model.save(tmp_path / "net.keras")
    image = picture(20, 24, 3)
    with Upscaler(build(tmp_path / "net.keras", **RANGES), device="cpu", exact=True) as up:
        assert up.spec.fixed_shape is None
        result = up(image)
    expected = np.clip(np.asarray(model(image[None]))[0], 0, 1)
    np.testing.assert_allclose(result[4:-4, 4:-4], expected, atol=2 / 65535)
