"""Panels: low resolution | bicubic | super-resolved | high resolution, side by side for the eye."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..files import atomic_write

if TYPE_CHECKING:
    from PIL import ImageDraw, ImageFont

LARGEST_SIDE = 256
"""Pixels of high resolution that are shown of a picture, a side."""
COLUMNS = ("LR (nearest)", "bicubic", "SR", "HR")

_GAP = 8
_TEXT_SIZE = 14
_LINE = 20
"""Pixels between lines of text."""
_NARROWEST = 150
"""Pixels of a column: two scores fit below a picture smaller than that."""
_BACKGROUND = (255, 255, 255)
_INK = (32, 32, 32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GridRow:
    """One picture in its four versions, uint8 RGB (height, width, 3), and how its enlargements score.

    ``lr`` is (height/scale, width/scale, 3), for a whole ``scale``. Scores are of whole pictures, by the protocol of
    ``metrics``: PSNR in dB and SSIM, of ``sr`` against ``hr`` and, where known, of ``bicubic``.

    Raises ValueError for arrays of another kind, or of sizes that do not fit.
    """

    name: str
    lr: NDArray[np.uint8]
    bicubic: NDArray[np.uint8]
    sr: NDArray[np.uint8]
    hr: NDArray[np.uint8]
    psnr: float
    ssim: float
    bicubic_psnr: float | None = None
    bicubic_ssim: float | None = None

    def __post_init__(self) -> None:
        for label in ("lr", "bicubic", "sr", "hr"):
            array = getattr(self, label)
            if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
                raise ValueError(
                    f"{label} of {self.name} is {array.dtype}, {array.shape}: give uint8 (height, width, 3)"
                )
        shapes = {self.bicubic.shape, self.sr.shape, self.hr.shape}
        large, small = self.hr.shape, self.lr.shape
        if len(shapes) > 1 or large != (small[0] * self.scale, small[1] * self.scale, 3):
            raise ValueError(
                f"pictures of {self.name} are {small[:2]}, {self.bicubic.shape[:2]}, {self.sr.shape[:2]} and "
                f"{large[:2]}: bicubic, SR and HR are a whole number of times as large as LR"
            )

    @property
    def scale(self) -> int:
        return int(self.hr.shape[0] // self.lr.shape[0])

    def versions(self) -> tuple[NDArray[np.uint8], ...]:
        """What is shown, in the order of ``COLUMNS``: the centre of at most ``LARGEST_SIDE`` pixels a side, uint8 RGB
        of one size."""
        # Cut at whole pixels of low resolution, so that all four show the same.
        height, width = (min(side, max(1, LARGEST_SIDE // self.scale)) for side in self.lr.shape[:2])
        top, left = (self.lr.shape[0] - height) // 2, (self.lr.shape[1] - width) // 2
        small = self.lr[top : top + height, left : left + width]
        nearest = small.repeat(self.scale, axis=0).repeat(self.scale, axis=1)
        top, left, height, width = (side * self.scale for side in (top, left, height, width))
        cut = (slice(top, top + height), slice(left, left + width))
        return nearest, self.bicubic[cut], self.sr[cut], self.hr[cut]


def draw_sample_grid(path: Path, rows: Sequence[GridRow]) -> None:
    """Writes a PNG with a row for each of ``rows``, pixel for pixel, replacing what is there.

    Raises ValueError without rows, OSError (with ``path`` as its filename, and what was there stays).
    """
    from PIL import Image, ImageDraw, ImageFont

    if not rows:
        raise ValueError(f"{path} would show nothing: give at least one picture")
    shown = [panel.versions() for panel in rows]
    column = max(_NARROWEST, *(versions[0].shape[1] for versions in shown))
    width = _GAP + len(COLUMNS) * (column + _GAP)
    height = _LINE + _GAP + sum(versions[0].shape[0] + _LINE + _GAP for versions in shown)
    sheet = Image.new("RGB", (width, height), _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(_TEXT_SIZE)
    lefts = [_GAP + index * (column + _GAP) for index in range(len(COLUMNS))]
    for left, label in zip(lefts, COLUMNS, strict=True):
        draw.text((left, _GAP // 2), label, _INK, font)
    top = _LINE + _GAP
    for panel, versions in zip(rows, shown, strict=True):
        below = top + versions[0].shape[0]
        for left, version, caption in zip(lefts, versions, _captions(panel), strict=True):
            sheet.paste(Image.fromarray(np.ascontiguousarray(version)), (left, top))
            draw.text((left, below + 2), _fitting(caption, column, draw, font), _INK, font)
        top = below + _LINE + _GAP
    png = io.BytesIO()
    sheet.save(png, "PNG")
    atomic_write(path, png.getvalue())


def _captions(panel: GridRow) -> tuple[str, str, str, str]:
    """What stands below the four versions."""
    height, width = panel.hr.shape[:2]
    cut = "centre of " if max(height, width) > LARGEST_SIDE else ""
    return (
        # A file may have any name, and text of several lines has no length.
        " ".join(panel.name.split()),
        _scores(panel.bicubic_psnr, panel.bicubic_ssim),
        _scores(panel.psnr, panel.ssim),
        f"{cut}{width} x {height}",
    )


def _scores(psnr: float | None, ssim: float | None) -> str:
    known = [f"{psnr:.2f} dB"] if psnr is not None else []
    known += [f"SSIM {ssim:.4f}"] if ssim is not None else []
    return ", ".join(known)


def _fitting(
    text: str, width: int, draw: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont | ImageFont.ImageFont
) -> str:
    """``text``, or as much of its end as ``width`` pixels hold: names of files differ there."""
    kept = text
    while kept and draw.textlength(kept if kept == text else f"...{kept}", font) > width:
        kept = kept[1:]
    return kept if kept == text else f"...{kept}"
