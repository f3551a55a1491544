"""Keras 3's arithmetic (``x * 0.2``, ``keras.ops.clip``) in ``.h5`` files, which name it but cannot read it back.

An ``.h5`` keeps an operation's class without its module, and Keras looks among the layers only: "Clip" is not
found, and "Multiply" is taken for the layer of that name. Operations show by having no ``trainable``.
"""

from __future__ import annotations

import importlib
from typing import Any

from .custom_layers import PREFIX
from .keras_file import Config

_MODULES = ("numpy", "nn", "math", "image", "core")


def name_operations(config: Config) -> tuple[Config, dict[str, Any]]:
    """``config`` with every operation under a name of its own, and the classes of these names.

    Leaves what is not a known operation as it is. Imports Keras 3.
    """
    classes: dict[str, Any] = {}

    def renamed(value: Any) -> Any:
        if isinstance(value, list):
            return [renamed(item) for item in value]
        if not isinstance(value, dict):
            return value
        value = {key: renamed(item) for key, item in value.items()}
        settings, name = value.get("config"), value.get("class_name")
        if "inbound_nodes" in value and isinstance(settings, dict) and isinstance(name, str):
            plain = not {"trainable", "layers", "batch_shape"} & set(settings) and not name.startswith(PREFIX)
            if plain and (operation := _operation(name)) is not None:
                value["class_name"] = PREFIX + name
                classes[PREFIX + name] = operation
        return value

    return renamed(config), classes


def _operation(name: str) -> Any:
    from keras import Operation

    for module in _MODULES:
        found = getattr(importlib.import_module(f"keras.src.ops.{module}"), name, None)
        if isinstance(found, type) and issubclass(found, Operation):
            return found
    return None
