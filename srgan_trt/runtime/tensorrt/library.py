"""NVIDIA's TensorRT, whichever is installed: the packages ``tensorrt`` (10.x, 11.x) and ``tensorrt_rtx``, one surface.

TensorRT's setters log an error and go on, and a build that fails returns None (developer guide, "Error Handling"): so a
logger collects what it says, and `Messages.check` raises it.
"""

from __future__ import annotations

import logging
import re
import threading
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from ...errors import DeviceError, DeviceMemoryError, missing
from ..gpu.device import gpus

_log = logging.getLogger(__name__)

FLAVOURS = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
"""Names of the two, as users write them (and pip), and their modules; the first one that is there is taken."""
_TITLES = {"tensorrt": "TensorRT", "tensorrt-rtx": "TensorRT-RTX"}

_ADVICE = (
    (r"OutOfMemory|[Oo]ut of memory|[Ii]nsufficient memory|workspace (limit|size)", "use a smaller tile or batch"),
    (r"[Nn]o importer|[Pp]lugin not found|[Uu]nsupported|UNSUPPORTED_NODE", "use --device cpu for this network"),
    (r"insufficient for CUDA runtime|CUDA initialization|no CUDA-capable", "install a newer NVIDIA driver"),
    (r"[Dd]eserializ|magic tag|[Vv]ersion tag", "build the engine again"),
)
"""What to do about messages that look like this."""
_NOISE = re.compile(r"insufficient for CUDA runtime")
"""Follows other errors where there is no driver, and is none itself: nothing that is built there needs one."""
_DEFAULT_ADVICE = "use --device cpu, and please report it with what -v prints"


class Messages:
    """What TensorRT says through one logger. It must live as long as the objects that were made with it."""

    def __init__(self, library: Library, *, verbose: bool = False, aloud: bool = False) -> None:
        """verbose: keep all lines, those of each layer too. aloud: log errors when they are said, too: for what fails
        while it runs, where nobody calls `check`."""
        self.errors: list[str] = []
        self.lines: list[str] = []
        self._warnings: set[str] = set()
        self._library, self._aloud = library, aloud
        self._lock = threading.Lock()
        self.native = _native_logger(library.module, self._take, verbose=verbose)
        """TensorRT's ILogger."""

    def check(self, doing: str, *, failed: bool = False) -> None:
        """Raises DeviceError (DeviceMemoryError for want of memory) if an error was logged since the last check.

        doing: what was tried, after "cannot". failed: raise even if nothing was logged.
        """
        with self._lock:
            errors, self.errors = self.errors, []
        if not errors and not failed:
            return
        said = next((error for error in errors if not _NOISE.search(error)), (errors or ["it gave no reason"])[0])
        for error in errors:
            _log.debug("%s: %s", self._library, error)
        advice = next((text for pattern, text in _ADVICE if re.search(pattern, said)), _DEFAULT_ADVICE)
        kind = DeviceMemoryError if advice is _ADVICE[0][1] else DeviceError
        raise kind(f"{self._library} cannot {doing}: {_one_line(said)}: {advice}")

    def forget(self) -> None:
        """Drops the errors logged so far: of an attempt that may fail."""
        with self._lock:
            self.errors = []

    def _take(self, severity: str, text: str) -> None:
        with self._lock:
            if severity in ("INTERNAL_ERROR", "ERROR"):
                self.errors.append(text)
            else:
                self.lines.extend(text.splitlines())
            again = text in self._warnings
            if severity == "WARNING":
                self._warnings.add(text)  # it repeats some of them for every layer
        if severity == "WARNING" and not again:
            _log.info("%s: %s", self._library, text)
        elif self._aloud and severity.endswith("ERROR"):
            _log.error("%s: %s", self._library, _one_line(text))


@dataclass(frozen=True, slots=True)
class Library:
    """A TensorRT that is installed."""

    flavour: str
    """Of `FLAVOURS`."""
    version: str
    module: Any

    def __str__(self) -> str:
        return f"{_TITLES[self.flavour]} {self.version}"

    @property
    def builds_for_others(self) -> bool:
        """Whether it builds without a GPU, for one that is elsewhere."""
        return hasattr(self.module, "ComputeCapability")

    def check_precision(self, precision: str) -> None:
        """Raises DeviceError for int8 in TensorRT-RTX, which NVIDIA's support matrix lists no int8 convolution for: it
        builds them (1.7), and each writes float32, which another kernel reads."""
        if precision == "int8" and self.flavour == "tensorrt-rtx":
            raise DeviceError(
                f"{self}'s int8 convolutions write float32, so int8 would move twice the bytes of fp16 and be slower: "
                "use the plan in fp32, which it runs in fp16, or tensorrt"
            )

    def runtime(self, messages: Messages) -> Any:
        """TensorRT's Runtime. Raises DeviceError where there is no driver or no GPU: some libraries crash there."""
        need_gpu(f"{self} can load no engine")
        made = self.module.Runtime(messages.native)
        messages.check("start")
        return made


def find_library(flavour: str | None = None) -> Library:
    """The TensorRT of that flavour, or with None the first that is installed.

    Raises MissingPackageError if it is not, DeviceError if it is and cannot be loaded or there is no such flavour.
    """
    if flavour is not None and flavour not in FLAVOURS:
        raise DeviceError(f"there is no TensorRT {flavour!r}: use {' or '.join(FLAVOURS)}")
    broken: list[str] = []
    for name in [flavour] if flavour else FLAVOURS:
        try:
            module = import_module(FLAVOURS[name])
            return Library(name, str(module.__version__), module)
        except ModuleNotFoundError as error:
            if error.name != FLAVOURS[name]:
                broken.append(f"{name} is installed but not whole ({error}): pip install --force-reinstall {name}")
        except (ImportError, OSError, AttributeError) as error:
            broken.append(f"{name} cannot be loaded ({_one_line(str(error))}): pip install --force-reinstall {name}")
    if broken:
        raise DeviceError(broken[0])
    name = flavour or next(iter(FLAVOURS))
    raise missing(name, name, "build or run engines for NVIDIA GPUs")


def need_gpu(without: str) -> None:
    """Raises DeviceError, which begins with `without`, if there is no driver or no GPU; cuInit is called."""
    found = gpus()
    if found is None:
        raise DeviceError(f"{without}: there is no NVIDIA driver here (libcuda); install one, or use --device cpu")
    if not found:
        raise DeviceError(f"{without}: the NVIDIA driver lists no GPU; use --device cpu")


def _native_logger(trt: Any, take: Any, *, verbose: bool) -> Any:
    """An ILogger that gives (severity's name, text) to `take`; TensorRT calls it from several threads."""

    class Collector(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, text: str) -> None:
            name = severity.name
            if verbose or name in ("INTERNAL_ERROR", "ERROR", "WARNING"):
                take(name, text)

    return Collector()


def _one_line(text: str) -> str:
    """Without TensorRT's own source lines, and not longer than a terminal's few lines."""
    text = re.sub(r"\(?\s*(In|at) [^\s()]+(\(\))? at /_?src\S+\)?|\[[\w.]+::\w+::\d+\]\s*", "", " ".join(text.split()))
    return text.strip(" .)(")[:400]
