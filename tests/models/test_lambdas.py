"""Lambda layers are replaced by what position, shapes and names prove, or refused; their code is never run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srgan_trt.errors import ModelError
from srgan_trt.models.loader import open_network
from srgan_trt.models.source import SourceNetwork

from .conftest import Floats, noise, randomise, run_onnx

Save = Callable[[Any], Path]


def pixel_shuffle(scale: int) -> Callable[[Any], Any]:
    return lambda x: __import__("tensorflow").nn.depth_to_space(x, scale)


def computed(network: SourceNetwork, batch: Floats) -> Floats:
    """What the exported graph gives, once it is seen to be what ``predict`` gives."""
    result = run_onnx(network.export(*batch.shape[1:3]), batch)
    expected = network.predict(batch)
    assert expected is not None
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-4)
    return result


def close(result: Floats, expected: Any, atol: float = 1e-4) -> None:
    np.testing.assert_allclose(result, np.asarray(expected), rtol=0, atol=atol)


def test_ranges_and_shuffles_of_the_paper_kind(keras: Any, tf: Any, saved: Save) -> None:
    layers = keras.layers
    picture = layers.Input((None, None, 3))
    x = layers.Lambda(lambda x: x / 255.0)(picture)
    x = head = layers.PReLU(shared_axes=[1, 2])(layers.Conv2D(8, 3, padding="same")(x))
    x = layers.Add()([head, layers.BatchNormalization()(layers.Conv2D(8, 3, padding="same")(x))])
    for _ in range(2):
        x = layers.Conv2D(32, 3, padding="same")(x)
        x = layers.Lambda(pixel_shuffle(2), output_shape=(None, None, 8))(x)
        x = layers.PReLU(shared_axes=[1, 2])(x)
    x = layers.Conv2D(3, 3, padding="same", activation="tanh")(x)
    model = randomise(keras.Model(picture, layers.Lambda(lambda x: (x + 1) * 127.5)(x)))

    network = open_network(saved(model))
    assert len(network.notes) == 4
    assert sum("pixel shuffle by 2" in note for note in network.notes) == 2
    assert sum("maps the value range" in note for note in network.notes) == 2
    batch = noise(9, 7)
    close((computed(network, batch) + 1) * 127.5, model(batch * 255), 0.02)


def test_a_sequential_that_ends_in_a_shuffle(keras: Any, tf: Any, saved: Save) -> None:
    layers = keras.layers
    model = keras.Sequential([
        layers.Input((None, None, 3)),
        layers.Conv2D(8, 5, padding="same", activation="relu"),
        layers.Conv2D(27, 3, padding="same"),
        layers.Lambda(pixel_shuffle(3), output_shape=(None, None, 3)),
    ])  # fmt: skip
    randomise(model)
    network = open_network(saved(model))
    assert "pixel shuffle by 3" in network.notes[0]
    batch = noise(6, 5)
    close(computed(network, batch), model(batch))


def test_a_shuffle_inside_a_nested_model(keras: Any, tf: Any, saved: Save) -> None:
    layers = keras.layers
    upsampler = keras.Sequential([
        layers.Input((None, None, 4)),
        layers.Conv2D(16, 3, padding="same"),
        layers.Lambda(pixel_shuffle(2), output_shape=(None, None, 4), name="shuffle"),
        layers.LeakyReLU(),
    ])  # fmt: skip
    picture = layers.Input((None, None, 3))
    x = upsampler(layers.Conv2D(4, 3, padding="same")(picture))
    model = randomise(keras.Model(picture, layers.Conv2D(3, 3, padding="same")(x)))
    network = open_network(saved(model))
    assert "Lambda shuffle: a pixel shuffle by 2" in network.notes[0]
    batch = noise(6, 5)
    close(computed(network, batch), model(batch))


def test_one_shuffle_called_twice(keras: Any, tf: Any, saved: Save) -> None:
    layers = keras.layers
    shuffle = layers.Lambda(pixel_shuffle(2), output_shape=(None, None, 4))
    picture = x = layers.Input((None, None, 3))
    for _ in range(2):
        x = shuffle(layers.Conv2D(16, 3, padding="same")(x))
    model = randomise(keras.Model(picture, layers.Conv2D(3, 3, padding="same")(x)))
    batch = noise(6, 5)
    close(computed(open_network(saved(model)), batch), model(batch))


def test_a_shuffle_and_a_range_in_a_row_are_told_apart_by_name(keras: Any, tf: Any, saved: Save) -> None:
    layers = keras.layers
    picture = layers.Input((None, None, 3))
    x = layers.Conv2D(12, 3, padding="same")(picture)
    x = layers.Lambda(pixel_shuffle(2), output_shape=(None, None, 3))(x)
    model = randomise(keras.Model(picture, layers.Lambda(lambda x: x * 255.0)(x)))
    batch = noise(6, 5)
    close(computed(open_network(saved(model)), batch) * 255, model(batch), 0.02)


def test_a_function_stored_by_name_is_proven_like_bytecode(keras: Any, tf: Any, saved: Save) -> None:
    """Keras 3 stores the name of a ``def``, Keras 2 its bytecode all the same."""
    layers = keras.layers

    def subpixel(x: Any) -> Any:
        return __import__("tensorflow").nn.depth_to_space(x, 2)

    model = keras.Sequential([
        layers.Input((None, None, 3)),
        layers.Conv2D(12, 3, padding="same"),
        layers.Lambda(subpixel, output_shape=(None, None, 3)),
    ])  # fmt: skip
    batch = noise(6, 5)
    close(computed(open_network(saved(model)), batch), model(batch))


@pytest.mark.parametrize("name", ["PixelShuffler", "SubpixelConv2D", "DepthToSpace"])
@pytest.mark.parametrize("records", [True, False])
def test_custom_shuffles_of_known_code_bases(keras: Any, tf: Any, saved: Save, name: str, records: bool) -> None:
    class Shuffle(keras.layers.Layer):  # type: ignore[misc]
        def __init__(self, upscale_factor: int = 2, **options: Any) -> None:
            super().__init__(**options)
            self.upscale_factor = upscale_factor

        def call(self, inputs: Any) -> Any:
            return tf.nn.depth_to_space(inputs, self.upscale_factor)

        def compute_output_shape(self, shape: Any) -> Any:
            return (shape[0], None, None, shape[3] // self.upscale_factor**2)

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), **({"upscale_factor": self.upscale_factor} if records else {})}

    Shuffle.__name__ = name
    layers = keras.layers
    picture = layers.Input((None, None, 3))
    x = Shuffle(2)(layers.Conv2D(32, 3, padding="same")(picture))
    model = randomise(keras.Model(picture, layers.Conv2D(3, 3, padding="same")(x)))
    network = open_network(saved(model))
    assert f"{name} " in network.notes[0]
    assert "pixel shuffle by 2" in network.notes[0]
    batch = noise(6, 5)
    close(computed(network, batch), model(batch))


def middle(keras: Any, function: Callable[[Any], Any]) -> Any:
    layers = keras.layers
    picture = layers.Input((None, None, 3))
    x = layers.Conv2D(4, 3, padding="same")(picture)
    x = layers.Lambda(function, output_shape=(None, None, 4), name="secret")(x)
    return randomise(keras.Model(picture, layers.Conv2D(3, 3, padding="same")(x)))


def test_a_lambda_in_the_middle_is_refused(keras: Any, saved: Save) -> None:
    path = saved(middle(keras, lambda x: x * 0.2))
    with pytest.raises(ModelError, match=r"'secret'.*middle of the network.*--trust-model.*--custom-objects") as error:
        open_network(path)
    assert "\n" not in str(error.value)


def test_a_lambda_in_the_middle_runs_on_trust(keras: Any, saved: Save) -> None:
    model = middle(keras, lambda x: x * 0.2)
    network = open_network(saved(model), trust_model=True)
    assert "--trust-model" in network.notes[0]
    batch = noise(6, 5)
    close(computed(network, batch), model(batch))


def first(keras: Any, function: Callable[[Any], Any]) -> Any:
    layers = keras.layers
    picture = layers.Input((None, None, 3))
    x = layers.Lambda(function, output_shape=(None, None, 3))(picture)
    return keras.Model(picture, layers.Conv2D(3, 3, padding="same")(x))


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda x: __import__("tensorflow").image.resize(x, (8, 8)), "resize"),
        (lambda x: __import__("tensorflow").tanh(x), "tanh"),
        (lambda x, offsets=[0.4, 0.5, 0.6]: x - offsets, "list of numbers"),
    ],
    ids=["resize", "tanh", "mean colour"],
)
def test_what_only_looks_like_a_range_mapping_is_refused(
    keras: Any, saved: Save, function: Callable[[Any], Any], reason: str
) -> None:
    with pytest.raises(ModelError, match=f"cannot prove.*{reason}"):
        open_network(saved(first(keras, function)))


def test_a_lambda_beside_a_skip_around_the_network_is_no_range_mapping(keras: Any, saved: Save) -> None:
    layers = keras.layers
    picture = layers.Input((None, None, 3))
    side = layers.Lambda(lambda x: x * 0.5, output_shape=(None, None, 3))(picture)
    model = keras.Model(picture, layers.Add()([side, layers.Conv2D(3, 3, padding="same")(picture)]))
    with pytest.raises(ModelError, match="middle of the network"):
        open_network(saved(model))


def test_channels_that_no_shuffle_explains_are_refused(keras: Any, saved: Save) -> None:
    layers = keras.layers
    picture = layers.Input((None, None, 3))
    x = layers.Lambda(lambda x: x[..., :3], output_shape=(None, None, 3))(layers.Conv2D(8, 3, padding="same")(picture))
    model = keras.Model(picture, layers.Conv2D(3, 3, padding="same")(x))
    with pytest.raises(ModelError, match="8 channels into 3, which no pixel shuffle does"):
        open_network(saved(model))


@pytest.mark.parametrize("build", [first, middle])
def test_the_bytecode_in_a_file_is_never_run(
    keras: Any, saved: Save, tmp_path: Path, build: Callable[..., Any]
) -> None:
    mark = tmp_path / "was here"

    def trap(x: Any, path: str = str(mark)) -> Any:
        __import__("pathlib").Path(path).touch()
        return x

    trap.__name__ = "<lambda>"  # what makes Keras store the code rather than the name
    path = saved(build(keras, trap))
    mark.unlink(missing_ok=True)  # building a Keras 2 model ran it
    try:
        open_network(path).export(8, 8)
    except ModelError as error:
        assert "cannot prove" in str(error)  # noqa: PT017
    assert not mark.exists()


@pytest.mark.parametrize("name", ["fifth", "secret"], ids=["as the function", "as the layer"])
def test_custom_objects_give_a_lambda_its_code(keras: Any, saved: Save, tmp_path: Path, name: str) -> None:
    def fifth(x: Any) -> Any:
        return x * 0.2

    model = middle(keras, fifth)
    path = saved(model)
    with pytest.raises(ModelError, match=r"--custom-objects FILE.py may define it as a function secret\(x\)"):
        open_network(path)
    code = tmp_path / "mine.py"
    code.write_text(f"def {name}(x):\n    return x * 0.2\n")
    network = open_network(path, custom_objects=code)
    assert f"the function {name} of the custom objects" in network.notes[0]
    batch = noise(6, 5)
    close(computed(network, batch), model(batch))
