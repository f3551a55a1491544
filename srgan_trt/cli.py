"""The command line: parse, call, print."""

from __future__ import annotations

import argparse
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from types import FrameType

from ._version import __version__
from .commands.console import PROGRAM, Console
from .errors import SrganTrtError

FORMATS = ("png", "jpg", "webp", "tiff")
"""Those of imaging/encode.py, not imported for it: help should come at once."""
_RANGES = ("--input-range", "--output-range")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `srgan-trt` with these arguments (None: those of the process). Returns the exit status.

    0: everything came out; 1: something did not, and was said; 2: wrong usage; 130: Ctrl-C.
    """
    if argv is None:
        # So that a killed program, too, takes its unfinished files away.
        signal.signal(signal.SIGTERM, _terminated)
    args = _parser().parse_args(_joined(sys.argv[1:] if argv is None else argv))
    run: Callable[[argparse.Namespace, Console], int] = args.run
    with Console(quiet=args.quiet, results_to=sys.stderr if args.picture_on_stdout(args) else None) as console:
        try:
            return run(args, console)
        except BrokenPipeError:
            # Whoever read our output has gone; Python would complain when it flushes it at the end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except SrganTrtError as error:
            console.error(str(error))
        except MemoryError:
            console.error("not enough memory: try --jobs 1 and a smaller --tile, or smaller pictures")
        except OSError as error:
            console.error(f"{error.filename or 'the system'}: {error.strerror or error}")
        except ImportError as error:
            console.error(f"{error}: 'srgan-trt doctor' tells what is missing")
        except KeyboardInterrupt:
            console.error("interrupted")
            return 130
    return 1


def _build(args: argparse.Namespace, console: Console) -> int:
    from .commands.describe import describe_build
    from .compiler.build import build
    from .models.packaged import find_model

    begin = time.perf_counter()
    # The plan of a packaged generator does not belong beside it, into Python's folders.
    out = args.output or (None if os.path.lexists(args.model) else f"{args.model}.plan.onnx")
    plan = build(
        find_model(args.model),
        out=out,
        precision=args.precision,
        input_range=args.input_range,
        output_range=args.output_range,
        custom_objects=args.custom_objects,
        trust_model=args.trust_model,
        arch=args.arch,
    )
    console.result(describe_build(plan, seconds=time.perf_counter() - begin))
    return 0


def _upscale(args: argparse.Namespace, console: Console) -> int:
    if args.output == "-" and (sys.stdout is None or sys.stdout.isatty()):
        console.error("standard output is a terminal or closed: pipe it on, or name a file with -o")
        return 2
    from .commands.batch import upscale_files
    from .commands.conveyor import AT_ONCE
    from .imaging.decode import MAX_PIXELS

    settings = ("input_range", "output_range", "custom_objects", "trust_model", "arch")
    complete = upscale_files(
        args.inputs,
        console=console,
        output=args.output,
        format=args.format,
        overwrite=args.overwrite,
        model=args.model,
        build={name: value for name in settings if (value := getattr(args, name))},
        device=args.device,
        precision=args.precision,
        tile=args.tile,
        halo=args.halo,
        exact=args.exact,
        max_pixels=args.max_pixels or MAX_PIXELS,
        at_once=args.jobs or AT_ONCE,
    )
    return 0 if complete else 1


def _info(args: argparse.Namespace, console: Console) -> int:
    from .commands.describe import describe_file
    from .models.packaged import find_model

    console.result(describe_file(find_model(args.file)))
    return 0


def _doctor(args: argparse.Namespace, console: Console) -> int:
    from .commands.doctor import findings

    works = True
    for finding in findings():
        console.result(str(finding))
        works &= finding.ok is not False
    return 0 if works else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Keras SRGAN generators as fast, seamless upscalers.",
        epilog=f"'{PROGRAM} COMMAND --help' tells the options of a command.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    upscale = _command(commands, "upscale", _upscale, "upscale pictures")
    upscale.set_defaults(picture_on_stdout=lambda args: args.output == "-")
    upscale.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="a picture, a folder (searched to the bottom), a pattern, an http(s) address, or - for standard input",
    )
    upscale.add_argument(
        "-o",
        "--output",
        metavar="OUTPUT",
        help="a file, a folder, or - for standard output (default: photo_x4.png beside photo.jpg)",
    )
    upscale.add_argument(
        "--model",
        metavar="FILE",
        help="a plan, a Keras or ONNX file (its plan is built once and cached), srgan-x4 (default) or srresnet-x4",
    )
    upscale.add_argument("--format", choices=FORMATS, help="of the results (default: that of OUTPUT's name, else png)")
    upscale.add_argument("--overwrite", action="store_true", help="replace files that exist")
    upscale.add_argument("--device", default="auto", metavar="auto|cpu", help="what runs the network (default: auto)")
    upscale.add_argument(
        "--precision",
        metavar="fp32|bf16",
        help="of the network's arithmetic (default: bf16 where the CPU has it and the picture has 8 bits)",
    )
    upscale.add_argument("--tile", type=_positive, metavar="N", help="largest side that the network sees, in pixels")
    upscale.add_argument("--halo", type=_whole, metavar="N", help="pixels of context around a tile")
    upscale.add_argument("--exact", action="store_true", help="the whole receptive field around each tile, in fp32")
    upscale.add_argument(
        "--jobs",
        type=_positive,
        metavar="N",
        help="pictures in the works: read, enlarged and written at the same time (default: 3; 1 takes least memory)",
    )
    upscale.add_argument(
        "--max-pixels", type=_positive, metavar="N", help="largest picture that is taken (default: 200 million)"
    )
    _quiet(upscale, "say only what went wrong")
    _opening(upscale.add_argument_group("for a --model that is no plan yet"))

    build = _command(commands, "build", _build, "build a plan of a model file")
    build.add_argument(
        "model",
        metavar="MODEL",
        help="a Keras .h5 or .keras file, a SavedModel folder, a super-resolution .onnx, srgan-x4 or srresnet-x4",
    )
    build.add_argument("-o", "--output", metavar="PLAN", help="the plan (default: model.plan.onnx beside model.h5)")
    build.add_argument(
        "--precision", choices=("fp32", "fp16"), help="of weights and activations in the plan (default: fp32)"
    )
    _opening(build)
    _quiet(build, "print no table")

    info = _command(commands, "info", _info, "tell what a plan or a model file is")
    info.add_argument("file", metavar="FILE", help="a plan, or any model file")

    _command(commands, "doctor", _doctor, "tell what this machine can run, and how to mend what it cannot")
    return parser


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    run: Callable[[argparse.Namespace, Console], int],
    text: str,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False)
    parser.set_defaults(run=run, quiet=False, picture_on_stdout=lambda args: False)
    return parser


def _quiet(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("-q", "--quiet", action="store_true", help=text)


def _opening(parser: argparse._ActionsContainer) -> None:
    """How a generator file is opened."""
    for option in _RANGES:
        parser.add_argument(
            option,
            type=_range,
            metavar="A,B",
            help=f"network values of black and white at its {option[2:-6]}, like -1,1 (default: found by consistency)",
        )
    parser.add_argument(
        "--custom-objects", metavar="FILE.py", help="Python file with the model's own layers; it is run"
    )
    parser.add_argument("--trust-model", action="store_true", help="run Python code that the model file carries")
    parser.add_argument("--arch", choices=("paper", "seed"), help="architecture of a file that holds weights only")


def _range(text: str) -> tuple[float, float]:
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no range: give two numbers like -1,1") from None
    if not -math.inf < low < high < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no range: give the smaller number first, like -1,1")
    return low, high


def _positive(text: str) -> int:
    number = _whole(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is less than 1")
    return number


def _whole(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is less than 0")
    return number


def _joined(arguments: Sequence[str]) -> list[str]:
    """`--input-range -1,1` as `--input-range=-1,1`: argparse would take -1,1 for an option."""
    result: list[str] = []
    for argument in arguments:
        if result and result[-1] in _RANGES and argument.startswith("-"):
            result[-1] += f"={argument}"
        else:
            result.append(argument)
    return result


def _terminated(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
