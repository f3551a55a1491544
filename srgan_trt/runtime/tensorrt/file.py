"""The engine file: NVIDIA's bytes behind a header that says what they are, sealed by hashes.

Layout: `MAGIC`; the header's length, 8 bytes, little-endian; sha256 of the header; the header, JSON in UTF-8; and
TensorRT's bytes, whose length and sha256 the header has. TensorRT crashes on bytes that are not an engine of its own,
and an engine may hold code: so all that the header says is checked before TensorRT sees any.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..._version import __version__
from ...codec import decode, encode
from ...compiler.fp16 import Float32Layer
from ...errors import DeviceError, PlanError, pip_command
from ...files import atomic_file
from ...self_test import SelfTest
from ...spec import NetworkSpec
from ..gpu.interfaces import EngineSettings
from .layers import BuiltLayer, describe_kernels

if TYPE_CHECKING:
    from typing import BinaryIO

    from ...compiler.plan import Plan
    from ..gpu.device import Gpu
    from .library import Library

MAGIC = b"srgan-trt engine"
FORMAT: Literal["5"] = "5"
_LENGTH_BYTES = 8
_LARGEST_HEADER = 1 << 24
_SEAL_BYTES = hashlib.sha256().digest_size


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineHeader:
    """What an engine file says of itself."""

    spec: NetworkSpec
    plan_hash: str
    """`Plan.body_hash` of the plan that it was built from."""
    flavour: str
    """"tensorrt" or "tensorrt-rtx"."""
    library: str
    """The version that built it, and the only one to load it."""
    compute_capabilities: tuple[tuple[int, int], ...]
    """Of the GPUs that it runs on."""
    gpu: str | None
    """Name of the GPU that it was built on; None where there was none."""
    cuda: str | None
    """The newest CUDA of the driver that it was built with, "13.0"; None where there was none."""
    driver: str | None
    """That driver's own version, "580.65.06"; empty where it was not told, None where there was none."""
    settings: EngineSettings
    element: str
    """"float16" or "float32": of input and output."""
    layers: tuple[BuiltLayer, ...]
    """As they were really built."""
    unreported: int
    """Of how many convolutions TensorRT did not tell the type."""
    float32: tuple[Float32Layer, ...]
    """Layers that were meant to stay in float32, and why."""
    engine_bytes: int
    engine_sha256: str
    self_test: SelfTest | None = None
    """The plan's."""
    written_by: str = __version__
    """Version of srgan-trt."""

    format: Literal["5"] = FORMAT
    """Of this header."""

    def __post_init__(self) -> None:
        """Raises PlanError if the picture is not the network's."""
        if self.self_test is not None:
            self.self_test.check_fit(self.spec.scale)


def is_engine(path: Path) -> bool:
    """True if `path` begins as an engine file does."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def write_engine(path: Path, header: EngineHeader, data: bytes) -> None:
    """Writes `path` whole or not at all. data: TensorRT's bytes, of the header's length and hash.

    Raises PlanError if it cannot be written.
    """
    assert (header.engine_bytes, header.engine_sha256) == (len(data), hashlib.sha256(data).hexdigest())
    text = encode(header)
    try:
        with atomic_file(path) as file:
            file.write(MAGIC + len(text).to_bytes(_LENGTH_BYTES, "little") + hashlib.sha256(text).digest() + text)
            file.write(data)
    except OSError as error:
        raise PlanError(f"cannot write the engine {path}: {error.strerror}") from error


def read_header(path: Path) -> EngineHeader:
    """The header of an engine file; needs neither TensorRT nor a GPU. Raises PlanError if it is none, or damaged."""
    try:
        with path.open("rb") as file:
            return _header(file, path)
    except OSError as error:
        raise PlanError(f"cannot read the engine {path}: {error.strerror}") from error


def read_engine(path: Path) -> tuple[EngineHeader, bytes]:
    """The header of an engine file and TensorRT's bytes, whole and unchanged. Raises PlanError if they are not."""
    try:
        with path.open("rb") as file:
            header = _header(file, path)
            data = file.read()
    except OSError as error:
        raise PlanError(f"cannot read the engine {path}: {error.strerror}") from error
    if len(data) < header.engine_bytes:
        raise PlanError(
            f"the engine {path} is cut off: {len(data)} of {header.engine_bytes} bytes are there; copy it again, or "
            "build it"
        )
    if len(data) > header.engine_bytes or hashlib.sha256(data).hexdigest() != header.engine_sha256:
        raise PlanError(f"the engine {path} was changed or damaged after it was built: copy or build it again")
    return header, data


def check_fit(
    header: EngineHeader,
    path: Path,
    *,
    library: Library,
    gpu: Gpu,
    plan: Plan | None = None,
    settings: EngineSettings | None = None,
) -> None:
    """Raises DeviceError if the engine is not for this TensorRT or GPU, PlanError if it is of another plan or was built
    for other settings; plan, settings: None for any."""
    if settings is not None and header.settings != settings:
        raise PlanError(
            f"the engine {path} was built for other settings: {header.settings}, not {settings}: build it again"
        )
    if plan is not None and header.plan_hash != plan.body_hash:
        raise PlanError(
            f"the engine {path} was built from another plan than {plan.path} ({header.spec.name}): build it"
        )
    if header.flavour != library.flavour:
        raise DeviceError(
            f"the engine {path} is for {header.flavour}, {library.flavour} is what runs here: build it again, or "
            f"{pip_command(header.flavour)}"
        )
    if header.library != library.version:
        raise DeviceError(
            f"the engine {path} was built by {header.flavour} {header.library}, {library.version} is installed: build "
            f"it again, or pip install {header.flavour}=={header.library}"
        )
    if gpu.compute_capability not in header.compute_capabilities:
        raise DeviceError(
            f"the engine {path} is for GPUs of compute capability {_capabilities(header)}, this {gpu.name} has "
            f"{'.'.join(map(str, gpu.compute_capability))}: build it again"
        )


def other_driver(header: EngineHeader, installed: str) -> str | None:
    """That the engine was built with another driver than that of version `installed`, in words; None if not, if one of
    both is not known, or if it does not matter: TensorRT-RTX compiles its kernels where they run."""
    if header.flavour == "tensorrt-rtx" or not header.driver or not installed or header.driver == installed:
        return None
    return f"was built with the driver {header.driver}, {installed} is installed"


def describe_engine(header: EngineHeader, path: Path) -> Iterator[tuple[str, str]]:
    """Label and text of each line that `srgan-trt info` prints of an engine, but for `layer_table`."""
    spec, settings = header.spec, header.settings
    height, width = settings.tile
    shape = f"{width} x {height} only" if spec.fixed_shape else f"at most {width} x {height}"
    yield "engine", f"{path}: {spec.name}, x{spec.scale}, for {header.flavour} {header.library}"
    yield "for", f"GPUs of compute capability {_capabilities(header)}"
    driver = f"driver {header.driver}" if header.driver else "driver"
    built = "without a GPU" if header.gpu is None else f"on {header.gpu}, {driver} for CUDA {header.cuda}"
    yield "built", f"{built}, by srgan-trt {header.written_by}"
    yield "precision", _precision(header)
    for number, layer in enumerate(header.float32):
        yield "" if number else "fp32", f"{layer.name} ({layer.kind}): {layer.reason}"
    yield "kernels", describe_kernels(header.layers)
    yield "tiles", f"{shape} pixels, at most {settings.batch} at once"
    if settings.prelu == "apart":
        yield "", "PReLUs apart from the convolutions"
    yield "from", f"the plan {header.plan_hash[:16]}, of the file {spec.source_hash[:16]}"
    yield "size", f"{header.engine_bytes / 1e6:.1f} MB"


def layer_table(header: EngineHeader) -> str:
    """The layers as they were built: number, kind, type of what each reads, of its filters, of what it gives and its
    format, bytes for each pixel of the network's input, name."""
    lines = [f"{'layer':<7}{'kind':<18}{'reads':<7}{'filters':<9}{'gives':<7}{'format':<8}{'bytes':<8}made of"]
    for number, layer in enumerate(header.layers, start=1):
        name = ", ".join(layer.made_of) or layer.name
        short = name if len(name) <= 60 else f"{name[:57]}..."
        moved = "-" if layer.pixel_bytes is None else f"{layer.pixel_bytes:.0f}"
        lines.append(
            f"{number:<7}{layer.kind:<18}{layer.reads:<7}{layer.filters or '-':<9}{layer.gives:<7}"
            f"{layer.format[:7]:<8}{moved:<8}{short}"
        )
    return "\n".join(lines)


def _header(file: BinaryIO, path: Path) -> EngineHeader:
    if file.read(len(MAGIC)) != MAGIC:
        raise PlanError(f"{path} is not an engine of srgan-trt: build one with 'srgan-trt build --target'")
    length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
    seal = file.read(_SEAL_BYTES)
    text = file.read(length) if length <= _LARGEST_HEADER else b""
    if len(text) < length or hashlib.sha256(text).digest() != seal:
        raise PlanError(f"the engine {path} is cut off or damaged: copy or build it again")
    try:
        return decode(text, EngineHeader)
    except ValueError as error:
        raise PlanError(
            f"the engine {path} was written by another version of srgan-trt ({error}): build it again"
        ) from None


def _precision(header: EngineHeader) -> str:
    counts: dict[str, int] = {}
    for layer in header.layers:
        if layer.filters is not None:
            counts[layer.filters] = counts.get(layer.filters, 0) + 1
    built = ", ".join(f"{count} in {kind}" for kind, count in sorted(counts.items()))
    convolutions = f"convolutions as built: {built}" if built else "TensorRT does not tell that of its convolutions"
    unknown = f", {header.unreported} not told" if built and header.unreported else ""
    return f"{header.settings.precision} was asked for; {convolutions}{unknown}"


def _capabilities(header: EngineHeader) -> str:
    return ", ".join(f"{major}.{minor}" for major, minor in header.compute_capabilities)
