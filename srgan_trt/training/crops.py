"""Random crops of a picture set, turned and mirrored, as batches for training.

What a batch holds depends on the seed and the number of its step alone, so that a training which was interrupted goes
on with the crops that an unbroken one would have seen.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .degrade import MARGIN, degrade
from .pictures import PictureSet

Batch = tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]
"""uint8 RGB: LR (N, crop/scale, crop/scale, 3), HR and teacher's (N, crop, crop, 3). No teacher: HR twice."""
_PHASES = 8
"""Places of a crop in a degraded picture, each way: as many as a block of JPEG has."""
_SMALLEST_SHARE = 0.25
"""Least size that a large picture is taken in, as a share of its own."""


class Sampler(Protocol):
    """Where batches come from."""

    def draw(self, step: int) -> Batch:
        """The batch of `step`."""


def open_sampler(pictures: PictureSet, *, batch: int, crop: int, seed: int, degrade: str) -> Sampler:
    """The sampler of a recipe's `degrade`, "none" or "real".

    crop: side of a high-resolution crop, a multiple of the scale, at most the smallest side of a picture.
    """
    kinds: dict[str, type[CleanSampler] | type[RealSampler]] = {"none": CleanSampler, "real": RealSampler}
    return kinds[degrade](pictures, batch=batch, crop=crop, seed=seed)


class CleanSampler:
    """Draws crops of the pictures that were made small by bicubic, with a teacher's where there is one.

    Pictures by the number of crops they hold, then a place, then one of the eight orientations.
    """

    def __init__(self, pictures: PictureSet, *, batch: int, crop: int, seed: int) -> None:
        self._pictures = pictures
        self._batch = batch
        self._side = _small_side(crop, pictures.scale)
        self._seed = seed
        self._chances = _chances([low.shape for low in pictures.lr], self._side)

    def draw(self, step: int) -> Batch:
        chance = np.random.default_rng([self._seed, step])
        chosen = chance.choice(len(self._pictures), self._batch, p=self._chances)
        crops = [self._crop(int(index), chance) for index in chosen]
        lr, hr, teacher = (np.stack(arrays) for arrays in zip(*crops, strict=True))
        return lr, hr, teacher

    def _crop(self, index: int, chance: np.random.Generator) -> tuple[NDArray[np.uint8], ...]:
        lr, hr = self._pictures.lr[index], self._pictures.hr[index]
        teacher = hr if self._pictures.teacher is None else self._pictures.teacher[index]
        side, scale = self._side, self._pictures.scale
        y, x = (int(chance.integers(extent - side + 1)) for extent in lr.shape[:2])
        orient = _orientation(chance)

        def crop(picture: NDArray[np.uint8], r: int) -> NDArray[np.uint8]:
            part: NDArray[np.uint8] = orient(picture[y * r : (y + side) * r, x * r : (x + side) * r])
            return part

        return crop(lr, 1), crop(hr, scale), crop(teacher, scale)


class RealSampler:
    """Draws large crops, in a quarter to the whole of their pictures' size, and makes them small (`degrade`).

    Each crop is degraded by itself, with a margin that is cut off again, so that the blocks of a JPEG lie anywhere in
    it. Its chances come from the seed, the step and its number in the batch.
    """

    def __init__(self, pictures: PictureSet, *, batch: int, crop: int, seed: int) -> None:
        self._pictures = pictures
        self._batch = batch
        self._side = _small_side(crop, pictures.scale)
        self._seed = seed
        self._patch = with_margin(crop, pictures.scale)
        self._chances = _chances([high.shape for high in pictures.hr], self._patch)

    def draw(self, step: int) -> Batch:
        crops = [self._crop(np.random.default_rng([self._seed, step, number])) for number in range(self._batch)]
        lr, hr = (np.stack(arrays) for arrays in zip(*crops, strict=True))
        return lr, hr, hr

    def _crop(self, chance: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        scale, side = self._pictures.scale, self._side
        large = self._large(chance)
        small = degrade(large, scale, chance)
        y, x = (MARGIN + int(chance.integers(_PHASES)) for _ in range(2))
        lr = small[y : y + side, x : x + side]
        return lr, large[y * scale : (y + side) * scale, x * scale : (x + side) * scale]

    def _large(self, chance: np.random.Generator) -> NDArray[np.uint8]:
        """A square of the side of a patch, of some picture in some size and orientation."""
        picture = self._pictures.hr[int(chance.choice(len(self._pictures), p=self._chances))]
        side = min(round(self._patch / chance.uniform(_SMALLEST_SHARE, 1)), *picture.shape[:2])
        y, x = (int(chance.integers(extent - side + 1)) for extent in picture.shape[:2])
        part = picture[y : y + side, x : x + side]
        if side != self._patch:
            sized = Image.fromarray(part).resize((self._patch, self._patch), Image.Resampling.BICUBIC)
            part = np.asarray(sized)
        return np.ascontiguousarray(_orientation(chance)(part))


def with_margin(crop: int, scale: int) -> int:
    """Side of the large picture that `RealSampler` needs for a crop of side `crop`."""
    return crop + (2 * MARGIN + _PHASES - 1) * scale


def _small_side(crop: int, scale: int) -> int:
    if crop % scale:
        raise ValueError(f"a crop of {crop} pixels is not a multiple of the scale {scale}")
    return crop // scale


def _chances(shapes: list[tuple[int, ...]], side: int) -> NDArray[np.float64]:
    """Of each picture: the places where a square of `side` fits."""
    places = [(shape[0] - side + 1) * (shape[1] - side + 1) for shape in shapes]
    return np.array(places, float) / sum(places)


def _orientation(chance: np.random.Generator) -> Any:
    """One of the eight, as a function of an array."""
    turns, mirrored = int(chance.integers(4)), bool(chance.integers(2))

    def orient(crop: NDArray[np.uint8]) -> NDArray[np.uint8]:
        turned: NDArray[np.uint8] = np.rot90(crop, turns)
        return turned[:, ::-1] if mirrored else turned

    return orient


def batches(sampler: Sampler, *, first_step: int, steps: int) -> Any:
    """The batches of the steps `first_step` ... `steps` - 1 as a tf.data.Dataset, drawn ahead of their use."""
    from ..models.tensorflow_export import import_tensorflow

    tf = import_tensorflow()

    def draw(step: Any) -> Any:
        return tf.numpy_function(sampler.draw, [step], [tf.uint8] * 3, stateful=False)

    # One thread is ahead of any training: a crop takes microseconds out of the page cache, or 3 ms to degrade.
    return tf.data.Dataset.range(first_step, steps).map(draw).prefetch(8)
