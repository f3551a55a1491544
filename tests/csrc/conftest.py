"""Every kernel is tested with every instruction set that this CPU has."""

from __future__ import annotations

import pytest

from srgan_trt import _pixels


@pytest.fixture(params=_pixels.instruction_sets(), scope="session")
def instruction_set(request: pytest.FixtureRequest) -> str:
    return request.param
