"""Losses against their formulae in NumPy's float64, and where float32 would give up."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from srgan_trt.errors import MissingPackageError
from srgan_trt.models.features import open_features
from srgan_trt.models.losses import (
    PIXEL_LOSSES,
    ContentLoss,
    LossWeights,
    block_loss,
    checkerboard_loss,
    discriminator_loss,
    generator_loss,
    weighted_sum,
)

RNG = np.random.default_rng(5)
TRUTH, MADE = RNG.uniform(-1, 1, (2, 2, 12, 20, 3)).astype(np.float32)


def sigmoid(logits: NDArray[Any]) -> NDArray[Any]:
    return 1 / (1 + np.exp(-logits.astype(np.float64)))


@pytest.mark.parametrize(
    ("name", "formula"), [("l1", lambda a, b: np.abs(a - b).mean()), ("mse", lambda a, b: ((a - b) ** 2).mean())]
)
def test_pixel_losses(tf: Any, name: str, formula: Any) -> None:
    found = PIXEL_LOSSES[name](TRUTH, MADE)
    assert found.dtype == tf.float32
    assert float(found) == pytest.approx(formula(TRUTH.astype(float), MADE.astype(float)), rel=1e-6)


def test_bfloat16_is_computed_in_float32(tf: Any) -> None:
    truth, made = (tf.cast(each, tf.bfloat16) for each in (TRUTH, MADE))
    first, second = (np.asarray(tf.cast(each, tf.float64)) for each in (truth, made))
    assert float(PIXEL_LOSSES["l1"](truth, made)) == pytest.approx(np.abs(first - second).mean(), rel=1e-6)
    assert float(PIXEL_LOSSES["mse"](truth, made)) == pytest.approx(((first - second) ** 2).mean(), rel=1e-6)
    assert float(generator_loss(made)) == pytest.approx(-np.log(sigmoid(second)).mean(), rel=1e-6)
    assert discriminator_loss(truth, made, smoothing=0.1).dtype == tf.float32


@pytest.mark.parametrize("shape", [(7, 1), (3, 6, 6, 1)], ids=["paper", "patch"])
def test_adversarial_losses(tf: Any, shape: tuple[int, ...]) -> None:
    real, made = RNG.normal(0, 3, (2, *shape)).astype(np.float32)
    assert float(generator_loss(made)) == pytest.approx(-np.log(sigmoid(made)).mean(), rel=1e-5)
    cross_entropy = -np.log(sigmoid(real)).mean() - np.log(1 - sigmoid(made)).mean()
    assert float(discriminator_loss(real, made)) == pytest.approx(cross_entropy, rel=1e-5)
    smooth = -(0.9 * np.log(sigmoid(real)) + 0.1 * np.log(1 - sigmoid(real))).mean()
    smooth -= np.log(1 - sigmoid(made)).mean()
    assert float(discriminator_loss(real, made, smoothing=0.1)) == pytest.approx(smooth, rel=1e-5)


def test_a_discriminator_that_guesses(tf: Any) -> None:
    assert float(discriminator_loss(np.zeros((4, 1)), np.zeros((4, 1)))) == pytest.approx(2 * np.log(2))
    with pytest.raises(ValueError, match=r"smoothing is in 0\.\.0\.5 .*, not 0\.5"):
        discriminator_loss([0.0], [0.0], smoothing=0.5)


@pytest.mark.parametrize("size", [50.0, 1e4, 1e30])
def test_extreme_logits_give_numbers_and_gradients(tf: Any, size: float) -> None:
    sure, wrong = tf.constant([size]), tf.constant([-size])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([sure, wrong])
        fooled, caught = generator_loss(sure), generator_loss(wrong)
        right = discriminator_loss(sure, wrong)
        deceived = discriminator_loss(wrong, sure)
        smooth = discriminator_loss(sure, wrong, smoothing=0.1)
    assert float(fooled) == pytest.approx(0, abs=1e-20)
    assert float(caught) == pytest.approx(size)
    assert float(right) == pytest.approx(0, abs=1e-20)
    assert float(deceived) == pytest.approx(2 * size)
    assert float(smooth) == pytest.approx(0.1 * size)
    np.testing.assert_allclose(tape.gradient(caught, wrong), [-1])  # where the discriminator is sure, most is learnt
    np.testing.assert_allclose(tape.gradient(fooled, sure), [0], atol=1e-20)
    np.testing.assert_allclose(tape.gradient(smooth, sure), [0.1], rtol=1e-6)


def test_logits_without_bounds_are_no_nan_without_smoothing(tf: Any) -> None:
    assert float(discriminator_loss([np.inf], [-np.inf])) == 0
    assert float(generator_loss([np.inf])) == 0


@pytest.fixture(scope="module")
def features(tf: Any) -> Any:
    try:
        return open_features(layers=["block1_conv2", "block2_conv2"])
    except MissingPackageError as error:
        pytest.skip(str(error))


def test_content_loss(features: Any) -> None:
    loss = ContentLoss(features)
    by_layer = [
        np.mean(((a.numpy().astype(float) - b.numpy()) / 12.75) ** 2)
        for a, b in zip(features(TRUTH), features(MADE), strict=True)
    ]
    assert float(loss(TRUTH, MADE)) == pytest.approx(np.mean(by_layer), rel=1e-5)
    assert float(ContentLoss(features, scale=1)(TRUTH, MADE)) == pytest.approx(162.5625 * np.mean(by_layer), rel=1e-5)
    assert float(loss(TRUTH, TRUTH)) == 0


def test_normalized_content_loss(features: Any) -> None:
    loss = ContentLoss(features, normalized=True)
    by_layer = []
    for pair in zip(features(TRUTH), features(MADE), strict=True):
        first, second = (maps.numpy().astype(float) for maps in pair)
        first, second = (maps / np.linalg.norm(maps, axis=-1, keepdims=True) for maps in (first, second))
        by_layer.append(((first - second) ** 2).sum(-1).mean())
    assert float(loss(TRUTH, MADE)) == pytest.approx(np.mean(by_layer), rel=1e-5)
    assert float(loss(TRUTH, TRUTH)) == 0


def test_features_of_nothing_have_a_gradient(tf: Any) -> None:
    """Where all ReLUs are shut, a vector has no length."""
    nothing = tf.zeros((1, 2, 2, 4))
    with tf.GradientTape() as tape:
        tape.watch(nothing)
        loss = ContentLoss(lambda maps: [maps], normalized=True)(tf.ones((1, 2, 2, 4)), nothing)
    assert float(loss) == pytest.approx(1)
    assert np.isfinite(tape.gradient(loss, nothing)).all()


def test_content_loss_moves_what_was_made_and_not_the_truth(features: Any, tf: Any) -> None:
    truth, made = tf.constant(TRUTH), tf.constant(MADE)

    @tf.function
    def gradients() -> Any:
        with tf.GradientTape() as tape:
            tape.watch([truth, made])
            value = ContentLoss(features)(truth, made)
        return value, tape.gradient(value, [truth, made])

    value, (of_truth, of_made) = gradients()
    assert of_truth is None
    moved = made - 0.1 * float(value) * of_made / tf.reduce_sum(of_made**2)
    assert float(ContentLoss(features)(truth, moved)) == pytest.approx(0.9 * float(value), rel=0.02)


def test_the_weighted_sum_tells_its_parts(tf: Any) -> None:
    parts = {"content": tf.constant(2.0, tf.bfloat16), "adversarial": tf.constant(3.0), "pixel": tf.constant(5.0)}
    loss, told = weighted_sum(parts)
    assert float(loss) == pytest.approx(2.003)
    assert {name: float(part) for name, part in told.items()} == {"content": 2, "adversarial": 3, "pixel": 5}
    assert loss.dtype == told["content"].dtype == tf.float32
    loss, told = weighted_sum({"pixel": tf.constant(5.0)}, LossWeights(content=0, adversarial=0, pixel=0.5))
    assert float(loss) == 2.5
    assert list(told) == ["pixel"]


def test_a_part_of_no_weight_does_no_harm(tf: Any) -> None:
    loss, _ = weighted_sum({"content": tf.constant(1.0), "adversarial": 0.0, "pixel": tf.constant(np.nan)})
    assert float(loss) == 1
    assert float(weighted_sum({}, LossWeights(content=0, adversarial=0))[0]) == 0


def test_parts_and_weights_belong_together(tf: Any) -> None:
    with pytest.raises(ValueError, match=r"the adversarial loss has a weight of 0\.001 but was not computed"):
        weighted_sum({"content": tf.constant(1.0)})
    with pytest.raises(ValueError, match=r"no weight for a style loss: the parts are content, adversarial, pixel"):
        weighted_sum({"content": 1.0, "adversarial": 1.0, "style": 1.0})
    with pytest.raises(ValueError, match=r"weight of the pixel loss is a number from 0, not -1"):
        LossWeights(pixel=-1)
    with pytest.raises(ValueError, match=r"not nan"):
        LossWeights(content=float("nan"))


def test_a_pattern_in_one_part_does_not_make_up_for_its_opposite_in_another() -> None:
    tile = np.random.default_rng(0).normal(0, 0.1, (4, 4, 3)).astype(np.float32)
    halves = np.concatenate([np.tile(tile, (16, 16, 1)), np.tile(-tile, (16, 16, 1))], axis=1)[None]
    found = float(checkerboard_loss(np.zeros_like(halves), halves, block=4))
    assert 0.8 * np.abs(tile).mean() < found < np.abs(tile).mean()


def test_a_pattern_is_what_repeats_with_the_blocks() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random((2, 12, 16, 3), np.float32)
    noisy = truth + rng.normal(0, 0.1, truth.shape).astype(np.float32)
    tile = rng.normal(0, 0.1, (2, 4, 4, 3)).astype(np.float32)
    patterned = truth + np.tile(tile, (1, 3, 4, 1))
    assert float(checkerboard_loss(truth, truth, block=4)) == 0
    assert float(checkerboard_loss(truth, patterned, block=4)) == pytest.approx(np.abs(tile).mean(), rel=1e-4)
    means = (noisy - truth).reshape(2, 3, 4, 4, 4, 3).mean((1, 3))
    assert float(checkerboard_loss(truth, noisy, block=4)) == pytest.approx(np.abs(means).mean(), rel=1e-4)
    assert float(checkerboard_loss(truth, truth + 0.5, block=4)) == pytest.approx(0.5, rel=1e-5)  # a shift of colour


def blocky(picture: NDArray[np.float32], top: int, left: int) -> NDArray[np.float32]:
    """With another brightness in each 8x8 block, the first of which ends at (top, left)."""
    height, width = picture.shape[1:3]
    rows, columns = (8 - top + np.arange(height)) // 8, (8 - left + np.arange(width)) // 8
    offsets = np.random.default_rng(1).uniform(-0.2, 0.2, (rows.max() + 1, columns.max() + 1)).astype(np.float32)
    return picture + offsets[rows][:, columns][None, :, :, None]


SMALL = np.cumsum(np.random.default_rng(0).normal(0, 0.02, (1, 48, 40, 3)), axis=1).astype(np.float32)


def enlarged(small: NDArray[np.float32]) -> NDArray[np.float32]:
    return small.repeat(4, axis=1).repeat(4, axis=2)


@pytest.mark.parametrize(("top", "left"), [(8, 8), (3, 6)])
def test_blocks_are_found_wherever_they_begin(top: int, left: int) -> None:
    damaged, half = blocky(SMALL, top, left), blocky(SMALL, top, left) / 2 + SMALL / 2
    left_in = float(block_loss(damaged, enlarged(SMALL), enlarged(damaged), scale=4))
    assert left_in > 1.5 * float(block_loss(damaged, enlarged(SMALL), enlarged(half), scale=4)) > 0.1
    assert float(block_loss(damaged, enlarged(SMALL), enlarged(SMALL), scale=4)) == 0


def test_only_borders_of_blocks_in_the_small_picture_count() -> None:
    edges = enlarged(blocky(SMALL, 5, 5))  # of the enlargement's own making: others look after those
    assert float(block_loss(SMALL, enlarged(SMALL), edges, scale=4)) == 0
    assert float(block_loss(blocky(SMALL, 1, 1), enlarged(SMALL), edges, scale=4)) < 0.05


def test_blocks_by_the_formula(tf: Any) -> None:
    small, truth, made = (np.abs(RNG.normal(0, 0.3, (2, 19, 22, 3))).astype(np.float32) for _ in range(3))

    def by_place(picture: NDArray[Any]) -> NDArray[Any]:
        columns = np.abs(np.diff(picture.astype(float), axis=1)).mean((0, 2))
        means = np.array([columns[place::8].mean() for place in range(8)])
        return means / (means.mean() + 1 / 127.5)

    losses = []
    for pictures in zip(small, truth, made, strict=True):
        for turned in (pictures, [picture.swapaxes(0, 1) for picture in pictures]):
            there, wanted, found = (by_place(picture) for picture in turned)
            losses.append((np.maximum(there - wanted - 0.05, 0) * np.maximum(found - wanted, 0)).mean())
    value = block_loss(tf.cast(small, tf.float64), enlarged(truth), enlarged(made), scale=4)
    assert value.dtype == tf.float32
    assert float(value) == pytest.approx(np.mean(losses), rel=1e-4)


def test_blocks_of_a_flat_picture_have_a_gradient(tf: Any) -> None:
    flat = tf.zeros([1, 48, 48, 3])
    with tf.GradientTape() as tape:
        tape.watch(flat)
        loss = block_loss(blocky(np.zeros((1, 12, 12, 3), np.float32), 2, 2), tf.zeros_like(flat), flat, scale=4)
    assert float(loss) == 0
    assert np.isfinite(tape.gradient(loss, flat)).all()
