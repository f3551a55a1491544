"""What `srgan-trt build` says of a plan that it built, and of files that are not models."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from srgan_trt.compiler.plan import load_plan

from ..command_line import Command, rows
from ..handmade import nearest_model


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_it_tells_what_it_found_and_proved(command: Command, model: str) -> None:
    done = command("build", model)
    assert (done.status, done.err) == (0, [])
    table = rows(done.out)
    assert table["model"] == "nearest.onnx: ONNX"
    assert table["scale"] == "x2"
    assert table["input"].startswith("0..255, found (")
    assert "dB consistent, the runner-up" in table["input"]
    assert "as good: 0..1 to 0..1" in table["output"]
    assert "last shuffle into the unpack kernel: 1 done, moved the output by 0.0e+00 of its range" in table["rewrites"]
    assert "enlargements into sub-pixel convolutions: nothing to do" in table["rewrites"]
    assert table["work"] == "0.000 -> 0.000 MMAC per input pixel"
    assert table["difference"].startswith("at most 0.0e+00 of the range, measured")
    assert table["layout"] == "3 channels 0..255 in, 12 channels 0..255 out, shuffled by 2 on the way out"
    assert table["plan"].startswith("nearest.plan.onnx (0.0 MB), built in ")
    assert load_plan(Path("nearest.plan.onnx")).spec.scale == 2


def test_options_reach_the_compiler(command: Command, model: str) -> None:
    done = command("build", model, "-o", "new/half.onnx", "--precision", "fp16", "--input-range", "0,1", "--quiet")
    assert (done.status, done.out) == (0, "")
    spec = load_plan(Path("new/half.onnx")).spec
    assert (spec.precision, spec.input_range, spec.output_range) == ("fp16", (0.0, 1.0), (0.0, 1.0))


@pytest.mark.parametrize(
    "ranges", [["--input-range=-1,1", "--output-range=-1,1"], "--input-range -1,1 --output-range -1,1".split()]
)
def test_ranges_may_begin_with_a_minus(command: Command, model: str, ranges: list[str]) -> None:
    done = command("build", model, *ranges)
    assert done.status == 0
    assert rows(done.out)["input"].startswith("-1..1, given")
    assert load_plan(Path("nearest.plan.onnx")).spec.input_range == (-1.0, 1.0)


def test_a_network_of_scale_1_is_a_restorer(command: Command) -> None:
    onnx.save(nearest_model(scale=1), "same.onnx")
    assert rows(command("build", "same.onnx").out)["scale"] == "x1: a restorer, it keeps the size"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.h5", None, "there is no model none.h5"),
        ("empty.h5", b"", "empty.h5 is empty (0 bytes)"),
        ("text.h5", b"no model", "text.h5 is not a Keras file"),
        ("text.onnx", b"no model at all", "text.onnx"),
    ],
)
def test_what_is_no_model(command: Command, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        Path(name).write_bytes(content)
    done = command("build", name)
    assert done.status == 1
    assert len(done.err) == 1
    assert done.err[0].startswith("srgan-trt: ")
    assert message in done.err[0]


def test_a_plan_that_cannot_be_written(command: Command, model: str) -> None:
    Path("file").touch()
    for output, reason in [("file/plan.onnx", f"{Path('file').absolute()} is not a folder"), (".", "it is a folder")]:
        done = command("build", model, "-o", output)
        assert (done.status, len(done.err)) == (1, 1)
        assert done.err[0].startswith(f"srgan-trt: cannot write the plan {output}: {reason}; name")


def test_a_plan_is_built_already(command: Command, model: str) -> None:
    command("build", model)
    done = command("build", "nearest.plan.onnx", "-o", "again.onnx")
    assert done.err == [
        "srgan-trt: nearest.plan.onnx is a plan, built already: name the model file that it was built from"
    ]
