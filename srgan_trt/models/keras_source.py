"""Keras models: opened by the Keras that can, exported and run through TensorFlow."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import re
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MissingPackageError, ModelError, missing, one_line
from .channels_last import as_channels_last
from .config_graph import check_graph, check_sizes
from .config_safety import check_config
from .custom_layers import KNOWN_CLASSES, custom_layers
from .keras3 import import_keras
from .keras_file import Config, KerasFile, with_config
from .keras_ops import name_operations
from .lambda_activations import name_activations
from .lambdas import resolve_lambdas
from .source import check_input, check_output, check_scale, fixed_size
from .tensorflow_export import export_function, import_tensorflow, quiet_logger
from .wrapped import as_functional, generator_in, output_names

if TYPE_CHECKING:
    import onnx

_TITLES = {"keras": "Keras 3", "tf_keras": "Keras 2 (tf_keras)"}
_UNKNOWN_CLASS = re.compile(r"(?:Unknown|Could not locate) (?:layer|class|object|function):? '([^']+)'", re.IGNORECASE)
_UNKNOWN_FUNCTION = re.compile(
    r"(?:Unknown|Could not (?:locate|interpret)) [\w ]*function[\w ]*:? '([^']+)'", re.IGNORECASE
)


class KerasNetwork:
    """A ``SourceNetwork`` around a Keras model, of Keras 3 or tf_keras."""

    def __init__(
        self,
        model: Any,
        *,
        name: str,
        kind: str,
        source_hash: str,
        notes: list[str],
        input_range: tuple[float, float] | None = None,
        output_range: tuple[float, float] | None = None,
        stripped: frozenset[str] = frozenset(),
    ) -> None:
        """Raises ModelError unless ``model`` has one picture in, RGB or luma, and one out."""
        self.name, self.kind, self.source_hash, self.notes = name, kind, source_hash, notes
        self.input_range, self.output_range = input_range, output_range
        self.stripped = stripped
        self._model = model
        inputs, outputs = (_shapes(name, model, what) for what in ("inputs", "outputs"))
        if len(inputs) != 1:
            raise ModelError(f"{name} has {len(inputs)} inputs: a generator takes one picture")
        if len(outputs) != 1:
            raise ModelError(
                f"{name} has {len(outputs)} outputs: name the layer that gives the picture with --layer NAME "
                f"({', '.join(output_names(model))})"
            )
        self.channels = check_input(name, inputs[0])
        check_output(name, outputs[0], channels=self.channels)
        height, width = inputs[0][1:3]
        self.fixed_shape = fixed_size(height, width, notes)
        if self.fixed_shape is not None and None not in outputs[0][1:3]:
            check_scale(name, self.fixed_shape, (int(outputs[0][1] or 0), int(outputs[0][2] or 0)))

    def export(self, height: int, width: int) -> onnx.ModelProto:
        height, width = self.fixed_shape or (height, width)
        return export_function(self._call, height, width, channels=self.channels, name=self.name)

    def predict(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(self._call(batch), dtype=np.float32)

    def _call(self, batch: Any) -> Any:
        with warnings.catch_warnings():  # Keras 3 warns if a model saved with [input] is called with input
            warnings.filterwarnings("ignore", message="The structure of `inputs`")
            result = self._model(batch, training=False)
        while isinstance(result, (list, tuple, dict)):
            result = next(iter(result.values() if isinstance(result, dict) else result))
        return result


def open_keras(
    file: KerasFile, *, custom_objects: Path | None = None, trust_model: bool = False, layer: str | None = None
) -> KerasNetwork:
    """Opens a Keras model with the Keras that wrote it, or with the other one if that fails.

    layer: the generator in it, or the layer that gives the picture; None finds the only one.

    Raises ModelError (unsafe, unknown classes, no generator, neither Keras can read it) or
    MissingPackageError.
    """
    name = file.path.name
    assert file.config is not None
    check_graph(name, file.config)
    last, turned = as_channels_last(name, file.config)
    check_sizes(file, last)
    import_tensorflow()
    objects = _run_objects_file(custom_objects) if custom_objects is not None else {}
    given = frozenset(objects)
    functional, opened = as_functional(last, given=given)
    own, other = ("keras", "tf_keras") if file.generation == 3 else ("tf_keras", "keras")
    functional, objects, replaced = name_activations(
        name, functional, objects, modules=lambda: _modules(own), trust=trust_model
    )
    given = frozenset(objects)
    config, notes, stripped = resolve_lambdas(
        dataclasses.replace(file, config=functional), given=given, trust=trust_model
    )
    config = _without_training(config)
    check_config(name, config, given=given | KNOWN_CLASSES, trust=trust_model)
    failures: list[Exception] = []
    for library in (own, other):
        try:
            model = _load(library, file, config, objects)
        # Keras raises whatever the file makes it stumble on: every reason is reported below.
        except Exception as error:
            failures.append(error)
            continue
        model, found = generator_in(model, name, layer=layer)
        return KerasNetwork(
            model,
            name=name,
            kind=file.kind,
            source_hash=file.source_hash,
            notes=[*opened, *found, *turned, *replaced, *notes],
            stripped=stripped,
        )
    if isinstance(failures[0], MissingPackageError):
        raise failures[0]
    if (unknown := _unknown_name(failures[0], config)) is not None:
        raise ModelError(
            f"{name} uses {unknown!r}, which is not a part of Keras and is not in the file: give its code with "
            "--custom-objects FILE.py"
        ) from failures[0]
    reasons = [f"{_TITLES[library]}: {one_line(e)}" for library, e in zip((own, other), failures, strict=True)]
    raise ModelError(f"no Keras can open {name}: {'; '.join(reasons)}") from failures[0]


def _without_training(value: Any) -> Any:
    """A config without optimizers, losses and metrics: nothing here trains, and they may be anything."""
    if isinstance(value, dict):
        return {key: _without_training(item) for key, item in value.items() if key != "compile_config"}
    return [_without_training(item) for item in value] if isinstance(value, list) else value


def _import_keras(library: str) -> Any:
    """``keras`` (3) on TensorFlow, or ``tf_keras``."""
    if library == "tf_keras":
        try:
            import tf_keras
        except ModuleNotFoundError as error:
            if error.name != "tf_keras":
                raise
            raise missing("tf-keras", "keras", "read a file of Keras 2") from None
        return tf_keras
    return import_keras("read a file of Keras 3")


def _modules(library: str) -> dict[str, Any]:
    """What the code in a file calls by its usual names."""
    keras = _import_keras(library)
    return {"tf": import_tensorflow(), "keras": keras, "K": keras.backend}


def _load(library: str, file: KerasFile, config: Config, objects: dict[str, Any]) -> Any:
    """The model in ``file``, its config replaced by ``config``, as ``library`` reads it."""
    keras = _import_keras(library)
    known = custom_layers(keras, import_tensorflow(), objects)
    if library == "keras" and file.container == ".h5":
        config, operations = name_operations(config)
        known.update(operations)
    with contextlib.ExitStack() as stack:
        path = file.path
        if config != file.config or path.suffix not in {".h5", ".hdf5", ".keras"}:  # Keras goes by the suffix
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="srgan-trt-"))
            path = with_config(file, config, Path(folder))
        stack.enter_context(quiet_logger("absl"))  # warns of optimizers and metrics, which nobody wants here
        model = keras.models.load_model(
            str(path), custom_objects=_registered(config, known, objects), compile=False, safe_mode=True
        )
    if model.inputs is None:  # a Sequential saved before it knew its input
        model(np.zeros((1, 64, 64, 3), np.float32))
    return model


def _registered(config: Config, ours: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """The custom objects under their plain names and under those the config registered them by."""
    objects = {**ours, **given}
    stack: list[Any] = [config]
    while stack:
        part = stack.pop()
        if isinstance(part, dict):
            for registered in (part.get("class_name"), part.get("registered_name")):
                if isinstance(registered, str) and (plain := registered.rpartition(">")[2]) in objects:
                    objects.setdefault(registered, objects[plain])
            stack.extend(part.values())
        elif isinstance(part, list):
            stack.extend(part)
    return objects


def _run_objects_file(path: Path) -> dict[str, Any]:
    """The top-level classes and functions of the user's Python file."""
    spec = importlib.util.spec_from_file_location(f"srgan_trt_custom_{path.stem}", path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise ModelError(f"--custom-objects {path}: no such Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    # It is the user's own code: whatever it raises is said, not hidden.
    except Exception as error:
        raise ModelError(f"--custom-objects {path} fails: {one_line(error)}") from error
    return {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_") and callable(value) and getattr(value, "__module__", None) == module.__name__
    }


def _shapes(name: str, model: Any, what: str) -> list[tuple[int | None, ...]]:
    tensors = getattr(model, what, None)
    if tensors is None:
        raise ModelError(f"{name} does not say what its {what} are: save it as a Functional or Sequential model")
    return [tuple(tensor.shape) for tensor in tensors]


def _unknown_name(error: Exception, config: Config) -> str | None:
    for pattern in (_UNKNOWN_CLASS, _UNKNOWN_FUNCTION):
        if found := pattern.search(str(error)):
            name = found.group(1).rpartition(">")[2]
            return _first_function(config) if name == "function" else name
    return None


def _first_function(value: Any) -> str | None:
    """The first function of the author's own that a config names; both Kerases say only that it is one."""
    if isinstance(value, dict):
        if value.get("class_name") == "function" and value.get("module", "builtins") == "builtins":
            return str(value.get("config"))
        value = list(value.values())
    return next(filter(None, map(_first_function, value)), None) if isinstance(value, list) else None
