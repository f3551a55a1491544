"""A model as this package ships them, made on the spot: its plan is really built."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import onnx

from srgan_trt.codec import encode
from srgan_trt.compiler.build import build
from srgan_trt.compiler.plan import Plan, save_plan
from srgan_trt.models.card import ModelCard, Scores, TrainingData

from .handmade import nearest_model, witnessed

NAME = "nearest-x4"


def card(**changes: Any) -> ModelCard:
    facts: dict[str, Any] = {
        "name": NAME,
        "what": "repeats every pixel",
        "architecture": {"blocks": 0, "filters": 48, "kernel": 3},
        "parameters": 1296,
        "mmac": 0.001,
        "scale": 4,
        "data": TrainingData(sets=("none",), pictures=0, manifest="pictures.csv"),
        "steps": 0,
        "hours": 0.5,
        "teacher": None,
        "scores": {
            "Set5": Scores(psnr=26.25, ssim=0.732, perceptual=0.5),
            "BSD100": Scores(psnr=24.87, ssim=0.638),
        },
        "licence": "MIT",
        "data_licence": "none was used",
        "limits": "it sharpens nothing",
        "date": "2026-11-22",
    }
    return ModelCard(**facts | changes)


def ship(folder: Path, name: str = NAME, *, with_card: bool = True, gan: str | None = None) -> Plan:
    """Makes the model `name` in `folder`, which stands for srgan_trt/models/shipped. gan: as its card names it."""
    home = folder / name
    home.mkdir(parents=True)
    source = home / f"{name}.onnx"
    onnx.save(nearest_model(scale=4), source)
    plan = build(source, out=home / f"{name}.plan.onnx", input_range=(0, 1), output_range=(0, 1))
    if with_card:
        (home / "card.json").write_bytes(encode(card(name=name, gan=gan)))
    return plan


def ship_int8(plan: Plan, **changes: Any) -> Plan:
    """Makes a plan beside the one of `ship` that says it is in int8, with the picture that such plans carry.
    changes: of its spec."""
    path = plan.path.with_name(f"{plan.path.parent.name}.int8.plan.onnx")
    spec = dataclasses.replace(plan.spec, precision="int8", **changes)
    model = onnx.load(str(plan.path))
    # another network, or what is compiled of the two could not be told apart
    model.graph.doc_string = "in int8"
    return witnessed(save_plan(model, spec, path), path)
