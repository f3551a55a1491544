"""Files of a training that are replaced while it goes on: whole or not at all, and errors that name the file."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def write_whole(path: Path, data: bytes) -> None:
    """Makes `data` the content of `path`; what fails on the way leaves `path` as it was, and nothing beside it.

    Raises OSError, with `path` as its filename.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")
    try:
        try:
            partial.write_bytes(data)
            os.replace(partial, path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise named(error, path) from error


def named(error: OSError, path: Path) -> OSError:
    """`error` with `path` as its filename: a full disk is met where the file is a number only."""
    return OSError(error.errno, error.strerror or str(error), str(path))
