"""Every real generator, from file to picture, against the framework that wrote it.

The rows are ../shared/models' README: what each file is, which range it works in, what it makes of a picture.
The reference opens the file by itself, with its own Lambdas and layers, and rounds its output to levels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from srgan_trt import Upscaler, build
from srgan_trt.compiler.plan import Plan
from srgan_trt.errors import ModelError

from .real_plans import LEVELS, real_plan

pytest.importorskip("tf_keras")

Range = tuple[float, float]
UNIT, SIGNED = (0.0, 1.0), (-1.0, 1.0)


@dataclass(frozen=True)
class Row:
    file: str
    library: str
    scale: int
    input_range: Range
    output_range: Range
    size: tuple[int, int] | None = None
    """(height, width) that the file insists on."""
    fixed: bool = False


ROWS = [
    Row("krasserm_srresnet_x4.h5", "tf_keras", 4, LEVELS, LEVELS),
    Row("krasserm_srgan_x4_savedmodel", "tf_keras", 4, LEVELS, LEVELS),
    Row("fastsrgan_r2.h5", "tf_keras", 4, UNIT, SIGNED, (96, 96)),
    Row("fastsrgan_r0.h5", "tf_keras", 4, UNIT, SIGNED, (96, 96)),
    Row("duong_x4.h5", "tf_keras", 4, UNIT, SIGNED, (90, 160)),
    Row("rdn_slim_x4.h5", "tf_keras", 4, LEVELS, LEVELS),
    Row("pheonix_x2.h5", "keras", 2, SIGNED, SIGNED, (64, 64)),
    Row("honeyrocky_x4.h5", "tf_keras", 4, UNIT, UNIT),
    Row("vee_x2.h5", "tf_keras", 2, UNIT, UNIT, (128, 128)),
    Row("ned_x4.keras", "keras", 4, LEVELS, LEVELS),
    Row("liuchen_x2.h5", "tf_keras", 2, SIGNED, SIGNED, (32, 32), fixed=True),
    Row("vietanh_srcnn.keras", "tf_keras", 1, UNIT, UNIT, (256, 256)),
    Row("pardo_enhance.keras", "keras", 1, UNIT, UNIT),
]
IDS = [row.file for row in ROWS]


@pytest.fixture(scope="module")
def photo(shared_images: Path) -> NDArray[np.uint8]:
    return np.asarray(Image.open(shared_images / "test/Set5/HR/img_002.png").convert("RGB"))


@pytest.fixture(scope="module")
def plan_of(shared_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Row], Plan]:
    return lambda row: real_plan(shared_models, row.file, tmp_path_factory)


def reference(path: Path, row: Row) -> Callable[[NDArray[np.uint8]], NDArray[np.uint8]]:
    """The file in its own framework, levels in and levels out."""
    if row.library == "keras":
        import keras
        import tensorflow

        class PixelShuffle(keras.layers.Layer):
            """The class that ned_x4.keras names, and what pheonix_x2.h5's Lambda (Python 3.10 bytecode) does."""

            def __init__(self, name: str | None = None, **_: Any) -> None:
                super().__init__(name=name)

            def call(self, inputs: Any, mask: Any = None) -> Any:
                return tensorflow.nn.depth_to_space(inputs, 2)

        objects = {"PixelShuffle": PixelShuffle, "Custom>PixelShuffle": PixelShuffle, "Lambda": PixelShuffle}
        model: Any = keras.saving.load_model(path, compile=False, safe_mode=False, custom_objects=objects)
    else:
        import tf_keras

        model = tf_keras.models.load_model(path, compile=False, safe_mode=False)

    def run(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        low, high = row.input_range
        batch = (picture[None].astype(np.float32) * np.float32((high - low) / 255) + np.float32(low)).astype(np.float32)
        output = np.asarray(model(batch, training=False))[0].astype(np.float64)
        low, high = row.output_range
        return np.clip(np.rint((output - low) * 255 / (high - low)), 0, 255).astype(np.uint8)

    return run


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_the_plan_says_what_the_file_is(row: Row, plan_of: Callable[[Row], Plan]) -> None:
    plan = plan_of(row)
    assert plan.spec.scale == row.scale
    assert plan.spec.fixed_shape == (row.size if row.fixed else None)
    notes = " ".join(plan.report["notes"])
    assert ("fixed tiles" in notes) == row.fixed
    assert plan.report["difference"] < 1e-4
    ranges = plan.report["ranges"]
    if "maps the value range" not in notes:
        assert (tuple(ranges["input_range"]), tuple(ranges["output_range"])) == (row.input_range, row.output_range)


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_fp32_is_the_original_to_the_level(
    row: Row, plan_of: Callable[[Row], Plan], shared_models: Path, photo: NDArray[np.uint8]
) -> None:
    height, width = row.size or (61, 83)
    picture = np.ascontiguousarray(photo[:height, :width])
    expected = reference(shared_models / row.file, row)(picture)
    with Upscaler(plan_of(row), precision="fp32") as up:
        result = up(picture)
    assert result.shape == expected.shape
    apart = np.abs(result.astype(int) - expected.astype(int))
    assert apart.max() <= 1
    assert (apart == 0).mean() >= 0.999


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_bf16_is_within_50_db_of_fp32(row: Row, plan_of: Callable[[Row], Plan], photo: NDArray[np.uint8]) -> None:
    picture = np.ascontiguousarray(photo[:120, :144])
    with Upscaler(plan_of(row), precision="fp32") as up:
        exact = up(picture)
    with Upscaler(plan_of(row)) as up:
        if up.info["precision"] != "bf16":
            pytest.skip("this CPU has no bf16")
        fast = up(picture)
    error = np.square(exact.astype(float) - fast.astype(float)).mean()
    assert error == 0 or 10 * np.log10(255**2 / error) >= 50


def test_the_file_whose_pictures_are_bad_asks_for_its_ranges(shared_models: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="--input-range"):
        build(shared_models / "ned_x4.keras", out=tmp_path / "ned.onnx")
    assert list(tmp_path.iterdir()) == []
