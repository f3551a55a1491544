"""What is not a super-resolver is refused in one line that says what it is."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from srgan_trt.errors import ModelError
from srgan_trt.models.loader import open_network
from srgan_trt.models.source import check_scale

Save = Callable[[Any], Path]


def refused(path: Path, words: str) -> None:
    with pytest.raises(ModelError, match=words) as error:
        open_network(path).export(16, 24)
    assert "\n" not in str(error.value)
    assert path.name in str(error.value)


def test_no_such_file(tmp_path: Path) -> None:
    refused(tmp_path / "gone.h5", "does not exist")


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty.h5").touch()
    refused(tmp_path / "empty.h5", r"empty \(0 bytes\)")


@pytest.mark.parametrize("suffix", [".h5", ".keras", ".onnx", ".txt"])
def test_a_text_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"text{suffix}"
    path.write_text("404: not found, or nothing here\n")
    refused(path, "neither HDF5 nor a .keras archive|damaged ONNX|not a model file")


@pytest.mark.parametrize("file", ["honeyrocky_x4.h5", "pardo_enhance.keras"])
@pytest.mark.parametrize("share", [0.1, 0.9])
def test_a_truncated_file(shared_models: Path, tmp_path: Path, file: str, share: float) -> None:
    data = (shared_models / file).read_bytes()
    (tmp_path / file).write_bytes(data[: int(len(data) * share)])
    refused(tmp_path / file, "truncated or damaged")


def test_an_hdf5_data_set(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "pictures.h5", "w") as file:
        file["train"] = np.zeros((2, 4, 4, 3))
    refused(tmp_path / "pictures.h5", "HDF5 file but no Keras model")


def test_a_zip_archive(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "archive.keras", "w") as archive:
        archive.writestr("readme.txt", "hello")
    refused(tmp_path / "archive.keras", "zip archive but no .keras file")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "a Git LFS pointer, .*git lfs pull"),
        (b"\xef\xbb\xbf\n<!DOCTYPE html><html></html>", "a web page, not the file"),
        (b"<html><body>Sign in</body></html>", "a web page, not the file"),
        (b"ftrt" + bytes(100), "an engine of TensorRT's own tools"),
        (b"srgan-trt engine" + bytes(100), "an engine: name it where a model is run"),
    ],
)
@pytest.mark.parametrize("name", ["model.h5", "model.keras", "model.onnx", "model.engine"])
def test_what_is_often_saved_in_a_models_place(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    refused(tmp_path / name, words)


def test_a_folder_that_is_no_saved_model(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    refused(tmp_path / "pictures", "without a saved_model.pb")


def test_a_config_that_is_not_json(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "odd.h5", "w") as file:
        file.attrs["model_config"] = "{"
    refused(tmp_path / "odd.h5", "not JSON")


def test_a_classifier(keras: Any, saved: Save) -> None:
    layers = keras.layers
    model = keras.Sequential([
        layers.Input((16, 16, 3)), layers.Conv2D(4, 3), layers.GlobalAveragePooling2D(), layers.Dense(10),
    ])  # fmt: skip
    refused(saved(model), "gives 10 numbers a picture: it is a classifier")


def test_two_inputs_and_two_outputs(keras: Any, saved: Save) -> None:
    layers = keras.layers
    one, two = layers.Input((16, 16, 3)), layers.Input((16, 16, 3))
    conv = layers.Conv2D(3, 3, padding="same")
    refused(saved(keras.Model([one, two], conv(layers.Add()([one, two])))), "has 2 inputs")
    refused(saved(keras.Model(one, [conv(one), layers.ReLU()(one)])), "has 2 outputs")


@pytest.mark.parametrize(("channels", "words"), [(1, "gives 3 channels, not the 1"), (2, "takes 2 channels")])
def test_channels_that_are_no_picture(keras: Any, saved: Save, channels: int, words: str) -> None:
    layers = keras.layers
    model = keras.Sequential([layers.Input((None, None, channels)), layers.Conv2D(3, 3, padding="same")])
    refused(saved(model), words)


def test_a_network_that_makes_pictures_smaller(keras: Any, saved: Save) -> None:
    layers = keras.layers
    model = keras.Sequential([layers.Input((None, None, 3)), layers.Conv2D(3, 3, strides=2, padding="same")])
    refused(saved(model), "smaller")


def test_a_scale_that_is_not_whole(keras: Any, saved: Save) -> None:
    layers = keras.layers
    model = keras.Sequential([
        layers.Input((None, None, 3)), layers.UpSampling2D(3), layers.Conv2D(3, 3, strides=2, padding="same"),
    ])  # fmt: skip
    refused(saved(model), "not a whole scale")


def test_an_architecture_for_a_file_that_has_its_own(shared_models: Path) -> None:
    with pytest.raises(ModelError, match="leave --arch out"):
        open_network(shared_models / "honeyrocky_x4.h5", arch="paper")


def test_the_scale_between_two_sizes() -> None:
    assert check_scale("x", (10, 20), (40, 80)) == 4
    for output in [(40, 60), (41, 82), (15, 30)]:
        with pytest.raises(ModelError, match="not a whole scale"):
            check_scale("x", (10, 20), output)


@pytest.mark.parametrize(("output", "scale"), [((88, 120), 2), ((36, 52), 1), ((48, 80), 2)])
def test_rows_and_columns_that_a_network_without_padding_lacks(output: tuple[int, int], scale: int) -> None:
    assert check_scale("x", (48, 64), output) == scale


def test_a_square_does_not_tell() -> None:
    assert check_scale("x", (33, 33), (21, 21)) == 1
    assert check_scale("x", (32, 32), (40, 40)) == 2
