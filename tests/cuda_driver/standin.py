"""Running tests on the stand-in driver.

The driver is found when CUDA's libraries are first loaded, so a test's CUDA part is a function of its module that runs
in a process of its own::

    def upload(value): ...                     # cuda.core, as on a machine with a GPU

    def test_upload():
        outcome = run(upload, 3, memory=64 << 20)
        assert outcome.value == 3
        assert [line["kind"] for line in outcome.trace] == ["copy"]
        assert not outcome.leaks["allocations"]

Inside that process `faults`, `calls`, `trace` and `leaks` ask the driver.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import pickle
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import build

ROOT = Path(__file__).resolve().parents[2]


class StandInError(AssertionError):
    """A function raised in its process, or the process ended, or it took too long; the text has what it printed."""


@dataclass(frozen=True)
class Outcome:
    """value: what the function returned. trace: every driver call, in the order of the calls; times are nanoseconds of
    one clock. leaks: what was allocated and alive when the function had returned and its garbage was collected."""

    value: Any
    trace: list[dict[str, Any]]
    leaks: dict[str, Any]
    stderr: str

    def executed(self, *kinds: str) -> list[dict[str, Any]]:
        """What ran on streams, in the order of beginning: copy, fill, kernel, host, event, wait, alloc, free."""
        wanted = kinds or ("copy", "fill", "kernel", "host", "event", "wait", "alloc", "free")
        return sorted((line for line in self.trace if line["kind"] in wanted), key=lambda line: line["begin"])


def environment(
    *,
    devices: int = 1,
    capability: Sequence[tuple[int, int]] = ((8, 9),),
    memory: int = 1 << 30,
    multiprocessors: int = 128,
    name: str = "Imaginary GPU",
    version: int = 13000,
    kernels: Path | None = None,
    order: str = "threads",
    delay_us: int = 0,
    seed: int = 0,
    fault: str = "",
    trace: Path | None = None,
) -> dict[str, str]:
    """The environment of a process that finds the stand-in as its driver.

    capability: of each device; the last is that of all after it. memory: bytes of each device. kernels: a shared
    library with hostlaunch_NAME and hostparams_NAME (`tests.cuda_host.build`). order: "threads" runs each stream in a
    thread, each piece of work after a random wait of at most delay_us; "late" runs work only when somebody waits for
    it, and then nothing else. fault: "cuMemAlloc:3:2" makes the third cuMemAlloc return error 2, "*" is any call that
    is not a mere query, "@kernel" the execution of a kernel, "@*" of anything; "!" at the end makes an error sticky
    that is not so by itself; commas between several.
    """
    assert order in ("threads", "late"), order
    path = os.pathsep.join(filter(None, [str(build.library_folder()), os.environ.get("LD_LIBRARY_PATH")]))
    return {
        **os.environ,
        "LD_LIBRARY_PATH": path,
        "STANDIN_DEVICES": str(devices),
        "STANDIN_CAPABILITY": ",".join(f"{major}{minor}" for major, minor in capability),
        "STANDIN_MEMORY": str(memory),
        "STANDIN_MULTIPROCESSORS": str(multiprocessors),
        "STANDIN_NAME": name,
        "STANDIN_VERSION": str(version),
        "STANDIN_KERNELS": "" if kernels is None else str(kernels),
        "STANDIN_ORDER": order,
        "STANDIN_DELAY_US": str(delay_us),
        "STANDIN_SEED": str(seed),
        "STANDIN_FAULTS": fault,
        "STANDIN_TRACE": "" if trace is None else str(trace),
    }


def run(function: Callable[..., Any], *arguments: Any, timeout: float = 60, **settings: Any) -> Outcome:
    """function(*arguments) in a process whose driver is the stand-in; settings are those of `environment`.

    The function is one of a module's own names; what goes in and out is pickled. Raises StandInError.
    """
    with tempfile.TemporaryDirectory() as folder:
        request, answer, lines = Path(folder, "request"), Path(folder, "answer"), Path(folder, "trace")
        request.write_bytes(pickle.dumps((function.__module__, function.__qualname__, arguments)))
        command = [sys.executable, "-m", __name__, str(request), str(answer)]
        try:
            done = subprocess.run(
                command,
                env=environment(trace=lines, **settings),
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=timeout,
            )
        except subprocess.TimeoutExpired as error:
            printed = (error.stderr or b"").decode() if isinstance(error.stderr, bytes) else error.stderr
            raise StandInError(f"{function.__qualname__} ran for more than {timeout} s\n{printed}") from None
        if not answer.exists():
            raise StandInError(f"{function.__qualname__} ended with {done.returncode}\n{done.stderr}")
        failure, value, left = pickle.loads(answer.read_bytes())
        if failure is not None:
            raise StandInError(f"{function.__qualname__} raised\n{failure}\n{done.stderr}")
        return Outcome(value, read_trace(lines), left, done.stderr)


def read_trace(path: Path) -> list[dict[str, Any]]:
    """The lines of a trace, in the order of the calls."""
    text = path.read_text() if path.exists() else ""
    return sorted((json.loads(line) for line in text.splitlines()), key=lambda line: line["sequence"])


def faults(orders: str) -> None:
    """Replaces the faults asked for; counting begins now. "" asks for none."""
    _driver().standin_faults(orders.encode())


def calls() -> int:
    """How many calls a fault of "*" would have counted since the process began."""
    return int(_driver().standin_calls())


def trace(*, forget: bool = False) -> list[dict[str, Any]]:
    """What the trace has so far, and with `forget` nothing of it later (the file keeps it)."""
    text = _text(_driver().standin_trace)
    if forget:
        _driver().standin_forget_trace()
    return sorted((json.loads(line) for line in text.splitlines()), key=lambda line: line["sequence"])


def leaks() -> dict[str, Any]:
    """What is alive: "allocations" (a list), bytes in use and at most for each of "devices", and how many "streams",
    "events", "graphs", "graph_execs", "modules" and "pools"."""
    found: dict[str, Any] = json.loads(_text(_driver().standin_leaks))
    return found


def _text(function: Any) -> str:
    size = 1 << 16
    while True:
        buffer = ctypes.create_string_buffer(size)
        length = function(buffer, ctypes.c_size_t(size))
        if length <= size:
            return buffer.raw[:length].decode()
        size = 2 * length


def _driver() -> ctypes.CDLL:
    library = ctypes.CDLL("libcuda.so.1")
    library.standin_trace.restype = library.standin_leaks.restype = ctypes.c_size_t
    library.standin_calls.restype = ctypes.c_longlong
    return library


def _serve(request: Path, answer: Path) -> None:
    import gc

    module, name, arguments = pickle.loads(request.read_bytes())
    failure, value = None, None
    try:
        function: Any = importlib.import_module(module)
        for part in name.split("."):
            function = getattr(function, part)
        value = function(*arguments)
    except BaseException:
        failure = traceback.format_exc()
    gc.collect()
    answer.write_bytes(pickle.dumps((failure, value, leaks())))


if __name__ == "__main__":
    _serve(Path(sys.argv[1]), Path(sys.argv[2]))
