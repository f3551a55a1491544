"""Every activation and enlargement of Keras 2 and 3 becomes the same in ONNX, or is refused by its own name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srgan_trt.errors import ModelError
from srgan_trt.models.tensorflow_export import export_function, import_tensorflow

from .conftest import noise, run_onnx

_BOTH = (
    "elu", "exponential", "gelu", "hard_sigmoid", "leaky_relu", "linear", "log_softmax", "mish", "relu", "relu6",
    "selu", "sigmoid", "silu", "softmax", "softplus", "softsign", "swish", "tanh",
)  # fmt: skip
_THREE = (
    "celu", "hard_shrink", "hard_silu", "hard_swish", "hard_tanh", "log_sigmoid", "soft_shrink", "sparse_plus",
    "sparse_sigmoid", "sparsemax", "squareplus", "tanh_shrink", "threshold",
)  # fmt: skip
_ENLARGED = ("nearest", "bilinear", "bicubic", "area")
_REFUSED = ("lanczos3", "lanczos5", "gaussian", "mitchellcubic")


def _same(function: Any, name: str) -> None:
    batch = noise(8, 9, low=-4, high=4)
    result = run_onnx(export_function(function, 8, 9, channels=3, name=name), batch)
    np.testing.assert_allclose(result, np.asarray(function(import_tensorflow().constant(batch))), atol=1e-4)


def _activation(keras: Any, name: str) -> Any:
    function = getattr(keras.activations, name, None) or keras.activations.get(name)
    return (lambda x: function(x, 0.5, 0.1)) if name == "threshold" else function


@pytest.mark.parametrize("name", _BOTH)
def test_activations(keras: Any, name: str) -> None:
    _same(_activation(keras, name), name)


@pytest.mark.parametrize("name", _THREE)
def test_activations_of_keras_3(keras3: Any, name: str) -> None:
    _same(_activation(keras3, name), name)


def test_gelu_by_its_approximation(keras: Any) -> None:
    _same(lambda x: keras.activations.gelu(x, approximate=True), "gelu")


@pytest.mark.parametrize("name", _ENLARGED)
def test_enlargements(keras: Any, name: str) -> None:
    _same(keras.layers.UpSampling2D(2, interpolation=name), name)


@pytest.mark.parametrize("name", _REFUSED)
def test_enlargements_that_onnx_does_not_have_are_named(keras2: Any, name: str) -> None:
    with pytest.raises(ModelError, match=rf"net uses ScaleAndTranslate \({name}\)"):
        export_function(keras2.layers.UpSampling2D(2, interpolation=name), 8, 9, channels=3, name="net")


@pytest.mark.full
def test_keras_writes_nothing_into_the_home_folder(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    program = "from srgan_trt.models.keras3 import import_keras; import_keras('try'); import tf_keras"
    env = {name: value for name, value in os.environ.items() if name != "KERAS_HOME"}
    env |= {"HOME": str(home), "SRGAN_TRT_CACHE": str(tmp_path / "cache")}
    subprocess.run([sys.executable, "-c", program], env=env, check=True, capture_output=True)
    assert not (home / ".keras").exists()
