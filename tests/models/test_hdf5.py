"""An HDF5 file is all that is read of it: nothing of other files, nothing that it only tells of, and it has an end."""

from __future__ import annotations

import gzip
import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from srgan_trt.errors import ModelError
from srgan_trt.models import hdf5
from srgan_trt.models.hdf5 import checked_hash, read_everything
from srgan_trt.models.keras_file import read_keras_file
from srgan_trt.models.weights_file import read_weights

KERNEL = "model_weights/c1/c1/kernel:0"
SHAPE = (3, 3, 3, 4)


def _weights(file: h5py.File) -> None:
    """A Keras 2 file with one layer, as far as it is read before any Keras."""
    group = file.create_group("model_weights")
    group.attrs["layer_names"] = [b"c1"]
    group.create_group("c1").attrs["weight_names"] = [b"c1/kernel:0"]
    file[KERNEL] = np.ones(SHAPE, np.float32)
    file.attrs["model_config"] = '{"class_name": "Sequential", "config": {"layers": []}}'


def _external_storage(file: h5py.File) -> None:
    file.create_dataset(KERNEL, SHAPE, "f4", external=[(str(Path(file.filename).with_name("secret")), 0, 432)])


def _fifo(file: h5py.File) -> None:
    os.mkfifo(fifo := Path(file.filename).with_name("fifo"))
    file.create_dataset(KERNEL, SHAPE, "f4", external=[(str(fifo), 0, 432)])


def _virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout(SHAPE, "f4")
    layout[...] = h5py.VirtualSource("secret.h5", "secret", SHAPE)
    file.create_virtual_dataset(KERNEL, layout)


def _external_link(file: h5py.File) -> None:
    file[KERNEL] = h5py.ExternalLink("secret.h5", "/secret")


def _soft_link(file: h5py.File) -> None:
    file[KERNEL] = h5py.SoftLink("/nowhere")


def _within_itself(file: h5py.File) -> None:
    file["model_weights/c1/again"] = file["model_weights"]


def _unwritten(file: h5py.File) -> None:
    file.create_dataset(KERNEL, (3, 3, 30000, 30000), "f4")


def _packed(file: h5py.File) -> None:
    file.create_dataset(KERNEL, (2**20, 2**10, 2**8), chunks=(64, 64, 1), dtype="f4", compression="gzip")


CASES: list[tuple[Callable[[h5py.File], None], str]] = [
    (_external_storage, "c1/kernel:0 is external storage"),
    (_fifo, "c1/kernel:0 is external storage"),
    (_virtual, "c1/kernel:0 is virtual data"),
    (_external_link, "c1/kernel:0 is a link"),
    (_soft_link, "c1/kernel:0 is a link"),
    (_within_itself, "group within itself"),
    (_unwritten, "tells of 32,400,000,000 bytes of weights"),
    (_packed, "tells of 1,099,511,627,776 bytes"),
]


def _file(folder: Path, change: Callable[[h5py.File], None] | None = None) -> Path:
    path = folder / "net.h5"
    with h5py.File(path, "w") as file:
        _weights(file)
        if change is not None:
            if change is not _within_itself:
                del file[KERNEL]
            change(file)
    return path


@pytest.mark.parametrize(("change", "words"), CASES, ids=[case.__name__.strip("_") for case, _ in CASES])
def test_what_is_not_in_the_file_is_not_read(change: Callable[[h5py.File], None], words: str, tmp_path: Path) -> None:
    path = _file(tmp_path, change)
    with h5py.File(path, "r") as file, pytest.raises(ModelError, match=words):
        read_everything(file, path.stat().st_size)


@pytest.mark.parametrize("read", [read_keras_file, read_weights])
def test_every_way_in_passes_the_check(read: Callable[[Path], object], tmp_path: Path) -> None:
    read(_file(tmp_path))
    path = _file(tmp_path, _external_storage)
    with pytest.raises(ModelError, match=r"net\.h5 keeps its data elsewhere") as error:
        read(path)
    assert "\n" not in str(error.value)


def test_the_weights_of_an_archive_pass_it_too(tmp_path: Path) -> None:
    path = tmp_path / "net.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", '{"class_name": "Sequential", "config": {"layers": []}}')
        archive.writestr("model.weights.h5", _file(tmp_path, _external_link).read_bytes())
    with pytest.raises(ModelError, match=r"net\.keras keeps its data elsewhere"):
        read_keras_file(path)


def test_a_file_that_has_no_end_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the library does with damaged bytes, it does in a process that can be ended."""
    path = tmp_path / "endless.h5"
    path.write_bytes(gzip.decompress((Path(__file__).parent / "hostile/endless.h5.gz").read_bytes()))
    monkeypatch.setattr(hdf5, "_SECONDS", 1.5)
    with pytest.raises(ModelError, match=r"endless\.h5 is a damaged HDF5 file \(reading it has no end\)"):
        checked_hash(path)


def test_damage_is_told_in_one_line(tmp_path: Path) -> None:
    path = _file(tmp_path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelError, match=r"net\.h5 is a truncated or damaged HDF5 file") as error:
        checked_hash(path)
    assert "\n" not in str(error.value)


def test_a_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _file(tmp_path)
    first = checked_hash(path)
    monkeypatch.setattr(hdf5, "_read_elsewhere", None)
    assert checked_hash(path) == first


def test_groups_beyond_number_are_not_counted_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5, "MOST_OBJECTS", 10)
    with h5py.File(io.BytesIO(), "w") as file:
        for number in range(11):
            file.create_group(str(number))
        with pytest.raises(ModelError, match="more than 10 groups"):
            read_everything(file, 10_000)
