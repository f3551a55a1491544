"""Model cards: what is written comes back, what is not whole is said, and those of shipped models tell the truth."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from srgan_trt.codec import encode
from srgan_trt.compiler.plan import load_plan
from srgan_trt.errors import ModelError
from srgan_trt.models.card import ModelCard, read_card
from srgan_trt.models.registry import SHIPPED

from ..mutated import mutations
from ..shipped import card

_WEIGHTS = Path(__file__).resolve().parents[2] / "weights"
_FOLDERS = sorted(path.parent for path in SHIPPED.glob("*/card.json"))


def test_a_card_comes_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "card.json"
    path.write_bytes(encode(card(teacher="srresnet-x4"), indent=2))
    assert read_card(path) == card(teacher="srresnet-x4")


def changed(**changes: Any) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(encode(card()))
    return {name: value for name, value in (fields | changes).items() if value is not ...}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (changed(licence=...), "missing required field `licence`"),
        (changed(licenses="MIT"), "unknown field `licenses`"),
        (changed(scale="4"), "Expected `int`, got `str` - at `$.scale`"),
        (changed(date="last week"), "Invalid isoformat string: 'last week'"),
        (changed(architecture={"blocks": 8}), "architecture lacks filters, kernel"),
        (changed(architecture=[8, 32]), "Expected `object`, got `array` - at `$.architecture`"),
        (changed(data={"sets": ["a"], "pictures": 3}), "missing required field `manifest` - at `$.data`"),
        (changed(data={"sets": "a", "pictures": 3, "manifest": "m.csv"}), "got `str` - at `$.data.sets`"),
        (changed(scores={"Set5": {"psnr": 30.7}}), "missing required field `ssim` - at `$.scores[...]`"),
        (changed(scores={"Set5": {"psnr": None, "ssim": 0.9}}), "got `null` - at `$.scores[...].psnr`"),
        (["card"], "Expected `object`, got `array`"),
    ],
)
def test_what_is_no_whole_card_is_said(tmp_path: Path, fields: Any, message: str) -> None:
    path = tmp_path / "card.json"
    path.write_text(json.dumps(fields))
    with pytest.raises(ModelError) as raised:
        read_card(path)
    assert str(raised.value).startswith(f"{path} is not a model card (")
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(ModelCard)])
def test_no_value_gives_another_error(tmp_path: Path, name: str) -> None:
    path = tmp_path / "card.json"
    for text in mutations(changed(), name):
        path.write_bytes(text)
        with contextlib.suppress(ModelError):
            read_card(path)


def test_files_that_are_no_card(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot read the model card"):
        read_card(tmp_path / "card.json")
    (tmp_path / "card.json").write_bytes(b"{\xff")
    with pytest.raises(ModelError, match="is not a model card"):
        read_card(tmp_path / "card.json")


@pytest.mark.parametrize("folder", _FOLDERS, ids=lambda folder: folder.name)
class TestShippedModels:
    """Those that are in the package now."""

    def test_the_card_is_that_of_the_plan(self, folder: Path) -> None:
        told, plan = read_card(folder / "card.json"), load_plan(folder / f"{folder.name}.plan.onnx")
        assert told.name == folder.name
        assert told.scale == plan.spec.scale
        assert told.mmac == pytest.approx(plan.spec.macs / 1e6, rel=0.01)
        assert (folder / told.data.manifest).is_file()

    def test_the_plan_is_built_from_its_weights(self, folder: Path) -> None:
        plan = load_plan(folder / f"{folder.name}.plan.onnx")
        content = (_WEIGHTS / f"{folder.name}.h5").read_bytes()
        assert plan.spec.source_hash == hashlib.sha256(content).hexdigest()
        assert plan.spec.name == f"{folder.name}.h5"

    def test_the_parameters_are_counted(self, folder: Path) -> None:
        import h5py

        arrays: list[int] = []
        with h5py.File(_WEIGHTS / f"{folder.name}.h5") as file:
            file["model_weights"].visititems(lambda _, item: arrays.append(getattr(item, "size", 0)))
        assert sum(arrays) == read_card(folder / "card.json").parameters

    def test_the_readers_card_names_the_same_scores(self, folder: Path) -> None:
        told: ModelCard = read_card(folder / "card.json")
        text = (folder / "README.md").read_text("utf-8")
        for name, scores in told.scores.items():
            assert name in text
            assert f"{scores.psnr:.2f}" in text
        for line in (told.name, told.licence, told.date):
            assert line in text
