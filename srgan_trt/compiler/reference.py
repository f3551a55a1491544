"""Runs a graph in onnxruntime on the CPU: the reference for every rewrite."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError, one_line
from ..models.onnx_run import Session

if TYPE_CHECKING:
    import onnx

Floats = NDArray[np.float32]


class ReferenceRunner:
    """Runs an ONNX model on the CPU in float32. Input and output NCHW float32."""

    def __init__(self, model: onnx.ModelProto, *, optimise: bool = True) -> None:
        """optimise: whether onnxruntime may rewrite the graph, which takes longer than it gains for thousands of small
        nodes."""
        try:
            self._session = Session(model, optimise=optimise)
        except Exception as error:  # onnxruntime's own exceptions share no base class but Exception
            raise ModelError(f"onnxruntime cannot run the network: {one_line(error, most=300)}") from error

    def __call__(self, batch: Floats) -> Floats:
        return self.every_output(batch)[0]

    def every_output(self, batch: Floats) -> list[Floats]:
        """All outputs of a model that has several, in its order."""
        try:
            return self._session.run(batch)
        except Exception as error:
            raise ModelError(
                f"the network does not run on an input of {batch.shape[2]}x{batch.shape[3]}: "
                f"{one_line(error, most=300)}"
            ) from error
