"""The command line: parse, call, print."""

from __future__ import annotations

import argparse
import dataclasses
import os
import signal
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

from .arguments import parse
from .commands import serve as serve_command
from .commands.console import Console
from .errors import SrganTrtError


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `srgan-trt` with these arguments (None: those of the process). Returns the exit status.

    0: everything came out; 1: something did not, and was said; 2: wrong usage; 130: Ctrl-C.
    """
    if argv is None:
        # So that a killed program, too, takes its unfinished files away.
        signal.signal(signal.SIGTERM, _terminated)
    args = parse(sys.argv[1:] if argv is None else argv)
    results_to = sys.stderr if args.picture_on_stdout(args) else None
    with Console(quiet=args.quiet, verbose=args.verbose, results_to=results_to) as console:
        try:
            return _COMMANDS[args.command](args, console)
        except BrokenPipeError:
            # Whoever read our output has gone; Python would complain when it flushes it at the end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except SrganTrtError as error:
            console.traceback()
            console.error(str(error))
        except MemoryError:
            console.traceback()
            console.error("not enough memory: try --jobs 1 and a smaller --tile, or smaller pictures")
        except OSError as error:
            console.traceback()
            console.error(f"{error.filename or 'the system'}: {error.strerror or error}")
        except ImportError as error:
            console.traceback()
            console.error(f"{error}: 'srgan-trt doctor' tells what is missing")
        except KeyboardInterrupt:
            console.error("interrupted")
            return 130
    return 1


def _build(args: argparse.Namespace, console: Console) -> int:
    from .commands.build import build_engine, build_plan

    def given(*names: str) -> dict[str, Any]:
        found = {name: getattr(args, name) for name in names}
        # A zero is a wish too: of GPU 0, or of the least effort.
        return {name: value for name, value in found.items() if value is not None and value is not False}

    common = {
        "console": console,
        "out": args.output,
        "sha256": args.sha256,
        "precision": args.precision,
        "settings": given("input_range", "output_range", "custom_objects", "trust_model", "arch", "restores"),
        "quantising": given("calibration", "max_drop"),
    }
    options = given("tile", "batch", "compute_capability", "opt_level", "workspace", "gpu_id")
    if args.target is not None:
        build_engine(args.model, target=args.target, **common, **options)
        return 0
    if options:
        named = ", ".join(f"--{name.replace('_', '-')}" for name in options)
        console.error(f"{named}: of engines only: add --target tensorrt or tensorrt-rtx, or leave them out")
        return 2
    build_plan(args.model, **common)
    return 0


def _upscale(args: argparse.Namespace, console: Console) -> int:
    if args.output == "-" and (sys.stdout is None or sys.stdout.isatty()):
        console.error("standard output is a terminal or closed: pipe it on, or name a file with -o")
        return 2
    from .commands.batch import upscale_files
    from .imaging.decode import MAX_PIXELS

    settings = ("input_range", "output_range", "custom_objects", "trust_model", "arch")
    complete = upscale_files(
        args.inputs,
        console=console,
        output=args.output,
        format=args.format,
        overwrite=args.overwrite,
        model=args.model,
        sha256=args.sha256,
        build={name: value for name in settings if (value := getattr(args, name))},
        device=args.device,
        precision=args.precision,
        tile=args.tile,
        halo=args.halo,
        exact=args.exact,
        max_pixels=args.max_pixels or MAX_PIXELS,
        max_vram=args.max_vram,
        threads=args.threads,
        denoise=args.denoise,
        at_once=args.jobs,
    )
    return 0 if complete else 1


def _info(args: argparse.Namespace, console: Console) -> int:
    from .commands.describe import describe_file
    from .commands.roofline import describe_roofline
    from .resolve import resolve

    if args.tile and not args.roofline:
        console.error("--tile is the tile of --roofline: give both, or neither")
        return 2
    model = resolve(args.file, sha256=args.sha256)
    console.result(describe_roofline(model, tile=args.tile) if args.roofline else describe_file(model))
    return 0


def _train(args: argparse.Namespace, console: Console) -> int:
    from pathlib import Path

    from .commands.train import train
    from .training.recipe import Recipe

    given = {field.name: getattr(args, field.name) for field in dataclasses.fields(Recipe)}
    settings = {name: value for name, value in given.items() if value is not None}
    complete = train(
        Path(args.hr),
        console=console,
        out=Path(args.out),
        settings=settings,
        val=None if args.val is None else Path(args.val),
        validate_every=args.validate_every,
        resume=args.resume,
    )
    return 0 if complete else 130


def _evaluate(args: argparse.Namespace, console: Console) -> int:
    from pathlib import Path

    from .commands.evaluate import evaluate_folder

    evaluate_folder(
        Path(args.hr),
        console=console,
        low=None if args.lr is None else Path(args.lr),
        degrade=args.degrade,
        models=args.model,
        report=None if args.report is None else Path(args.report),
        vgg_weights=args.vgg_weights,
        device=args.device,
        precision=args.precision,
        denoise=args.denoise,
    )
    return 0


def _models(args: argparse.Namespace, console: Console) -> int:
    from .commands.models import list_models

    return 0 if list_models(console=console, measure=args.measure, as_json=args.json) else 1


def _tune(args: argparse.Namespace, console: Console) -> int:
    from .commands.tune import tune

    tune(
        args.model,
        console=console,
        sha256=args.sha256,
        device=args.device,
        precision=args.precision,
        seconds=args.seconds,
    )
    return 0


def _doctor(args: argparse.Namespace, console: Console) -> int:
    from .commands.doctor import findings

    works = True
    for finding in findings():
        console.result(str(finding))
        works &= finding.ok is not False
    return 0 if works else 1


_COMMANDS: dict[str, Callable[[argparse.Namespace, Console], int]] = {
    "build": _build,
    "doctor": _doctor,
    "evaluate": _evaluate,
    "info": _info,
    "models": _models,
    "serve": serve_command.run,
    "train": _train,
    "tune": _tune,
    "upscale": _upscale,
}


def _terminated(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
