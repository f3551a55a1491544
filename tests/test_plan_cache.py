"""Plans are built once: keyed by content and settings, by one process at a time, again if the file is damaged."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest

from srgan_trt import cache, plan_cache
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


def test_a_plan_is_built_once(model: Path, builds: list[Any]) -> None:
    first = plan_cache.cached_plan(model)
    second = plan_cache.cached_plan(model)
    assert first.body_hash == second.body_hash
    assert first.path == second.path
    assert second.spec.scale == 2
    assert len(builds) == 1


def test_the_key_is_the_content_not_the_name(model: Path, builds: list[Any]) -> None:
    one = plan_cache.cached_plan(model)
    copy = model.with_name("copy.onnx")
    copy.write_bytes(model.read_bytes())
    assert plan_cache.cached_plan(copy).path == one.path
    onnx.save(nearest_model(scale=3), model)
    assert plan_cache.cached_plan(model).spec.scale == 3
    assert len(builds) == 2


def test_other_settings_are_another_plan(model: Path) -> None:
    assert plan_cache.cached_plan(model).path != plan_cache.cached_plan(model, precision="fp16").path
    assert plan_cache.cached_plan(model).path == plan_cache.cached_plan(model, precision=None).path


def test_custom_objects_count_by_their_content(model: Path, tmp_path: Path) -> None:
    code = tmp_path / "objects.py"
    code.write_text("first = 1\n")
    one = plan_cache._key(model, {"custom_objects": code})
    code.write_text("second = 2\n")
    assert plan_cache._key(model, {"custom_objects": code}) != one


def test_a_folder_counts_by_the_names_and_contents_of_its_files(tmp_path: Path) -> None:
    """A SavedModel is a folder."""
    model = tmp_path / "saved"
    (model / "variables").mkdir(parents=True)
    (model / "saved_model.pb").write_bytes(b"graph")
    (model / "variables" / "data").write_bytes(b"weights")
    one = plan_cache._key(model, {})
    assert plan_cache._key(model, {}) == one
    (model / "variables" / "data").rename(model / "variables" / "renamed")
    renamed = plan_cache._key(model, {})
    (model / "variables" / "renamed").write_bytes(b"others")
    assert len({one, renamed, plan_cache._key(model, {})}) == 3


@pytest.mark.parametrize("damage", [b"", b"garbage", None])
def test_a_damaged_plan_is_built_again(
    model: Path, builds: list[Any], damage: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    plan = plan_cache.cached_plan(model)
    content = plan.path.read_bytes()
    plan.path.write_bytes(content[:-100] if damage is None else damage)
    assert plan_cache.cached_plan(model).body_hash == plan.body_hash
    assert "building it again" in caplog.text
    assert plan.path.read_bytes() == content
    assert len(builds) == 2


def test_without_a_writable_folder_the_plan_is_for_this_process(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SRGAN_TRT_CACHE", str(tmp_path / "file" / "cache"))
    cache._warn_once.cache_clear()
    for _ in range(2):
        assert plan_cache.cached_plan(model).path.is_file()
    assert caplog.text.count("cannot write to the cache folder") == 1
    assert "set SRGAN_TRT_CACHE" in caplog.text


def test_a_finished_plan_is_not_lost_where_the_disk_does_not_take_it(
    model: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def save(*arguments: Any, **options: Any) -> Any:
        """When the plan is finished the place is lost: as on a disk that fills up, it could be written before."""
        shutil.rmtree(folder / "plans")
        (folder / "plans").write_text("in the way")
        return real(*arguments, **options)

    real = compiler.save_plan
    monkeypatch.setattr(compiler, "save_plan", save)
    assert plan_cache.cached_plan(model).path.is_file()
    assert "cannot write to the cache folder" in caplog.text


def test_a_folder_in_the_plans_place_is_gone_around(model: Path, caplog: pytest.LogCaptureFixture) -> None:
    place = plan_cache.cached_plan(model).path
    place.unlink()
    place.mkdir()
    assert plan_cache.cached_plan(model).path.is_file()
    assert f"{place.name} is a folder" in caplog.text


def test_a_model_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot read the model .*none\.h5"):
        plan_cache.cached_plan(tmp_path / "none.h5")


def test_a_model_that_cannot_be_built_leaves_nothing(tmp_path: Path, folder: Path) -> None:
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"no network")
    with pytest.raises(ModelError):
        plan_cache.cached_plan(bad)
    assert [path.suffix for path in (folder / "plans").iterdir()] == [".lock"]


def test_processes_at_the_same_time_build_once(model: Path) -> None:
    program = f"""
from pathlib import Path
from srgan_trt import plan_cache
from srgan_trt.compiler import build as compiler
real, calls = compiler.build, []
compiler.build = lambda *a, **k: (calls.append(1), real(*a, **k))[1]
plan = plan_cache.cached_plan(Path({str(model)!r}))
print(len(calls), plan.body_hash)
"""
    running = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    answers = [process.communicate(timeout=120)[0].split() for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    assert sum(int(count) for count, _ in answers) == 1
    assert len({body for _, body in answers}) == 1
