"""Pictures in buckets and other stores that fsspec knows: listed, read with their size checked, written once.

An address is s3://bucket/in, gs://, az://, sftp://, memory://... For http(s) imaging/download.py has its own checks.
"""

from __future__ import annotations

import errno
import functools
import math
import random
import re
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import MissingPackageError, PictureError, missing, one_line
from ..urls import is_url, redact_url

if TYPE_CHECKING:
    from collections.abc import Set

MAX_BYTES = 256 << 20
_TRIES = 5
_PAUSE = 0.5
"""Seconds, the most before the second try; each further one may wait twice as long."""
_BUSY = frozenset([errno.EBUSY, errno.EAGAIN, errno.EIO, errno.ETIMEDOUT, errno.EPIPE])
_DROPPED = frozenset(["ConnectionError", "HTTPClientError", "ClientConnectionError", "ClientPayloadError"])
"""Classes of errors of botocore and aiohttp that tell of a lost connection."""
_OPTIONS: dict[str, dict[str, Any]] = {"s3": {"config_kwargs": {"retries": {"total_max_attempts": 1}}}}
"""Of stores: botocore would try again by itself beside s3fs and us."""
_STATES = ("ETag", "etag", "mtime", "LastModified", "last_modified", "created")
"""Names that stores have for what changes with an object."""

Result = TypeVar("Result")


class ExistsError(PictureError):
    """Something else is at the address already."""


def is_address(text: str) -> bool:
    """Whether ``text`` begins as an address does, of the web's left out."""
    return re.match(r"[a-z][a-z0-9+.-]*://", text, re.IGNORECASE) is not None and not is_url(text)


@dataclass(frozen=True, slots=True)
class Address:
    """An object, or a folder of them. As text it has no password; pickled it has, for other processes to open it."""

    root: str = field(repr=False)
    """The folder that a user named, with what opens it."""
    path: str = ""
    """Below ``root``."""

    def __str__(self) -> str:
        shown = shown_address(self.root).rstrip("/")
        return f"{shown}/{self.path}" if self.path else shown

    def __truediv__(self, relative: Path) -> Address:
        return Address(self.root, "/".join(part for part in (self.path, relative.as_posix()) if part))

    def with_name(self, name: str) -> Address:
        return Address(self.root, PurePosixPath(self.path).with_name(name).as_posix())

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.path).suffix

    def walk(self, *, depth: int | None = None) -> Iterator[tuple[str, list[Any]]]:
        """(path below this, state) of each object below this address to the bottom, sorted, those of a folder before
        those of the folders in it, hidden ones left out; of an object, itself with the path "".

        depth: parts of the longest path; None is to the bottom. state: bytes, and what changes with the content. Raises
        PictureError if there is nothing, or it is refused.
        """
        with _explained(self):
            store, base = self._opened()
            folders = [base]
            deepest = math.inf if depth is None else depth - 1
            while folders:
                folder = folders.pop()
                entries = _tried(functools.partial(store.ls, folder or "/", detail=True, refresh=True))
                store.invalidate_cache(folder)  # of a million objects it would take a gigabyte
                inside: list[str] = []
                for entry in sorted(entries, key=lambda entry: str(entry["name"])):
                    name = entry["name"].rstrip("/")
                    if name.rpartition("/")[2].startswith("."):
                        continue
                    if entry["type"] != "directory" and not entry["name"].endswith("/"):
                        yield name[len(base) :].lstrip("/"), _state(entry)
                    elif name != folder.rstrip("/") and name[len(base) :].strip("/").count("/") < deepest:
                        inside.append(name)
                folders += reversed(inside)

    def names(self) -> Set[str]:
        """Paths of what is below this address: none where it is yet to be made.

        Raises PictureError if it is refused, or its bucket is not there.
        """
        try:
            return {path for path, _ in self.walk()}
        except PictureError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
        with _explained(self):
            store, base = self._opened()
            bucket = base.strip("/").partition("/")[0]
            if _is_object_store(store) and not _tried(functools.partial(store.exists, bucket)):
                raise PictureError(f"{self}: there is no bucket {bucket}: make it first, or check the name")
        return set()

    def exists(self) -> bool:
        """Whether the object is there. Raises PictureError if it is refused."""
        with _explained(self):
            store, path = self._opened()
            try:
                _tried(functools.partial(store.info, path, refresh=True))
            except FileNotFoundError:
                return False
            return True

    def read(self, *, max_bytes: int = MAX_BYTES) -> bytes:
        """The content. Raises PictureError if it cannot be read, or has more than ``max_bytes``: asked first."""
        with _explained(self):
            store, path = self._opened()
            size = _tried(functools.partial(store.info, path, refresh=True))["size"] or 0
            if size > max_bytes:
                raise PictureError(
                    f"{self} is {size / 1e6:,.0f} MB, more than the {max_bytes / 1e6:,.0f} MB that are fetched: "
                    "download it yourself and give the file"
                )
            content: bytes = _tried(functools.partial(store.cat_file, path))
            return content

    def write(self, content: bytes, *, overwrite: bool = False) -> None:
        """Makes ``content`` the object, whole or not at all where the store does so.

        Without ``overwrite`` the store is asked to make it only if there is none. Where one is that has the same
        content, that is what an earlier try wrote, whose answer was lost. Raises ExistsError for another one,
        PictureError if it cannot be written.
        """
        with _explained(self, doing="written"):
            store, path = self._opened()
            if not _is_object_store(store):
                store.makedirs(path.rpartition("/")[0], exist_ok=True)
            mode = "overwrite" if overwrite else "create"
            try:
                _tried(functools.partial(store.pipe_file, path, content, mode=mode))
            except FileExistsError:
                if _tried(functools.partial(store.cat_file, path)) != content:
                    raise ExistsError(exists(self)) from None

    def _opened(self) -> tuple[Any, str]:
        store, base = _store(self.root)
        return store, f"{base}/{self.path}" if self.path else base


def address_of(text: str) -> Address:
    """The address that a user wrote. Raises PictureError if it is none that can be used."""
    name = shown_address(text)
    rest = text.partition("://")[2]
    if "::" in text.partition("/")[0] or "://" in rest:
        raise PictureError(f"{name} mixes schemes: give one address, like s3://bucket/folder")
    if re.search(r"\?[\w-]+=", text):
        raise PictureError(f"{name} has a query: leave it out, and log in as docs/scale.md says")
    if text.startswith(("file://", "local://")):
        raise PictureError(f"{name} is a file of this machine: give its path")
    if not rest.rpartition("@")[2].strip("/") and not text.startswith("memory:"):
        raise PictureError(f"{name} names no bucket: give an address like s3://bucket/folder")
    return Address(text)


def shown_address(text: str) -> str:
    """``text`` without user, password and query, in one printable line."""
    scheme, _, rest = text.partition("://")
    if scheme.lower() in ("abfs", "abfss"):  # container@account
        return f"{scheme}://" + re.sub(r"[^\x21-\U0010ffff]|\x7f", "_", re.sub(r"\?.*", "", rest, flags=re.DOTALL))
    return redact_url(text)


def exists(target: object) -> str:
    """What to say of a result that is there."""
    return (
        f"{target} exists: give --overwrite (overwrite=True) to replace it, --skip-existing to keep it, or another name"
    )


@functools.lru_cache(maxsize=64)
def _store(root: str) -> tuple[Any, str]:
    """fsspec's file system, and the path in it. One for all threads: fsspec by itself would open one for each."""
    scheme = root.partition("://")[0].lower()
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise missing("fsspec", "cloud", f"use {scheme} addresses") from error
    try:
        store, path = url_to_fs(root, **_OPTIONS.get(scheme, {}))
    except ImportError as error:
        package = re.search(r"[Ii]nstall (\w+)", str(error))
        raise missing(package[1] if package else scheme, "cloud", f"use {scheme} addresses") from error
    except ValueError as error:
        if "rotocol not known" not in str(error):
            raise
        raise PictureError(f"{shown_address(root)}: fsspec knows no {scheme} addresses: check it") from error
    return store, path.rstrip("/")


def _is_object_store(store: Any) -> bool:
    """Whether it has buckets, and folders by their names only."""
    return bool(store.async_impl)


def _state(entry: dict[str, Any]) -> list[Any]:
    found = next((entry[name] for name in _STATES if entry.get(name) is not None), "")
    return [entry["size"] or 0, str(found).strip('"')]


def _tried(work: Callable[[], Result]) -> Result:
    """`work()`, again after a pause of random length where the store is busy or the connection is lost."""
    for number in range(_TRIES - 1):
        try:
            return work()
        except Exception as error:  # those of a dozen libraries, without a common base
            if not _may_pass(error):
                raise
        time.sleep(random.uniform(0.1, 1) * _PAUSE * 2**number)
    return work()


def _may_pass(error: Exception) -> bool:
    code = getattr(error, "status_code", None) or getattr(error, "code", None)
    if isinstance(code, int) and (code == 429 or code >= 500):
        return True
    if isinstance(error, TimeoutError | ConnectionError):
        return True
    names = {kind.__name__ for kind in type(error).__mro__}
    return (isinstance(error, OSError) and error.errno in _BUSY) or bool(names & _DROPPED)


@contextmanager
def _explained(address: Address, *, doing: str = "read") -> Iterator[None]:
    """Whatever a store raises becomes one line that names the address, and has no secret."""
    try:
        yield
    except (PictureError, MissingPackageError, MemoryError):
        raise
    except FileNotFoundError as error:
        raise PictureError(f"{address} is not there: check the name, and that its bucket exists") from error
    except Exception as error:  # those of a dozen libraries, without a common base
        text = _without_secrets(one_line(error, most=400), address.root)
        if "redential" in type(error).__name__ + text:
            raise PictureError(f"{address}: no credentials were found: log in as docs/scale.md says") from None
        if isinstance(error, PermissionError) or "Auth" in type(error).__name__:
            raise PictureError(
                f"{address} may not be {doing} by you ({text[:160]}): check the rights and the credentials"
            ) from None
        mend = "try again later" if _may_pass(error) else "check the address"
        raise PictureError(f"{address} cannot be {doing} ({text[:160]}): {mend}") from None


def _without_secrets(text: str, root: str) -> str:
    parts = urllib.parse.urlsplit(root)
    for secret in (parts.password, urllib.parse.unquote(parts.password or "")):
        if secret:
            text = text.replace(secret, "***")
    text = re.sub(r"\?[^\s'\"]+", "", text)
    return re.sub(r"//[^/@\s]+@", "//", text)
