"""The CPU of this machine as OpenVINO sees it: what it is, what it computes in, how many cores may be used."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...cache import read_record
from ...errors import DeviceError, one_line
from ...machine import usable_cores
from ..tuning import Tuning, tuning_file
from .library import load_openvino
from .measured import kind_of

if TYPE_CHECKING:
    import openvino

    from ...compiler.plan import Plan

PRECISIONS = ("fp32", "bf16")


@dataclass(frozen=True, slots=True)
class Cpu:
    """What decides how plans run here, and how fast."""

    name: str
    engine: str
    """Version of OpenVINO, in full."""
    capabilities: tuple[str, ...]
    """Of the engine, in its words, sorted."""
    cores: int
    """That this process may use."""
    kind: str | None = None
    """Of measured.KINDS; None for none of them."""

    @property
    def has_bf16(self) -> bool:
        return "BF16" in self.capabilities

    def key(self) -> list[Any]:
        """For whatever is kept for this machine: plain values."""
        return [self.engine, self.name, list(self.capabilities), self.cores]


def find_cpu(core: openvino.Core | None = None) -> Cpu:
    """Raises DeviceError if OpenVINO cannot be loaded or finds no CPU that it can use."""
    openvino = load_openvino()
    core = core or openvino.Core()
    try:
        capabilities = tuple(sorted(core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")))
        name = core.get_property("CPU", "FULL_DEVICE_NAME").strip()
    except RuntimeError as error:
        raise DeviceError(f"OpenVINO finds no CPU that it can use: {one_line(error)}") from error
    return Cpu(name, str(openvino.__version__), capabilities, usable_cores(), kind_of(_flags()))


def load_tuning(plan: Plan, cpu: Cpu, *, precision: str) -> Tuning | None:
    """What tuning this plan on this machine found; None if that was not done."""
    return read_record(tuning_path(plan, cpu, precision=precision), Tuning)


def tuning_path(plan: Plan, cpu: Cpu, *, precision: str) -> Path:
    """Where that is kept."""
    return tuning_file([plan.body_hash, cpu.key(), precision, plan.spec.default_halo])


def _flags() -> list[str]:
    """Of the first processor, as Linux names them; empty where the system does not tell."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            return next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), [])
    except OSError:
        return []


def choose_precision(asked: str | None, has_bf16: bool) -> tuple[str, str, list[str]]:
    """Precision of what a plan does not have in int8, for 8-bit pictures, for 16-bit ones, and what to say about it.

    Raises DeviceError if what is asked for is not to be had."""
    if asked in ("int8", "fp16"):
        raise DeviceError(
            f"the CPU computes in fp32 or bf16, and in int8 what a plan has in int8, which this one has not: build one "
            f"(srgan-trt build MODEL --precision int8), or leave precision {asked} out"
        )
    if asked is not None and asked not in PRECISIONS:
        raise DeviceError(f"the CPU computes in fp32 or bf16, not in {asked!r}: use one of them")
    if asked == "bf16" and not has_bf16:
        raise DeviceError("this CPU has no bf16 arithmetic: use precision fp32, or leave it to be chosen")
    if asked is not None:
        return asked, asked, []
    if not has_bf16:
        return "fp32", "fp32", ["this CPU has no bf16 arithmetic: everything runs in fp32"]
    return "bf16", "fp32", ["8-bit pictures run in bf16, 16-bit pictures in fp32"]
