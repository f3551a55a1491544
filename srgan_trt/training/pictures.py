"""A folder of high-resolution pictures -> pairs of arrays in one file each, read where they lie, and a manifest."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import PictureError, TrainingError
from ..files import atomic_write, naming
from ..imaging.folder import read_rgb
from ..imaging.sources import Source
from ..quality.bicubic import shrink

_log = logging.getLogger(__name__)

Teacher = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
"""Low-resolution picture uint8 (h, w, 3) -> its super-resolved picture uint8 (h*scale, w*scale, 3)."""
_INDEX = "index.json"


@dataclass(frozen=True, slots=True)
class Entry:
    """One picture of a set: its name below the folder, the SHA-256 of its file, and its size after the crop."""

    name: str
    sha256: str
    height: int
    width: int


class PictureSet:
    """Pictures and what they are trained with, memory-mapped: only the crops that are read take memory.

    ``hr[i]`` is uint8 (height, width, 3) RGB, ``lr[i]`` its bicubic reduction (height/scale, width/scale, 3), and
    ``teacher[i]``, where there is a teacher, what that made of ``lr[i]``, in the size of ``hr[i]``.
    """

    def __init__(self, folder: Path, entries: Sequence[Entry], *, scale: int, teacher: bool) -> None:
        self.entries = tuple(entries)
        self.scale = scale
        self.hr = _mapped(folder / "hr.bin", [(each.height, each.width) for each in entries])
        self.lr = _mapped(folder / "lr.bin", [(each.height // scale, each.width // scale) for each in entries])
        self.teacher = (
            _mapped(folder / "teacher.bin", [(each.height, each.width) for each in entries]) if teacher else None
        )

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def manifest(self) -> list[dict[str, str]]:
        """Names and hashes of the pictures: what a model card says it was trained on."""
        return [{"name": entry.name, "sha256": entry.sha256} for entry in self.entries]


def prepare(
    sources: Sequence[Source],
    out: Path,
    *,
    scale: int,
    smallest: int,
    teacher: Teacher | None = None,
    teacher_name: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> PictureSet:
    """Decodes the pictures `sources` into `out`, unless it holds just that already.

    Pictures are cropped at the lower right to a multiple of `scale`, reduced as MATLAB's imresize does, and given to
    the `teacher`. Alpha is left out, gray becomes RGB. Pictures with a side under `smallest` pixels, and damaged
    ones, are left out with a warning.

    Args:
        teacher_name: What tells this teacher from another, when `out` is used again.
        progress: Called with (pictures done, pictures in all).

    Raises TrainingError if no picture remains, OSError where `out` cannot be written.
    """
    hashes = [hashlib.sha256(Path(source.location).read_bytes()).hexdigest() for source in sources]
    wanted = {
        "scale": scale,
        "smallest": smallest,
        "teacher": teacher_name,
        "files": [[_name(source), sha256] for source, sha256 in zip(sources, hashes, strict=True)],
    }
    if (index := _index(out / _INDEX)) is not None and index["of"] == wanted:
        entries = [Entry(**entry) for entry in index["entries"]]
        return PictureSet(out, entries, scale=scale, teacher=teacher is not None)

    out.mkdir(parents=True, exist_ok=True)
    (out / _INDEX).unlink(missing_ok=True)
    names = ["hr", "lr", *(["teacher"] if teacher is not None else [])]
    parts: dict[str, IO[bytes]] = {}
    entries = []
    small = 0
    with contextlib.ExitStack() as stack:
        stack.enter_context(naming(out))
        for name in names:
            parts[name] = stack.enter_context(open(out / f"{name}.bin", "wb"))
        for done, (source, sha256) in enumerate(zip(sources, hashes, strict=True)):
            if progress is not None:
                progress(done, len(sources))
            try:
                hr = read_rgb(Path(source.location), multiple=scale)
            except PictureError as error:
                _log.warning("left out: %s", error)
                continue
            if min(hr.shape[:2]) < smallest:
                small += 1
                continue
            lr = shrink(hr, scale)
            arrays = [hr, lr, *([teacher(lr)] if teacher is not None else [])]
            for name, array in zip(names, arrays, strict=True):
                if array.shape[:2] != (hr if name != "lr" else lr).shape[:2]:
                    raise TrainingError(f"the teacher enlarges by {array.shape[0] / lr.shape[0]:g}, not by {scale}")
                parts[name].write(array.tobytes())
            entries.append(Entry(_name(source), sha256, *hr.shape[:2]))
    if small:
        _log.warning("%d of %d pictures are smaller than %d pixels: left out", small, len(sources), smallest)
    if not entries:
        raise TrainingError(
            f"none of {len(sources)} pictures is readable and at least {smallest} pixels on both sides: add larger "
            "ones, or make --crop smaller"
        )
    # Written last, whole: pictures without an index are prepared again.
    index = {"of": wanted, "entries": [asdict(entry) for entry in entries]}
    atomic_write(out / _INDEX, json.dumps(index, indent=1).encode())
    return PictureSet(out, entries, scale=scale, teacher=teacher is not None)


def hold_out(sources: Sequence[Source]) -> tuple[list[Source], list[Source]]:
    """(to train on, to validate on): every twentieth picture, at most 20, chosen by name so that it stays the same.

    One picture is both, as there is no other.
    """
    if len(sources) == 1:
        return list(sources), list(sources)
    count = min(20, max(1, len(sources) // 20))
    by_chance = sorted(sources, key=lambda source: hashlib.sha256(_name(source).encode()).digest())
    held = {_name(source) for source in by_chance[:count]}
    return (
        [source for source in sources if _name(source) not in held],
        [source for source in sources if _name(source) in held],
    )


def _name(source: Source) -> str:
    return source.relative.as_posix()


def _index(path: Path) -> dict[str, Any] | None:
    try:
        index = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError:
        _log.warning("%s is damaged: preparing the pictures again", path)
        return None
    return index if isinstance(index, dict) else None


def _mapped(path: Path, sizes: Sequence[tuple[int, int]]) -> list[NDArray[np.uint8]]:
    """One (height, width, 3) view for each picture of the file."""
    total = sum(height * width * 3 for height, width in sizes)
    if path.stat().st_size != total:
        raise TrainingError(f"{path} is damaged: remove {path.parent}, it is made again")
    flat = np.memmap(path, np.uint8, mode="r")
    views, start = [], 0
    for height, width in sizes:
        size = height * width * 3
        views.append(flat[start : start + size].reshape(height, width, 3))
        start += size
    return views
