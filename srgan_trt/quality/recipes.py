"""Small pictures of known damage: recipes that make one of a large picture, by the real encoders, always the same.

Training draws its damage by chance (training/degrade.py); here each step is fixed, so that scores can be compared.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from ..errors import SrganTrtError
from .bicubic import shrink

_FILTERS = {
    "area": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
"""Pillow's, all antialiased."""
_SUBSAMPLINGS = ("4:4:4", "4:2:2", "4:2:0")


@dataclass(frozen=True, slots=True)
class Recipe:
    """Steps from a large picture to the file of a small one."""

    name: str
    steps: tuple[Mapping[str, Any], ...]
    """Each has its kind as "step", and that kind's numbers (``_KINDS``)."""

    def file(self, large: NDArray[np.uint8], *, scale: int, seed: int) -> tuple[bytes, str]:
        """The file of the small picture, and its suffix: what the last step encodes, else a PNG.

        large: uint8 RGB (H, W, 3), sides multiples of ``scale``. seed: Of the noise; the same one gives the same file
        (with the same release of Pillow, whose encoders these are).
        """
        chance = np.random.default_rng(seed)
        picture = large
        file: tuple[bytes, str] | None = None
        for step in self.steps:
            kind = _KINDS[step["step"]]
            result = kind.run(picture, scale, chance, **{name: step[name] for name in step if name != "step"})
            if isinstance(result, bytes):
                file = result, kind.suffix
                picture = from_file(result)
            else:
                file, picture = None, result
        return file or (_png(picture), ".png")


def find_recipe(name: str) -> Recipe:
    """The recipe of this name, or in the JSON file that it names: ``{"steps": [{"step": "jpeg", "quality": 75}]}``.

    Raises SrganTrtError, which names what is wrong, for an unknown name or anything that is not a recipe.
    """
    if name in RECIPES:
        return RECIPES[name]
    path = Path(name)
    if path.suffix.lower() != ".json":
        raise SrganTrtError(f"--degrade {name} is not a recipe: choose {', '.join(RECIPES)}, or name a .json file")
    try:
        content = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SrganTrtError(f"cannot read the recipe {path}: {error.strerror}") from error
    except ValueError as error:
        raise SrganTrtError(f"{path} is not JSON ({error}): a recipe is an object with a list of steps") from None
    try:
        return Recipe(path.stem, _checked(content))
    except ValueError as error:
        raise SrganTrtError(f"{path} is not a recipe: {error}") from None


@dataclass(frozen=True, slots=True)
class _Kind:
    """What a step takes, beside its kind."""

    numbers: Mapping[str, tuple[float, float]]
    """By name: the least and the most. Those of ``optional`` may be left out."""
    run: Callable[..., NDArray[np.uint8] | bytes]
    """(picture, scale, chance, **numbers and words) -> a picture, or the file of one."""
    words: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """By name: what it may be."""
    optional: frozenset[str] = frozenset()
    suffix: str = ""
    """Of the files that it gives."""


def _checked(content: Any) -> tuple[Mapping[str, Any], ...]:
    if not isinstance(content, dict) or not isinstance(content.get("steps"), list) or set(content) - {"steps"}:
        raise ValueError('it is not {"steps": [...]}')
    for number, step in enumerate(content["steps"], 1):
        try:
            _check_step(step)
        except ValueError as error:
            raise ValueError(f"step {number}: {error}") from None
    reductions = sum(step["step"] == "reduce" for step in content["steps"])
    if reductions != 1:
        raise ValueError(f'it reduces {reductions} times: one step is a "reduce", which makes the picture small')
    return tuple(content["steps"])


def _check_step(step: Any) -> None:
    if not isinstance(step, dict) or step.get("step") not in _KINDS:
        raise ValueError(f'"step" is one of {", ".join(_KINDS)}')
    kind = _KINDS[step["step"]]
    known = {*kind.numbers, *kind.words}
    if unknown := sorted(set(step) - known - {"step"}):
        raise ValueError(f"{step['step']} has no {unknown[0]}: it takes {', '.join(sorted(known))}")
    if absent := sorted(known - set(step) - kind.optional):
        raise ValueError(f"{step['step']} needs {absent[0]}")
    for name, (least, most) in kind.numbers.items():
        if name in step and not (type(step[name]) in (int, float) and least <= step[name] <= most):
            raise ValueError(f"{name} is a number in {least:g}..{most:g}, not {step[name]!r}")
    for name, choices in kind.words.items():
        if name in step and step[name] not in choices:
            raise ValueError(f"{name} is one of {', '.join(choices)}, not {step[name]!r}")


Picture = NDArray[np.uint8]


def _reduced(picture: Picture, scale: int, chance: np.random.Generator, *, filter: str) -> Picture:
    if filter == "matlab":
        return shrink(picture, scale)
    size = (picture.shape[1] // scale, picture.shape[0] // scale)
    return np.asarray(Image.fromarray(picture).resize(size, _FILTERS[filter]))


def _blurred(picture: Picture, scale: int, chance: np.random.Generator, *, sigma: float) -> Picture:
    return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(sigma)))


def _sharpened(
    picture: Picture,
    scale: int,
    chance: np.random.Generator,
    *,
    radius: float,
    percent: float,
    threshold: float = 0,
) -> Picture:
    mask = ImageFilter.UnsharpMask(radius, round(percent), round(threshold))
    return np.asarray(Image.fromarray(picture).filter(mask))


def _noisy(picture: Picture, scale: int, chance: np.random.Generator, *, level: float) -> Picture:
    noisy = picture + chance.normal(0, level, picture.shape)
    levels: Picture = np.rint(noisy.clip(0, 255)).astype(np.uint8)
    return levels


def _jpeg(
    picture: Picture, scale: int, chance: np.random.Generator, *, quality: float, subsampling: str = "4:2:0"
) -> bytes:
    return to_file(picture, "JPEG", quality=round(quality), subsampling=subsampling)


def _webp(picture: Picture, scale: int, chance: np.random.Generator, *, quality: float) -> bytes:
    return to_file(picture, "WEBP", quality=round(quality))


def _png(picture: Picture) -> bytes:
    return to_file(picture, "PNG")


def to_file(picture: Picture, format_: str, **options: Any) -> bytes:
    """What Pillow writes of ``picture``, uint8 RGB (H, W, 3); options: of its encoder."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, format_, **options)
    return file.getvalue()


def from_file(content: bytes) -> Picture:
    """The picture in a file, uint8 RGB (H, W, 3)."""
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


_KINDS: dict[str, _Kind] = {
    "reduce": _Kind({}, _reduced, {"filter": (*_FILTERS, "matlab")}),
    "blur": _Kind({"sigma": (0, 100)}, _blurred),
    "sharpen": _Kind(
        {"radius": (0, 100), "percent": (0, 1000), "threshold": (0, 255)}, _sharpened, optional=frozenset({"threshold"})
    ),
    "noise": _Kind({"level": (0, 255)}, _noisy),
    "jpeg": _Kind(
        {"quality": (1, 100)}, _jpeg, {"subsampling": _SUBSAMPLINGS}, frozenset({"subsampling"}), suffix=".jpg"
    ),
    "webp": _Kind({"quality": (0, 100)}, _webp, suffix=".webp"),
}

RECIPES = {
    "clean": Recipe("clean", ({"step": "reduce", "filter": "matlab"},)),
    "web": Recipe(
        "web",
        (
            {"step": "reduce", "filter": "area"},
            {"step": "sharpen", "radius": 1.0, "percent": 70, "threshold": 0},
            {"step": "jpeg", "quality": 75},
        ),
    ),
    "phone": Recipe(
        "phone",
        (
            {"step": "blur", "sigma": 1.0},
            {"step": "reduce", "filter": "bicubic"},
            {"step": "noise", "level": 5},
            {"step": "jpeg", "quality": 85},
            {"step": "jpeg", "quality": 60},
        ),
    ),
}
"""By name. "clean": the field's bicubic, as PNG. "web": as a site makes previews. "phone": soft and noisy, saved by the
camera and once more by a messenger."""
