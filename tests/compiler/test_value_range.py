"""Ranges are found by consistency, and a network that is not a super-resolver is refused."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from srgan_trt.compiler.io_normalization import Normalization
from srgan_trt.compiler.value_range import USUAL, Range, find_ranges
from srgan_trt.errors import ModelError

Floats = NDArray[np.float32]


def enlarger(input_range: Range, output_range: Range, *, scale: int = 2) -> object:
    """Repeats pixels, and inverts what does not fill its input range (so that only one range is right)."""

    def network(batch: Floats) -> Floats:
        level = (batch - input_range[0]) / (input_range[1] - input_range[0])
        if abs(level.min()) > 0.01 or abs(level.max() - 1) > 0.01:
            level = 1 - level
        mapped = output_range[0] + (output_range[1] - output_range[0]) * level
        return mapped.repeat(scale, 2).repeat(scale, 3).astype(np.float32)

    return network


@pytest.mark.parametrize("input_range", USUAL)
@pytest.mark.parametrize("output_range", USUAL)
def test_every_usual_pair_is_found(input_range: Range, output_range: Range) -> None:
    finding = find_ranges(enlarger(input_range, output_range), scale=2, normalization=Normalization())  # type: ignore[arg-type]
    assert (finding.input_range, finding.output_range) == (input_range, output_range)
    assert finding.consistency > 40
    assert finding.consistency > finding.runner_up + 3


def test_a_homogeneous_network_keeps_levels_as_they_are_and_says_what_is_alike() -> None:
    finding = find_ranges(lambda batch: batch.repeat(2, 2).repeat(2, 3), scale=2, normalization=Normalization())
    assert finding.input_range == finding.output_range == (0, 255)
    assert ((0.0, 1.0), (0.0, 1.0)) in finding.alike


def test_a_mapping_inside_the_file_is_seen_from_outside() -> None:
    normalization = Normalization(input_gain=1 / 127.5, input_shift=-1, output_gain=127.5, output_shift=127.5)
    finding = find_ranges(enlarger((-1, 1), (-1, 1)), scale=2, normalization=normalization)  # type: ignore[arg-type]
    assert finding.input_range == finding.output_range == (0, 255)


@pytest.mark.parametrize("factor", [0.0, -1.0])
def test_what_is_no_super_resolver_is_refused(factor: float) -> None:
    def negative(batch: Floats) -> Floats:
        return (batch * factor).repeat(2, 2).repeat(2, 3).astype(np.float32)

    with pytest.raises(ModelError, match="--input-range 0,1 --output-range -1,1"):
        find_ranges(negative, scale=2, normalization=Normalization())


def test_ranges_that_are_given_are_taken() -> None:
    finding = find_ranges(
        enlarger((0, 7), (-3, 3)),  # type: ignore[arg-type]
        scale=2,
        normalization=Normalization(),
        input_range=(0, 7),
        output_range=(-3, 3),
    )
    assert (finding.input_range, finding.output_range, finding.given) == ((0, 7), (-3, 3), (True, True))


def test_a_fixed_shape_is_kept() -> None:
    shapes = set()

    def network(batch: Floats) -> Floats:
        shapes.add(batch.shape)
        return batch.repeat(2, 2).repeat(2, 3)

    find_ranges(network, scale=2, normalization=Normalization(), shape=(32, 48))
    assert shapes == {(1, 3, 32, 48)}
