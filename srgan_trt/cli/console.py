"""What the command line says: messages, warnings of the log, and a progress bar that they do not tear apart."""

from __future__ import annotations

import logging
import shutil
import sys
import threading
import time
import traceback
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from tqdm import tqdm

PROGRAM = "srgan-trt"
_PATIENCE = 1.0
"""Seconds of work before a progress bar is shown."""
_NAME = 40
"""Characters of a name, the last ones, that stand before the bar."""


class Console:
    """Messages for people, on standard error; results on standard output unless a picture goes there. Thread-safe.

    Inside its `with`, what the package logs is said too.
    """

    def __init__(self, *, quiet: bool = False, verbose: bool = False) -> None:
        """quiet: only errors and warnings are said. verbose: debug messages and tracebacks of errors, too."""
        self._quiet = quiet
        self._verbose = verbose
        self.results_to: TextIO | None = None
        """None is standard output."""
        self._lock = threading.RLock()
        self._bar: tqdm[None] | None = None
        self._begin: float | None = None
        self._work = ""
        """What the bar is of."""
        self._logger = logging.getLogger("srgan_trt")
        self._handler = _Handler(self)
        self._level = self._logger.level

    def __enter__(self) -> Console:
        self._level = self._logger.level
        self._logger.setLevel(logging.DEBUG if self._verbose else logging.INFO)
        self._handler.setLevel(self._logger.level)
        self._logger.addHandler(self._handler)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._logger.removeHandler(self._handler)
        self._logger.setLevel(self._level)
        self.end_progress()

    def result(self, text: str) -> None:
        """What was asked for."""
        if not self._quiet:
            self._print(text, self.results_to or sys.stdout)

    def note(self, text: str) -> None:
        """What is worth knowing."""
        if not self._quiet:
            self._print(one_line_of(text), sys.stderr)

    def warning(self, text: str) -> None:
        self._print(one_line_of(f"{PROGRAM}: warning: {text}"), sys.stderr)

    def error(self, text: str) -> None:
        self._print(one_line_of(f"{PROGRAM}: {text}"), sys.stderr)

    def traceback(self) -> None:
        """Where the error that is being handled came from, if `verbose`."""
        if self._verbose:
            self._print(traceback.format_exc().rstrip(), sys.stderr)

    @property
    def shows_progress(self) -> bool:
        """Whether there is a terminal for a bar, and it is wanted."""
        return not self._quiet and sys.stderr is not None and sys.stderr.isatty()

    def progress(self, name: str, done: float, total: int, *, work: str = "") -> None:
        """Shows that `done` of `total` is done, and `name` under way: on a terminal, and if it takes long enough.

        work: what this is a part of: another work has a bar and a clock of its own.
        """
        if not self.shows_progress:
            return
        with self._lock:
            if work != self._work:
                self.end_progress()
                self._work = work
            now = time.monotonic()
            if self._begin is None:
                self._begin = now
            if self._bar is None and now - self._begin < _PATIENCE:
                return
            if self._bar is None:
                self._bar = self._new_bar(total, elapsed=now - self._begin)
            self._bar.set_description_str(_printable(one_line_of(name))[-_NAME:], refresh=False)
            self._bar.update(done - self._bar.n)

    def build_progress(self, step: str, part: float) -> None:
        """Shows how much of an engine is built, 0..1, and what its builder is at."""
        self.progress(step, part, 1, work="engine")
        if part >= 1:
            self.end_progress()

    def end_progress(self) -> None:
        """Takes the bar away."""
        with self._lock:
            if self._bar is not None:
                self._bar.close()
                self._bar = None
            self._begin = None

    def _new_bar(self, total: int, *, elapsed: float) -> tqdm[None]:
        from tqdm import tqdm

        shape = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}"
        # On a terminal that does not tell its size tqdm by itself would show nothing.
        columns, rows = shutil.get_terminal_size()
        bar = tqdm(
            total=total,
            file=sys.stderr,
            leave=False,
            ncols=columns - 1,
            nrows=rows,
            bar_format=shape,
            delay=1e-9,  # nothing is shown before the first update, which knows more
            smoothing=0,  # the time left by the average speed: pictures differ, tiles do not
        )
        bar.start_t -= elapsed
        return bar

    def _print(self, text: str, stream: TextIO | None) -> None:
        if stream is None:
            return  # it was closed before the program began
        with self._lock:
            if self._bar is not None:
                self._bar.clear()
            # Names of files may hold what the terminal's encoding does not, or characters that steer the terminal.
            encoding = stream.encoding or "utf-8"
            print(_printable(text).encode(encoding, "replace").decode(encoding), file=stream, flush=True)
            if self._bar is not None:
                self._bar.refresh()


def one_line_of(text: str) -> str:
    """`text` in one line: names of files may have line breaks."""
    return " ".join(text.splitlines())


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)


class _Handler(logging.Handler):
    def __init__(self, console: Console) -> None:
        super().__init__(logging.INFO)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        say = self._console.warning if record.levelno >= logging.WARNING else self._console.note
        say(record.getMessage())
