"""What is cached is never wrong: keyed by content and settings, sealed, made once, made again if damaged."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import onnx
import pytest

from srgan_trt import cache
from srgan_trt.compiler import build as compiler
from srgan_trt.errors import ModelError

from .handmade import nearest_model


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the test's own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("SRGAN_TRT_CACHE", str(folder))
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "nearest.onnx"
    onnx.save(nearest_model(), path)
    return path


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What `build` was called with, which still does its work."""
    calls: list[Any] = []
    real = compiler.build

    def counted(path: Path, **settings: Any) -> Any:
        calls.append(settings)
        return real(path, **settings)

    monkeypatch.setattr(compiler, "build", counted)
    return calls


def test_the_environment_names_the_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache.cache_folder() == folder
    monkeypatch.delenv("SRGAN_TRT_CACHE")
    assert cache.cache_folder().name == "srgan-trt"


def test_a_plan_is_built_once(model: Path, builds: list[Any]) -> None:
    first = cache.cached_plan(model)
    second = cache.cached_plan(model)
    assert first.body_hash == second.body_hash
    assert first.path == second.path
    assert second.spec.scale == 2
    assert len(builds) == 1


def test_the_key_is_the_content_not_the_name(model: Path, builds: list[Any]) -> None:
    one = cache.cached_plan(model)
    copy = model.with_name("copy.onnx")
    copy.write_bytes(model.read_bytes())
    assert cache.cached_plan(copy).path == one.path
    onnx.save(nearest_model(scale=3), model)
    assert cache.cached_plan(model).spec.scale == 3
    assert len(builds) == 2


def test_other_settings_are_another_plan(model: Path) -> None:
    assert cache.cached_plan(model).path != cache.cached_plan(model, precision="fp16").path
    assert cache.cached_plan(model).path == cache.cached_plan(model, precision=None).path


def test_custom_objects_count_by_their_content(model: Path, tmp_path: Path) -> None:
    code = tmp_path / "objects.py"
    code.write_text("first = 1\n")
    one = cache._key(model, {"custom_objects": code})
    code.write_text("second = 2\n")
    assert cache._key(model, {"custom_objects": code}) != one


def test_a_folder_counts_by_the_names_and_contents_of_its_files(tmp_path: Path) -> None:
    """A SavedModel is a folder."""
    model = tmp_path / "saved"
    (model / "variables").mkdir(parents=True)
    (model / "saved_model.pb").write_bytes(b"graph")
    (model / "variables" / "data").write_bytes(b"weights")
    one = cache._key(model, {})
    assert cache._key(model, {}) == one
    (model / "variables" / "data").rename(model / "variables" / "renamed")
    renamed = cache._key(model, {})
    (model / "variables" / "renamed").write_bytes(b"others")
    assert len({one, renamed, cache._key(model, {})}) == 3


@pytest.mark.parametrize("damage", [b"", b"garbage", None])
def test_a_damaged_plan_is_built_again(
    model: Path, builds: list[Any], damage: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    plan = cache.cached_plan(model)
    content = plan.path.read_bytes()
    plan.path.write_bytes(content[:-100] if damage is None else damage)
    assert cache.cached_plan(model).body_hash == plan.body_hash
    assert "building it again" in caplog.text
    assert plan.path.read_bytes() == content
    assert len(builds) == 2


def test_without_a_writable_folder_the_plan_is_for_this_process(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SRGAN_TRT_CACHE", str(tmp_path / "file" / "cache"))
    cache._warn_unwritable.cache_clear()
    for _ in range(2):
        assert cache.cached_plan(model).path.is_file()
    assert caplog.text.count("cannot write to the cache folder") == 1
    assert "set SRGAN_TRT_CACHE" in caplog.text


def test_a_model_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot read the model .*none\.h5"):
        cache.cached_plan(tmp_path / "none.h5")


def test_a_model_that_cannot_be_built_leaves_nothing(tmp_path: Path, folder: Path) -> None:
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"no network")
    with pytest.raises(ModelError):
        cache.cached_plan(bad)
    assert [path.suffix for path in (folder / "plans").iterdir()] == [".lock"]


def test_processes_at_the_same_time_build_once(model: Path) -> None:
    program = f"""
from pathlib import Path
from srgan_trt import cache
from srgan_trt.compiler import build as compiler
real, calls = compiler.build, []
compiler.build = lambda *a, **k: (calls.append(1), real(*a, **k))[1]
plan = cache.cached_plan(Path({str(model)!r}))
print(len(calls), plan.body_hash)
"""
    running = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    answers = [process.communicate(timeout=120)[0].split() for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    assert sum(int(count) for count, _ in answers) == 1
    assert len({body for _, body in answers}) == 1


@pytest.mark.parametrize(("patience", "said"), [(0.05, 1), (60, 0)])
def test_waiting_for_another_process_is_said_once(
    patience: float, said: int, folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "_PATIENCE", patience)
    held, done, places = threading.Event(), threading.Event(), []

    def hold() -> None:
        with cache.made_once(folder / "plans" / "a.onnx"):
            held.set()
            assert done.wait(20)

    def follow() -> None:
        with cache.made_once(folder / "plans" / "a.onnx") as place:
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
    assert cache.read_sealed(path) is None
    assert not caplog.records
    cache.write_sealed(path, b"content" * 1000)
    assert cache.read_sealed(path) == b"content" * 1000
    content = path.read_bytes()
    for damaged in (b"", content[:20], content[:-1], content + b"x", content[:500] + b"?" + content[501:]):
        path.write_bytes(damaged)
        assert cache.read_sealed(path) is None
    assert caplog.text.count("is damaged") == 5
    assert [each.name for each in path.parent.iterdir()] == ["file.blob"]
