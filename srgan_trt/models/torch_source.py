"""Weights of PyTorch and safetensors as networks: those whose architecture shows in the names, without PyTorch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError, pip_command
from .files import hash_files
from .graph_writer import Blob, NodeWriter
from .source import SourceNetwork, check_output, check_scale
from .stored_tensor import Floats, StoredTensor
from .torch_file import TorchFile, read_torch_file
from .torch_layers import Layers
from .torch_networks import ARCHITECTURES, TorchArchitecture, left_over, likely

if TYPE_CHECKING:
    import onnx

_LICENCE = "the file does not tell its licence: see where it is from"
_OTHERWISE = (
    f"Export it to ONNX; or, if you trust the file, give --trust-model, and spandrel builds it ({pip_command('torch')})"
)
_SETS = (
    "params_ema params-ema ema_state_dict model_ema params state_dict model_state_dict model net netG net_g generator "
    "generator_state_dict G"
).split()
"""What programs call the weights that a picture is made with, running averages first."""
_PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "netG.", "net_g.", "generator.", "G.")
"""What is put before the names of weights by what was around a network."""
_SIZE = 48
"""Sides of the picture that a network is looked at with: a multiple of what any is made smaller by."""


class TorchNetwork:
    """A ``SourceNetwork`` of an architecture in torch_networks.py. All of them take and give 0..1."""

    channels = 3
    fixed_shape: tuple[int, int] | None = None
    input_range: tuple[float, float] | None = (0.0, 1.0)
    output_range: tuple[float, float] | None = (0.0, 1.0)
    stripped: frozenset[str] = frozenset()

    def __init__(
        self, architecture: TorchArchitecture, arrays: Mapping[str, Floats], *, path: Path, kind: str, notes: list[str]
    ) -> None:
        """Raises ModelError unless the weights are those of the architecture, all of them, and it enlarges pictures."""
        self.name, self.kind, self.source_hash = path.name, f"{kind}: {architecture.name}", hash_files([path])
        self._architecture, self._arrays = architecture, arrays
        layers, result = self._write(NodeWriter(shapes_only=True), _SIZE, _SIZE)
        if others := left_over(layers):
            raise ModelError(
                f"{self.name} has the names of {architecture.name}, but {len(others)} arrays more ({_named(others)}): "
                f"it is a variant that is not read here. {_OTHERWISE}"
            )
        check_output(self.name, (None, None, None, result.channels), channels=self.channels)
        self.scale = check_scale(self.name, (_SIZE, _SIZE), (result.height, result.width))
        self.notes = [
            f"weights only: by their names those of {architecture.name}, x{self.scale}, 0..1 in and out",
            *notes,
            _LICENCE,
        ]

    def export(self, height: int, width: int) -> onnx.ModelProto:
        writer = NodeWriter()
        _, result = self._write(writer, height, width)
        return writer.model(result, height, width, name="torch")

    def predict(self, batch: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """None: starting PyTorch would cost the first picture seconds, to prove what the tests do."""
        return None

    def _write(self, writer: NodeWriter, height: int, width: int) -> tuple[Layers, Blob]:
        layers = Layers(self._arrays, writer)
        try:
            return layers, self._architecture.write(layers, Blob("input", 3, height, width))
        except ModelError as error:
            raise ModelError(f"{self.name} has the names of {self._architecture.name}, but {error}") from None


def open_torch(path: Path, *, trust_model: bool = False) -> SourceNetwork:
    """Opens a ``.pth`` or safetensors file.

    trust_model: Let spandrel build what is not known here. It makes networks as large as the file asks for.

    Raises ModelError if it is damaged, holds more than data, or weights of an architecture that is not read;
    MissingPackageError if spandrel is needed and not installed.
    """
    file = read_torch_file(path)
    tensors, notes = weights_of(file)
    try:
        return _known(file, tensors, notes)
    except ModelError:
        if not trust_model:
            raise
    from .spandrel_source import SpandrelNetwork

    arrays = file.arrays(tensors)
    return SpandrelNetwork(arrays, path=path, kind=file.kind, source_hash=hash_files([path]), notes=[*notes, _LICENCE])


def _known(file: TorchFile, tensors: dict[str, StoredTensor], notes: list[str]) -> TorchNetwork:
    """The network of an architecture in torch_networks.py; numbers are read only once it is known to be one."""
    for more, part in _parts(tensors):
        for architecture in ARCHITECTURES:
            named = architecture.known(part)
            if named is not None:
                arrays = file.arrays(named)
                return TorchNetwork(architecture, arrays, path=file.path, kind=file.kind, notes=[*notes, *more])
    what = likely(tensors)
    raise ModelError(
        f"{file.path} holds {len(tensors)} arrays ({_named(tensors)}) of no architecture that is read here"
        f"{f'; it looks like {what}' if what else ''}: known are "
        f"{', '.join(dict.fromkeys(architecture.name for architecture in ARCHITECTURES))}. {_OTHERWISE}"
    )


def weights_of(file: TorchFile) -> tuple[dict[str, StoredTensor], list[str]]:
    """The weights in ``file`` that pictures are made with, and notes of which were taken.

    Raises ModelError if there are none.
    """
    direct = _tensors(file.tree)
    if direct:
        return direct, []
    sets = {name: found for name, value in _items(file.tree) if (found := _tensors(value))}
    if not sets:
        raise ModelError(f"{file.path} holds no weights: save them with torch.save(model.state_dict(), ...)")
    taken = next((name for name in _SETS if name in sets), next(iter(sets)) if len(sets) == 1 else None)
    if taken is None:
        raise ModelError(f"{file.path} holds several sets of weights ({_named(sets)}): save the generator's alone")
    others = [name for name in sets if name != taken]
    return sets[taken], [f"of its sets of weights {taken} is taken, not {_named(others)}"] if others else []


def _items(tree: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(tree, dict):
        yield from tree.items()


def _tensors(tree: Any) -> dict[str, StoredTensor]:
    return {name: value for name, value in _items(tree) if isinstance(value, StoredTensor)}


def _parts(tensors: dict[str, StoredTensor], wrappers: int = 3) -> Iterator[tuple[list[str], dict[str, StoredTensor]]]:
    """``tensors``, then those that have a wrapper's name before their own, without it; notes of what is left out."""
    yield [], tensors
    for prefix in _PREFIXES if wrappers else ():
        inner = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        if inner:
            left = len(tensors) - len(inner)
            note = [f"its part {prefix.rstrip('.')} is taken: {left} other arrays are left out"] if left else []
            for notes, part in _parts(inner, wrappers - 1):
                yield [*note, *notes], part


def _named(names: Any) -> str:
    """Some names, for a message."""
    shown = [ascii(name)[1:-1][:60] for name in names]
    return ", ".join(shown[:4]) + (", ..." if len(shown) > 4 else "")
