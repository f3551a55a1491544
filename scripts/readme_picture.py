"""Makes the README's picture: bicubic beside the default model, on the photo in examples/.

Usage: python scripts/readme_picture.py (or: make picture). In fp32, so that every machine makes the same picture.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from srgan_trt import Upscaler
from srgan_trt.imaging.comparison import compare
from srgan_trt.models.registry import DEFAULT_MODEL

_ROOT = Path(__file__).resolve().parents[1]
PHOTO = _ROOT / "examples" / "coffee.jpg"
PICTURE = _ROOT / "docs" / "images" / "compare.webp"
LARGEST = 300_000
"""Bytes: the README should come at once."""
_QUALITIES = (90, 85, 80, 75, 70, 60, 50)


def main() -> None:
    small = Image.open(PHOTO).convert("RGB")
    with Upscaler(precision="fp32", device="cpu", denoise="off") as up:
        large = up(small)
    bicubic = small.resize(large.size, Image.Resampling.BICUBIC)
    sheet = compare(np.asarray(bicubic), np.asarray(large), names=("bicubic x4", f"srgan-trt x4 ({DEFAULT_MODEL})"))
    PICTURE.parent.mkdir(exist_ok=True)
    for quality in _QUALITIES:
        sheet.save(PICTURE, quality=quality, method=6)
        if PICTURE.stat().st_size <= LARGEST:
            break
    print(f"{PICTURE.relative_to(_ROOT)}: {sheet.width} x {sheet.height}, {PICTURE.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
