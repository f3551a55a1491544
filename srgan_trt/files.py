"""Files that are written whole or not at all, and the error when they are not."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A path beside `path`, with its suffix, whose file becomes `path` when the block ends well.

    If the block raises, `path` stays as it was and nothing is left beside it. Where `path` is a link, what it points to
    is replaced. Folders that are missing are made. Raises OSError, with `path` as its filename.
    """
    target = Path(os.path.realpath(path))
    partial = target.with_name(f".srgan-trt-{secrets.token_hex(6)}.part{target.suffix}")
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


@contextmanager
def atomic_file(path: Path, *, durable: bool = False) -> Iterator[BinaryIO]:
    """A binary file that becomes `path` when the block ends well; see `atomic_path`.

    durable: Only once it is on the disk, so that `path` is whole after a power failure too.
    """
    with atomic_path(path) as partial, partial.open("xb") as file:
        yield file
        if durable:
            file.flush()
            os.fsync(file.fileno())


def atomic_write(path: Path, data: bytes) -> None:
    """Makes `data` the content of `path`, whole or not at all; see `atomic_path`."""
    with atomic_file(path) as file:
        file.write(data)


def with_filename(error: OSError, path: Path) -> OSError:
    """`error` with `path` as its filename: a full disk is met where the file is a number only."""
    return OSError(error.errno, error.strerror or str(error), str(path))
