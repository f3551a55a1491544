"""The cache's files: whole or not there, made by one process at a time."""

from __future__ import annotations

import pwd
import threading
import time
from pathlib import Path

import pytest

from srgan_trt import cache


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the test's own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("SRGAN_TRT_CACHE", str(folder))
    return folder


def test_the_environment_names_the_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache.cache_folder() == folder
    monkeypatch.delenv("SRGAN_TRT_CACHE")
    assert cache.cache_folder().name == "srgan-trt"


def test_a_user_without_a_home_has_a_cache_that_does_not_outlive_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def nobody(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    for name in ("HOME", "SRGAN_TRT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    cache._warn_once.cache_clear()
    folder = cache.cache_folder()
    cache.write_checksummed(folder / "file", b"content")
    assert cache.read_checksummed(folder / "file") == b"content"
    with cache.build_lock(folder / "plans" / "a") as place:
        assert place == folder / "plans" / "a"
    assert caplog.text.count("set SRGAN_TRT_CACHE to a folder you may write to") == 1


@pytest.mark.parametrize(("patience", "said"), [(0.05, 1), (60, 0)])
def test_waiting_for_another_process_is_said_once(
    patience: float, said: int, folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "_PATIENCE", patience)
    held, done, places = threading.Event(), threading.Event(), []

    def hold() -> None:
        with cache.build_lock(folder / "plans" / "a.onnx"):
            held.set()
            assert done.wait(20)

    def follow() -> None:
        with cache.build_lock(folder / "plans" / "a.onnx") as place:
            places.append(place)

    others = [threading.Thread(target=hold), threading.Thread(target=follow)]
    others[0].start()
    assert held.wait(20)
    others[1].start()
    time.sleep(0.3)
    assert places == []
    done.set()
    for other in others:
        other.join(60)
    assert places == [folder / "plans" / "a.onnx"]
    assert caplog.text.count("waiting for another process that is making the same file (a.onnx)") == said


def test_sealed_files_come_back_whole_or_not_at_all(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "deep" / "file.blob"
    assert cache.read_checksummed(path) is None
    assert not caplog.records
    cache.write_checksummed(path, b"content" * 1000)
    assert cache.read_checksummed(path) == b"content" * 1000
    content = path.read_bytes()
    for damaged in (b"", content[:20], content[:-1], content + b"x", content[:500] + b"?" + content[501:]):
        path.write_bytes(damaged)
        assert cache.read_checksummed(path) is None
    assert caplog.text.count("is damaged") == 5
    assert [each.name for each in path.parent.iterdir()] == ["file.blob"]
