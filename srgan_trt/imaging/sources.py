"""What a user named -> the pictures to read, and where each result goes."""

from __future__ import annotations

import dataclasses
import fnmatch
import glob
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeAlias

from ..errors import PictureError
from ..urls import filename_from_url, is_url, redact_url
from .addresses import Address, address_of, exists, is_address, shown_address
from .decode import READABLE, SUFFIXES
from .download import MAX_BYTES, download
from .encode import FORMATS, check_target, format_of

STDIO = "-"
COMPARED = ".compare"
"""What stands before the suffix of a comparison: such pictures are not looked for in folders."""
FILMS_WRITTEN = frozenset([".mp4", ".m4v", ".mov", ".mkv", ".webm"])
FILM_SUFFIXES = FILMS_WRITTEN | frozenset(
    [".avi", ".m2ts", ".mts", ".mpg", ".mpeg", ".vob", ".wmv", ".flv", ".ogv", ".3gp", ".mxf"]
)
"""Of files that are films, in lower case. Not .ts: folders may hold programs."""


Target: TypeAlias = Path | Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One input picture, not read yet; or, with an ``error``, one thing named that cannot be read."""

    name: str
    """What it is called in messages."""
    kind: Literal["file", "url", "stdin", "object"] = "file"
    location: str = ""
    """The path or the address."""
    address: Address | None = None
    """Of an object."""
    state: list[Any] | None = None
    """Of an object: bytes, and what changes with the content."""
    relative: Path = Path()
    """Its path below the folder, or below the fixed part of the pattern, that it was found by; else its name."""
    found: bool = False
    """Whether it was found in a folder or by a pattern rather than named itself."""
    error: str | None = None

    @property
    def film(self) -> bool:
        """Whether it is a file that is taken for a film, by its name."""
        return self.kind == "file" and self.error is None and _suffix(self.location) in (*FILM_SUFFIXES, ".ts")

    def read(self, *, max_bytes: int = MAX_BYTES) -> Path | bytes:
        """What ``decode`` takes. Raises PictureError for ``error``, and if a download fails or exceeds the limit."""
        if self.error is not None:
            raise PictureError(self.error)
        if self.address is not None:
            return self.address.read(max_bytes=max_bytes)
        if self.kind == "url":
            return download(self.location, max_bytes=max_bytes)
        if self.kind == "stdin":
            return sys.stdin.buffer.read()
        return Path(self.location)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A source and where its result goes: a path, an address, ``"-"`` for standard output; with ``error``, nowhere."""

    source: Source
    target: Target | Literal["-"] | None = None
    format: str = "png"
    error: str | None = None
    skipped: bool = False
    """Whether the result is there already and is to stay."""


def expand(inputs: Sequence[str | os.PathLike[str]], *, films: bool = False) -> list[Source]:
    """The pictures that ``inputs`` name: files, folders, patterns (``**`` too), http(s) addresses, addresses of objects
    and folders of them, ``-``.

    Folders are searched to the bottom, for files with a picture's suffix, or with ``films`` a film's, too, hidden ones
    left out, in sorted order; so are patterns. What names nothing becomes a Source with an ``error``. A file named
    twice is one source.
    """
    return list(find(inputs, films=films))


def find(inputs: Iterable[str | os.PathLike[str]], *, films: bool = False) -> Iterator[Source]:
    """The same one by one: those of a million objects are not in memory at a time."""
    seen: set[int] = set()  # of hashes, for the same reason
    for text in inputs:
        for source in _expanded(os.fspath(text), SUFFIXES | FILM_SUFFIXES if films else SUFFIXES):
            if source.kind in ("file", "object") and not source.error:
                key = hash(_key(source.address or source.location))
                if key in seen:
                    continue
                seen.add(key)
            yield source


def find_objects(text: str) -> Iterator[Source]:
    """The pictures at an address and below it, or those that a pattern (``*``, ``**``, ``[a-c]``) below its bucket
    names, as it lists them; one Source with an ``error`` where there are none."""
    name = shown_address(text)
    found = False
    try:
        root, pattern = _address_and_pattern(text)
        for path, state in root.walk(depth=None if "**" in pattern or not pattern else len(pattern)):
            address, whole = (Address(root.root, path), False) if path else (_split(root), True)
            if not whole and not _is_wanted(PurePosixPath(path).name, SUFFIXES):
                continue
            if pattern and not _matches(path.split("/"), pattern):
                continue
            found = True
            facts: dict[str, Any] = {"relative": Path(address.path), "state": state, "found": not whole}
            yield Source(name=str(address), kind="object", address=address, **facts)
    except PictureError as error:
        yield Source(name=name, error=str(error))
        return
    if not found and pattern:
        yield Source(name=name, error=f"the pattern {name} matches no picture ({READABLE}): check it")
    elif not found:
        yield Source(name=name, error=f"{name} holds no pictures ({READABLE}): name another folder")


def plan_outputs(
    sources: Sequence[Source],
    *,
    output: str | None,
    format: str | None,
    label: str,
    overwrite: bool = False,
    done: Callable[[Source, Target], bool] | None = None,
) -> list[Job]:
    """Where each result goes; ``output`` is what the user gave with -o, ``format`` one of ``FORMATS`` or None.
    ``label`` says in its name what was done: x4.

    - None: ``photo_x4.png`` beside ``photo.jpg``, and ``photo_png_x4.png`` for a ``photo.png`` that comes after it; in
      the current folder for addresses and standard input.
    - ``-``: standard output, for one input.
    - a folder that exists, or ends in a slash, or any name where the inputs are several: ``photo_x4.png`` in it, below
      it the tree that the inputs were found in.
    - else a file.

    Each of these may be an address. A job whose target is there and ``done(source, target)`` is skipped. The format is
    ``format``, else that of the output file's suffix, else png. A film's name ends as before where such a film can be
    written, else in .mkv. Jobs get an ``error`` if their source has one, their target exists and not ``overwrite``, or
    an earlier job has the same target. Pictures in searched folders that are results of others there (an earlier run's)
    are left out. Raises PictureError if ``output`` cannot serve.
    """
    if format is not None and format not in FORMATS:
        raise PictureError(f"{format!r} cannot be written: give one of {', '.join(FORMATS)}")
    good = [source for source in sources if source.error is None]
    if output == STDIO:
        if any(source.film for source in sources):
            raise PictureError("standard output takes a picture, no film: name a file with -o")
        if len(sources) > 1:
            raise PictureError(f"standard output takes one picture, not {len(sources)}: name a folder with -o")
        return [Job(source=s, target=None if s.error else "-", format=format or "png", error=s.error) for s in sources]
    folder = None if output is None else _as_folder(output, sources)
    if isinstance(folder, Address) and any(source.film for source in sources):
        raise PictureError(f"{folder} takes pictures, and there are films: name a folder of this machine with -o")
    if output is not None and folder is None and not any(source.film for source in sources):
        format = _checked_format(_file(output), format)
    where: dict[str, Any] = {"output": output, "folder": folder, "format": format or "png", "label": label}
    # A file that is its own target is none of these: it was asked for.
    named = ((_key(source.address or source.location), _key(target)) for source, target in _named(good, **where))
    results = {target for source, target in named if source != target}
    jobs = stream_jobs(sources, **where, overwrite=overwrite, done=done)
    return [
        job
        for job in jobs
        if job.source.error or not job.source.found or _key(job.source.address or job.source.location) not in results
    ]


def stream_jobs(
    sources: Iterable[Source],
    *,
    folder: Target | None,
    output: str | None = None,
    format: str,
    label: str,
    overwrite: bool = False,
    done: Callable[[Source, Target], bool] | None = None,
) -> Iterator[Job]:
    """The jobs that ``plan_outputs`` makes, one by one; where no ``folder`` is given the target is ``output``. Pictures
    that are results of others are not known here."""
    taken: dict[int, str] = {}
    listed: dict[str, Set[str]] = {}
    for source, target in _named(sources, output=output, folder=folder, format=format, label=label):
        if source.error is not None:
            yield Job(source=source, format=format, error=source.error)
            continue
        key = hash(_key(target))
        job = Job(source=source, target=target, format=format)
        if key in taken:
            error = f"{source.name} would become {target}, as {taken[key]} does: give them apart, or rename one"
            yield dataclasses.replace(job, target=None, error=error)
            continue
        taken[key] = source.name
        try:
            there = is_there(target, listed)
            if done is not None and there and done(source, target):
                yield dataclasses.replace(job, skipped=True)
                continue
            if isinstance(target, Path):
                check_target(target, overwrite=overwrite)
            elif there and not overwrite:
                raise PictureError(exists(target))
        except PictureError as problem:
            job = dataclasses.replace(job, target=None, error=str(problem))
        yield job


def is_there(target: Target, listed: dict[str, Set[str]]) -> bool:
    """Whether a target exists. listed: what is below the roots of addresses, listed once each; it is filled here.

    Raises PictureError if a root cannot be listed.
    """
    if isinstance(target, Path):
        return target.is_file()
    if target.root not in listed:
        listed[target.root] = Address(target.root).names()
    return target.path in listed[target.root]


def film_suffix(film: Path) -> str:
    """That of what a film becomes: its own, or .mkv where such films are not written."""
    suffix = film.suffix.lower()
    return suffix if suffix in FILMS_WRITTEN else ".mkv"


def _expanded(text: str, suffixes: frozenset[str]) -> Iterator[Source]:
    if text == STDIO:
        yield Source(name="standard input", kind="stdin", location=STDIO, relative=Path("stdin"))
    elif is_url(text):
        yield Source(name=redact_url(text), kind="url", location=text, relative=Path(filename_from_url(text)))
    elif is_address(text):
        yield from find_objects(text)
    elif os.path.isdir(text):
        yield from _in_folder(text, suffixes)
    elif os.path.lexists(text):
        yield Source(name=text, location=text, relative=Path(Path(text).name))
    elif glob.has_magic(text):
        yield from _by_pattern(text, suffixes)
    elif not text:
        yield Source(name="''", error="an input has an empty name: give a file, a folder, a pattern or an address")
    else:
        yield Source(name=text, error=f"{text} does not exist: check the name")


def _in_folder(folder: str, suffixes: frozenset[str]) -> Iterator[Source]:
    failed: list[OSError] = []
    empty = True
    for parent, folders, files in os.walk(folder, onerror=failed.append):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if _is_wanted(name, suffixes):
                path = os.path.join(parent, name)
                yield Source(name=path, location=path, relative=Path(os.path.relpath(path, folder)), found=True)
                empty = False
    for error in failed:
        path = str(error.filename or folder)
        yield Source(name=path, error=f"the folder {path} cannot be read: {error.strerror}: change its permissions")
    if empty and not failed:
        yield Source(name=folder, error=f"the folder {folder} holds no pictures ({READABLE}): name another")


def _by_pattern(pattern: str, suffixes: frozenset[str]) -> Iterator[Source]:
    fixed = Path(*_before_magic(pattern))
    paths = sorted(path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path))
    pictures = [path for path in paths if _is_wanted(os.path.basename(path), suffixes)]
    for path in pictures:
        yield Source(name=path, location=path, relative=Path(os.path.relpath(path, fixed)), found=True)
    if not pictures:
        matched = f"matches no picture ({READABLE}), but other files" if paths else "matches no file"
        yield Source(name=pattern, error=f"the pattern {pattern} {matched}: check it, or name the files")


def _before_magic(pattern: str) -> Iterator[str]:
    for part in Path(pattern).parts[:-1]:
        if glob.has_magic(part):
            return
        yield part


def _address_and_pattern(text: str) -> tuple[Address, list[str]]:
    """An address, and the parts of a pattern below it; none where something is there that is called so."""
    scheme, _, rest = text.partition("://")
    bucket, *parts = rest.split("/")
    magic = next((number for number, part in enumerate(parts) if "*" in part or "[" in part), None)
    address = address_of(text)
    if magic is None or address.exists():
        return address, []
    return address_of(f"{scheme}://" + "/".join([bucket, *parts[:magic], ""])), parts[magic:]


def _matches(path: Sequence[str], pattern: Sequence[str]) -> bool:
    if not pattern:
        return not path
    if pattern[0] == "**":
        return any(_matches(path[count:], pattern[1:]) for count in range(len(path) + 1))
    return bool(path) and fnmatch.fnmatchcase(path[0], pattern[0]) and _matches(path[1:], pattern[1:])


def _is_wanted(name: str, suffixes: frozenset[str]) -> bool:
    return not name.startswith(".") and _suffix(name) in suffixes and not os.path.splitext(name)[0].endswith(COMPARED)


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _key(target: Target | str) -> str:
    """The same for names of the same thing."""
    return str(target) if isinstance(target, Address) else os.path.realpath(target)


def _split(address: Address) -> Address:
    """An object that was named itself, as one in its folder."""
    folder, _, name = address.root.rstrip("/").rpartition("/")
    return Address(f"{folder}/", name)


def _file(output: str) -> Target:
    return _split(address_of(output)) if is_address(output) else Path(output)


def _as_folder(output: str, sources: Sequence[Source]) -> Target | None:
    """``output`` as a folder, or None if it names a file."""
    if is_address(output):
        address = address_of(output)
        names_picture = Path(_split(address).path).suffix.lower() in SUFFIXES and not output.endswith("/")
        return None if len(sources) == 1 and names_picture else address
    path = Path(output)
    if path.is_dir() or output.endswith(("/", os.sep)):
        return path
    one = len(sources) == 1 and (not sources[0].found or path.suffix.lower() in (SUFFIXES | FILM_SUFFIXES))
    if one:
        return None
    if os.path.lexists(path):
        raise PictureError(f"{output} is a file, and there are {len(sources)} inputs: name a folder with -o")
    if path.suffix.lower() in (SUFFIXES | FILM_SUFFIXES):
        what = "film" if path.suffix.lower() in FILM_SUFFIXES else "picture"
        raise PictureError(
            f"{output} names one {what}, and there are {len(sources)} inputs: name a folder with -o (end it in /)"
        )
    return path


def _checked_format(path: Target, format: str | None) -> str:
    if format is None:
        return format_of(path)
    if path.suffix.lower() in SUFFIXES and format_of(path) != format:
        raise PictureError(f"{path} does not end as a {format} file does: give one or the other")
    return format


def _named(
    sources: Iterable[Source], *, output: str | None, folder: Target | None, format: str, label: str
) -> Iterator[tuple[Source, Target]]:
    """Each source with its target. Names that differ in their suffix only have two."""
    options: dict[str, Any] = {"output": output, "folder": folder, "suffix": f".{format}"}
    names: dict[int, int] = {}  # of hashes: see `find`
    for source in sources:
        if source.error is not None:
            yield source, Path()
            continue
        name, own = source.relative.name, source.relative.suffix
        target = _target(source, ending=f"_{label}", **options)
        if names.setdefault(hash(_key(target)), hash(name)) != hash(name) and own:
            target = _target(source, ending=f"_{own[1:].lower()}_{label}", **options)
        yield source, target


def _target(source: Source, *, output: str | None, folder: Target | None, ending: str, suffix: str) -> Target:
    if output is not None and folder is None:
        return _file(output)
    relative = source.relative
    if source.film:
        suffix = film_suffix(relative)
    stem = relative.stem if source.film or relative.suffix.lower() in SUFFIXES else relative.name
    result = relative.with_name(stem + ending + suffix)
    if folder is not None:
        return folder / result
    if source.address is not None:
        return source.address.with_name(result.name)
    return Path(source.location).with_name(result.name) if source.kind == "file" else Path(result.name)
