"""Super-resolvers as their papers have them, by the names in their files: run by NumPy, and by PyTorch where it is.

They are written independently of srgan_trt: pictures are unshuffled, and SPAN's convolutions are computed as they were
trained, one after the other.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .ncnn_nets import Floats, conv, resized, shuffled

State = dict[str, Floats]


class ByNumpy:
    """On pictures (C, H, W)."""

    def conv(self, x: Any, weight: Any, bias: Any = None, *, pad: int | None = None) -> Any:
        return conv(x, weight, bias, pads=(weight.shape[2] // 2 if pad is None else pad,) * 4)

    def leaky(self, x: Any, slope: Any) -> Any:
        return np.where(x < 0, x * np.reshape(slope, (-1, 1, 1)), x).astype(np.float32)

    def norm(self, x: Any, weight: Any, bias: Any, mean: Any, var: Any) -> Any:
        scale = (weight / np.sqrt(var + 1e-5))[:, None, None]
        return (x - mean[:, None, None]) * scale + bias[:, None, None]

    def shuffle(self, x: Any, factor: int) -> Any:
        return shuffled(x, factor, colours_first=True)

    def unshuffle(self, x: Any, factor: int) -> Any:
        channels, height, width = len(x), x.shape[1] // factor, x.shape[2] // factor
        blocks = x.reshape(channels, height, factor, width, factor).transpose(0, 2, 4, 1, 3)
        return blocks.reshape(-1, height, width)

    def enlarge(self, x: Any, factor: int, kind: str) -> Any:
        return resized(x, factor, kind)

    def cat(self, *parts: Any) -> Any:
        return np.concatenate(parts)

    def sigmoid(self, x: Any) -> Any:
        return 1 / (1 + np.exp(-x))

    def tanh(self, x: Any) -> Any:
        return np.tanh(x)

    def colours(self, *values: float) -> Any:
        return np.array(values, np.float32)[:, None, None]

    def pad(self, x: Any) -> Any:
        return np.pad(x, ((0, 0), (1, 1), (1, 1)))


class ByTorch(ByNumpy):
    """On tensors (1, C, H, W)."""

    def __init__(self, torch: Any) -> None:
        self._torch, self._functional = torch, torch.nn.functional

    def conv(self, x: Any, weight: Any, bias: Any = None, *, pad: int | None = None) -> Any:
        return self._functional.conv2d(x, weight, bias, padding=weight.shape[2] // 2 if pad is None else pad)

    def leaky(self, x: Any, slope: Any) -> Any:
        if isinstance(slope, float | int):
            return self._functional.leaky_relu(x, slope)
        return self._functional.prelu(x, slope)

    def norm(self, x: Any, weight: Any, bias: Any, mean: Any, var: Any) -> Any:
        return self._functional.batch_norm(x, mean, var, weight, bias)

    def shuffle(self, x: Any, factor: int) -> Any:
        return self._functional.pixel_shuffle(x, factor)

    def unshuffle(self, x: Any, factor: int) -> Any:
        return self._functional.pixel_unshuffle(x, factor)

    def enlarge(self, x: Any, factor: int, kind: str) -> Any:
        mode = {"mode": "nearest"} if kind == "nearest" else {"mode": "bilinear", "align_corners": False}
        return self._functional.interpolate(x, scale_factor=factor, **mode)

    def cat(self, *parts: Any) -> Any:
        return self._torch.cat(parts, 1)

    def sigmoid(self, x: Any) -> Any:
        return self._torch.sigmoid(x)

    def tanh(self, x: Any) -> Any:
        return self._torch.tanh(x)

    def colours(self, *values: float) -> Any:
        return self._torch.tensor(values).reshape(1, -1, 1, 1)

    def pad(self, x: Any) -> Any:
        return self._functional.pad(x, (1, 1, 1, 1))


class Run:
    """Weights by name, and who computes."""

    def __init__(self, state: Any, by: Any) -> None:
        self.state, self.by = state, by

    def conv(self, x: Any, name: str, *, pad: int | None = None) -> Any:
        return self.by.conv(x, self.state[f"{name}.weight"], self.state.get(f"{name}.bias"), pad=pad)

    def prelu(self, x: Any, name: str) -> Any:
        return self.by.leaky(x, self.state[f"{name}.weight"])

    def norm(self, x: Any, name: str) -> Any:
        return self.by.norm(x, *(self.state[f"{name}.{part}"] for part in ("weight", "bias", *STATISTICS)))


STATISTICS = ("running_mean", "running_var")


@dataclass
class Net:
    name: str
    """As `build` tells it."""
    state: State
    run: Callable[[Run, Any], Any]
    scale: int
    title: str = ""


class Maker:
    """Random weights of a spread that leaves values near 1."""

    def __init__(self, seed: int = 0) -> None:
        self._dice = np.random.default_rng(seed)
        self.state: State = {}

    def conv(self, name: str, channels: int, filters: int, size: int = 3, *, bias: bool = True) -> None:
        shape = (filters, channels, size, size)
        spread = 1 / np.sqrt(channels * size * size)
        self.state[f"{name}.weight"] = self._dice.normal(0, spread, shape).astype(np.float32)
        if bias:
            self.state[f"{name}.bias"] = self._dice.normal(0, 0.1, filters).astype(np.float32)

    def prelu(self, name: str, count: int) -> None:
        self.state[f"{name}.weight"] = self._dice.uniform(0.1, 0.4, count).astype(np.float32)

    def norm(self, name: str, channels: int) -> None:
        for part in ("weight", "bias", *STATISTICS):
            self.state[f"{name}.{part}"] = self._dice.uniform(0.5, 1.5, channels).astype(np.float32)
        self.state[f"{name}.num_batches_tracked"] = np.array(7, np.int64)


NEW = {
    "first": "conv_first", "block": "body.{}.rdb{}.conv{}", "trunk": "conv_body", "up": "conv_up{}",
    "hr": "conv_hr", "last": "conv_last",
}  # fmt: skip
MIDDLE = {
    "first": "conv_first", "block": "RRDB_trunk.{}.RDB{}.conv{}", "trunk": "trunk_conv", "up": "upconv{}",
    "hr": "HRconv", "last": "conv_last",
}  # fmt: skip


def old_names(blocks: int, doublings: int) -> dict[str, str]:
    end = 3 * doublings
    ups = {f"up{number}": f"model.{3 * number}" for number in range(1, doublings + 1)}
    return {
        "first": "model.0", "block": "model.1.sub.{}.RDB{}.conv{}.0", "trunk": f"model.1.sub.{blocks}", **ups,
        "hr": f"model.{end + 2}", "last": f"model.{end + 4}",
    }  # fmt: skip


def esrgan(
    names: dict[str, str], *, blocks: int = 2, doublings: int = 2, unshuffle: int = 1, filters: int = 8, grow: int = 32
) -> Net:
    up = [names.get(f"up{number}") or names["up"].format(number) for number in range(1, doublings + 1)]
    make = Maker()
    make.conv(names["first"], 3 * unshuffle**2, filters)
    for block in range(blocks):
        for dense in (1, 2, 3):
            for number in range(1, 6):
                name = names["block"].format(block, dense, number)
                make.conv(name, filters + (number - 1) * grow, filters if number == 5 else grow)
    for name in (names["trunk"], *up, names["hr"]):
        make.conv(name, filters, filters)
    make.conv(names["last"], filters, 3)

    def run(net: Run, x: Any) -> Any:
        by = net.by
        first = y = net.conv(by.unshuffle(x, unshuffle) if unshuffle > 1 else x, names["first"])
        for block in range(blocks):
            start = y
            for dense in (1, 2, 3):
                known = [y]
                for number in range(1, 5):
                    name = names["block"].format(block, dense, number)
                    known.append(by.leaky(net.conv(by.cat(*known), name), 0.2))
                y = y + 0.2 * net.conv(by.cat(*known), names["block"].format(block, dense, 5))
            y = start + 0.2 * y
        y = first + net.conv(y, names["trunk"])
        for name in up:
            y = by.leaky(net.conv(by.enlarge(y, 2, "nearest"), name), 0.2)
        return net.conv(by.leaky(net.conv(y, names["hr"]), 0.2), names["last"])

    return Net("ESRGAN (RRDB)", make.state, run, 2**doublings // unshuffle)


def compact(scale: int, *, convs: int = 3, filters: int = 8) -> Net:
    make = Maker()
    for number in range(convs + 1):
        make.conv(f"body.{2 * number}", filters if number else 3, filters)
        make.prelu(f"body.{2 * number + 1}", filters)
    make.conv(f"body.{2 * convs + 2}", filters, 3 * scale**2)

    def run(net: Run, x: Any) -> Any:
        y = x
        for number in range(convs + 1):
            y = net.prelu(net.conv(y, f"body.{2 * number}"), f"body.{2 * number + 1}")
        y = net.conv(y, f"body.{2 * convs + 2}")
        return net.by.shuffle(y, scale) + net.by.enlarge(x, scale, "nearest")

    return Net("Compact (SRVGG)", make.state, run, scale)


def msrresnet(scale: int, *, old: bool = False, blocks: int = 2, filters: int = 8) -> Net:
    trunk, high = ("recon_trunk", "HRconv") if old else ("body", "conv_hr")
    steps = {2: [2], 3: [3], 4: [2, 2]}[scale]
    make = Maker()
    make.conv("conv_first", 3, filters)
    for block in range(blocks):
        for number in (1, 2):
            make.conv(f"{trunk}.{block}.conv{number}", filters, filters)
    for number, factor in enumerate(steps, 1):
        make.conv(f"upconv{number}", filters, filters * factor**2)
    make.conv(high, filters, filters)
    make.conv("conv_last", filters, 3)

    def run(net: Run, x: Any) -> Any:
        by = net.by
        y = by.leaky(net.conv(x, "conv_first"), 0.1)
        for block in range(blocks):
            inner = by.leaky(net.conv(y, f"{trunk}.{block}.conv1"), 0.0)
            y = y + net.conv(inner, f"{trunk}.{block}.conv2")
        for number, factor in enumerate(steps, 1):
            y = by.leaky(by.shuffle(net.conv(y, f"upconv{number}"), factor), 0.1)
        y = net.conv(by.leaky(net.conv(y, high), 0.1), "conv_last")
        return y + by.enlarge(x, scale, "linear")

    return Net("SRResNet (MSRResNet)", make.state, run, scale)


def srgan_pytorch(doublings: int, *, ends: str = "conv", blocks: int = 2, filters: int = 8) -> Net:
    make = Maker()
    make.conv(f"{ends}1.0", 3, filters, 9)
    make.prelu(f"{ends}1.1", 1)
    for block in range(blocks):
        for part, what in enumerate(("conv", "norm", "prelu", "conv", "norm")):
            name = f"trunk.{block}.rcb.{part}"
            if what == "conv":
                make.conv(name, filters, filters, bias=False)
            elif what == "norm":
                make.norm(name, filters)
            else:
                make.prelu(name, 1)
    make.conv(f"{ends}2.0", filters, filters, bias=False)
    make.norm(f"{ends}2.1", filters)
    for number in range(doublings):
        make.conv(f"upsampling.{number}.upsample_block.0", filters, 4 * filters)
        make.prelu(f"upsampling.{number}.upsample_block.2", 1)
    make.conv(f"{ends}3", filters, 3, 9)

    def run(net: Run, x: Any) -> Any:
        first = y = net.prelu(net.conv(x, f"{ends}1.0"), f"{ends}1.1")
        for block in range(blocks):
            name = f"trunk.{block}.rcb"
            inner = net.prelu(net.norm(net.conv(y, f"{name}.0"), f"{name}.1"), f"{name}.2")
            y = y + net.norm(net.conv(inner, f"{name}.3"), f"{name}.4")
        y = first + net.norm(net.conv(y, f"{ends}2.0"), f"{ends}2.1")
        for number in range(doublings):
            name = f"upsampling.{number}.upsample_block"
            y = net.prelu(net.by.shuffle(net.conv(y, f"{name}.0"), 2), f"{name}.2")
        return net.conv(y, f"{ends}3")

    return Net("SRResNet (SRGAN-PyTorch)", make.state, run, 2**doublings)


def srgan_tanh(doublings: int, *, early: bool = False, filters: int = 8) -> Net:
    """early: with a PReLU in place of the last batch norm."""
    make = Maker()
    make.conv("block1.0", 3, filters, 9)
    make.prelu("block1.1", 1)
    for block in range(2, 7):
        for number in (1, 2):
            make.conv(f"block{block}.conv{number}", filters, filters)
            make.norm(f"block{block}.bn{number}", filters)
        make.prelu(f"block{block}.prelu", 1)
    make.conv("block7.0", filters, filters)
    if early:
        make.prelu("block7.1", 1)
    else:
        make.norm("block7.1", filters)
    for number in range(doublings):
        make.conv(f"block8.{number}.conv", filters, 4 * filters)
        make.prelu(f"block8.{number}.prelu", 1)
    make.conv(f"block8.{doublings}", filters, 3, 9)

    def run(net: Run, x: Any) -> Any:
        first = y = net.prelu(net.conv(x, "block1.0"), "block1.1")
        for block in range(2, 7):
            name = f"block{block}"
            inner = net.prelu(net.norm(net.conv(y, f"{name}.conv1"), f"{name}.bn1"), f"{name}.prelu")
            y = y + net.norm(net.conv(inner, f"{name}.conv2"), f"{name}.bn2")
        y = first + (net.prelu if early else net.norm)(net.conv(y, "block7.0"), "block7.1")
        for number in range(doublings):
            y = net.prelu(net.by.shuffle(net.conv(y, f"block8.{number}.conv"), 2), f"block8.{number}.prelu")
        return (net.by.tanh(net.conv(y, f"block8.{doublings}")) + 1) / 2

    return Net("SRResNet (SRGAN, tanh)", make.state, run, 2**doublings)


def span(scale: int, *, normed: bool = True, filters: int = 8) -> Net:
    make = Maker()

    def merged(name: str, channels: int) -> None:
        make.conv(f"{name}.sk", channels, filters, 1)
        make.conv(f"{name}.conv.0", channels, 2 * channels, 1)
        make.conv(f"{name}.conv.1", 2 * channels, 2 * filters, 3)
        make.conv(f"{name}.conv.2", 2 * filters, filters, 1)
        make.conv(f"{name}.eval_conv", channels, filters, 3)  # of no step of the training: never to be used

    merged("conv_1", 3)
    for block in range(1, 7):
        for number in (1, 2, 3):
            merged(f"block_{block}.c{number}_r", filters)
    make.conv("conv_cat", 4 * filters, filters, 1)
    merged("conv_2", filters)
    make.conv("upsampler.0", filters, 3 * scale**2)
    if normed:  # what pixels of 0..255 would give must not drown the rest
        make.state["conv_1.sk.weight"] /= 255
        make.state["conv_1.conv.0.weight"] /= 255
    else:
        make.state["no_norm"] = np.zeros(1, np.float32)

    def run(net: Run, x: Any) -> Any:
        by = net.by

        def trained(y: Any, name: str) -> Any:
            wide = net.conv(by.pad(y), f"{name}.conv.0")
            return net.conv(net.conv(wide, f"{name}.conv.1", pad=0), f"{name}.conv.2") + net.conv(y, f"{name}.sk")

        def swish(y: Any) -> Any:
            return y * by.sigmoid(y)

        if normed:
            x = (x - by.colours(0.4488, 0.4371, 0.4040)) * 255
        first = y = trained(x, "conv_1")
        ends = []
        for block in range(1, 7):
            name = f"block_{block}"
            inner = swish(trained(y, f"{name}.c1_r"))
            third = trained(swish(trained(inner, f"{name}.c2_r")), f"{name}.c3_r")
            y = (third + y) * (by.sigmoid(third) - 0.5)
            ends.append(y)
        joined = net.conv(by.cat(first, trained(y, "conv_2"), ends[0], inner), "conv_cat")
        return by.shuffle(net.conv(joined, "upsampler.0"), scale)

    return Net("SPAN", make.state, run, scale)


def named(net: Net, title: str) -> Net:
    net.title = title
    return net


NETS = [
    named(esrgan(NEW), "ESRGAN x4"),
    named(esrgan(NEW, unshuffle=2), "ESRGAN x2, unshuffled"),
    named(esrgan(NEW, unshuffle=4), "ESRGAN x1, unshuffled"),
    named(esrgan(MIDDLE), "ESRGAN x4, MMSR's names"),
    named(esrgan(MIDDLE, doublings=1), "ESRGAN x2, MMSR's names"),
    *(named(esrgan(old_names(2, count), doublings=count), f"ESRGAN x{2**count}, old names") for count in range(4)),
    named(esrgan(old_names(2, 2), unshuffle=2), "ESRGAN x2, old names, unshuffled"),
    *(named(compact(scale), f"Compact x{scale}") for scale in (1, 2, 3, 4)),
    *(named(msrresnet(scale), f"MSRResNet x{scale}") for scale in (2, 3, 4)),
    named(msrresnet(4, old=True), "MSRResNet x4, MMSR's names"),
    *(named(srgan_pytorch(count), f"SRGAN-PyTorch x{2**count}") for count in (1, 2, 3)),
    named(srgan_pytorch(2, ends="conv_block"), "SRGAN-PyTorch x4, earlier names"),
    *(named(srgan_tanh(count), f"SRGAN with tanh x{2**count}") for count in (1, 2)),
    named(srgan_tanh(2, early=True), "SRGAN with tanh x4, early"),
    *(named(span(scale), f"SPAN x{scale}") for scale in (2, 4)),
    named(span(4, normed=False), "SPAN x4, not normed"),
]


def merged_only(state: State) -> State:
    """SPAN's weights as a program for running may keep them: each convolution merged, and nothing else of it."""
    return {name: array for name, array in state.items() if not re.search(r"\.(sk|conv\.\d)\.", name)}
