"""What `srgan-trt build` does: a plan of a model file, in some precision, or an engine for NVIDIA GPUs of it."""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelError, SrganTrtError
from ..models.packaged import find_model, plan_target

if TYPE_CHECKING:
    from ..compiler.plan import Plan
    from .console import Console

AUTO = "auto"
_SIZE = (320, 480)
_ROUNDS = 7


def build_plan(
    model: str,
    *,
    console: Console,
    out: str | None = None,
    sha256: str | None = None,
    precision: str | None = None,
    settings: Mapping[str, Any],
    quantising: Mapping[str, Any],
) -> None:
    """Builds a plan and prints what was found and proved.

    settings: of `srgan_trt.build`, for a file that is no plan. quantising: its calibration and max_drop, if given.
    precision: also "auto", what is fastest on this machine among what loses too little, measured.
    Raises what `srgan_trt.build` raises.
    """
    from .describe import describe_build

    begin = time.perf_counter()
    path = find_model(model, sha256=sha256)
    target = Path(out) if out is not None else _target(model, path)
    if precision == AUTO:
        plan = _fastest(path, target, console, settings, quantising)
    else:
        plan = _built(path, target, precision, settings, quantising)
    console.result(describe_build(plan, seconds=time.perf_counter() - begin))


def build_engine(
    model: str,
    *,
    console: Console,
    target: str,
    out: str | None = None,
    sha256: str | None = None,
    precision: str | None = None,
    settings: Mapping[str, Any],
    quantising: Mapping[str, Any],
    **options: Any,
) -> None:
    """Builds an engine and prints what was built. options: those of `runtime.devices.build_engine_file`.

    Raises what that and `srgan_trt.build` raise.
    """
    from ..compiler.plan import is_plan, load_plan
    from ..runtime.devices import build_engine_file
    from .describe import describe_engine_file

    path = find_model(model, sha256=sha256)
    beside = _target(model, path)
    engine = Path(out) if out is not None else beside.with_name(f"{beside.name.removesuffix('.plan.onnx')}.engine")
    with tempfile.TemporaryDirectory(prefix="srgan-trt-") as folder:
        if path.is_file() and is_plan(path) and precision != "int8":
            _refuse(path, settings)
            plan = load_plan(path)
        else:
            wanted = "int8" if precision == "int8" else "fp32"
            plan = _built(path, Path(folder) / "plan.onnx", wanted, settings, quantising)
        build_engine_file(plan, engine, target=target, precision=precision, progress=_progress(console), **options)
        console.end_progress()
    console.result(describe_engine_file(engine))


def _target(model: str, path: Path) -> Path:
    chosen = plan_target(model)
    if chosen is not None:
        return chosen
    from ..compiler.plan import is_plan

    stem = path.name.removesuffix(".plan.onnx") if path.is_file() and is_plan(path) else path.stem
    return path.with_name(f"{stem}.plan.onnx")


def _built(
    path: Path, out: Path, precision: str | None, settings: Mapping[str, Any], quantising: Mapping[str, Any]
) -> Plan:
    from ..compiler.build import build
    from ..compiler.conversion import convert_plan
    from ..compiler.plan import is_plan, load_plan

    if quantising and precision != "int8":
        raise ModelError(f"{' and '.join(quantising)}: of int8 only: add --precision int8, or leave this out")
    if path.is_file() and is_plan(path) and precision not in (None, "fp32"):
        _refuse(path, settings)
        return convert_plan(load_plan(path), out, precision=precision, **quantising)
    return build(path, out=out, precision=precision, **settings, **quantising)


def _fastest(
    path: Path, target: Path, console: Console, settings: Mapping[str, Any], quantising: Mapping[str, Any]
) -> Plan:
    """Of the plans that lose too little, the one that is fastest here; it alone is kept."""
    from ..compiler.plan import is_plan, load_plan

    with tempfile.TemporaryDirectory(prefix="srgan-trt-") as folder:
        plans: dict[str, Plan] = {}
        if path.is_file() and is_plan(path):
            _refuse(path, settings)
            plans["fp32"] = load_plan(path)
        else:
            plans["fp32"] = _built(path, Path(folder) / "fp32.onnx", "fp32", settings, {})
        try:
            plans["int8"] = _built(plans["fp32"].path, Path(folder) / "int8.onnx", "int8", {}, quantising)
        except ModelError as error:
            console.note(f"int8 is left out: {error}")
        times = _times(plans)
        for name, (milliseconds, runs_in) in times.items():
            console.note(f"{name} plan, run in {runs_in}: {milliseconds:.1f} ms for {_SIZE[1]} x {_SIZE[0]} pixels")
        best = min(times, key=lambda name: times[name][0])
        console.note(f"{best} is the fastest here that keeps the picture")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(plans[best].path, target)
    return load_plan(target)


def _times(plans: Mapping[str, Plan]) -> dict[str, tuple[float, str]]:
    """Median milliseconds of each, in turns, and what it was computed in."""
    from contextlib import ExitStack

    from ..upscaler import Upscaler
    from .photo import photo

    picture = photo(*_SIZE)
    times: dict[str, list[float]] = {name: [] for name in plans}
    with ExitStack() as stack:
        ups = {name: stack.enter_context(Upscaler(plan)) for name, plan in plans.items()}
        for up in ups.values():
            up(picture)
        for _ in range(_ROUNDS if len(ups) > 1 else 1):
            for name, up in ups.items():
                begin = time.perf_counter()
                up(picture)
                times[name].append(time.perf_counter() - begin)
        return {name: (statistics.median(times[name]) * 1e3, str(up.info["precision"])) for name, up in ups.items()}


def _refuse(path: Path, settings: Mapping[str, Any]) -> None:
    if settings:
        raise SrganTrtError(f"{path} is a plan, built already: leave {', '.join(settings)} out")


def _progress(console: Console) -> Any:
    return lambda step, part: console.progress(step, part, 1)
