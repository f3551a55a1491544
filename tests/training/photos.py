"""A small folder of real photographs that may be shipped: parts of scikit-image's, and our example."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image

PHOTO = Path(__file__).parents[2] / "examples" / "coffee.jpg"


def photo_folder(folder: Path, *, count: int = 6, side: int = 128) -> Path:
    """`count` PNG crops of `side` x `side` + 1 pixels in `folder`, half of them in a folder below."""
    sources = [skimage.data.astronaut(), skimage.data.chelsea(), skimage.data.rocket(), np.asarray(Image.open(PHOTO))]
    (folder / "below").mkdir(parents=True)
    for index in range(count):
        source = sources[index % len(sources)]
        y, x = 40 + 3 * index, 30 + 50 * (index // len(sources))
        part = source[y : y + side, x : x + side + 1]
        Image.fromarray(part).save(folder / ("below" if index % 2 else ".") / f"photo{index}.png")
    return folder
