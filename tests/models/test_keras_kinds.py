"""The layers that generators in the wild are made of, from both Kerases and both containers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from srgan_trt.compiler.build import build
from srgan_trt.errors import ModelError
from srgan_trt.models.loader import open_network
from srgan_trt.upscaler import Upscaler

from .conftest import noise, randomise, run_onnx

Save = Callable[[Any], Path]


def same_as_keras(model: Any, path: Path, *, size: tuple[int, int] = (6, 5)) -> Any:
    """The file opens, and its graph gives what the model that was saved gives."""
    network = open_network(path)
    batch = noise(*(network.fixed_shape or size))
    result = run_onnx(network.export(*size), batch)
    np.testing.assert_allclose(result, np.asarray(model(batch)), rtol=0, atol=1e-4)
    return network


@pytest.mark.parametrize("fixed", [None, (8, 12)])
def test_an_assortment_of_layers(keras: Any, saved: Save, fixed: tuple[int, int] | None) -> None:
    layers = keras.layers
    picture = layers.Input((*(fixed or (None, None)), 3))
    x = layers.Rescaling(2.0, -1.0)(picture)
    x = head = layers.SeparableConv2D(6, 3, padding="same", activation="relu")(x)
    x = layers.LeakyReLU()(layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same")(x)))
    x = layers.Concatenate()([layers.Conv2D(6, 3, padding="same", dilation_rate=2)(x), head])
    x = layers.Conv2DTranspose(6, 4, strides=2, padding="same")(x)
    x = layers.PReLU(shared_axes=[1, 2])(layers.Conv2D(6, 1)(layers.ZeroPadding2D(1)(layers.Cropping2D(1)(x))))
    model = randomise(keras.Model(picture, layers.Conv2D(3, 3, padding="same", activation="sigmoid")(x)))
    assert same_as_keras(model, saved(model)).fixed_shape == fixed


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_upsampling_by_interpolation(keras: Any, saved: Save, interpolation: str) -> None:
    layers = keras.layers
    model = keras.Sequential([
        layers.Input((None, None, 3)),
        layers.Conv2D(6, 3, padding="same"),
        layers.UpSampling2D(2, interpolation=interpolation),
        layers.Conv2D(3, 3, padding="same", activation="tanh"),
    ])  # fmt: skip
    same_as_keras(randomise(model), saved(model))


@pytest.mark.parametrize("activation", ["gelu", "hard_sigmoid", "soft_shrink"])
def test_activations_that_keras_spells_out_leave_any_size_and_keras_picture(
    keras3: Any, tmp_path: Path, activation: str
) -> None:
    layers = keras3.layers
    model = keras3.Sequential([
        layers.Input((None, None, 3)),
        layers.Conv2D(6, 3, padding="same", activation=activation),
        layers.UpSampling2D(2),
        layers.Conv2D(3, 3, padding="same", activation="sigmoid"),
    ])  # fmt: skip
    randomise(model).save(tmp_path / "model.keras")
    plan = build(tmp_path / "model.keras", input_range=(0, 1), output_range=(0, 1))
    image = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    with Upscaler(plan, precision="fp32") as up:
        result = up(image)
    expected = np.asarray(model(image[None].astype(np.float32) / 255))[0] * 255
    assert plan.spec.fixed_shape is None
    assert np.abs(result - expected).max() < 0.51


def test_a_nested_model(keras: Any, saved: Save) -> None:
    layers = keras.layers
    inner = keras.Sequential([layers.Input((16, 16, 3)), layers.Conv2D(12, 3, padding="same"), layers.ReLU()])
    outer = layers.Input((16, 16, 3))
    model = randomise(keras.Model(outer, layers.Conv2DTranspose(3, 2, strides=2)(inner(outer))))
    assert same_as_keras(model, saved(model)).fixed_shape == (16, 16)


def test_tensorflow_functions_as_layers(keras2: Any, tf: Any, saved: Save) -> None:
    """Keras 2 writes plain arithmetic on a layer's output as TFOpLambda and SlicingOpLambda."""
    picture = keras2.layers.Input((None, None, 3))
    x = keras2.layers.Conv2D(24, 3, padding="same")(picture / 127.5 - 1.0)
    x = tf.nn.depth_to_space(tf.concat([x[:, :, :, :6], tf.nn.relu(x[:, :, :, 6:12])], axis=-1), 2)
    model = randomise(keras2.Model(picture, tf.clip_by_value(tf.cast(x, tf.float32) * 127.5, 0.0, 255.0)))
    path = saved(model)
    network = open_network(path)
    batch = noise(6, 5, high=255)
    np.testing.assert_allclose(run_onnx(network.export(6, 5), batch), np.asarray(model(batch)), rtol=0, atol=0.02)


def test_arithmetic_of_keras_3(keras3: Any, saved: Save) -> None:
    picture = keras3.layers.Input((None, None, 3))
    x = keras3.layers.Conv2D(3, 3, padding="same")(picture * 2.0 - 1.0)
    x = keras3.layers.Add()([picture + x * 0.2, x])
    model = randomise(keras3.Model(picture, keras3.ops.clip(x, 0.0, 1.0)))
    same_as_keras(model, saved(model))


def test_a_trained_model_with_its_optimizer_and_foreign_loss(keras: Any, saved: Save) -> None:
    def loss_of_mine(y: Any, z: Any) -> Any:
        return (y - z) ** 2

    layers = keras.layers
    model = keras.Sequential([layers.Input((None, None, 3)), layers.Conv2D(3, 3, padding="same")])
    model.compile(optimizer="adam", loss=loss_of_mine)
    model.fit(noise(6, 5), noise(6, 5), verbose=0)
    same_as_keras(model, saved(model))


def test_half_precision_comes_out_as_float32(keras3: Any, tmp_path: Path) -> None:
    layers = keras3.layers
    model = keras3.Sequential([
        layers.Input((None, None, 3)),
        layers.Conv2D(3, 3, padding="same", dtype="mixed_float16"),
    ])  # fmt: skip
    model.save(tmp_path / "half.keras")
    network = open_network(tmp_path / "half.keras")
    batch = noise(6, 5)
    result = run_onnx(network.export(6, 5), batch)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, network.predict(batch), rtol=0, atol=5e-3)


def test_one_fixed_side_fixes_the_other(keras: Any, saved: Save) -> None:
    layers = keras.layers
    model = keras.Sequential([layers.Input((None, 9, 3)), layers.Conv2D(3, 3, padding="same")])
    network = same_as_keras(randomise(model), saved(model))
    assert network.fixed_shape == (9, 9)
    assert "its width is fixed" in network.notes[0]


def test_layers_of_tensorflow_addons_and_its_kin(keras: Any, tf: Any, saved: Save) -> None:
    """Known classes are ours under any package's name; the author's code is not there when the file is opened."""

    class InstanceNormalization(keras.layers.Layer):  # type: ignore[misc]
        def build(self, shape: Any) -> None:
            self.gamma = self.add_weight(name="gamma", shape=(shape[-1],))
            self.beta = self.add_weight(name="beta", shape=(shape[-1],))
            super().build(shape)

        def call(self, x: Any) -> Any:
            mean, variance = tf.nn.moments(x, [1, 2], keepdims=True)
            normal = (x - mean) * tf.math.rsqrt(variance + 1e-5)
            return normal * tf.convert_to_tensor(self.gamma) + tf.convert_to_tensor(self.beta)

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "epsilon": 1e-5, "axis": -1, "groups": 12, "beta_initializer": "zeros"}

    class ReflectionPadding2D(keras.layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return tf.pad(x, [[0, 0], [2, 2], [1, 1], [0, 0]], "REFLECT")

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "padding": (2, 1)}

    layers = keras.layers
    picture = layers.Input((None, None, 3))
    x = InstanceNormalization()(layers.Conv2D(12, (5, 3))(ReflectionPadding2D()(picture)))
    model = randomise(keras.Model(picture, layers.Conv2D(3, 3, padding="same")(x)))
    same_as_keras(model, saved(model))


def test_a_file_is_known_by_its_content_not_its_name(keras2: Any, tmp_path: Path) -> None:
    model = keras2.Sequential([keras2.layers.Conv2D(3, 3, padding="same", input_shape=(None, None, 3))])
    model.save(tmp_path / "model.h5")
    shutil.move(tmp_path / "model.h5", tmp_path / "generator.weights.best")
    same_as_keras(model, tmp_path / "generator.weights.best")


def test_a_file_without_a_version_opens(keras: Any, tmp_path: Path) -> None:
    layers = keras.layers
    model = keras.Sequential([layers.Input((None, None, 3)), layers.Conv2D(3, 3, padding="same")])
    path = tmp_path / "model.h5"
    model.save(path)
    with h5py.File(path, "r+") as file:
        for place in (file, file["model_weights"]):
            place.attrs.pop("keras_version", None)
    same_as_keras(model, path)


def test_a_custom_class_is_named_and_can_be_given(keras: Any, saved: Save, tmp_path: Path) -> None:
    module = keras.__name__
    code = (
        f"import {module}\n\n\nclass Doubling({module}.layers.Layer):\n    def call(self, x):\n        return x * 2.0\n"
    )
    namespace: dict[str, Any] = {}
    exec(code, namespace)
    layers = keras.layers
    picture = layers.Input((None, None, 3))
    model = keras.Model(picture, layers.Conv2D(3, 3, padding="same")(namespace["Doubling"]()(picture)))
    path = saved(model)
    with pytest.raises(ModelError, match=r"Doubling.*--custom-objects FILE\.py") as error:
        open_network(path)
    assert "\n" not in str(error.value)
    objects = tmp_path / "objects.py"
    objects.write_text(code)
    network = open_network(path, custom_objects=objects)
    batch = noise(6, 5)
    np.testing.assert_allclose(run_onnx(network.export(6, 5), batch), np.asarray(model(batch)), rtol=0, atol=1e-4)


def test_a_custom_objects_file_that_fails_or_is_not_there_is_said(
    keras2: Any, tmp_path: Path, shared_models: Path
) -> None:
    path = shared_models / "honeyrocky_x4.h5"
    broken = tmp_path / "broken.py"
    broken.write_text("1 / 0\n")
    with pytest.raises(ModelError, match=r"broken\.py fails: division by zero"):
        open_network(path, custom_objects=broken)
    with pytest.raises(ModelError, match=r"absent\.py: no such Python file"):
        open_network(path, custom_objects=tmp_path / "absent.py")


def test_both_reasons_are_given_if_no_keras_can(keras2: Any, tmp_path: Path) -> None:
    model = keras2.Sequential([keras2.layers.Conv2D(3, 3, padding="same", input_shape=(None, None, 3))])
    path = tmp_path / "odd.h5"
    model.save(path)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        config["config"]["layers"][-1]["config"]["strides"] = "many"
        file.attrs["model_config"] = json.dumps(config)
    with pytest.raises(ModelError, match=r"no Keras can open odd\.h5: Keras 2 \(tf_keras\): .*; Keras 3: ") as error:
        open_network(path)
    assert "\n" not in str(error.value)
