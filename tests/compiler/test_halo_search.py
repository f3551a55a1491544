"""The default halo keeps the picture within half a level; the full one is the fallback."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from srgan_trt.compiler.halo_search import measure_halo

Floats = NDArray[np.float32]


def blur(weight: float, reach: int) -> object:
    """Adds ``weight`` of the pixel ``reach`` columns away, zero beyond the border."""

    def network(batch: Floats) -> Floats:
        moved = np.zeros_like(batch)
        moved[..., reach:] = batch[..., :-reach]
        return (batch + weight * moved).astype(np.float32)

    return network


def halo(weight: float, reach: int, *, full: int) -> int:
    return measure_halo(
        blur(weight, reach),  # type: ignore[arg-type]
        full=full,
        scale=1,
        multiple=1,
        input_range=(0.0, 1.0),
        output_range=(0.0, 2.0),
    )


def test_influence_too_weak_to_see_costs_nothing() -> None:
    assert halo(0.001, 20, full=24) == 2


def test_influence_that_shows_is_covered() -> None:
    assert halo(0.5, 9, full=24) == 10


def test_the_whole_receptive_field_where_nothing_less_does() -> None:
    assert halo(0.5, 21, full=22) == 22


class TestDeepNetworks:
    """Where 40 pixels do not do, more are tried on a picture that is wide enough for them."""

    @pytest.mark.parametrize(
        ("reach", "full", "expected"),
        [
            (45, 200, 48),
            (59, 200, 64),
            (75, 200, 80),
            (90, 200, 96),
            (120, 200, 128),
            (45, 47, 47),
            (59, 62, 62),
        ],
    )
    def test_the_smallest_step_that_covers_what_shows(self, reach: int, full: int, expected: int) -> None:
        assert halo(0.5, reach, full=full) == expected

    def test_the_whole_receptive_field_where_no_step_does(self) -> None:
        def network(batch: Floats) -> Floats:
            return np.asarray(blur(0.5, 150)(blur(0.5, 45)(batch)), np.float32)  # type: ignore[operator]

        found = measure_halo(network, full=200, scale=1, multiple=1, input_range=(0.0, 1.0), output_range=(0.0, 2.0))
        assert found == 200

    def test_it_may_show_by_one_level_there(self) -> None:
        """Half a level is the limit of smaller steps."""

        def with_more(levels: float) -> int:
            weight = levels * 2 / 255

            def network(batch: Floats) -> Floats:
                result = np.asarray(blur(0.5, 45)(batch), np.float32)  # type: ignore[operator]
                result[..., 55:] += weight * np.sign(batch[..., :-55])
                return result

            return measure_halo(network, full=100, scale=1, multiple=1, input_range=(0.0, 1.0), output_range=(0.0, 2.0))

        assert with_more(0.9) == 48
        assert with_more(1.1) == 64

    def test_work_is_bounded(self, caplog: pytest.LogCaptureFixture) -> None:
        """A network that takes minutes for each try keeps its whole receptive field, and that is said."""
        sizes = []

        def network(batch: Floats) -> Floats:
            sizes.append(batch[0, 0].size)
            return blur(0.5, 59)(batch)  # type: ignore[operator, no-any-return]

        found = measure_halo(
            network, full=300, scale=1, multiple=1, input_range=(0.0, 1.0), output_range=(0.0, 2.0), macs=3e8
        )
        assert found == 300
        assert "halos from 48 pixels on are not tried" in caplog.text
        assert max(sizes) == 64 * 128

    def test_sides_are_multiples_of_what_the_network_takes(self) -> None:
        def network(batch: Floats) -> Floats:
            assert batch.shape[2] % 12 == batch.shape[3] % 12 == 0
            return blur(0.5, 50)(batch)  # type: ignore[operator, no-any-return]

        found = measure_halo(network, full=300, scale=1, multiple=12, input_range=(0.0, 1.0), output_range=(0.0, 2.0))
        assert found == 72
