"""What must be in memory at the same time is counted, whatever order OpenVINO takes branches in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import openvino
import pytest
from onnx import TensorProto, helper, numpy_helper

from srgan_trt.runtime.cpu.memory import live_values

from ...handmade import small_spec


@pytest.mark.parametrize("branches", [1, 4])
def test_branches_are_counted_side_by_side(branches: int, tmp_path: Path) -> None:
    """Each branch: 16 values per pixel, then 3; their sum. OpenVINO makes the 16 of all before the first 3."""
    weights, nodes, total = {}, [], None
    for number in range(branches):
        weights[f"wide{number}"] = np.full((16, 3, 1, 1), number, np.float32)
        weights[f"narrow{number}"] = np.full((3, 16, 1, 1), number, np.float32)
        nodes.append(helper.make_node("Conv", ["input", f"wide{number}"], [f"a{number}"]))
        nodes.append(helper.make_node("Relu", [f"a{number}"], [f"b{number}"]))
        nodes.append(helper.make_node("Conv", [f"b{number}", f"narrow{number}"], [f"c{number}"]))
        if total is not None:
            nodes.append(helper.make_node("Add", [total, f"c{number}"], [f"sum{number}"]))
        total = nodes[-1].output[0]
    nodes.append(helper.make_node("Tanh", [total], ["output"]))
    sides = ["batch", 3, "height", "width"]
    made = helper.make_graph(
        nodes,
        "branches",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, sides)],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, sides)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, tmp_path / "branches.onnx")
    read = openvino.Core().read_model(str(tmp_path / "branches.onnx"))
    assert live_values(read, small_spec(scale=1, shuffle=1)) == 3 + 16 * branches
