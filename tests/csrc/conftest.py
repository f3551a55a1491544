"""Every test of pack and unpack runs with every implementation: each of this CPU's instruction sets, and NumPy."""

from __future__ import annotations

import pytest

from . import kernels


@pytest.fixture(params=kernels.names(), scope="session")
def implementation(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name
