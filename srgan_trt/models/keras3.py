"""Keras 3 on TensorFlow, imported where it is used."""

from __future__ import annotations

import os
from typing import Any

from ..errors import ModelError, missing
from .tensorflow_export import import_tensorflow


def import_keras(purpose: str) -> Any:
    """The ``keras`` module; `purpose` completes "keras is needed to ...".

    Raises MissingPackageError if Keras or TensorFlow is not installed, ModelError if Keras runs on another backend.
    """
    import_tensorflow()
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    try:
        import keras
    except ModuleNotFoundError as error:
        if error.name != "keras":
            raise
        raise missing("keras", "keras", purpose) from None
    if (backend := keras.backend.backend()) != "tensorflow":
        raise ModelError(f"Keras 3 runs on {backend} here: set KERAS_BACKEND=tensorflow and start again")
    return keras
