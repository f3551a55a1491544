"""Scores of super-resolvers on a folder of pictures, by the field's protocol (see metrics.py and bicubic.py).

Each high-resolution picture is cropped at the lower right to a multiple of the scale and made smaller; what a method
makes of the small one, in levels, is compared with it. Borders as wide as the scale are not counted.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import PictureError
from ..imaging.comparison import heaviest_window
from ..imaging.folder import find_pictures, read_rgb
from ..imaging.sources import Source
from ..quality.bicubic import enlarge, shrink
from ..quality.blocks import visible_blocks
from ..quality.metrics import WINDOW, luma, paper_ssim, psnr, ssim
from ..quality.recipes import Recipe

BICUBIC = "bicubic"
"""The method that others are measured against."""
CROP = 96
"""Side of the crops that show a picture, in its pixels."""

Method = Callable[[NDArray[np.uint8] | Path], NDArray[np.uint8]]
"""Low-resolution picture, uint8 (h, w, 3) or a file of it -> its super-resolved picture uint8 (h*scale, w*scale, 3)."""


class Features(Protocol):
    """A network in whose features pictures are compared (models/features.py)."""

    distance_name: str
    """What `distance` measures: which network, by which weights, and which layers."""

    def distance(self, first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
        """How far two pictures, uint8 RGB (H, W, 3), are apart in these features: 0 for equal ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A high-resolution picture, and the low-resolution one that was made of it where there is a file of that."""

    name: str
    """Path below its folder, without the suffix."""
    high: Path
    low: Path | None = None
    by_file: bool = False
    """Whether methods get the file of ``low`` instead of its pixels: they may look at how it was compressed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """How close a result is to the original."""

    psnr: float
    """dB, of the luma; infinite for an equal picture."""
    ssim: float
    """Wang's, of the luma, up to 1."""
    paper_ssim: float
    """The SRGAN paper's, of the luma, up to 1."""
    distance: float | None = None
    """In the features of a network, from 0, borders and all; None where no network was at hand."""
    blocks: float | None = None
    """Visible blocks beyond the original's (quality/blocks.py), from 0; None where small pictures were not degraded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crop:
    """A small part of the picture, by method and from the original."""

    top: int
    left: int
    results: Mapping[str, NDArray[np.uint8]]
    """uint8 (side, side, 3), sides up to ``CROP``, in the order of the methods."""
    high: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One picture and the scores of each method, bicubic's first."""

    name: str
    height: int
    """Of the cropped high-resolution picture, in pixels."""
    width: int
    scores: Mapping[str, Scores]
    crop: Crop


def find_pairs(high: Path, low: Path | None = None, *, scale: int) -> list[Pair]:
    """The pictures in the folder `high`, to the bottom, sorted, each with its file in the folder `low`.

    A low-resolution file has the name of the high-resolution one, whatever its suffix, or differs by what the field's
    folders add: `baby.png` goes with `babyx4.png` or `baby_x4.jpg`, `img_001_SRF_4_HR.png` with `img_001_SRF_4_LR.png`.
    Raises PictureError if a folder holds no pictures, or a picture has no low-resolution one or several.
    """
    highs = find_pictures(high, "--hr")
    if low is None:
        return [Pair(name=_stem(source), high=Path(source.location)) for source in highs]
    lows = find_pictures(low, "--lr")
    pairs = []
    for source in highs:
        name = _stem(source)
        found = [other for other in lows if _stem(other) == name]
        found = found or [other for other in lows if _plain(_stem(other), scale) == _plain(name, scale)]
        if not found:
            raise PictureError(
                f"{source.name} has no low-resolution picture in {low}: name it {name}.png or {name}x{scale}.png"
            )
        if len(found) > 1:
            several = " and ".join(other.name for other in found)
            raise PictureError(f"{source.name} has several low-resolution pictures, {several}: keep one")
        pairs.append(Pair(name=name, high=Path(source.location), low=Path(found[0].location)))
    return pairs


def read_pair(pair: Pair, *, scale: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """(high, low) as uint8 RGB: `high` cropped to a multiple of `scale`, `low` made of it where there is no file.

    Raises PictureError if one cannot be read, `high` is too small to be measured, or `low` has another size than
    `high` has at this scale.
    """
    high = read_rgb(pair.high, multiple=scale)
    height, width, _ = high.shape
    if min(height, width) < (least := WINDOW + 2 * scale):
        raise PictureError(
            f"{pair.high} has {width} x {height} pixels in multiples of {scale}: what is measured has {least} or more "
            "on either side"
        )
    if pair.low is None:
        return high, shrink(high, scale)
    low = read_rgb(pair.low)
    if (low.shape[0] * scale, low.shape[1] * scale) != (height, width):
        raise PictureError(
            f"{pair.low} has {low.shape[1]} x {low.shape[0]} pixels, but {pair.high} has {width // scale} x "
            f"{height // scale} at x{scale}: give the pictures of this scale, or leave --lr out"
        )
    return high, low


def measure(pair: Pair, methods: Mapping[str, Method], *, scale: int, features: Features | None = None) -> Measured:
    """The scores of `methods`, and of bicubic before them, on one pair.

    Raises PictureError as `read_pair` does, and if a method's result has another size than the original.
    """
    high, low = read_pair(pair, scale=scale)
    results = {BICUBIC: enlarge(low, scale)}
    for name, method in methods.items():
        results[name] = method(pair.low if pair.by_file and pair.low is not None else low)
        if results[name].shape != high.shape:
            raise PictureError(f"{name} made {results[name].shape} of {pair.name}, whose original has {high.shape}")
    return Measured(
        name=pair.name,
        height=high.shape[0],
        width=high.shape[1],
        scores={name: _scores(high, result, scale, features, blocks=pair.by_file) for name, result in results.items()},
        crop=_telling_crop(high, results, border=scale),
    )


def mean(measured: Sequence[Measured], method: str) -> Scores:
    """The mean of a method's scores over pictures, each counting alike."""
    rows = [dataclasses.asdict(picture.scores[method]) for picture in measured]
    known = [name for name, value in rows[0].items() if value is not None]
    return Scores(**{name: fmean(row[name] for row in rows) for name in known})


def degraded(pair: Pair, recipe: Recipe, folder: Path, *, scale: int, seed: int) -> Pair:
    """The pair with a small picture that ``recipe`` makes, in a file in ``folder``.

    Raises what ``read_pair`` raises for the large one, OSError where the file cannot be written.
    """
    high, _ = read_pair(Pair(name=pair.name, high=pair.high), scale=scale)
    content, suffix = recipe.file(high, scale=scale, seed=seed)
    low = folder / f"{seed}{suffix}"
    low.write_bytes(content)
    return dataclasses.replace(pair, low=low, by_file=True)


def _scores(
    high: NDArray[np.uint8], result: NDArray[np.uint8], border: int, features: Features | None, *, blocks: bool
) -> Scores:
    return Scores(
        blocks=visible_blocks(result, high, scale=border) if blocks else None,
        psnr=psnr(high, result, border=border),
        ssim=ssim(high, result, border=border),
        paper_ssim=paper_ssim(high, result, border=border),
        distance=None if features is None else features.distance(high, result),
    )


def _telling_crop(high: NDArray[np.uint8], results: Mapping[str, NDArray[np.uint8]], *, border: int) -> Crop:
    """Where the methods differ most from bicubic: the window with the largest sum of differences in luma."""
    bicubic = luma(results[BICUBIC])
    apart = sum((np.abs(luma(result) - bicubic) for result in results.values()), np.zeros(bicubic.shape))
    apart = apart[border:-border, border:-border]
    side = min(CROP, *apart.shape)
    top, left = (place + border for place in heaviest_window(apart, side, side))
    window = (slice(top, top + side), slice(left, left + side))
    # Copies: a view would keep the whole picture in memory.
    crops = {name: result[window].copy() for name, result in results.items()}
    return Crop(top=top, left=left, results=crops, high=high[window].copy())


def _stem(source: Source) -> str:
    return source.relative.with_suffix("").as_posix()


def _plain(stem: str, scale: int) -> str:
    """A file's stem without what tells its scale, and whether it is high or low."""
    return re.sub(rf"([_-]?(x|SRF_){scale})?([_-](HR|LR|GT))?$", "", stem, count=1, flags=re.IGNORECASE)
