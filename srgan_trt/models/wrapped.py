"""Generators that lie in something else: a class of the author's own, a combined GAN, copies for several GPUs."""

from __future__ import annotations

from typing import Any

from ..errors import ModelError
from .keras_file import Config

_FUNCTIONAL = ("name", "trainable", "layers", "input_layers", "output_layers")
_KERAS_OWN = frozenset({"Functional", "Model", "Sequential"})
_GPU_COPIES = frozenset({"InputLayer", "Concatenate", "RangeMapping"})
"""What ``multi_gpu_model`` puts around a model, once its slices of the batch are left out (lambdas.py)."""


def as_functional(config: Config, *, given: frozenset[str] = frozenset()) -> tuple[Config, list[str]]:
    """The config with classes of the author's own around a functional graph opened as that graph; notes of what was.

    A class whose graph is in the file was made of inputs and outputs: its own code is about training. Those in
    ``given``, whose code the user gives, stay.
    """
    notes: list[str] = []

    def opened(value: Any) -> Any:
        if isinstance(value, list):
            return [opened(item) for item in value]
        if not isinstance(value, dict):
            return value
        part = {key: opened(item) for key, item in value.items()}
        inner, class_name = part.get("config"), str(part.get("class_name", "")).rpartition(">")[2]
        if not isinstance(inner, dict) or not set(_FUNCTIONAL[2:]) <= set(inner) or class_name in given | _KERAS_OWN:
            return part
        notes.append(f"its class {class_name} is opened as the functional model in it; its own code is not run")
        part |= {"class_name": "Functional", "config": {key: inner[key] for key in _FUNCTIONAL if key in inner}}
        if "module" in part or "registered_name" in part:
            part |= {"module": "keras.src.models.functional", "registered_name": "Functional"}
        return part

    return opened(config), notes


def generator_in(model: Any, name: str) -> tuple[Any, list[str]]:
    """The generator in a Keras ``model`` that is none itself, or that only copies one to several GPUs; notes of it.

    ``model`` itself where there is nothing to find. Raises ModelError, naming them, if there are several.
    """
    inner = [layer for layer in model.layers if hasattr(layer, "layers") and _is_generator(layer)]
    around = {type(layer).__name__ for layer in model.layers if layer not in inner}
    if not inner or (_is_generator(model) and not (around <= _GPU_COPIES and "Concatenate" in around)):
        return model, []
    if len(inner) > 1:
        names = ", ".join(layer.name for layer in inner)
        raise ModelError(f"{name} is not a generator, but several are in it ({names}): save the one that is meant")
    return inner[0], [f"its layer {inner[0].name!r} is the generator: the rest of the file is left out"]


def _is_generator(model: Any) -> bool:
    ends = [getattr(model, what, None) or [] for what in ("inputs", "outputs")]
    return all(len(tensors) == 1 and len(tensors[0].shape) == 4 and tensors[0].shape[3] == 3 for tensors in ends)
