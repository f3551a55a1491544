"""The report of scripts/gpu_check.py, as people read it, and what in it is not as it should be."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_LEAST_DB = {"fp32": 60.0, "fp16": 50.0, "int8": 40.0}
"""From the CPU's fp32 picture. A level here and there is 60 dB and more."""
ARRAYS_DO = ("the same picture", "not installed")
"""What is said of a library's arrays where nothing is wrong."""


def ended(status: int) -> str:
    """How a process ended, in words."""
    return f"ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"


def problems(report: dict[str, Any]) -> list[str]:
    """What is not as it should be, in words."""
    found = []
    for entry in report["sections"]:
        if entry["outcome"] != "ok":
            found.append(": ".join([entry["name"], entry["outcome"], *entry.get("last_lines", [])[-1:]]))
    for path, tests in report["tests"].items():
        status, failed = tests["exit_status"], tests["failed"]
        found += [f"test failed: {name}" for name in failed]
        if not tests["passed"]:
            found.append(f"{path}: not one test passed")
        if status != bool(failed):  # pytest's 1 says that tests failed
            found.append(f"{path}: pytest {ended(status)}")
    for entry in report["models"]:
        if entry.get("psnr_db") is not None and entry["psnr_db"] < _LEAST_DB[entry["precision"]]:
            found.append(f"{entry['model']} in {entry['precision']} is {entry['psnr_db']} dB from the CPU's picture")
    for name, answer in report["bare"].items():
        found += [f"{name}: {text}" for text in _bare_problems(name.split()[0], answer)]
    return found


def _bare_problems(kind: str, answer: Any) -> Iterator[str]:
    if kind == "build" and not answer["extension"]:
        yield "the C++ extension was not built: NumPy does its work"
    elif kind == "arrays":
        yield from (f"{name}: {what}" for name, what in answer.items() if what not in ARRAYS_DO)
    elif kind == "sanitizer" and answer["errors"] != 0 and "missing" not in answer:
        yield answer["summary"] or f"compute-sanitizer {ended(answer['exit_status'])}"
    elif kind == "agreement":
        least, exact = _LEAST_DB[answer["precision"]], answer["precision"] == "fp32"
        for each in (*answer["pictures"], answer["in_little_memory"]):
            if (exact and each["levels"] > 1) or (each["psnr_db"] or least) < least:
                yield f"a picture is {_distance(each)} from what it should be"
        if not answer["same_by_threads"]:
            yield "threads get other pictures than one at a time"


def write(report: dict[str, Any], out: Path) -> None:
    """Both files, each whole at any time."""
    report["problems"] = problems(report)
    for name, text in (("report.json", json.dumps(report, indent=1) + "\n"), ("report.md", markdown(report))):
        partial = out / f"{name}.partial"
        partial.write_text(text, "utf-8")
        os.replace(partial, out / name)


def markdown(report: dict[str, Any]) -> str:
    """The report for people."""
    facts = report["machine"]
    lines = ["# srgan-trt on a GPU", ""]
    for gpu in report["gpus"]:
        lines.append(
            f"- {gpu['name']}, compute capability {gpu['compute_capability']}, {gpu['memory_gb']} GB, "
            f"{gpu['multiprocessors']} multiprocessors, driver for CUDA {gpu['driver']}"
            if "driver" in gpu
            else f"- {gpu['name']}"
        )
    lines.append(f"- {facts['system']}, Python {facts['python']}, {facts['commit']}, {facts['date']}")
    lines.append("- " + ", ".join(f"{name} {version}" for name, version in facts["packages"].items()))
    lines += ["", "## Problems", "", *(f"- {text}" for text in report["problems"] or ["none"])]
    if report["tests"]:
        lines += ["", "## Tests", ""]
    for path, tests in report["tests"].items():
        skipped = sum(tests["skipped"].values())
        lines.append(f"- {path}: {tests['passed']} passed, {len(tests['failed'])} failed, {skipped} skipped")
        lines += [f"  - {count} skipped: {reason}" for reason, count in tests["skipped"].items()]
    if report["models"]:
        lines += ["", "## Pictures and times", "", *_model_table(report["models"])]
    if report["kernels"]:
        lines += ["", "## The pixel kernels", "", "| | GB/s | of a copy on the GPU |", "|---|---:|---:|"]
        for entry in report["kernels"]:
            lines.append(f"| {entry['name']} | {entry['gigabytes_per_second']} | {entry['share_of_copy']:.0%} |")
    for name, answer in report["bare"].items():
        lines += ["", f"## {name}", "", *_bare_lines(name.split()[0], answer)]
    for entry in report["sections"]:
        bad = report["tests"].get(entry["name"].removeprefix("tests "), {}).get("exit_status")
        if entry.get("last_lines") and (entry["outcome"] != "ok" or bad):
            lines += ["", f"## The last lines of: {entry['name']}", "", "```", *entry["last_lines"], "```"]
    return "\n".join(lines) + "\n"


def _model_table(models: list[dict[str, Any]]) -> Iterator[str]:
    measured = [entry for entry in models if "refused" not in entry]
    yield "Pixels of the host in, pixels of the host out; medians. First: opening, building the engine, one picture.\n"
    yield "| model | engine | first, s | from the CPU's fp32: dB, levels | size | GPU, ms | CPU, ms | times |"
    yield "|---|---|---:|---:|---:|---:|---:|---:|"
    for entry in measured:
        head = f"{entry['model']} | {entry['engine']}, {entry['precision']} | {entry['first_seconds']}"
        head += f" | {_distance(entry)}"
        for each in entry["times"]:
            times = f"{each['gpu_ms']} | {each['cpu_ms']} ({each['cpu_precision']})"
            yield f"| {head} | {each['width']} x {each['height']} | {times} | {each['cpu_ms'] / each['gpu_ms']:.1f} |"
            head = " | | | "
    notes = [note for entry in measured for note in entry["notes"]]
    notes += [f"no {each['precision']} for {each['model']}: {each['refused']}" for each in models if "refused" in each]
    yield from ("", *(f"- {note}" for note in dict.fromkeys(notes))) if notes else ()


def _bare_lines(kind: str, answer: Any) -> Iterator[str]:
    """What a section of --bare found, for people."""
    if kind == "agreement":
        yield f"{answer['model']} by {answer['engine']}, from onnxruntime's picture in fp32: dB, levels\n"
        yield from (f"- {each['width']} x {each['height']}: {_distance(each)}" for each in answer["pictures"])
        yield f"- the same by several threads: {'yes' if answer['same_by_threads'] else 'NO'}"
        yield f"- in little memory, from the picture in much: {_distance(answer['in_little_memory'])}"
        yield from (f"- {note}" for note in answer["notes"])
    elif kind == "times":
        yield f"{answer['model']} by {answer['engine']}; ms of a picture, medians\n"
        yield "| size | host to host | on the GPU | by several threads |"
        yield "|---|---:|---:|---:|"
        for each in answer["times"]:
            numbers = " | ".join(str(each[name]) for name in ("host_ms", "gpu_ms", "together_ms"))
            yield f"| {each['width']} x {each['height']} | {numbers} |"
    elif kind == "timeline":
        columns = "wall span network pixels up down other idle".split()
        yield f"{answer['model']} by {answer['engine']}, {answer['width']} x {answer['height']}; ms of a picture\n"
        yield f"| | {' | '.join(columns)} | copies beside kernels |"
        yield f"|---|{'---:|' * (len(columns) + 1)}"
        for way in answer["ways"]:
            numbers = " | ".join(str(way[f"{name}_ms"]) for name in columns)
            beside = f"{way['copies_overlapped']:.0%}" if "copies_overlapped" in way else "no copies"
            yield f"| {way['way']} | {numbers} | {beside} |"
    else:
        yield from (f"- {name}: {what}" for name, what in answer.items())


def _distance(entry: dict[str, Any]) -> str:
    return "identical" if entry["psnr_db"] is None else f"{entry['psnr_db']}, {entry['levels']}"
