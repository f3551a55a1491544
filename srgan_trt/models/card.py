"""Model cards as data: what a shipped model is, how it was made, what it scores, and what it must not be taken for.

After Mitchell et al., "Model Cards for Model Reporting" (arXiv 1810.03993), as far as it fits a super-resolver.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> ModelCard:
        """Raises ValueError, which names the field, for anything but a whole card."""
        fields = _object(json.loads(text), "the card")
        _check_names(fields, cls, "the card")
        scores = _object(fields["scores"], "scores")
        card = cls(
            **fields
            | {
                "architecture": _object(fields["architecture"], "architecture"),
                "data": _data(_object(fields["data"], "data")),
                "scores": {name: _scores(_object(each, name)) for name, each in scores.items()},
            }
        )
        for name, kinds in _KINDS.items():
            if not isinstance(getattr(card, name), kinds):
                raise ValueError(f"{name} is {getattr(card, name)!r}")
        datetime.date.fromisoformat(card.date)
        if missing := {"blocks", "filters", "kernel"} - set(card.architecture):
            raise ValueError(f"architecture lacks {', '.join(sorted(missing))}")
        return card


_KINDS: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("name", "what", "licence", "data_licence", "limits", "date"), str),
    **dict.fromkeys(("parameters", "scale", "steps"), int),
    **dict.fromkeys(("mmac", "hours"), (int, float)),
    "teacher": (str, type(None)),
}


def read_card(path: Path) -> ModelCard:
    """The card in the file ``path``. Raises ModelError if it is damaged or cannot be read."""
    try:
        return ModelCard.from_json(path.read_text("utf-8"))
    except OSError as error:
        raise ModelError(f"cannot read the model card {path}: {error.strerror}") from error
    except ValueError as error:
        raise ModelError(f"{path} is not a model card ({error}): {pip_command(options='--force-reinstall')}") from error


def _data(fields: dict[str, Any]) -> TrainingData:
    _check_names(fields, TrainingData, "data")
    sets = fields["sets"]
    if not isinstance(sets, list) or not all(isinstance(name, str) for name in sets):
        raise ValueError(f"sets are {sets!r}")
    if not isinstance(fields["pictures"], int) or not isinstance(fields["manifest"], str):
        raise ValueError("data does not name a count of pictures and a manifest")
    return TrainingData(sets=tuple(sets), pictures=fields["pictures"], manifest=fields["manifest"])


def _scores(fields: dict[str, Any]) -> Scores:
    _check_names(fields, Scores, "scores")
    if not all(
        isinstance(value, int | float) or (name, value) == ("perceptual", None) for name, value in fields.items()
    ):
        raise ValueError(f"scores are {fields!r}")
    return Scores(**fields)


def _object(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} is not a JSON object")
    return value


def _check_names(fields: dict[str, Any], kind: type, name: str) -> None:
    """Every field without a default must be there, and no others."""
    declared = dataclasses.fields(kind)
    required = {field.name for field in declared if field.default is dataclasses.MISSING}
    if absent := required - set(fields):
        raise ValueError(f"{name} lacks {', '.join(sorted(absent))}")
    if more := set(fields) - {field.name for field in declared}:
        raise ValueError(f"{name} has the unknown {', '.join(sorted(more))}")
