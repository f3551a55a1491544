"""A config's graph is checked as data: Keras itself would go round for ever, or take all memory, over these."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from srgan_trt.errors import ModelError
from srgan_trt.models.config_graph import check_graph, check_sizes
from srgan_trt.models.keras_file import KerasFile

Config = dict[str, Any]


def _layer(class_name: str, name: str, *sources: str, index: int = 0, **config: Any) -> Config:
    nodes = [[[source, index, 0, {}] for source in sources]] if sources else []
    return {"class_name": class_name, "name": name, "config": {"name": name, **config}, "inbound_nodes": nodes}


def network() -> Config:
    """Keras 2's way to write it: a convolution, an enlargement, a convolution."""
    layers = [
        _layer("InputLayer", "in", batch_input_shape=[None, None, None, 3]),
        _layer("Conv2D", "c1", "in", filters=4, kernel_size=[3, 3]),
        _layer("UpSampling2D", "up", "c1", size=[2, 2]),
        _layer("Conv2D", "c2", "up", filters=3, kernel_size=[3, 3]),
    ]
    ends = {"input_layers": [["in", 0, 0]], "output_layers": [["c2", 0, 0]]}
    return {"class_name": "Functional", "config": {"name": "net", "layers": layers, **ends}}


def _file(config: Config, *, elements: int = 223) -> KerasFile:
    return KerasFile(Path("net.h5"), ".h5", "2.15.0", config, "", {"all": (elements,)})


def test_a_network_passes() -> None:
    check_graph("net.h5", network())
    check_sizes(_file(network()), network())


def test_a_model_within_a_model_counts_the_call_that_made_it() -> None:
    inner = network() | {"name": "net", "inbound_nodes": [[["x", 0, 0, {}]]]}
    outer = {
        "layers": [_layer("InputLayer", "x"), inner],
        "input_layers": [["x", 0, 0]],
        "output_layers": [["net", 1, 0]],
    }
    check_graph("net.h5", {"class_name": "Functional", "config": outer})
    outer["output_layers"] = [["net", 0, 0]]
    with pytest.raises(ModelError, match="'net' cannot be reached"):
        check_graph("net.h5", {"class_name": "Functional", "config": outer})


@pytest.mark.parametrize("index", [0, 1])
def test_keras_3_counts_that_call_among_the_ends_only(index: int) -> None:
    tensor = {"class_name": "__keras_tensor__", "config": {"keras_history": ["x", 0, 0]}}
    inner = network() | {"name": "net", "inbound_nodes": [{"args": [tensor], "kwargs": {}}]}
    ends = {"input_layers": [["x", 0, 0]], "output_layers": [["net", index, 0]]}
    check_graph(
        "net.h5", {"class_name": "Functional", "config": {"layers": [_layer("InputLayer", "x"), inner], **ends}}
    )


def _no_inbound_node(layers: list[Config]) -> None:
    layers[1]["inbound_nodes"] = []


def _a_call_that_is_not_there(layers: list[Config]) -> None:
    layers[2]["inbound_nodes"][0][0][1] = 1


def _a_layer_that_is_not_there(layers: list[Config]) -> None:
    layers[2]["inbound_nodes"][0][0][0] = "nowhere"


def _itself(layers: list[Config]) -> None:
    layers[2]["inbound_nodes"][0][0][0] = "up"


def _a_circle(layers: list[Config]) -> None:
    layers[1]["inbound_nodes"][0][0][0] = "c2"


@pytest.mark.parametrize(
    "change", [_no_inbound_node, _a_call_that_is_not_there, _a_layer_that_is_not_there, _itself, _a_circle]
)
def test_a_call_that_cannot_be_reached_is_refused(change: Callable[[list[Config]], None]) -> None:
    config = network()
    change(config["config"]["layers"])
    with pytest.raises(ModelError, match=r"net\.h5: its layer '\w+' cannot be reached") as error:
        check_graph("net.h5", config)
    assert "\n" not in str(error.value)


def test_the_same_in_a_model_within_a_model() -> None:
    inner = network()
    _itself(inner["config"]["layers"])
    with pytest.raises(ModelError, match="'up' cannot be reached"):
        check_graph("net.h5", {"class_name": "Sequential", "config": {"layers": [inner]}})


@pytest.mark.parametrize("change", [{"inbound_nodes": 3}, {"config": None, "name": None}])
def test_what_is_no_graph_at_all_is_refused(change: Config) -> None:
    config = network()
    config["config"]["layers"][1] |= change
    with pytest.raises(ModelError, match=r"net\.h5: its (config cannot be followed|layer 'c1' cannot be reached)"):
        check_graph("net.h5", config)


def test_a_config_nested_deeper_than_any_model_is_refused() -> None:
    with pytest.raises(ModelError, match="nested more than 100 deep"):
        check_graph("net.h5", json.loads('{"config": ' * 300 + "1" + "}" * 300))


def test_more_layers_than_any_generator_has_are_refused() -> None:
    layer = _layer("ReLU", "r")
    with pytest.raises(ModelError, match="more than 5000 layers"):
        check_graph("net.h5", {"class_name": "Sequential", "config": {"layers": [layer] * 50_000}})


def test_layers_larger_than_the_weights_in_the_file_are_refused() -> None:
    config = network()
    config["config"]["layers"][1]["config"]["filters"] = 60_000
    with pytest.raises(ModelError, match=r"say they have 3,240,000 weights, the file holds 223"):
        check_sizes(_file(config), config)
    config["config"]["layers"][1]["config"]["filters"] = 2 * 10**9
    with pytest.raises(ModelError, match=r"c1 has 2,000,000,000 channels"):
        check_sizes(_file(config), config)


def test_channels_that_double_with_every_layer_are_refused() -> None:
    layers = [_layer("InputLayer", "t0", batch_input_shape=[None, 8, 8, 3])]
    layers += [_layer("Concatenate", f"t{n + 1}", f"t{n}", f"t{n}") for n in range(40)]
    config = {"layers": layers, "input_layers": [["t0", 0, 0]], "output_layers": [["t40", 0, 0]]}
    with pytest.raises(ModelError, match="channels: no generator has"):
        check_sizes(_file({}), {"class_name": "Functional", "config": config})


def test_sums_of_sums_are_not_walked_for_ever() -> None:
    layers = [_layer("InputLayer", "t0", batch_input_shape=[None, 8, 8, None])]
    layers += [_layer("Mystery", "t1", "t0"), _layer("Mystery", "t2", "t1")]
    layers += [_layer("Add", f"t{n + 1}", f"t{n}", f"t{n - 1}") for n in range(2, 60)]
    layers += [_layer("Flatten", "end", "t60")]
    config = {"layers": layers, "input_layers": [["t0", 0, 0]], "output_layers": [["end", 0, 0]]}
    with pytest.raises(ModelError, match="too many ways"):
        check_sizes(_file({}), {"class_name": "Functional", "config": config})
