"""The README's claims and tables, from the results that it publishes: python benchmarks/tables.py [--check]

Without an option it writes the text between the README's `<!-- claims -->` and `<!-- tables -->` marks anew; `--check`
writes nothing and exits with 1 if the README says anything else than the results do. Standard library only.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[1]
_RESULTS = _ROOT / "benchmarks" / "results"
_README = _ROOT / "README.md"

PUBLISHED = (
    ("2026-11-26-epyc-avx2.json", "2026-11-26-epyc-avx2-seed-480x320.json"),
    ("2026-11-22-epyc-avx512bf16.json", "2026-11-22-epyc-avx512bf16-paper-480x320.json"),
)
"""Files of benchmarks/results, machine by machine, the first of which the claims are of; a case (network and size) of a
later file replaces an earlier one's."""

INT8: tuple[str, ...] = ("2026-11-25-epyc-avx2-int8.json",)
"""Files of benchmarks/results, by int8.py, one for each machine."""

OURS = "srgan-trt"
_KERAS = "Keras predict"
_OPENVINO = "OpenVINO bf16, unmodified export"
_NUMBERS = ("no", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight")
_MOST_DROP = 0.1
"""dB against the truth, up to which two pictures pass for the same."""

Case = dict[str, Any]
Entry = dict[str, Any]


def read(names: tuple[str, ...]) -> dict[str, Any]:
    """The results of several files of one machine as one."""
    found: dict[str, Any] = {}
    cases: dict[tuple[Any, ...], Case] = {}
    for name in names:
        content = json.loads((_RESULTS / name).read_text())
        found = {**content, **found}  # the first file's machine and start-up times
        cases |= {(case["network"], case["width"], case["height"]): case for case in content["results"]}
    return found | {"results": list(cases.values()), "files": list(names)}


def read_int8() -> list[dict[str, Any]]:
    """The results of int8.py, machine by machine."""
    return [json.loads((_RESULTS / name).read_text()) for name in INT8]


def best_of_ours(case: Case) -> Entry:
    """Our fastest entrant that gives Keras's picture."""
    return min((each for each in _ours(case) if _same(each)), key=lambda each: float(each["median_ms"]))


def best_rival(case: Case) -> Entry:
    """The fastest of the others that gives the same picture."""
    others = [each for each in case["rivals"] if not each["name"].startswith(OURS) and _same(each)]
    return min(others, key=lambda each: -_speed(each))


def times(ours: Entry, rival: Entry) -> float:
    """How many times as fast ours is: of rounds that both ran in, where the results tell."""
    if "relative" in ours and "relative" in rival:
        return float(rival["relative"] / ours["relative"])
    if rival["name"] == _OPENVINO:
        return float(ours["times_openvino_bf16"])
    return _speed(ours) / _speed(rival)


def claims(found: dict[str, Any]) -> str:
    """One paragraph: the largest picture of each network."""
    paper, seed = (_largest(found, network) for network in ("paper", "seed"))
    ours = [best_of_ours(case) for case in (paper, seed)]
    rivals = [best_rival(case) for case in (paper, seed)]
    keras = [_named(case, _KERAS) for case in (paper, seed)]
    width, height = paper["width"], paper["height"]
    factors = [f"{times(mine, rival):.2f}" for mine, rival in zip(ours, rivals, strict=True)]
    names = " and ".join(dict.fromkeys(rival["name"] for rival in rivals))
    levels = [entry["psnr_db"] for entry in ours if entry["psnr_db"] is not None]
    same = f"the same picture to {int(min(levels))} dB" if levels else "the identical picture"
    precisions = " and ".join(dict.fromkeys(entry["precision"] for entry in ours))
    drops = [entry["drop_db"] for entry in ours if entry.get("drop_db") is not None]
    lost = f", {max(0.0, *drops):.2f} dB farther from the truth at most" if drops else ""
    return _filled(
        f"On {_cores(found['machine']).lower()} {_matrix(found['machine'])[0]} a {width}x{height} photo becomes "
        f"{4 * width}x{4 * height} in {_seconds(ours[0])} (Keras `predict`: {_seconds(keras[0])}), with the generator "
        f"of SuperResolution-GANs in {_seconds(ours[1])} ({_seconds(keras[1])}): in {precisions}, {factors[0]} and "
        f"{factors[1]} times as fast as the fastest rival that gives the same picture ({names}), and {same}{lost}. "
        f"With `--exact` it is the original's picture to the level."
    )


def tables(found: dict[str, Any]) -> str:
    """What was measured, on what, by whom, and how far that is from the practical limit."""
    cases = sorted(found["results"], key=lambda case: (case["network"], case["width"] * case["height"]))
    machine = found["machine"]
    names = list(dict.fromkeys(entry["name"] for case in cases for entry in case["rivals"]))
    names.sort(key=lambda name: name.startswith(OURS))
    heads = [f"{case['network']} {case['width']}x{case['height']}" for case in cases]
    bests = [best_of_ours(case) for case in cases]
    rows = [("ms, median", heads)]
    for name in names:
        cells = [_cell(_find(case, name), best) for case, best in zip(cases, bests, strict=True)]
        rows.append((f"**{name}**" if any(best["name"] == name for best in bests) else name, cells))
    pairs = list(zip(cases, bests, strict=True))
    rows.append(("times Keras predict", [f"{times(best, _named(case, _KERAS)):.1f}" for case, best in pairs]))
    if all(_find(case, _OPENVINO) for case in cases):
        rows.append(("times OpenVINO bf16, unmodified", [f"{times(b, _named(c, _OPENVINO)):.2f}" for c, b in pairs]))
    rows.append(("times the best rival with the same picture", [f"{times(b, best_rival(c)):.2f}" for c, b in pairs]))
    rows.append(("dB from Keras", [_decibels(best) for best in bests]))
    if any(best.get("drop_db") is not None for best in bests):
        drops = [best.get("drop_db") for best in bests]
        rows.append(("dB lost against the truth", ["" if drop is None else f"{drop:.3f}" for drop in drops]))
    rows += _limit_rows(pairs)
    lines = [f"| {first} | {' | '.join(cells)} |" for first, cells in rows]
    lines.insert(1, "|---|" + "---:|" * len(cases))
    text = [
        _filled(
            f"{_cores(machine)} of an {machine['cpu'].strip()} {_matrix(machine)[1]}, {machine['date'][:10]}; uint8 "
            "picture in, uint8 picture x4 out. `paper` is the SRGAN paper's generator with trained weights, `seed` "
            "that of SuperResolution-GANs 0.0.3 (random weights, more work). Pictures above 128x128 were measured "
            "in pairs with ours, so the ratios there are of each pair, not of the medians shown. The last rows are of "
            f"our fastest, bold, that gives Keras's picture.{_several(found)}"
        ),
        "",
        *lines,
        "",
        _filled(_notes(found, cases)),
    ]
    return "\n".join(text)


def int8_table(machines: list[dict[str, Any]]) -> str:
    """Network by network: what is in int8, what that costs, and what it wins on each machine."""
    first = machines[0]
    heads = [f"times {found['high']}, {_matrix(found['machine'])[0]}" for found in machines]
    lines = [
        f"| network | convolutions in int8 | dB from fp32: Set5, BSD100 | dB lost to the truth | {' | '.join(heads)} |",
        f"|---|---:|---:|---:|{'---:|' * len(machines)}",
    ]
    for row in first["rows"]:
        if "refused" in row:
            lines.append(f"| `{row['model']}` | none: {row['refused']} | | |{' |' * len(machines)}")
            continue
        others = [next((each for each in found["rows"] if each["model"] == row["model"]), {}) for found in machines]
        cells = [
            f"`{row['model']}`",
            "{} of {}".format(*row["convolutions"]),
            ", ".join(f"{row[name]['fidelity_db']:.1f}" for name in ("Set5", "BSD100")),
            ", ".join(f"{row[name]['drop_db']:.3f}" for name in ("Set5", "BSD100")),
            *(f"{each['speed']['times']:.2f}" if "speed" in each else "" for each in others),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def block(text: str, name: str) -> str:
    """What stands between the marks `name` of `text`."""
    found = re.search(rf"<!-- {name} -->\n(.*?)\n<!-- /{name} -->", text, re.DOTALL)
    if found is None:
        raise ValueError(f"no <!-- {name} --> ... <!-- /{name} --> here")
    return found[1]


def renewed(readme: str, machines: list[dict[str, Any]], quantised: list[dict[str, Any]]) -> str:
    """The README with its blocks as the results have them, of each machine a table."""
    every = "\n\n".join(tables(found) for found in machines)
    blocks = {"claims": claims(machines[0]), "tables": every}
    if quantised:
        blocks["int8"] = int8_table(quantised)
    for name, text in blocks.items():
        readme = readme.replace(
            f"<!-- {name} -->\n{block(readme, name)}\n<!-- /{name} -->",
            f"<!-- {name} -->\n{text}\n<!-- /{name} -->",
        )
    return readme


def _ours(case: Case) -> list[Entry]:
    return [entry for entry in case["rivals"] if entry["name"].startswith(OURS)]


def _find(case: Case, name: str) -> Entry | None:
    return next((entry for entry in case["rivals"] if entry["name"] == name), None)


def _named(case: Case, name: str) -> Entry:
    found = _find(case, name)
    if found is None:
        raise ValueError(f"the results of {case['network']} {case['width']}x{case['height']} have no {name!r}")
    return found


def _same(entry: Entry) -> bool:
    drop = entry.get("drop_db")
    return bool(entry["agrees"]) and (drop is None or drop <= _MOST_DROP)


def _speed(entry: Entry) -> float:
    """Against Keras predict."""
    return 1 / float(entry["relative"]) if "relative" in entry else float(entry["times_keras_predict"])


def _largest(found: dict[str, Any], network: str) -> Case:
    cases = [case for case in found["results"] if case["network"] == network]
    if not cases:
        raise ValueError(f"the results hold nothing about {network}")
    return max(cases, key=lambda case: case["width"] * case["height"])


def _cores(machine: dict[str, Any]) -> str:
    count = machine["cores"]
    return f"{_NUMBERS[count] if count < len(_NUMBERS) else count} core{'s' if count > 1 else ''}"


def _matrix(machine: dict[str, Any]) -> tuple[str, str]:
    """What the processor multiplies matrices with, in short and in full."""
    flags = machine["flags"]
    if "amx_bf16" in flags:
        return "with AMX", "with AMX"
    if "avx512_bf16" in flags:
        return "without AMX", "with avx512_bf16 and no AMX (the matrix unit that bf16 is fastest on)"
    if "avx512f" in flags:
        return "with AVX512, without bf16", "with AVX512, without bf16 and AMX"
    return "with AVX2 alone", "with AVX2 alone: no AVX512, no bf16, no AMX"


def _cell(entry: Entry | None, best: Entry) -> str:
    if entry is None:
        return ""
    text = _shown(entry["median_ms"])
    if entry["name"] == best["name"]:
        return f"**{text}**"
    return text if _same(entry) else f"{text} ({_decibels(entry)} dB)"


def _decibels(entry: Entry) -> str:
    return "identical" if entry["psnr_db"] is None else f"{entry['psnr_db']:.1f}"


def _limit_rows(pairs: list[tuple[Case, Entry]]) -> list[tuple[str, list[str]]]:
    """The practical limit of our best entrant's precision; none where it was not measured."""
    limits = [case.get("limits", {}).get(best["name"]) for case, best in pairs]
    if not any(limits):
        return []
    exported = [_shown(each["exported_ms"]) if each else "" for each in limits]
    rewritten = [_shown(each["limit_ms"]) if each else "" for each in limits]
    shares = [f"{best['share_of_limit']:.0%}" if each else "" for (_, best), each in zip(pairs, limits, strict=True)]
    return [
        ("practical limit of the network as exported, ms", exported),
        ("practical limit as rewritten, ms", rewritten),
        ("share of it reached", shares),
    ]


def _several(found: dict[str, Any]) -> str:
    if len(found["files"]) == 1:
        return f" From `benchmarks/results/{found['files'][0]}`."
    rest = ", ".join(f"`{name}`" for name in found["files"][1:])
    return f" From `benchmarks/results/{found['files'][0]}`, and by runs of their own: {rest}."


def _notes(found: dict[str, Any], cases: list[Case]) -> str:
    share = max(case["kernels"]["share_of_network"] for case in cases)
    start = found["start_up"]
    upscale = start["srgan-trt upscale small.png"]["median_ms"] / 1e3
    notes = [
        f"pack and unpack together: at most {share:.1%} of the network's time. `srgan-trt upscale` of a small photo "
        f"from a cached plan, whole process: {upscale:.2f} s. `import srgan_trt`: "
        f"{start['import srgan_trt']['median_ms']:.0f} ms."
    ]
    gains = [each["gain"] for network in found.get("tuned", {}).values() for each in network.values()]
    if gains:
        notes.append(f"Ours are tuned (`srgan-trt tune`), which made them up to {max(gains):.2f} times as fast.")
    if any("limits" in case for case in cases):
        when = "timed in the same rounds" if all("rates" in case for case in cases) else "measured in the same run"
        notes.append(
            "The practical limit is the network's operations over the rate of OpenVINO's own 3x3 convolutions at its "
            f"channel counts, {when}."
        )
    pictures = {each["pictures"] for each in found.get("drops", {}).values()}
    if pictures:
        notes.append(
            f"Numbers in brackets: dB from Keras, of pictures more than {_MOST_DROP} dB farther from the truth "
            f"than Keras's, or differ from them otherwise. The truth: {', '.join(sorted(pictures))}."
        )
    missing: dict[tuple[str, str], list[str]] = {}
    for case in cases:
        for each in case.get("missing", {}).items():
            missing.setdefault(each, []).append(f"{case['network']} {case['width']}x{case['height']}")
    if missing:
        told = [
            f"{name}{' at ' + ', '.join(where) if len(where) < len(cases) else ''} ({reason})"
            for (name, reason), where in missing.items()
        ]
        notes.append("Not measured: " + "; ".join(told) + ".")
    return " ".join(notes)


def _seconds(entry: Entry) -> str:
    seconds = entry["median_ms"] / 1e3
    return f"{seconds:.0f} s" if seconds >= 100 else f"{seconds:.2g} s"


def _shown(milliseconds: float) -> str:
    return f"{milliseconds:,.0f}" if milliseconds >= 100 else f"{milliseconds:.3g}"


def _filled(text: str) -> str:
    """Lines of at most 119 characters, broken at spaces and nowhere else."""
    lines, line = [], ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > 119:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    return "\n".join([*lines, line])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if the README differs")
    options = parser.parse_args()
    before = _README.read_text()
    after = renewed(before, [read(names) for names in PUBLISHED], read_int8())
    if options.check:
        if before != after:
            sys.exit("README.md is not what the results say: run python benchmarks/tables.py")
    elif before != after:
        _README.write_text(after)


if __name__ == "__main__":
    main()
