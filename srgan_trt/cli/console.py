"""What the command line says: messages, warnings of the log, and a progress bar that they do not tear apart."""

from __future__ import annotations

import logging
import shutil
import sys
import threading
import time
import traceback
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from tqdm import tqdm

PROGRAM = "srgan-trt"
_PATIENCE = 1.0
"""Seconds of work before a progress bar is shown."""
_EVENT_PAUSE = 0.5
"""Seconds between two events of progress, at least."""
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
        self.as_events = False
        """Whether everything is said as a line of JSON on standard output, for programs."""
        self._last_event = 0.0
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

    def event(self, kind: str, **facts: Any) -> None:
        """What a program wants to know, if `as_events`."""
        if self.as_events and sys.stdout is not None:
            import json

            with self._lock:
                print(json.dumps({"event": kind, **facts}), file=sys.stdout, flush=True)

    def result(self, text: str) -> None:
        """What was asked for; programs have it as an event."""
        if not self._quiet and not self.as_events:
            self._print(text, self.results_to or sys.stdout)

    def note(self, text: str, *, source: str | None = None) -> None:
        """What is worth knowing, of a picture if `source` names one."""
        if self._quiet:
            return
        if self.as_events:
            self.event("note", input=source, text=one_line_of(text))
        else:
            self._print(one_line_of(text if source is None else f"{source}: {text}"), sys.stderr)

    def warning(self, text: str) -> None:
        if self.as_events:
            self.event("note", input=None, text=one_line_of(text))
        else:
            self._print(one_line_of(f"{PROGRAM}: warning: {text}"), sys.stderr)

    def error(self, text: str, *, source: str | None = None) -> None:
        """source: the picture that it is about, which the text names, too."""
        if self.as_events:
            self.event("error", input=source, text=one_line_of(text))
        else:
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
        if self.as_events and not self._quiet:
            with self._lock:
                if time.monotonic() - self._last_event >= _EVENT_PAUSE:
                    self._last_event = time.monotonic()
                    self.event("progress", work=work or "pictures", input=name, done=round(done, 4), of=total)
            return
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
