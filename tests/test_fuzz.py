"""The fuzzer's cases are opened or refused in one line; a few of each kind here, thousands by `make fuzz`."""

from __future__ import annotations

import importlib
import random
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from srgan_trt.errors import SrganTrtError


@pytest.fixture(scope="module")
def fuzz() -> Iterator[ModuleType]:
    """scripts/fuzz.py, which sees the module beside it as it does when it is started."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[1] / "scripts")
        yield importlib.import_module("fuzz")


@pytest.fixture(scope="module")
def seeds(fuzz: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("seeds")
    fuzz.make_seeds(folder)
    return folder


@pytest.mark.parametrize(
    ("kind", "count"),
    [("onnx", 12), ("pth", 12), ("safetensors", 12), ("ncnn", 12), ("picture", 40), ("plan", 8)],
)
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


@pytest.mark.parametrize("kind", ["onnx", "pth", "safetensors", "ncnn", "plan"])
def test_what_cases_are_made_of_is_taken(
    fuzz: ModuleType, seeds: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else no case would get further than what is wrong with its seed."""
    monkeypatch.setitem(importlib.import_module("fuzz_cases").MUTATE, kind, lambda dice, data: data)
    for number in range(3):
        assert fuzz.open_case(fuzz.make_case(f"{kind}:{number}", seeds, tmp_path), kind)


def test_a_case_is_the_same_again(fuzz: ModuleType, seeds: Path, tmp_path: Path) -> None:
    first = fuzz.make_case("onnx:3", seeds, tmp_path).read_bytes()
    assert fuzz.make_case("onnx:3", seeds, tmp_path).read_bytes() == first
    assert fuzz.make_case("onnx:4", seeds, tmp_path).read_bytes() != first


def test_a_worker_that_does_not_answer_is_ended(fuzz: ModuleType, seeds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz, "SECONDS", 0.01)
    worker = fuzz.Worker(seeds, whole=False)
    assert worker.outcome("picture:0") == "over 0 s"
    worker.close()


@pytest.mark.usefixtures("fuzz")
def test_json_is_mutated_to_json() -> None:
    text = '{"a": [1, {"b": null}], "c": "d"}'
    mutated_json = importlib.import_module("fuzz_cases").mutated_json
    assert len({mutated_json(random.Random(number), text) for number in range(50)}) > 10
