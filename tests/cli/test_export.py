"""`srgan-trt export`."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from srgan_trt.cli.export import LAYOUTS
from srgan_trt.compiler import export as compiler_export

from ..command_line import Command, files
from ..handmade import small_plan

pytestmark = pytest.mark.usefixtures("here")


def test_a_plan_becomes_a_file_beside_nothing(command: Command) -> None:
    plan = small_plan(Path())
    done = command("export", plan.path, "--to", "onnx", "--layout", "nhwc-uint8")
    assert (done.status, done.err) == (0, [])
    assert done.out.startswith("small -> small.export.onnx: x4, image and result nhwc-uint8, RGB, ")
    assert onnx.load("small.export.onnx").graph.input[0].name == "image"
    done = command("export", plan.path)
    assert (done.status, len(done.err)) == (1, 1)
    assert "small.export.onnx exists: give --overwrite" in done.err[0]
    assert command("export", plan.path, "--overwrite", "-o", "sub/x.onnx").status == 0
    assert files(Path()) == ["small.export.onnx", "small.onnx", "sub/x.onnx"]


def test_the_layouts_are_those_of_the_compiler() -> None:
    assert LAYOUTS == compiler_export.LAYOUTS
