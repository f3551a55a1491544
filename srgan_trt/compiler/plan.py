"""The plan file: one ordinary .onnx with its NetworkSpec inside, sealed by a hash.

A plan's bytes are the network (a serialised ModelProto) followed by its ``metadata_props``; appending
serialised protobuf messages merges them (protobuf encoding guide, "Last One Wins"), so Netron,
onnxruntime and trtexec open the file as it is; one hash covers the network byte for byte, another the metadata.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..codec import decode, encode
from ..errors import PlanError, pip_command
from ..files import atomic_write, cannot_write
from ..self_test import SelfTest
from ..spec import NetworkSpec
from .report import Report

if TYPE_CHECKING:
    import onnx

FORMAT = "2"
_PREFIX = "srgan_trt."


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan that was read and checked.

    ``report`` is what the compiler found and proved (see ``compiler.build``), for people and ``info``.
    """

    path: Path
    spec: NetworkSpec
    report: Report
    body_hash: str
    """sha256 of the network's bytes: the key for anything cached for this plan."""
    self_test: SelfTest | None = None
    """What a device must reproduce; None for plans in fp32 and fp16."""
    int8: Plan | None = None
    """The same network in int8, where there is one beside this plan: devices take the one that is faster there."""
    engine: bool = False
    """Whether ``path`` is an engine file, which holds no network that could be built of."""
    body_bytes: int = 0
    """Of the network, with which the file begins."""

    def network(self) -> bytes:
        """The ONNX network, without what this package keeps beside it.

        Raises PlanError if the file is not the one any more that was read: whatever is made of it, and kept under its
        hash, would be another network's.
        """
        try:
            data = self.path.read_bytes()
        except OSError as error:
            raise PlanError(f"cannot read the plan {self.path}: {error.strerror}") from error
        body = data[: self.body_bytes]
        if hashlib.sha256(body).hexdigest() != self.body_hash:
            raise PlanError(f"{self.path} was replaced since it was opened: open it again")
        return body

    def with_int8(self, int8_plan: Plan) -> Plan:
        """This plan and its `int8_plan` in int8. Raises PlanError if `int8_plan` is of another network or precision."""
        if int8_plan.spec != dataclasses.replace(self.spec, precision="int8", macs=int8_plan.spec.macs):
            raise PlanError(f"{int8_plan.path} is not {self.path} in int8: {pip_command(options='--force-reinstall')}")
        return dataclasses.replace(self, int8=int8_plan)


def is_plan(path: Path) -> bool:
    """True if the file ``path`` ends as a plan does, whatever its name: an ONNX file that carries our metadata."""
    with path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - (1 << 20)))
        return (_PREFIX + "spec").encode() in file.read()


def check_target(
    path: Path, *, source: Path | None = None, kind: str = "plan", is_ours: Callable[[Path], bool] | None = None
) -> None:
    """Raises PlanError if a plan, or an engine, cannot be written to `path`: before the work, which may take minutes.

    A file that this package did not write is never replaced, nor is `source`, the file or folder that is built from,
    by whatever name.

    kind: What it is called in messages; `is_ours` tells such a file from others, None is `is_plan`.
    """
    try:
        if source is not None and _is_in(path, source):
            where = "is the file" if source.is_file() else f"lies in the folder {source}"
            raise PlanError(
                f"cannot write the {kind} {path}: it {where} that it is built from; name another file with -o"
            )
        if path.is_dir():
            raise PlanError(f"cannot write the {kind} {path}: it is a folder; name a file in it")
        if path.is_file() and path.stat().st_size and not (is_ours or is_plan)(path):
            raise PlanError(
                f"cannot write the {kind} {path}: there is a file that is not a {kind}, which would be lost; name "
                "another file with -o, or remove it"
            )
        folder = next(parent for parent in path.absolute().parents if os.path.lexists(parent))
        if not folder.is_dir():
            raise PlanError(f"cannot write the {kind} {path}: {folder} is not a folder; name another")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PlanError(
                f"cannot write the {kind} {path}: no permission to write into {folder}; name another with -o"
            )
    except OSError as error:
        raise PlanError(f"cannot write the {kind} {path}: {error.strerror}") from error


def _is_in(path: Path, source: Path) -> bool:
    """Whether `path` is `source`, by this or another name, or a file in it."""
    if not source.exists():
        return False
    if path.exists() and path.samefile(source):
        return True
    return source.is_dir() and path.resolve().is_relative_to(source.resolve())


class UnsavedPlanError(PlanError):
    """A plan is finished, and its disk does not take it."""

    def __init__(self, message: str, content: bytes) -> None:
        """content: what was to be written."""
        super().__init__(message)
        self.content = content


def save_plan(
    model: onnx.ModelProto,
    spec: NetworkSpec,
    path: Path,
    *,
    report: Mapping[str, Any] | None = None,
    self_test: SelfTest | None = None,
) -> Plan:
    """Writes ``path`` whole or not at all. Raises UnsavedPlanError if it cannot be written."""
    import onnx

    network = onnx.ModelProto()
    network.CopyFrom(model)
    del network.metadata_props[:]
    body = network.SerializeToString()
    body_hash = hashlib.sha256(body).hexdigest()
    written = encode(report or {})
    seal = onnx.ModelProto()
    entries = {
        # first, since it may be large, and `is_plan` looks for the others at the end of the file
        **({} if self_test is None else {"self_test": encode(self_test).decode()}),
        "format": FORMAT,
        "spec": encode(spec).decode(),
        "report": written.decode(),
        "body_bytes": str(len(body)),
        "body_sha256": body_hash,
    }
    entries["seal"] = _seal(entries)
    for key, value in entries.items():
        seal.metadata_props.add(key=_PREFIX + key, value=value)
    content = body + seal.SerializeToString()
    try:
        atomic_write(path, content)
    except OSError as error:
        raise UnsavedPlanError(cannot_write(path, error, what="the plan "), content) from error
    return Plan(path, spec, decode(written, Report), body_hash, self_test, body_bytes=len(body))


def load_plan(path: str | Path) -> Plan:
    """Reads and checks a plan.

    Args:
        path: The file.

    Returns:
        The plan, with its `path`, its `spec` (a `NetworkSpec`) and its `report`: what the compiler found and verified.

    Raises:
        PlanError: The file is not a plan, is damaged, or is by another version.
    """
    import onnx
    from google.protobuf.message import DecodeError

    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise PlanError(f"cannot read the plan {path}: {error.strerror}") from error
    try:
        model = onnx.ModelProto.FromString(data)
    except DecodeError:
        raise PlanError(f"{path} is not a whole ONNX file: build the plan again") from None
    if not all(isinstance(text, str) for entry in model.metadata_props for text in (entry.key, entry.value)):
        raise PlanError(f"{path} was changed or damaged after it was built: build it again")  # no UTF-8: bytes
    found = {p.key[len(_PREFIX) :]: p.value for p in model.metadata_props if p.key.startswith(_PREFIX)}
    if not found:
        raise PlanError(f"{path} is an ONNX file but no plan: run 'srgan-trt build {path}' first")
    if found.get("format") != FORMAT:
        raise PlanError(f"{path} was written by another version of srgan-trt: build it again")
    if found.pop("seal", None) != _seal(found):
        raise PlanError(f"{path} was changed or damaged after it was built: build it again")
    try:
        size, expected = int(found["body_bytes"]), found["body_sha256"]
        spec, report = decode(found["spec"], NetworkSpec), decode(found["report"], Report)
        self_test = decode(found["self_test"], SelfTest) if "self_test" in found else None
        if self_test is not None:
            self_test.check_fit(spec.scale)
    except (KeyError, ValueError) as error:
        raise PlanError(f"{path} is a damaged plan ({error}): build it again") from None
    if hashlib.sha256(data[:size]).hexdigest() != expected:
        raise PlanError(f"{path} was changed or damaged after it was built: build it again")
    _check_shapes(model, spec, path)
    return Plan(path, spec, report, expected, self_test, body_bytes=size)


def _seal(entries: dict[str, str]) -> str:
    """sha256 of the metadata, and through the hash in it of the network."""
    return hashlib.sha256(json.dumps(entries, sort_keys=True).encode()).hexdigest()


def _check_shapes(model: onnx.ModelProto, spec: NetworkSpec, path: Path) -> None:
    """The tail block and the layout that the spec promises must be what the graph says."""
    graph = model.graph
    if len(graph.input) != 1 or len(graph.output) != 1:
        raise PlanError(f"{path} has {len(graph.input)} inputs and {len(graph.output)} outputs, not one of each")
    sides = [value.type.tensor_type.shape.dim for value in (graph.input[0], graph.output[0])]
    channels = [dim[1].dim_value if len(dim) == 4 else 0 for dim in sides]
    if channels != [3, 3 * spec.shuffle**2]:
        raise PlanError(
            f"{path} has {channels[0]} channels in and {channels[1]} out, its spec says 3 and "
            f"{3 * spec.shuffle**2}: build it again"
        )
