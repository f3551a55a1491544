"""`srgan-trt export`."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from srgan_trt import exports
from srgan_trt.cli.export import DEFAULTS, LAYOUTS

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
    assert command("export", plan.path, "--overwrite", "--fp16", "-o", "sub/x.onnx").status == 0
    assert files(Path()) == ["small.export.onnx", "small.onnx", "sub/x.onnx"]


def test_other_kinds_have_places_of_their_own(command: Command) -> None:
    plan = small_plan(Path())
    done = command("export", plan.path, "--to", "openvino", "--fp16")
    assert (done.status, done.err) == (0, [])
    assert done.out.startswith("small -> small.xml: x4, image and result nchw-float, RGB, ")
    done = command("export", "srresnet-photo-x4", "--to", "triton", "-o", "models/fast")
    assert done.out.startswith("srresnet-photo-x4.h5 -> models/fast: x4, ")
    assert done.out.endswith(", 2.6 MB\n")
    assert command("export", plan.path, "--to", "triton").status == 0
    done = command("export", plan.path, "--to", "triton", "--overwrite")
    assert (done.status, len(done.err)) == (1, 1)
    assert "model_repository/small exists: name another" in done.err[0]
    assert files(Path()) == [
        "model_repository/small/1/model.onnx",
        "model_repository/small/config.pbtxt",
        "models/fast/1/model.onnx",
        "models/fast/config.pbtxt",
        "small.bin",
        "small.onnx",
        "small.xml",
    ]


def test_the_choices_are_those_of_the_package() -> None:
    assert LAYOUTS == exports.LAYOUTS
    assert tuple(DEFAULTS) == exports.KINDS
