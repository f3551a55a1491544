"""What pip installs: the plans of the models in the package, and no Keras files."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from srgan_trt.models.packaged import packaged_models

_ROOT = Path(__file__).resolve().parents[1]
_FILES = """
import json
from pathlib import Path
from setuptools import Distribution

wheel = Distribution({"script_name": "setup.py"})
wheel.parse_config_files()
build = wheel.get_command_obj("build_py")
build.ensure_finalized()
found = [module[2] for module in build.find_all_modules()]
found += [str(Path(folder, name)) for _, folder, _, names in build.data_files for name in names]
print(json.dumps(sorted(set(found))))
"""
"""What setuptools would put into a wheel, by pyproject.toml; the compiled extension comes on top."""
_MOST = 8e6
"""Bytes of the wheel without the extension."""


@pytest.fixture(scope="module")
def files() -> list[str]:
    done = subprocess.run([sys.executable, "-c", _FILES], cwd=_ROOT, capture_output=True, text=True, check=True)
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    assert "srgan_trt/upscaler.py" in found
    return found


def test_no_keras_file_is_in_it(files: list[str]) -> None:
    assert not [name for name in files if name.endswith((".h5", ".keras"))]
    assert not [name for name in files if not name.startswith("srgan_trt/")]


def test_the_plans_of_both_precisions_are_in_it(files: list[str]) -> None:
    for model in packaged_models().values():
        if model.pip is None:
            folder = f"srgan_trt/models/shipped/{model.name}"
            assert {f"{folder}/{model.name}.plan.onnx", f"{folder}/card.json", f"{folder}/README.md"} <= set(files)
            assert (f"{folder}/{model.name}.int8.plan.onnx" in files) == (model.int8_size is not None)


def test_it_is_small(files: list[str], tmp_path: Path) -> None:
    path = tmp_path / "wheel.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name in files:
            wheel.write(_ROOT / name, name)
    print(f"{len(files)} files, {path.stat().st_size / 1e6:.2f} MB compressed")
    assert path.stat().st_size < _MOST
