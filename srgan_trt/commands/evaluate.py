"""What `srgan-trt evaluate` does: a folder of pictures -> scores of models beside bicubic, and a report of them."""

from __future__ import annotations

import importlib.metadata
import logging
import platform
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from .._version import __version__
from ..errors import MissingPackageError, PictureError, SrganTrtError
from ..imaging.folder import find_pictures
from ..models.registry import DEFAULT_MODEL
from ..quality.recipes import Recipe, find_recipe
from ..resolve import open_plan
from ..training.evaluation import BICUBIC, Features, Method, degraded, find_pairs, measure, read_pair
from ..training.report import MEASURES, PROTOCOL, text_table, write_report
from ..upscaler import Upscaler

if TYPE_CHECKING:
    from ..compiler.plan import Plan
    from .console import Console

_log = logging.getLogger(__name__)


def evaluate_folder(
    high: Path,
    *,
    console: Console,
    low: Path | None = None,
    degrade: str | None = None,
    models: Sequence[str] | None = None,
    report: Path | None = None,
    vgg_weights: str | None = None,
    device: str = "auto",
    precision: str | None = None,
    denoise: str | None = None,
) -> None:
    """Measures `models` and bicubic on the pictures in `high`, prints the table, and writes the report.

    Args:
        low: Folder of the low-resolution pictures; None makes them, by MATLAB's bicubic or `degrade`.
        degrade: The name of a recipe, or a JSON file of one (quality/recipes.py): small pictures are made by it, and
            models get their files. Noise depends on the place of a picture in the folder alone.
        models: As `open_plan` takes them, all of one scale; None is the default model.
        report: Folder for `scores.json` and `report.html`, made if need be; None writes none.
        vgg_weights: As `open_features` takes them. Without them, where the packages for its own are missing, there is
            no perceptual distance, which is said.
        device, precision, denoise: As `Upscaler` takes them.

    Raises SrganTrtError for anything wrong with folders, pictures and models, before the first is measured; OSError
    where the report cannot be written.
    """
    # Whatever is wrong with the folders is found before the models are opened, which may take minutes.
    find_pictures(high, "--hr")
    if low is not None:
        find_pictures(low, "--lr")
    if degrade is not None and low is not None:
        raise SrganTrtError("--degrade makes the small pictures, --lr names them: leave one out")
    recipe = None if degrade is None else find_recipe(degrade)
    if report is not None:
        _make_folder(report)
    plans = _plans(models)
    scale = _scale(plans, low)
    pairs = find_pairs(high, low, scale=scale)
    # All are read once before the first is measured: what is wrong with the last one is told now.
    for pair in pairs:
        read_pair(pair, scale=scale)
    features = _features(vgg_weights)
    measured = []
    with ExitStack() as stack:
        upscalers = {
            name: stack.enter_context(Upscaler(plan, device=device, precision=precision, denoise=denoise))
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


def _method(up: Upscaler) -> Method:
    """The upscaler as a function of pixels, or of a file, whose results are arrays."""
    return lambda low: np.asarray(up(low))


def _plans(models: Sequence[str] | None) -> dict[str, Plan]:
    """By the name that each model has in the tables: what the user called it, a path's last part if that tells."""
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
