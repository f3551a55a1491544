"""The tables of the README and of docs/, from the results that are published: python benchmarks/tables.py [--check]

Without an option it writes anew what stands between the marks of each page (`<!-- summary -->` in the README,
`<!-- tables -->` in docs/benchmarks.md and more: see PAGES); `--check` writes nothing and exits with 1 if a page says
anything else than the results do. The tables of run.py are made here, those of other scripts in other_tables.py.
Standard library only, with those modules of srgan_trt that need nothing else.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from formatting import cores, filled, matrix, seconds, shown, table
from other_tables import files_table, int8_table, memory_table, models_table

_ROOT = Path(__file__).resolve().parents[1]
_RESULTS = _ROOT / "benchmarks" / "results"

PAGES = {
    "README.md": ("summary",),
    "docs/benchmarks.md": ("claims", "tables", "files", "memory"),
    "docs/int8.md": ("int8",),
    "docs/named-models.md": ("models",),
}
"""Which marks stand in which page."""

PUBLISHED = (
    ("2026-11-26-xeon-vnni.json",),
    ("2026-11-26-epyc-avx2.json", "2026-11-26-epyc-avx2-seed-480x320.json"),
    ("2026-11-22-epyc-avx512bf16.json", "2026-11-22-epyc-avx512bf16-paper-480x320.json"),
)
"""Files of benchmarks/results, machine by machine, the first of which the claims are of; a case (network and size) of a
later file replaces an earlier one's."""

INT8: tuple[str, ...] = ("2026-11-29-xeon-amx-int8.json", "2026-11-29-epyc-avx512bf16-int8.json")
"""Files of benchmarks/results, by int8.py, one for each machine; what is not of times is of the first that has it."""

FILES: tuple[str, ...] = ("2026-11-29-epyc-avx512bf16-throughput.json",)
"""Files of benchmarks/results, by throughput.py, one for each machine."""

MEMORY = "2026-11-26-xeon-vnni-memory.json"
"""A file of benchmarks/results, by memory.py."""

OURS = "srgan-trt"
_KERAS = "Keras predict"
_OPENVINO = "OpenVINO bf16, unmodified export"
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


def read_each(names: tuple[str, ...]) -> list[dict[str, Any]]:
    """The results of other scripts, machine by machine."""
    return [json.loads((_RESULTS / name).read_text()) for name in names]


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
    took = [seconds(entry["median_ms"]) for entry in ours]
    kerases = [seconds(_named(case, _KERAS)["median_ms"]) for case in (paper, seed)]
    width, height = paper["width"], paper["height"]
    factors = [f"{times(mine, rival):.2f}" for mine, rival in zip(ours, rivals, strict=True)]
    names = " and ".join(dict.fromkeys(rival["name"] for rival in rivals))
    levels = [entry["psnr_db"] for entry in ours if entry["psnr_db"] is not None]
    same = f"the same picture to {int(min(levels))} dB" if levels else "the identical picture"
    precisions = " and ".join(dict.fromkeys(entry["precision"] for entry in ours))
    drops = [entry["drop_db"] for entry in ours if entry.get("drop_db") is not None]
    lost = f", {_farther(max(drops))}" if drops else ""
    return filled(
        f"On {cores(found['machine']).lower()} {matrix(found['machine'])[0]} a {width}x{height} photo becomes "
        f"{4 * width}x{4 * height} in {took[0]} (Keras `predict`: {kerases[0]}), with the generator "
        f"of SuperResolution-GANs in {took[1]} ({kerases[1]}): in {precisions}, {factors[0]} and "
        f"{factors[1]} times as fast as the fastest rival that gives the same picture ({names}), and {same}{lost}. "
        f"With `--exact` it is at most one level of 255 from the original's picture."
    )


def summary(found: dict[str, Any]) -> str:
    """The README's table: the largest picture of each network, in four ways, and how they compare."""
    cases = [_largest(found, network) for network in ("paper", "seed")]
    ours = [best_of_ours(case) for case in cases]
    rivals = [best_rival(case) for case in cases]
    width, height = cases[0]["width"], cases[0]["height"]
    names = " or ".join(dict.fromkeys(rival["name"] for rival in rivals))
    rows = [(f"{width}x{height} to {4 * width}x{4 * height}, ms", ["SRGAN paper's generator", "SuperResolution-GANs'"])]
    rows.append(("Keras `predict`", [shown(_named(case, _KERAS)["median_ms"]) for case in cases]))
    rows.append((f"best other runtime: {names}", [shown(rival["median_ms"]) for rival in rivals]))
    for name in dict.fromkeys(entry["name"] for case in cases for entry in _ours(case)):
        cells = [shown(entry["median_ms"]) if (entry := _find(case, name)) else "" for case in cases]
        if any(entry["name"] == name for entry in ours):
            rows.append((f"**{name}**", [f"**{cell}**" if cell else "" for cell in cells]))
        else:
            rows.append((name, cells))
    pairs = list(zip(cases, ours, rivals, strict=True))
    factors = [f"{times(mine, _named(case, _KERAS)):.1f}, {times(mine, rival):.1f}" for case, mine, rival in pairs]
    rows.append(("times as fast as Keras, as the best other", factors))
    levels = [entry["psnr_db"] for entry in ours if entry["psnr_db"] is not None]
    drops = [entry["drop_db"] for entry in ours if entry.get("drop_db") is not None]
    machine = found["machine"]
    text = [
        f"{cores(machine)} of an {machine['cpu'].strip()} {matrix(machine)[0]}, {machine['date'][:10]}. Rivals run the "
        "unmodified export; one counts if its picture is the same."
    ]
    if levels:
        lost = f" and {_farther(max(drops))}" if drops else ""
        text.append(f"Ours (bold) is at least {int(min(levels))} dB from Keras's picture{lost}.")
    return f"{table(rows)}\n\n{filled(' '.join(text))}"


def _farther(drop: float) -> str:
    return f"{drop:.2f} dB farther from the truth at most" if drop >= 0.005 else "no farther from the truth"


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
    text = [
        f"### {machine['cpu'].strip()} {matrix(machine)[0]}",
        "",
        filled(
            f"{cores(machine)} of an {machine['cpu'].strip()} {matrix(machine)[1]}, {machine['date'][:10]}; uint8 "
            "picture in, uint8 picture x4 out. `paper` is the SRGAN paper's generator with trained weights, `seed` "
            "that of SuperResolution-GANs 0.0.3 (random weights, more work). Pictures above 128x128 were measured "
            "in pairs with ours, so the ratios there are of each pair, not of the medians shown. The last rows are of "
            f"our fastest, bold, that gives Keras's picture.{_several(found)}"
        ),
        "",
        table(rows),
        "",
        filled(_notes(found, cases)),
    ]
    if missing := _missing(cases):
        text += ["", "Not measured:", "", *missing]
    return "\n".join(text)


def block(text: str, name: str) -> str:
    """What stands between the marks `name` of `text`."""
    found = re.search(rf"<!-- {name} -->\n(.*?)\n<!-- /{name} -->", text, re.DOTALL)
    if found is None:
        raise ValueError(f"no <!-- {name} --> ... <!-- /{name} --> here")
    return found[1]


def blocks() -> dict[str, str]:
    """What stands between which marks, by the results that are published."""
    machines = [read(names) for names in PUBLISHED]
    return {
        "summary": summary(machines[0]),
        "claims": claims(machines[0]),
        "tables": "\n\n".join(map(tables, machines)),
        "files": "\n\n".join(map(files_table, read_each(FILES))),
        "memory": memory_table(*read_each((MEMORY,))),
        "int8": int8_table(read_each(INT8)),
        "models": models_table(_named_models(), default=_default_model()),
    }


def renewed(page: str, texts: dict[str, str]) -> str:
    """A page with these texts between their marks."""
    for name, text in texts.items():
        page = page.replace(
            f"<!-- {name} -->\n{block(page, name)}\n<!-- /{name} -->",
            f"<!-- {name} -->\n{text}\n<!-- /{name} -->",
        )
    return page


def pages() -> dict[Path, tuple[str, str]]:
    """Of each page what it says now, and what the results say."""
    texts = blocks()
    found = {}
    for name, marks in PAGES.items():
        before = (_ROOT / name).read_text("utf-8")
        found[_ROOT / name] = before, renewed(before, {mark: texts[mark] for mark in marks})
    return found


def _named_models() -> list[Any]:
    """Those of srgan_trt.models.registry, which imports nothing heavy: from this checkout, installed or not."""
    sys.path.insert(0, str(_ROOT))
    try:
        from srgan_trt.models.registry import packaged_models
    finally:
        sys.path.remove(str(_ROOT))
    return list(packaged_models().values())


def _default_model() -> str:
    from srgan_trt.models.registry import DEFAULT_MODEL

    return DEFAULT_MODEL


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


def _cell(entry: Entry | None, best: Entry) -> str:
    if entry is None:
        return ""
    text = shown(entry["median_ms"])
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
    exported = [shown(each["exported_ms"]) if each else "" for each in limits]
    rewritten = [shown(each["limit_ms"]) if each else "" for each in limits]
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
    if gains and max(gains) > 1:
        notes.append(f"Ours are tuned (`srgan-trt tune`), which made them up to {max(gains):.2f} times as fast.")
    elif gains:
        notes.append("Ours are tuned (`srgan-trt tune`), which found nothing faster than the default.")
    if any("limits" in case for case in cases):
        when = "timed in the same rounds" if all("rates" in case for case in cases) else "measured in the same run"
        notes.append(
            "The practical limit is the network's operations over the rate of OpenVINO's own 3x3 convolutions at its "
            f"channel counts, {when}."
        )
    pictures = {each["pictures"] for each in found.get("drops", {}).values()}
    if pictures:
        notes.append(
            f"In brackets: PSNR to Keras's picture, where the result loses more than {_MOST_DROP} dB against the "
            f"ground truth or differs otherwise. Ground truth: {', '.join(sorted(pictures))}."
        )
    return " ".join(notes)


def _missing(cases: list[Case]) -> list[str]:
    """What was not measured, where and why: one line for each reason."""
    found: dict[tuple[str, str], list[str]] = {}
    for case in cases:
        for name, reason in case.get("missing", {}).items():
            found.setdefault((name, _in_short(reason)), []).append(
                f"{case['network']} {case['width']}x{case['height']}"
            )
    by_reason: dict[str, list[str]] = {}
    for (name, reason), where in found.items():
        everywhere = len(where) == len(cases)
        by_reason.setdefault(reason, []).append(name if everywhere else f"{name} at {', '.join(where)}")
    lines = []
    for reason, names in by_reason.items():
        first, *rest = filled(f"{'; '.join(names)} ({reason})", width=117).splitlines()
        lines += [f"- {first}", *(f"  {line}" for line in rest)]
    return lines


def _in_short(reason: str) -> str:
    """A reason without the name of Python's exception and places in other people's source files."""
    if reason.startswith("RuntimeError: Check '") and "failed at src/core/" in reason:
        return "OpenVINO fails on the shapes that NNCF made"
    return reason.removeprefix("RuntimeError: ")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a page differs")
    options = parser.parse_args()
    stale = {path: after for path, (before, after) in pages().items() if before != after}
    if options.check and stale:
        names = ", ".join(str(path.relative_to(_ROOT)) for path in stale)
        sys.exit(f"not what the results say: {names}; run python benchmarks/tables.py")
    for path, text in stale.items():
        path.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
