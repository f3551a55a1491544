"""Opening a generator: which kind of file it is, and who reads that kind."""

from __future__ import annotations

from pathlib import Path

from ..errors import ModelError
from .faults import faults_of
from .files import HDF5_SIGNATURE, NCNN_BINARY_MAGIC, NCNN_MAGIC, ZIP_SIGNATURE, check_known, is_torch
from .source import SourceNetwork


def open_network(
    path: Path,
    *,
    custom_objects: Path | None = None,
    trust_model: bool = False,
    arch: str | None = None,
    layer: str | None = None,
) -> SourceNetwork:
    """Opens a generator: Keras ``.h5`` or ``.keras``, SavedModel folder, weights-only ``.h5``, ``.onnx``, PyTorch's
    ``.pth``, ``.safetensors``, or ncnn's ``.param`` with its ``.bin`` beside it.

    What the file is shows in its first bytes, not in its name.

    Args:
        path: The file, or the folder of a SavedModel.
        custom_objects: A Python file whose top-level classes and functions the model may use; it is run.
        trust_model: Run Python bytecode and unlisted TensorFlow functions that the model file carries; build networks
            of weights by spandrel.
        arch: "paper", "superresolution-gans" or "compact": the architecture of a file that holds weights only.
        layer: The layer of a Keras model (a generator within it, or one that gives the picture), or the output of an
            ONNX file or a SavedModel, that is meant; None finds it where it is the only one.

    Raises:
        ModelError: the file is not a model, no super-resolver, or cannot be proven safe to open.
        MissingPackageError: TensorFlow or Keras is needed and not installed.
    """
    with faults_of(str(path)):
        return _opened(path, custom_objects, trust_model, arch, layer)


def _opened(
    path: Path, custom_objects: Path | None, trust_model: bool, arch: str | None, layer: str | None
) -> SourceNetwork:
    if not path.exists():
        raise ModelError(f"{path} does not exist")
    if path.is_dir():
        if not (path / "saved_model.pb").is_file():
            raise ModelError(f"{path} is a folder without a saved_model.pb: not a SavedModel; name a model file")
        from .saved_model import open_saved_model

        return open_saved_model(path, trust_model=trust_model, layer=layer)
    check_known(path)
    with path.open("rb") as file:
        head = file.read(8)
    if not head:
        raise ModelError(f"{path} is empty (0 bytes): download or save the model again")
    if head != HDF5_SIGNATURE and is_torch(path):
        _no_layer(path, layer)
        from .torch_source import open_torch

        return open_torch(path, trust_model=trust_model)
    if head == HDF5_SIGNATURE or head.startswith(ZIP_SIGNATURE):
        from .keras_file import read_keras_file

        file_ = read_keras_file(path)
        if file_.config is None:
            _no_layer(path, layer)
            from .weights_only import open_weights

            return open_weights(path, arch=arch)
        if arch is not None:
            raise ModelError(f"{path} holds its own architecture: leave --arch out")
        from .keras_source import open_keras

        return open_keras(file_, custom_objects=custom_objects, trust_model=trust_model, layer=layer)
    if path.suffix.lower() in {".h5", ".hdf5", ".keras"}:
        raise ModelError(f"{path} is not a Keras file: it is neither HDF5 nor a .keras archive inside")
    if head.startswith((NCNN_MAGIC, NCNN_BINARY_MAGIC)) or path.suffix.lower() == ".param":
        if head.startswith(NCNN_BINARY_MAGIC):
            raise ModelError(f"{path} is ncnn's binary form of a .param: name the text file")
        _no_layer(path, layer)
        from .ncnn_source import open_ncnn

        return open_ncnn(path)
    if path.suffix.lower() == ".bin" and (param := path.with_suffix(".param")).is_file():
        raise ModelError(f"{path} holds only the weights of an ncnn network: name {param}")
    if path.name == "saved_model.pb":
        raise ModelError(f"{path} is one part of a SavedModel: name its folder, {path.parent}")
    from .onnx_source import open_onnx

    return open_onnx(path, layer=layer)


def _no_layer(path: Path, layer: str | None) -> None:
    if layer is not None:
        raise ModelError(f"{path} has no layers to choose from: leave --layer out")
