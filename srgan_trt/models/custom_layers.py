"""The layers that known SRGAN code bases define for themselves, as our own classes for either Keras.

A file names such a class but does not carry its code; these stand in, so that nothing foreign is run.
"""

from __future__ import annotations

import re
from typing import Any

PREFIX = "srgan_trt>"
DEPTH_TO_SPACE = f"{PREFIX}DepthToSpace"
IDENTITY = f"{PREFIX}RangeMapping"
BYTECODE = f"{PREFIX}TrustedBytecode"
GIVEN = f"{PREFIX}GivenFunction"

KNOWN_CLASSES = frozenset({"ReflectionPadding2D", "ReflectPadding2D", "InstanceNormalization"})
"""Classes of other packages that ours stand in for, beside the pixel shuffles, which lambdas.py replaces."""

BLOCK_SIZE_KEYS = (
    "block_size", "scale", "size", "upscale_factor", "scale_factor", "factor", "upscale", "upsampling_factor",
    "upscaling_factor", "upsample_factor", "r", "ratio", "block", "scale_ratio", "upscaling",
)  # fmt: skip
_SHUFFLE = re.compile(r"pixel_?shuff|sub_?pixel|depth_?to_?space|phase_?shift", re.IGNORECASE)


def names_a_shuffle(text: str) -> bool:
    """True for the usual names of a pixel shuffle: PixelShuffler, SubpixelConv2D, depth_to_space, ..."""
    return _SHUFFLE.search(text) is not None


def block_size(config: dict[str, Any]) -> int | None:
    """The upscaling factor that a layer's config records under one of its usual names, else None."""
    for key in BLOCK_SIZE_KEYS:
        value = config.get(key)
        if isinstance(value, (list, tuple)) and len(value) == 2 and value[0] == value[1]:
            value = value[0]
        if isinstance(value, (int, float)) and not isinstance(value, bool) and value == int(value) and value >= 1:
            return int(value)
    return None


def custom_layers(keras: Any, tf: Any, given: dict[str, Any] | None = None) -> dict[str, Any]:
    """Our classes for ``keras`` (Keras 3 or tf_keras), by every name a config may call them.

    NHWC float tensors in and out. ``DepthToSpace`` is TensorFlow's: channel ``(a*r + b)*C + c`` goes to row
    ``a``, column ``b`` of the r x r block. ``InstanceNormalization`` is Ulyanov et al., arXiv 1607.08022.
    ``given`` are the user's own functions by name.
    """
    functions = given or {}

    class DepthToSpace(keras.layers.Layer):  # type: ignore[misc]
        def __init__(self, block_size: int = 2, **options: Any) -> None:
            super().__init__(**options)
            self.block_size = int(block_size)

        def call(self, inputs: Any, mask: Any = None) -> Any:
            return tf.nn.depth_to_space(inputs, self.block_size)

        def compute_output_shape(self, input_shape: Any) -> Any:
            batch, height, width, channels = input_shape
            size = self.block_size
            return (batch, height and height * size, width and width * size, channels // size**2)

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "block_size": self.block_size}

    class RangeMapping(keras.layers.Layer):  # type: ignore[misc]
        """Stands where a Lambda mapped the value range; the compiler finds the range that remains."""

        def call(self, inputs: Any, mask: Any = None) -> Any:
            return inputs

        def compute_output_shape(self, input_shape: Any) -> Any:
            return input_shape

    class ReflectionPadding2D(keras.layers.Layer):  # type: ignore[misc]
        def __init__(self, padding: Any = (1, 1), **options: Any) -> None:
            super().__init__(**options)
            if isinstance(padding, int):
                padding = (padding, padding)
            rows, columns = ([side, side] if isinstance(side, int) else list(side) for side in padding)
            self.padding = [rows, columns]

        def call(self, inputs: Any, mask: Any = None) -> Any:
            return tf.pad(inputs, [[0, 0], *self.padding, [0, 0]], mode="REFLECT")

        def compute_output_shape(self, input_shape: Any) -> Any:
            batch, height, width, channels = input_shape
            rows, columns = (sum(side) for side in self.padding)
            return (batch, height and height + rows, width and width + columns, channels)

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "padding": self.padding}

    class InstanceNormalization(keras.layers.Layer):  # type: ignore[misc]
        def __init__(self, epsilon: float = 1e-3, center: bool = True, scale: bool = True, **options: Any) -> None:
            for ignored in ("axis", "groups", *(key for key in options if key.split("_")[0] in {"beta", "gamma"})):
                options.pop(ignored, None)
            super().__init__(**options)
            self.epsilon, self.center, self.scale = epsilon, center, scale

        def build(self, input_shape: Any) -> None:
            shape = (input_shape[-1],)
            self.gamma = self.add_weight(name="gamma", shape=shape, initializer="ones") if self.scale else None
            self.beta = self.add_weight(name="beta", shape=shape, initializer="zeros") if self.center else None
            super().build(input_shape)

        def call(self, inputs: Any, mask: Any = None) -> Any:
            mean, variance = tf.nn.moments(inputs, axes=[1, 2], keepdims=True)
            result = (inputs - mean) * tf.math.rsqrt(variance + self.epsilon)
            if self.gamma is not None:
                result = result * tf.convert_to_tensor(self.gamma)
            return result if self.beta is None else result + tf.convert_to_tensor(self.beta)

        def get_config(self) -> dict[str, Any]:
            config = {"epsilon": self.epsilon, "center": self.center, "scale": self.scale}
            return {**super().get_config(), **config}

    class TrustedBytecode(keras.layers.Layer):  # type: ignore[misc]
        """A Lambda whose bytecode the user asked to run (``--trust-model``)."""

        def __init__(
            self, code: str, defaults: Any = None, closure: Any = None, arguments: Any = None, **options: Any
        ) -> None:
            super().__init__(**options)
            self.function = bytecode_function(
                code, defaults, closure, {"tf": tf, "keras": keras, "K": keras.backend, **functions}
            )
            self.arguments = arguments or {}

        def call(self, inputs: Any, mask: Any = None) -> Any:
            return self.function(inputs, **self.arguments)

    class GivenFunction(keras.layers.Layer):  # type: ignore[misc]
        """A Lambda whose function is one of the user's custom objects."""

        def __init__(self, function_name: Any, arguments: Any = None, **options: Any) -> None:
            super().__init__(**options)
            # In an .h5, Keras itself puts the custom object in place of its name.
            self.function = function_name if callable(function_name) else functions[function_name]
            self.arguments = arguments or {}

        def call(self, inputs: Any, mask: Any = None) -> Any:
            return self.function(inputs, **self.arguments)

    return {
        DEPTH_TO_SPACE: DepthToSpace,
        IDENTITY: RangeMapping,
        BYTECODE: TrustedBytecode,
        GIVEN: GivenFunction,
        "ReflectionPadding2D": ReflectionPadding2D,
        "ReflectPadding2D": ReflectionPadding2D,
        "InstanceNormalization": InstanceNormalization,
    }


def bytecode_function(code: str, defaults: Any, closure: Any, names: dict[str, Any]) -> Any:
    """The Python function whose marshalled, base64-coded bytecode Keras stored. Only ever called on trust."""
    import base64
    import marshal
    import types

    import numpy as np

    body = marshal.loads(base64.b64decode(code))
    cells = tuple(types.CellType(value) for value in closure or ())
    module = {**names, "np": np, "numpy": np, "tensorflow": names["tf"], "__builtins__": __builtins__}
    return types.FunctionType(body, module, argdefs=tuple(defaults) if defaults else None, closure=cells or None)
