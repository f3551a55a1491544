"""Small pictures as people have them: what cameras, editors, web sites and messengers do to a photo, by chance.

Two rounds of blur, resizing, noise and compression, after BSRGAN (Zhang et al., arXiv 2103.14006) and Real-ESRGAN
(Wang et al., arXiv 2107.10833, section 3), and a sharpening before the last compression: web tools sharpen what they
make small, and a network that never saw it takes the overshoot for detail. Not all of it is by chance: a share follows
the two commonest ways of a photo, to a web site or through a phone and a messenger.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from ..quality.bicubic import shrink
from ..quality.recipes import from_file, to_file

_FILTERS = (
    Image.Resampling.BOX,
    Image.Resampling.BILINEAR,
    Image.Resampling.BICUBIC,
    Image.Resampling.BICUBIC,
    Image.Resampling.LANCZOS,
)
"""Pillow's antialiased filters; BOX is the mean over an area. Bicubic is what most programs take: it counts twice."""
_SUBSAMPLINGS = ("4:4:4", "4:2:0", "4:2:0")
_JPEG_BLOCK = 8
_SINC_TAPS = 21


@dataclass(frozen=True, slots=True)
class Degradation:
    """How often each step is taken, and how strong it may be. Lengths are in pixels of the picture it is done to."""

    clean: float = 0.25
    """Share of pictures that are only made small, by the field's bicubic."""
    blur: float = 0.5
    first_round: float = 0.25
    """Share that is resized, made noisy and compressed once before it gets its last size."""
    sharpen: float = 0.4
    noise: float = 0.4
    jpeg: float = 0.8
    jpeg_again: float = 0.3
    """Of those that are JPEGs: share that was one before, with its blocks elsewhere or in the same place."""
    webp: float = 0.1
    """Share of all that ends as a lossy WebP instead of a JPEG."""
    sigma: tuple[float, float] = (0.2, 2.4)
    """Of the Gaussian blur of the large picture."""
    late_blur: float = 0.1
    """Share that is blurred at the small size, and of the first rounds at that between."""
    late_sigma: tuple[float, float] = (0.2, 0.8)
    """Of that blur, as soft lenses and denoisers leave."""
    noise_level: tuple[float, float] = (0.5, 9.0)
    """Standard deviation in levels of 255; of Poisson noise, at white."""
    quality: tuple[float, float] = (30.0, 98.0)
    """Of JPEG and WebP; higher ones are commoner."""
    unsharp_radius: tuple[float, float] = (0.3, 2.0)
    unsharp_percent: tuple[float, float] = (20.0, 150.0)
    between: tuple[float, float] = (0.3, 1.2)
    """Size after the first round, as a share of the large picture's."""


ANYTHING = Degradation()
WEB = Degradation(
    blur=0, late_blur=0, first_round=0, noise=0, sharpen=1, jpeg=1, jpeg_again=0.1,
    quality=(55, 95), unsharp_radius=(0.5, 1.5), unsharp_percent=(30, 120),
)  # fmt: skip
"""As web sites make previews: one resizing, sharpened, saved once."""
PHONE = Degradation(
    blur=1, late_blur=0, first_round=0, noise=1, sharpen=0.2, jpeg=1, jpeg_again=1,
    sigma=(0.4, 1.6), noise_level=(1.0, 8.0), quality=(45, 95),
)  # fmt: skip
"""As phones take them and messengers pass them on: soft, noisy, saved twice."""
MIXTURE = ((ANYTHING, 0.6), (WEB, 0.2), (PHONE, 0.2))
"""Shares of all pictures. Of random steps alone, one picture in 15 looks like a web site's preview."""


def degrade(
    large: NDArray[np.uint8], scale: int, chance: np.random.Generator, how: Degradation | None = None
) -> NDArray[np.uint8]:
    """A small picture of ``large``, uint8 RGB (H, W, 3): uint8 (H/scale, W/scale, 3), aligned with it.

    how: None: one of ``MIXTURE``, by chance.

    Depends on the arguments and the state of ``chance`` alone. The outer pixels depend on how what lies beyond the
    border is made up: callers cut off ``MARGIN`` pixels of the result. Raises ValueError if a side is not a multiple of
    ``scale``.
    """
    height, width = large.shape[:2]
    if height % scale or width % scale:
        raise ValueError(f"a picture of {width} x {height} pixels is not a multiple of {scale}: crop it first")
    how = how or MIXTURE[chance.choice(len(MIXTURE), p=[share for _, share in MIXTURE])][0]
    if chance.random() < how.clean:
        return shrink(large, scale)
    small = (width // scale, height // scale)
    picture = large
    if chance.random() < how.blur:
        picture = _blurred(picture, chance, how.sigma)
    if chance.random() < how.first_round:
        share = chance.uniform(*how.between)
        size = (max(small[0], round(width * share)), max(small[1], round(height * share)))
        picture = _resized(picture, size, chance)
        if chance.random() < how.noise:
            picture = _noisy(picture, chance, how.noise_level)
        if chance.random() < how.jpeg / 2:
            picture = _jpeg(picture, chance, how.quality)
        if chance.random() < how.late_blur:
            picture = _blurred(picture, chance, how.late_sigma)
    picture = _resized(picture, small, chance)
    if chance.random() < how.late_blur:
        picture = _blurred(picture, chance, how.late_sigma)
    if chance.random() < how.noise / 2:  # of the camera: under the sharpening
        picture = _noisy(picture, chance, how.noise_level)
    if chance.random() < how.sharpen:
        picture = _sharpened(picture, chance, how)
    if chance.random() < how.noise / 2:
        picture = _noisy(picture, chance, how.noise_level)
    return _compressed(picture, chance, how)


MARGIN = 2
"""Pixels at each side of a degraded picture that borders may have touched more than the rest."""


def _blurred(picture: NDArray[np.uint8], chance: np.random.Generator, sigma: tuple[float, float]) -> NDArray[np.uint8]:
    """By a Gaussian, round or drawn out in a direction, or by a low pass that rings, as resizers and codecs do."""
    height, width = picture.shape[:2]
    down = np.fft.fftfreq(height).astype(np.float32)[:, None]
    along = np.fft.rfftfreq(width).astype(np.float32)[None, :]
    kind = chance.random()
    if kind < 0.15:
        cutoff = chance.uniform(0.3, 0.5)
        response = _sinc_response(down, cutoff) * _sinc_response(along, cutoff)
    else:
        first = second = chance.uniform(*sigma)
        angle = 0.0
        if kind < 0.5:
            second, angle = chance.uniform(*sigma), chance.uniform(0, math.pi)
        u = math.cos(angle) * along + math.sin(angle) * down
        v = math.cos(angle) * down - math.sin(angle) * along
        response = np.exp(-2 * math.pi**2 * ((first * u) ** 2 + (second * v) ** 2))
    spectrum = np.fft.rfft2(picture.astype(np.float32), axes=(0, 1))
    result = np.fft.irfft2(spectrum * response[..., None], s=(height, width), axes=(0, 1))
    return _levels(result)


def _sinc_response(frequency: NDArray[np.float32], cutoff: float) -> NDArray[np.float32]:
    """Of a sinc cut off at a few lobes, which is what rings: at ``frequency`` and with ``cutoff`` in cycles a pixel."""
    place = np.arange(1, _SINC_TAPS // 2 + 1)
    taps = np.sin(2 * math.pi * cutoff * place) / (math.pi * place)
    response = 2 * cutoff + 2 * np.tensordot(np.cos(2 * math.pi * frequency[..., None] * place), taps, 1)
    return np.asarray(response / (2 * cutoff + 2 * taps.sum()), np.float32)


def _resized(picture: NDArray[np.uint8], size: tuple[int, int], chance: np.random.Generator) -> NDArray[np.uint8]:
    """To (width, height), by a filter by chance."""
    filter_ = _FILTERS[chance.integers(len(_FILTERS))]
    return np.asarray(Image.fromarray(picture).resize(size, filter_))


def _noisy(picture: NDArray[np.uint8], chance: np.random.Generator, level: tuple[float, float]) -> NDArray[np.uint8]:
    """With normal noise of one strength everywhere, or of the square root of the light, as a sensor's; gray or not.

    (A sensor's is Poisson's; at the counts of a photo a normal one of the same variance is not told from it.)
    """
    low, high = level
    strength = low + (high - low) * chance.random() ** 2  # weak noise is commoner
    shape = picture.shape if chance.random() < 0.6 else (*picture.shape[:2], 1)
    noise = chance.standard_normal(shape, np.float32) * strength
    if chance.random() < 0.4:
        noise = noise * np.sqrt(picture / np.float32(255))
    return _levels(picture + noise)


def _sharpened(picture: NDArray[np.uint8], chance: np.random.Generator, how: Degradation) -> NDArray[np.uint8]:
    mask = ImageFilter.UnsharpMask(
        radius=float(chance.uniform(*how.unsharp_radius)),
        percent=int(chance.uniform(*how.unsharp_percent)),
        threshold=int(chance.integers(4)),
    )
    return np.asarray(Image.fromarray(picture).filter(mask))


def _compressed(picture: NDArray[np.uint8], chance: np.random.Generator, how: Degradation) -> NDArray[np.uint8]:
    if chance.random() < how.webp:
        return _encoded(picture, "WEBP", quality=_quality(chance, how.quality))
    if chance.random() >= how.jpeg:
        return picture
    if chance.random() < how.jpeg_again:
        # Cropped or placed elsewhere between the two: the second one's blocks lie across the first one's.
        top, left = chance.integers(_JPEG_BLOCK, size=2) if chance.random() < 0.5 else (0, 0)
        moved = np.pad(picture, ((top, 0), (left, 0), (0, 0)), mode="edge")
        picture = _jpeg(moved, chance, how.quality)[top:, left:]
    return _jpeg(picture, chance, how.quality)


def _jpeg(picture: NDArray[np.uint8], chance: np.random.Generator, quality: tuple[float, float]) -> NDArray[np.uint8]:
    subsampling = _SUBSAMPLINGS[chance.integers(len(_SUBSAMPLINGS))]
    return _encoded(picture, "JPEG", quality=_quality(chance, quality), subsampling=subsampling)


def _quality(chance: np.random.Generator, quality: tuple[float, float]) -> int:
    low, high = quality
    return int(high - (high - low) * chance.random() ** 1.5)


def _encoded(picture: NDArray[np.uint8], format_: str, **options: object) -> NDArray[np.uint8]:
    """What comes back from a file in this format."""
    return from_file(to_file(picture, format_, **options))


def _levels(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    levels: NDArray[np.uint8] = np.rint(np.clip(values, 0, 255)).astype(np.uint8)
    return levels
