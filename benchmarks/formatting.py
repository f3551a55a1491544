"""How machines and numbers are told in the README and docs. Standard library only."""

from __future__ import annotations

from typing import Any

_NUMBERS = ("no", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight")
_WIDTH = 119


def cores(machine: dict[str, Any]) -> str:
    count = machine["cores"]
    return f"{_NUMBERS[count] if count < len(_NUMBERS) else count} core{'s' if count > 1 else ''}"


def matrix(machine: dict[str, Any]) -> tuple[str, str]:
    """What the processor multiplies matrices with, in short and in full."""
    flags = machine["flags"]
    if "amx_bf16" in flags:
        return "with AMX", "with AMX"
    if "avx512_bf16" in flags:
        return "without AMX", "with avx512_bf16 and no AMX (the matrix unit that bf16 is fastest on)"
    if "avx512_vnni" in flags:
        return "with AVX512-VNNI", "with AVX512-VNNI: no bf16, no AMX"
    if "avx512f" in flags:
        return "with AVX512", "with AVX512: no VNNI, no bf16, no AMX"
    return "with AVX2 alone", "with AVX2 alone: no AVX512, no bf16, no AMX"


def seconds(milliseconds: float) -> str:
    """Two digits."""
    whole = milliseconds / 1e3
    return f"{whole:.0f} s" if whole >= 100 else f"{whole:.2g} s"


def shown(milliseconds: float) -> str:
    """Three digits."""
    return f"{milliseconds:,.0f}" if milliseconds >= 100 else f"{milliseconds:.3g}"


def filled(text: str, *, width: int = _WIDTH) -> str:
    """Lines that fit a page, broken at spaces and nowhere else."""
    lines, line = [], ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    return "\n".join([*lines, line])


def table(rows: list[tuple[str, list[str]]]) -> str:
    """Markdown: of each row its name and cells, the first of which is the head."""
    lines = [f"| {name} | {' | '.join(cells)} |" for name, cells in rows]
    lines.insert(1, "|---|" + "---:|" * len(rows[0][1]))
    return "\n".join(lines)
