"""Options that several commands have."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import ModelError
from .argument_types import box, gpu_numbers, number_between, positive, seconds, value_range, whole

if TYPE_CHECKING:
    from ..compiler.plan import Plan
    from ..imaging.sources import Source, Target
    from ..manifest import Manifest
    from ..sizes import Size
    from ..upscaler import Upscaler
    from .console import Console

_CHANGE_RESULTS = "format quality device engine precision tile halo exact denoise tta color_fix".split()
"""Options that change the result."""
_CHANGE_FILMS = "codec crf preset start end deinterlace hdr steady no_audio".split()
"""Others that change a film."""
_RANGES = ("--input-range", "--output-range")


def add_quiet(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("-q", "--quiet", action="store_true", help=text)


def add_checksum(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--sha256",
        metavar="HASH",
        help="checksum that the model file must have; models at an http(s) address are fetched only with it",
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """`--device` or `--gpu-id`, both as `device`; None is "auto" (see `main.parse`)."""
    either = parser.add_mutually_exclusive_group()
    either.add_argument(
        "--device",
        metavar="auto|cpu|cuda[:N]",
        help="device that runs the network (default: auto, an NVIDIA GPU if one works, else the CPU)",
    )
    either.add_argument(
        "--gpu-id",
        dest="device",
        type=gpu_numbers,
        metavar="N[,N]",
        help="GPUs to use, the same as --device cuda:N[,N]; several share the pictures",
    )


def add_precision(parser: argparse.ArgumentParser, default: str = "as that of upscale") -> None:
    parser.add_argument(
        "--precision",
        metavar="fp32|bf16|fp16|int8",
        help=f"precision of the network's arithmetic (default: {default})",
    )


def add_denoise(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--denoise",
        choices=("auto", "off", "0", "1", "2", "3"),
        help="level at which noise and JPEG blocks are removed first, 0 (little) to 3, for models that were trained on "
        "clean pictures (default: auto, by how a file was compressed, if the extra [denoise] is installed)",
    )


def add_size(parser: argparse.ArgumentParser) -> None:
    """The size of the results: at most one of these. See `wanted_size`."""
    either = parser.add_argument_group(
        "size of the result, in pixels (default: what the network makes)"
    ).add_mutually_exclusive_group()
    either.add_argument("--scale", type=number_between(1, 16), metavar="F", help="times as large, 1 to 16")
    either.add_argument("--width", type=positive, metavar="N", help="so wide, whatever the height")
    either.add_argument("--height", type=positive, metavar="N", help="so high, whatever the width")
    either.add_argument("--max-side", type=positive, metavar="N", help="the longer side so long")
    either.add_argument("--fit", type=box, metavar="WxH", help="as large as fits into W x H")


def wanted_size(args: argparse.Namespace) -> Size | None:
    """What `add_size` was given."""
    from ..sizes import size_of

    size = args.fit or args.max_side
    if args.width or args.height:
        size = (args.width, args.height)
    return size_of(args.scale, size)


def add_texture(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--texture",
        type=number_between(0, 1),
        metavar="0..1",
        help="between a model trained on pixels (0: smooth) and its GAN (1: crisp, invented), one of which --model "
        "names; the mix is built once and cached",
    )


def add_after(parser: argparse._ActionsContainer) -> None:
    """What is done with the network's result."""
    parser.add_argument(
        "--tta",
        action="store_true",
        help="mean of the network's results for the picture's 8 turns and mirrors: closer to the truth by 0.1 to "
        "0.2 dB, in 8 times the time; of a GAN it takes texture away",
    )
    parser.add_argument(
        "--color-fix",
        action="store_true",
        help="bring the colours of the result, as means over 8 x 8 pixels of the picture, to the picture's: for "
        "networks that shift them (build and info say by how much)",
    )


def open_model(args: argparse.Namespace) -> Plan:
    """The plan of `--model`, mixed as `--texture` says."""
    from ..resolve import resolve, textured_plan

    if args.texture is None:
        return resolve(args.model, sha256=args.sha256).plan(**opening(args))
    if others := [*given(args, "sha256"), *opening(args)]:
        raise ModelError(
            f"{option_names(others)}: not with --texture, which is between two models of this package: leave it out"
        )
    return textured_plan(args.model, args.texture)


def add_film_options(parser: argparse._ActionsContainer) -> None:
    """How films are read and written."""
    parser.add_argument(
        "--codec",
        metavar="NAME",
        help="encoder: libx264, libx265, libsvtav1, libvpx-vp9, prores_ks, ffv1, h264_nvenc... (default: libx264, for "
        ".webm libsvtav1)",
    )
    parser.add_argument("--crf", type=whole, metavar="N", help="the encoder's quality, less is better (default: 17)")
    parser.add_argument("--preset", metavar="NAME", help="the encoder's speed (default: its own)")
    parser.add_argument("--start", type=seconds, metavar="TIME", help="first moment, as 90, 1:30 or 0:01:30.5")
    parser.add_argument("--end", type=seconds, metavar="TIME", help="the moment before which it ends")
    parser.add_argument(
        "--deinterlace",
        choices=("auto", "off"),
        default="auto",
        help="whole frames of interlaced films (default: auto, where frames say that they are)",
    )
    parser.add_argument(
        "--hdr",
        choices=("refuse", "keep"),
        default="refuse",
        help="films in HDR, which the networks were not trained on: keep treats their levels as a picture's",
    )
    parser.add_argument(
        "--steady",
        action="store_true",
        help="average noise over time where nothing moves, before the network: still scenes do not shimmer",
    )
    parser.add_argument("--no-audio", action="store_true", help="leave the sound out")
    parser.add_argument("--no-resume", action="store_true", help="start a film that was begun before anew")
    parser.add_argument("--first-frame", action="store_true", help="of a moving GIF, PNG or WebP, the first frame only")


def add_ray(parser: argparse._ActionsContainer) -> None:
    """Whether a cluster does the work, and by what."""
    parser.add_argument(
        "--ray",
        metavar="auto|ADDRESS",
        help="work on a Ray cluster, with -o a folder that all its machines reach; auto: that of this machine, else "
        "processes here",
    )
    parser.add_argument("--actors", type=positive, metavar="N", help="how many (default: as there are cores for)")
    parser.add_argument("--cpus-per-actor", type=positive, metavar="N", help="cores and threads of each (default: 4)")
    parser.add_argument(
        "--gpus-per-actor", type=number_between(0, 64), metavar="N", help="GPUs of each, also 0.5 (default: none)"
    )


def add_opening(parser: argparse._ActionsContainer) -> None:
    """How a generator file is opened."""
    for option in _RANGES:
        parser.add_argument(
            option,
            type=value_range,
            metavar="A,B",
            help=f"value range of the network's {option[2:-6]}, e.g. -1,1 (default: found by consistency)",
        )
    parser.add_argument(
        "--custom-objects", metavar="FILE.py", help="Python file with the model's own layers; it is run"
    )
    parser.add_argument(
        "--trust-model",
        action="store_true",
        help="run Python code that the model file carries, or let spandrel build it",
    )
    parser.add_argument(
        "--arch", choices=("paper", "superresolution-gans", "compact"), help="architecture of a weights-only file"
    )
    parser.add_argument(
        "--layer",
        metavar="NAME",
        help="generator within a Keras file, or its layer that gives the picture; output of an ONNX file or SavedModel",
    )
    parser.add_argument(
        "--enlarge",
        type=whole,
        metavar="N",
        help="times that pictures are enlarged, bicubic, before a network that keeps their size (SRCNN, VDSR)",
    )


def opening(args: argparse.Namespace) -> dict[str, Any]:
    """What was given of `add_opening`."""
    return given(args, "input_range", "output_range", "custom_objects", "trust_model", "arch", "layer", "enlarge")


def open_upscaler(plan: Plan, args: argparse.Namespace, console: Console) -> Upscaler:
    """An `Upscaler` with the options of `upscale`; `console` shows what is built."""
    from ..upscaler import Upscaler

    if args.tta:
        console.note("--tta: the network runs 8 times for each picture, which takes 8 times as long")
    return Upscaler(plan, **of_upscaler(args), build_progress=console.build_progress)


def of_upscaler(args: argparse.Namespace) -> dict[str, Any]:
    """The options of `upscale` that an `Upscaler` takes."""
    names = "device engine precision tile halo exact max_pixels max_vram threads denoise tta color_fix"
    return {name: getattr(args, name) for name in names.split()}


def open_manifest(
    args: argparse.Namespace, plan: Plan, label: str, console: Console, *, films: bool = False, told: bool = False
) -> Manifest | None:
    """That of `--manifest`; for `films` its rows hold with their options, too. told: whether what it has of other plans
    was said before."""
    from ..manifest import Manifest
    from .summary import pictures

    if args.manifest is None:
        return None
    options = {"label": label, **given(args, *_CHANGE_RESULTS, *(_CHANGE_FILMS if films else ()))}
    named = f"{plan.spec.name} {plan.body_hash}"
    manifest = Manifest(args.manifest, plan=named, options=options, read_only=args.dry_run)
    if manifest.others and not told:
        others = pictures(manifest.others)
        console.note(f"{args.manifest} has {others} of another plan than {plan.spec.name}: they count for nothing")
    return manifest


def given(args: argparse.Namespace, *names: str) -> dict[str, Any]:
    """Those of the options that were given. A zero is: GPU 0, or a loss of 0 dB."""
    return {name: value for name in names if (value := getattr(args, name)) is not None and value is not False}


def option_names(names: Iterable[str]) -> str:
    """As they are written on the command line."""
    return ", ".join("--" + name.replace("_", "-") for name in names)


def already_done(args: argparse.Namespace, manifest: Manifest | None) -> Callable[[Source, Target], bool]:
    """Tells of a picture whose result exists whether it is left out."""
    return lambda source, target: args.skip_existing or (manifest is not None and manifest.is_done(source, target))


def joined(arguments: Sequence[str]) -> list[str]:
    """`--input-range -1,1` as `--input-range=-1,1`: argparse would take -1,1 for an option."""
    result: list[str] = []
    for argument in arguments:
        if result and result[-1] in _RANGES and argument.startswith("-"):
            result[-1] += f"={argument}"
        else:
            result.append(argument)
    return result
