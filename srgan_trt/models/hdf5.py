"""HDF5 files of strangers: read once by a process of its own, with limits, before anything here opens them.

The format reaches into other files (external storage, external links, virtual data), tells of data that it does not
hold, and damaged bytes make its library go round for ever. Only a process that can be ended stops the last of these.
"""

from __future__ import annotations

import io
import math
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelError
from .files import ZIP_SIGNATURE, hash_files

if TYPE_CHECKING:
    import h5py

WEIGHTS = "model.weights.h5"
"""The member of a ``.keras`` archive that is an HDF5 file."""
MOST_OBJECTS = 50_000
"""Groups and data sets in one file: a generator of a thousand layers with its optimizer has some 10,000."""
_SECONDS = 15
_BYTES_A_SECOND = 20_000_000
"""What the slowest disk reads: a file may take as long as that, and ``_SECONDS`` on top."""
_MEMORY = 4 << 30
_REFUSED = 3
_checked: set[str] = set()


def checked_hash(path: Path) -> str:
    """sha256 of ``path``, an HDF5 file or a ``.keras`` archive, once its HDF5 has been found whole and by itself.

    Raises ModelError if it keeps data in other files, is linked into itself, is damaged, or tells of more data than it
    holds; OSError if it cannot be read.
    """
    digest = hash_files([path])
    if digest not in _checked:
        _read_elsewhere(path)
        _checked.add(digest)
    return digest


def most_bytes(size: int) -> int:
    """Bytes that a file of ``size`` bytes may unpack to: weights hardly compress, small texts do."""
    return (64 << 20) + 16 * size


def _read_elsewhere(path: Path) -> None:
    seconds = _SECONDS + path.stat().st_size / _BYTES_A_SECOND
    command = [sys.executable, "-P", "-m", __name__, str(path.absolute()), str(math.ceil(seconds))]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OPENBLAS_NUM_THREADS": "1"}
    again = "download or save it again"
    endless = ModelError(f"{path} is a damaged HDF5 file (reading it has no end): {again}")
    try:
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        raise endless from None
    if done.returncode < 0 and -done.returncode == getattr(signal, "SIGXCPU", 0):
        raise endless
    said = done.stdout.decode("utf-8", "replace").strip()
    if done.returncode == _REFUSED:
        raise ModelError(f"{path} {said}")
    if done.returncode:
        reason = (done.stderr.decode("utf-8", "replace").strip().splitlines() or [f"status {done.returncode}"])[-1]
        raise ModelError(f"{path} is a truncated or damaged HDF5 file ({reason[:160]}): {again}")


def read_everything(file: h5py.File, size: int) -> None:
    """Reads all data and attributes of ``file``, which takes ``size`` bytes.

    Raises ModelError, without the file's name, for what `checked_hash` refuses; libhdf5's own errors as h5py has them.
    """
    datasets = _datasets(file)
    promised = sum(dataset.nbytes for dataset in datasets)
    if promised > most_bytes(size):
        raise ModelError(f"tells of {promised:,} bytes of weights and holds {size:,}: save the model again")
    for dataset in datasets:
        dataset[()]


def _datasets(file: h5py.File) -> list[h5py.Dataset]:
    """All data sets of the file, each found to lie in it; attributes are read on the way."""
    import h5py

    found, groups, seen = [], [file["/"]], {_address(file)}
    while groups:
        group = groups.pop()
        _read_attributes(group)
        for name in group:
            link = group.get(name, getlink=True)
            where = f"{group.name.rstrip('/')}/{name}"
            if not isinstance(link, h5py.HardLink):
                raise _elsewhere(where, "a link")
            item = group[name]
            if isinstance(item, h5py.Group):
                if _address(item) in seen:
                    raise ModelError(f"holds a group within itself ({where}): save the model again")
                seen.add(_address(item))
                groups.append(item)
            elif isinstance(item, h5py.Dataset):
                if item.external:
                    raise _elsewhere(where, "external storage")
                if item.is_virtual:
                    raise _elsewhere(where, "virtual data")
                _read_attributes(item)
                found.append(item)
            if len(seen) + len(found) > MOST_OBJECTS:
                raise ModelError(f"has more than {MOST_OBJECTS} groups and data sets: no generator has")
    return found


def _elsewhere(where: str, how: str) -> ModelError:
    return ModelError(
        f"keeps its data elsewhere ({where} is {how}): a model must lie in one file; save it again with model.save"
    )


def _read_attributes(item: Any) -> None:
    for name in item.attrs:
        item.attrs[name]


def _address(item: Any) -> int:
    import h5py

    return int(h5py.h5o.get_info(item.id).addr)


def _open(path: Path) -> tuple[Any, int]:
    """What h5py opens, and its bytes: the file itself, or the weights in an archive, whose size was checked before."""
    with path.open("rb") as file:
        if file.read(4) != ZIP_SIGNATURE:
            return path, path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        data = archive.read(WEIGHTS)
    return io.BytesIO(data), len(data)


def _limit(seconds: int) -> None:
    try:
        import resource
    except ImportError:  # Windows: the parent's clock is the only limit
        return
    for kind, most in ((resource.RLIMIT_CPU, seconds), (resource.RLIMIT_AS, _MEMORY + (1 << 30))):
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, hard))


def _main(path: Path, seconds: int) -> int:
    _limit(seconds)
    import h5py

    opened, size = _open(path)
    try:
        with h5py.File(opened, "r") as file:
            read_everything(file, size)
    except ModelError as error:
        sys.stdout.buffer.write(str(error).encode("utf-8", "replace"))
        return _REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(_main(Path(sys.argv[1]), int(sys.argv[2])))
