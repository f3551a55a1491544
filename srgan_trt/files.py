"""Files that are written whole or not at all, and the error when they are not."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_PARTIAL = re.compile(r"\.srgan-trt-[0-9a-f]{12}\.part")


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A path beside `path`, with its suffix, whose file becomes `path` when the block ends well.

    If the block raises, `path` stays as it was and nothing is left beside it. Where `path` is a link, what it points to
    is replaced. Folders that are missing are made. Raises OSError, with `path` as its filename.
    """
    with _replacing(path, suffix=path.suffix) as partial:
        yield partial


@contextmanager
def atomic_file(path: Path, *, durable: bool = False) -> Iterator[BinaryIO]:
    """A binary file that becomes `path` when the block ends well; see `atomic_path`.

    durable: Only once it is on the disk, so that `path` is whole after a power failure too.

    What processes that were killed left in the same folder is removed at the first file that is written there.
    """
    with _replacing(path) as partial:
        _remove_leftovers(partial.parent)
        with _locked(partial) as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())


def atomic_write(path: Path, data: bytes) -> None:
    """Makes `data` the content of `path`, whole or not at all; see `atomic_path`."""
    with atomic_file(path) as file:
        file.write(data)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder beside `path`, empty, that becomes `path` when the block ends well; if it raises, nothing is left of it.

    Folders that are missing above are made. Raises OSError, FileExistsError if there is a `path` already.
    """
    if os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    partial = path.with_name(f".srgan-trt-{secrets.token_hex(6)}.part")
    partial.mkdir(parents=True)
    try:
        yield partial
        partial.rename(path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def with_filename(error: OSError, path: Path) -> OSError:
    """`error` with `path` as its filename: a full disk is met where the file is a number only."""
    return OSError(error.errno, error.strerror or str(error), str(path))


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """OSErrors of the block that name no file name `path`."""
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        raise with_filename(error, path) from error


def cannot_write(path: Path, error: OSError, *, what: str = "") -> str:
    """What to say of `error` at writing `path`, and how to mend it. what: the kind of file, "the plan "."""
    folder = path.parent
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"cannot write {what}{path}: the disk of {folder} is full: make room, or name another folder"
    if error.errno == errno.EFBIG:
        return f"cannot write {what}{path}: {folder} takes no file so large: name another folder"
    mend = "name another folder" if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) else "name another file"
    return f"cannot write {what}{path}: {error.strerror or error}: {mend}"


@contextmanager
def _replacing(path: Path, *, suffix: str = "") -> Iterator[Path]:
    target = Path(os.path.realpath(path))
    partial = target.with_name(f".srgan-trt-{secrets.token_hex(6)}.part{suffix}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield partial
            os.replace(partial, target)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise with_filename(error, path) from error


def _locked(partial: Path) -> BinaryIO:
    """`partial`, new, with a lock that ends with this process: so others know that it is no leftover."""
    while True:
        file = partial.open("xb")
        with contextlib.suppress(OSError):  # where a file system knows no locks, nobody removes leftovers either
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return file
        file.close()  # it was taken for a leftover before it was locked


@functools.cache
def _remove_leftovers(folder: Path) -> None:
    """Removes the partial files in `folder` whose processes are dead."""
    for name in filter(_PARTIAL.fullmatch, os.listdir(folder)):
        with contextlib.suppress(OSError), (folder / name).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            (folder / name).unlink()
