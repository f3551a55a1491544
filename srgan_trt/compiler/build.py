"""From a generator file to a plan: export, canonicalise, find its facts, rewrite, check, save."""

from __future__ import annotations

import dataclasses
import functools
import logging
import math
import os
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ModelError
from ..models.faults import faults_of
from ..models.onnx_graph import check_work
from ..spec import NetworkSpec
from . import graph, verify
from .analysis import Field, macs_per_pixel, receptive_field
from .batch_norm import fold_batch_norm
from .borders import Border, add_border, border_of
from .canonicalise import canonicalise
from .concat_conv import split_concat_convs
from .dynamic_shape import make_dynamic
from .fp16 import convert_to_fp16
from .halo_search import measure_halo
from .int8.selection import to_int8
from .io_normalization import Normalization, Range, strip_normalization
from .luma import add_colour, check_enlarge, enlarge_first
from .plan import Plan, check_target, is_plan, save_plan
from .precision import PRECISIONS, to_fp32
from .reference import Floats, ReferenceRunner
from .subpixel import rewrite_subpixel
from .tail import detach_shuffle, sink_shuffles
from .value_range import RangeFinding, colour_shift, find_ranges

if TYPE_CHECKING:
    import onnx_ir as ir

    from ..models.source import SourceNetwork


log = logging.getLogger(__name__)
_EXPORT_SHAPE = (48, 64)
_SECOND_SHAPE = (37, 53)
_FIXED_TILE = (128, 128)
_LARGEST = 128 * 128
"""Pixels of the largest picture that a free network is tried on here (value_range.py)."""
_LARGEST_MULTIPLE = 128
_HALF_TOLERANCE = 5e-3
"""How far a file that computes in float16 may be from the same network in float32, as a fraction of the range."""

_SHIFT = 1.0
"""Levels of 255 by which the mean of a channel may grow or shrink before it is said."""


def build(
    model: Any,
    *,
    out: str | Path | None = None,
    precision: str | None = None,
    input_range: Range | None = None,
    output_range: Range | None = None,
    custom_objects: str | Path | None = None,
    trust_model: bool = False,
    arch: str | None = None,
    calibration: str | Path | None = None,
    max_drop: float | None = None,
    restores: bool = False,
    layer: str | None = None,
    enlarge: int | None = None,
) -> Plan:
    """Builds a plan from a generator.

    Args:
        model: The path of a Keras ``.h5`` or ``.keras``, a SavedModel folder, a weights-only ``.h5``, a
            super-resolution ``.onnx``, PyTorch's ``.pth``, ``.safetensors``, or an ncnn ``.param``; or a model object
            of Keras 3 or tf_keras.
        out: Where the plan goes; None puts ``NAME.plan.onnx`` beside the file, or into the current folder.
        precision: "fp32" (None) or "fp16", of weights and activations in the plan; or "int8", of the convolutions that
            measurement finds fit for it, the others fp32.
        input_range, output_range: Network values of level 0 and 255, as the file takes and gives them; None finds
            them by consistency.
        custom_objects: A Python file with the model's own layers; it is run.
        trust_model: Run code that the model file carries; let spandrel build what else ``.pth`` files hold.
        arch: "paper", "superresolution-gans" or "compact", for a file with weights only.
        calibration: A folder of pictures like those that will be enlarged, in full size, for int8; None takes a
            small set inside this package.
        max_drop: dB of luma that int8 may lose against the truth, on pictures that it was not calibrated with; None is
            0.1.
        restores: Whether the network was trained on noisy, blurred and compressed pictures (`train --degrade real`,
            Real-ESRGAN): `upscale` then denoises nothing before it.
        layer: The layer of a Keras file that is the generator or gives the picture, or the output of an ONNX file or a
            SavedModel; None finds it where it is the only one.
        enlarge: Times, 2 to 8, that a picture is enlarged (bicubic) before a network that keeps its size: SRCNN and
            VDSR are trained so. None is 1.

    Returns:
        The plan, with its `path`, its `spec` (a `NetworkSpec`) and its `report`: what was found and verified.

    Raises:
        ModelError: The file is not a super-resolver or cannot be read, its ranges are not clear, it computes
            something else once converted, or int8 loses too much.
        PictureError: ``calibration`` is not a folder with two pictures or more.
        MissingPackageError: TensorFlow is needed to read it and not installed.
        PlanError: The plan cannot be written.
    """
    precision = precision or "fp32"
    if precision not in PRECISIONS:
        raise ModelError(f"precision {precision!r} is not one of {', '.join(PRECISIONS)}")
    chosen = None if out is None else Path(out)
    opening = {"custom_objects": custom_objects, "trust_model": trust_model, "arch": arch, "layer": layer}
    source, target = (_opened_file if isinstance(model, str | os.PathLike) else _opened_object)(model, chosen, opening)
    return compile_network(
        source,
        out=target,
        precision=precision,
        input_range=input_range,
        output_range=output_range,
        calibration=None if calibration is None else Path(calibration),
        max_drop=max_drop,
        restores=restores,
        enlarge=enlarge,
    )


def _opened_file(path: str | os.PathLike[str], out: Path | None, opening: dict[str, Any]) -> tuple[SourceNetwork, Path]:
    """The network in a file, and where its plan goes, which is checked."""
    from ..models.loader import open_network

    source_path = Path(path)
    target = out or source_path.with_name(f"{source_path.stem}.plan.onnx")
    check_target(target, source=source_path)
    if source_path.is_file() and is_plan(source_path):
        raise ModelError(f"{source_path} is a plan, built already: name the model file that it was built from")
    if opening["custom_objects"] is not None:
        opening["custom_objects"] = Path(opening["custom_objects"])
    return open_network(source_path, **opening), target


def _opened_object(model: Any, out: Path | None, opening: dict[str, Any]) -> tuple[SourceNetwork, Path]:
    """The network of a model that is no file, and where its plan goes, which is checked."""
    from ..models.keras_live import is_keras_model, open_live

    if not is_keras_model(model):
        raise ModelError(f"{type(model).__name__} is neither the path of a model file nor a model of Keras")
    if unused := [name for name, value in opening.items() if value]:
        raise ModelError(f"{', '.join(unused)}: of files only, and {model.name} is open already: leave this out")
    target = out or Path(f"{model.name}.plan.onnx")
    check_target(target)
    return open_live(model), target


def compile_network(
    source: SourceNetwork,
    *,
    out: Path,
    precision: str = "fp32",
    input_range: Range | None = None,
    output_range: Range | None = None,
    calibration: Path | None = None,
    max_drop: float | None = None,
    restores: bool = False,
    enlarge: int | None = None,
) -> Plan:
    """``build`` for a network that is already open."""
    with faults_of(source.name):
        return _compiled(
            source, out, precision, input_range, output_range, calibration, max_drop, restores, enlarge or 1
        )


def _compiled(
    source: SourceNetwork,
    out: Path,
    precision: str,
    input_range: Range | None,
    output_range: Range | None,
    calibration: Path | None,
    max_drop: float | None,
    restores: bool,
    enlarge: int,
) -> Plan:
    model, normalization, shape, notes, halves, border = _bare_network(source)
    for end, named in (("input", input_range), ("output", output_range)):
        if named is not None and end in source.stripped:
            notes.append(
                f"--{end}-range {named[0]:g},{named[1]:g} was not used: the file's own mapping, which it is about, was "
                "left out; the range behind it was found instead"
            )
    input_range = source.input_range if "input" in source.stripped else input_range or source.input_range
    output_range = source.output_range if "output" in source.stripped else output_range or source.output_range
    unpadded = exact = ReferenceRunner(graph.to_proto(model))
    if border is not None:
        shape = add_border(model, border, shape, name=source.name)
        notes.append(border.note)
        exact = ReferenceRunner(graph.to_proto(model))
    field = receptive_field(model)
    if field.multiple > _LARGEST_MULTIPLE:
        raise ModelError(
            f"{source.name} takes only pictures whose sides are multiples of {field.multiple:,}: at most "
            f"{_LARGEST_MULTIPLE} is supported"
        )
    scale = _whole_scale(field.scale, source.name)
    check_enlarge(enlarge, scale, shape, source.name)
    finding = find_ranges(
        exact,
        scale=scale,
        normalization=normalization,
        shape=shape,
        multiple=field.multiple,
        channels=source.channels,
        input_range=input_range,
        output_range=output_range,
        name=source.name,
    )
    if finding.doubtful:
        notes.append(
            f"its ranges are a guess ({finding.consistency:.1f} dB consistent): if the picture looks wrong, name them "
            "with --input-range A,B --output-range A,B"
        )
        log.warning("%s: %s", source.name, notes[-1])
    bare_in = normalization.bare_input_range(finding.input_range)
    bare_out = normalization.bare_output_range(finding.output_range)
    macs_before = macs_per_pixel(model)
    size = source.fixed_shape or (shape if border is None else None)
    against_source = _difference_from_source(source, unpadded, normalization, finding, size, field)
    if against_source > (_HALF_TOLERANCE if halves else verify.TOLERANCE):
        raise ModelError(
            f"{source.name}: the converted network differs from the original by {against_source:.1e} of its range; "
            "please report this file's architecture"
        )
    if source.channels == 1 or enlarge > 1:
        if source.channels == 1:
            notes += add_colour(model, scale=scale, input_range=bare_in, output_range=bare_out, enlarge=enlarge)
        if enlarge > 1:
            enlarge_first(model, scale=enlarge)
        scale *= enlarge
        field, exact = receptive_field(model), ReferenceRunner(graph.to_proto(model))
    shift = colour_shift(exact, input_range=bare_in, output_range=bare_out, shape=shape, multiple=field.multiple)
    if (most := max(map(abs, shift))) > _SHIFT:
        notes.append(f"it shifts colours, a channel's mean by {most:.1f} levels of 255: --color-fix brings them back")
    halo = _default_halo(exact, field, scale, bare_in, bare_out, shape, macs_before)
    del exact, unpadded
    checker = verify.RewriteChecker(
        model, input_range=bare_in, output_range=bare_out, shape=shape, multiple=field.multiple
    )
    checker.rewrite("batch norms into convolutions", fold_batch_norm)
    checker.rewrite("enlargements into sub-pixel convolutions", rewrite_subpixel)
    checker.rewrite("tail before the last shuffle", sink_shuffles)
    checker.rewrite("sums instead of joined phases", split_concat_convs)
    detach = functools.partial(detach_shuffle, scale=scale)
    checker.rewrite("last shuffle into the unpack kernel", detach, ends_in_shuffle=True)
    macs_after = macs_per_pixel(checker.model)
    proto = graph.to_proto(checker.model)
    if precision == "fp16":
        in_half = convert_to_fp16(
            checker.model,
            input_range=bare_in,
            output_range=bare_out,
            shape=shape,
            multiple=field.multiple,
            fp16_io=False,
        )
        proto = in_half.model()
        notes += [f"{layer.name} ({layer.kind}) stays in fp32: {layer.reason}" for layer in in_half.float32]
    spec = NetworkSpec(
        name=source.name,
        scale=scale,
        input_range=bare_in,
        output_range=bare_out,
        shuffle=checker.shuffle,
        halo=field.halo,
        radius=field.radius,
        default_halo=halo,
        fixed_shape=shape,
        multiple=field.multiple,
        precision=precision,
        macs=macs_after,
        source_hash=source.source_hash,
        restores=restores,
    )
    quantisation: dict[str, Any] = {}
    self_test = None
    if precision == "int8":
        quantised = to_int8(checker, spec, folder=calibration, max_drop=max_drop)
        proto, self_test = graph.to_proto(quantised.model), quantised.self_test
        quantisation["int8"] = quantised.report
    report = {
        "kind": source.kind,
        "notes": notes,
        "ranges": dataclasses.asdict(finding),
        "shift": shift,
        "rewrites": [dataclasses.asdict(check) for check in checker.checks],
        "macs_before": macs_before,
        "macs_after": macs_after,
        "difference": max([against_source, *(check.difference for check in checker.checks if check.kept)]),
        **quantisation,
    }
    proto.graph.name = Path(source.name).stem
    return save_plan(proto, spec, out, report=report, self_test=self_test)


def _bare_network(
    source: SourceNetwork,
) -> tuple[ir.Model, Normalization, tuple[int, int] | None, list[str], bool, Border | None]:
    """The canonical graph without its normalization, of dynamic size where possible; its fixed shape if not;
    notes; whether the file itself computes in float16; and the border that it lacks."""
    notes = list(source.notes)
    model, normalization, halves = _canonical(source, source.fixed_shape or _EXPORT_SHAPE)
    border = border_of(model)
    if halves:
        notes.append("the file computes in float16; the plan keeps the same weights and computes more exactly")
    ties = make_dynamic(model)
    if not ties:
        if source.fixed_shape:
            height, width = source.fixed_shape
            notes.append(f"the file insists on {width}x{height} pictures; the plan takes any size")
        return model, normalization, None, notes, halves, border
    shape = source.fixed_shape or _FIXED_TILE
    if not source.fixed_shape:
        model, normalization, _ = _canonical(source, shape)
    notes.append(f"runs in fixed tiles of {shape[1]}x{shape[0]}: {ties[0]} ties the network to its size")
    return model, normalization, shape, notes, halves, border


def _canonical(source: SourceNetwork, shape: tuple[int, int]) -> tuple[ir.Model, Normalization, bool]:
    exported = source.export(*shape)
    check_work(exported, source.name, times=1 if source.fixed_shape else max(1, _LARGEST / math.prod(shape)))
    model = graph.from_proto(exported)
    graph.check_finite(model, source.name)
    model.graph.inputs[0].name, model.graph.outputs[0].name = graph.INPUT, graph.OUTPUT
    halves = to_fp32(model)
    canonicalise(model)
    normalization = strip_normalization(model)
    graph.infer_shapes(model)
    return model, normalization, halves


def _whole_scale(scale: Fraction, name: str) -> int:
    if scale.denominator != 1 or scale < 1:
        raise ModelError(f"{name} changes the size by {float(scale):g}: only whole enlargements can be planned")
    return int(scale)


def _difference_from_source(
    source: SourceNetwork,
    exact: ReferenceRunner,
    normalization: Normalization,
    finding: RangeFinding,
    own: tuple[int, int] | None,
    field: Field,
) -> float:
    """Difference of the bare network, normalization put back, from the file's own framework, as a share of the range.

    A free network is compared at a size it was not exported at; a fixed one at its ``own``. Where the file has no
    framework here (ONNX), the graph is compared with a second export.
    """
    size = own or tuple(-(-side // field.multiple) * field.multiple for side in _SECOND_SHAPE)
    (probe,) = verify.probes(finding.input_range, shape=(size[0], size[1]), multiple=1, channels=source.channels)
    reference = source.predict(np.ascontiguousarray(probe.transpose(0, 2, 3, 1)))
    if reference is None:
        expected = ReferenceRunner(source.export(size[0], size[1]))(probe)
    else:
        expected = np.ascontiguousarray(reference.transpose(0, 3, 1, 2))
    bare: Floats = exact((probe * normalization.input_gain + normalization.input_shift).astype(np.float32))
    result = np.clip(
        bare * normalization.output_gain + normalization.output_shift, normalization.low, normalization.high
    )
    low, high = finding.output_range
    return verify.difference(result.astype(np.float32), expected.astype(np.float32), high - low)


def _default_halo(
    exact: ReferenceRunner,
    field: Field,
    scale: int,
    bare_in: Range,
    bare_out: Range,
    shape: tuple[int, int] | None,
    macs: float,
) -> int:
    if field.halo is None:
        return 16
    if shape is not None:
        # a fixed window cannot be cut: a quarter of it is what still leaves a core
        return min(field.halo, min(shape) // 4)
    return measure_halo(
        exact,
        full=field.halo,
        scale=scale,
        multiple=field.multiple,
        input_range=bare_in,
        output_range=bare_out,
        macs=macs,
    )
