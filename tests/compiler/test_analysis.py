"""Receptive field and work, against a network that is run and against the papers."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from srgan_trt.compiler.analysis import macs_per_pixel, receptive_field
from srgan_trt.compiler.dynamic_shape import make_dynamic

from .graphs import Network, picture, run


def generator(net: Network, *, blocks: int, filters: int = 8, seed_tail: bool = False) -> str:
    """The paper's generator, or with ``seed_tail`` the enlarging variant, with few filters."""
    x = skip = net.node("Relu", net.conv("input", 3, filters, 9))
    for _ in range(blocks):
        x = net.node("Add", net.conv(net.node("Relu", net.conv(x, filters, filters)), filters, filters), x)
    x = net.node("Add", net.conv(x, filters, filters), skip)
    for _ in range(2):
        if seed_tail:
            x = net.conv(net.nearest(x, 2), filters, filters)
        else:
            x = net.node("DepthToSpace", net.conv(x, filters, 4 * filters), blocksize=2)
        x = net.node("Relu", x)
    return net.node("Tanh", net.conv(x, filters, 3, 9))


def free(net: Network, output: str) -> ir.Model:
    model = net.model(output, (1, 3, 12, 16))
    assert make_dynamic(model) == []
    return model


@pytest.mark.parametrize(("seed_tail", "radius", "halo"), [(False, 39.5, 40), (True, 38.75, 39)])
def test_radius_of_the_known_generators(seed_tail: bool, radius: float, halo: int) -> None:
    net = Network()
    field = receptive_field(free(net, generator(net, blocks=16, seed_tail=seed_tail)))
    assert field.scale == 4
    assert field.radius == radius
    assert field.halo == halo
    assert field.multiple == 1


def depends_on(model: ir.Model, pixel: int, width: int, scale: int) -> tuple[int, int]:
    """How far left and right of input column ``pixel`` the output pixels made of it look, by disturbing columns."""
    x = picture(1, 3, 4, width)
    block = slice(pixel * scale, (pixel + 1) * scale)
    clean = run(model, x)[..., block]
    touched = []
    for column in range(width):
        disturbed = x.copy()
        disturbed[..., column] += 10
        if np.abs(run(model, disturbed)[..., block] - clean).max() > 0:
            touched.append(column)
    return pixel - touched[0], touched[-1] - pixel


@pytest.mark.parametrize("seed_tail", [False, True])
def test_halo_is_what_a_disturbed_network_shows(seed_tail: bool) -> None:
    net = Network()
    model = free(net, generator(net, blocks=1, seed_tail=seed_tail))
    field = receptive_field(model)
    assert max(depends_on(model, 20, 41, 4)) == field.halo


@pytest.mark.parametrize("kind", ["linear", "transposed", "asymmetric"])
def test_halo_of_other_enlargements_is_never_too_small(kind: str) -> None:
    net = Network()
    x = net.conv("input", 3, 8, 5)
    if kind == "linear":
        scales = net.constant(np.array([1, 1, 2, 2], np.float32))
        x = net.node("Resize", x, "", scales, mode="linear", coordinate_transformation_mode="half_pixel")
    elif kind == "transposed":
        weight = net.constant(net.random.normal(0, 0.1, (8, 8, 3, 3)).astype(np.float32))
        x = net.node("ConvTranspose", x, weight, strides=[2, 2], pads=[0, 0, 1, 1])
    else:
        x = net.conv(net.nearest(x, 2), 8, 8, 2, pads=[0, 0, 1, 1])
    model = free(net, net.conv(x, 8, 3, 3))
    field = receptive_field(model)
    assert field.halo is not None
    reach = max(depends_on(model, 12, 25, 2))
    assert reach <= field.halo <= reach + 1


def test_downscaling_inside_asks_for_multiples() -> None:
    net = Network()
    low = net.conv(net.conv("input", 3, 8, 3, strides=[2, 2]), 8, 8, 3, strides=[2, 2])
    model = net.model(net.conv(net.nearest(low, 4), 8, 3), (1, 3, 16, 16))
    field = receptive_field(model)
    assert field.multiple == 4
    assert field.scale == 1


def test_a_global_mean_sees_the_whole_picture() -> None:
    net = Network()
    features = net.conv("input", 3, 8)
    model = net.model(net.conv(net.node("Mul", features, net.node("GlobalAveragePool", features)), 8, 3), (1, 3, 9, 9))
    assert receptive_field(model).halo is None


@pytest.mark.parametrize("kind", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize("last", [False, True], ids=["channels first", "channels last"])
@pytest.mark.parametrize("channels", [True, False], ids=["over channels", "over rows"])
def test_a_softmax_over_channels_sees_one_pixel(kind: str, last: bool, channels: bool) -> None:
    """As TensorFlow exports it, between two transposes, or by itself; over rows it sees all of them."""
    net = Network()
    x = net.conv("input", 3, 3)
    if last:
        x = net.node("Transpose", x, perm=[0, 2, 3, 1])
    x = net.node(kind, x, axis=(-1 if last else 1) if channels else (1 if last else 2))
    if last:
        x = net.node("Transpose", x, perm=[0, 3, 1, 2])
    model = net.model(x, (1, 3, 8, 9))
    assert receptive_field(model).halo == (1 if channels else None)
    assert make_dynamic(model) == []
    assert receptive_field(model).halo == (1 if channels else None)


def test_work_per_input_pixel() -> None:
    net = Network()
    x = net.conv("input", 3, 16, 3)
    x = net.conv(net.node("DepthToSpace", x, blocksize=2), 4, 3, 5)
    assert macs_per_pixel(net.model(x, (1, 3, 9, 11))) == 3 * 16 * 9 + 4 * 3 * 25 * 4
