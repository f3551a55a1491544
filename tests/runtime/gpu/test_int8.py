"""What int8 plans cannot do on a GPU is said once, with a way that can be gone, and shows in `info`."""

from __future__ import annotations

import contextlib
import io
import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srgan_trt.compiler.plan import Plan
from srgan_trt.errors import DeviceError, PlanError
from srgan_trt.runtime.tensorrt.from_plan import network_of
from tests import handmade
from tests.cuda_driver import build, standin
from tests.cuda_host import build as host_build
from tests.tensorrt_double import Script, SourceDouble

if build.missing():
    pytest.skip(build.missing() or "", allow_module_level=True)
pytest.importorskip("cuda.core", reason="the GPU pipeline needs cuda-core")
pytest.importorskip("cuda.bindings.nvrtc", reason="the GPU pipeline needs cuda-bindings")


def twice(plan: Plan, image: np.ndarray, script: Script) -> dict[str, Any]:
    """The picture in two runs, each of which may fail."""
    from srgan_trt.runtime.gpu.pipeline import GpuPipeline

    log = io.StringIO()
    logging.basicConfig(stream=log, level=logging.WARNING)
    height, width, channels = image.shape
    outs = [np.zeros((height * 4, width * 4, channels), image.dtype) for _ in range(2)]
    counts, errors = [], []
    with contextlib.closing(GpuPipeline(plan, source=SourceDouble(plan.path, script))) as pipeline:
        for out in outs:
            try:
                counts.append(pipeline.run(image, out, handmade.scheduled(pipeline, image, tile=64)))
            except DeviceError as error:
                errors.append(str(error))
        notes = list(pipeline.info["notes"])
    return {
        "counts": counts, "outs": outs, "errors": errors, "notes": notes, "log": log.getvalue(), "script": script
    }  # fmt: skip


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """Said to be in int8: which network runs is the double's business, with float16 ends as TensorRT's has them."""
    return handmade.small_plan(tmp_path_factory.mktemp("plan"), precision="int8")


def run(plan: Plan, image: np.ndarray, **script: Any) -> dict[str, Any]:
    outcome = standin.run(twice, plan, image, Script(**script), kernels=host_build.library())
    assert outcome.value["errors"] == []
    assert outcome.value["script"].violations == []
    assert {settings.precision for settings in outcome.value["script"].opened} == {"int8"}
    return dict(outcome.value)


def test_values_that_are_not_finite(plan: Plan) -> None:
    found = run(plan, handmade.noise(40, 40), nan=frozenset({0, 1}))
    assert found["counts"] == [2, 2]
    (note,) = found["notes"]
    assert note.startswith("values are not finite in int8, all that this plan has: ")
    assert "use the plan in fp32 that it was made of" in note
    assert found["log"].count("not finite in int8") == 1


def test_a_gpu_is_held_to_the_picture_in_the_plan(plan: Plan, tmp_path: Path) -> None:
    image = handmade.noise(50, 70)
    honest = handmade.witnessed(plan, tmp_path / "honest.onnx")
    found = run(honest, image)
    assert len(found["script"].opened) == 1, "the engine that the picture needs, too"
    for out in found["outs"]:
        assert handmade.differences(out, handmade.expected(plan, image)).max() <= 6
    other = handmade.witnessed(plan, tmp_path / "other.onnx", shift=20)
    found = standin.run(twice, other, image, Script(), kernels=host_build.library()).value
    assert len(found["errors"]) == 2
    for error in found["errors"]:
        assert re.search(r"other\.onnx, run by .*, on the .*, fails the plan.s self-test", error)
    assert not any(out.any() for out in found["outs"])


def test_the_way_is_not_another_precision_of_the_same_plan(plan: Plan) -> None:
    with pytest.raises(PlanError, match="name another plan"):
        network_of(plan, "fp32")


def test_pictures_in_16_bits(plan: Plan) -> None:
    found = run(plan, handmade.noise(40, 40, dtype=np.uint16))
    (note,) = found["notes"]
    assert note.startswith("16-bit pictures go through int8 with 11 of their bits: ")
    assert found["log"].count("16-bit pictures") == 1


def test_nothing_is_said_of_what_int8_does(plan: Plan, tmp_path: Path) -> None:
    found = run(plan, handmade.noise(40, 40))
    assert (found["notes"], found["log"]) == ([], "")
    fp32 = handmade.small_plan(tmp_path)
    value = standin.run(twice, fp32, handmade.noise(20, 20, dtype=np.uint16), Script(), kernels=host_build.library())
    assert (value.value["errors"], value.value["notes"]) == ([], [])
