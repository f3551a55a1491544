"""The field's test pictures, where they are at hand: in $SRGAN_TRT_SHARED/images or ../shared/images."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SHARED = Path(os.environ.get("SRGAN_TRT_SHARED", Path(__file__).resolve().parents[2] / "shared"))


def truths(name: str, *, scale: int, most: int | None = None) -> list[NDArray[np.uint8]]:
    """The HR pictures of "Set5" or "BSD100", RGB, sides cut to multiples of `scale`; at most `most` of them, evenly
    chosen. Empty where they are not."""
    files = sorted((SHARED / "images" / "test" / name / "HR").glob("*.png"))
    if most is not None and most < len(files):
        files = [files[index] for index in np.linspace(0, len(files) - 1, most).astype(int)]
    found = []
    for file in files:
        with Image.open(file) as opened:
            picture = np.asarray(opened.convert("RGB"))
        height, width = (side // scale * scale for side in picture.shape[:2])
        found.append(np.ascontiguousarray(picture[:height, :width]))
    return found
