"""What our source calls of TensorRT's Python classes, and with how many arguments, read from the source, so that a new
name is looked at, too."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Call:
    """A call in our source: what of, how many arguments by position, which by name."""

    holder: str
    name: str
    positional: int
    named: frozenset[str]

    def __str__(self) -> str:
        arguments = [*("_" * self.positional), *(f"{name}=" for name in sorted(self.named))]
        return f"{self.holder}.{self.name}({', '.join(arguments)})"


def called(file: str) -> Iterator[Call]:
    """The calls of attributes in a file whose arguments are all to be seen; for a class of the module itself, that of
    its __init__, of "trt" to be looked up."""
    for node in ast.walk(ast.parse((RUNTIME / file).read_text("utf-8"))):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        if any(isinstance(each, ast.Starred) for each in node.args) or any(each.arg is None for each in node.keywords):
            continue
        holder, name = ast.unparse(node.func.value), node.func.attr
        if holder in ("trt", "library.module", "self.module"):
            holder, name = f"trt.{name}", "__init__"
        own = int(node.func.attr == "__init__")  # self
        yield Call(holder, name, len(node.args) - own, frozenset(each.arg for each in node.keywords if each.arg))


def misfits(trt: Any) -> list[str]:
    """Calls with arguments that these bindings do not take, as far as their docstrings tell; classes and methods that
    are absent are not among them."""
    variables: dict[str, dict[str, str]] = {}
    for (file, variable), kind in CALLED.items():
        variables.setdefault(file, {})[variable] = kind
    found = set()
    for file in {*variables, "tensorrt/library.py"}:
        for call in called(file):
            holder = (
                call.holder.removeprefix("trt.")
                if call.name == "__init__"
                else variables.get(file, {}).get(call.holder)
            )
            held = getattr(getattr(trt, holder or "", None), call.name, None)
            known = signatures(getattr(held, "__doc__", None) or "", call.name)
            if known and not any(_fits(call, parameters) for parameters in known):
                found.add(str(Call(holder or "", call.name, call.positional, call.named)))
    return sorted(found)


def signatures(docstring: str, name: str) -> list[dict[str, bool]]:
    """By pybind11's docstring of a method, for each overload the parameters and whether they have a default."""
    found = []
    for said in re.findall(rf"^(?:\d+\. )?{name}\((self: .*)\) -> ", docstring, re.MULTILINE):
        # Types and defaults have commas of their own, in brackets.
        while (flat := re.sub(r"\([^()]*\)|\[[^\[\]]*\]|<[^<>]*>", "_", said)) != said:
            said = flat
        parameters = said.split(", ")[1:]
        found.append({each.partition(":")[0]: " = " in each for each in parameters})
    return found


def _fits(call: Call, parameters: dict[str, bool]) -> bool:
    names = list(parameters)
    given = {*names[: call.positional], *call.named}
    needed = {name for name, optional in parameters.items() if not optional}
    return call.positional + len(call.named) == len(given) <= len(names) and needed <= given <= set(names)
