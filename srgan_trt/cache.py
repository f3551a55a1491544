"""The user's cache folder: plans built from model files, models from the web, and whatever a runtime compiles.

Everything in it can be made again: it may be deleted at any time, by anyone, while the program runs.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._version import __version__
from .errors import ModelError, PlanError
from .files import atomic_file

if TYPE_CHECKING:
    from .compiler.plan import Plan

_log = logging.getLogger(__name__)
_SEAL_BYTES = hashlib.sha256().digest_size
_PATIENCE = 1.0
"""Seconds of waiting for another process before it is said."""


def cache_folder() -> Path:
    """Where the cache is: ``$SRGAN_TRT_CACHE``, or the user's cache folder of the system. It may not exist yet."""
    if chosen := os.environ.get("SRGAN_TRT_CACHE"):
        return Path(chosen)
    import platformdirs

    return Path(platformdirs.user_cache_dir("srgan-trt", appauthor=False))


def read_sealed(path: Path) -> bytes | None:
    """What `write_sealed` wrote to `path`; None if it is not there, or (logged) was damaged since."""
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


def write_sealed(path: Path, data: bytes) -> None:
    """Writes `data` and its hash, whole or not at all. A cache that cannot be written is logged, not raised."""
    try:
        with atomic_file(path) as file:
            file.write(hashlib.sha256(data).digest())
            file.write(data)
    except OSError as error:
        _warn_unwritable(path.parent, error.strerror or str(error))


def cached_plan(path: Path, **settings: Any) -> Plan:
    """The plan of the model file (or SavedModel folder) `path`, built when it is first asked for.

    settings: those of `srgan_trt.build`, but for `out`. The key is the content of the file, the settings, the
    version of this package and that of the plan format. Processes that want the same plan at the same time
    build it once. A damaged cached plan is built again; without a writable cache folder the plan is built for
    this process only. Both are logged.

    Raises ModelError if there is no such file, and what `build` raises.
    """
    return plan_built_once(_key(path, settings), lambda out: _build(path, out, settings), of=str(path))


def plan_built_once(key: str, build: Callable[[Path], Plan], *, of: str) -> Plan:
    """The plan that the cache has for `key`, else what `build` makes at the path that it is given.

    of: what it is a plan of, for messages. A damaged plan is built again, which is logged.
    """
    from .compiler.plan import load_plan

    path = cache_folder() / "plans" / f"{key}.onnx"
    again = False
    if path.is_file():
        try:
            return load_plan(path)
        except PlanError as error:
            _log.warning("the cached plan of %s is damaged (%s): building it again", of, error)
            again = True
    with made_once(path) as place:
        if again:
            place.unlink(missing_ok=True)
        # Another process may have built it while this one waited.
        return load_plan(place) if place.is_file() else build(place)


@contextlib.contextmanager
def made_once(path: Path) -> Iterator[Path]:
    """Gives the place where the cache's file `path` is to be made; no other process makes it meanwhile.

    It may be there already. Waiting for another process, which may take minutes, is logged. If the cache cannot be
    written, which is logged, too, the place is one that lives as long as this process.
    """
    from filelock import FileLock, Timeout

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()
        lock = FileLock(path.with_suffix(".lock"))
        try:
            lock.acquire(timeout=_PATIENCE)
        except Timeout:
            _log.warning("waiting for another process that is making the same file (%s)", path.name)
            lock.acquire()
    except OSError as error:
        _warn_unwritable(path.parent, error.strerror or str(error))
        lock = None
    if lock is None:
        yield _process_folder() / path.relative_to(cache_folder())
        return
    try:
        yield path
    finally:
        lock.release()


def _build(path: Path, out: Path, settings: dict[str, Any]) -> Plan:
    from .compiler.build import build

    _log.info("building a plan of %s: this takes a while", path)
    plan = build(path, out=out, **settings)
    for note in plan.report["notes"]:
        _log.info("%s: %s", path.name, note)
    return plan


def _key(path: Path, settings: dict[str, Any]) -> str:
    from .compiler.plan import FORMAT

    facts = {name: value for name, value in settings.items() if value is not None}
    if "custom_objects" in facts:
        facts["custom_objects"] = _content_hash(Path(facts["custom_objects"]))
    facts |= {"content": _content_hash(path), "version": __version__, "format": FORMAT}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def _content_hash(path: Path) -> str:
    """sha256 of a file and those that belong to it; of a folder: of its files' names and contents, in the order of the
    names."""
    from .models.files import files_of, hash_files

    try:
        if not path.is_dir():
            return hash_files(files_of(path))
        whole = hashlib.sha256()
        for part in sorted(p for p in path.rglob("*") if p.is_file()):
            whole.update(f"{part.relative_to(path).as_posix()}\0{_content_hash(part)}\0".encode())
        return whole.hexdigest()
    except OSError as error:
        raise ModelError(f"cannot read the model {path}: {error.strerror}") from error


@functools.cache
def _process_folder() -> Path:
    """A folder that lives as long as this process."""
    folder = Path(tempfile.mkdtemp(prefix="srgan-trt-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@functools.cache
def _warn_unwritable(folder: Path, reason: str) -> None:
    _log.warning(
        "cannot write to the cache folder %s (%s): nothing is kept for the next start; "
        "set SRGAN_TRT_CACHE to a folder you may write to",
        folder,
        reason,
    )
