"""Without the C++ extension everything works, the picture is the same to the last bit, and it is said once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srgan_trt import Upscaler, _pixels, pixels
from srgan_trt.compiler.plan import Plan
from srgan_trt.errors import pip_command

from .handmade import small_plan


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return small_plan(tmp_path_factory.mktemp("plan"))


_WITHOUT = """
import sys

sys.modules["srgan_trt._pixels"] = None  # what an import of it then raises is an ImportError
"""
_UPSCALE = """
import json, logging
import numpy as np

said = []
logging.getLogger("srgan_trt").addHandler(type("Kept", (logging.Handler,), {"emit": lambda self, r: said.append(r)})())
from srgan_trt import Upscaler, pixels

with Upscaler(sys.argv[1], tile=24) as up:
    for name in ("rgb", "gray16"):
        np.save(f"{sys.argv[2]}/{name}.out.npy", up(np.load(f"{sys.argv[2]}/{name}.npy")))
    notes = up.info["notes"]
told = [record.getMessage() for record in said if record.levelno >= logging.WARNING]
print(json.dumps({"sets": pixels.instruction_sets(), "told": told, "notes": notes}))
"""


def python(program: str, *arguments: object) -> Any:
    command = [sys.executable, "-c", _WITHOUT + program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_here_the_extension_is_used() -> None:
    assert (pixels.pack, pixels.unpack) == (_pixels.pack, _pixels.unpack)
    assert (pixels.EXTENSION_ERROR, pixels.NOTES) == (None, ())


def test_without_it_pictures_are_the_same_and_one_warning_says_how_to_mend_it(plan: Plan, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    pictures = {
        "rgb": rng.integers(0, 256, (37, 53, 3), np.uint8),
        "gray16": rng.integers(0, 65536, (31, 29), np.uint16),
    }
    for name, picture in pictures.items():
        np.save(tmp_path / f"{name}.npy", picture)
    found = python(_UPSCALE, plan.path, tmp_path)
    with Upscaler(plan.path, tile=24) as up:
        for name, picture in pictures.items():
            np.testing.assert_array_equal(np.load(tmp_path / f"{name}.out.npy"), up(picture))
    assert found["sets"] == ["numpy"]
    (warning,) = [text for text in found["told"] if "C++ extension" in text]
    assert "compiler" in warning
    assert pip_command(options="--force-reinstall --no-deps --no-cache-dir") in warning
    assert [note for note in found["notes"] if "NumPy" in note]


def test_without_it_doctor_has_no_complaint_but_a_hint() -> None:
    program = """
import json
from srgan_trt.cli import doctor

finding = doctor._kernels()
print(json.dumps([finding.ok, finding.text]))
"""
    ok, text = python(program)
    assert ok is None
    assert pip_command(options="--force-reinstall --no-deps --no-cache-dir") in text


def test_nobody_imports_an_implementation_but_pixels() -> None:
    package = Path(pixels.__file__).parent
    importers = [
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if "_pixels import" in path.read_text() or "import _pixels" in path.read_text()
    ]
    assert importers == ["pixels.py"]


@pytest.mark.parametrize(("extra", "options"), [("", ""), ("keras", ""), ("", "--force-reinstall")])
def test_no_command_names_a_project_that_is_not_registered(extra: str, options: str) -> None:
    command = pip_command(extra, options=options)
    assert command.startswith("pip install")
    assert extra in command
    assert options in command
    assert "srgan-trt" not in command
