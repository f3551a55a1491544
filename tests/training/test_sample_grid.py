"""Panels: the pixels are those of the arrays, each where it belongs."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from srgan_trt.quality.bicubic import enlarge, shrink
from srgan_trt.training.sample_grid import GridRow, draw_sample_grid

PHOTO = Path(__file__).parents[2] / "examples" / "coffee.jpg"
Pixels = NDArray[np.uint8]


@pytest.fixture(scope="module")
def photo() -> Pixels:
    return np.asarray(Image.open(PHOTO).convert("RGB"))


def panel(hr: Pixels, *, scale: int = 4, name: str = "coffee.jpg", **scores: Any) -> GridRow:
    lr = shrink(hr, scale)
    bicubic = enlarge(lr, scale)
    # Stands for a network's picture: told from bicubic and from HR in every pixel.
    sr = bicubic ^ 1
    return GridRow(name=name, lr=lr, bicubic=bicubic, sr=sr, hr=hr, **{"psnr": 31.234, "ssim": 0.8765, **scores})


def drawn(path: Path, *rows: GridRow) -> Pixels:
    draw_sample_grid(path, rows)
    with Image.open(path) as image:
        assert (image.format, image.mode) == ("PNG", "RGB")
        return np.asarray(image)


def place(sheet: Pixels, picture: Pixels) -> tuple[int, int]:
    """(top, left) of the only place where ``picture`` is, pixel for pixel."""
    height, width, _ = picture.shape
    windows = np.lib.stride_tricks.sliding_window_view(sheet, (1, 16, 3))[:, :, 0, 0]
    candidates = np.argwhere((windows == picture[0, :16]).all(axis=(2, 3)))
    found = [
        (int(top), int(left))
        for top, left in candidates
        if np.array_equal(sheet[top : top + height, left : left + width], picture)
    ]
    assert len(found) == 1
    return found[0]


def ink(area: Pixels) -> int:
    return int((area.max(axis=2) < 100).sum())


@pytest.mark.parametrize("scale", [2, 4])
def test_versions_stand_side_by_side_in_order(scale: int, photo: Pixels, tmp_path: Path) -> None:
    shown = panel(photo[:160, :240], scale=scale)
    sheet = drawn(tmp_path / "panels.png", shown)
    nearest = np.asarray(Image.fromarray(shown.lr).resize((240, 160), Image.Resampling.NEAREST))
    places = [place(sheet, version) for version in (nearest, shown.bicubic, shown.sr, shown.hr)]
    tops, lefts = zip(*places, strict=True)
    assert len(set(tops)) == 1
    assert all(240 < right - left < 280 for left, right in itertools.pairwise(lefts))
    # A label above each column, a caption below each but bicubic, whose scores are not known.
    for number, left in enumerate(lefts):
        assert ink(sheet[: tops[0], left : left + 240]) > 20
        assert (ink(sheet[tops[0] + 160 :, left : left + 240]) > 20) == (number != 1)


def test_scores_of_bicubic_are_shown_where_known(photo: Pixels, tmp_path: Path) -> None:
    hr = photo[:64, :200]
    sheet = drawn(tmp_path / "panels.png", panel(hr, bicubic_psnr=28.43, bicubic_ssim=0.8211))
    top, left = place(sheet, enlarge(shrink(hr, 4), 4))
    assert ink(sheet[top + 64 :, left : left + 200]) > 20


def test_several_pictures_stand_in_rows(photo: Pixels, tmp_path: Path) -> None:
    pictures = [photo[:64, :96], photo[100:228, 100:300], photo[200:240, 40:80]]
    sheet = drawn(tmp_path / "panels.png", *(panel(picture) for picture in pictures))
    places = [place(sheet, picture) for picture in pictures]
    tops, lefts = zip(*places, strict=True)
    assert len(set(lefts)) == 1
    assert list(tops) == sorted(tops)
    for (top, below), picture in zip(itertools.pairwise(tops), pictures, strict=False):
        assert top + picture.shape[0] + 15 <= below


@pytest.mark.parametrize(("scale", "side"), [(4, 256), (2, 256), (3, 255)])
def test_the_centre_of_large_pictures_is_shown_whole_pixels_of_lr(
    scale: int, side: int, photo: Pixels, tmp_path: Path
) -> None:
    hr = photo[:318, :474]
    hr = hr[: hr.shape[0] // scale * scale, : hr.shape[1] // scale * scale]
    shown = panel(hr, scale=scale)
    sheet = drawn(tmp_path / "panels.png", shown)
    top, left = (
        (shown.lr.shape[0] - side // scale) // 2 * scale,
        (shown.lr.shape[1] - side // scale) // 2 * scale,
    )
    assert abs(2 * top + side - hr.shape[0]) <= scale
    assert abs(2 * left + side - hr.shape[1]) <= scale
    nearest = shown.lr.repeat(scale, axis=0).repeat(scale, axis=1)
    for version in (nearest, shown.bicubic, shown.sr, shown.hr):
        place(sheet, version[top : top + side, left : left + side])


def test_long_names_stay_in_their_column(photo: Pixels, tmp_path: Path) -> None:
    hr = photo[:64, :160]
    plain = drawn(tmp_path / "plain.png", panel(hr, name=""))
    long = drawn(tmp_path / "long.png", panel(hr, name="a/long\nfolder/" * 9 + "photo 1.jpg"))
    changed = np.nonzero((plain != long).any(axis=2))
    _, left = place(plain, shrink(hr, 4).repeat(4, axis=0).repeat(4, axis=1))
    assert left <= changed[1].min() < changed[1].max() < left + 160


def test_the_sheet_before_is_replaced_and_nothing_else_left(photo: Pixels, tmp_path: Path) -> None:
    first = drawn(tmp_path / "panels.png", panel(photo[:64, :64]))
    second = drawn(tmp_path / "panels.png", panel(photo[64:128, :64]))
    assert (first != second).any()
    assert os.listdir(tmp_path) == ["panels.png"]


def test_a_sheet_that_cannot_be_written_names_its_file(photo: Pixels, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file") as raised:
        draw_sample_grid(tmp_path / "file" / "panels.png", [panel(photo[:64, :64])])
    assert raised.value.filename == str(tmp_path / "file" / "panels.png")
    with pytest.raises(ValueError, match="would show nothing"):
        draw_sample_grid(tmp_path / "panels.png", [])
    assert os.listdir(tmp_path) == ["file"]


def test_versions_that_do_not_fit_are_refused(photo: Pixels) -> None:
    hr = photo[:64, :64]
    lr = shrink(hr, 4)
    scores = {"psnr": 30.0, "ssim": 0.9}
    with pytest.raises(ValueError, match=r"sr of a is float32, \(64, 64, 3\): give uint8"):
        GridRow(name="a", lr=lr, bicubic=hr, sr=hr.astype(np.float32), hr=hr, **scores)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"pictures of a are \(16, 16\), \(64, 64\), \(60, 64\) and \(64, 64\)"):
        GridRow(name="a", lr=lr, bicubic=hr, sr=hr[:60], hr=hr, **scores)
    with pytest.raises(ValueError, match="a whole number of times as large as LR"):
        GridRow(name="a", lr=lr[:, :15], bicubic=hr, sr=hr, hr=hr, **scores)
