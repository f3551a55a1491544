"""Plans for other programs, from pixels to pixels: an ONNX file, OpenVINO's pair of files, a model of Triton."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from .compiler.pixel_ends import LAYOUTS, Layout, with_ends
from .compiler.plan import Plan, load_plan
from .errors import PlanError
from .files import atomic_file, atomic_write, cannot_write, new_folder

if TYPE_CHECKING:
    import onnx

Kind: TypeAlias = Literal["onnx", "openvino", "triton"]
KINDS: tuple[Kind, ...] = get_args(Kind)


def export(
    plan: str | os.PathLike[str] | Plan,
    *,
    out: str | os.PathLike[str],
    to: Kind = "onnx",
    layout: Layout = "nchw-float",
    fp16: bool = False,
    overwrite: bool = False,
) -> Path:
    """Writes a plan as files that onnxruntime, OpenVINO, TensorRT, Triton and others run by themselves.

    A plan's own file gives network values before the last pixel shuffle: these take pixels and give pixels.

    Args:
        plan: The file of a plan, or what `load_plan` or `build` returned, in fp32 or fp16.
        out: The file to write; of "openvino" the .xml, beside which goes the .bin; of "triton" the model's folder in a
            model repository, whose name becomes the model's.
        to: "onnx"; "openvino", its intermediate representation; "triton", a folder with config.pbtxt and version 1, for
            Triton's backend onnxruntime.
        layout: Of its input "image" and output "result": "nchw-float", float32 (N, 3, H, W) of 0..1, or "nhwc-uint8",
            uint8 (N, H, W, 3). RGB.
        fp16: Weights and arithmetic of an fp32 plan in float16, but for layers that lose there; of "openvino" the
            weights. The files are half as large.
        overwrite: Whether files may exist; a folder may not.

    Returns:
        `out`.

    Raises:
        PlanError: It is no plan, in int8, or `out` exists or cannot be written.
        ModelError: float16 loses too much of its picture.
    """
    target = Path(out)
    for what, value, known in (("kind of file", to, KINDS), ("layout", layout, LAYOUTS)):
        if value not in known:
            raise PlanError(f"there is no {what} {value!r}: give one of {', '.join(known)}")
    files = {"onnx": [target], "openvino": [target, target.with_suffix(".bin")], "triton": [target]}[to]
    if to == "openvino" and target.suffix != ".xml":
        raise PlanError(f"{target} is not a name for OpenVINO, which reads NAME.xml and NAME.bin: name it .xml")
    if to == "triton" and re.fullmatch(r"[\w-][\w.-]*", target.name, re.ASCII) is None:
        raise PlanError(f"{target.name!r} is not a name for a model of Triton: use letters, digits, . - and _")
    for file in files:
        if os.path.lexists(file) and (to == "triton" or not overwrite):
            mend = "" if to == "triton" else "give --overwrite (overwrite=True) to replace it, or "
            raise PlanError(f"{file} exists: {mend}name another")
    opened = plan if isinstance(plan, Plan) else load_plan(Path(plan))
    if opened.spec.precision == "int8" or opened.engine:
        kind = "an engine" if opened.engine else "in int8, which other programs round elsewhere, to another picture"
        raise PlanError(f"{opened.path} is {kind}: export a plan in fp32")
    try:
        if to == "openvino":
            _write_openvino(target, with_ends(opened, layout), fp16=fp16)
        elif to == "triton":
            _write_triton(target, with_ends(opened, layout, fp16=fp16))
        else:
            atomic_write(target, with_ends(opened, layout, fp16=fp16).SerializeToString())
    except OSError as error:
        raise PlanError(cannot_write(target, error)) from error
    return target


def _write_openvino(xml: Path, model: onnx.ModelProto, *, fp16: bool) -> None:
    from .runtime.devices import openvino_ir

    text, weights = openvino_ir(model.SerializeToString(), fp16=fp16)
    with atomic_file(xml) as xml_file, atomic_file(xml.with_suffix(".bin")) as bin_file:
        xml_file.write(text)
        bin_file.write(weights)


def _write_triton(folder: Path, model: onnx.ModelProto) -> None:
    with new_folder(folder) as partial:
        (partial / "1").mkdir()
        (partial / "1" / "model.onnx").write_bytes(model.SerializeToString())
        (partial / "config.pbtxt").write_text(triton_config(folder.name, model), "utf-8")


def triton_config(name: str, model: onnx.ModelProto) -> str:
    """The config.pbtxt (ModelConfig, as protobuf's text) of `model` for Triton's backend onnxruntime.

    The number of pictures is a dimension like others (max_batch_size 0): Triton would merge requests of one size only.
    """
    from onnx import TensorProto

    lines = [f'name: "{name}"', 'backend: "onnxruntime"', "max_batch_size: 0"]
    for direction, (value,) in (("input", model.graph.input), ("output", model.graph.output)):
        tensor = value.type.tensor_type
        kind = "TYPE_UINT8" if tensor.elem_type == TensorProto.UINT8 else "TYPE_FP32"
        sides = ", ".join(str(side.dim_value or -1) for side in tensor.shape.dim)
        lines.append(f'{direction} [ {{ name: "{value.name}" data_type: {kind} dims: [ {sides} ] }} ]')
    return "\n".join(lines) + "\n"
