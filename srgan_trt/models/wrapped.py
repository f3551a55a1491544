"""Generators that lie in something else: a class of the author's own, a combined GAN, copies for several GPUs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..errors import ModelError
from .keras_file import Config
from .source import CHANNELS

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


def generator_in(model: Any, name: str, *, layer: str | None = None) -> tuple[Any, list[str]]:
    """The generator in a Keras ``model`` that is none itself, or that only copies one to several GPUs; notes of it.

    layer: the one that is meant: a model within, or a layer whose output is the picture. Without it ``model`` itself
    where there is nothing to find. Raises ModelError, naming them, if there are several, or none of that name.
    """
    if layer is not None:
        return _named(model, name, layer), [f"its layer {layer!r} was named: the rest of the file is left out"]
    inner = [each for each in model.layers if hasattr(each, "layers") and _is_generator(each)]
    around = {type(each).__name__ for each in model.layers if each not in inner}
    if not inner or (_is_generator(model) and not (around <= _GPU_COPIES and "Concatenate" in around)):
        return model, []
    if len(inner) > 1:
        names = " or ".join(f"--layer {each.name}" for each in inner)
        raise ModelError(f"{name} is not a generator, but several are in it: name the one that is meant, {names}")
    return inner[0], [f"its layer {inner[0].name!r} is the generator: the rest of the file is left out"]


def output_names(model: Any) -> list[str]:
    """The layers that give a Keras ``model``'s outputs."""
    outputs = {id(tensor) for tensor in model.outputs}
    return [layer.name for layer in model.layers if id(_output(layer)) in outputs]


def _named(model: Any, name: str, layer: str) -> Any:
    found = next((each for each in _layers(model) if each.name == layer), None)
    if found is None:
        names = ", ".join(each.name for each in model.layers)
        raise ModelError(f"{name} has no layer {layer!r}: --layer takes one of {names}")
    if hasattr(found, "layers"):
        return found
    if found not in model.layers:
        raise ModelError(f"{name}: its layer {layer!r} lies in a model within it: name that model with --layer")
    functional = next(kind for kind in type(model).__mro__ if kind.__name__ == "Model")
    return functional(model.inputs, _output(found))


def _layers(model: Any) -> Iterator[Any]:
    """Its layers, and those of the models within it."""
    for layer in model.layers:
        yield layer
        if hasattr(layer, "layers"):
            yield from _layers(layer)


def _output(layer: Any) -> Any:
    """What it gives where it is used for the first time."""
    return layer.get_output_at(0) if hasattr(layer, "get_output_at") else layer._inbound_nodes[0].output_tensors[0]


def _is_generator(model: Any) -> bool:
    ends = [getattr(model, what, None) or [] for what in ("inputs", "outputs")]
    if any(len(tensors) != 1 or len(tensors[0].shape) != 4 for tensors in ends):
        return False
    small, large = (tuple(tensors[0].shape) for tensors in ends)
    judges = small[1] is not None and large[1] is not None and large[1] < small[1] // 2  # patches of a luma picture
    return small[3] in CHANNELS and small[3] == large[3] and not judges
