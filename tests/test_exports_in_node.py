"""What is exported gives our picture in browsers' onnxruntime (WebAssembly), which Node runs as well."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srgan_trt.compiler.pixel_ends import LAYOUTS
from srgan_trt.compiler.plan import Plan
from srgan_trt.exports import export
from srgan_trt.resolve import open_plan
from srgan_trt.upscaler import Upscaler

from .handmade import differences, noise, small_plan
from .test_exports import SHIPPED, from_values, to_values

HERE = Path(__file__).parent / "onnxruntime_web"

pytestmark = [
    pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed"),
    pytest.mark.skipif(
        not (HERE / "node_modules/onnxruntime-web").is_dir(), reason=f"npm ci --prefix tests/{HERE.name}"
    ),
]


def in_node(path: Path, images: list[np.ndarray], *, layout: str) -> list[np.ndarray]:
    """Levels (H, W, 3) of each of the `images`."""
    lines = []
    for number, image in enumerate(images):
        values = image[None] if layout == "nhwc-uint8" else to_values(image)
        file = path.with_name(f"{number}.raw")
        file.write_bytes(np.ascontiguousarray(values).tobytes())
        lines.append(json.dumps({"dims": values.shape, "type": str(values.dtype), "file": str(file)}))
    done = subprocess.run(
        ["node", HERE / "run.mjs", path],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    results = []
    for number, line in enumerate(done.stdout.splitlines()):
        data = path.with_name(f"{number}.raw.out").read_bytes()
        kind: Any = np.uint8 if layout == "nhwc-uint8" else np.float32
        result = np.frombuffer(data, kind).reshape(json.loads(line))
        results.append(result[0] if layout == "nhwc-uint8" else from_values(result))
    return results


def check(plan: Plan, folder: Path, *, layout: Any, most: int = 1, fp16: bool = False) -> None:
    path = export(plan, out=folder / "out.onnx", layout=layout, fp16=fp16)
    images = [noise(height, width) for height, width in ((8, 8), (33, 20), (17, 30))]
    with Upscaler(dataclasses.replace(plan, int8=None), exact=True) as up:
        for image, result in zip(images, in_node(path, images, layout=layout), strict=True):
            assert differences(result, up(image)).max() <= most


@pytest.mark.parametrize("name", SHIPPED)
def test_the_picture_is_ours_to_one_level(name: str, tmp_path: Path) -> None:
    check(open_plan(name), tmp_path, layout="nhwc-uint8")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_in_both_layouts(layout: str, tmp_path: Path) -> None:
    check(small_plan(tmp_path), tmp_path, layout=layout)


def test_in_float16_too(tmp_path: Path) -> None:
    check(small_plan(tmp_path), tmp_path, layout="nchw-float", fp16=True, most=2)
