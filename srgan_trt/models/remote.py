"""Model files from http and https addresses: fetched once into the cache, opened only if their checksum is right."""

from __future__ import annotations

import hashlib
import logging
import re
from pathlib import Path

from ..cache import build_lock, cache_folder, process_file, warn_unwritable
from ..errors import ModelError
from ..files import atomic_file
from ..net import fetch
from ..urls import filename_from_url, redact_url

_log = logging.getLogger(__name__)

MAX_BYTES = 2 << 30
"""Largest file that is fetched: ONNX files end there too (protobuf encoding guide, "Message size")."""
TIMEOUT = 20.0
"""Seconds that a server may be silent."""
TOTAL_TIMEOUT = 3600.0
"""Seconds for all of it."""
_ENDINGS = {".onnx", ".h5", ".hdf5", ".keras"}
_SHOWN = 12
"""Digits of a hash in messages: enough to compare, too few to paste where a trusted one belongs."""


def fetch_model(url: str, *, sha256: str | None) -> Path:
    """The file that ``url`` leads to, in the cache, under the last part of the address as its name.

    A name without a model's ending gets ``.onnx``; what the file is shows in its content. It is fetched if the cache
    does not hold a file of this checksum and name; processes that want it at the same time fetch it once. A user name
    and password in the address go to its own host only, and into no message; neither does its query.

    Raises ModelError, in one line, if there is no ``sha256``, if the address cannot be fetched or sends more than
    ``MAX_BYTES``, or if what it sends has another checksum; nothing of that is kept.
    """
    shown = redact_url(url)
    if sha256 is None:
        # Telling the checksum of whatever arrives would only teach people to paste it: it would prove nothing.
        raise ModelError(
            f"{shown} is not fetched without its checksum: give --sha256 (in Python sha256=) as its publisher states it"
        )
    digest = _digest(sha256)
    name = filename_from_url(url)
    if Path(name).suffix.lower() not in _ENDINGS:
        name += ".onnx"
    path = cache_folder() / "models" / digest / name
    if path.is_file():
        if _hash(path) == digest:
            return path
        _log.warning("the cached model %s is damaged: fetching it again", path)
    with build_lock(path) as place:
        if not (place.is_file() and _hash(place) == digest):
            _log.info("fetching %s", shown)
            try:
                place = _fetch_where_it_fits(url, place, digest, process_file(path))
            except OSError as error:
                reason = error.strerror or type(error).__name__
                raise ModelError(f"{shown} cannot be kept in {place.parent}: {reason}") from None
        return place


def check_sha256(path: Path, sha256: str) -> None:
    """Raises ModelError if ``path`` is not a file whose content has this checksum, or one of several that belong
    together."""
    from .files import files_of

    digest = _digest(sha256)
    if path.is_dir():
        raise ModelError(f"{path} is a folder, which has no checksum of its own: leave --sha256 out")
    found = _hash(path)
    if len(files_of(path)) > 1:
        raise ModelError(f"{path} has its weights in another file, which --sha256 would not prove: leave it out")
    if found != digest:
        raise ModelError(
            f"{path} is another file than the one asked for: its sha256 begins with {found[:_SHOWN]}, "
            f"not {digest[:_SHOWN]}"
        )


def _digest(sha256: str) -> str:
    """64 lower-case digits. A leading "sha256:", as release pages have it, is taken off."""
    digest = sha256.strip().lower().removeprefix("sha256:")
    if re.fullmatch("[0-9a-f]{64}", digest) is None:
        raise ModelError(f"{sha256!r} is not a sha256: that has 64 hexadecimal digits")
    return digest


def _hash(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"cannot read the model {path}: {error.strerror}") from error


def _fetch_where_it_fits(url: str, place: Path, digest: str, other: Path) -> Path:
    """Fetches to ``place``, or, if that disk does not take it, to ``other``; returns where it is."""
    try:
        _fetch(url, place, digest)
    except OSError as error:
        if place == other:
            raise
        warn_unwritable(place.parent, error)
        _fetch(url, other, digest)
        return other
    return place


def _fetch(url: str, place: Path, digest: str) -> None:
    """Makes ``place``, whole and right, or nothing. Raises OSError where the disk does not take it."""
    shown = redact_url(url)
    found = hashlib.sha256()
    with atomic_file(place) as file:

        def receive(part: bytes) -> None:
            found.update(part)
            file.write(part)

        fetch(
            url,
            receive,
            what="model",
            error=ModelError,
            max_bytes=MAX_BYTES,
            idle_timeout=TIMEOUT,
            total_timeout=TOTAL_TIMEOUT,
        )
        if found.hexdigest() != digest:
            raise ModelError(
                f"{shown} sent another file than the one asked for: {file.tell():,} bytes whose sha256 begins with "
                f"{found.hexdigest()[:_SHOWN]}, not {digest[:_SHOWN]}; nothing of it is kept"
            )
