"""Models that work on channels first, rewritten to channels last: TensorFlow runs them on GPUs only.

The weights of the layers here are the same both ways; a layer whose weights or axes are not is refused by name.
"""

from __future__ import annotations

from typing import Any

from ..errors import ModelError
from .keras_file import Config

_MODELS = frozenset({"Functional", "Model", "Sequential"})
_ALIKE = frozenset(
    "InputLayer Conv2D Convolution2D SeparableConv2D DepthwiseConv2D Conv2DTranspose UpSampling2D ZeroPadding2D "
    "Cropping2D MaxPooling2D AveragePooling2D SpatialDropout2D BatchNormalization Concatenate Add Multiply Subtract "
    "Average Maximum Minimum Activation ReLU LeakyReLU ELU Dropout GaussianNoise Rescaling".split()
)
_ACROSS = frozenset({"softmax", "log_softmax", "sparsemax"})
"""Activations that mix the values of the last axis."""
_FIRST = "channels_first"


def as_channels_last(name: str, config: Config) -> tuple[Config, list[str]]:
    """The config with every layer on channels last, and what to say of it; itself where none is on channels first.

    Raises ModelError for a layer that would not compute the same. Expects a config that `check_graph` lets through.
    """
    formats = {part["data_format"] for part in _parts(config) if isinstance(part.get("data_format"), str)}
    if _FIRST not in formats:
        return config, []
    if len(formats) > 1:
        raise _refused(name, "some of its layers do not")
    return _turned(name, config), ["works on channels first: the plan is of the same network on channels last"]


def _parts(value: Any) -> list[Config]:
    found, pending = [], [value]
    while pending:
        part = pending.pop()
        if isinstance(part, dict):
            found.append(part)
            pending.extend(part.values())
        elif isinstance(part, list):
            pending.extend(part)
    return found


def _turned(name: str, layer: Config) -> Config:
    kind, config = str(layer.get("class_name")), layer.get("config")
    if kind in _MODELS:
        inner = config["layers"] if isinstance(config, dict) else config
        layers = [_turned(name, each) for each in inner or ()]
        return {**layer, "config": {**config, "layers": layers} if isinstance(config, dict) else layers} | _NOT_BUILT
    if kind not in _ALIKE or not isinstance(config, dict) or str(config.get("activation")) in _ACROSS:
        raise _refused(name, f"its layer {str(layer.get('name') or kind)!r} ({kind}) cannot be turned")
    config = dict(config)
    if "data_format" in config:
        config["data_format"] = "channels_last"
    for key in ("batch_shape", "batch_input_shape"):
        if isinstance(config.get(key), list) and len(config[key]) == 4:
            batch, channels, height, width = config[key]
            config[key] = [batch, height, width, channels]
    if kind in ("BatchNormalization", "Concatenate"):
        if config.get("axis") not in (1, [1], -3):
            raise _refused(name, f"its layer {str(layer.get('name') or kind)!r} works along another axis")
        config["axis"] = [3] if isinstance(config["axis"], list) else 3
    return {**layer, "config": config} | _NOT_BUILT


_NOT_BUILT: Config = {"build_config": None}
"""Keras 3 would build layers for the shapes they had."""


def _refused(name: str, why: str) -> ModelError:
    return ModelError(
        f"{name} works on channels first, which TensorFlow runs on GPUs only, and {why}: build the model with "
        "data_format='channels_last', load the same weights, and save that"
    )
