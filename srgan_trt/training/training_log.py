"""What a training writes down while it goes on: two tables for any program, and the same for TensorBoard."""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TrainingError
from ..files import atomic_write, with_filename
from .curves import curves

TRAINING = "training.csv"
VALIDATION = "validation.csv"
TENSORBOARD = "tensorboard"
CURVES = "curves.png"

_EVENTS = "events.out.tfevents."
"""What TensorBoard knows its files by; what follows is a number that sorts them."""


class TrainingLog:
    """The log of the training in a folder; use it in a ``with``, or call ``close()``.

    ``training.csv`` and ``validation.csv`` have a column "step", and one for each name of their first row; numbers
    have 9 digits, which is all of a float32. ``tensorboard/`` has the rows as scalars ``training/<name>`` and
    ``validation/<name>``, in event files of TensorFlow's own writer: ``tf.summary.scalar`` would need the package
    tensorboard, which is not needed before one looks at them. Each row is handed to the operating system before the
    call returns: a process that is killed loses none.

    After an error of the disk the files end in whole rows.
    """

    def __init__(self, folder: Path, *, resume_at: int | None = None) -> None:
        """resume_at: the step of the checkpoint that the training goes on from. Rows of later steps, and a last line
        that a crash has torn, are dropped; TensorBoard is told to forget them. None begins anew, and removes the
        tables that an earlier training has left.

        Raises TrainingError if a table there is damaged, OSError, MissingPackageError without TensorFlow.
        """
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as opened:
            self._training = opened.enter_context(contextlib.closing(_Table(folder / TRAINING, resume_at)))
            self._validation = opened.enter_context(contextlib.closing(_Table(folder / VALIDATION, resume_at)))
            first = 0 if resume_at is None else resume_at + 1
            self._events = opened.enter_context(contextlib.closing(_Events(folder / TENSORBOARD, first)))
            self._opened = opened.pop_all()

    def step(self, step: int, values: Mapping[str, float]) -> None:
        """A row of ``training.csv``, after ``step`` steps: losses by part, "learning_rate", "seconds_per_step", and
        "data_loading_share", the share of the time that went into waiting for pictures, 0..1.

        Raises TrainingError if the names are not those of the table's first row, ValueError if ``step`` is not above
        that of the row before, OSError.
        """
        self._training.append(step, values)
        self._events.append(step, {f"training/{name}": value for name, value in values.items()})

    def validation(self, step: int, values: Mapping[str, float]) -> None:
        """A row of ``validation.csv``, after ``step`` steps: "psnr" and "bicubic_psnr" in dB, "ssim", and what else
        is measured. Raises what ``step`` raises."""
        self._validation.append(step, values)
        self._events.append(step, {f"validation/{name}": value for name, value in values.items()})

    def draw_curves(self) -> Path:
        """Draws both tables, as far as they are written, into ``curves.png`` (see ``curves``), and returns its path.

        Raises OSError, and leaves the picture before; MissingPackageError without matplotlib.
        """
        path = self._folder / CURVES
        atomic_write(path, curves(self._training.columns(), self._validation.columns()))
        return path

    def close(self) -> None:
        """Closes the files. May be called again."""
        self._opened.close()

    def __enter__(self) -> TrainingLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Table:
    """A CSV file of whole rows, whatever happens between them."""

    def __init__(self, path: Path, resume_at: int | None) -> None:
        self._path = path
        self._names: list[str] | None = None
        self._last: int | None = None
        if resume_at is None:
            path.unlink(missing_ok=True)
        elif path.exists():
            self._take_up(resume_at)
        # Without a buffer: what a full disk did not take must not be tried again when the file is closed.
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115 - open as long as the log is

    def append(self, step: int, values: Mapping[str, float]) -> None:
        if self._last is not None and step <= self._last:
            raise ValueError(f"{self._path} has step {self._last} already: a row of step {step} cannot follow")
        if not values or "step" in values:
            raise ValueError(f"a row of {self._path} needs names other than 'step', not {list(values)}")
        names = list(values) if self._names is None else self._names
        self._check(values, names)
        row = _line([str(step), *(f"{float(values[name]):.9g}" for name in names)])
        self._write(row if self._names is not None else _line(["step", *names]) + row)
        self._names, self._last = names, step

    def columns(self) -> dict[str, NDArray[np.float64]]:
        """All columns, "step" first and alone before the first row."""
        header, rows = _read(self._path)
        return dict(zip(header, np.array(rows, np.float64).reshape(len(rows), len(header)).T, strict=True))

    def close(self) -> None:
        self._file.close()

    def _take_up(self, resume_at: int) -> None:
        header, rows = _read(self._path)
        kept = [row for row in rows if int(row[0]) <= resume_at]
        text = b"".join(_line(cells) for cells in ([header, *kept] if kept else []))
        if text != self._path.read_bytes():
            atomic_write(self._path, text)
        if kept:
            self._names, self._last = header[1:], int(kept[-1][0])

    def _check(self, values: Mapping[str, float], names: list[str]) -> None:
        differences = [f"no {name}" for name in names if name not in values]
        differences += [f"a {name} beside" for name in values if name not in names]
        if differences:
            raise TrainingError(
                f"{self._path} has the columns {', '.join(names)}, this row {' and '.join(differences)}: train with "
                "the losses that it began with, or into another --out"
            )

    def _write(self, data: bytes) -> None:
        end = self._file.seek(0, os.SEEK_END)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            # A disk that fills up takes a part of the row.
            with contextlib.suppress(OSError):
                self._file.truncate(end)
            raise with_filename(error, self._path) from error


def _line(cells: list[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode()


def _read(path: Path) -> tuple[list[str], list[list[str]]]:
    """The header and the rows of a table, but for a last line without its end. Raises TrainingError."""
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1].decode(errors="replace")
    header, *rows = list(csv.reader(io.StringIO(whole))) or [["step"]]
    if header[:1] != ["step"]:
        raise TrainingError(f"{path} is not a training's table (it begins with {','.join(header)[:40]!r}): remove it")
    for number, row in enumerate(rows):
        if len(row) != len(header) or not row[0].isdecimal() or not all(map(_is_number, row)):
            raise TrainingError(
                f"{path} is damaged in row {number + 1} ({','.join(row)[:40]!r}): remove it, or the row"
            )
    return header, rows


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


class _Events:
    """One event file of TensorBoard: a TFRecord file of ``Event`` messages (tensorflow/core/util/event.proto)."""

    def __init__(self, folder: Path, first_step: int) -> None:
        """first_step: what earlier files have from this step on is forgotten."""
        from ..models.tensorflow_export import import_tensorflow

        self._tf = import_tensorflow()
        self._event: Any = self._tf.compat.v1.Event
        folder.mkdir(exist_ok=True)
        # TensorBoard reads the files of a folder in the order of their names, and never goes back to an earlier one.
        numbers = [path.name.removeprefix(_EVENTS) for path in folder.glob(f"{_EVENTS}*")]
        number = 1 + max((int(text) for text in numbers if text.isdecimal()), default=0)
        self._path = folder / f"{_EVENTS}{number:010}"
        with self._errors():
            self._writer = self._tf.io.TFRecordWriter(str(self._path))
        # Since version 2, TensorBoard drops the steps from a START's on (event_accumulator, purge_orphaned_data).
        self._write(self._event(wall_time=time.time(), file_version="brain.Event:2"))
        log = self._tf.compat.v1.SessionLog(status=self._tf.compat.v1.SessionLog.START)
        self._write(self._event(wall_time=time.time(), step=first_step, session_log=log))

    def append(self, step: int, values: Mapping[str, float]) -> None:
        summary = self._tf.compat.v1.Summary()
        for tag, value in values.items():
            summary.value.add(tag=tag, simple_value=float(value))
        self._write(self._event(wall_time=time.time(), step=step, summary=summary))

    def close(self) -> None:
        with self._errors():
            self._writer.close()

    def _write(self, event: Any) -> None:
        with self._errors():
            self._writer.write(event.SerializeToString())
            self._writer.flush()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """TensorFlow's errors of files as Python's."""
        try:
            yield
        except self._tf.errors.OpError as error:
            full = isinstance(error, self._tf.errors.ResourceExhaustedError)
            number = errno.ENOSPC if full else errno.EIO
            raise OSError(number, os.strerror(errno.ENOSPC) if full else error.message, str(self._path)) from error
