"""SavedModel folders: opened through their signature, the graph that the author meant to be called."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError, one_line
from .files import hash_files
from .source import check_input, check_output, check_scale, fixed_size
from .tensorflow_export import export_function, import_tensorflow

if TYPE_CHECKING:
    import onnx

_RUNS_CODE = frozenset({"PyFunc", "PyFuncStateless", "EagerPyFunc"})
_OPENS_FILES = re.compile(
    r"ReadFile|WriteFile|MatchingFiles|\w+ReaderV?2?|(TextLine|TFRecord|FixedLengthRecord|Sql|CSV|Cache|Snapshot|Save|Load"
    r"|DataService)Dataset(V\d)?|InitializeTableFromTextFile(V2)?|ImmutableConst|Save|SaveSlices|Restore|RestoreSlice"
    r"|PrintV2|DebugIdentity(V\d)?|DebugNumericSummary(V\d)?|Write\w*Summary|CreateSummary(File|Db)Writer|ImportEvent|Rpc\w+"
)
_LOOPS = re.compile(r"(Stateless)?While|(Ref)?(Enter|NextIteration)")
_ONLY_TO_SAVE = frozenset({"SaveV2", "MergeV2Checkpoints"})
_SIGNATURES = ("serving_default", "serve")


class SavedModelNetwork:
    """A ``SourceNetwork`` around a SavedModel's signature."""

    kind = "SavedModel"
    input_range: tuple[float, float] | None = None
    output_range: tuple[float, float] | None = None
    stripped: frozenset[str] = frozenset()

    def __init__(self, loaded: Any, *, name: str, source_hash: str, layer: str | None = None) -> None:
        """Raises ModelError unless the signature takes one picture, RGB or luma, and gives one."""
        self.name, self.source_hash = name, source_hash
        self.notes: list[str] = []
        self._loaded = loaded  # its variables live as long as it does
        signatures = dict(loaded.signatures)
        key = next((key for key in _SIGNATURES if key in signatures), None)
        if key is None and len(signatures) == 1:
            key = next(iter(signatures))
        if key is None:
            have = ", ".join(sorted(signatures)) or "none"
            raise ModelError(f"{name} has no signature serving_default (it has: {have}): export the model again")
        self._function = signatures[key]
        inputs = self._function.structured_input_signature[1]
        outputs = self._function.structured_outputs
        if len(inputs) != 1:
            raise ModelError(f"{name} has {len(inputs)} inputs: a generator takes one picture")
        if layer not in outputs and (layer is not None or len(outputs) != 1):
            raise ModelError(
                f"{name} has the outputs {', '.join(outputs)}: name the one that is the picture with --layer NAME"
            )
        self._argument, spec = next(iter(inputs.items()))
        self._result, result = next((key, value) for key, value in outputs.items() if layer in (None, key))
        if spec.shape.rank is None:
            raise ModelError(f"{name} does not say what shape it takes: export it with an input signature")
        if not spec.dtype.is_floating:
            raise ModelError(f"{name} takes {spec.dtype.name} pixels: only float networks are supported")
        self._dtype = spec.dtype
        shape = tuple(spec.shape)
        self.channels = check_input(name, shape)
        if result.shape.rank is not None:
            check_output(name, tuple(result.shape), channels=self.channels)
        height, width = shape[1:3]
        self.fixed_shape = fixed_size(height, width, self.notes)
        if self.fixed_shape is not None and result.shape.is_fully_defined():
            check_scale(name, self.fixed_shape, tuple(result.shape)[1:3])

    def export(self, height: int, width: int) -> onnx.ModelProto:
        height, width = self.fixed_shape or (height, width)
        return export_function(self._call, height, width, channels=self.channels, name=self.name)

    def predict(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        tf = import_tensorflow()
        return np.asarray(self._call(tf.constant(batch)), dtype=np.float32)

    def _call(self, batch: Any) -> Any:
        tf = import_tensorflow()
        return self._function(**{self._argument: tf.cast(batch, self._dtype)})[self._result]


def open_saved_model(path: Path, *, trust_model: bool = False, layer: str | None = None) -> SavedModelNetwork:
    """Opens the SavedModel in the folder ``path``; ``layer`` is the output that is the picture.

    Raises ModelError (damaged, no generator, a graph that touches files or Python) or MissingPackageError.
    """
    tf = import_tensorflow()
    name = path.name
    _check_operators(path, trust=trust_model)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    try:
        loaded = tf.saved_model.load(str(path))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, tf.errors.OpError) as error:
        raise ModelError(f"{name} is a damaged SavedModel ({one_line(error)}): download or save it again") from None
    return SavedModelNetwork(loaded, name=name, source_hash=hash_files(files, root=path), layer=layer)


def _check_operators(path: Path, *, trust: bool) -> None:
    """Reads the graph as data. Raises ModelError if an operator in it runs Python or opens files."""
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    model = saved_model_pb2.SavedModel()
    try:
        model.ParseFromString((path / "saved_model.pb").read_bytes())
    except DecodeError:
        raise ModelError(f"{path.name}: its saved_model.pb is damaged: download or save it again") from None
    except OSError as error:
        raise ModelError(f"cannot read {path / 'saved_model.pb'}: {error.strerror}") from error
    if trust:
        return
    for meta in model.meta_graphs:
        bodies = [("", meta.graph_def.node), *((f.signature.name, f.node_def) for f in meta.graph_def.library.function)]
        for function, nodes in bodies:
            for node in nodes:
                saves = node.op in _ONLY_TO_SAVE and function and "save" not in function
                if _LOOPS.fullmatch(node.op):
                    raise ModelError(
                        f"{path.name}: its operator {node.op} ({node.name}) is a loop, which nobody can tell the end "
                        "of: pass --trust-model if you trust whoever made it"
                    )
                if node.op in _RUNS_CODE or _OPENS_FILES.fullmatch(node.op) or saves:
                    what = "runs Python code" if node.op in _RUNS_CODE else "reads or writes files"
                    raise ModelError(
                        f"{path.name}: its operator {node.op} ({node.name}) {what}, which no generator needs: "
                        "pass --trust-model if you trust whoever made it"
                    )
