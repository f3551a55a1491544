"""Model cards as data: what a shipped model is, how it was made, what it scores, and what it must not be taken for.

After Mitchell et al., "Model Cards for Model Reporting" (arXiv 1810.03993), as far as it fits a super-resolver.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..codec import decode
from ..errors import ModelError, pip_command


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """How close to the originals a model comes, on average over one set of pictures (see quality/metrics.py)."""

    psnr: float
    """dB, of the luma, with as many pixels cut off each border as the scale."""
    ssim: float
    """Wang's, of the luma."""
    perceptual: float | None = None
    """Distance in the features of a VGG network; None where it was not measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingData:
    """What a model was trained on."""

    sets: tuple[str, ...]
    pictures: int
    manifest: str
    """File beside the card with the names and hashes of the pictures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """The card of a shipped model: ``card.json`` in its folder, whose fields have these names."""

    name: str
    what: str
    """In one line."""
    architecture: Mapping[str, Any]
    """Options of models/generator.py: at least blocks, filters and kernel."""
    parameters: int
    mmac: float
    """Million multiply-accumulates per low-resolution pixel, as the plan computes them."""
    scale: int
    data: TrainingData
    steps: int
    hours: float
    teacher: str | None
    """The model whose results it learned from; None for none."""
    scores: Mapping[str, Scores]
    """By the name of the set of pictures."""
    licence: str
    """Of the weights."""
    data_licence: str
    """Of the pictures it was trained on."""
    limits: str
    date: str
    """When its training ended, as YYYY-MM-DD."""
    gan: str | None = None
    """The model that was sharpened from this one by adversarial training: `--texture` mixes the two as soon as both are
    there. None where there is none."""

    def __post_init__(self) -> None:
        """Raises ValueError for no date, or an architecture that is not whole."""
        datetime.date.fromisoformat(self.date)
        if missing := {"blocks", "filters", "kernel"} - set(self.architecture):
            raise ValueError(f"architecture lacks {', '.join(sorted(missing))}")


def read_card(path: Path) -> ModelCard:
    """The card in the file ``path``. Raises ModelError if it is damaged or cannot be read."""
    try:
        return decode(path.read_bytes(), ModelCard)
    except OSError as error:
        raise ModelError(f"cannot read the model card {path}: {error.strerror}") from error
    except ValueError as error:
        raise ModelError(f"{path} is not a model card ({error}): {pip_command(options='--force-reinstall')}") from error
