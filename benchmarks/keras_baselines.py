"""The generator by TensorFlow: as people run it, and as TensorFlow runs it best. On a GPU where TensorFlow sees one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from baselines import Image, to_levels, to_network

if TYPE_CHECKING:
    from generators import Generator


@dataclass
class Predict:
    """As SuperResolution-GANs 0.0.3 does it: normalise, a batch of one, `model.predict`, back to levels."""

    generator: Generator

    def __call__(self, image: Image) -> Image:
        batch = np.expand_dims(to_network(image, self.generator.input_range), 0)
        return to_levels(self.generator.model.predict(batch, verbose=0)[0], self.generator.output_range)


@dataclass
class PredictOnBatch:
    """The same without the data pipeline that `predict` sets up around each call."""

    generator: Generator

    def __call__(self, image: Image) -> Image:
        batch = np.expand_dims(to_network(image, self.generator.input_range), 0)
        return to_levels(self.generator.model.predict_on_batch(batch)[0], self.generator.output_range)


class Xla:
    """One function for each size of picture, compiled by XLA when that size first comes."""

    def __init__(self, generator: Generator) -> None:
        import tensorflow as tf

        self._ranges = generator.input_range, generator.output_range
        model = generator.model

        def infer(batch: Any) -> Any:
            return model(batch, training=False)

        self._infer = tf.function(infer, jit_compile=True)

    def __call__(self, image: Image) -> Image:
        batch = np.expand_dims(to_network(image, self._ranges[0]), 0)
        return to_levels(self._infer(batch)[0].numpy(), self._ranges[1])
