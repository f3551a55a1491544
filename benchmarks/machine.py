"""Facts about the machine and the software that a measurement was taken with."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16", "amx_int8")
_PACKAGES = tuple("srgan-trt numpy tensorflow keras tf2onnx onnx onnxruntime openvino pillow".split())
_OPTIONAL = tuple("nncf torch ncnn pnnx tensorrt tensorrt-rtx".split())


def facts() -> dict[str, Any]:
    """CPU, memory, system, versions, commit, date (UTC); plain values for JSON."""
    cpu = _cpu()
    flags = set(cpu.get("flags", "").split())
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "cpu": cpu.get("model name", platform.processor() or platform.machine()),
        "flags": [flag for flag in _FLAGS if flag in flags],
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "load": round(os.getloadavg()[0], 2),
        "system": f"{_distribution()}, {platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in _PACKAGES} | _installed(_OPTIONAL),
    }


def describe(found: dict[str, Any]) -> str:
    """`facts` in three lines of Markdown."""
    packages = ", ".join(f"{name} {version}" for name, version in found["packages"].items())
    return (
        f"{found['cpu']} ({' '.join(found['flags'])}), {found['cores']} cores, {found['memory_gb']} GB, "
        f"{found['system']}, load {found['load']} at the start  \n"
        f"Python {found['python']}, {packages}  \n"
        f"{found['commit']}, {found['date']}"
    )


def _installed(names: tuple[str, ...]) -> dict[str, str]:
    return {name: metadata.version(name) for name in names if any(True for _ in metadata.distributions(name=name))}


def _cpu() -> dict[str, str]:
    """The first processor of /proc/cpuinfo; empty where there is none."""
    path = Path("/proc/cpuinfo")
    if not path.is_file():
        return {}
    first = path.read_text().split("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return platform.platform()


def _commit() -> str:
    """Short hash, with -dirty where tracked files were changed; "no commit" outside a checkout."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        result = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "no commit"
    return result.stdout.strip() or "no commit"
