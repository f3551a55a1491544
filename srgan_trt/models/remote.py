"""Model files from http and https addresses: fetched once into the cache, opened only if their checksum is right.

The fetching is pooch's (fatiando.org/pooch: it downloads to a file beside the target and moves it there if the hash is
right) over requests; ours are the limits, the lock between processes, and the words of the errors.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from .._version import __version__
from ..cache import build_lock, cache_folder
from ..errors import ModelError
from ..urls import filename_from_url, redact_url

_log = logging.getLogger(__name__)

MAX_BYTES = 2 << 30
"""Largest file that is fetched: ONNX files end there too (protobuf encoding guide, "Message size")."""
TIMEOUT = 20.0
"""Seconds that a server may be silent."""
_CHUNK = 1 << 18
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
            _fetch(url, place, digest)
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


def _fetch(url: str, place: Path, digest: str) -> None:
    """Makes ``place``, whole and right, or nothing."""
    import pooch
    import requests

    shown = redact_url(url)
    received: _Received | None = None

    def download(_: str, output_file: str, __: Any) -> None:
        nonlocal received
        # Packed transfers would be unpacked on arrival: the checksum is that of the file.
        headers = {"User-Agent": f"srgan-trt/{__version__}", "Accept": "*/*", "Accept-Encoding": "identity"}
        get = pooch.HTTPDownloader(chunk_size=_CHUNK, timeout=TIMEOUT, headers=headers)
        with open(output_file, "wb") as file:
            received = _Received(file, shown)
            try:
                get(url, received, None)
            except requests.RequestException as error:
                raise _failed(error, shown, received.size) from None
            except ModelError:
                raise
            except ValueError as error:
                raise ModelError(f"{shown} cannot be fetched ({type(error).__name__}): check the address") from None

    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel(logging.WARNING)  # it tells on its own, whether or not anybody wants to read it
    try:
        # pooch sees the address without its secrets: it has no use for them.
        pooch.retrieve(shown, known_hash=digest, fname=place.name, path=place.parent.absolute(), downloader=download)
    except ModelError:
        raise
    except ValueError:
        assert received is not None
        raise ModelError(
            f"{shown} sent another file than the one asked for: {received.size:,} bytes whose sha256 begins with "
            f"{received.hash.hexdigest()[:_SHOWN]}, not {digest[:_SHOWN]}; nothing of it is kept"
        ) from None
    except OSError as error:
        raise ModelError(
            f"{shown} cannot be kept in {place.parent}: {error.strerror or type(error).__name__}"
        ) from None
    finally:
        logger.setLevel(level)


class _Received:
    """What arrives, on its way into a file: counted, hashed, and refused if it is not a model or without end."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file = file
        self._name = name
        self.size = 0
        self.hash = hashlib.sha256()

    def write(self, part: bytes) -> int:
        if not self.size and part[:512].lstrip().lower().startswith((b"<!doctype html", b"<html")):
            raise ModelError(f"{self._name} is a web page, not a model: give the address of the file itself")
        self.size += len(part)
        if self.size > MAX_BYTES:
            raise ModelError(f"{self._name} sends more than the {MAX_BYTES / 1e6:,.0f} MB that are fetched")
        self.hash.update(part)
        return self._file.write(part)

    def flush(self) -> None:
        self._file.flush()


def _failed(error: Exception, name: str, size: int) -> ModelError:
    """In words, after ``size`` bytes. The text of requests' own errors holds the whole address, secrets and all."""
    import requests

    causes = list(_causes(error))
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return _refused(error.response.status_code, error.response.reason, name)
    if isinstance(error, requests.TooManyRedirects):
        return ModelError(f"{name} redirects endlessly: give the address it should end at")
    if isinstance(error, requests.exceptions.InvalidSchema):
        return ModelError(f"{name} leads to what is not an http or https address")
    if isinstance(error, requests.exceptions.InvalidURL):
        return ModelError(f"{name} is not a whole address: give one like https://host/model.h5")
    if isinstance(error, requests.Timeout) or any(isinstance(cause, TimeoutError) for cause in causes):
        return ModelError(f"{name} did not answer for {TIMEOUT:g} seconds: try again later")
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        # urllib3 counts what had come, those bytes too that were on their way to us.
        counts = [count for cause in causes if isinstance(count := getattr(cause, "partial", None), int)]
        return ModelError(f"{name} broke off after {(counts or [size])[0]:,} bytes: try again")
    reasons = [cause.strerror for cause in causes if isinstance(cause, OSError) and isinstance(cause.strerror, str)]
    reason = reasons[-1] if reasons else type(causes[-1]).__name__
    return ModelError(f"{name} cannot be fetched ({reason}): check the address and the network")


def _refused(code: int, reason: str | None, name: str) -> ModelError:
    mend = "it needs a login: download it yourself" if code in (401, 403, 407) else "check the address"
    if code >= 500 or code == 429:
        mend = "try again later"
    return ModelError(f"{name} answered {code} {' '.join((reason or '').split())}".rstrip() + f": {mend}")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, then what led to it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
