"""`--manifest`: a file of what was done, a row a picture, by which an interrupted run goes on where it was."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .codec import decode, encode
from .errors import SrganTrtError
from .files import with_filename
from .imaging.sources import Job, Source, Target
from .scheduler import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What became of one picture."""

    input: str
    """The whole path, or the address."""
    input_state: list[int | str] | None
    """Bytes, and time of the last change in nanoseconds; of an object what changes with its content. None for what is
    neither."""
    output: str | None
    plan: str
    """Its name and the hash of its network."""
    options: dict[str, Any] = field(default_factory=dict)
    """Those that change the result."""
    size: list[int] = field(default_factory=list)
    """Width and height of the result."""
    seconds: float = 0.0
    error: str | None = None


class Manifest:
    """The rows of a file, and those that come to it. Thread-safe."""

    def __init__(self, path: Path, *, plan: str, options: dict[str, Any], read_only: bool = False) -> None:
        """Reads the rows that are there; makes the file if there is none and it is not `read_only`.

        A last line that an interrupted run left unfinished is taken away. Raises SrganTrtError if the file holds
        something else than rows, OSError if it cannot be read or written.
        """
        self._path = path
        self._plan = plan
        self._options = options
        self._lock = threading.Lock()
        self.others = 0
        """Rows of other plans."""
        try:
            data = path.read_bytes() if path.exists() else b""
            whole = data[: data.rfind(b"\n") + 1]
            if len(whole) < len(data) and not data[len(whole) :].startswith(b'{"input":'[: len(data) - len(whole)]):
                raise self._foreign(whole.count(b"\n") + 1, "it does not begin as one")
            self._done: dict[int, int] = {}
            for row in self._rows(whole):
                same = (row.plan, row.options) == (plan, options)
                self.others += row.plan != plan
                if row.error is None:
                    self._done[_hash(row.input, row.output)] = _hash(row.input_state) if same else -1
            if read_only:
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as file:
                if len(whole) < len(data):
                    file.truncate(len(whole))
        except OSError as error:
            raise with_filename(error, path) from error

    def is_done(self, source: Source, target: Target) -> bool:
        """Whether the same picture became `target` with the same plan and options; its being there is not asked."""
        return self._done.get(_hash(_input(source), _output(target))) == _hash(_state(source))

    def add(self, outcome: Outcome) -> None:
        """Writes a row. Raises OSError."""
        job = outcome.job
        self.write(
            _input(job.source),
            _state(job.source),
            _output(job.target),
            size=list(outcome.enlarged),
            seconds=round(outcome.reading + outcome.network + outcome.writing, 3),
            error=outcome.error,
        )

    def write(self, input: str, state: list[int | str] | None, output: str | None, **facts: Any) -> None:
        """Writes a row. facts: others of `Row`. Raises OSError."""
        row = Row(input=input, input_state=state, output=output, plan=self._plan, options=self._options, **facts)
        try:
            with self._lock, self._path.open("ab") as file:
                file.write(encode(row) + b"\n")
        except OSError as error:
            raise with_filename(error, self._path) from error

    def _rows(self, data: bytes) -> Iterator[Row]:
        for number, line in enumerate(data.splitlines(), 1):
            try:
                yield decode(line, Row)
            except ValueError as error:
                raise self._foreign(number, str(error)) from None

    def _foreign(self, line: int, why: str) -> SrganTrtError:
        return SrganTrtError(f"{self._path} is not a manifest of ours (line {line}: {why}): name another file")


def with_row(manifest: Manifest | None, outcome: Outcome) -> Outcome:
    """`outcome`, written down if there is a manifest; an error if that fails."""
    if manifest is not None:
        try:
            manifest.add(outcome)
        except OSError as error:
            text = f"cannot write {error.filename}: {error.strerror}: make room, or name another --manifest"
            return dataclasses.replace(outcome, error=outcome.error or text)
    return outcome


def failed(job: Job) -> Outcome:
    """Of a job that cannot begin."""
    return Outcome(job=job, error=job.error)


def _input(source: Source) -> str:
    return _text(os.path.abspath(source.location)) if source.kind == "file" else source.name


def _output(target: Target | str | None) -> str | None:
    if isinstance(target, Path):
        return _text(os.path.abspath(target))
    return None if target is None else str(target)


def _hash(*facts: Any) -> int:
    """Of a row's facts: a million of them take 100 MB, as they are a gigabyte."""
    return int.from_bytes(hashlib.blake2b(encode(facts), digest_size=8).digest(), "big")


def _text(name: str) -> str:
    """A file's name as JSON can hold it: not all are Unicode."""
    return name.encode("utf-8", "backslashreplace").decode()


def _state(source: Source) -> list[int | str] | None:
    if source.state is not None:
        return source.state
    if source.kind != "file":
        return None
    try:
        found = os.stat(source.location)
    except OSError:
        return None
    return [found.st_size, found.st_mtime_ns]
