"""Runs the self-test of a plan on a device."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..imaging.tiles import TilePlan, plan_tiles

if TYPE_CHECKING:
    from ..self_test import Levels, SelfTest
    from ..spec import NetworkSpec


def run_self_test(
    self_test: SelfTest, spec: NetworkSpec, run: Callable[[Levels, Levels, TilePlan], Any], *, what: str
) -> None:
    """Runs the self-test's picture by `run(picture, result, tiles)`, as one tile, and checks the result.

    what: runs it, for the message. Raises DeviceError if another picture comes out, and what `run` raises.
    """
    picture, result = self_test.picture, np.empty(self_test.expected.shape, np.uint8)
    height, width, _ = picture.shape
    fixed = spec.fixed_shape is not None
    run(picture, result, plan_tiles(height, width, tile=(height, width), halo=0, fixed=fixed, multiple=spec.multiple))
    self_test.check(result, what=what)
