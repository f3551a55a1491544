"""A rewrite that moves the output is undone, said, and reported."""

from __future__ import annotations

import functools
import logging

import numpy as np
import onnx_ir as ir
import pytest

from srgan_trt.compiler import graph, verify
from srgan_trt.compiler.dynamic_shape import make_dynamic
from srgan_trt.compiler.polyphase import shuffled
from srgan_trt.compiler.tail import detach_shuffle

from .graphs import Network, kinds, picture, run


def checker() -> verify.RewriteChecker:
    net = Network()
    end = net.node("DepthToSpace", net.conv(net.node("Relu", net.conv("input", 3, 8)), 8, 12), blocksize=2)
    model = net.model(end, (1, 3, 9, 11))
    assert make_dynamic(model) == []
    return verify.RewriteChecker(model, input_range=(0, 1), output_range=(0, 1), shape=None, multiple=1)


def scale_weights(factor: float) -> object:
    def change(model: ir.Model) -> int:
        weight = next(value for value in model.graph.initializers.values() if len(graph.dims(value) or []) == 4)
        array = graph.constant(weight)
        assert array is not None
        weight.const_value = ir.tensor(array * np.float32(factor), name=weight.name)
        return 1

    return change


def test_a_rewrite_that_changes_nothing_is_kept() -> None:
    subject = checker()
    subject.rewrite("shuffle", functools.partial(detach_shuffle, scale=2), ends_in_shuffle=True)
    (proof,) = subject.checks
    assert (proof.count, proof.kept, subject.shuffle) == (1, True, 2)
    assert proof.difference < 1e-6
    x = picture(1, 3, 5, 4)
    assert shuffled(run(subject.model, x), 2).shape == (1, 3, 10, 8)


def test_a_wrong_rewrite_is_undone_and_said(caplog: pytest.LogCaptureFixture) -> None:
    subject = checker()
    x = picture(1, 3, 5, 4)
    expected = run(subject.model, x)
    with caplog.at_level(logging.WARNING):
        subject.rewrite("spoil", scale_weights(1.01))  # type: ignore[arg-type]
    assert not subject.checks[0].kept
    assert subject.checks[0].difference > verify.TOLERANCE
    assert "spoil" in caplog.text
    np.testing.assert_array_equal(run(subject.model, x), expected)


def test_a_rewrite_below_the_tolerance_passes() -> None:
    subject = checker()
    subject.rewrite("rounding", scale_weights(1 + 1e-6))  # type: ignore[arg-type]
    assert subject.checks[0].kept
    assert kinds(subject.model)[-1] == "DepthToSpace"


def test_shapes_and_nans_that_differ_are_infinitely_far() -> None:
    one = np.ones((1, 3, 2, 2), np.float32)
    assert verify.difference(one, np.ones((1, 3, 2, 3), np.float32), 1) == float("inf")
    assert verify.difference(one * np.nan, one, 1) == float("inf")
    assert verify.difference(one, one + 1, 2) == 0.5
