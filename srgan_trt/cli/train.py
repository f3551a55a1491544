"""`srgan-trt train`: prepares the pictures, trains, and can be stopped at any time."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from ..errors import TrainingError
from ..files import atomic_write
from ..runtime.devices import cpu_facts
from ..training.recipe import Recipe, checked_setting, choices, read_settings, setting_types
from .argument_types import positive
from .console import PROGRAM, Console
from .options import add_quiet

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..imaging.sources import Source
    from ..training.pictures import PictureSet, Teacher
    from ..training.trainer import Progress
    from ..upscaler import Upscaler

_LINE_EVERY = 30.0
"""Seconds between lines about the progress, where no bar can be shown."""
_log = logging.getLogger(__name__)
_FREE_ON_RESUME = {"steps", "learning_rate"}
"""Settings that may differ from those the training began with."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--hr", required=True, type=Path, metavar="DIR", help="folder of high-resolution pictures to train on"
    )
    parser.add_argument(
        "--val",
        type=Path,
        metavar="DIR",
        help="folder of pictures to validate on (default: some of --hr are held back)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("training"),
        metavar="DIR",
        help="folder for the generator and all else (default: training)",
    )
    parser.add_argument("--resume", action="store_true", help="go on with the training in --out, with its settings")
    parser.add_argument(
        "--validate-every",
        type=positive,
        default=1000,
        metavar="N",
        help="steps between validations (default: 1000)",
    )
    parser.add_argument(
        "--recipe",
        type=Path,
        metavar="FILE",
        help="recipe file, in TOML or JSON: settings by the names of the options below (learning_rate = 1e-4), and the "
        "rare ones in docs/training.md; options overrule it",
    )
    add_quiet(parser, "print errors and warnings only")
    settings = parser.add_argument_group("settings of the training")
    for field in dataclasses.fields(Recipe):
        if field.metadata["option"]:
            _add_setting(settings, field)


def _add_setting(parser: argparse._ArgumentGroup, field: dataclasses.Field[Any]) -> None:
    """The option of a setting; not given, it is None."""
    kind, text, metavar = setting_types()[field.name], field.metadata["help"], field.metadata["metavar"]
    if field.default is not None and "(default" not in text:
        text += f" (default: {field.default})"
    option = f"--{field.name.replace('_', '-')}"
    if kind is bool:
        parser.add_argument(option, action=argparse.BooleanOptionalAction, help=text)
        return

    def value(typed: str) -> Any:
        try:
            return checked_setting(field.name, typed, text=True)
        except TrainingError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    few = choices(kind)
    parser.add_argument(option, type=value, metavar=metavar or ("|".join(map(str, few)) if few else "N"), help=text)


def run(args: argparse.Namespace, console: Console) -> int:
    """Trains a generator on the pictures in `--hr` into the folder `--out`. Returns 130 where it was stopped before.

    Raises what ``prepare``, ``Trainer`` and ``Trainer.run`` raise; TrainingError if `--out` holds a training already
    and `--resume` is not given, or a setting contradicts it.
    """
    from ..imaging.folder import find_pictures
    from ..quality.metrics import WINDOW
    from ..training.crops import with_margin
    from ..training.pictures import hold_out, prepare
    from ..training.trainer import GENERATOR, RECIPE, Trainer

    out: Path = args.out
    settings = {} if args.recipe is None else read_settings(args.recipe)
    settings |= {name: value for name in setting_types() if (value := getattr(args, name, None)) is not None}
    recipe = _recipe(out, settings, args.resume)
    sources = find_pictures(args.hr, "--hr")
    if args.val is None:
        sources, held = hold_out(sources)
        console.note(
            f"{len(held)} of {len(sources) + len(held)} pictures are held back for validation: --val names others"
        )
    else:
        held = find_pictures(args.val, "--val")
    out.mkdir(parents=True, exist_ok=True)
    with _teacher(recipe) as (teacher, teacher_name):

        def prepared(sources: list[Source], name: str, smallest: int, teacher: Teacher | None) -> PictureSet:
            console.end_progress()  # another set of pictures, another total
            return prepare(
                sources,
                out / "pictures" / name,
                scale=recipe.scale,
                smallest=smallest,
                teacher=teacher,
                teacher_name=teacher_name if teacher is not None else None,
                progress=lambda done, total: console.progress(f"preparing pictures ({name})", done, total),
            )

        smallest = recipe.crop if recipe.degrade == "none" else with_margin(recipe.crop, recipe.scale)
        pictures = prepared(sources, "train", smallest, teacher)
        validation = prepared(held, "validation", WINDOW + 2 * recipe.scale, None)
    console.end_progress()
    _write_manifest(out / "manifest.json", pictures, args.resume)
    console.note(
        f"{len(pictures)} pictures to train on, {len(validation)} to validate on; arithmetic in {recipe.precision}"
    )
    trainer = Trainer(recipe, pictures, validation, out=out, resume=args.resume)
    recipe.save(out / RECIPE)
    with _stopped_by_signals(console) as stopped:
        complete = trainer.run(
            validate_every=args.validate_every,
            progress=_reporter(console),
            stop=stopped.is_set,
        )
    console.end_progress()
    if complete:
        restores = " --restores" if recipe.degrade == "real" else ""
        console.result(f"{out / GENERATOR}: next '{PROGRAM} build {out / GENERATOR}{restores}'")
    else:
        console.note(f"stopped: '{PROGRAM} train ... --resume' goes on from {out}")
    return 0 if complete else 130


def _recipe(out: Path, settings: dict[str, Any], resume: bool) -> Recipe:
    from ..training.trainer import CHECKPOINT, RECIPE

    if not resume:
        if (out / CHECKPOINT).exists():
            raise TrainingError(f"{out} holds a training already: go on with it by --resume, or name another --out")
        return Recipe(**{"precision": _fast_precision(), **_with_sizes(settings)})
    began = Recipe.load(out / RECIPE)
    changed = {name: value for name, value in settings.items() if getattr(began, name) != value}
    if fixed := sorted(set(changed) - _FREE_ON_RESUME):
        name = fixed[0]
        raise TrainingError(
            f"the training in {out} has {name} {getattr(began, name)}, not {changed[name]}: "
            "leave it out, or begin anew in another --out"
        )
    return dataclasses.replace(began, **changed)


def _fast_precision() -> str:
    """bf16 where the processor computes in it: elsewhere it is slower than fp32."""
    return "bf16" if "BF16" in cpu_facts()["capabilities"] else "fp32"


def _with_sizes(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings, with the sizes of the generator to begin with, where there is one."""
    if "init" not in settings:
        return settings
    from ..models.weights_only import known_generator

    known = known_generator(Path(settings["init"]))
    sizes = {"arch": known.arch, **known.sizes}
    for name, value in sizes.items():
        if settings.get(name, value) != value:
            raise TrainingError(f"{settings['init']} has {name} {value}, not {settings[name]}: leave it out")
    return settings | sizes


@contextlib.contextmanager
def _teacher(recipe: Recipe) -> Iterator[tuple[Teacher | None, str | None]]:
    """The teacher as a function, and a name that is another one for another teacher."""
    if recipe.teacher is None:
        yield None, None
        return
    from ..resolve import open_plan
    from ..upscaler import Upscaler

    # Not in int8: what is learned from stays, and int8 has levels of its own.
    with Upscaler(dataclasses.replace(open_plan(recipe.teacher), int8=None)) as up:
        if up.spec.scale != recipe.scale:
            raise TrainingError(f"the teacher {recipe.teacher} enlarges by {up.spec.scale}, scale is {recipe.scale}")
        yield _enlarger(up), f"{recipe.teacher} {up.spec.source_hash}"


def _enlarger(up: Upscaler) -> Teacher:
    def upscale_picture(lr: NDArray[np.uint8]) -> NDArray[np.uint8]:
        large: NDArray[np.uint8] = up(lr)
        return large

    return upscale_picture


def _write_manifest(path: Path, pictures: PictureSet, resume: bool) -> None:
    text = json.dumps(pictures.manifest, indent=1) + "\n"
    if resume and path.is_file() and path.read_text() != text:
        _log.warning("the pictures are not those that the training began with: its result is not that of one go")
    atomic_write(path, text.encode())


def _reporter(console: Console) -> Callable[[Progress], None]:
    """A bar on a terminal, and lines elsewhere: a training is often looked at in a log."""
    first: int | None = None
    said = time.monotonic()

    def report(progress: Progress) -> None:
        nonlocal first, said
        if first is None:
            first = progress.step - 1
        text = f"step {progress.step} loss {progress.loss:.4f}"
        if progress.psnr is not None:
            text += f" {progress.psnr:.2f} dB"
        console.progress(text, progress.step - first, progress.steps - first)
        if not console.shows_progress and time.monotonic() - said > _LINE_EVERY:
            said = time.monotonic()
            console.note(
                f"{text}, {progress.step} of {progress.steps} steps, {_duration(progress.seconds_left)} left, "
                f"{progress.waiting:.1%} of the time waiting for pictures"
            )

    return report


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min"


@contextlib.contextmanager
def _stopped_by_signals(console: Console) -> Iterator[threading.Event]:
    """Ctrl-C and SIGTERM end the training after its current step; a second one ends it at once."""
    stopped = threading.Event()
    before: dict[signal.Signals, Any] = {}

    def stop(number: int, frame: FrameType | None) -> None:
        if stopped.is_set():
            raise KeyboardInterrupt
        stopped.set()
        console.note("stopping after this step; once more stops at once, and loses what is not saved")

    # Python takes signals in the main thread only; elsewhere the caller has its own ways.
    numbers = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    try:
        for number in numbers:
            before[number] = signal.signal(number, stop)
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
