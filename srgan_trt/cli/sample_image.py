"""The photo that commands measure on: one that every installation has."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def photo(height: int = 128, width: int = 128) -> NDArray[np.uint8]:
    """(height, width, 3) uint8: halves of two photographs (see compiler/value_range.py), repeated where they end."""
    import numpy as np
    from PIL import Image

    with Image.open(Path(__file__).parents[1] / "compiler" / "data" / "photo.png") as opened:
        once = np.asarray(opened.convert("RGB"))
    repeats = (-(-height // once.shape[0]), -(-width // once.shape[1]), 1)
    return np.ascontiguousarray(np.tile(once, repeats)[:height, :width])
