"""The folder beside the result in which a film grows, segment by segment, and from which a broken-off job goes on.

Everything there is whole or named .part. A segment's name says all that going on needs, so that one renaming is enough:
there is no moment at which a killed program leaves what the next run takes for something else.
"""

from __future__ import annotations

import glob
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from ..codec import decode, encode
from ..errors import VideoError
from ..files import atomic_write

_HEAD = 1 << 20
_LOCK = "lock"
_NAME = re.compile(r"(\d{6})\.f(\d+)\.t(-?\d+)\.r(\d+)\.segment")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What makes two runs the same; else the segments of the one are of no use to the other."""

    source: str
    """A hash of the film's size, time of change and beginning."""
    network: str
    """What its frames become is a function of this and the source."""
    settings: dict[str, str]

    def differs_by(self, other: Job) -> str:
        """In words; empty if in nothing."""
        if self.source != other.source:
            return "the film has changed since"
        if self.network != other.network:
            return "that was with another model or version"
        names = sorted({*self.settings, *other.settings})
        changed = [name for name in names if self.settings.get(name) != other.settings.get(name)]
        return "that was with " + ", ".join(f"{n} {other.settings.get(n)}" for n in changed) if changed else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    path: Path
    frames: int
    last: int
    """Tick of its last frame."""
    repeats: int


def source_hash(path: Path) -> str:
    """Changes with the file, without reading all of it."""
    facts = path.stat()
    digest = hashlib.sha256(f"{facts.st_size} {facts.st_mtime_ns} ".encode())
    with path.open("rb") as file:
        digest.update(file.read(_HEAD))
    return digest.hexdigest()


class Work:
    """The folder of a job. Use `open_work`."""

    def __init__(self, target: Path, job: Job) -> None:
        self.folder = folder_of(target)
        self.note = self.folder / "job.json"
        """What the job is."""
        self.joining = self.folder / f"joining.part{target.suffix}"
        self.target = target
        self._job = job
        mark = hashlib.sha256(encode(job)).hexdigest()[:12]
        self.joined = target.with_name(f".{target.stem}.{mark}{target.suffix}")
        """The whole result, under the name that it has while the folder is removed."""

    def begun(self) -> bool:
        """Whether an earlier run has begun the same job. Raises VideoError if what is there is of another one."""
        if others := self.joined_by_others():
            raise VideoError(
                f"{self.target} was made before, with other options, and is {others[0]}: --no-resume removes it"
            )
        try:
            before = decode(self.note.read_bytes(), Job)
        except FileNotFoundError:
            return False
        except ValueError:
            raise VideoError(f"{self.note} is damaged: --no-resume starts {self.target} anew") from None
        if difference := self._job.differs_by(before):
            raise VideoError(f"{self.target} was begun before, but {difference}: --no-resume starts it anew")
        return True

    def segments(self) -> list[Segment]:
        """Those that are whole, from the first on."""
        found = {}
        for path in self.folder.glob("*.segment"):
            if match := _NAME.fullmatch(path.name):
                number, frames, last, repeats = map(int, match.groups())
                found[number] = Segment(path=path, frames=frames, last=last, repeats=repeats)
        whole: list[Segment] = []
        while len(whole) in found:
            whole.append(found[len(whole)])
        return whole

    def joined_by_others(self) -> list[Path]:
        """Whole results of other jobs, whose runs were killed before the very last step."""
        beside = self.target.parent.glob(f".{glob.escape(self.target.stem)}.{'[0-9a-f]' * 12}{self.target.suffix}")
        return sorted(path for path in beside if path != self.joined)

    def clear(self) -> None:
        """Removes what earlier runs left."""
        for path in (self.joined, *self.joined_by_others(), *self.folder.iterdir()):
            if path.name != _LOCK:
                path.unlink(missing_ok=True)

    def part(self, number: int) -> Path:
        """Where segment `number` is written."""
        return self.folder / f"{number:06d}.part"

    def keep(self, number: int, *, frames: int, last: int, repeats: int) -> None:
        """The segment is whole: it gets its name."""
        os.replace(self.part(number), self.folder / f"{number:06d}.f{frames}.t{last}.r{repeats}.segment")

    def keep_filter(self, number: int, data: bytes) -> None:
        """Before segment `number` is kept: what the filter knows after it."""
        atomic_write(self._filter(number), data)
        self._filter(number - 2).unlink(missing_ok=True)

    def filter_after(self, number: int) -> bytes:
        """What `keep_filter` wrote. Raises VideoError if it cannot be read."""
        try:
            return self._filter(number).read_bytes()
        except OSError as error:
            raise VideoError(
                f"cannot read {self._filter(number)}: {error.strerror}: --no-resume starts {self.target} anew"
            ) from error

    def _filter(self, number: int) -> Path:
        return self.folder / f"{number:06d}.steady.npz"

    def finish(self) -> None:
        """`joining` is whole: it becomes the target, and nothing else is left, whenever the program is killed."""
        os.replace(self.joining, self.joined)
        self.place()

    def place(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        os.replace(self.joined, self.target)


def folder_of(target: Path) -> Path:
    return target.with_name(f".{target.name}.work")


@contextmanager
def open_work(target: Path, job: Job, *, resume: bool) -> Iterator[Work]:
    """The folder of `job`, with what an earlier run left in it if `resume`, else empty.

    Raises VideoError if another run is at it, or what is there belongs to another job.
    """
    work = Work(target, job)
    work.folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(work.folder / _LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise VideoError(f"another run is at {target}: wait for it, or name another output") from None
    try:
        if not resume:
            work.clear()
        if not work.begun():
            atomic_write(work.note, encode(job))
        for part in work.folder.glob("*.part*"):
            part.unlink()
        yield work
    finally:
        lock.release()
        if work.folder.is_dir() and not work.segments() and not work.joined.exists():
            shutil.rmtree(work.folder, ignore_errors=True)  # nothing that could be gone on with
