"""Super-resolvers that are known by the names of their weights, written to ONNX as their papers and programs have them.

ESRGAN: Wang et al., ECCV workshops 2018 (arXiv 1809.00219); Real-ESRGAN, arXiv 2107.10833, which also has the compact
one; SRResNet: Ledig et al., CVPR 2017 (arXiv 1609.04802); SPAN: Wan et al., CVPR workshops 2024 (arXiv 2311.12770).
Tests hold each to what PyTorch gives.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import ModelError
from .graph_writer import Blob
from .stored_tensor import StoredTensor
from .torch_layers import Layers, shuffle_factor

_MOST_DOUBLINGS = 4
_SPAN_MEAN, _SPAN_RANGE = (0.4488, 0.4371, 0.4040), 255.0
"""What SPAN takes off each colour, and multiplies by; files do not tell, and none with others is known."""


_IGNORED = re.compile(r".*\.num_batches_tracked")
"""Names of what a file may have besides: a batch norm's counter."""

Names = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TorchArchitecture:
    """A network whose weights can be told by their names."""

    name: str
    signs: tuple[str, ...]
    """Names of arrays that all of its files have, as ``write`` calls them."""
    write: Callable[[Layers, Blob], Blob]
    """Writes it behind the picture; returns what it gives. Raises ModelError if weights are missing or do not fit."""
    rename: Callable[[Iterable[str]], Names] = lambda names: {}
    """Of the names in a file those that ``write`` calls otherwise, and how."""

    def known(self, tensors: Mapping[str, StoredTensor]) -> dict[str, StoredTensor] | None:
        """``tensors`` by the names that ``write`` takes; None if they are of another architecture."""
        renamed = self.rename(tensors)
        named = {renamed.get(name, name): tensor for name, tensor in tensors.items()}
        return named if named.keys() >= set(self.signs) else None


def left_over(layers: Layers) -> list[str]:
    """The arrays that no layer has."""
    return [name for name in layers.arrays if name not in layers.taken and not _IGNORED.fullmatch(name)]


def _esrgan(layers: Layers, x: Blob) -> Blob:
    first = features = layers.unshuffled_conv(x, "conv_first")
    for block in range(layers.count("body.{}.rdb1.conv1.weight")):
        start = features
        for dense in (1, 2, 3):
            features = _dense_block(layers, features, f"body.{block}.rdb{dense}")
        features = layers.combine("Add", start, layers.by_constant("Mul", features, 0.2))
    features = layers.combine("Add", first, layers.conv(features, "conv_body"))
    doublings = layers.count("conv_up{}.weight", first=1)
    if doublings > _MOST_DOUBLINGS:
        raise ModelError(f"it doubles the size {doublings} times")
    for number in range(1, doublings + 1):
        features = layers.leaky_relu(layers.conv(layers.enlarge(features, 2), f"conv_up{number}"), 0.2)
    return layers.conv(layers.leaky_relu(layers.conv(features, "conv_hr"), 0.2), "conv_last", x.channels)


def _dense_block(layers: Layers, x: Blob, name: str) -> Blob:
    known = x
    for number in (1, 2, 3, 4):
        known = layers.concat(known, layers.leaky_relu(layers.conv(known, f"{name}.conv{number}"), 0.2))
    last = layers.conv(known, f"{name}.conv5", x.channels)
    return layers.combine("Add", x, layers.by_constant("Mul", last, 0.2))


def _compact(layers: Layers, x: Blob) -> Blob:
    features, number = x, 0
    while f"body.{number + 1}.weight" in layers.arrays:
        features = layers.prelu(layers.conv(features, f"body.{number}"), f"body.{number + 1}")
        number += 2
    features = layers.conv(features, f"body.{number}")
    factor = shuffle_factor(f"body.{number}", features.channels, x.channels)
    return layers.combine("Add", layers.shuffle(features, factor), layers.enlarge(x, factor))


def _msrresnet(layers: Layers, x: Blob) -> Blob:
    features = layers.leaky_relu(layers.conv(x, "conv_first"), 0.1)
    for block in range(layers.count("body.{}.conv1.weight")):
        inner = layers.apply("Relu", layers.conv(features, f"body.{block}.conv1"))
        features = layers.combine("Add", features, layers.conv(inner, f"body.{block}.conv2"))
    scale = 1
    for name in ("upconv1", "upconv2"):
        if f"{name}.weight" in layers.arrays:
            wide = layers.conv(features, name)
            factor = shuffle_factor(name, wide.channels, features.channels)
            features = layers.leaky_relu(layers.shuffle(wide, factor), 0.1)
            scale *= factor
    result = layers.conv(layers.leaky_relu(layers.conv(features, "conv_hr"), 0.1), "conv_last", x.channels)
    return layers.combine("Add", result, layers.enlarge(x, scale, "linear"))


def _srresnet(layers: Layers, x: Blob) -> Blob:
    """With batch norms and 9x9 ends, as the SRGAN paper's generator; without the last activation."""
    first = features = layers.prelu(layers.conv(x, "first.conv"), "first.prelu")
    for block in range(layers.count("trunk.{}.conv1.weight")):
        name = f"trunk.{block}"
        inner = layers.prelu(layers.batch_norm(layers.conv(features, f"{name}.conv1"), f"{name}.bn1"), f"{name}.prelu")
        inner = layers.batch_norm(layers.conv(inner, f"{name}.conv2"), f"{name}.bn2")
        features = layers.combine("Add", features, inner)
    # the first files of leftthomas/SRGAN have a PReLU where the paper has a batch norm
    end = layers.batch_norm if "middle.end.running_mean" in layers.arrays else layers.prelu
    features = layers.combine("Add", first, end(layers.conv(features, "middle.conv"), "middle.end"))
    for number in range(layers.count("up.{}.conv.weight")):
        wide = layers.conv(features, f"up.{number}.conv")
        factor = shuffle_factor(f"up.{number}.conv", wide.channels, features.channels)
        features = layers.prelu(layers.shuffle(wide, factor), f"up.{number}.prelu")
    return layers.conv(features, "last", x.channels)


def _srresnet_tanh(layers: Layers, x: Blob) -> Blob:
    """-1..1 brought to 0..1."""
    result = layers.apply("Tanh", _srresnet(layers, x))
    return layers.by_constant("Mul", layers.by_constant("Add", result, 1.0), 0.5)


def _span(layers: Layers, x: Blob) -> Blob:
    start = x
    if "no_norm" in layers.arrays:
        layers.taken.add("no_norm")
    else:
        start = layers.by_constant("Mul", layers.by_constant("Add", x, *(-mean for mean in _SPAN_MEAN)), _SPAN_RANGE)
    first = features = _merged_conv(layers, start, "conv_1")
    ends = []
    inner = first
    for number in range(1, 7):
        features, inner = _attention_block(layers, features, f"block_{number}")
        ends.append(features)
    last = _merged_conv(layers, features, "conv_2")
    joined = layers.conv(layers.concat(first, last, ends[0], inner), "conv_cat")
    wide = layers.conv(joined, "upsampler.0")
    return layers.shuffle(wide, shuffle_factor("upsampler.0", wide.channels, x.channels))


def _attention_block(layers: Layers, x: Blob, name: str) -> tuple[Blob, Blob]:
    """SPAN's block without parameters of its own for attention; and what its first convolution gives, activated."""
    first = _swish(layers, _merged_conv(layers, x, f"{name}.c1_r"))
    second = _swish(layers, _merged_conv(layers, first, f"{name}.c2_r"))
    third = _merged_conv(layers, second, f"{name}.c3_r")
    attention = layers.by_constant("Add", layers.apply("Sigmoid", third), -0.5)
    return layers.combine("Mul", layers.combine("Add", third, x), attention), first


def _swish(layers: Layers, x: Blob) -> Blob:
    return layers.combine("Mul", x, layers.apply("Sigmoid", x))


def _merged_conv(layers: Layers, x: Blob, name: str) -> Blob:
    """A 3x3 convolution that was trained as 1x1, 3x3 and 1x1 in a row beside a 1x1, and computes as one.

    Files also hold it merged, as ``eval_conv``, perhaps of an earlier step: that is taken only where it is alone.
    """
    for part in ("weight", "bias"):
        layers.taken.add(f"{name}.eval_conv.{part}")
    if f"{name}.sk.weight" not in layers.arrays:
        return layers.conv(x, f"{name}.eval_conv")
    beside = layers.take(f"{name}.sk.weight", None, x.channels, 1, 1)
    filters = beside.shape[0]
    inner = layers.take(f"{name}.conv.0.weight", None, x.channels, 1, 1)
    middle = layers.take(f"{name}.conv.1.weight", None, inner.shape[0], 3, 3)
    outer = layers.take(f"{name}.conv.2.weight", filters, middle.shape[0], 1, 1)
    a, b, c = (array.astype(np.float64) for array in (inner[:, :, 0, 0], middle, outer[:, :, 0, 0]))
    weight = np.einsum("om,mnyx,ni->oiyx", c, b, a, optimize=True)
    weight[:, :, 1, 1] += beside[:, :, 0, 0]
    biases = (layers.take(f"{name}.{part}.bias", None) for part in ("conv.0", "conv.1", "conv.2", "sk"))
    first, second, third, fourth = (bias.astype(np.float64) for bias in biases)
    if [len(bias) for bias in (first, second, third, fourth)] != [len(a), len(b), filters, filters]:
        raise ModelError(f"{name} has biases that do not fit its weights")
    bias = c @ (b.sum(axis=(2, 3)) @ first + second) + third + fourth
    return layers.conv_of(x, name, weight.astype(np.float32), bias.astype(np.float32))


def _by_patterns(*pairs: tuple[str, str | Callable[[re.Match[str]], str]]) -> Callable[[Iterable[str]], Names]:
    """What renames by patterns of whole names, the first that fits."""

    def rename(names: Iterable[str]) -> Names:
        found = {}
        for name in names:
            for pattern, new in pairs:
                if match := re.fullmatch(pattern, name):
                    found[name] = new(match) if callable(new) else match.expand(new)
                    break
        return found

    return rename


def _old_esrgan_names(names: Iterable[str]) -> Names:
    """Behind the blocks old files only number their layers: (enlargement, convolution, activation) for each doubling,
    convolution, activation, convolution."""
    names = list(names)
    doublings = sum(f"model.{3 * number}.weight" in names for number in range(1, _MOST_DOUBLINGS + 1))
    ends = {3 * doublings + 2: "conv_hr", 3 * doublings + 4: "conv_last", 0: "conv_first"}
    ends |= {3 * number: f"conv_up{number}" for number in range(1, doublings + 1)}
    return _by_patterns(
        (r"model\.1\.sub\.(\d+)\.RDB(\d)\.conv(\d)\.0\.(.*)", r"body.\1.rdb\2.conv\3.\4"),
        (r"model\.1\.sub\.\d+\.(weight|bias)", r"conv_body.\1"),
        (r"model\.(\d\d?)\.(weight|bias)", lambda match: f"{ends.get(int(match[1]), match[1])}.{match[2]}"),
    )(names)


_RRDB_SIGNS = ("conv_first.weight", "body.0.rdb1.conv1.weight", "conv_body.weight")
_SRRESNET_SIGNS = ("first.conv.weight", "first.prelu.weight", "trunk.0.bn1.weight", "middle.end.weight", "last.weight")
_ENDS = (r"HRconv\.(.*)", r"conv_hr.\1")

ARCHITECTURES = (
    TorchArchitecture("ESRGAN (RRDB)", _RRDB_SIGNS, _esrgan),
    TorchArchitecture(
        "ESRGAN (RRDB)",
        _RRDB_SIGNS,
        _esrgan,
        _by_patterns(
            (r"RRDB_trunk\.(\d+)\.RDB(\d)\.(.*)", r"body.\1.rdb\2.\3"),
            (r"trunk_conv\.(.*)", r"conv_body.\1"),
            (r"upconv(\d)\.(.*)", r"conv_up\1.\2"),
            _ENDS,
        ),
    ),
    TorchArchitecture("ESRGAN (RRDB)", _RRDB_SIGNS, _esrgan, _old_esrgan_names),
    TorchArchitecture("Compact (SRVGG)", ("body.0.weight", "body.1.weight", "body.2.weight"), _compact),
    TorchArchitecture(
        "SRResNet (MSRResNet)",
        ("conv_first.weight", "body.0.conv1.weight", "body.0.conv2.weight", "conv_hr.weight", "conv_last.weight"),
        _msrresnet,
        _by_patterns((r"recon_trunk\.(.*)", r"body.\1"), _ENDS),
    ),
    TorchArchitecture(
        "SRResNet (SRGAN-PyTorch)",
        _SRRESNET_SIGNS,
        _srresnet,
        _by_patterns(
            (r"conv(?:_block)?1\.0\.(.*)", r"first.conv.\1"),
            (r"conv(?:_block)?1\.1\.(.*)", r"first.prelu.\1"),
            (r"trunk\.(\d+)\.rcb\.0\.(.*)", r"trunk.\1.conv1.\2"),
            (r"trunk\.(\d+)\.rcb\.1\.(.*)", r"trunk.\1.bn1.\2"),
            (r"trunk\.(\d+)\.rcb\.2\.(.*)", r"trunk.\1.prelu.\2"),
            (r"trunk\.(\d+)\.rcb\.3\.(.*)", r"trunk.\1.conv2.\2"),
            (r"trunk\.(\d+)\.rcb\.4\.(.*)", r"trunk.\1.bn2.\2"),
            (r"conv(?:_block)?2\.0\.(.*)", r"middle.conv.\1"),
            (r"conv(?:_block)?2\.1\.(.*)", r"middle.end.\1"),
            (r"upsampling\.(\d+)\.upsample_block\.0\.(.*)", r"up.\1.conv.\2"),
            (r"upsampling\.(\d+)\.upsample_block\.2\.(.*)", r"up.\1.prelu.\2"),
            (r"conv(?:_block)?3\.(weight|bias)", r"last.\1"),
        ),
    ),
    TorchArchitecture(
        "SRResNet (SRGAN, tanh)",
        _SRRESNET_SIGNS,
        _srresnet_tanh,
        _by_patterns(
            (r"block1\.0\.(.*)", r"first.conv.\1"),
            (r"block1\.1\.(.*)", r"first.prelu.\1"),
            (r"block([2-6])\.((?:conv|bn|prelu).*)", lambda match: f"trunk.{int(match[1]) - 2}.{match[2]}"),
            (r"block7\.0\.(.*)", r"middle.conv.\1"),
            (r"block7\.1\.(.*)", r"middle.end.\1"),
            (r"block8\.(\d+)\.((?:conv|prelu)\..*)", r"up.\1.\2"),
            (r"block8\.\d+\.(weight|bias)", r"last.\1"),
        ),
    ),
    TorchArchitecture("SPAN", ("conv_cat.weight", "upsampler.0.weight", "conv_1.eval_conv.weight"), _span),
)
"""Those that are read; the first whose signs a file has is taken."""

_LIKELY = (
    ("relative_position_bias_table", "a transformer such as SwinIR or HAT"),
    (
        "res_blocks.0.conv_block.0.weight",
        "PyTorch-GAN, whose program shifts the colours outside of it",
    ),
    ("conv_block1.conv_block.0.weight", "an SRResNet whose program shifts the colours outside of it"),
    ("tail.0.0.weight", "EDSR, or a network like it"),
    ("rdbs.", "RDN"),
    ("weight_orig", "a discriminator with spectral norms"),
    ("classifier.", "a discriminator or a classifier"),
    ("linear1.weight", "a discriminator"),
    ("layers.0.", "a transformer"),
)


def likely(names: Iterable[str]) -> str | None:
    """What weights of these names may be of, for people; None if nobody knows."""
    names = list(names)
    return next((what for sign, what in _LIKELY if any(sign in name for name in names)), None)
