"""Activations that are lambdas: Keras saves their bytecode and reads it by neither of its versions.

A function of the user's own takes their place, or, on trust, the bytecode itself.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from typing import Any

from ..errors import ModelError
from .custom_layers import bytecode_function
from .keras_file import Config
from .lambdas import names_in_bytecode


def name_activations(
    name: str,
    config: Config,
    objects: dict[str, Any],
    *,
    modules: Callable[[], dict[str, Any]],
    trust: bool,
) -> tuple[Config, dict[str, Any], list[str]]:
    """The config with every lambda that is an activation named as a function, those functions beside ``objects``, the
    user's own, and notes.

    A lambda takes the function of ``objects`` that is named as its layer, or as one that its bytecode mentions.
    modules: what bytecode may call, by the usual names. Raises ModelError, naming the layer, where there is no function
    and the bytecode is not trusted.
    """
    config, objects = copy.deepcopy(config), dict(objects)
    notes = []
    for layer in _layers(config):
        parts = layer["activation"]["value"]
        wanted = [re.sub(r"\W", "_", str(layer.get("name"))), *names_in_bytecode(str(parts[0]))]
        function = next((each for each in wanted if each in objects), None)
        label = f"the activation of its layer {layer.get('name')!r}"
        if function is not None:
            notes.append(f"{label}: the function {function} of the custom objects")
        elif trust:
            function = f"srgan_trt_{wanted[0]}"
            objects[function] = bytecode_function(parts[0], parts[1], parts[2], {**modules(), **objects})
            notes.append(f"{label}: runs the bytecode in the file, as --trust-model asked")
        else:
            raise ModelError(
                f"{name}: {label} is a lambda, which Keras saves but cannot read: --trust-model runs its bytecode, "
                f"--custom-objects FILE.py may define it as a function {wanted[0]}(x)"
            )
        layer["activation"] = {
            "module": "builtins", "class_name": "function", "config": function, "registered_name": "function",
        }  # fmt: skip
    return config, objects, notes


def _layers(value: Any) -> Iterator[Config]:
    """The configs of layers whose activation is bytecode without a class that would read it."""
    if isinstance(value, dict):
        activation = value.get("activation")
        if isinstance(activation, dict) and "class_name" not in activation:
            parts = activation.get("value")
            if isinstance(parts, list) and len(parts) == 3 and isinstance(parts[0], str):
                yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _layers(item)
