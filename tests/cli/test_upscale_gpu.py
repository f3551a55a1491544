"""The command line on machines with NVIDIA GPUs: the stand-in's, where doubles run the engines."""

from __future__ import annotations

import importlib.util
import io
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from srgan_trt.runtime.devices import gpu_packages

from ..command_line import files, load, save_noise
from ..cuda_driver import build, standin
from ..cuda_host import build as host
from ..handmade import differences, expected, small_plan

pytestmark = pytest.mark.skipif(bool(build.missing() or gpu_packages()), reason=f"{build.missing() or gpu_packages()}")
needs_rtx = pytest.mark.skipif(importlib.util.find_spec("tensorrt_rtx") is None, reason='pip install ".[tensorrt-rtx]"')


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


# ---- what runs in the process of the stand-in


def with_a_real_build(plan: Path, cache: Path, arguments: list[str]) -> tuple[int, str]:
    """The status and what a terminal was sent. TensorRT-RTX builds; what it would load is a double."""
    import srgan_trt.runtime.tensorrt.cache as engine_cache
    from srgan_trt.cli import console
    from srgan_trt.cli.main import main

    from ..tensorrt_double import SourceDouble

    os.environ["SRGAN_TRT_CACHE"] = str(cache)
    double = SourceDouble(plan)
    engine_cache.LoadedEngine = lambda library, header, data, **_: double.open(header.settings, None)  # type: ignore
    console._PATIENCE = 0.0
    new_bar = console.Console._new_bar

    def impatient(*arguments: Any, **options: Any) -> Any:
        bar = new_bar(*arguments, **options)
        bar.mininterval = 0  # this small network is built before a bar is drawn again
        return bar

    console.Console._new_bar = impatient  # type: ignore[method-assign]
    before, sys.stderr = sys.stderr, Terminal()
    try:
        return main(arguments), sys.stderr.getvalue()
    finally:
        sys.stderr = before


def with_doubles(arguments: list[str], seconds: float = 0.0) -> dict[str, Any]:
    """What the command said, and on which GPU each picture ran."""
    import srgan_trt.runtime.tensorrt.cache as engine_cache
    from srgan_trt.cli.main import main
    from srgan_trt.runtime.gpu.pipeline import GpuPipeline

    from ..tensorrt_double import Script, SourceDouble

    noted = Script(seconds=seconds)
    engine_cache.EngineCache = lambda plan, **_: SourceDouble(plan.path, noted)  # type: ignore[assignment,misc]
    gpus, real = [], GpuPipeline.run

    def watched(self: GpuPipeline, *values: Any, **options: Any) -> int:
        not_finite = real(self, *values, **options)
        gpus.append(self.gpu.number)
        return not_finite

    GpuPipeline.run = watched  # type: ignore[method-assign]
    before, sys.stderr = sys.stderr, io.StringIO()
    try:
        status = main(arguments)
        said = sys.stderr.getvalue()
    finally:
        sys.stderr = before
    return {
        "status": status, "said": said, "gpus": gpus, "violations": noted.violations,
        "tiles": [settings.tile for settings in noted.opened],
    }  # fmt: skip


# ---- the tests


def run(function: Any, *arguments: Any, **options: Any) -> Any:
    outcome = standin.run(function, *arguments, kernels=host.library(), **options)
    assert not outcome.leaks["allocations"]
    return outcome.value


@needs_rtx
def test_a_terminal_sees_how_far_the_engine_is_that_is_built_first(tmp_path: Path) -> None:
    plan, picture, out = small_plan(tmp_path), tmp_path / "picture.png", tmp_path / "large.png"
    pixels = save_noise(picture)
    arguments = ["upscale", str(picture), "-o", str(out), "--model", str(plan.path), "--device", "cuda"]
    status, said = run(with_a_real_build, plan.path, tmp_path / "cache", arguments)
    assert status == 0, said
    bar = said[said.index("building an engine of small") : said.index("built it in")]
    assert "%|" in bar
    assert differences(load(out), expected(plan, pixels)).max() <= 1
    (tmp_path / "large.png").unlink()
    status, said = run(with_a_real_build, plan.path, tmp_path / "cache", arguments)
    assert (status, "building" in said) == (0, False)
    assert "large.png" in files(tmp_path)


@pytest.mark.parametrize(
    ("said", "gpu"), [(["--gpu-id", "1"], 1), (["--gpu-id", "0"], 0), (["--device", "cuda:1"], 1), ([], 0)]
)
def test_the_gpu_that_is_named_runs(tmp_path: Path, said: list[str], gpu: int) -> None:
    plan, picture, out = small_plan(tmp_path), tmp_path / "picture.png", tmp_path / "large.png"
    pixels = save_noise(picture)
    found = run(with_doubles, ["upscale", str(picture), "-o", str(out), "--model", str(plan.path), *said], devices=2)
    assert (found["status"], found["gpus"], found["violations"]) == (0, [gpu], []), found["said"]
    assert differences(load(out), expected(plan, pixels)).max() <= 1


def test_a_folder_is_shared_by_two_gpus(tmp_path: Path) -> None:
    plan, out = small_plan(tmp_path), tmp_path / "large"
    pictures = {f"{number}.png": save_noise(tmp_path / "in" / f"{number}.png", seed=number) for number in range(8)}
    arguments = ["upscale", str(tmp_path / "in"), "-o", f"{out}/", "--model", str(plan.path), "--gpu-id", "0,1"]
    found = run(with_doubles, arguments, 0.1, devices=2)
    assert (found["status"], found["violations"]) == (0, []), found["said"]
    assert len(found["gpus"]) == 8
    assert min(found["gpus"].count(gpu) for gpu in (0, 1)) >= 2
    assert len(files(out)) == 8
    for name, pixels in pictures.items():
        (large,) = out.glob(f"{Path(name).stem}*")
        assert differences(load(large), expected(plan, pixels)).max() <= 1


def test_no_more_memory_is_taken_than_may_be(tmp_path: Path) -> None:
    plan, picture, out = small_plan(tmp_path), tmp_path / "picture.png", tmp_path / "large.png"
    pixels = save_noise(picture, 200, 220)
    most = {}
    for limit in ("1", "0.004"):
        arguments = ["upscale", str(picture), "-o", str(out), "--model", str(plan.path), "--overwrite"]
        outcome = standin.run(
            with_doubles, [*arguments, "--device", "cuda", "--max-vram", limit], kernels=host.library()
        )
        assert outcome.value["status"] == 0, outcome.value["said"]
        assert differences(load(out), expected(plan, pixels)).max() <= 1
        most[limit] = outcome.leaks["devices"][0]["peak"]
    assert most["0.004"] <= 4_000_000 < most["1"]


def with_pytorch_s_double(plan: Path, arguments: list[str]) -> dict[str, Any]:
    from srgan_trt.runtime.tensorrt import pytorch

    from ..tensorrt_double import SourceDouble

    opened: list[Path] = []
    pytorch.TorchSource = lambda plan: opened.append(plan.path) or SourceDouble(plan.path)  # type: ignore
    return {**with_doubles(arguments), "opened": [path == plan for path in opened]}


def test_a_network_by_pytorch(tmp_path: Path) -> None:
    plan, picture, out = small_plan(tmp_path), tmp_path / "picture.png", tmp_path / "large.png"
    pixels = save_noise(picture)
    arguments = ["upscale", str(picture), "-o", str(out), "--model", str(plan.path), "--engine", "torch"]
    found = run(with_pytorch_s_double, plan.path, arguments)
    assert (found["status"], found["opened"], found["gpus"]) == (0, [True], [0]), found["said"]
    assert differences(load(out), expected(plan, pixels)).max() <= 1
