"""`srgan-trt info`, and what `srgan-trt build` prints: plans, engines and model files in words."""

from __future__ import annotations

import textwrap
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DeviceError, ModelError, pip_command
from .options import add_checksum

if TYPE_CHECKING:
    import onnx

    from ..compiler.analysis import Layer
    from ..compiler.plan import Plan
    from ..compiler.report import Int8, Ranges, Rewrite
    from ..models.keras_file import KerasFile
    from ..resolve import ModelFile
    from ..spec import NetworkSpec
    from .console import Console

Rows = Iterator[tuple[str, str]]

_LABEL = 12


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "file", metavar="FILE", help="a plan, an engine, or any model file that --model of upscale takes"
    )
    add_checksum(parser)


def run(args: Namespace, console: Console) -> int:
    from ..resolve import resolve

    console.result(describe_file(resolve(args.file, sha256=args.sha256)))
    return 0


def describe_build(plan: Plan, *, seconds: float) -> str:
    """What building `plan` read, found, rewrote and proved, as a table."""
    size = plan.path.stat().st_size / 1e6
    rows = [*plan_rows(plan), ("plan", f"{plan.path} ({size:.1f} MB), built in {seconds:.1f} s")]
    return _with_sensitivities(_table(rows), plan)


def describe_engine_file(path: Path) -> str:
    """What an engine file says of itself, and its layers as they were really built. Raises PlanError if it is none."""
    from ..runtime.devices import describe_engine

    rows, layers = describe_engine(path)
    return f"{_table(rows)}\n\n{layers}"


def describe_file(model: ModelFile) -> str:
    """What `model` is: a plan or an engine with its spec, report and layers; or another model file, and how a plan is
    built of it.

    Raises ModelError for what is not a model, PlanError for a damaged plan.
    """
    from ..models.faults import faults_of

    path = model.path
    if model.kind == "plan":
        plan = model.plan()
        with faults_of(str(path)):  # a plan that was made by hand may tell anything
            return _describe_plan(plan)
    if model.kind == "engine":
        return describe_engine_file(path)
    if (path / "saved_model.pb").is_file():
        rows = [("model", f"{path}: a TensorFlow SavedModel")]
    elif path.is_dir():
        raise ModelError(f"{path} is a folder without a saved_model.pb: not a SavedModel; name a model file")
    else:
        rows = list(_foreign(path))
    return _table([*rows, ("plan", f"none yet: srgan-trt build {_quoted(path)}")])


def _describe_plan(plan: Plan) -> str:
    import onnx

    from ..compiler import graph
    from ..compiler.analysis import layers
    from ..runtime.devices import cpu_choice, cpu_facts, cpu_tunings
    from .tune import format_tuning

    notes: tuple[str, ...] = ()
    try:
        facts = cpu_facts()
        precision, notes = cpu_choice(plan)
        runs = f"{precision} on this CPU ({facts['name']}), by {facts['engine']}"
        tunings = [f"in {precision}: {format_tuning(found)}" for precision, found in cpu_tunings(plan).items()]
    except DeviceError as error:
        runs, tunings = f"not on this machine: {error}", []
    proto = onnx.load(str(plan.path))
    size = plan.path.stat().st_size / 1e6
    rows = [
        ("plan", f"{plan.path} ({size:.1f} MB)"),
        *plan_rows(plan),
        *_int8_plan_rows(plan.int8),
        ("runs in", runs),
        *(("", note) for note in notes),
        ("tuned", "; ".join(tunings) or "not on this machine: srgan-trt tune"),
        ("source", f"sha256 {plan.spec.source_hash}"),
        ("operators", _counted(proto)),
    ]
    text = f"{_table(rows)}\n\n{_layer_table(layers(graph.from_proto(proto)))}"
    return _with_sensitivities(text, plan if plan.int8 is None else plan.int8)


def _int8_plan_rows(int8_plan: Plan | None) -> Rows:
    """The plan in int8 that a packaged model has beside its plan."""
    if int8_plan is not None:
        yield "int8 plan", f"{int8_plan.path} ({int8_plan.path.stat().st_size / 1e6:.1f} MB)"
        if "int8" in int8_plan.report:
            yield from _int8_rows(int8_plan.report["int8"])


def plan_rows(plan: Plan) -> Rows:
    """The facts that a plan carries: its spec and the compiler's report."""
    from ..models.denoisers import denoisers_installed

    spec, report = plan.spec, plan.report
    yield "model", f"{spec.name}{': ' + report['kind'] if 'kind' in report else ''}"
    for note in report.get("notes", ()):
        yield "", note
    yield "scale", f"x{spec.scale}" if spec.scale > 1 else "x1: a restorer, it keeps the size"
    if "ranges" in report:
        yield from _range_rows(report["ranges"])
    if "shift" in report:
        red, green, blue = report["shift"]
        yield "colours", f"shifted by {red:+.1f} red, {green:+.1f} green, {blue:+.1f} blue, levels of 255, in the mean"
    yield from _rewrite_rows(report.get("rewrites", ()))
    if {"macs_before", "macs_after", "difference"} <= report.keys():
        more = " (more, but in shapes that run faster)" if report["macs_after"] > report["macs_before"] else ""
        yield "work", f"{_mega(report['macs_before'])} -> {_mega(report['macs_after'])} MMAC per input pixel{more}"
        yield "difference", f"at most {_share(report['difference'])} of the range, measured from the file to the plan"
    else:
        yield "work", f"{_mega(spec.macs)} MMAC per input pixel"
    yield "precision", f"{spec.precision} in the plan"
    if spec.restores:
        yield "restores", "noise, blur and JPEG blocks, by its training: nothing is denoised before it"
    elif denoisers_installed():
        yield "denoise", "as a file was compressed, before this network (--denoise off: never)"
    else:
        yield "denoise", f"never here: {pip_command('denoise')} takes JPEG blocks away before this network"
    if "int8" in report:
        yield from _int8_rows(report["int8"])
    yield "sees", _field(spec)
    yield "tiles", _tiles(spec)
    shuffle = f", shuffled by {spec.shuffle} on the way out" if spec.shuffle > 1 else ""
    yield (
        "layout",
        (
            f"3 channels {_range(spec.input_range)} in, {3 * spec.shuffle**2} channels {_range(spec.output_range)} "
            f"out{shuffle}"
        ),
    )


def _range_rows(ranges: Ranges) -> Rows:
    sure = f"{ranges['consistency']:.1f} dB consistent" if ranges["consistency"] is not None else None
    if ranges["runner_up"] is not None:
        sure = f"{sure}, the runner-up {ranges['runner_up']:.1f} dB"
    both = (ranges["input_range"], ranges["output_range"])
    for label, found, known in zip(("input", "output"), both, ranges["given"], strict=True):
        how = "given, or told by the kind of file" if known else "found"
        yield label, f"{_range(found)}, {how}{f' ({sure})' if sure else ''}"
    if ranges["alike"]:
        pairs = ", ".join(f"{_range(a)} to {_range(b)}" for a, b in ranges["alike"])
        yield "", f"as good: {pairs}"


def _rewrite_rows(rewrites: Sequence[Rewrite]) -> Rows:
    for number, check in enumerate(rewrites):
        if not check["count"]:
            what = "nothing to do"
        elif check["kept"]:
            what = f"{check['count']} done, moved the output by {_share(check['difference'])} of its range"
        else:
            what = f"left out: it would move the output by {_share(check['difference'])} of its range"
        yield "" if number else "rewrites", f"{check['rewrite']}: {what}"


def _int8_rows(found: Int8) -> Rows:
    """Of a plan with int8 in it: what became int8, and what the gate measured."""
    layers, gate = found["layers"], found["gate"]
    count = sum(layer["int8"] for layer in layers)
    sums = f", and {found['sums']} residual sums" if found["sums"] else ""
    yield "int8", f"{count} of {len(layers)} convolutions{sums}; the others stay in the high precision"
    yield (
        "",
        f"{gate['fidelity']:.1f} dB from fp32 on photographs, {gate['hard']:.1f} on dark, bright and noisy ones",
    )
    yield "", f"{gate['drop']:+.3f} dB lost against the truth, of {found['max_drop']:g} allowed"
    red, green, blue = gate["shift"]
    yield "", f"colours moved by {red:+.2f}, {green:+.2f} and {blue:+.2f} levels (red, green, blue)"
    if "flat" in gate:  # not looked at when older plans were built
        yield "", f"flat areas of white, grey, black or pure colours moved by {gate['flat']:.1f} levels at most"
    yield (
        "",
        f"{gate['levels'][1]} levels on a ramp (fp32: {gate['levels'][0]}), steps up to {gate['step'][1]:.1f} levels",
    )
    yield (
        "",
        f"a tile's edge is {gate['seam'][1]:.2f} levels from the whole picture (fp32: {gate['seam'][0]:.2f})",
    )
    yield "", f"calibrated with {found['pictures']}; judged by others"


def _with_sensitivities(text: str, plan: Plan) -> str:
    """``text`` and, for a plan with int8 in it, what each convolution would cost the picture and win in time."""
    found = plan.report.get("int8")
    if found is None:
        return text
    wide = max(len(layer["range"]) for layer in found["layers"]) + 2
    lines = [f"{'conv':<6}{'channels, kernel':<22}{'fidelity, dB':>12}{'time won':>10}   {'range':<{wide}}precision"]
    for layer in found["layers"]:
        chosen = "int8" if layer["int8"] else "stays high"
        lines.append(
            f"{layer['number'] + 1:<6}{layer['shape']:<22}{layer['fidelity']:>12.1f}{layer['won']:>10.1%}   "
            f"{layer['range']:<{wide}}{chosen}"
        )
    return f"{text}\n\n" + "\n".join([*lines, f"each in int8 alone; time {found['time']}"])


def _field(spec: NetworkSpec) -> str:
    if spec.halo is None or spec.radius is None:
        return "the whole picture from every pixel"
    return f"{spec.radius:g} pixels around each pixel (radius of the receptive field, in input pixels)"


def _tiles(spec: NetworkSpec) -> str:
    size = "of any size"
    if spec.fixed_shape is not None:
        size = f"of {spec.fixed_shape[1]} x {spec.fixed_shape[0]} only"
    elif spec.multiple > 1:
        size = f"of multiples of {spec.multiple}"
    exact = f"{spec.halo} for exactness" if spec.halo is not None else "exact only without tiles"
    return f"{size}, a halo of {spec.default_halo} pixels, {exact}"


def _counted(model: onnx.ModelProto) -> str:
    kinds = Counter(node.op_type for node in model.graph.node)
    return ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())


def _layer_table(found: Sequence[Layer]) -> str:
    """The layers with weights; equal ones in a row are one line."""
    lines = [f"{'layer':<9}{'operator':<15}{'weights':<20}{'scale':<8}{'MMAC per input pixel':>20}"]
    first = 0
    while first < len(found):
        layer = found[first]
        last = first
        while last + 1 < len(found) and found[last + 1] == layer:
            last += 1
        number = str(first + 1) if first == last else f"{first + 1}-{last + 1}"
        weights = " x ".join(str(side) for side in layer.weight)
        work = _mega(layer.macs) + (f" each, {_mega(layer.macs * (last - first + 1))}" if last > first else "")
        lines.append(f"{number:<9}{layer.kind:<15}{weights:<20}{'x' + str(layer.scale):<8}{work:>20}")
        first = last + 1
    lines.append(f"{'all':<9}{'':<15}{'':<20}{'':<8}{_mega(sum(layer.macs for layer in found)):>20}")
    return "\n".join(lines)


def _foreign(path: Path) -> Rows:
    """A model file that is not a plan; opened as data only, so that neither TensorFlow nor its code is needed."""
    from ..models.faults import faults_of
    from ..models.files import HDF5_SIGNATURE, NCNN_MAGIC, ZIP_SIGNATURE, check_known, is_torch
    from ..models.keras_file import read_keras_file

    try:
        check_known(path)
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from error
    with faults_of(str(path)):
        if head != HDF5_SIGNATURE and is_torch(path):
            yield from _torch(path)
        elif head == HDF5_SIGNATURE or head.startswith(ZIP_SIGNATURE):
            yield from _keras(read_keras_file(path))
        elif head.startswith(NCNN_MAGIC) or path.suffix.lower() == ".param":
            yield from _ncnn(path)
        elif path.suffix.lower() == ".onnx":
            yield from _onnx(path)
        else:
            raise ModelError(
                f"{path} is not a model: give a plan, an .onnx, an ncnn .param, a .pth or .safetensors, a Keras .h5 or "
                ".keras file, or a SavedModel"
            )


def _keras(file: KerasFile) -> Rows:
    if file.config is None:
        yield "model", f"{file.path}: a Keras {file.container} file with weights only"
        yield "weights", f"{len(file.weights)} arrays"
        return
    yield "model", f"{file.path}: {file.kind}, written by Keras {file.keras_version or 'of an unknown version'}"
    kinds = Counter(_layer_classes(file.config))
    yield "layers", ", ".join(f"{count} {kind}" for kind, count in kinds.most_common()) or "none"


def _layer_classes(config: Mapping[str, Any]) -> Iterator[str]:
    """Class names of the layers of a Keras model's config, those of nested models too."""
    inner = config.get("config")
    listed = inner.get("layers") if isinstance(inner, dict) else inner
    for layer in listed if isinstance(listed, list) else ():
        if isinstance(layer, dict):
            nested = list(_layer_classes(layer))
            yield from nested or [str(layer.get("class_name"))]


def _ncnn(path: Path) -> Rows:
    from ..models.files import ncnn_weights
    from ..models.ncnn_source import open_ncnn

    network = open_ncnn(path)
    yield "model", f"{path}: {network.kind}, its weights in {ncnn_weights(path).name}"
    kinds = Counter(layer.kind for layer in network.layers)
    yield "layers", ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    for note in network.notes:
        yield "note", note


def _torch(path: Path) -> Rows:
    from ..models.torch_file import read_torch_file
    from ..models.torch_source import open_torch, weights_of

    tensors, _ = weights_of(read_torch_file(path))
    network = open_torch(path)
    yield "model", f"{path}: {network.kind}"
    yield "weights", f"{len(tensors)} arrays, {sum(tensor.count for tensor in tensors.values()):,} numbers"
    for note in network.notes:
        yield "note", note


def _onnx(path: Path) -> Rows:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(str(path), load_external_data=False)
    except DecodeError:
        raise ModelError(f"{path} is not a whole ONNX file: download or export it again") from None
    if not model.graph.node:
        raise ModelError(f"{path} is an ONNX file without a network: export it again")
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), None)
    yield "model", f"{path}: ONNX, opset {opset}, by {model.producer_name or 'an unknown program'}"
    weights = {tensor.name for tensor in model.graph.initializer}
    for label, values in (("inputs", model.graph.input), ("outputs", model.graph.output)):
        named = [f"{value.name} ({_dimensions(value)})" for value in values if value.name not in weights]
        yield label, ", ".join(named)
    yield "operators", _counted(model)


def _dimensions(value: onnx.ValueInfoProto) -> str:
    sides = value.type.tensor_type.shape.dim
    return ", ".join(str(side.dim_value) if side.HasField("dim_value") else side.dim_param or "?" for side in sides)


def _table(rows: Sequence[tuple[str, str]]) -> str:
    lines = []
    for label, text in rows:
        # Paths and hashes stay whole, so that they can be copied.
        wrapped = textwrap.wrap(text, 120 - _LABEL, break_long_words=False, break_on_hyphens=False) or [""]
        lines += [f"{label if not number else '':<{_LABEL}}{line}" for number, line in enumerate(wrapped)]
    return "\n".join(lines)


def _range(pair: Sequence[float]) -> str:
    return f"{pair[0]:g}..{pair[1]:g}"


def _mega(macs: float | Fraction) -> str:
    return f"{float(macs) / 1e6:.3f}"


def _share(difference: float | None) -> str:
    return "an unbounded part" if difference is None else f"{difference:.1e}"


def _quoted(path: Path) -> str:
    import shlex

    return shlex.quote(str(path))
