"""Crops: the same place in every version of a picture, by seed and step alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from srgan_trt.imaging.folder import find_pictures
from srgan_trt.quality.bicubic import enlarge, shrink
from srgan_trt.training.crops import CleanSampler, RealSampler, batches, with_margin
from srgan_trt.training.pictures import PictureSet, prepare

from .photos import photo_folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> PictureSet:
    folder = photo_folder(tmp_path_factory.mktemp("photos") / "hr", count=4)
    files = find_pictures(folder, "--hr")
    return prepare(
        files, folder.parent / "out", scale=4, smallest=64,
        teacher=lambda lr: enlarge(lr, 4), teacher_name="bicubic",
    )  # fmt: skip


def test_a_batch_is_aligned_crops_of_the_pictures_in_some_orientation(pictures: PictureSet) -> None:
    lr, hr, teacher = CleanSampler(pictures, batch=12, crop=64, seed=1).draw(5)
    assert lr.shape == (12, 16, 16, 3)
    assert hr.shape == teacher.shape == (12, 64, 64, 3)
    orientations = set()
    for small, large, taught in zip(lr, hr, teacher, strict=True):
        index, turns, mirrored, y, x = place_of(large, pictures)
        assert y % 4 == x % 4 == 0
        orientations.add((turns, mirrored))
        np.testing.assert_array_equal(
            small, turned(pictures.lr[index][y // 4 :][:16, x // 4 :][:, :16], turns, mirrored)
        )
        assert pictures.teacher is not None
        np.testing.assert_array_equal(taught, turned(pictures.teacher[index][y:][:64, x:][:, :64], turns, mirrored))
    assert len(orientations) > 2


def test_a_batch_depends_on_the_seed_and_the_step_alone(pictures: PictureSet) -> None:
    first, second = (CleanSampler(pictures, batch=4, crop=64, seed=7) for _ in range(2))
    first.draw(0)
    np.testing.assert_array_equal(first.draw(3)[1], second.draw(3)[1])
    assert not np.array_equal(first.draw(3)[1], first.draw(4)[1])
    assert not np.array_equal(first.draw(3)[1], CleanSampler(pictures, batch=4, crop=64, seed=8).draw(3)[1])


def test_the_dataset_begins_where_a_training_stopped(pictures: PictureSet) -> None:
    sampler = CleanSampler(pictures, batch=2, crop=64, seed=0)
    drawn = list(batches(sampler, first_step=3, steps=6).as_numpy_iterator())
    assert len(drawn) == 3
    for step, batch in zip((3, 4, 5), drawn, strict=True):
        for array, wanted in zip(batch, sampler.draw(step), strict=True):
            np.testing.assert_array_equal(array, wanted)


def test_large_pictures_are_drawn_more_often(tmp_path: Path) -> None:
    folder = photo_folder(tmp_path / "hr", count=1, side=64)
    photo_folder(tmp_path / "large", count=1, side=192)
    (tmp_path / "large" / "photo0.png").rename(folder / "large.png")
    pictures = prepare(find_pictures(folder, "--hr"), tmp_path / "out", scale=4, smallest=64)
    _, hr, _ = CleanSampler(pictures, batch=200, crop=64, seed=0).draw(0)
    small = next(hr for entry, hr in zip(pictures.entries, pictures.hr, strict=True) if entry.height == 64)
    places = {turned(small, turns, mirrored).tobytes() for turns in range(4) for mirrored in (False, True)}
    assert sum(crop.tobytes() in places for crop in hr) < 10  # one place of 33 * 33 + 1


def test_a_crop_that_does_not_divide_is_refused(pictures: PictureSet) -> None:
    with pytest.raises(ValueError, match="not a multiple of the scale"):
        CleanSampler(pictures, batch=1, crop=66, seed=0)


def test_degraded_crops_are_parts_of_the_pictures_in_a_quarter_to_whole_size(pictures: PictureSet) -> None:
    lr, hr, teacher = RealSampler(pictures, batch=40, crop=32, seed=1).draw(5)
    assert lr.shape == (40, 8, 8, 3)
    np.testing.assert_array_equal(hr, teacher)
    errors = [np.abs(enlarge(small, 4).astype(int) - large).mean() for small, large in zip(lr, hr, strict=True)]
    assert np.median(errors) < 25  # the same place: another one differs by 60
    assert sum(np.array_equal(small, shrink(large, 4)) for small, large in zip(lr, hr, strict=True)) < 12


def test_a_degraded_batch_depends_on_the_seed_and_the_step_alone(pictures: PictureSet) -> None:
    first, second = (RealSampler(pictures, batch=4, crop=32, seed=7) for _ in range(2))
    first.draw(0)
    for one, other in zip(first.draw(3), second.draw(3), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(first.draw(3)[0], first.draw(4)[0])
    assert not np.array_equal(first.draw(3)[0], RealSampler(pictures, batch=4, crop=32, seed=8).draw(3)[0])


def test_a_sample_does_not_depend_on_the_size_of_its_batch(pictures: PictureSet) -> None:
    many, few = (RealSampler(pictures, batch=batch, crop=32, seed=7).draw(2) for batch in (5, 2))
    np.testing.assert_array_equal(many[0][:2], few[0])


def test_the_smallest_picture_that_a_degraded_crop_fits_in(tmp_path: Path) -> None:
    side = with_margin(32, 4)
    folder = photo_folder(tmp_path / "hr", count=1, side=side)
    pictures = prepare(find_pictures(folder, "--hr"), tmp_path / "out", scale=4, smallest=side)
    assert RealSampler(pictures, batch=3, crop=32, seed=0).draw(0)[1].shape == (3, 32, 32, 3)


def turned(crop: np.ndarray, turns: int, mirrored: bool) -> np.ndarray:
    crop = np.rot90(np.asarray(crop), turns)
    return np.ascontiguousarray(crop[:, ::-1] if mirrored else crop)


def place_of(crop: np.ndarray, pictures: PictureSet) -> tuple[int, int, bool, int, int]:
    """Where a crop was taken from: found by looking, not by asking."""
    side = crop.shape[0]
    for turns in range(4):
        for mirrored in (False, True):
            plain = crop[:, ::-1] if mirrored else crop
            plain = np.rot90(plain, -turns)
            for index, picture in enumerate(pictures.hr):
                corners = np.argwhere((picture[: -side + 1 or None, : -side + 1 or None] == plain[0, 0]).all(axis=2))
                for y, x in corners:
                    if np.array_equal(picture[y : y + side, x : x + side], plain):
                        return index, turns, mirrored, int(y), int(x)
    raise AssertionError("the crop is in no picture")
