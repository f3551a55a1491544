"""Models on channels first become the same network on channels last, or are refused by the layer that cannot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srgan_trt.errors import ModelError
from srgan_trt.models.channels_last import as_channels_last
from srgan_trt.models.loader import open_network

from .conftest import noise, randomise, run_onnx

Save = Callable[[Any], Path]


def generator(keras: Any, order: str, size: tuple[int | None, int | None]) -> Any:
    layers, first = keras.layers, order == "channels_first"
    picture = layers.Input((3, *size) if first else (*size, 3))
    options = {"padding": "same", "data_format": order}
    x = head = layers.Conv2D(6, 3, activation="relu", **options)(picture)
    x = layers.BatchNormalization(axis=1 if first else -1)(layers.DepthwiseConv2D(3, **options)(x))
    x = layers.Concatenate(axis=1 if first else -1)([layers.LeakyReLU()(x), head])
    x = layers.Conv2D(5, 2, padding="valid", data_format=order)(
        layers.ZeroPadding2D(((1, 0), (0, 1)), data_format=order)(x)
    )
    x = layers.Conv2DTranspose(6, 4, strides=2, **options)(x)
    inner = keras.Sequential([
        layers.Input((6, None, None) if first else (None, None, 6)), layers.Conv2D(6, 3, **options),
    ])  # fmt: skip
    return keras.Model(picture, layers.Conv2D(3, 3, activation="tanh", **options)(layers.Add()([inner(x), x])))


@pytest.mark.parametrize("size", [(None, None), (8, 12)])
def test_the_same_network_on_channels_last(keras: Any, saved: Save, size: tuple[int | None, int | None]) -> None:
    model, twin = (generator(keras, order, size) for order in ("channels_first", "channels_last"))
    randomise(twin)
    model.set_weights(twin.get_weights())
    network = open_network(saved(model))
    batch = noise(8, 12)
    np.testing.assert_allclose(run_onnx(network.export(8, 12), batch), np.asarray(twin(batch)), rtol=0, atol=1e-4)
    assert "works on channels first: the plan is of the same network on channels last" in network.notes


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        ({"class_name": "PReLU", "config": {"shared_axes": [2, 3]}}, r"'PReLU' \(PReLU\) cannot be turned"),
        ({"class_name": "Activation", "config": {"activation": "softmax"}}, "cannot be turned"),
        ({"class_name": "Concatenate", "config": {"axis": -1}}, "along another axis"),
        ({"class_name": "UpSampling2D", "config": {"data_format": "channels_last"}}, "some of its layers do not"),
    ],
)
def test_a_layer_that_would_compute_something_else_is_named(layer: dict[str, Any], words: str) -> None:
    conv = {"class_name": "Conv2D", "config": {"data_format": "channels_first"}}
    config = {"class_name": "Sequential", "config": {"layers": [conv, layer]}}
    with pytest.raises(ModelError, match=rf"net\.h5 works on channels first, .*{words}"):
        as_channels_last("net.h5", config)


def test_other_models_are_left_alone() -> None:
    config = {"class_name": "Sequential", "config": {"layers": [{"class_name": "PReLU", "config": {}}]}}
    assert as_channels_last("net.h5", config) == (config, [])
