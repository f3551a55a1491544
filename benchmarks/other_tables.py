"""The tables of what scripts other than run.py measured. Standard library only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from formatting import cores, filled, matrix, shown, table

_MEMORY_OURS = "srgan-trt fp32"
_SETS = ("Set5", "BSD100")
_BICUBIC = {"Set5": (28.43, 0.8111, 0.3056), "BSD100": (25.96, 0.6681, 0.4682)}
"""PSNR, SSIM and perceptual distance of bicubic at x4, by `srgan-trt evaluate`, as the cards have them."""


def int8_table(machines: list[dict[str, Any]]) -> str:
    """Network by network: what is in int8, what that costs, and what it wins on each machine."""
    rows = {row["model"]: row for found in reversed(machines) for row in found["rows"]}
    heads = [f"times {found['high']}, {matrix(found['machine'])[0]}" for found in machines]
    lines = [
        f"| network | convolutions in int8 | dB from fp32: Set5, BSD100 | dB lost to the truth | {' | '.join(heads)} |",
        f"|---|---:|---:|---:|{'---:|' * len(machines)}",
    ]
    for row in rows.values():
        if "refused" in row:
            lines.append(f"| `{row['model']}` | none: {row['refused']} | | |{' |' * len(machines)}")
            continue
        others: list[dict[str, Any]] = [
            next((each for each in found["rows"] if each["model"] == row["model"]), {}) for found in machines
        ]
        cells = [
            f"`{row['model']}`",
            "{} of {}".format(*row["convolutions"]),
            ", ".join(f"{row[name]['fidelity_db']:.1f}" for name in ("Set5", "BSD100")),
            ", ".join(f"{row[name]['drop_db']:.3f}" for name in ("Set5", "BSD100")),
            *(f"{each['speed']['times']:.2f}" if "speed" in each else "" for each in others),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def files_table(found: dict[str, Any]) -> str:
    """Files in, files out, by throughput.py."""
    machine, models = found["machine"], found["models"]
    rows = [("", [f"`{each['model']}`" for each in models])]
    rows.append(("start-up, s", [shown(each["start_s"]) for each in models]))
    rows.append((f"{found['photos']} photos, 480x320, output megapixels a second",
                 [shown(each["folder_megapixels_a_second"]) for each in models]))  # fmt: skip
    rows.append(("a picture of {}x{}, s".format(*found["large"]), [shown(each["large_s"]) for each in models]))
    clocks = [each["clocks_s"] for each in models]
    for part in ("reading", "network", "writing"):
        rows.append((f"{part}, share of the photos' time", [f"{each[part] / each['whole']:.0%}" for each in clocks]))
    notes = [
        f"{cores(machine)} of an {machine['cpu'].strip()} {matrix(machine)[0]}, {machine['date'][:10]}; JPEGs to PNGs "
        "by `srgan-trt upscale` in a process of its own, start-up included. The shares overlap."
    ]
    if "keras" in found:
        notes.append(
            f"A loop of Pillow, Keras `predict` and Pillow, once it is running, makes "
            f"{shown(found['keras']['megapixels_a_second'])} megapixels a second with `srgan-x4`."
        )
    return f"{filled(' '.join(notes))}\n\n{table(rows)}"


def memory_table(found: dict[str, Any]) -> str:
    """Peak memory against the picture's size, by memory.py."""
    sizes = list(dict.fromkeys((row["width"], row["height"]) for row in found["rows"]))
    peaks = {(row["name"], row["width"], row["height"]): row["peak_gb"] for row in found["rows"]}
    rows = [("peak memory of the process, GB", [f"{width}x{height}" for width, height in sizes])]
    for name in dict.fromkeys(row["name"] for row in found["rows"]):
        cells = [f"{peaks[name, *size]:.2f}" if (name, *size) in peaks else "" for size in sizes]
        rows.append((f"**{name}**" if name == _MEMORY_OURS else name, cells))
    return table(rows)


def models_table(models: Sequence[Any], *, default: str) -> str:
    """The models that have a name (srgan_trt.models.registry): scores, size, licence, where from; then what each is."""
    heads = " | ".join(f"{name}: PSNR / SSIM / distance" for name in _SETS)
    lines = [f"| x4 | {heads} | size | licence | where |", "|---|---:|---:|---:|---|---|"]
    bicubic = " | ".join("{:.2f} / {:.4f} / {:.4f}".format(*_BICUBIC[name]) for name in _SETS)
    lines.append(f"| bicubic | {bicubic} | | | |")
    for model in models:
        cells = [_scores(model.scores.get(name)) for name in _SETS]
        size = f"{model.size / 1e6:.1f} MB" + (f" + {model.int8_size / 1e6:.1f}" if model.int8_size else "")
        extra = getattr(model.place, "extra", None)
        where = "in this package" if extra is None else f"`[{extra}]`"
        name = f"`{model.name}`{' (the default)' if model.name == default else ''}"
        lines.append(f"| {name} | {' | '.join(cells)} | {size} | {model.licence} | {where} |")
    told = []
    for model in models:
        first, *rest = filled(f"`{model.name}`: {model.what}.", width=117).splitlines()
        told += [f"- {first}", *(f"  {line}" for line in rest)]
    return "\n".join([*lines, "", *told])


def _scores(scores: Any) -> str:
    if scores is None:
        return ""
    distance = "" if scores.perceptual is None else f" / {scores.perceptual:.4f}"
    return f"{scores.psnr:.2f} / {scores.ssim:.4f}{distance}"
