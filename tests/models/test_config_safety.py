"""A config may ask for layers and arithmetic, nothing else, whatever module or symbol it names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import pytest

from srgan_trt.errors import ModelError
from srgan_trt.models.config_safety import check_config
from srgan_trt.models.loader import open_network


def layer(class_name: str, **config: Any) -> dict[str, Any]:
    return {"class_name": "Sequential", "config": {"layers": [{"class_name": class_name, "config": config}]}}


@pytest.mark.parametrize(
    "function",
    [
        "nn.depth_to_space",
        "math.add",
        "__operators__.getitem",
        "image.resize",
        "compat.v1.image.resize_bilinear",
        "cast",
    ],
)
def test_arithmetic_is_allowed(function: str) -> None:
    check_config("model", layer("TFOpLambda", name="op", function=function))


@pytest.mark.parametrize(
    "function",
    ["io.write_file", "io.read_file", "py_function", "numpy_function", "keras.utils.get_file", "print", "exec"],
)
def test_other_functions_need_trust(function: str) -> None:
    config = layer("TFOpLambda", name="op", function=function)
    with pytest.raises(ModelError, match=f"'op' calls TensorFlow's '{function}'.*--trust-model"):
        check_config("model", config)
    check_config("model", config, trust=True)


@pytest.mark.parametrize("definition", [{"op": "WriteFile"}, "name: 'x' op: 'WriteFile'", {}, None])
def test_other_operators_need_trust(definition: Any) -> None:
    with pytest.raises(ModelError, match="TensorFlow's operator"):
        check_config("model", layer("TensorFlowOpLayer", name="op", node_def=definition))
    check_config("model", layer("TensorFlowOpLayer", name="op", node_def={"op": "DepthToSpace"}))


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ({"module": "os", "class_name": "function", "config": "system"}, "function system of the Python module os"),
        ({"module": "keras.utils", "class_name": "function", "config": "get_file"}, "module keras.utils"),
        ({"module": "subprocess", "class_name": "Popen", "config": {}}, "class Popen of the Python module subprocess"),
        ({"module": "builtins", "class_name": "eval", "config": {}}, "class eval of the Python module builtins"),
        ({"class_name": "__lambda__", "config": {"code": "4wEA"}}, "Python bytecode"),
        ({"class_name": "Thing", "function_type": "lambda", "config": {}}, "Python bytecode"),
        ({"class_name": "Thing", "output_shape_type": "lambda", "config": {}}, "Python bytecode"),
        ({"class_name": "TFSMLayer", "config": {"filepath": "x"}}, "TFSMLayer layer"),
        ({"class_name": "TorchModuleWrapper", "config": {"module": "x"}}, "TorchModuleWrapper layer"),
    ],
)
@pytest.mark.parametrize("trust", [False, True])
def test_foreign_modules_files_and_hidden_bytecode_are_refused_even_on_trust(
    part: dict[str, Any], words: str, trust: bool
) -> None:
    with pytest.raises(ModelError, match=words):
        check_config("model", layer("Conv2D", name="c", activation=part), trust=trust)


def test_keras_own_modules_are_allowed() -> None:
    for module in [
        "keras",
        "keras.layers",
        "keras.src.models.functional",
        "tensorflow.python.keras.layers",
        "builtins",
    ]:
        function = {"module": module, "class_name": "function", "config": "relu"} if module == "builtins" else {}
        check_config("model", {"module": "keras.layers", "class_name": "Conv2D", "config": {"activation": function}})
        if module != "builtins":
            check_config("model", {"module": module, "class_name": "Functional", "config": {}})


def test_bytecode_in_an_activation_never_runs(keras3: Any, tmp_path: Path) -> None:
    """Not in a Lambda layer: Keras accepts a function wherever it accepts an activation."""
    mark, path = tmp_path / "was here", tmp_path / "model.h5"
    layers = keras3.layers
    model = keras3.Sequential([layers.Input((8, 8, 3)), layers.Conv2D(3, 3, padding="same")])
    model.save(path)
    trap = keras3.layers.Lambda(lambda x, path=str(mark): __import__("pathlib").Path(path).touch() or x)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        stored = keras3.saving.serialize_keras_object(trap)["config"]["function"]
        config["config"]["layers"][-1]["config"]["activation"] = stored
        file.attrs["model_config"] = json.dumps(config)
    with pytest.raises(ModelError, match="Python bytecode"):
        open_network(path, trust_model=True)
    assert not mark.exists()


def test_a_saved_model_that_touches_files_is_refused(tf: Any, tmp_path: Path) -> None:
    class Spy(tf.Module):  # type: ignore[misc]
        @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3])])
        def __call__(self, x: Any) -> Any:
            with tf.control_dependencies([tf.io.write_file(str(tmp_path / "was here"), "x")]):
                return tf.identity(x)

    module = Spy()
    tf.saved_model.save(module, str(tmp_path / "spy"), signatures={"serving_default": module.__call__})
    with pytest.raises(ModelError, match=r"WriteFile.*--trust-model"):
        open_network(tmp_path / "spy")
    assert open_network(tmp_path / "spy", trust_model=True).kind == "SavedModel"
    assert not (tmp_path / "was here").exists()
