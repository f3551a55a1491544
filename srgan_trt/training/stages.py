"""One step of each stage of a training: pictures in, weights moved, losses out."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..models.generator import ARCHITECTURES, Architecture
from .initialisation import begin_as_interpolation
from .recipe import Recipe

Batch = NDArray[np.uint8]
_VGG_GRID = 16
"""Pixels a side that the last convolutions of a VGG take together."""
_LARGEST_GRADIENT = 1.0
"""Norm of all gradients together; above it they are scaled down (Pascanu et al., arXiv 1211.5063)."""


class Stage(Protocol):
    """What the trainer turns."""

    average: Any
    """The Keras generator that comes out, in float32: the running average of the one in training."""

    def step(self, lr: Batch, hr: Batch, teacher: Batch, *, rate: float) -> dict[str, float]:
        """Moves the weights once; returns the losses by part, "loss" being their sum. See ``samples`` for shapes."""

    def variables(self) -> dict[str, list[Any]]:
        """Everything that a checkpoint has to hold, as Keras variables in groups."""


class PixelStage:
    """The generator against the pictures, and a teacher's where there is one."""

    def __init__(self, recipe: Recipe, generator: Any, average: Any, architecture: Architecture) -> None:
        self.average = average
        self._trained = _Trained(recipe, generator, average, architecture)
        tf, trained = self._trained.tf, self._trained

        @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
        def step(lr: Any, hr: Any, teacher: Any) -> Any:
            with tf.GradientTape() as tape:
                sr = trained.enlarge(lr)
                loss = trained.against_pictures(sr, hr, teacher)
                parts = {"loss": loss}
                if recipe.block_weight:
                    blocks = trained.blocks(lr, trained.signed(trained.wanted(hr)), trained.signed(sr))
                    parts = {"loss": loss + recipe.block_weight * blocks, "pixel": loss, "blocks": blocks}
            trained.move(tape.gradient(parts["loss"], trained.weights))
            return parts

        self._step = step

    def step(self, lr: Batch, hr: Batch, teacher: Batch, *, rate: float) -> dict[str, float]:
        self._trained.optimizer.learning_rate.assign(rate)
        return {name: float(value) for name, value in self._step(lr, hr, teacher).items()}

    def variables(self) -> dict[str, list[Any]]:
        return self._trained.variables()


class GanStage:
    """The generator against VGG features and a discriminator, turn by turn (arXiv 1609.04802, section 2.2).

    VGG sees each batch of crops from another corner, up to 15 pixels in. Always on the same grid, what its pooling
    leaves out would be the same pixels of each shuffled block, and the generator would learn to put a pattern there.
    """

    def __init__(self, recipe: Recipe, generator: Any, average: Any, architecture: Architecture) -> None:
        from ..models.discriminator import paper_discriminator, patch_discriminator
        from ..models.features import open_features
        from ..models.losses import (
            ContentLoss,
            LossWeights,
            checkerboard_loss,
            discriminator_loss,
            generator_loss,
            weighted_sum,
        )

        self.average = average
        self._trained = trained = _Trained(recipe, generator, average, architecture)
        tf = trained.tf
        features = open_features(recipe.vgg_weights, layers=recipe.content_layers, precision=recipe.precision)
        self.content_name = features.name
        content_loss = ContentLoss(features, normalized=recipe.content_loss == "normalized")
        weights = LossWeights(
            content=recipe.content_weight,
            adversarial=recipe.adversarial_weight,
            pixel=recipe.pixel_weight,
            pattern=recipe.checkerboard_weight,
            blocks=recipe.block_weight,
        )
        options: dict[str, Any] = {"filters": recipe.discriminator_filters, "precision": recipe.precision}
        self._discriminator = discriminator = (
            paper_discriminator(crop=recipe.crop, logits=True, **options)
            if recipe.discriminator == "paper"
            else patch_discriminator(logits=True, **options)
        )
        self._opponent = opponent = _optimizer(discriminator, recipe)

        side = recipe.crop - _VGG_GRID + 1
        optimizer = trained.optimizer

        @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
        def step(lr: Any, hr: Any, teacher: Any) -> Any:
            real = trained.signed(trained.wanted(hr))
            # By the step's number, so that a resumed training sees the same corners.
            corner = tf.random.stateless_uniform(
                [2], [recipe.seed, tf.cast(optimizer.iterations, tf.int32)], 0, _VGG_GRID, tf.int32
            )

            def part(batch: Any) -> Any:
                return tf.slice(batch, [0, corner[0], corner[1], 0], [-1, side, side, -1])

            with tf.GradientTape(persistent=True) as tape:
                given = trained.enlarge(lr)
                sr = trained.signed(given)
                fooled, seen = discriminator(sr, training=True), discriminator(real, training=True)
                parts = {
                    "pixel": trained.against_pictures(given, hr, teacher),
                    "content": content_loss(part(real), part(sr)),
                    "adversarial": generator_loss(fooled),
                    "pattern": checkerboard_loss(real, sr, block=recipe.scale),
                    "blocks": trained.blocks(lr, real, sr),
                }
                loss, _ = weighted_sum(parts, weights)
                opposing = discriminator_loss(seen, fooled)
            trained.move(tape.gradient(loss, trained.weights))
            judges = discriminator.trainable_variables
            opponent.apply_gradients(zip(tape.gradient(opposing, judges), judges, strict=True))
            return {"loss": loss, **parts, "discriminator": opposing}

        self._step = step

    def step(self, lr: Batch, hr: Batch, teacher: Batch, *, rate: float) -> dict[str, float]:
        self._trained.optimizer.learning_rate.assign(rate)
        self._opponent.learning_rate.assign(rate)
        return {name: float(value) for name, value in self._step(lr, hr, teacher).items()}

    def variables(self) -> dict[str, list[Any]]:
        return {
            **self._trained.variables(),
            "discriminator": list(self._discriminator.variables),
            "opponent": list(self._opponent.variables),
        }


def open_stage(recipe: Recipe, *, weights: list[NDArray[Any]] | None = None) -> Stage:
    """The stage of ``recipe``, its generator with ``weights``; None: newly drawn by the seed.

    Raises MissingPackageError if Keras, or what the stage needs beside it, is not installed.
    """
    from ..models.keras3 import import_keras
    from ..models.tensorflow_export import import_tensorflow

    architecture = ARCHITECTURES[recipe.arch]
    keras = import_keras("train a generator")
    # TensorFlow's rewriting of sums makes one AddN of several, and that adds up in whatever order its inputs' memory
    # becomes free: two trainings from one seed would part in the last bit, and soon in all of them.
    import_tensorflow().config.optimizer.set_experimental_options({"arithmetic_optimization": False})
    sizes = recipe.sizes
    average = architecture.make(**sizes)
    keras.utils.set_random_seed(recipe.seed)
    generator = architecture.make(**sizes, precision=recipe.precision)
    if weights is None:
        begin_as_interpolation(generator, architecture, recipe.scale)
    else:
        generator.set_weights(weights)
    average.set_weights(generator.get_weights())
    stages: dict[str, Any] = {"pixel": PixelStage, "gan": GanStage}
    stage: Stage = stages[recipe.stage](recipe, generator, average, architecture)
    return stage


class _Trained:
    """The generator in training: its optimizer, its running average, and the pictures in its value ranges."""

    def __init__(self, recipe: Recipe, generator: Any, average: Any, architecture: Architecture) -> None:
        from ..models.losses import PIXEL_LOSSES, block_loss
        from ..models.tensorflow_export import import_tensorflow

        self.tf = import_tensorflow()
        self.generator, self.average = generator, average
        self.weights = generator.trainable_variables
        self.optimizer = _optimizer(generator, recipe)
        self._ranges = architecture
        self._pixel_loss = PIXEL_LOSSES[recipe.loss]
        self._block_loss, self._scale = block_loss, recipe.scale
        self._of_teacher = recipe.teacher_weight if recipe.teacher is not None else 0.0
        self._decay = recipe.ema

    def enlarge(self, lr: Any) -> Any:
        return self.generator(self._mapped(lr, self._ranges.input_range), training=True)

    def wanted(self, picture: Any) -> Any:
        """A picture in the range that the generator gives."""
        return self._mapped(picture, self._ranges.output_range)

    def signed(self, picture: Any) -> Any:
        """What the generator gives, in -1..1: what VGG and the discriminator see."""
        low, high = self._ranges.output_range
        return picture if (low, high) == (-1.0, 1.0) else (picture - low) * (2 / (high - low)) - 1

    def against_pictures(self, sr: Any, hr: Any, teacher: Any) -> Any:
        share = self._of_teacher
        loss = (1 - share) * self._pixel_loss(self.wanted(hr), sr)
        return loss + share * self._pixel_loss(self.wanted(teacher), sr) if share else loss

    def blocks(self, lr: Any, real: Any, sr: Any) -> Any:
        """The loss on visible blocks; real, sr: in -1..1."""
        return self._block_loss(self._mapped(lr, (-1.0, 1.0)), real, sr, scale=self._scale)

    def move(self, gradients: Any) -> None:
        tf = self.tf
        self.optimizer.apply_gradients(zip(gradients, self.weights, strict=True))
        # Early on the average would still be the beginning: it follows faster there.
        done = tf.cast(self.optimizer.iterations, tf.float32)
        decay = tf.minimum(self._decay, (1.0 + done) / (10.0 + done))
        for mean, weight in zip(self.average.variables, self.generator.variables, strict=True):
            mean.assign(decay * mean + (1.0 - decay) * tf.cast(weight, mean.dtype))

    def variables(self) -> dict[str, list[Any]]:
        return {
            "generator": list(self.generator.variables),
            "average": list(self.average.variables),
            "optimizer": list(self.optimizer.variables),
        }

    def _mapped(self, picture: Any, range_: tuple[float, float]) -> Any:
        low, high = range_
        return self.tf.cast(picture, self.tf.float32) * ((high - low) / 255.0) + low


def _optimizer(network: Any, recipe: Recipe) -> Any:
    """Adam with beta_1 of 0.9, as in the paper."""
    from ..models.keras3 import import_keras

    keras = import_keras("train a generator")
    optimizer = keras.optimizers.Adam(recipe.peak_rate, beta_1=0.9, global_clipnorm=_LARGEST_GRADIENT)
    optimizer.build(network.trainable_variables)
    return optimizer
