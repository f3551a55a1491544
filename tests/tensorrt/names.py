"""What our source calls of TensorRT's Python classes, read from the source, so that a new name is looked at, too."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RUNTIME = Path(__file__).resolve().parents[2] / "srgan_trt" / "runtime"
CALLED = {
    ("tensorrt/build.py", "builder"): "Builder",
    ("tensorrt/build.py", "config"): "IBuilderConfig",
    ("tensorrt/build.py", "definition"): "INetworkDefinition",
    ("tensorrt/build.py", "definition.get_input(0)"): "ITensor",
    ("tensorrt/build.py", "tensor"): "ITensor",
    ("tensorrt/build.py", "profile"): "IOptimizationProfile",
    ("tensorrt/build.py", "parser"): "OnnxParser",
    ("tensorrt/build.py", "error"): "ParserError",
    ("tensorrt/build.py", "cache"): "ITimingCache",
    ("tensorrt/build.py", "library.runtime(messages)"): "Runtime",
    ("tensorrt/build.py", "engine"): "ICudaEngine",
    ("tensorrt/build.py", "inspector"): "EngineInspector",
    ("tensorrt/loaded.py", "self._runtime"): "Runtime",
    ("tensorrt/loaded.py", "self._engine"): "ICudaEngine",
    ("tensorrt/loaded.py", "config"): "IRuntimeConfig",
    ("tensorrt/loaded.py", "cache"): "IRuntimeCache",
    ("gpu/network.py", "context"): "IExecutionContext",
}
"""What our variables hold, of NVIDIA's."""
ASKED_FIRST = {
    "IRuntimeConfig", "IRuntimeCache", "ICudaEngine.create_runtime_config", "IBuilderConfig.num_compute_capabilities",
    "IBuilderConfig.set_compute_capability", "BuilderFlag.REQUIRE_USER_ALLOCATION", "trt.ComputeCapability",
    "ComputeCapability.__members__", "NetworkDefinitionCreationFlag.STRONGLY_TYPED",
    "IRuntimeConfig.create_runtime_cache", "IRuntimeConfig.set_runtime_cache",
    "IRuntimeConfig.dynamic_shapes_kernel_specialization_strategy",
}  # fmt: skip
"""Not in every TensorRT: asked for by hasattr or getattr, or called of TensorRT-RTX alone."""


def attributes(file: str) -> dict[str, set[str]]:
    """By expression, the names that a file asks of it."""
    found: dict[str, set[str]] = {}
    for node in ast.walk(ast.parse((RUNTIME / file).read_text("utf-8"))):
        if isinstance(node, ast.Attribute):
            found.setdefault(ast.unparse(node.value), set()).add(node.attr)
    return found


def module_names(file: str) -> Iterator[tuple[str | None, set[str]]]:
    """``trt.BuilderFlag.TF32`` and the like: the holder, None for the module itself, and what is asked of it."""
    for expression, names in attributes(file).items():
        module, _, rest = expression.partition("." if expression.startswith("trt") else ".module.")
        if expression in ("trt", "library.module", "self.module"):
            yield None, names
        elif module in ("trt", "library") and rest.isidentifier():
            yield rest, names


def absent(trt: Any) -> list[str]:
    """What is called, and is not in these bindings: "IBuilderConfig.clear_flag"."""
    found = set()
    for (file, variable), kind in CALLED.items():
        held = getattr(trt, kind, None)
        if held is None:
            found.add(kind)
            continue
        found |= {f"{kind}.{name}" for name in attributes(file)[variable] - set(dir(held))}
    for file in sorted({file for file, _ in CALLED} | {"tensorrt/library.py"}):
        for holder, names in module_names(file):
            held = trt if holder is None else getattr(trt, holder, None)
            found |= {f"{holder or 'trt'}.{name}" for name in names if not hasattr(held, name)}
    return sorted(found)
