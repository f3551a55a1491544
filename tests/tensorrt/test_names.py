"""TensorRT's own classes have all that we call on them, and all that the doubles of the tests offer in their place.

Most of it runs only where a GPU is: a name that is not there would show there first. The names are read from our
source, so that a new one is looked at, too.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from ..tensorrt_double.engine import ContextDouble

trt = pytest.importorskip("tensorrt_rtx", reason="the [tensorrt-rtx] extra is not installed")

RUNTIME = Path(__file__).resolve().parents[2] / "srgan_trt" / "runtime"
CALLED = {
    ("engines/build.py", "builder"): "Builder",
    ("engines/build.py", "config"): "IBuilderConfig",
    ("engines/build.py", "definition"): "INetworkDefinition",
    ("engines/build.py", "definition.get_input(0)"): "ITensor",
    ("engines/build.py", "profile"): "IOptimizationProfile",
    ("engines/build.py", "parser"): "OnnxParser",
    ("engines/build.py", "error"): "ParserError",
    ("engines/build.py", "cache"): "ITimingCache",
    ("engines/build.py", "library.runtime(messages)"): "Runtime",
    ("engines/build.py", "engine"): "ICudaEngine",
    ("engines/build.py", "inspector"): "EngineInspector",
    ("engines/loaded.py", "self._runtime"): "Runtime",
    ("engines/loaded.py", "self._engine"): "ICudaEngine",
    ("engines/loaded.py", "config"): "IRuntimeConfig",
    ("engines/loaded.py", "cache"): "IRuntimeCache",
    ("gpu/network.py", "context"): "IExecutionContext",
}
"""What our variables hold, of NVIDIA's."""


def attributes(file: str) -> dict[str, set[str]]:
    """By expression, the names that a file asks of it."""
    found: dict[str, set[str]] = {}
    for node in ast.walk(ast.parse((RUNTIME / file).read_text("utf-8"))):
        if isinstance(node, ast.Attribute):
            found.setdefault(ast.unparse(node.value), set()).add(node.attr)
    return found


@pytest.mark.parametrize(("file", "variable"), CALLED)
def test_what_is_called_is_there(file: str, variable: str) -> None:
    used = attributes(file)[variable]
    assert used
    assert used <= set(dir(getattr(trt, CALLED[file, variable])))


@pytest.mark.parametrize("file", sorted({file for file, _ in CALLED} | {"engines/library.py"}))
def test_the_module_s_own_names_are_there(file: str) -> None:
    """``trt.BuilderFlag.TF32`` and the like."""
    for expression, names in attributes(file).items():
        module, _, rest = expression.partition("." if expression.startswith("trt") else ".module.")
        if expression in ("trt", "library.module", "self.module"):
            holder: Any = trt
        elif module in ("trt", "library") and rest.isidentifier():
            holder = getattr(trt, rest)
        else:
            continue
        assert names <= set(dir(holder)), expression


def test_the_double_of_a_context_offers_nothing_else() -> None:
    offered = {name for name in vars(ContextDouble) if not name.startswith("_")}
    assert offered >= attributes("gpu/network.py")["context"]
    assert offered <= set(dir(trt.IExecutionContext))


@pytest.mark.parametrize("name", ["create_execution_context", "device_memory_size_v2", "create_runtime_config"])
def test_an_engine_s(name: str) -> None:
    """What decides between TensorRT and TensorRT-RTX is asked by hasattr."""
    assert hasattr(trt.ICudaEngine, name)


def test_what_is_read_by_getattr() -> None:
    assert hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED")
    assert hasattr(trt.DynamicShapesKernelSpecializationStrategy, "EAGER")
    assert {"node_name", "node_operator", "desc"} <= set(dir(trt.ParserError))
