"""A folder of pictures becomes pairs of arrays: which pictures, which pixels, and what is said of the others."""

from __future__ import annotations

import hashlib
import logging
import resource
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from srgan_trt.errors import PictureError, TrainingError
from srgan_trt.imaging.folder import find_pictures
from srgan_trt.imaging.sources import Source
from srgan_trt.quality.bicubic import enlarge, shrink
from srgan_trt.training.pictures import PictureSet, hold_out, prepare

from .photos import photo_folder


def prepared(folder: Path, out: Path, **options: object) -> PictureSet:
    settings: dict[str, object] = {"scale": 4, "smallest": 96, **options}
    return prepare(find_pictures(folder, "--hr"), out, **settings)  # type: ignore[arg-type]


def test_every_picture_with_its_bicubic_reduction(tmp_path: Path) -> None:
    folder = photo_folder(tmp_path / "hr")
    pictures = prepared(folder, tmp_path / "out")
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*.png")}
    assert {entry.name for entry in pictures.entries} == found
    assert len(pictures) == len(found) == 6
    for entry, hr, lr in zip(pictures.entries, pictures.hr, pictures.lr, strict=True):
        original = np.asarray(Image.open(folder / entry.name))[:128, :128]
        np.testing.assert_array_equal(hr, original)  # cropped to a multiple of the scale
        np.testing.assert_array_equal(lr, shrink(original, 4))
    assert pictures.teacher is None


def test_a_disk_that_takes_no_more_is_told_with_its_folder(tmp_path: Path) -> None:
    folder, out = photo_folder(tmp_path / "hr", count=3), tmp_path / "out"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(OSError, match="out") as caught:
            prepared(folder, out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.filename == str(out)


def test_the_manifest_is_names_and_hashes_of_the_files(tmp_path: Path) -> None:
    folder = photo_folder(tmp_path / "hr", count=3)
    for line in prepared(folder, tmp_path / "out").manifest:
        assert line["sha256"] == hashlib.sha256((folder / line["name"]).read_bytes()).hexdigest()


def test_gray_16_bit_and_transparent_pictures_become_rgb(tmp_path: Path) -> None:
    folder = tmp_path / "hr"
    folder.mkdir()
    ramp = np.arange(96 * 96, dtype=np.uint16).reshape(96, 96) * 7
    Image.fromarray((ramp >> 8).astype(np.uint8)).save(folder / "gray.png")
    Image.fromarray(ramp).save(folder / "gray16.png")
    rgba = np.dstack([np.full((96, 96, 3), 90, np.uint8), np.full((96, 96), 10, np.uint8)])
    Image.fromarray(rgba).save(folder / "rgba.png")
    pictures = prepared(folder, tmp_path / "out")
    gray, gray16, transparent = pictures.hr
    np.testing.assert_array_equal(gray[:, :, 1], ramp >> 8)
    np.testing.assert_array_equal(gray16[:, :, 2], np.round(ramp / 257).astype(np.uint8))
    assert (transparent == 90).all()


def test_the_teacher_sees_the_small_picture_once(tmp_path: Path) -> None:
    folder = photo_folder(tmp_path / "hr", count=2)
    seen = []

    def teacher(lr: NDArray[np.uint8]) -> NDArray[np.uint8]:
        seen.append(lr.shape)
        return enlarge(lr, 4)

    pictures = prepared(folder, tmp_path / "out", teacher=teacher, teacher_name="bicubic")
    again = prepared(folder, tmp_path / "out", teacher=teacher, teacher_name="bicubic")
    assert seen == [(32, 32, 3)] * 2
    for each in (pictures, again):
        assert each.teacher is not None
        np.testing.assert_array_equal(each.teacher[1], enlarge(np.asarray(each.lr[1]), 4))
    prepared(folder, tmp_path / "out", teacher=teacher, teacher_name="another")
    assert len(seen) == 4


def test_a_teacher_of_another_scale_is_refused(tmp_path: Path) -> None:
    folder = photo_folder(tmp_path / "hr", count=2)
    with pytest.raises(TrainingError, match="the teacher enlarges by 2, not by 4"):
        prepared(folder, tmp_path / "out", teacher=lambda lr: enlarge(lr, 2), teacher_name="x2")


def test_a_changed_folder_is_prepared_again(tmp_path: Path) -> None:
    folder = photo_folder(tmp_path / "hr", count=3)
    assert len(prepared(folder, tmp_path / "out")) == 3
    (folder / "photo0.png").unlink()
    assert len(prepared(folder, tmp_path / "out")) == 2


def test_small_and_damaged_pictures_are_left_out_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = photo_folder(tmp_path / "hr", count=3)
    Image.new("RGB", (95, 200)).save(folder / "narrow.png")
    (folder / "torn.jpg").write_bytes((folder / "photo0.png").read_bytes()[:500])
    with caplog.at_level(logging.WARNING, "srgan_trt"):
        assert len(prepared(folder, tmp_path / "out")) == 3
    assert "torn.jpg" in caplog.text
    assert "1 of 5 pictures" in caplog.text
    assert "smaller than 96 pixels" in caplog.text


def test_nothing_to_train_on_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(PictureError, match="no pictures"):
        find_pictures(tmp_path / "empty", "--hr")
    with pytest.raises(PictureError, match="is not a folder"):
        find_pictures(tmp_path / "nowhere", "--hr")
    folder = photo_folder(tmp_path / "hr", count=2, side=64)
    with pytest.raises(TrainingError, match=r"none of 2 pictures .* at least 96 pixels"):
        prepared(folder, tmp_path / "out")


def test_torn_arrays_are_found_and_said(tmp_path: Path) -> None:
    folder = photo_folder(tmp_path / "hr", count=2)
    prepared(folder, tmp_path / "out")
    with open(tmp_path / "out" / "hr.bin", "r+b") as file:
        file.truncate(100)
    with pytest.raises(TrainingError, match=r"hr\.bin is damaged: remove"):
        prepared(folder, tmp_path / "out")


def test_what_is_held_out_stays_the_same_when_pictures_are_added() -> None:
    sources = [Source(name=f"hr/{index}.png", relative=Path(f"{index}.png")) for index in range(100)]
    train, held = hold_out(sources)
    assert len(held) == 5
    assert [source for source in sources if source in train or source in held] == sources
    _, later = hold_out([*sources, Source(name="hr/new.png", relative=Path("new.png"))])
    assert sum(source in held for source in later) >= 4
    assert hold_out(sources[:1]) == (sources[:1], sources[:1])
