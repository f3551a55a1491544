"""The user's cache folder: where it is, files with a checksum, and a lock for each file that is being made.

Everything in it can be made again: it may be deleted at any time, by anyone, while the program runs.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import functools
import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from .codec import decode, encode
from .files import atomic_file

_log = logging.getLogger(__name__)
T = TypeVar("T")
_SEAL_BYTES = hashlib.sha256().digest_size
_PATIENCE = 1.0
"""Seconds of waiting for another process before it is said."""


def cache_folder() -> Path:
    """Where the cache is: ``$SRGAN_TRT_CACHE``, or the user's cache folder of the system. It may not exist yet.

    A user without a home has one that does not outlive the process, which is logged.
    """
    if chosen := os.environ.get("SRGAN_TRT_CACHE"):
        return Path(chosen)
    import platformdirs

    try:
        return Path(platformdirs.user_cache_dir("srgan-trt", appauthor=False))
    except RuntimeError as error:  # what pathlib raises where neither HOME nor the system tells it
        folder = _process_folder()
        _warn_once(Path("~/.cache"), str(error))
        return folder


def key_of(facts: Any) -> str:
    """32 hexadecimal digits of `facts`, which JSON can hold: what tells a cached file from others, by its name."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def read_checksummed(path: Path) -> bytes | None:
    """What `write_checksummed` wrote to `path`; None if it is not there, or (logged) was damaged since."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        _log.warning("cannot read the cache file %s (%s): going on without it", path, error.strerror)
        return None
    seal, data = content[:_SEAL_BYTES], content[_SEAL_BYTES:]
    if hashlib.sha256(data).digest() != seal:
        _log.warning("the cache file %s is damaged: making it again", path)
        return None
    return data


def write_checksummed(path: Path, data: bytes) -> None:
    """Writes `data` and its hash, whole or not at all. A cache that cannot be written is logged, not raised."""
    try:
        with atomic_file(path) as file:
            file.write(hashlib.sha256(data).digest())
            file.write(data)
    except OSError as error:
        warn_unwritable(path.parent, error)


def read_record(path: Path, kind: type[T]) -> T | None:
    """What `write_record` wrote to `path`, of type `kind`; None if it is not there, or (logged) was damaged since."""
    data = read_checksummed(path)
    try:
        return None if data is None else decode(data, kind)
    except ValueError as error:
        _log.warning("the cache file %s is damaged (%s): making it again", path, error)
        return None


def write_record(path: Path, value: Any) -> None:
    """Keeps a dataclass. A cache that cannot be written is logged, not raised."""
    write_checksummed(path, encode(value))


@contextlib.contextmanager
def build_lock(path: Path) -> Iterator[Path]:
    """Gives the place where the cache's file `path` is to be made; no other process makes it meanwhile.

    It may be there already. Waiting for another process, which may take minutes, is logged. If the cache cannot be
    written, which is logged, too, the place is one that lives as long as this process.
    """
    from filelock import FileLock, Timeout

    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, f"{path.name} is a folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()
        lock = FileLock(path.with_suffix(".lock"))
        try:
            lock.acquire(timeout=_PATIENCE)
        except Timeout:
            _log.warning("waiting for another process that is making the same file (%s)", path.name)
            lock.acquire()
    except OSError as error:
        warn_unwritable(path.parent, error)
        lock = None
    if lock is None:
        yield process_file(path)
        return
    try:
        yield path
    finally:
        lock.release()


def process_file(path: Path) -> Path:
    """The place of the cache's file `path` for this process alone, which it does not outlive."""
    return _process_folder() / path.relative_to(cache_folder())


def warn_unwritable(folder: Path, error: Exception) -> None:
    """Says, once for each folder, that the cache keeps nothing there."""
    _warn_once(folder, (error.strerror if isinstance(error, OSError) else None) or str(error))


@functools.cache
def _process_folder() -> Path:
    """A folder that lives as long as this process."""
    folder = Path(tempfile.mkdtemp(prefix="srgan-trt-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@functools.cache
def _warn_once(folder: Path, reason: str) -> None:
    _log.warning(
        "cannot write to the cache folder %s (%s): nothing is kept for the next start; "
        "set SRGAN_TRT_CACHE to a folder you may write to",
        folder,
        reason,
    )
