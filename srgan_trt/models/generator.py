"""SRGAN generators as Keras 3 models: the paper's, and the variant of the package SuperResolution-GANs."""

from __future__ import annotations

import os
from typing import Any

from ..errors import missing

ARCHITECTURES = ("paper", "seed")


def paper_generator(*, blocks: int = 16, filters: int = 64, batch_norm: bool = True, scale: int = 4) -> Any:
    """SRResNet, the generator of the SRGAN paper (arXiv 1609.04802, figure 4), untrained.

    float32 NHWC (N, h, w, 3) in [0, 1] -> (N, h*scale, w*scale, 3) in [-1, 1] (tanh), any h and w.

    Args:
        blocks: Residual blocks.
        filters: Channels of the trunk.
        batch_norm: Batch normalisation in the trunk, as the paper has it.
        scale: A power of two; each doubling is a convolution, a pixel shuffle and a PReLU.

    Raises MissingPackageError if Keras is not installed.
    """
    keras, depth_to_space = _keras()
    layers = keras.layers
    doublings = _doublings(scale)
    norm, conv = _parts(layers, batch_norm)

    def prelu(x: Any) -> Any:
        return layers.PReLU(shared_axes=[1, 2])(x)

    picture = layers.Input((None, None, 3))
    head = x = prelu(conv(picture, filters, 9))
    for _ in range(blocks):
        x = layers.Add()([x, norm(conv(prelu(norm(conv(x, filters))), filters))])
    x = layers.Add()([head, norm(conv(x, filters))])
    for _ in range(doublings):
        x = prelu(depth_to_space(block_size=2)(conv(x, 4 * filters)))
    return keras.Model(picture, conv(x, 3, 9, activation="tanh"), name="srgan_paper")


def seed_generator(
    *, blocks: int = 16, filters: int = 64, upsampling_filters: int = 256, batch_norm: bool = True, scale: int = 4
) -> Any:
    """The generator of SuperResolution-GANs 0.0.3, untrained: ReLU, nearest upsampling before its convolutions.

    float32 NHWC (N, h, w, 3) in [-1, 1] -> (N, h*scale, w*scale, 3) in [-1, 1] (tanh). The original takes 64x64
    only; this one takes any h and w. Arguments as for ``paper_generator``; ``upsampling_filters`` are the
    channels after each doubling.

    Raises MissingPackageError if Keras is not installed.
    """
    keras, _ = _keras()
    layers = keras.layers
    doublings = _doublings(scale)
    norm, conv = _parts(layers, batch_norm)

    picture = layers.Input((None, None, 3))
    head = x = conv(picture, filters, 9, activation="relu")
    for _ in range(blocks):
        y = norm(conv(x, filters, activation="relu"))
        x = layers.Add()([norm(conv(y, filters)), x])
    x = layers.Add()([norm(conv(x, filters)), head])
    for _ in range(doublings):
        x = conv(layers.UpSampling2D(2)(x), upsampling_filters, activation="relu")
    return keras.Model(picture, conv(x, 3, 9, activation="tanh"), name="srgan_seed")


def _parts(layers: Any, batch_norm: bool) -> tuple[Any, Any]:
    """What both generators are made of: a batch norm (or nothing), and a convolution that keeps the size."""

    def norm(x: Any) -> Any:
        return layers.BatchNormalization(momentum=0.8)(x) if batch_norm else x

    def conv(x: Any, channels: int, kernel: int = 3, **options: Any) -> Any:
        return layers.Conv2D(channels, kernel, padding="same", **options)(x)

    return norm, conv


def _doublings(scale: int) -> int:
    doublings = scale.bit_length() - 1
    if scale < 1 or 1 << doublings != scale:
        raise ValueError(f"scale must be a power of two, not {scale}")
    return doublings


def _keras() -> tuple[Any, Any]:
    """Keras 3 on TensorFlow, and our DepthToSpace layer for it."""
    from .custom_layers import DEPTH_TO_SPACE, custom_layers
    from .tensorflow_export import import_tensorflow

    tf = import_tensorflow()
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    try:
        import keras
    except ModuleNotFoundError as error:
        if error.name != "keras":
            raise
        raise missing("keras", "keras", "build a generator") from None
    return keras, custom_layers(keras, tf)[DEPTH_TO_SPACE]
