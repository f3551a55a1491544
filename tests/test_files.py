"""Files are written whole or not at all, whatever fails on the way."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from srgan_trt.files import atomic_file, atomic_path, atomic_write, cannot_write, naming, new_folder


def test_a_new_file_has_the_content_and_the_users_permissions(tmp_path: Path) -> None:
    atomic_write(tmp_path / "new" / "file.bin", b"content")
    assert (tmp_path / "new" / "file.bin").read_bytes() == b"content"
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE((tmp_path / "new" / "file.bin").stat().st_mode) == 0o666 & ~mask
    assert len(list((tmp_path / "new").iterdir())) == 1


@pytest.mark.parametrize("error", [RuntimeError("mine"), KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_what_was_there_stays_and_nothing_is_left_beside_it(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(b"before")

    def broken_off() -> None:
        with atomic_file(path) as file:
            file.write(b"half")
            raise error

    with pytest.raises(type(error)) as caught:
        broken_off()
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]
    if isinstance(error, OSError):
        assert isinstance(caught.value, OSError)
        assert (caught.value.errno, caught.value.filename) == (28, str(path))


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.bin").write_bytes(b"before")
    (tmp_path / "link.bin").symlink_to("real.bin")
    atomic_write(tmp_path / "link.bin", b"after")
    assert (tmp_path / "link.bin").is_symlink()
    assert (tmp_path / "real.bin").read_bytes() == b"after"


def test_a_path_for_libraries_that_open_files_themselves_keeps_its_suffix(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "model.h5") as partial:
        assert partial.suffix == ".h5"
        assert partial.parent == tmp_path
        partial.write_bytes(b"model")
        assert not (tmp_path / "model.h5").exists()
    assert (tmp_path / "model.h5").read_bytes() == b"model"


def test_a_name_as_long_as_the_file_system_takes_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 251 + ".bin")
    atomic_write(path, b"content")
    assert path.read_bytes() == b"content"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="file") as caught:
        atomic_write(tmp_path / "file" / "below.bin", b"")
    assert caught.value.filename == str(tmp_path / "file" / "below.bin")


def test_what_a_killed_process_left_is_removed_by_the_next_and_nothing_else(tmp_path: Path) -> None:
    program = "import os, sys, pathlib; from srgan_trt.files import {0}\nwith {0}(pathlib.Path('a.bin')): {1}"
    kill, write = "os.kill(os.getpid(), 9)", "pass"
    for _ in range(2):
        subprocess.run([sys.executable, "-c", program.format("atomic_file", kill)], cwd=tmp_path, check=False)
    (tmp_path / ".srgan-trt-mine.part").write_text("another's")
    with atomic_file(tmp_path / "b.bin"):
        subprocess.run([sys.executable, "-c", program.format("atomic_file", write)], cwd=tmp_path, check=True)
    assert {path.name for path in tmp_path.iterdir()} == {"a.bin", "b.bin", ".srgan-trt-mine.part"}


def test_errors_without_a_file_get_its_name(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="full") as caught, naming(tmp_path):
        raise OSError(28, "full")
    assert caught.value.filename == str(tmp_path)
    with pytest.raises(FileNotFoundError) as missing, naming(tmp_path):
        open(tmp_path / "none")  # noqa: SIM115 - it does not open
    assert missing.value.filename == str(tmp_path / "none")


def test_a_full_disk_is_told_with_what_to_do() -> None:
    error = OSError(28, "No space left on device")
    assert cannot_write(Path("a/b.onnx"), error, what="the plan ") == (
        "cannot write the plan a/b.onnx: the disk of a is full: make room, or name another folder"
    )


def test_a_folder_is_made_whole_or_not_at_all(tmp_path: Path) -> None:
    def half_way() -> None:
        with new_folder(tmp_path / "sub/folder") as partial:
            (partial / "file").write_text("half")
            raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        half_way()
    assert list((tmp_path / "sub").iterdir()) == []
    with new_folder(tmp_path / "sub/folder") as partial:
        (partial / "file").write_text("whole")
        assert not (tmp_path / "sub/folder").exists()
    assert [path.name for path in (tmp_path / "sub").iterdir()] == ["folder"]
    with pytest.raises(FileExistsError), new_folder(tmp_path / "sub/folder"):
        pytest.fail("it is there already")
    assert (tmp_path / "sub/folder/file").read_text() == "whole"
