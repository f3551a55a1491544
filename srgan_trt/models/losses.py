"""What a generator is trained for: pixels, VGG features, a discriminator that is fooled; and their weighted sum.

Tensors of any float dtype in, a float32 scalar out: bfloat16 has too few digits for a mean over a picture. All are
means, so that weights mean the same for any batch, crop and network.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .features import between_directions
from .tensorflow_export import import_tensorflow

if TYPE_CHECKING:
    from .features import Features

FEATURE_SCALE = 1 / 12.75
"""Brings VGG features to the scale of pixels (arXiv 1609.04802, section 3.2)."""
_PART = 8
"""Blocks a side over which a pattern is looked for."""
_JPEG_BLOCK = 8
_CHANCE = 0.05
"""How far steps at a place of the small picture may be above the truth's without any block, over the mean of all."""
_LEVEL = 1 / 127.5
"""One level of 255, of pictures in -1..1: steps much below it cannot be seen."""


def l1_loss(truth: Any, made: Any) -> Any:
    """Mean absolute difference of two batches of one shape."""
    tf = import_tensorflow()
    return tf.reduce_mean(tf.abs(_exact(made) - _exact(truth)))


def mse_loss(truth: Any, made: Any) -> Any:
    """Mean squared difference of two batches of one shape (arXiv 1609.04802, equation 4)."""
    tf = import_tensorflow()
    return tf.reduce_mean(tf.math.squared_difference(_exact(made), _exact(truth)))


PIXEL_LOSSES: dict[str, Callable[[Any, Any], Any]] = {"l1": l1_loss, "mse": mse_loss}
"""By name: (truth, made) -> scalar."""


class ContentLoss:
    """Mean squared difference of VGG features (arXiv 1609.04802, equation 5), averaged over the layers.

    Features are divided by 12.75 first (section 3.2), which divides the loss by 162.6. With ``normalized`` they are
    scaled to length 1 at each position instead, and the squares of a position are added up, as `Features.distance`
    and LPIPS do (arXiv 1801.03924, equation 1): layers of large values and pictures of much contrast count no more
    than others.
    """

    def __init__(self, features: Features, *, scale: float = FEATURE_SCALE, normalized: bool = False) -> None:
        self.features = features
        self.scale = scale
        self.normalized = normalized

    def __call__(self, truth: Any, made: Any) -> Any:
        """truth, made: RGB (N, H, W, 3) in [-1, 1]. Gradients go to `made` only."""
        tf = import_tensorflow()
        wanted = [tf.stop_gradient(maps) for maps in self.features(truth)]
        pairs = list(zip(wanted, self.features(made), strict=True))
        if self.normalized:
            apart = [tf.reduce_mean(between_directions(*map(_exact, pair))) for pair in pairs]
            return tf.add_n(apart) / len(pairs)
        return self.scale**2 * tf.add_n([mse_loss(*pair) for pair in pairs]) / len(pairs)


def checkerboard_loss(truth: Any, made: Any, *, block: int) -> Any:
    """How far a pattern that repeats every `block` pixels stands out: a shuffle's checkerboard, or a shift of colour.

    truth, made: (N, H, W, 3), sides multiples of `block`. The difference is averaged over the blocks of each part of
    the picture of 8 x 8 blocks, half of which lies in the next part; that leaves block x block x 3 means a part, whose
    absolute values are averaged. 0 where each place in the block is right on average. Over the whole picture,
    stripes in its dark parts and their opposite in its light ones would be right on average.
    """
    tf = import_tensorflow()
    blocks = tf.nn.space_to_depth(_exact(made) - _exact(truth), block)
    return tf.reduce_mean(tf.abs(tf.nn.avg_pool2d(blocks, _PART, _PART // 2, "SAME")))


def block_loss(small: Any, truth: Any, made: Any, *, scale: int) -> Any:
    """How far the borders of 8x8 blocks of a JPEG stand out that `small` has and the truth has not.

    small: (N, H, W, 3); of fewer than 9 x 9 pixels not all places in a block are seen. truth, made: (N, H x scale,
    W x scale, 3). All in -1..1. Large pictures are averaged over scale x scale pixels first: where in a pixel of the
    small picture an edge lies does not matter. Steps between neighbours are averaged by their place in a block, eight
    means a picture and direction, and divided by the mean of the eight. What they are above the truth's is weighed with
    what those of `small` are: no other border counts. 0 where nothing stands out.
    """
    tf = import_tensorflow()
    size = [1, scale, scale, 1]
    large = [tf.nn.avg_pool2d(_exact(batch), size, size, "VALID") for batch in (truth, made)]
    batches = (_exact(small), *large)
    down = _standing_out(*batches)
    across = _standing_out(*(tf.transpose(batch, [0, 2, 1, 3]) for batch in batches))
    return (down + across) / 2


def _standing_out(small: Any, truth: Any, made: Any) -> Any:
    """Of `block_loss`, for the borders that run down the picture; all of one size."""
    tf = import_tensorflow()

    def by_place(batch: Any) -> Any:
        columns = tf.reduce_mean(tf.abs(batch[:, :, 1:] - batch[:, :, :-1]), axis=[1, 3])
        place = tf.one_hot(tf.range(tf.shape(columns)[1]) % _JPEG_BLOCK, _JPEG_BLOCK)
        means = tf.math.divide_no_nan(columns @ place, tf.reduce_sum(place, axis=0))
        return means / (tf.reduce_mean(means, axis=1, keepdims=True) + _LEVEL)

    wanted = by_place(truth)
    there = tf.nn.relu(by_place(small) - wanted - _CHANCE)
    return tf.reduce_mean(there * tf.nn.relu(by_place(made) - wanted))


def generator_loss(made: Any) -> Any:
    """-log D(G(x)), meaned (arXiv 1609.04802, equation 6, which does not vanish where D is sure).

    made: the discriminator's logits, of any shape, for pictures of the generator.
    """
    tf = import_tensorflow()
    return tf.reduce_mean(tf.nn.softplus(-_exact(made)))


def discriminator_loss(real: Any, made: Any, *, smoothing: float = 0.0) -> Any:
    """-log D(y) - log(1 - D(G(x))), each meaned (arXiv 1609.04802, equation 2); 2 log 2 = 1.39 for one that guesses.

    Args:
        real: Logits for real pictures, of any shape.
        made: Logits for those of the generator.
        smoothing: Real pictures are to get 1 - smoothing, made ones still 0 (one-sided label smoothing, Salimans et
            al. 2016, arXiv 1606.03498, section 3.4).
    """
    if not 0 <= smoothing < 0.5:
        raise ValueError(f"smoothing is in 0..0.5 (0.5 excluded), not {smoothing}")
    tf = import_tensorflow()
    real, made = _exact(real), _exact(made)
    missed = tf.nn.softplus(-real)
    if smoothing:  # no product with a logit where there is none: 0 x infinity
        missed += smoothing * real
    return tf.reduce_mean(missed) + tf.reduce_mean(tf.nn.softplus(made))


@dataclass(frozen=True, slots=True)
class LossWeights:
    """Of the parts of a generator's loss; by default those of the paper (equation 3) and SuperResolution-GANs 0.0.3."""

    content: float = 1.0
    adversarial: float = 1e-3
    pixel: float = 0.0
    pattern: float = 0.0
    blocks: float = 0.0

    def __post_init__(self) -> None:
        for name, weight in dataclasses.asdict(self).items():
            if not 0 <= weight < float("inf"):
                raise ValueError(f"the weight of the {name} loss is a number from 0, not {weight}")


def weighted_sum(parts: Mapping[str, Any], weights: LossWeights | None = None) -> tuple[Any, dict[str, Any]]:
    """(the loss, its parts as they are before the weights), all float32 scalars.

    parts: Scalars by the names of `weights`. One whose weight is 0 may be there, for the log, or not. Raises
    ValueError for one that is missing or unknown.
    """
    tf = import_tensorflow()
    factors = dataclasses.asdict(weights or LossWeights())
    if wrong := [name for name, factor in factors.items() if factor and name not in parts]:
        raise ValueError(f"the {wrong[0]} loss has a weight of {factors[wrong[0]]:g} but was not computed")
    if wrong := [name for name in parts if name not in factors]:
        raise ValueError(f"there is no weight for a {wrong[0]} loss: the parts are {', '.join(factors)}")
    exact = {name: _exact(part) for name, part in parts.items()}
    total = [factors[name] * part for name, part in exact.items() if factors[name]]
    return tf.add_n(total) if total else tf.constant(0.0), exact


def _exact(values: Any) -> Any:
    tf = import_tensorflow()
    return tf.cast(values, tf.float32)
