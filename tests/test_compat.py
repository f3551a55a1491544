"""The interface of SuperResolution-GANs 0.0.3."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

import srgan_trt
from srgan_trt.errors import MissingPackageError, PictureError, pip_command

from .command_line import save_noise
from .handmade import nearest_model, noise


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "nearest.onnx"
    onnx.save(nearest_model(), path)
    return path


def test_a_picture_keeps_its_size_and_comes_in_minus_1_to_1(model: Path, tmp_path: Path) -> None:
    pixels = save_noise(tmp_path / "photo.png", 70, 90)
    small, large = srgan_trt.SRGAN_predict(tmp_path / "photo.png", model)
    assert (small.dtype, small.shape) == (np.float32, (70, 90, 3))
    assert (large.dtype, large.shape) == (np.float32, (140, 180, 3))
    np.testing.assert_allclose(small, pixels / 127.5 - 1, atol=1e-6)
    # bf16 may move a level
    np.testing.assert_allclose(large, small.repeat(2, axis=0).repeat(2, axis=1), atol=1.01 / 127.5)


def test_gray_and_transparent_pictures_become_rgb(model: Path, tmp_path: Path) -> None:
    Image.fromarray(noise(8, 9, 1)[:, :, 0]).save(tmp_path / "gray.png")
    Image.fromarray(noise(8, 9, 4)).save(tmp_path / "clear.png")
    for name in ("gray.png", "clear.png"):
        small, large = srgan_trt.SRGAN_predict(str(tmp_path / name), str(model))
        assert (small.shape, large.shape) == ((8, 9, 3), (16, 18, 3))


def test_a_file_that_is_no_picture(model: Path, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_text("text")
    with pytest.raises(PictureError, match="text file"):
        srgan_trt.SRGAN_predict(tmp_path / "photo.png", model)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """What matplotlib draws when `show` is called."""
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    drawn: list[np.ndarray] = []

    def show() -> None:
        drawn.append(np.asarray(pyplot.gca().images[0].get_array()))
        pyplot.close("all")

    monkeypatch.setattr(pyplot, "show", show)
    return drawn


def test_showing_maps_minus_1_to_black_and_1_to_white(shown: list[np.ndarray]) -> None:
    signed = np.stack([np.full((4, 5), value, np.float32) for value in (-1, 0, 1.5)], axis=2)
    for image in (signed, signed[None]):
        srgan_trt.show_image(image)
        np.testing.assert_array_equal(shown[-1][0, 0], [0, 0.5, 1])


def test_levels_and_pillow_images_are_shown_too(shown: list[np.ndarray]) -> None:
    levels = noise(6, 7)
    for image in (levels, levels.astype(np.uint16) * 257, Image.fromarray(levels)):
        srgan_trt.show_image(image)
        np.testing.assert_allclose(shown[-1], levels / 255)
    srgan_trt.show_image(levels[:, :, :1])
    np.testing.assert_allclose(shown[-1], levels[:, :, 0] / 255)


@pytest.mark.parametrize("image", [np.zeros(4), np.zeros((4, 4, 2)), np.zeros((2, 4, 4, 3)), np.zeros((4, 4, 3), int)])
def test_what_is_no_picture_is_not_shown(image: np.ndarray) -> None:
    with pytest.raises(PictureError, match="is not a picture"):
        srgan_trt.show_image(image)


def test_without_matplotlib_the_pip_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingPackageError, match=re.escape(pip_command("plot"))):
        srgan_trt.show_image(noise(3, 3))
