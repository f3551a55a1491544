"""onnxruntime as the oracle: what a graph computes, whatever we believe of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError

if TYPE_CHECKING:
    import onnx

Floats = NDArray[np.float32]


class Oracle:
    """Runs an ONNX model on the CPU in float32. Input and output NCHW float32."""

    def __init__(self, model: onnx.ModelProto, *, optimise: bool = True) -> None:
        """optimise: that onnxruntime may rewrite the graph, which takes longer than it gains where there are thousands
        of small nodes."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if not optimise:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            self._session: Any = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's own exceptions share no base class but Exception
            raise ModelError(f"onnxruntime cannot run the network: {_first_line(error)}") from error
        self._input = self._session.get_inputs()[0].name

    def __call__(self, batch: Floats) -> Floats:
        return self.every_output(batch)[0]

    def every_output(self, batch: Floats) -> list[Floats]:
        """All outputs of a model that has several, in its order."""
        try:
            results: list[Floats] = self._session.run(None, {self._input: batch})
        except Exception as error:
            raise ModelError(
                f"the network does not run on an input of {batch.shape[2]}x{batch.shape[3]}: {_first_line(error)}"
            ) from error
        return results


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300]
