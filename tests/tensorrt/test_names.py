"""TensorRT's own classes have all that we call on them, and all that the doubles of the tests offer in their place.

Most of it runs only where a GPU is: a name that is not there would show there first. scripts/tensorrt_names.py looks in
the bindings of TensorRT 10 and 11, too.
"""

from __future__ import annotations

import pytest

from ..tensorrt_double.engine import ContextDouble
from .names import CALLED, Call, absent, attributes, called, misfits, signatures

trt = pytest.importorskip("tensorrt_rtx", reason="the [tensorrt-rtx] extra is not installed")


def test_what_is_called_is_there() -> None:
    assert absent(trt) == []


def test_what_is_called_takes_these_arguments() -> None:
    assert misfits(trt) == []


def test_a_call_that_does_not_fit_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if TensorRT wanted another argument, had named one otherwise, or none at all."""

    class Profile:
        def set_shape(self) -> None:
            """set_shape(self: trt.IOptimizationProfile, input: str, min: Dims, opt: Dims) -> None"""

    monkeypatch.setattr(trt, "IOptimizationProfile", Profile)
    assert misfits(trt) == ["IOptimizationProfile.set_shape(_, _, _, _)"]


def test_most_calls_are_looked_at() -> None:
    """A docstring that is read no more would let all through."""
    told = {
        f"{kind}.{call.name}"
        for (file, variable), kind in CALLED.items()
        for call in called(file)
        if call.holder == variable and signatures(getattr(getattr(trt, kind), call.name).__doc__ or "", call.name)
    }
    assert len(told) >= 25
    assert {"Builder.create_network", "IExecutionContext.set_input_shape", "ITimingCache.serialize"} <= told
    assert Call("trt.Runtime", "__init__", 1, frozenset()) in set(called("tensorrt/library.py"))


def test_overloads_and_defaults_are_read() -> None:
    text = """f(*args, **kwargs)
Overloaded function.

1. f(self: a.B, name: str, shape: Tuple[int, int] = (1, 2)) -> bool

2. f(self: a.B, how: a.C = <C.X: 0>) -> None
"""
    assert signatures(text, "f") == [{"name": False, "shape": True}, {"how": True}]


@pytest.mark.parametrize(("file", "variable"), CALLED)
def test_every_variable_is_still_used(file: str, variable: str) -> None:
    assert attributes(file)[variable]


def test_a_name_that_is_not_there_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(trt.IBuilderConfig, "clear_flag")
    monkeypatch.delattr(trt.BuilderFlag, "TF32")
    assert absent(trt) == ["BuilderFlag.TF32", "IBuilderConfig.clear_flag"]


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
