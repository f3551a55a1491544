"""Weights of architectures that only spandrel knows (github.com/chaiNNer-org/spandrel): built by it, in PyTorch.

It is given the arrays that were read as data, never the file. But it makes networks as large as the names of the arrays
ask for, so it is only used for files that are trusted.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError, missing, one_line
from .source import check_input, check_output
from .stored_tensor import Floats

if TYPE_CHECKING:
    import onnx

_OPSET = 18
_TILE = 128
"""Sides, at least, of the tiles of a network that does not take any size."""


class SpandrelNetwork:
    """A ``SourceNetwork`` around a network of PyTorch. All that spandrel knows take and give 0..1."""

    input_range: tuple[float, float] | None = (0.0, 1.0)
    output_range: tuple[float, float] | None = (0.0, 1.0)
    stripped: frozenset[str] = frozenset()

    def __init__(
        self, arrays: Mapping[str, Floats], *, path: Path, kind: str, source_hash: str, notes: list[str]
    ) -> None:
        """Raises ModelError if spandrel does not know the weights, or they do not enlarge pictures;
        MissingPackageError if it is not installed."""
        try:
            import torch
            from spandrel import ImageModelDescriptor, ModelLoader
        except ModuleNotFoundError as error:
            raise missing(error.name or "spandrel", "torch", f"read {path.name}") from None
        self._torch: Any = torch
        state = {name: torch.from_numpy(array) for name, array in arrays.items()}
        try:
            found = ModelLoader(device="cpu").load_from_state_dict(state)
        # spandrel's own errors, and those of PyTorch where weights do not fit: their only base is Exception.
        except Exception as error:
            raise ModelError(f"{path}: spandrel does not take it either ({one_line(error)})") from None
        self.name = path.name
        if not isinstance(found, ImageModelDescriptor) or found.purpose not in ("SR", "Restoration"):
            raise ModelError(f"{self.name} is {found.architecture.name}, not a super-resolver of one picture")
        self.channels = check_input(self.name, (None, None, None, found.input_channels))
        check_output(self.name, (None, None, None, found.output_channels), channels=self.channels)
        self.kind, self.source_hash = f"{kind}: {found.architecture.name}, by spandrel", source_hash
        self._model = found.model.eval()
        sizes = found.size_requirements
        side = -(-_TILE // sizes.multiple_of) * sizes.multiple_of
        self.fixed_shape = (side, side) if sizes.multiple_of > 1 or sizes.square else None
        self.notes = notes

    def export(self, height: int, width: int) -> onnx.ModelProto:
        height, width = self.fixed_shape or (height, width)
        example = (self._torch.zeros(1, self.channels, height, width),)
        said = io.StringIO()
        with self._torch.inference_mode(), redirect_stdout(said), redirect_stderr(said):
            program = self._torch.onnx.export(
                self._model, example, dynamo=True, opset_version=_OPSET, input_names=["input"], output_names=["output"]
            )
        model: onnx.ModelProto = program.model_proto
        return model

    def predict(self, batch: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """By PyTorch, on the CPU."""
        with self._torch.inference_mode():
            result = self._model(self._torch.from_numpy(np.ascontiguousarray(batch.transpose(0, 3, 1, 2))))
        return np.asarray(result.numpy(), np.float32).transpose(0, 2, 3, 1)
