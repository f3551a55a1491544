"""Helpers of the model tests: two Kerases on TensorFlow, and an independent runner for exported graphs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def run_onnx(model: Any, batch: Floats) -> Floats:
    """NHWC in, NHWC out, by onnxruntime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    (result,) = session.run(["output"], {"input": np.ascontiguousarray(batch.transpose(0, 3, 1, 2))})
    return result.transpose(0, 2, 3, 1)


def noise(height: int, width: int, *, low: float = 0.0, high: float = 1.0, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).uniform(low, high, (1, height, width, 3)).astype(np.float32)


@pytest.fixture(scope="session")
def tf() -> Any:
    pytest.importorskip("tf2onnx", reason="the [keras] extra is not installed")
    from srgan_trt.models.tensorflow_export import import_tensorflow

    return import_tensorflow()


@pytest.fixture(scope="session")
def keras3(tf: Any) -> Any:
    return pytest.importorskip("keras")


@pytest.fixture(scope="session")
def keras2(tf: Any) -> Any:
    return pytest.importorskip("tf_keras")


@pytest.fixture(params=["keras2", "keras3"])
def keras(request: pytest.FixtureRequest) -> Any:
    """Each of the two Kerases that write generator files."""
    return request.getfixturevalue(request.param)


@pytest.fixture(params=[".h5", ".keras"])
def saved(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Any], Path]:
    """Saves a model in one of Keras's two containers, and returns the path."""

    def save(model: Any) -> Path:
        path = tmp_path / f"model{request.param}"
        model.save(path)
        return path

    return save


def randomise(model: Any, *, spread: float = 0.15) -> Any:
    """Gives every weight of ``model`` a value that matters, batch norm's statistics included."""
    rng = np.random.default_rng(1)
    values = []
    for weight in model.get_weights():
        value = rng.uniform(0.5, 1.5, weight.shape) if weight.ndim == 1 else rng.normal(0, spread, weight.shape)
        values.append(value.astype(np.float32))
    model.set_weights(values)
    return model
