"""What an ONNX file would cost is found before it is run; what cannot be told is refused."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from srgan_trt.errors import ModelError
from srgan_trt.models import onnx_graph, onnx_run
from srgan_trt.models.files import files_of
from srgan_trt.models.loader import open_network
from srgan_trt.models.onnx_graph import check_nodes, check_work

Nodes = list[onnx.NodeProto]
SHUFFLE: Nodes = [
    helper.make_node("Conv", ["x", "kernel"], ["maps"]),
    helper.make_node("DepthToSpace", ["maps"], ["big"], blocksize=2),
]


def network(nodes: Nodes, *, last: str = "y", size: tuple[object, object] = ("h", "w")) -> onnx.ModelProto:
    """x2: a 1x1 convolution and a shuffle give "big"; the nodes come after them."""
    values = {"kernel": np.full((12, 3, 1, 1), 0.3, np.float32), "one": np.ones(1, np.float32)}
    graph = helper.make_graph(
        [*SHUFFLE, *nodes],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, *size])],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, [1, 3, None, None])],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def saved(model: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "net.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def refused(model: onnx.ModelProto, words: str, folder: Path) -> None:
    with pytest.raises(ModelError, match=words) as error:
        open_network(saved(model, folder)).export(48, 64)
    assert "\n" not in str(error.value)
    assert "net.onnx" in str(error.value)


def _doubling(times: int) -> Nodes:
    names = ["big", *(f"t{n}" for n in range(times))]
    nodes = [helper.make_node("Concat", [a, a], [b], axis=2) for a, b in itertools.pairwise(names)]
    return [
        *nodes,
        helper.make_node("ReduceMean", [names[-1]], ["mean"]),
        helper.make_node("Add", ["big", "mean"], ["y"]),
    ]


def test_values_that_double_with_every_node(tmp_path: Path) -> None:
    refused(network(_doubling(30)), r"would hold [\d.,]+ GB at once", tmp_path)


def test_a_scale_that_nobody_needs(tmp_path: Path) -> None:
    scales = numpy_helper.from_array(np.array([1, 1, 100, 100], np.float32), "scales")
    model = network([helper.make_node("Resize", ["big", "", "scales"], ["y"], mode="nearest")])
    model.graph.initializer.append(scales)
    refused(model, r"would hold [\d.,]+ GB|above x16", tmp_path)


def test_work_without_end() -> None:
    names = ["big", *(f"t{n}" for n in range(2000))]
    nodes = [helper.make_node("Conv", [a, "wide"], [b], pads=[30, 30, 29, 29]) for a, b in itertools.pairwise(names)]
    model = network([*nodes, helper.make_node("Identity", ["t1999"], ["y"])], size=(512, 512))
    model.graph.initializer.append(numpy_helper.from_array(np.ones((3, 3, 60, 60), np.float32), "wide"))
    with pytest.raises(ModelError, match=r"would multiply [\d.e+]+ times"):
        check_work(model, "net.onnx")


def _loop() -> onnx.NodeProto:
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Identity", ["v"], ["v2"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v2", TensorProto.FLOAT, None),
        ],
    )
    return helper.make_node("Loop", ["", "", "big"], ["y"], body=body)


def test_a_loop(tmp_path: Path) -> None:
    refused(network([_loop()]), "has a Loop, which nobody can tell the end of", tmp_path)


def _branches(nodes: Nodes, *, name: str) -> onnx.GraphProto:
    return helper.make_graph(nodes, name, [], [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)])


def test_a_loop_in_a_branch(tmp_path: Path) -> None:
    inner = _loop()
    inner.output[0] = "then"
    branch = helper.make_node(
        "If",
        ["choice"],
        ["y"],
        then_branch=_branches([inner], name="then"),
        else_branch=_branches([helper.make_node("Identity", ["big"], ["else"])], name="else"),
    )
    refused(network([branch]), "has a Loop", tmp_path)


def test_branches_may_read_the_picture(tmp_path: Path) -> None:
    """The graph's ends get new names here, in the graphs within it too."""
    branch = helper.make_node(
        "If",
        ["choice"],
        ["given"],
        then_branch=_branches([helper.make_node("Identity", ["x"], ["then"])], name="then"),
        else_branch=_branches([helper.make_node("Neg", ["x"], ["else"])], name="else"),
    )
    model = network([])
    model.graph.node[0].input[0] = "given"
    model.graph.node.insert(0, branch)
    model.graph.node.append(helper.make_node("Identity", ["big"], ["y"]))
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "choice"))
    exported = open_network(saved(model, tmp_path)).export(5, 6)
    batch = np.random.default_rng(0).random((1, 3, 5, 6), np.float32)
    (result,) = onnx_run.Session(exported).run(batch)
    assert result.shape == (1, 3, 10, 12)
    assert np.ptp(result) > 0


def _functions(depth: int, *, itself: bool = False) -> onnx.ModelProto:
    """Each calls the one before it twice."""
    functions = []
    for n in range(depth):
        inner = ("Identity", "") if n == 0 and not itself else (f"f{max(0, n - 1)}", "own")
        nodes = [
            helper.make_node(inner[0], ["a"], ["b"], domain=inner[1]),
            helper.make_node(inner[0], ["b"], ["c"], domain=inner[1]),
        ]
        functions.append(helper.make_function("own", f"f{n}", ["a"], ["c"], nodes, [helper.make_opsetid("", 18)]))
    model = network([helper.make_node(f"f{depth - 1}", ["big"], ["y"], domain="own")])
    model.opset_import.append(helper.make_opsetid("own", 1))
    model.functions.extend(functions)
    return model


def test_functions_count_at_every_call(tmp_path: Path) -> None:
    check_nodes(_functions(3), "net.onnx")
    refused(_functions(40), "more than 20,000 nodes", tmp_path)
    refused(_functions(1, itself=True), "calls itself", tmp_path)


def test_nodes_beyond_number(tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", ["big"], [f"n{n}"]) for n in range(onnx_graph.MOST_NODES)]
    refused(network([*nodes, helper.make_node("Identity", ["n0"], ["y"])]), "more than 20,000 nodes", tmp_path)


@pytest.mark.parametrize(
    ("key", "value"), [("offset", "-1"), ("offset", "x"), ("length", "1000000000000"), ("location", "")]
)
def test_weights_beside_the_file_that_are_not_there(key: str, value: str, tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(bytes(4096))
    model = network([helper.make_node("Identity", ["big"], ["y"])])
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for name, text in ({"location": "weights.bin", "length": "144"} | {key: value}).items():
        tensor.external_data.add(key=name, value=text)
    refused(model, "net.onnx", tmp_path)


def test_tensors_of_nodes_and_branches_count_in_the_hash(tmp_path: Path) -> None:
    """Their files are read like those of the weights."""
    tensor = TensorProto(data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="one.bin")
    (tmp_path / "one.bin").write_bytes(np.ones(1, np.float32).tobytes())
    model = network(
        [helper.make_node("Constant", [], ["c"], value=tensor), helper.make_node("Mul", ["big", "c"], ["y"])]
    )
    path = saved(model, tmp_path)
    assert files_of(path) == [path, tmp_path / "one.bin"]
    before = open_network(path).source_hash
    (tmp_path / "one.bin").write_bytes(np.zeros(1, np.float32).tobytes())
    assert open_network(path).source_hash != before


@pytest.mark.parametrize("damage", [b"\xff", b"\x0a\xff\xff\xff\xff\x0f", b"\x08\x09\x3a\x03\x0a\x01\xff"])
def test_bytes_that_are_no_graph(damage: bytes, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(damage)
    with pytest.raises(ModelError, match=r"net\.onnx"):
        open_network(path)


def test_a_run_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_run, "SECONDS", 0.2)
    session = onnx_run.Session(network([_loop()]))
    with pytest.raises(Exception, match="terminate flag"):
        session.run(np.zeros((1, 3, 8, 8), np.float32))
