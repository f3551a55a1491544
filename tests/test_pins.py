"""constraints.txt pins what pyproject.toml asks for, to versions that it allows."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_ROOT = Path(__file__).resolve().parents[1]


def _pins() -> dict[str, str]:
    lines = [line for line in (_ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    pairs = [line.split("==") for line in lines]
    return {canonicalize_name(name): version for name, version in pairs}


def test_every_requirement_is_pinned_to_a_version_that_it_allows() -> None:
    settings = tomllib.loads((_ROOT / "pyproject.toml").read_text())
    project = settings["project"]
    asked = [*project["dependencies"], *settings["build-system"]["requires"]]
    for extra in project["optional-dependencies"].values():
        asked += extra
    asked = [text for text in asked if Requirement(text).name != project["name"]]  # an extra that holds another
    pins = _pins()
    wrong = [
        text
        for text in asked
        if not (want := Requirement(text)).specifier.contains(pins.get(canonicalize_name(want.name), "0"))
    ]
    assert not wrong


def test_what_the_benchmark_needs_is_pinned() -> None:
    lines = (_ROOT / "benchmarks" / "requirements.txt").read_text().splitlines()
    asked = [Requirement(line) for line in lines if line and not line.startswith(("#", "-"))]
    assert asked
    pins = _pins()
    for want in asked:
        # either by the project's constraints, or by itself, but not by both
        assert (canonicalize_name(want.name) in pins) == (not want.specifier), str(want)
        assert all(each.operator == "==" for each in want.specifier), str(want)


def test_what_makes_wheels_is_pinned_and_kept_from_users() -> None:
    lines = (_ROOT / "scripts" / "wheels-requirements.txt").read_text().splitlines()
    tools = {want.name: want for want in map(Requirement, (line for line in lines if not line.startswith("#")))}
    assert {"auditwheel", "build", "ziglang"} <= set(tools)
    assert all(each.operator == "==" for want in tools.values() for each in want.specifier)
    extras = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert not set(tools) & {Requirement(text).name for extra in extras.values() for text in extra}


def test_what_others_run_has_the_same_versions() -> None:
    """The workflows, and what pre-commit installs."""
    files = [*sorted((_ROOT / ".github" / "workflows").glob("*.yml")), _ROOT / ".pre-commit-config.yaml"]
    made_with = (_ROOT / "scripts" / "wheels-requirements.txt").read_text()
    pins = _pins() | dict(re.findall(r"^([\w-]+)==(\S+)$", made_with, re.MULTILINE))
    found = [pair for file in files for pair in re.findall(r"([\w-]+)==([\w.]+)", file.read_text())]
    assert {"ruff", "build", "cibuildwheel"} <= {name for name, _ in found}
    assert [(name, version) for name, version in found if pins.get(name, version) != version] == []
