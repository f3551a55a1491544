"""Recipe: everything that decides what a training gives, but for the pictures."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import TrainingError
from ..files import atomic_write
from ..models.generator import ARCHITECTURES

STAGES = ("pixel", "gan")
DEGRADATIONS = ("none", "real")
_SIZES = {"blocks", "filters", "upsampling_filters", "tail_kernel", "batch_norm"}
_SCALES = (2, 4)
_LEAST_GAN_CROP = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Settings of one training."""

    stage: str = "pixel"
    """"pixel": against the pictures alone. "gan": with a content loss on VGG features and a discriminator."""
    arch: str = "paper"
    blocks: int | None = None
    filters: int | None = None
    upsampling_filters: int | None = None
    tail_kernel: int | None = None
    batch_norm: bool | None = None
    """Sizes of the network; None is what the architecture has by itself (``models.generator``)."""
    scale: int = 4
    degrade: str = "none"
    """How small pictures are made: "none", by the field's bicubic; "real", as cameras and sites do (``degrade``)."""
    init: str | None = None
    """HDF5 file of the generator to begin with, of the architecture and sizes above."""
    teacher: str | None = None
    """Model whose pictures are learnt from too: a name or a file that `upscale --model` takes."""
    teacher_weight: float = 0.5
    """Of the loss against the teacher's picture; the rest is against the real one."""
    steps: int = 100_000
    batch: int = 16
    crop: int = 96
    """Side of a high-resolution crop in pixels, as the paper's."""
    learning_rate: float | None = None
    """Peak; None is 1e-3 for pixels without batch norm, else the paper's 1e-4 (section 3.2)."""
    loss: str = "l1"
    """Of pixels: "l1" or "mse" (the paper's)."""
    content_weight: float = 1.0
    adversarial_weight: float = 1e-3
    pixel_weight: float = 0.0
    checkerboard_weight: float = 0.0
    """Weights of the stage "gan", by default SuperResolution-GANs'; `losses.checkerboard_loss` is the last."""
    vgg_weights: str | None = None
    content_layers: tuple[str, ...] | None = None
    discriminator: str = "paper"
    """"paper": two dense layers, one probability. "patch": fully convolutional, a map of them."""
    discriminator_filters: int = 64
    """Channels of its first convolution; the others follow in proportion."""
    ema: float = 0.999
    """Decay of the running average of the weights, which is what is saved; 0 is none."""
    precision: str = "fp32"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, allowed in (
            ("stage", STAGES),
            ("arch", tuple(ARCHITECTURES)),
            ("scale", _SCALES),
            ("loss", ("l1", "mse")),
            ("discriminator", ("paper", "patch")),
            ("precision", ("fp32", "bf16")),
            ("degrade", DEGRADATIONS),
        ):
            if (value := getattr(self, name)) not in allowed:
                raise TrainingError(f"{_flag(name)} is one of {', '.join(map(str, allowed))}, not {value}")
        for name in (
            "blocks",
            "filters",
            "upsampling_filters",
            "tail_kernel",
            "discriminator_filters",
            "steps",
            "batch",
            "crop",
        ):
            if (value := getattr(self, name)) is not None and value < 1:
                raise TrainingError(f"{_flag(name)} is at least 1, not {value}")
        for name in sorted(_SIZES - ARCHITECTURES[self.arch].sizes):
            if getattr(self, name) is not None:
                raise TrainingError(f"{_flag(name)} is not a size of the architecture {self.arch}: leave it out")
        if self.teacher is not None and self.degrade != "none":
            raise TrainingError("--teacher learns from clean pictures: leave it out, or --degrade")
        if self.crop % self.scale:
            raise TrainingError(f"--crop {self.crop} is not a multiple of the scale: use {self._crop_nearby()}")
        if self.stage == "gan" and self.crop < _LEAST_GAN_CROP:
            raise TrainingError(f"--crop {self.crop} is too small for VGG and a discriminator: use {_LEAST_GAN_CROP}")
        for name in ("content_weight", "adversarial_weight", "pixel_weight", "checkerboard_weight"):
            if not 0 <= getattr(self, name) < math.inf:
                raise TrainingError(f"{_flag(name)} is a number from 0, not {getattr(self, name)}")
        if not 0 <= self.ema < 1 or not 0 <= self.teacher_weight <= 1:
            raise TrainingError("--ema is in 0..1 (1 excluded), --teacher-weight in 0..1")
        if self.learning_rate is not None and not self.learning_rate > 0:
            raise TrainingError(f"--learning-rate is above 0, not {self.learning_rate}")

    def _crop_nearby(self) -> int:
        return max(self.scale, self.crop // self.scale * self.scale)

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
        try:
            values: dict[str, Any] = json.loads(path.read_text())
            if values["content_layers"] is not None:
                values["content_layers"] = tuple(values["content_layers"])
            return cls(**values)
        except FileNotFoundError:
            raise TrainingError(f"{path.parent} holds no training to resume: leave --resume out to begin one") from None
        except (ValueError, KeyError, TypeError) as error:
            raise TrainingError(
                f"{path} is damaged or of another version ({error}): begin anew in another --out"
            ) from None


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
