"""Random crops of a picture set, turned and mirrored, as batches for training.

What a batch holds depends on the seed and the number of its step alone, so that a training which was interrupted goes
on with the crops that an unbroken one would have seen.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .pictures import PictureSet


class Sampler:
    """Draws crops: pictures by the number of crops they hold, then a place, then one of the eight orientations."""

    def __init__(self, pictures: PictureSet, *, batch: int, crop: int, seed: int) -> None:
        """crop: side of a high-resolution crop, a multiple of the scale, at most the smallest side of a picture."""
        if crop % pictures.scale:
            raise ValueError(f"a crop of {crop} pixels is no multiple of the scale {pictures.scale}")
        self._pictures = pictures
        self._batch = batch
        self._side = crop // pictures.scale
        self._seed = seed
        places = [(low.shape[0] - self._side + 1) * (low.shape[1] - self._side + 1) for low in pictures.lr]
        self._chances = np.array(places, float) / sum(places)

    def draw(self, step: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
        """The batch of `step`: uint8 RGB (N, crop/scale, crop/scale, 3), and HR and teacher (N, crop, crop, 3).

        Without a teacher the third is the second.
        """
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
        turns, mirrored = int(chance.integers(4)), bool(chance.integers(2))

        def oriented(picture: NDArray[np.uint8], r: int) -> NDArray[np.uint8]:
            crop = np.rot90(picture[y * r : (y + side) * r, x * r : (x + side) * r], turns)
            return crop[:, ::-1] if mirrored else crop

        return oriented(lr, 1), oriented(hr, scale), oriented(teacher, scale)


def batches(sampler: Sampler, *, first_step: int, steps: int) -> Any:
    """The batches of the steps `first_step` ... `steps` - 1 as a tf.data.Dataset, drawn ahead of their use."""
    from ..models.tensorflow_export import import_tensorflow

    tf = import_tensorflow()

    def draw(step: Any) -> Any:
        return tf.numpy_function(sampler.draw, [step], [tf.uint8] * 3, stateful=False)

    # A crop is a copy out of the page cache: one thread is ahead of any training.
    return tf.data.Dataset.range(first_step, steps).map(draw).prefetch(8)
