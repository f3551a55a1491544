"""Keras models that a program holds, of Keras 3 or tf_keras: taken as they are, their own code included."""

from __future__ import annotations

import hashlib
import json
import sys
from typing import Any

import numpy as np

from ..errors import ModelError, one_line
from .keras3 import import_keras
from .keras_source import KerasNetwork
from .tensorflow_export import import_tensorflow
from .wrapped import generator_in

_LIBRARIES = {"keras": "Keras 3", "tf_keras": "Keras 2 (tf_keras)"}


def is_keras_model(value: Any) -> bool:
    """Whether `value` is a model of a Keras that this process has loaded; none is imported for it."""
    return _library(value) is not None


def open_live(model: Any) -> KerasNetwork:
    """The generator that `model`, for which `is_keras_model` holds, is or has in it.

    Raises ModelError if it is none, or of a Keras 3 that runs on another backend than TensorFlow.
    """
    library = _library(model)
    assert library is not None
    if library == "keras":
        import_keras("build a plan of a Keras model")
    import_tensorflow()
    name = str(model.name)
    model, notes = generator_in(model, name)
    if getattr(model, "inputs", None) is None:  # a class of the author's own, or a Sequential that saw no picture yet
        model = _functional(sys.modules[library], model, name)
    return KerasNetwork(
        model, name=name, kind=f"{_LIBRARIES[library]} model", source_hash=_hash(model), notes=list(notes)
    )


def _library(value: Any) -> str | None:
    for name in _LIBRARIES:
        keras = sys.modules.get(name)
        if keras is not None and isinstance(value, keras.Model):
            return name
    return None


def _functional(keras: Any, model: Any, name: str) -> Any:
    picture = keras.Input((None, None, 3))
    try:
        return keras.Model(picture, model(picture))
    # The model's own code may raise anything: it is said, not hidden.
    except Exception as error:
        raise ModelError(f"{name} does not take a batch of RGB pictures of any size: {one_line(error)}") from error


def _hash(model: Any) -> str:
    """sha256 of the layers' names and classes, and of the weights."""
    digest = hashlib.sha256(json.dumps([(layer.name, type(layer).__name__) for layer in model.layers]).encode())
    for array in model.get_weights():
        digest.update(f"{array.dtype}{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
