"""Finding NVIDIA's TensorRT, and hearing what it says."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from srgan_trt.errors import DeviceError, DeviceMemoryError, MissingPackageError, pip_command
from srgan_trt.runtime.gpu.device import gpus
from srgan_trt.runtime.tensorrt.library import FLAVOURS, Library, Messages, find_library


@pytest.fixture
def rtx() -> Library:
    pytest.importorskip("tensorrt_rtx", reason="the [tensorrt-rtx] extra is not installed")
    return find_library("tensorrt-rtx")


def package(folder: Path, name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of that name, found before any other."""
    (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setitem(sys.modules, name, None)  # so that it is gone again afterwards
    del sys.modules[name]


def without(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    for name in modules:
        monkeypatch.setitem(sys.modules, name, None)


class TestFinding:
    def test_the_one_that_is_installed_is_taken(self, rtx: Library, monkeypatch: pytest.MonkeyPatch) -> None:
        without(monkeypatch, "tensorrt")
        assert find_library() == rtx
        assert (rtx.flavour, rtx.version) == ("tensorrt-rtx", rtx.module.__version__)
        assert str(rtx) == f"TensorRT-RTX {rtx.version}"
        assert rtx.builds_for_others

    def test_tensorrt_comes_first(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        package(tmp_path, "tensorrt", "__version__ = '11.4.0'", monkeypatch)
        library = find_library()
        assert str(library) == "TensorRT 11.4.0"
        assert not library.builds_for_others

    @pytest.mark.parametrize("flavour", FLAVOURS)
    def test_what_is_not_installed_is_named_with_its_extra(self, flavour: str, monkeypatch: pytest.MonkeyPatch) -> None:
        without(monkeypatch, *FLAVOURS.values())
        with pytest.raises(MissingPackageError, match=re.escape(pip_command(flavour))):
            find_library(flavour)
        with pytest.raises(MissingPackageError, match=re.escape(pip_command("tensorrt"))):
            find_library()

    def test_an_unknown_flavour(self) -> None:
        with pytest.raises(DeviceError, match="there is no TensorRT 'trt': use tensorrt or tensorrt-rtx"):
            find_library("trt")

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("import no_such_module_of_tensorrt", "is installed but not whole.*no_such_module_of_tensorrt"),
            ("raise OSError('libnvinfer.so.11: cannot open')", r"cannot be loaded \(libnvinfer.so.11"),
        ],
    )
    def test_an_installation_that_cannot_be_loaded(
        self, text: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        package(tmp_path, "tensorrt", text, monkeypatch)
        with pytest.raises(DeviceError, match=f"tensorrt {said}.*--force-reinstall tensorrt"):
            find_library("tensorrt")

    def test_a_broken_one_gives_way_to_a_whole_one(
        self, rtx: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        package(tmp_path, "tensorrt", "raise ImportError('stub')", monkeypatch)
        assert find_library().flavour == "tensorrt-rtx"


class TestMessages:
    def test_an_error_is_raised_once(self, rtx: Library) -> None:
        messages = Messages(rtx)
        trt = rtx.module
        messages.native.log(trt.ILogger.ERROR, "[file.cpp::call::12] Error Code 4: it broke")
        with pytest.raises(DeviceError, match=r"^TensorRT-RTX \S+ cannot build it: Error Code 4: it broke: "):
            messages.check("build it")
        messages.check("build it")

    def test_a_failure_that_said_nothing(self, rtx: Library) -> None:
        with pytest.raises(DeviceError, match="cannot build it: it gave no reason"):
            Messages(rtx).check("build it", failed=True)

    def test_want_of_memory_is_an_error_of_its_own(self, rtx: Library) -> None:
        messages = Messages(rtx)
        messages.native.log(rtx.module.ILogger.ERROR, "Error Code 2: OutOfMemory (Requested size was 268979462 bytes.)")
        with pytest.raises(DeviceMemoryError, match="use a smaller tile or batch"):
            messages.check("build it")

    def test_the_absent_driver_is_not_the_reason_where_there_is_another(self, rtx: Library) -> None:
        messages = Messages(rtx)
        for text in ("CUDA driver version is insufficient for CUDA runtime version", "the real reason"):
            messages.native.log(rtx.module.ILogger.ERROR, text)
        with pytest.raises(DeviceError, match="the real reason"):
            messages.check("build it")

    def test_warnings_are_logged_and_no_errors(self, rtx: Library, caplog: pytest.LogCaptureFixture) -> None:
        messages = Messages(rtx)
        with caplog.at_level("INFO"):
            messages.native.log(rtx.module.ILogger.WARNING, "mind this")
        messages.check("build it")
        assert "mind this" in caplog.text

    def test_verbose_lines_are_kept_where_asked_for(self, rtx: Library) -> None:
        for verbose, expected in ((True, ["one", "two"]), (False, [])):
            messages = Messages(rtx, verbose=verbose)
            messages.native.log(rtx.module.ILogger.VERBOSE, "one\ntwo")
            assert messages.lines == expected

    def test_errors_can_be_heard_at_once(self, rtx: Library, caplog: pytest.LogCaptureFixture) -> None:
        Messages(rtx, aloud=True).native.log(rtx.module.ILogger.ERROR, "the launch failed")
        assert [(record.levelname, "the launch failed" in record.message) for record in caplog.records] == [
            ("ERROR", True)
        ]


@pytest.mark.skipif(gpus() is not None, reason="there is an NVIDIA driver here")
def test_without_a_driver_no_runtime_is_made(rtx: Library) -> None:
    """Some of NVIDIA's libraries crash there (`tensorrt_lean`)."""
    with pytest.raises(DeviceError, match=r"can load no engine: there is no NVIDIA driver here.*--device cpu"):
        rtx.runtime(Messages(rtx))


def test_tensorrt_rtx_has_no_int8() -> None:
    module = SimpleNamespace()
    for flavour in FLAVOURS:
        for precision in ("fp16", "fp32"):
            Library(flavour, "1", module).check_precision(precision)
    Library("tensorrt", "11.4", module).check_precision("int8")
    with pytest.raises(DeviceError, match=r"TensorRT-RTX 1\.7's int8 convolutions write float32.* twice the bytes"):
        Library("tensorrt-rtx", "1.7", module).check_precision("int8")
