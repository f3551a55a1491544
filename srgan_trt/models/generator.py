"""Generators as Keras 3 models: the SRGAN paper's, that of the package SuperResolution-GANs, and our compact one."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

POLICIES = {"fp32": "float32", "bf16": "mixed_bfloat16"}
"""Keras dtype policies of the precisions that a generator can be trained in."""


def paper_generator(
    *,
    blocks: int = 16,
    filters: int = 64,
    tail_kernel: int = 9,
    batch_norm: bool = True,
    scale: int = 4,
    precision: str = "fp32",
) -> Any:
    """SRResNet, the generator of the SRGAN paper (arXiv 1609.04802, figure 4), untrained.

    float32 NHWC (N, h, w, 3) in [0, 1] -> (N, h*scale, w*scale, 3) in [-1, 1] (tanh), any h and w.

    Args:
        blocks: Residual blocks.
        filters: Channels of the trunk.
        tail_kernel: Side of the last convolution. The paper's 9 is a fifth of the work of a small network: 3 buys
            six blocks more of 32 filters.
        batch_norm: Batch normalisation in the trunk, as the paper has it.
        scale: A power of two; each doubling is a convolution, a pixel shuffle and a PReLU.
        precision: "fp32", or "bf16" for training: bfloat16 arithmetic on float32 weights, float32 output.

    Raises MissingPackageError if Keras is not installed.
    """
    keras, depth_to_space = _keras()
    layers = keras.layers
    doublings = _doublings(scale)
    norm, conv = _parts(layers, batch_norm, POLICIES[precision])
    policy = {"dtype": POLICIES[precision]}

    def prelu(x: Any) -> Any:
        return layers.PReLU(shared_axes=[1, 2], **policy)(x)

    def add(first: Any, second: Any) -> Any:
        return layers.Add(**policy)([first, second])

    picture = layers.Input((None, None, 3))
    head = x = prelu(conv(picture, filters, 9))
    for _ in range(blocks):
        x = add(x, norm(conv(prelu(norm(conv(x, filters))), filters)))
    x = add(head, norm(conv(x, filters)))
    for _ in range(doublings):
        x = prelu(depth_to_space(block_size=2, **policy)(conv(x, 4 * filters)))
    return keras.Model(picture, conv(x, 3, tail_kernel, activation="tanh", dtype="float32"), name="srgan_paper")


def superresolution_gans_generator(
    *,
    blocks: int = 16,
    filters: int = 64,
    upsampling_filters: int = 256,
    tail_kernel: int = 9,
    batch_norm: bool = True,
    scale: int = 4,
    precision: str = "fp32",
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
    policy = {"dtype": POLICIES[precision]}
    norm, conv = _parts(layers, batch_norm, POLICIES[precision])

    def add(first: Any, second: Any) -> Any:
        return layers.Add(**policy)([first, second])

    picture = layers.Input((None, None, 3))
    head = x = conv(picture, filters, 9, activation="relu")
    for _ in range(blocks):
        y = norm(conv(x, filters, activation="relu"))
        x = add(norm(conv(y, filters)), x)
    x = add(norm(conv(x, filters)), head)
    for _ in range(doublings):
        x = conv(layers.UpSampling2D(2, **policy)(x), upsampling_filters, activation="relu")
    return keras.Model(picture, conv(x, 3, tail_kernel, activation="tanh", dtype="float32"), name="srgan_seed")


def compact_generator(*, blocks: int = 15, filters: int = 48, scale: int = 4, precision: str = "fp32") -> Any:
    """A generator that works in the size of its input to the end, untrained: the cheapest for its depth.

    float32 NHWC (N, h, w, 3) in [0, 1] -> (N, h*scale, w*scale, 3), black at 0 and white at 1, beyond which it is not
    cut off; any h and w. Residual blocks without batch norm and with ReLU, as EDSR's (Lim et al., arXiv 1707.02921,
    figure 2c), then one 3x3 convolution and one pixel shuffle, as ESPCN's (Shi et al., arXiv 1609.05158). Nothing is
    computed in the large picture. Arguments as for ``paper_generator``.

    Raises MissingPackageError if Keras is not installed.
    """
    keras, depth_to_space = _keras()
    layers = keras.layers
    _doublings(scale)
    policy = {"dtype": POLICIES[precision]}
    _, conv = _parts(layers, False, POLICIES[precision])

    picture = layers.Input((None, None, 3))
    head = x = conv(picture, filters)
    for _ in range(blocks):
        x = layers.Add(**policy)([x, conv(conv(x, filters, activation="relu"), filters)])
    x = layers.Add(**policy)([head, conv(x, filters)])
    x = conv(x, 3 * scale**2, dtype="float32")
    return keras.Model(picture, depth_to_space(block_size=scale, dtype="float32")(x), name="srgan_compact")


def _parts(layers: Any, batch_norm: bool, policy: str) -> tuple[Any, Any]:
    """What both generators are made of: a batch norm (or nothing), and a convolution that keeps the size."""

    def norm(x: Any) -> Any:
        return layers.BatchNormalization(momentum=0.8, dtype=policy)(x) if batch_norm else x

    def conv(x: Any, channels: int, kernel: int = 3, **options: Any) -> Any:
        return layers.Conv2D(channels, kernel, padding="same", **{"dtype": policy, **options})(x)

    return norm, conv


def _doublings(scale: int) -> int:
    doublings = scale.bit_length() - 1
    if scale < 1 or 1 << doublings != scale:
        raise ValueError(f"scale must be a power of two, not {scale}")
    return doublings


def _keras() -> tuple[Any, Any]:
    """Keras 3 on TensorFlow, and our DepthToSpace layer for it."""
    from .custom_layers import DEPTH_TO_SPACE, custom_layers
    from .keras3 import import_keras
    from .tensorflow_export import import_tensorflow

    keras = import_keras("build a generator")
    return keras, custom_layers(keras, import_tensorflow())[DEPTH_TO_SPACE]


@dataclass(frozen=True, slots=True)
class Architecture:
    """A family of generators, and the values that its networks take and give for black and white."""

    make: Callable[..., Any]
    input_range: tuple[float, float]
    output_range: tuple[float, float]

    @property
    def sizes(self) -> frozenset[str]:
        """Names of the arguments of ``make`` that say how large the network is."""
        return frozenset(inspect.signature(self.make).parameters) - {"precision"}


ARCHITECTURES = {
    "paper": Architecture(paper_generator, (0.0, 1.0), (-1.0, 1.0)),
    "superresolution-gans": Architecture(superresolution_gans_generator, (-1.0, 1.0), (-1.0, 1.0)),
    "compact": Architecture(compact_generator, (0.0, 1.0), (0.0, 1.0)),
}
