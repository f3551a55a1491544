"""What pip installs: the plans of the models in the package, no Keras files, and on every machine something that works.

`make wheel` builds wheels and tries them; here is what can be told without.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from srgan_trt.models.registry import packaged_models

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
_SETUP = """
import json, runpy, setuptools

taken = {}
setuptools.setup = taken.update
runpy.run_path("setup.py")
(extension,) = taken["ext_modules"]
print(json.dumps({"flags": extension.extra_compile_args, "optional": extension.optional}))
"""
"""What setup.py asks of the compiler."""
_MOST = 8e6
"""Bytes of the wheel without the extension."""


@pytest.fixture(scope="module")
def files() -> list[str]:
    done = subprocess.run([sys.executable, "-c", _FILES], cwd=_ROOT, capture_output=True, text=True, check=True)
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    assert "srgan_trt/upscaler.py" in found
    return found


def run_setup(program: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
    """A process with the environment's variables, but for what would choose compilers."""
    names = ("CC", "CXX", "CFLAGS", "CXXFLAGS", "LDFLAGS", "SRGAN_TRT_WERROR")
    mine = {name: value for name, value in os.environ.items() if name not in names}
    return subprocess.run(
        [sys.executable, *program], cwd=_ROOT, env=mine | variables, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    settings: dict[str, Any] = tomllib.loads((_ROOT / "pyproject.toml").read_text())
    return settings


def test_no_keras_file_is_in_it(files: list[str]) -> None:
    assert not [name for name in files if name.endswith((".h5", ".keras"))]
    assert not [name for name in files if not name.startswith("srgan_trt/")]


def test_the_plans_of_both_precisions_are_in_it(files: list[str]) -> None:
    for model in packaged_models().values():
        if model.pip is None:
            folder = f"srgan_trt/models/shipped/{model.name}"
            assert {f"{folder}/{model.name}.plan.onnx", f"{folder}/card.json", f"{folder}/README.md"} <= set(files)
            assert (f"{folder}/{model.name}.int8.plan.onnx" in files) == (model.int8_size is not None)


def test_the_page_of_the_service_is_in_it(files: list[str]) -> None:
    page = _ROOT / "srgan_trt/serve/page"
    assert {f"srgan_trt/serve/page/{path.name}" for path in page.iterdir()} | {"srgan_trt/serve/openapi.json"} <= set(
        files
    )


def test_it_is_small(files: list[str], tmp_path: Path) -> None:
    path = tmp_path / "wheel.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name in files:
            wheel.write(_ROOT / name, name)
    print(f"{len(files)} files, {path.stat().st_size / 1e6:.2f} MB compressed")
    assert path.stat().st_size < _MOST


def test_what_works_without_the_extension_and_what_types_need_is_in_it(files: list[str]) -> None:
    assert {"srgan_trt/_pixels_numpy.py", "srgan_trt/_pixels.pyi", "srgan_trt/py.typed"} <= set(files)


def test_users_compilers_may_warn_and_developers_may_not() -> None:
    for variables, strict in (({}, False), ({"SRGAN_TRT_WERROR": "1"}, True), ({"SRGAN_TRT_WERROR": "0"}, False)):
        done = run_setup(["-c", _SETUP], **variables)
        assert done.returncode == 0, done.stderr
        asked = json.loads(done.stdout.splitlines()[-1])
        assert ("-Werror" in asked["flags"]) == strict
        assert "-Wall" in asked["flags"]
        assert asked["optional"] == (not strict)


def test_a_missing_compiler_is_a_warning_to_users_and_an_error_to_developers(tmp_path: Path) -> None:
    build = [
        "setup.py",
        "-q",
        "build_ext",
        "--build-lib",
        str(tmp_path / "lib"),
        "--build-temp",
        str(tmp_path / "work"),
    ]
    missing = {"CC": "no-such-compiler", "CXX": "no-such-compiler"}
    done = run_setup(build, **missing)
    assert done.returncode == 0, done.stderr
    assert len([line for line in done.stderr.splitlines() if "NumPy does its work" in line]) == 1
    assert not list(tmp_path.rglob("*.so"))
    assert list(tmp_path.rglob("pack.cu"))  # a GPU needs no extension
    assert run_setup(build, **missing, SRGAN_TRT_WERROR="1").returncode != 0


def test_builds_ask_for_ranges(project: dict[str, Any]) -> None:
    requires = [Requirement(text) for text in project["build-system"]["requires"]]
    assert {want.name for want in requires} == {"setuptools", "pybind11"}
    for want in requires:
        assert {each.operator for each in want.specifier} <= {">=", "<"}, str(want)


def test_the_page_on_pypi_is_filled(project: dict[str, Any]) -> None:
    metadata = project["project"]
    assert metadata["description"]
    assert (_ROOT / metadata["readme"]).is_file()
    assert all((_ROOT / name).is_file() for name in metadata["license-files"])
    assert [author["name"] for author in metadata["authors"]] == ["The srgan-trt authors"]
    pythons = [
        text.rpartition(" ")[2] for text in metadata["classifiers"] if text.startswith("Programming Language ::")
    ]
    supported = SpecifierSet(metadata["requires-python"])
    assert all(version in supported for version in pythons if version.startswith("3."))
    assert sorted(metadata["classifiers"]) == metadata["classifiers"]
    # Either none, or the real ones.
    assert not [url for url in metadata.get("urls", {}).values() if "example" in url or "<" in url]
