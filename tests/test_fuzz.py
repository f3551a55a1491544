"""The fuzzer's cases are opened or refused in one line; a few of each kind here, thousands by `make fuzz`."""

from __future__ import annotations

import importlib.util
import random
from pathlib import Path
from types import ModuleType

import pytest

from srgan_trt.errors import SrganTrtError


@pytest.fixture(scope="module")
def fuzz() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz", Path(__file__).parents[1] / "scripts" / "fuzz.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def seeds(fuzz: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("seeds")
    fuzz.make_seeds(folder)
    return folder


@pytest.mark.parametrize(("kind", "count"), [("onnx", 12), ("picture", 40), ("plan", 8)])
def test_cases_are_taken_or_refused_in_a_line(
    fuzz: ModuleType, seeds: Path, tmp_path: Path, kind: str, count: int
) -> None:
    for number in range(count):
        path = fuzz.make_case(f"{kind}:{number}", seeds, tmp_path)
        said = ""
        try:
            fuzz.open_case(path, kind)
        except SrganTrtError as error:
            said = str(error)
        assert "\n" not in said, f"{kind}:{number}"


def test_a_case_is_the_same_again(fuzz: ModuleType, seeds: Path, tmp_path: Path) -> None:
    first = fuzz.make_case("onnx:3", seeds, tmp_path).read_bytes()
    assert fuzz.make_case("onnx:3", seeds, tmp_path).read_bytes() == first
    assert fuzz.make_case("onnx:4", seeds, tmp_path).read_bytes() != first


def test_a_worker_that_does_not_answer_is_ended(fuzz: ModuleType, seeds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz, "SECONDS", 0.01)
    worker = fuzz.Worker(seeds, whole=False)
    assert worker.outcome("picture:0") == "over 0 s"
    worker.close()


def test_json_is_mutated_to_json(fuzz: ModuleType) -> None:
    text = '{"a": [1, {"b": null}], "c": "d"}'
    assert len({fuzz.mutated_json(random.Random(number), text) for number in range(50)}) > 10
