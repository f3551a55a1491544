"""`srgan-trt build`: a plan of a model file, in some precision, or an engine for NVIDIA GPUs of it."""

from __future__ import annotations

import dataclasses
import statistics
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..compiler.plan import Plan, check_target, load_plan
from ..errors import DeviceError, ModelError, SrganTrtError
from ..files import atomic_write
from ..models.registry import plan_target
from ..resolve import ModelFile, resolve
from .argument_types import compute_capability, decibels, positive, whole
from .options import add_checksum, add_opening, add_quiet, given, opening, option_names

if TYPE_CHECKING:
    from .console import Console

AUTO = "auto"
_SIZE = (320, 480)
_ROUNDS = 7


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="a Keras .h5 or .keras file, a SavedModel folder, a super-resolution .onnx, a .pth or .safetensors, an "
        "ncnn .param, the http(s) or hf:OWNER/REPO@REVISION/FILE address of a file, or a name that 'srgan-trt models' "
        "lists",
    )
    add_checksum(parser)
    parser.add_argument(
        "-o",
        "--output",
        metavar="PLAN",
        help="file to write (default: model.plan.onnx, or model.engine, beside model.h5)",
    )
    parser.add_argument(
        "--precision",
        choices=(AUTO, "fp32", "fp16", "int8"),
        help="precision of weights and activations; auto: the fastest on this machine that keeps the picture, measured "
        "(default: fp32 in a plan; in an engine auto if a GPU that it is for is here, else fp16)",
    )
    quantising = parser.add_argument_group("for --precision int8")
    quantising.add_argument(
        "--calibration",
        metavar="DIR",
        help="folder of pictures like those to be upscaled, in full size (default: photos of the package)",
    )
    quantising.add_argument(
        "--max-drop",
        type=decibels,
        metavar="DB",
        help="largest PSNR loss on held-out pictures, in dB (default: 0.1)",
    )
    engine = parser.add_argument_group("for --target, which builds an engine for NVIDIA GPUs")
    engine.add_argument(
        "--target",
        choices=("tensorrt", "tensorrt-rtx"),
        help="builder: tensorrt builds on the GPU that is here; tensorrt-rtx needs none",
    )
    engine.add_argument(
        "--tile",
        type=positive,
        metavar="N",
        help="largest side of a tile, in pixels (default: what suits the network)",
    )
    engine.add_argument(
        "--batch", type=positive, metavar="N", help="tiles in one run, at most (default: what suits the GPU)"
    )
    engine.add_argument(
        "--compute-capability",
        type=compute_capability,
        metavar="X.Y",
        help="compute capability of the GPU to build for, with tensorrt-rtx (default: all from Ampere on)",
    )
    engine.add_argument(
        "--gpu-id",
        type=whole,
        metavar="N",
        help="GPU of this machine to build for (default: 0 with tensorrt, none of them with tensorrt-rtx)",
    )
    parser.add_argument(
        "--restores",
        action="store_true",
        help="mark the network as trained on noisy, compressed pictures (train --degrade real): nothing is denoised "
        "before it",
    )
    add_opening(parser)
    add_quiet(parser, "do not print the table")


def run(args: Namespace, console: Console) -> int:
    """Builds, and prints what was found and proved. Raises what `srgan_trt.build` and `build_engine_file` raise."""
    settings = {**opening(args), **given(args, "restores")}
    quantising = given(args, "calibration", "max_drop")
    options = given(args, "tile", "batch", "compute_capability", "gpu_id")
    if args.target is not None:
        _build_engine(args, console, settings, quantising, target=args.target, **options)
    elif options:
        named = option_names(options)
        console.error(f"{named}: of engines only: add --target tensorrt or tensorrt-rtx, or leave them out")
        return 2
    else:
        _build_plan(args, console, settings, quantising)
    return 0


def _build_plan(args: Namespace, console: Console, settings: Mapping[str, Any], quantising: Mapping[str, Any]) -> None:
    """settings: of `srgan_trt.build`, for a file that is not a plan. quantising: calibration and max_drop, if given."""
    from .info import describe_build

    begin = time.perf_counter()
    source = resolve(args.model, sha256=args.sha256)
    target = Path(args.output) if args.output is not None else _target(args.model, source)
    check_target(target, source=source.path)
    if args.precision == AUTO:
        plan = _fastest(source, target, console, settings, quantising)
    else:
        plan = _built(source, target, args.precision, settings, quantising)
        if (why := _why_not_here(plan)) is not None:
            console.note(f"not for this machine's CPU: {why}")
    console.result(describe_build(plan, seconds=time.perf_counter() - begin))


def _build_engine(
    args: Namespace,
    console: Console,
    settings: Mapping[str, Any],
    quantising: Mapping[str, Any],
    *,
    target: str,
    **options: Any,
) -> None:
    """options: those of `runtime.devices.build_engine_file`.

    Without a precision, where a GPU that it is for is here, the fastest that loses too little is measured on it;
    elsewhere it is fp16, or what the plan is in.
    """
    from ..runtime.devices import build_engine_file, int8_blocker, is_engine, timing_blocker
    from .info import describe_engine_file

    precision = args.precision
    source = resolve(args.model, sha256=args.sha256)
    beside = _target(args.model, source)
    engine = (
        Path(args.output)
        if args.output is not None
        else beside.with_name(f"{beside.name.removesuffix('.plan.onnx')}.engine")
    )
    check_target(engine, source=source.path, kind="engine", is_ours=is_engine)
    named = {name: options[name] for name in ("compute_capability", "gpu_id") if name in options}
    if precision == AUTO or (precision is None and not _has_one_precision(source)):
        hindrance = timing_blocker(target=target, **named)
        if hindrance is None:
            precision = AUTO
        elif precision == AUTO:
            raise SrganTrtError(
                f"precision auto times engines on a GPU that they are for, and {hindrance}: use --precision fp16 or "
                "int8"
            )
    no_int8 = int8_blocker(target)
    if precision == "int8" and no_int8 is not None:  # before the plan is made, which takes minutes
        raise DeviceError(no_int8)
    if precision == AUTO and no_int8 is not None:
        console.note(f"int8 is left out: {no_int8}")
        precision = "fp16"
    if precision == AUTO:
        _fastest_engine(source, engine, console, settings, quantising, target=target, **options)
    else:
        with tempfile.TemporaryDirectory(prefix="srgan-trt-") as folder:
            plan = _plan_for(source, Path(folder), precision, settings, quantising)
            build_engine_file(
                plan, engine, target=target, precision=precision, progress=console.build_progress, **options
            )
        console.end_progress()
    console.result(describe_engine_file(engine))


def _plan_for(
    source: ModelFile, folder: Path, precision: str | None, settings: Mapping[str, Any], quantising: Mapping[str, Any]
) -> Plan:
    """The plan that an engine of `precision` is built of: the one that is there, or one made in `folder`."""
    if source.kind == "plan" and precision != "int8":
        _refuse(source, settings)
        return load_plan(source.path)
    wanted = "int8" if precision == "int8" else "fp32"
    return _built(source, folder / f"{wanted}.onnx", wanted, settings, quantising)


def _has_one_precision(source: ModelFile) -> bool:
    """Whether this is a plan that is not in fp32, of which no other can be made."""
    return source.kind == "plan" and load_plan(source.path).spec.precision != "fp32"


def _fastest_engine(
    source: ModelFile,
    out: Path,
    console: Console,
    settings: Mapping[str, Any],
    quantising: Mapping[str, Any],
    **options: Any,
) -> None:
    """Of the engines that lose too little and can be built, the one that is fastest on the GPU that is here; it alone
    is kept."""
    from ..runtime.devices import build_engine_file

    with tempfile.TemporaryDirectory(prefix="srgan-trt-") as folder:
        plans = _candidates(source, Path(folder), console, settings, quantising)
        engines = {}
        for name, plan in zip(("fp16", "int8"), plans.values(), strict=False):
            made = Path(folder) / f"{name}.engine"
            try:
                build_engine_file(plan, made, precision=name, progress=console.build_progress, **options)
            except DeviceError as error:
                if name != "int8":
                    raise
                console.note(f"int8 is left out: {error}")
            else:
                engines[name] = made
            finally:
                console.end_progress()
        best = _told_fastest(engines, console, "engine", device=f"cuda:{options.get('gpu_id', 0)}")
        atomic_write(out, engines[best].read_bytes())


def _target(model: str, source: ModelFile) -> Path:
    chosen = plan_target(model)
    if chosen is not None:
        return chosen
    path = source.path
    stem = path.name.removesuffix(".plan.onnx") if source.kind == "plan" else path.stem
    return path.with_name(f"{stem}.plan.onnx")


def _built(
    source: ModelFile, out: Path, precision: str | None, settings: Mapping[str, Any], quantising: Mapping[str, Any]
) -> Plan:
    from ..compiler.build import build
    from ..compiler.conversion import convert_plan

    if quantising and precision != "int8":
        raise ModelError(f"{' and '.join(quantising)}: of int8 only: add --precision int8, or leave this out")
    if source.kind == "plan" and precision not in (None, "fp32"):
        _refuse(source, settings)
        return convert_plan(load_plan(source.path), out, precision=precision, **quantising)
    return build(source.path, out=out, precision=precision, **{**source.settings, **settings}, **quantising)


def _fastest(
    source: ModelFile, target: Path, console: Console, settings: Mapping[str, Any], quantising: Mapping[str, Any]
) -> Plan:
    """Of the plans that lose too little, the one that is fastest here; it alone is kept."""
    with tempfile.TemporaryDirectory(prefix="srgan-trt-") as folder:
        plans = _candidates(source, Path(folder), console, settings, quantising)
        if "int8" in plans and (why := _why_not_here(plans["int8"])) is not None:
            console.note(f"int8 is left out: {why}")
            del plans["int8"]
        best = _told_fastest({name: plan.path for name, plan in plans.items()}, console, "plan", device="auto")
        atomic_write(target, plans[best].path.read_bytes())
    return load_plan(target)


def _candidates(
    source: ModelFile, folder: Path, console: Console, settings: Mapping[str, Any], quantising: Mapping[str, Any]
) -> dict[str, Plan]:
    """The plan in fp32, and that in int8 if it loses too little."""
    if _has_one_precision(source):
        raise SrganTrtError(
            f"{source.path} is built in one precision already: precision auto needs the model, or a plan in fp32"
        )
    plans = {"fp32": _plan_for(source, folder, None, settings, {})}
    try:
        exact = ModelFile(path=plans["fp32"].path, kind="plan")
        plans["int8"] = _built(exact, folder / "int8.onnx", "int8", {}, quantising)
    except ModelError as error:
        console.note(f"int8 is left out: {error}")
    return plans


def _why_not_here(plan: Plan) -> str | None:
    """Why this machine's CPU must not run `plan`, in words; None if it may, or the plan has no picture to tell by."""
    if plan.self_test is None:
        return None
    from ..upscaler import Upscaler

    try:
        Upscaler(plan, device="cpu").close()
    except DeviceError as error:
        return str(error)
    return None


def _told_fastest(files: Mapping[str, Path], console: Console, kind: str, *, device: str) -> str:
    """The name of the plan or engine with the least median, after all were said."""
    times = _times(files, device=device)
    for name, (milliseconds, runs_in) in times.items():
        console.note(f"{name} {kind}, run in {runs_in}: {milliseconds:.1f} ms for {_SIZE[1]} x {_SIZE[0]} pixels")
    best = min(times, key=lambda name: times[name][0])
    console.note(f"{best} is the fastest here that keeps the picture")
    return best


def _times(files: Mapping[str, Path], *, device: str) -> dict[str, tuple[float, str]]:
    """Median milliseconds of each plan or engine (of our own making), in turns, and what it was computed in."""
    from contextlib import ExitStack

    from ..resolve import open_plan
    from ..upscaler import Upscaler
    from .sample_image import photo

    picture = photo(*_SIZE)
    times: dict[str, list[float]] = {name: [] for name in files}
    # A plan of this package has a twin in int8, which would run in its place.
    alone = {name: dataclasses.replace(open_plan(file, trust_model=True), int8=None) for name, file in files.items()}
    with ExitStack() as stack:
        ups = {name: stack.enter_context(Upscaler(plan, device=device)) for name, plan in alone.items()}
        for up in ups.values():
            up(picture)
        for _ in range(_ROUNDS if len(ups) > 1 else 1):
            for name, up in ups.items():
                begin = time.perf_counter()
                up(picture)
                times[name].append(time.perf_counter() - begin)
        return {name: (statistics.median(times[name]) * 1e3, str(up.info["precision"])) for name, up in ups.items()}


def _refuse(source: ModelFile, settings: Mapping[str, Any]) -> None:
    if settings:
        raise SrganTrtError(f"{source.path} is a plan, built already: leave {', '.join(settings)} out")
