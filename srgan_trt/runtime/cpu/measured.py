"""On which kinds of CPUs int8 was measured to be faster, and where.

A kind is what decides how fast int8 and bf16 are: the widest instructions for dot products. For a kind that is not in
the table, who opens a model with an int8 plan finds out by a trial (choice.py).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

KINDS = {
    "AMX": {"amx_int8"},
    "AVX512-VNNI with bf16": {"avx512_vnni", "avx512_bf16"},
    "AVX512-VNNI": {"avx512_vnni"},
    "AVX-VNNI": {"avx_vnni"},
}
"""Those that int8 may be the default on, and the flags of Linux's /proc/cpuinfo that each needs; the first one that a
CPU has all of is its kind. Without such instructions int8 takes detours, one of which OpenVINO computes wrongly
(docs/architecture.md)."""

NEEDED_GAIN = 1.03
"""Times as fast as the next best that int8 must be: less is noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One processor of a kind; whole calls on a picture of 480 x 320, in turns, medians."""

    processor: str
    milliseconds: Mapping[str, Mapping[str, float]]
    """Of each network that was measured, by precision. It may be one of before: what is told is the kind of CPU."""
    source: str
    """File in the repository."""

    @property
    def gain(self) -> float:
        """How many times as fast as the next best int8 is, with the network that wins least by it."""
        return min(
            min(value for name, value in times.items() if name != "int8") / times["int8"]
            for times in self.milliseconds.values()
        )


MEASURED: Mapping[str, Measured] = {
    "AMX": Measured(
        processor="Intel Xeon, 2 cores",
        milliseconds={
            "srgan-photo-x4": {"fp32": 788.2, "bf16": 196.7, "int8": 160.6},
            "srresnet-photo-x4": {"fp32": 824.2, "bf16": 213.6, "int8": 155.3},
        },
        source="benchmarks/results/2026-11-29-xeon-amx-int8.json",
    ),
    "AVX512-VNNI with bf16": Measured(
        processor="AMD EPYC, 2 cores, no AMX",
        milliseconds={
            "srgan-photo-x4": {"fp32": 955.6, "bf16": 474.5, "int8": 271.4},
            "srresnet-photo-x4": {"fp32": 968.0, "bf16": 485.9, "int8": 281.5},
        },
        source="benchmarks/results/2026-11-29-epyc-avx512bf16-int8.json",
    ),
    "AVX512-VNNI": Measured(
        processor="Intel Xeon, 2 cores, no bf16, no AMX",
        milliseconds={
            "srgan-fast-x4": {"fp32": 586.2, "int8": 412.3},
            "srresnet-fast-x4": {"fp32": 679.6, "int8": 401.8},
        },
        source="benchmarks/results/2026-11-26-xeon-vnni-int8.json",
    ),
}


def kind_of(flags: Collection[str]) -> str | None:
    """The kind of a CPU with these flags; None if it is none that int8 may be the default on."""
    return next((kind for kind, needed in KINDS.items() if needed <= set(flags)), None)
