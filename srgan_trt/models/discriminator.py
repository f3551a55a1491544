"""SRGAN discriminators as Keras 3 models: the paper's, and that of the package SuperResolution-GANs."""

from __future__ import annotations

from typing import Any

from .generator import POLICIES
from .keras3 import import_keras

HALVINGS = 4
"""How often a discriminator halves the sides of a picture; odd ones are rounded up."""
_SLOPE = 0.2
_MOMENTUM = 0.8
"""Of batch norm, as in SuperResolution-GANs 0.0.3; the paper names none."""


def paper_discriminator(
    *, crop: int = 96, filters: int = 64, batch_norm: bool = True, logits: bool = False, precision: str = "fp32"
) -> Any:
    """The discriminator of the SRGAN paper (arXiv 1609.04802, figure 4), untrained: is a picture real?

    float32 NHWC (N, crop, crop, 3) in [-1, 1] -> float32 (N, 1), the probability that it is.

    Args:
        crop: Side of the pictures in pixels. At 96 the first dense layer has 80 % of the 23.6 million weights.
        filters: Channels of the first convolution; the others, and the first dense layer, follow in proportion.
        batch_norm: Batch normalisation from the second convolution on, as the paper has it.
        logits: The result without its sigmoid, from -infinity to infinity: losses are exact and stable on these.
        precision: "fp32", or "bf16" for training: bfloat16 arithmetic on float32 weights but in the last layer.

    Raises MissingPackageError if Keras is not installed, ValueError for a crop under one pixel.
    """
    if crop < 1:
        raise ValueError(f"crop is at least 1 pixel, not {crop}")
    keras = import_keras("build a discriminator")
    layers, policy = keras.layers, POLICIES[precision]
    picture = layers.Input((crop, crop, 3))
    x = picture
    for index, (channels, stride) in enumerate(_convolutions(filters)):
        x = layers.Conv2D(channels, 3, stride, padding="same", dtype=policy)(x)
        if batch_norm and index:
            x = layers.BatchNormalization(momentum=_MOMENTUM, dtype=policy)(x)
        x = layers.LeakyReLU(_SLOPE, dtype=policy)(x)
    x = layers.Flatten(dtype=policy)(x)
    return keras.Model(picture, _judgement(layers, x, 16 * filters, logits, policy), name="srgan_paper_discriminator")


def patch_discriminator(
    *, filters: int = 64, batch_norm: bool = True, logits: bool = False, precision: str = "fp32"
) -> Any:
    """The discriminator of SuperResolution-GANs 0.0.3, untrained: which parts of a picture are real?

    float32 NHWC (N, H, W, 3) in [-1, 1], of any size -> float32 (N, H/16, W/16, 1), rounded up: the probability that
    the 61 x 61 pixels (and fewer at the border) around each place are of a real picture. The original takes 256 x 256
    only, and gives 16 x 16. Its dense layers see one place at a time, and it normalises after the LeakyReLU where the
    paper's does before. Arguments as for ``paper_discriminator``.

    Raises MissingPackageError if Keras is not installed.
    """
    keras = import_keras("build a discriminator")
    layers, policy = keras.layers, POLICIES[precision]
    picture = layers.Input((None, None, 3))
    x = picture
    for index, (channels, stride) in enumerate(_convolutions(filters)):
        x = layers.Conv2D(channels, 3, stride, padding="same", dtype=policy)(x)
        x = layers.LeakyReLU(_SLOPE, dtype=policy)(x)
        if batch_norm and index:
            x = layers.BatchNormalization(momentum=_MOMENTUM, dtype=policy)(x)
    return keras.Model(picture, _judgement(layers, x, 16 * filters, logits, policy), name="srgan_patch_discriminator")


def _convolutions(filters: int) -> list[tuple[int, int]]:
    """(channels, stride) of the eight: channels double where the picture has been halved."""
    return [(filters << halving, stride) for halving in range(HALVINGS) for stride in (1, 2)]


def _judgement(layers: Any, x: Any, units: int, logits: bool, policy: str) -> Any:
    x = layers.LeakyReLU(_SLOPE, dtype=policy)(layers.Dense(units, dtype=policy)(x))
    # A layer of its own, so that weights fit with and without it.
    x = layers.Dense(1, dtype="float32", name="logits")(x)
    return x if logits else layers.Activation("sigmoid", dtype="float32", name="probability")(x)
