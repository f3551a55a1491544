"""The pictures that int8 is calibrated on, and others that it is judged by.

Never the same: ranges, roundings and channel scales are found on ``Pictures.tiles``; whether the result holds is
measured on ``Pictures.held_out``, of which the ground truth is known.

The built-in photographs are crops of scikit-image's samples: coffee (by Rachel Michetti), chelsea (by Stefan van der
Walt), grass (by linolafett), gravel (of CC0Textures) and camera (by Lav Varshney), all CC0; NASA's portrait of Eileen
Collins and SpaceX's launch of DSCOVR, in the public domain. Half of them are used in other colours and in more
contrast: networks answer fine texture with the largest values, and these are few photographs. The rest is drawn: what
photographs have little of (text, ramps, darkness, pure colours, noise) decides the ranges, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import PictureError
from ..reference import Floats

Levels = NDArray[np.uint8]

COLOURS = tuple((level, level, level) for level in (0, 64, 128, 192, 255)) + tuple(product((0, 255), repeat=3))[1:-1]
"""Greys, and the other corners of the colour cube."""
TILES = 128
"""Tiles that are calibrated on."""
SIDE = 48
"""Of a tile, in pixels: few enough that 128 pass through a large network in seconds."""
_HELD_SIDE = 64
"""Of a held-out picture, low resolution."""
_HELD = 10
_CAUTION = 1.5
"""dB: the real SRGAN and SRResNet are 0.6 and 0.8 dB farther from float32 on BSD100 than on the built-in pictures, as
these are few."""
_CHANGED = 12
"""Tiles of each kind of change."""
_MOST_FILES = 64
_FLAT_SIDE = 32
"""Of a picture of one colour."""
_WITNESS_SIDE = 32
"""Of the picture in a plan that devices are held to: 50 kB of levels at x4."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """Low-resolution tiles to calibrate on, and pairs to judge by."""

    tiles: Levels
    """Photographs, uint8 (N, side, side, 3), or of the only size that the network takes."""
    hard: Levels
    """Dark, bright, oversaturated, noisy and drawn ones, alike; there may be none."""
    flat_fields: Levels
    """Of one colour each, alike."""
    held_out: tuple[tuple[Levels, Levels], ...]
    """(ground truth uint8 (H, W, 3), the same made smaller uint8 (H/scale, W/scale, 3))."""
    origin: str
    """Where they come from, in words."""
    caution: float = 0.0
    """dB of fidelity to ask for beyond what is wanted, where the held-out pictures are few and easier than most."""


def built_in(*, scale: int, multiple: int = 1, shape: tuple[int, int] | None = None) -> Pictures:
    """Photographs inside this package, and drawn pictures. ``multiple`` and ``shape`` are the network's."""
    random = np.random.default_rng(20260101)
    side = _sides(SIDE, multiple, shape)
    photo = _photo("calibration")
    sources = [photo, _halved(photo)]
    drawn = [*_text(random, side, 12), *_ramps(random, side, 8), *_flats(random, side, 4)]
    tiles = [_crop(random, sources[index % 2], side) for index in range(TILES - len(drawn))]
    tiles = [_varied(random, tile) if index % 4 < 2 else tile for index, tile in enumerate(tiles)]
    usual, changed = tiles[: -3 * _CHANGED], tiles[-3 * _CHANGED :]
    hard = [*drawn, *(_changed(random, tile, index) for index, tile in enumerate(changed))]
    # in any order, so that the first few of them stand for all kinds
    return Pictures(
        tiles=np.stack(usual)[: _most(side)],
        hard=random.permutation(np.stack(hard))[: _most(side)],
        flat_fields=flat_fields(*_sides(_FLAT_SIDE, multiple, shape)),
        held_out=_pairs(random, [_photo("held_out")], scale, _sides(_HELD_SIDE, multiple, shape), varied=True),
        origin="built-in photographs, text, ramps, dark, bright, saturated and noisy pictures",
        caution=_CAUTION,
    )


def from_folder(folder: Path, *, scale: int, multiple: int = 1, shape: tuple[int, int] | None = None) -> Pictures:
    """Pictures of the user, as they are and made ``scale`` times smaller; every fourth one is held out.

    Raises PictureError if ``folder`` is none, has fewer than two pictures, or one cannot be read.
    """
    from ...imaging.folder import find_pictures, read_rgb

    sources = find_pictures(folder, "--calibration")
    if len(sources) < 2:
        raise PictureError(
            f"{folder} holds one picture: calibration takes two or more, to judge by others than it uses"
        )
    random = np.random.default_rng(20260101)
    count = len(sources)
    chosen = [sources[index] for index in np.unique(np.linspace(0, count - 1, min(count, _MOST_FILES)).astype(int))]
    held = chosen[::4]
    side = _sides(SIDE, multiple, shape)
    photos = [read_rgb(Path(source.location), multiple=scale) for source in chosen if source not in held]
    small = [_shrunk(photo, scale) for photo in photos]
    pools = [*small, *photos] if scale > 1 else photos
    tiles = [_crop(random, pools[index % len(pools)], side) for index in range(TILES)]
    truths = [read_rgb(Path(source.location), multiple=scale) for source in held]
    return Pictures(
        tiles=np.stack(tiles)[: _most(side)],
        hard=np.stack(tiles)[:0],
        flat_fields=flat_fields(*_sides(_FLAT_SIDE, multiple, shape)),
        held_out=_pairs(random, truths, scale, _sides(_HELD_SIDE, multiple, shape)),
        origin=f"{len(photos)} pictures of {folder.name}, {len(held)} others held out",
    )


def self_test_picture(*, scale: int, multiple: int = 1, shape: tuple[int, int] | None = None) -> Levels:
    """A picture for plans to carry: uint8 (h, w, 3). Never one of the user's, which would travel along."""
    low = _shrunk(_photo("held_out"), scale)
    return _crop(np.random.default_rng(1), low, _sides(_WITNESS_SIDE, multiple, shape))


def flat_fields(height: int, width: int) -> Levels:
    """uint8 (11, height, width, 3): of each of `COLOURS` a picture."""
    return np.tile(np.array(COLOURS, np.uint8)[:, None, None], (1, height, width, 1))


def values(tiles: Levels, input_range: tuple[float, float]) -> Floats:
    """``tiles`` (N, h, w, 3) as the network takes them: float32 (N, 3, h, w) over ``input_range``."""
    low, high = input_range
    return np.ascontiguousarray(tiles.transpose(0, 3, 1, 2) * np.float32((high - low) / 255) + np.float32(low))


def hardened(pictures: list[Levels]) -> Levels:
    """``pictures``, of one size, darkened, brightened, oversaturated and noisy in turn: uint8 (N, h, w, 3)."""
    random = np.random.default_rng(3)
    return np.stack([_changed(random, picture, index) for index, picture in enumerate(pictures)])


def _sides(side: int, multiple: int, shape: tuple[int, int] | None) -> tuple[int, int]:
    whole = -(-side // multiple) * multiple
    return shape or (whole, whole)


def _most(side: tuple[int, int]) -> int:
    """Tiles of one kind: fewer where the network insists on large ones."""
    return max(8, TILES * SIDE**2 // (side[0] * side[1]))


def _photo(name: str) -> Levels:
    from PIL import Image

    with files("srgan_trt.compiler").joinpath(f"data/{name}.jpg").open("rb") as file:
        return np.asarray(Image.open(file).convert("RGB"))


def _shrunk(image: Levels, scale: int) -> Levels:
    from ...quality.bicubic import shrink

    height, width = (side // scale * scale for side in image.shape[:2])
    return shrink(image[:height, :width], scale)


def _halved(image: Levels) -> Levels:
    return _shrunk(image, 2)


def _crop(random: np.random.Generator, image: Levels, side: tuple[int, int]) -> Levels:
    """A window at a random place, mirrored or not; a smaller picture is continued by reflection."""
    missing = [max(0, wanted - have) for wanted, have in zip(side, image.shape[:2], strict=True)]
    if any(missing):
        image = np.pad(image, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="symmetric")
    y, x = (int(random.integers(0, have - wanted + 1)) for wanted, have in zip(side, image.shape[:2], strict=True))
    window = image[y : y + side[0], x : x + side[1]]
    return np.ascontiguousarray(window[:, ::-1] if random.random() < 0.5 else window)


def _pairs(
    random: np.random.Generator, photos: list[Levels], scale: int, side: tuple[int, int], *, varied: bool = False
) -> tuple[tuple[Levels, Levels], ...]:
    large = (side[0] * scale, side[1] * scale)
    truths = [_crop(random, photos[index % len(photos)], large) for index in range(_HELD)]
    if varied:
        truths = [_varied(random, truth) if index % 2 else truth for index, truth in enumerate(truths)]
    return tuple((truth, _shrunk(truth, scale)) for truth in truths)


def _varied(random: np.random.Generator, picture: Levels) -> Levels:
    """In up to twice its contrast, and in other colours."""
    values = picture.astype(np.float32)
    mean = values.mean()
    values = (mean + (values - mean) * random.uniform(1.0, 2.0)) * random.uniform(0.6, 1.3, 3)
    levels: Levels = np.clip(np.round(values), 0, 255).astype(np.uint8)
    return levels


def _changed(random: np.random.Generator, tile: Levels, index: int) -> Levels:
    """Darkened, brightened until parts are white, oversaturated and noisy ones in turn."""
    values = tile.astype(np.float32)
    match index % 4:
        case 0:
            values *= random.uniform(0.05, 0.4)
        case 1:
            values *= random.uniform(1.5, 3.0)
        case 2:
            grey = values.mean(axis=2, keepdims=True)
            values = grey + (values - grey) * random.uniform(2, 6)
        case _:
            values += random.normal(0, random.uniform(4, 20), values.shape).astype(np.float32)
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


def _text(random: np.random.Generator, side: tuple[int, int], count: int) -> list[Levels]:
    from PIL import Image, ImageDraw, ImageFont

    tiles = []
    for _ in range(count):
        paper, ink = (tuple(int(level) for level in random.integers(0, 256, 3)) for _ in range(2))
        if random.random() < 0.5:
            paper, ink = (255, 255, 255), (0, 0, 0)
        image = Image.new("RGB", (side[1], side[0]), paper)
        draw, size = ImageDraw.Draw(image), int(random.integers(9, 24))
        letters = "".join(chr(code) for code in random.integers(33, 127, 400))
        for line, y in enumerate(range(0, side[0], size + 2)):
            draw.text((-3, y), letters[line * 20 :], fill=ink, font=ImageFont.load_default(size))
        tiles.append(np.asarray(image))
    return tiles


def _ramps(random: np.random.Generator, side: tuple[int, int], count: int) -> list[Levels]:
    tiles = []
    for _ in range(count):
        ends = random.integers(0, 256, (2, 3))
        angle = random.uniform(0, np.pi)
        rows, columns = np.mgrid[0 : side[0], 0 : side[1]]
        along = rows * np.sin(angle) / side[0] + columns * np.cos(angle) / side[1]
        part = (along - along.min()) / (along.max() - along.min())
        tiles.append(np.round(ends[0] + (ends[1] - ends[0]) * part[..., None]).astype(np.uint8))
    return tiles


def _flats(random: np.random.Generator, side: tuple[int, int], count: int) -> list[Levels]:
    colours = [(0, 0, 0), (255, 255, 255), *(tuple(random.choice((0, 255), 3)) for _ in range(count - 2))]
    return [np.full((*side, 3), colour, np.uint8) for colour in colours]
